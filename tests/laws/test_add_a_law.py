"""CONTRIBUTING.md's way of adding a law, followed literally; and the rules for hyperparameters."""

from __future__ import annotations

import importlib
import json
import re
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from scaling_cli import laws
from scaling_cli.cli import COMMANDS, app
from scaling_cli.errors import InputError
from scaling_cli.fitting.engine import fit
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.result import Fit
from scaling_cli.laws import hyperparameters, registry
from scaling_cli.report.catalogue import page
from tests.places import ROOT
from tests.simulate import columns_of, observations, observed, values_of

GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.fixture
def plugged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The guide's block as a module of another package, found by its entry point."""
    (block,) = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "stretched.py").write_text(block, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("stretched", "my_package.stretched", registry.ENTRY_POINTS)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point])
    laws.laws.cache_clear()
    yield point
    laws.laws.cache_clear()


def test_the_guide_s_law_is_listed_fitted_and_kept(plugged: Any) -> None:
    law = laws.get_law("stretched")
    columns = columns_of(law)
    values = values_of(law, columns)
    runs = observations(law, columns, observed(law, columns, values, 1e-3))
    fitted = fit(law, runs, FitOptions(resamples=0))
    assert fitted.metrics["mape"] < 2e-3
    assert Fit.from_document(json.loads(json.dumps(fitted.to_document()))).law is law
    assert "### stretched" in page(laws.laws().values())
    shown = CliRunner().invoke(app, ["laws", "stretched"])
    assert shown.exit_code == 0
    assert "stretched exponential" in shown.stdout


def test_a_law_of_a_name_that_is_taken_is_refused(
    plugged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [plugged, plugged])
    laws.laws.cache_clear()
    with pytest.raises(InputError, match="there already"):
        laws.laws()


def test_hparams_by_one_paper_and_by_all() -> None:
    run = CliRunner()
    asked = ["hparams", "--params", "1e9", "--tokens", "1e11", "--json"]
    found = run.invoke(app, [*asked, "--published", "steplaw2025"])
    assert found.exit_code == 0, found.stderr
    values = {item["target"]: item["value"] for item in json.loads(found.stdout)["hparams"]}
    assert values["lr"] == pytest.approx(1.6325e-3, abs=5e-8)
    assert values["batch_tokens"] == pytest.approx(1.1077e6, rel=5e-5)
    every = json.loads(run.invoke(app, asked).stdout)["hparams"]
    assert {item["group"]["published"] for item in every} >= {"steplaw2025", "porian2024"}
    assert any("deepseek" in item["law"] for item in every)
    assert not any("bjorck" in item["law"] for item in every), "these are unverified"
    assert run.invoke(app, [*asked, "--published", "epoch2024"]).exit_code == 2
    assert run.invoke(app, [*asked, "--published", "bjorck2024"]).exit_code == 2


def test_settings_of_a_tuned_run_are_carried_to_a_larger_one() -> None:
    base = {"width": 256, "depth": 8, "lr": 6e-3, "weight_decay": 0.1, "adam_eps": 1e-8}
    base |= {"params": 2e7, "tokens": 4e8, "batch_tokens": 1e5}
    run = {"width": 4096, "depth": 32, "batch_tokens": 4e6}
    asked = ["hparams", "--params", "2e9", "--tokens", "4e10", "--at", "experts=8"]
    asked += [word for name, value in run.items() for word in ("--at", f"{name}={value}")]
    asked += [word for name, value in base.items() for word in ("--base", f"{name}={value}")]
    found = CliRunner().invoke(app, [*asked, "--json"])
    assert found.exit_code == 0, found.stderr
    document = json.loads(found.stdout)
    values = {(item["law"], item["target"]): item["value"] for item in document["hparams"]}
    assert values["mup", "lr"] == pytest.approx(6e-3 / 16)
    assert values["completep", "residual_multiplier"] == pytest.approx(1 / 4)
    assert values["completep", "weight_decay"] == pytest.approx(0.1 * 16)
    assert values["completep", "adam_eps"] == pytest.approx(1e-8 / 64)
    # the same tokens per param: 40 times the batch over 100 times the tokens
    assert values["adamw_timescale", "weight_decay"] == pytest.approx(0.1 * 40 / 100)
    assert "moe_lr needs params_active." in document["silent"]
    notes = [note for item in document["hparams"] for note in item["warnings"]]
    assert any("steplaw2025 was found at" in note["message"] for note in notes)


def test_rules_are_of_settings_that_sweeps_are_read_for() -> None:
    of_rules = {law.target for law in laws.LAWS.values() if law.family == hyperparameters.FAMILY}
    assert of_rules <= set(hyperparameters.CALLED)


def test_the_page_of_papers_names_what_there_is() -> None:
    text = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
    spans = re.findall(r"`([^`]+)`", text)
    names = {name for span in spans for name in re.findall(r"--(?:law|then) ([\w.]+)", span)}
    names |= {name for span in spans if re.fullmatch(r"\w+", span) for name in [span]}
    commands = set(COMMANDS)
    columns = {"tokens", "flops", "datastore_tokens"}
    for name in names - commands - columns:
        assert laws.get_law(name)
    for name in re.findall(r"--published (\w+)", text):
        assert laws.get_published(name)
    words = {span.split()[0] for span in spans if " " in span}
    assert words - {"scalefit"} <= commands
