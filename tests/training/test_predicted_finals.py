"""Runs that have not ended enter a law at the end that is foreseen, with its uncertainty."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import plans
from scaling_cli.cli import app
from scaling_cli.errors import InputError
from scaling_cli.fitting import imputed
from scaling_cli.fitting.imputed import SPREAD
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.result import Fit
from scaling_cli.project import Project, load_fit
from scaling_cli.table import Table
from scaling_cli.training import finals
from scaling_cli.training.finals import with_predicted

STOPPED = (
    "baseline-ladder-d48l2-8.1e12",
    "baseline-ladder-d80l3-8.1e12",
    "baseline-ladder-d80l3-2.7e12",
    "baseline-ladder-d48l2-2.7e12",
)
TARGET = {"params": 2.2e5, "tokens": 2.5e7}  # of the compute of the held-out runs


@pytest.fixture(scope="module")
def going(samples: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The sample runs as they were when four of the longest had done two thirds."""
    return plans.stopped(samples, str(tmp_path_factory.mktemp("going") / "store"), 2 / 3, STOPPED)


def test_a_predicted_end_is_near_the_real_one(samples: Project, going: Project) -> None:
    real = samples.observations(plans.LADDER)
    there = {run_id: i for i, run_id in enumerate(real.run_ids)}
    rows = with_predicted(going.store, going.observations(plans.LADDER), None)
    spread = rows.columns[SPREAD]
    assert {rows.run_ids[i] for i in np.flatnonzero(spread)} == set(STOPPED)
    for i in np.flatnonzero(spread):
        at = there[rows.run_ids[i]]
        for name in ("tokens", "flops"):
            assert rows.columns[name][i] == pytest.approx(real.columns[name][at], rel=0.01)
        missed = np.log(rows.columns["loss"][i] / real.columns["loss"][at])
        assert abs(missed) < 3 * spread[i] < 0.1
    same = spread == 0
    assert all(
        rows.columns["loss"][i] == real.columns["loss"][there[rows.run_ids[i]]]
        for i in np.flatnonzero(same)
    )


def test_a_spread_is_that_of_the_band_that_the_curve_has(going: Project) -> None:
    rows = with_predicted(going.store, going.observations('recipe == "baseline"'), None)
    at = rows.run_ids.index(STOPPED[0])
    _, forecast, _ = going.curve(STOPPED[0], level=0.90)
    end = forecast.final
    assert rows.columns["loss"][at] == pytest.approx(end["loss"], rel=1e-9)
    wide = 2 * 1.6449 * rows.columns[SPREAD][at]
    assert wide == pytest.approx(np.log(end["high"] / end["low"]), rel=1e-4)


@pytest.mark.parametrize("law", ["auto", "chinchilla"])
def test_they_bring_what_is_said_of_larger_runs_nearer_to_that_by_the_whole_runs(
    samples: Project, going: Project, law: str
) -> None:
    cases = ((samples, "last"), (going, "last"), (going, "predicted"))
    real, last, predicted = (plans.fitted(project, law, which) for project, which in cases)
    rows = samples.observations(plans.TARGETS)
    columns = {name: rows.columns[name] for name in ("params", "tokens")}
    near, far = (plans.apart(fit, real, columns) for fit in (predicted, last))
    assert near < 0.85 * far


def test_the_interval_holds_that_the_ends_are_not_known(
    samples: Project, going: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def width(project: Project, which: str) -> float:
        found = plans.fitted(project, "chinchilla", which, 100).predict(TARGET)
        return float(np.log((found.high or 0.0) / (found.low or 1.0)))

    narrow = width(going, "predicted")
    assert narrow > 0.95 * width(samples, "last")  # resamples know a width to some 5 %

    def wide(*arguments: Any) -> Table:
        rows = with_predicted(*arguments)
        return replace(rows, columns={**rows.columns, SPREAD: 5 * rows.columns[SPREAD]})

    monkeypatch.setattr(finals, "with_predicted", wide)
    assert width(going, "predicted") > 1.1 * narrow


def test_draws_differ_by_the_spread_of_the_ends(
    samples: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a fit whose one draw is the log of the loss: over many tables its deviation is known."""
    monkeypatch.setattr(imputed, "TABLES", 1000)
    plain, rows = plans.fitted(samples, "chinchilla", "last"), samples.observations(plans.LADDER)
    unsure = replace(rows, columns={**rows.columns, SPREAD: np.full(len(rows), 0.02)})

    def logs(drawn: Table, *_: Any) -> Fit:
        return replace(plain, draws=np.log(drawn.columns["loss"])[None])

    found = imputed.fit(logs, unsure, FitOptions(resamples=1000), {})
    assert np.std(found.draws, axis=0) == pytest.approx(0.02, rel=0.1)
    assert np.mean(found.draws, axis=0) == pytest.approx(np.log(rows.columns["loss"]), abs=0.003)


def test_runs_that_ended_are_left_as_they_are(samples: Project) -> None:
    rows = samples.observations(plans.LADDER)
    same = with_predicted(samples.store, rows, None)
    assert not same.columns[SPREAD].any()
    found = plans.fitted(samples, "chinchilla", "predicted", 20)
    plain = plans.fitted(samples, "chinchilla", "last", 20)
    assert found.predicted_finals == ()
    assert found.values == plain.values
    assert np.array_equal(found.draws, plain.draws)


def test_command_names_the_runs_and_keeps_them(going: Project, tmp_path: Path) -> None:
    asked = ["fit", "--store", going.location, "--law", "chinchilla", "--where", plans.LADDER]
    path = tmp_path / "ladder.fit.json"
    more = ["--by", "", "--bootstrap", "40", "--finals", "predicted", "--json", "-o", str(path)]
    found = CliRunner().invoke(app, [*asked, *more])
    assert found.exit_code == 0, found.stderr
    (document,) = json.loads(found.stdout)["fits"]
    named = {item["run_id"] for item in document["predicted_finals"]}
    assert named == set(STOPPED)
    assert "predicted_finals" in {note["code"] for note in document["warnings"]}
    kept = load_fit(str(path))
    assert {item["run_id"] for item in kept.predicted_finals} == named
    assert len(kept.draws) == 40


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--finals", "guessed"), "last or predicted"),
        (("--law", "envelope", "--finals", "predicted"), "every logged point"),
        (("--law", "chinchilla", "--y", "accuracy", "--finals", "predicted"), "accuracy"),
        (
            ("--law", "chinchilla", "--by", "recipe", "--tie", "alpha", "--finals", "predicted"),
            "--tie",
        ),
    ],
)
def test_refusals_say_what_and_how(samples: Project, more: tuple[str, ...], said: str) -> None:
    asked = ["fit", "--store", samples.location, "--bootstrap", "0", *more]
    found = CliRunner().invoke(app, asked)
    assert found.exit_code == 2, found.output
    assert said in found.stderr


def test_library_refuses_what_it_does_not_know(samples: Project) -> None:
    with pytest.raises(InputError, match="--finals"):
        samples.fit(["chinchilla"], finals="guessed")
