"""`--procedure paper`: each law fitted as its own paper did."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import least_squares
from typer.testing import CliRunner

from scaling_cli.cli import app
from scaling_cli.errors import FitError, InputError
from scaling_cli.fitting import engine
from scaling_cli.fitting.objective import get_objective
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.laws import LAWS, get_law
from scaling_cli.saved import load_fits
from scaling_cli.table import Table

FARSEER = get_law("farseer")
PAPER = FitOptions(resamples=0, procedure="paper")
AHEAD = {"params": np.array([6.4e9, 25.1e9]), "tokens": np.array([2e11, 5e11])}


def observations(params: np.ndarray, tokens: np.ndarray, loss: np.ndarray) -> Table:
    return Table.from_columns({"params": params, "tokens": tokens, "loss": loss})


def farseer_grid(noise: float, scatter: float = 0.0) -> tuple[Table, np.ndarray]:
    """The paper's surface on its grid, sqrt(2) apart; `scatter` spoils the grid of tokens."""
    random = np.random.default_rng(0)
    (published,) = FARSEER.published
    sizes, lengths = 2e8 * np.sqrt(2) ** np.arange(11), 1e9 * np.sqrt(2) ** np.arange(14)
    params, tokens = (values.ravel() for values in np.meshgrid(sizes, lengths))
    tokens = tokens * np.exp(scatter * random.standard_normal(len(tokens)))
    loss = FARSEER.predict(**published.values, params=params, tokens=tokens)
    loss = loss * np.exp(noise * random.standard_normal(len(loss)))
    return observations(params, tokens, loss), FARSEER.predict(**published.values, **AHEAD)


@pytest.mark.parametrize(("noise", "scatter"), [(0.0, 0.0), (5e-4, 0.0), (5e-4, 0.3)])
def test_the_staged_procedure_of_farseer_predicts_larger_runs(noise: float, scatter: float) -> None:
    rows, truth = farseer_grid(noise, scatter)
    fitted = engine.fit(FARSEER, rows, PAPER)
    assert fitted.procedure == "paper"
    (note,) = [note for note in fitted.notes if note.code == "staged_procedure"]
    assert ("ratio 1.41" in note.message) == (scatter == 0.0)
    assert ("no common ratio" in note.message) == (scatter > 0.0)
    assert fitted.curve(AHEAD) == pytest.approx(truth, rel=0.001 if noise == 0 else 0.008)
    assert fitted.band(AHEAD) is None  # the paper's procedure has no resamples


def test_the_staged_procedure_refuses_too_few_sizes() -> None:
    rows, _ = farseer_grid(0.0)
    sizes = np.unique(rows.columns["params"])
    with pytest.raises(FitError, match="3 of 3 model sizes"):
        engine.fit(FARSEER, rows.select(rows.columns["params"] <= sizes[2]), PAPER)


def test_skaling_minimises_the_objective_of_its_paper() -> None:
    law = get_law("skaling")
    random = np.random.default_rng(1)
    params = np.exp(random.uniform(np.log(1e7), np.log(1e9), 40))
    tokens = params * np.exp(random.uniform(np.log(4), np.log(200), 40))
    truth = {"E": 1.6, "A": 2e3, "alpha": 0.42, "B": 9e3, "beta": 0.43, "k": 0.8}
    loss = law.predict(**truth, params=params, tokens=tokens)
    loss = loss * np.exp(0.03 * random.standard_t(3, 40))
    fitted = engine.fit(law, observations(params, tokens, loss), PAPER)
    assert fitted.objective == "huber_log:0.05"

    def residuals(theta: np.ndarray) -> np.ndarray:
        values = dict(zip(law.parameter_names, np.exp(theta), strict=True))
        return np.log(law.predict(**values, params=params, tokens=tokens)) - np.log(loss)

    start = np.log([fitted.values[name] for name in law.parameter_names])
    best = least_squares(residuals, start, loss="huber", f_scale=0.05, x_scale="jac")
    assert fitted.objective_value <= best.cost * (1 + 1e-9)
    away = law.predict(**fitted.values, params=params, tokens=tokens)
    outside = np.abs(np.log(away) - np.log(loss)) > 0.05
    assert 0 < outside.sum() < 20  # or the delta would not have been tried


def test_a_law_without_a_recorded_paper_refuses() -> None:
    rows, _ = farseer_grid(0.0)
    with pytest.raises(InputError, match="not recorded"):
        engine.fit(get_law("power"), rows, FitOptions(procedure="paper", x="tokens"))
    with pytest.raises(InputError, match="`objective=`"):
        engine.fit(get_law("skaling"), rows, FitOptions(procedure="paper", objective="squared"))
    with pytest.raises(InputError, match="robust, paper"):
        engine.fit(get_law("skaling"), rows, FitOptions(procedure="best"))


def test_every_recorded_paper_names_an_objective_that_there_is() -> None:
    for law in LAWS.values():
        if law.paper:
            assert get_objective(law.paper.objective).name == law.paper.objective
            assert law.paper.method


@pytest.mark.parametrize("name", ["huber_adaptive:0.1", "squared:2", "huber_log:x", "huber_log:0"])
def test_a_delta_that_means_nothing_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        get_objective(name)


def test_the_commands_say_which_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SCALEFIT_STORE", raising=False)
    rows, _ = farseer_grid(5e-4)
    with Path("grid.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["run_id", *rows.columns])
        for i, row in enumerate(zip(*rows.columns.values(), strict=True)):
            writer.writerow([f"run{i}", *row])

    def scalefit(*arguments: str) -> Any:
        result = CliRunner().invoke(app, [*arguments, "--json"])
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    scalefit("ingest", "grid.csv")
    (paper,) = scalefit("fit", "--law", "farseer", "--procedure", "paper", "-o", "fit.json")["fits"]
    assert (paper["law"], paper["recipe"]) == ("farseer", "paper")
    (read,) = load_fits(Path("fit.json"))
    assert read.procedure == "paper"
    point = ["predict", "--params", "25B", "--tokens", "500B"]
    (prediction,) = scalefit(*point)["predictions"]
    assert prediction["law"] == "farseer"
    assert prediction["low"] is None
    (robust,) = scalefit("fit", "--law", "chinchilla", "--bootstrap", "20")["fits"]
    assert robust["recipe"] == "robust"
    assert scalefit("fit", "--bootstrap", "20")["fits"][0]["recipe"] == "auto"
    refused = CliRunner().invoke(app, ["fit", "--recipe", "paper"])
    assert refused.exit_code == 2
    assert "--law skaling" in refused.stderr
