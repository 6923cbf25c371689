"""`scalefit init`: a mapping to begin with, which works as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from scaling_cli.cli import app
from scaling_cli.mapping import load_mapping
from tests.places import SAMPLES


def ask(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments])


def logs(folder: Path, count: int = 4, **more: Any) -> Path:
    """Histories in JSON lines whose config names nothing that is known, unless `more` does."""
    folder.mkdir()
    for i in range(count):
        config = {"model": {"n_layer": 2 + i, "d_model": 64}, "recipe": ["a", "b"][i % 2], **more}
        rows = [json.dumps({"config": config})]
        rows += [
            json.dumps({"step": s, "our_nll": 4 - s / 1e3 - i / 10, "our_toks": s * 2048})
            for s in range(10, 101, 10)
        ]
        (folder / f"r{i}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return folder


def test_the_file_works_as_it_is_and_reads_what_no_file_reads(tmp_path: Path) -> None:
    path = tmp_path / "scalefit.toml"
    assert ask("init", str(SAMPLES), "-o", str(path)).exit_code == 0
    mapping = load_mapping(path)
    assert mapping.columns["params"] == "config.params"
    assert mapping.columns["loss"] == "val/loss"
    shown = []
    for i, config in enumerate((["--config", str(path)], [])):
        store = ["--store", str(tmp_path / f"store{i}")]
        assert ask("ingest", str(SAMPLES), *config, *store).exit_code == 0
        runs = json.loads(ask("runs", "--json", *store).stdout)["runs"]
        shown.append([{k: r[k] for k in ("run_id", "params", "tokens", "loss")} for r in runs])
    assert shown[0] == shown[1]


def test_every_line_that_is_a_comment_is_one_that_could_be_wanted(tmp_path: Path) -> None:
    text = ask("init", str(SAMPLES), "-o", "-").stdout
    path = tmp_path / "all.toml"
    for line in text.splitlines():
        bare = line.removeprefix("# ")
        if bare != line and bare.partition(" = ")[1] and not bare.startswith("Read"):
            head = "[run]\n" if bare.startswith(("group", "final", "where")) else "[columns]\n"
            path.write_text(head + bare + "\n", encoding="utf-8")
            load_mapping(path)
    assert '# loss = "train/loss"' in text
    assert '# group = ["config.recipe"]  # baseline (38), rotary (29)' in text
    assert "--holdout 'split == \"holdout\"'" in text


def test_what_is_missing_is_said_with_how_it_could_be_supplied(tmp_path: Path) -> None:
    text = ask("init", str(logs(tmp_path / "logs")), "-o", "-").stdout
    assert text.count("MISSING: no name looks like it") == 3  # params, rate, plan
    assert text.count("MISSING: no known name") == 2  # tokens, loss
    assert "12 * config.model.n_layer * config.model.d_model**2" in text
    assert '# loss = "our_nll"  # 3.600 to 3.900, in 4 of 4 runs' in text
    assert '# tokens = "our_toks"  # 205K, in 4 of 4 runs' in text


def test_the_suggestions_taken_up_give_what_a_fit_needs(tmp_path: Path) -> None:
    folder = logs(tmp_path / "logs")
    text = ask("init", str(folder), "-o", "-").stdout
    for line in ('loss = "our_nll"', 'tokens = "our_toks"', "params = "):
        text = text.replace(f"# {line}", line).replace(f"#   {line}", line)
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    store = ["--store", str(tmp_path / "store")]
    assert ask("ingest", str(folder), "--config", str(path), *store).exit_code == 0
    runs = json.loads(ask("runs", "--json", *store).stdout)["runs"]
    assert [run["params"] for run in runs] == [12 * layers * 64**2 for layers in (2, 3, 4, 5)]
    assert all(run["tokens"] == 204800 and run["loss"] for run in runs)


def test_names_that_differ_between_runs_are_left_to_be_found(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    for i, name in enumerate(("val/loss", "eval/loss")):
        rows = [json.dumps({"step": s, name: 3.0, "tokens": s, "n_params": 1e6}) for s in (1, 2)]
        (folder / f"r{i}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    text = ask("init", str(folder), "-o", "-").stdout
    assert "loss" not in load_text(text, tmp_path).columns
    assert "different names in different runs" in text


def test_a_hostile_name_ends_no_comment(tmp_path: Path) -> None:
    evil = {'x"\n[run]\nwhere = "params < 0': "a\nb", "tok\u2028en": 5}
    folder = logs(tmp_path / "logs", **evil)
    mapping = load_text(ask("init", str(folder), "-o", "-").stdout, tmp_path)
    assert mapping.where is None
    assert mapping.columns.keys() <= {"params", "tokens", "loss"}


def test_a_file_that_is_there_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = logs(tmp_path / "logs")
    assert ask("init", str(folder)).exit_code == 0
    before = Path("scalefit.toml").read_text(encoding="utf-8")
    again = ask("init", str(folder))
    assert again.exit_code == 2
    assert "-o -" in again.stderr
    assert Path("scalefit.toml").read_text(encoding="utf-8") == before


def load_text(text: str, folder: Path) -> Any:
    path = folder / "made.toml"
    path.write_text(text, encoding="utf-8")
    return load_mapping(path)
