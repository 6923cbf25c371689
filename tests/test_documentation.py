"""What the documentation shows is what happens: its commands and its Python run as they stand."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from scaling_cli.adapters.registry import adapters, services
from scaling_cli.checks import rules
from scaling_cli.cli import app
from scaling_cli.cli.demo import HOLDOUT, LADDER
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.result import Fit
from scaling_cli.project import Project
from tests.cli.test_hostile_text import LINES
from tests.places import ROOT
from tools import notebook, site

README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands(page: Path) -> list[str]:
    lines = "".join(blocks(page, "console")).splitlines()
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_and_python_run_in_order(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SCALEFIT_STORE", raising=False)
    (tmp_path / "sample_runs").symlink_to(ROOT / "sample_runs")
    for line in commands(page):
        name, *arguments = shlex.split(line)
        assert name == "scalefit"
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, f"{line}: {result.stderr}"
        assert result.stdout or "-o" in arguments
    names: dict[str, Any] = {}
    for code in blocks(page, "python"):
        exec(compile(code, page.name, "exec"), names)  # noqa: S102 - our own document


def test_the_notebook_runs_and_shows_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib").use("agg")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sample_runs").symlink_to(ROOT / "sample_runs")
    shown = [value._repr_html_() for _, _, value in notebook.run() if value is not None]
    assert len(shown) == 9
    assert all("<table" in card and "<td" in card for card in shown)
    assert sum('class="scalefit-card"' in card for card in shown) == 7  # all but two tables


def test_the_site_has_every_command_and_name() -> None:
    """Its pages that declarations make; `make site` builds it, and fails on a link to nowhere."""
    page = site.commands_page()
    assert [name for name in LINES if f"## {name}\n" not in page] == []
    names = site.python_page()
    assert [name for name in ("fit", "plan", "Fit") if f"## {name}\n" not in names] == []
    known = "[c](CONTRIBUTING.md) [n](docs/notebook.ipynb) [x](benchmarks/a.md) ![p](docs/p.svg)"
    assert site.linked(known) == "[c](contributing.md) [n](gallery.md) x ![p](p.svg)"


def test_readme_shows_the_whole_way() -> None:
    assert len(commands(README)) >= 8


def test_readme_mapping_is_read(tmp_path: Path) -> None:
    from scaling_cli.mapping import load_mapping

    text, *_ = blocks(README, "toml")
    path = tmp_path / "scalefit.toml"
    path.write_text(text, encoding="utf-8")
    mapping = load_mapping(path)
    assert mapping.columns["tokens"] == "step * config.batch_size * config.seq_len"
    assert mapping.group == ("config.recipe",)


def options(command: Any) -> set[str]:
    """Every long option of a click command and of the commands below it."""
    own = {name for item in command.params for name in (*item.opts, *item.secondary_opts)}
    below = getattr(command, "commands", {}).values()
    return own.union({"--help"}, *(options(item) for item in below))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_option_shown_exists(page: Path) -> None:
    code = re.sub(r"```sh\n.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    shown = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", code))
    assert shown <= options(typer.main.get_command(app))


def test_every_source_and_every_check_stands_in_a_document() -> None:
    sources, checks = (
        (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("sources", "checks")
    )
    assert {name for name in adapters() if f"`{name}`" not in sources} == set()
    pages = sources + (ROOT / "docs" / "wandb.md").read_text(encoding="utf-8")
    assert {name for name in services() if f" {name.partition('-')[0]}:" not in pages} == set()
    assert {name for name in rules() if f"`{name}`" not in checks} == set()
    settings = {(rule.name, item.name) for rule in rules().values() for item in rule.settings}
    assert {pair for pair in settings if not re.search(rf"\b{pair[1]}\b", checks)} == set()


SCRIPTS = [*(ROOT / "tools").glob("*.py"), *(ROOT / "benchmarks").glob("*.py")]


@pytest.mark.parametrize("script", sorted(SCRIPTS), ids=lambda path: path.stem)
def test_every_tool_and_benchmark_can_still_be_imported(script: Path) -> None:
    """`make docs` and a benchmark stopped at names that had moved."""
    importlib.import_module(f"{script.parent.name}.{script.stem}")


def test_the_first_screen_of_the_readme_is_of_this_version(samples: Project) -> None:
    """A learnt prior had moved every forecast, and the page still showed the ones before."""
    text = README.read_text(encoding="utf-8")
    shown = dict(re.findall(r"^auto +(\S+) +\S+ +(\S+) +\S+ +\S+ %$", text, re.MULTILINE))
    options = FitOptions(resamples=0)
    fits = samples.fit(["auto"], ["recipe"], LADDER, HOLDOUT, options, save=False)
    rows = [row for fit in fits if isinstance(fit, Fit) for row in fit.holdout_rows]
    assert len(rows) == len(shown) == 4
    for row in rows:
        assert float(shown[row["run_id"]]) == pytest.approx(row["predicted"], rel=0.005)
