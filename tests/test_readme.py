"""What the README shows is what happens: its commands and its Python run as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scaling_cli.cli import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_readme_commands_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SCALEFIT_STORE", raising=False)
    (tmp_path / "sample_runs").symlink_to(ROOT / "sample_runs")
    commands = [
        line.removeprefix("$ ")
        for block in blocks("console")
        for line in block.splitlines()
        if line
    ]
    assert len(commands) >= 8
    for line in commands:
        name, *arguments = shlex.split(line)
        assert name == "scalefit"
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, f"{line}: {result.stderr}"
        assert result.stdout or "-o" in arguments
    (code,) = blocks("python")
    exec(compile(code, "README.md", "exec"), {})  # noqa: S102 - our own document


def test_readme_mapping_is_read(tmp_path: Path) -> None:
    from scaling_cli.mapping import load_mapping

    (text,) = blocks("toml")
    path = tmp_path / "scalefit.toml"
    path.write_text(text, encoding="utf-8")
    mapping = load_mapping(path)
    assert mapping.columns["tokens"] == "step * config.batch_size * config.seq_len"
    assert mapping.group == ("config.recipe",)


def test_every_option_of_the_readme_exists() -> None:
    shown = set(re.findall(r"--[a-z][a-z-]+", README))
    runner = CliRunner()
    known = set()
    for command in app.registered_commands:
        shown_help = runner.invoke(app, [str(command.name), "--help"]).stdout
        known |= set(re.findall(r"--[a-z][a-z-]+", shown_help))
    assert shown <= known
