"""Runs that have not ended enter a law at the end that is predicted, with its uncertainty."""

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
from scaling_cli.training.ends import Ends, ends_of
from scaling_cli.training.schedule import parse_schedule

STOPPED = (
    "baseline-ladder-d48l2-8.1e12",
    "baseline-ladder-d80l3-8.1e12",
    "baseline-ladder-d80l3-2.7e12",
    "baseline-ladder-d48l2-2.7e12",
)
TARGET = {"params": 2.2e5, "tokens": 2.5e7}  # of the compute of the held-out runs


def at_ends(project: Project, where: str) -> Table:
    rows = project.observations(where)
    return ends_of(project.store, rows, None).of(rows)


@pytest.fixture(scope="module")
def going(samples: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The sample runs as they were when four of the longest had done two thirds."""
    return plans.stopped(samples, str(tmp_path_factory.mktemp("going") / "store"), 2 / 3, STOPPED)


def test_a_predicted_end_is_near_the_real_one(samples: Project, going: Project) -> None:
    real = samples.observations(plans.LADDER)
    there = {run_id: i for i, run_id in enumerate(real.run_ids)}
    rows = at_ends(going, plans.LADDER)
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
    rows = at_ends(going, 'recipe == "baseline"')
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

    own = Ends.of

    def wide(ends: Ends, rows: Table) -> Table:
        found = own(ends, rows)
        return found.with_columns(**{SPREAD: 5 * found.columns[SPREAD]})

    monkeypatch.setattr(Ends, "of", wide)
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
    same = at_ends(samples, plans.LADDER)
    assert same.columns.keys() == rows.columns.keys()
    assert all(np.array_equal(same.columns[n], v, equal_nan=True) for n, v in rows.columns.items())
    assert same.notes == rows.notes
    found = plans.fitted(samples, "chinchilla", "predicted", 20)
    plain = plans.fitted(samples, "chinchilla", "last", 20)
    assert found.predicted_finals == ()
    assert found.values == plain.values
    assert np.array_equal(found.draws, plain.draws)


def test_command_names_the_runs_and_keeps_them(going: Project, tmp_path: Path) -> None:
    asked = ["fit", "--store", going.location, "--law", "chinchilla", "--where", plans.LADDER]
    path = tmp_path / "ladder.fit.json"
    more = ["--by", "", "--bootstrap", "40", "--json", "-o", str(path)]
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
    ],
)
def test_refusals_say_what_and_how(samples: Project, more: tuple[str, ...], said: str) -> None:
    asked = ["fit", "--store", samples.location, "--bootstrap", "0", *more]
    found = CliRunner().invoke(app, asked)
    assert found.exit_code == 2, found.output
    assert said in found.stderr


def test_library_refuses_what_it_does_not_know(samples: Project) -> None:
    with pytest.raises(InputError, match="finals"):
        samples.fit(["chinchilla"], finals="guessed")


def test_runs_cut_short_do_not_move_a_fit_in_silence(samples: Project, tmp_path: Path) -> None:
    """Eight of the ladder's runs at 55 % of their steps, and nobody asks for anything."""
    rows = samples.observations(plans.LADDER)
    largest = np.argsort(rows.columns["flops"])[-8:]
    cut = [rows.run_ids[i] for i in largest]
    going = plans.stopped(samples, str(tmp_path / "store"), 0.55, cut)
    held = '(split == "ladder" or split == "holdout") and recipe == "baseline"'
    options = FitOptions(resamples=40)

    def missed(project: Project, **asked: str) -> Fit:
        (found,) = project.fit(
            ["auto"], [], held, 'split == "holdout"', options, save=False, **asked
        )
        assert isinstance(found, Fit)
        return found

    whole, last = missed(samples), missed(going, finals="last")
    found = missed(going)
    errors = [fit.holdout["mape"] for fit in (whole, last, found) if fit.holdout]
    assert errors[1] > 4 * errors[0]
    assert errors[2] < errors[1] / 4  # .72, 11.5 and 2.5 %
    assert {item["run_id"] for item in found.predicted_finals} == set(cut)
    assert "predicted_finals" in {note.code for note in found.notes}


def ladder(folder: Path, cut: str, plan: bool = True, rate: bool = True) -> Project:
    """Twelve runs of a law, one cut at 55 %; the others' logs lack nothing."""
    rates = parse_schedule("cosine:peak=1e-3,warmup=20,total=1000,min=1e-4").rates
    for i, params in enumerate(np.geomspace(1e6, 3e8, 12)):
        steps = np.arange(10, 1001, 10)
        if f"r{i}" == cut:
            steps = steps[steps <= 550]
        loss = 1.7 + 400 * params**-0.34 + 2 * (np.cumsum(rates)[steps] / 0.1) ** -0.5
        loss = loss + 0.15 * rates[steps] / 1e-3
        config = {"n_params": params, "recipe": "one"} | ({"max_steps": 1000} if plan else {})
        lines = [json.dumps({"config": config})]
        for step, value in zip(steps.tolist(), loss.tolist(), strict=True):
            row = {"step": step, "val/loss": value, "tokens": step * params / 50}
            lines.append(json.dumps(row | ({"lr": rates[step]} if rate else {})))
        (folder / f"r{i}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    project = Project(str(folder / "store"), None)
    project.ingest([str(folder)])
    return project


@pytest.mark.parametrize(
    ("plan", "rate", "code", "reason"),
    [
        (True, True, "predicted_finals", "r11"),
        (True, False, "unfinished_runs", "no learning rate"),
        (False, True, "unfinished_runs", "nothing says how many steps"),
        (False, False, "end_unknown", "12 of 12 runs"),
    ],
)
def test_what_cannot_be_predicted_is_left_out_and_why(
    tmp_path: Path, plan: bool, rate: bool, code: str, reason: str
) -> None:
    project = ladder(tmp_path, "r11", plan, rate)
    options = FitOptions(resamples=0)
    (found,) = project.fit(["chinchilla"], [], options=options, save=False)
    assert isinstance(found, Fit)
    notes = {note.code: note for note in found.notes}
    about = notes.keys() & {"predicted_finals", "unfinished_runs", "end_unknown"}
    assert about == {code}
    assert reason in notes[code].message
    assert found.n_observations == (11 if code == "unfinished_runs" else 12)
    (last,) = project.fit(["chinchilla"], [], options=options, save=False, finals="last")
    assert isinstance(last, Fit)
    assert last.n_observations == 12


def test_no_prediction_is_held_against_a_run_that_has_not_ended(tmp_path: Path) -> None:
    project = ladder(tmp_path, "r11")
    options = FitOptions(resamples=0)
    (found,) = project.fit(["chinchilla"], [], None, "params > 1e8", options, save=False)
    assert isinstance(found, Fit)
    assert found.holdout
    assert "r11" not in {row["run_id"] for row in found.holdout_rows}
    assert "unfinished_runs" in {note.code for note in found.notes}
    (ranked,) = project.compare(["chinchilla", "skaling"], options=options)
    assert "unfinished_runs" in {note.code for note in ranked.notes}


def test_of_another_target_than_the_loss_an_unfinished_run_is_left_out(
    own_samples: Project,
) -> None:
    folder = Path(own_samples.location).parent
    going = plans.stopped(own_samples, str(folder / "going"), 2 / 3, STOPPED)
    options = FitOptions(resamples=0, target="accuracy")
    (found,) = going.fit(["chinchilla"], [], plans.LADDER, None, options, save=False)
    assert isinstance(found, Fit)
    (note,) = (note for note in found.notes if note.code == "unfinished_runs")
    assert all(name in note.message for name in STOPPED)
    assert note.severity == "severe"


def test_a_run_that_diverged_has_no_predicted_end(tmp_path: Path) -> None:
    project = ladder(tmp_path, "r11")
    path = tmp_path / "r11.jsonl"
    head, *rows = path.read_text(encoding="utf-8").splitlines()
    risen = [json.loads(row) for row in rows]
    for row in risen[-15:]:
        row["val/loss"] *= 1.4
    path.write_text("\n".join([head, *map(json.dumps, risen)]), encoding="utf-8")
    project.ingest([str(tmp_path)])
    options = FitOptions(resamples=0)
    (found,) = project.fit(["chinchilla"], [], options=options, save=False)
    assert "its loss has risen again" in str([note.message for note in found.notes])
