"""Each procedure makes its fits in one place: every doubt comes whichever found the optimum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from scaling_cli.fitting import solver, tied
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.procedures import fitter
from scaling_cli.fitting.result import PAPER, Fit
from scaling_cli.laws import get_law
from scaling_cli.table import Table

TRUTH = {"E": 1.82, "A": 480.0, "alpha": 0.348, "B": 2085.0, "beta": 0.366}  # epoch2024
LAW = get_law("chinchilla")
QUICK = FitOptions(resamples=60)


def surface_runs(seed: int = 0, noise: float = 0.002, **truth: float) -> dict[str, np.ndarray]:
    """Five sizes at each of four budgets, about the optimum of each."""
    random = np.random.default_rng(seed)
    compute = np.repeat(10.0 ** np.arange(18, 22), 5)
    params = np.sqrt(compute / 120) * np.tile(np.geomspace(0.3, 3.0, 5), 4)
    tokens = compute / 6 / params
    loss = LAW.predict(**TRUTH | truth, params=params, tokens=tokens)
    loss = loss * np.exp(noise * random.standard_normal(len(loss)))
    return {"params": params, "tokens": tokens, "loss": loss, "flops": compute}


def robust(rows: Table, options: FitOptions) -> Fit:
    return fitter("chinchilla")(rows, options, {})


def paper(rows: Table, options: FitOptions) -> Fit:
    return fitter("chinchilla")(rows, replace(options, procedure=PAPER), {})


def forecast(rows: Table, options: FitOptions) -> Fit:
    return fitter("auto")(rows, options, {})


def tied_fit(rows: Table, options: FitOptions) -> Fit:
    groups = [({"g": name}, rows) for name in "ab"]
    found = tied.fit(LAW, groups, replace(options, tied=("E",)))[0]
    assert isinstance(found, Fit)
    return found


def chain(rows: Table, options: FitOptions) -> Fit:
    score = 0.9 - 2.0 * np.exp(-rows.columns["loss"])
    rows = rows.with_columns(score=score)
    return fitter("chinchilla+err_exp")(rows, replace(options, target="score"), {})


def isoflop(rows: Table, options: FitOptions) -> Fit:
    return fitter("isoflop")(rows, options, {})


PROCEDURES: dict[str, Callable[[Table, FitOptions], Fit]] = {
    "robust": robust,
    "paper": paper,
    "auto": forecast,
    "tied": tied_fit,
    "chain": chain,
    "isoflop": isoflop,
}
SURFACES = [name for name in PROCEDURES if name != "isoflop"]


def codes(fitted: Fit) -> set[str]:
    return {note.code for note in fitted.notes}


@pytest.mark.parametrize("name", PROCEDURES)
def test_a_sound_ladder_has_no_severe_doubt(name: str) -> None:
    fitted = PROCEDURES[name](Table.from_columns(surface_runs()), QUICK)
    severe = {note.code for note in fitted.notes if note.severity == "severe"}
    assert severe - {"few_sizes"} == set()
    assert len(fitted.draws) > 50


@pytest.mark.parametrize("name", SURFACES)
def test_a_loss_that_ignores_tokens_leaves_no_term_of_them(name: str) -> None:
    """The term of tokens goes to zero, and that is said: B = 6e-12 is no finding."""
    rows = Table.from_columns(surface_runs(noise=0.0005, B=0.0))
    fitted = PROCEDURES[name](rows, QUICK)
    assert "at_bound" in codes(fitted)
    assert any(n.message.startswith(("B ", "beta ")) for n in fitted.notes if n.code == "at_bound")


@pytest.mark.parametrize("name", SURFACES)
def test_an_optimum_that_was_not_reached_is_said(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(solver, "FEW_ITERATIONS", 2)
    monkeypatch.setattr(solver, "MAX_ITERATIONS", 2)
    fitted = PROCEDURES[name](Table.from_columns(surface_runs()), QUICK)
    assert "not_converged" in codes(fitted)


@pytest.mark.parametrize("name", PROCEDURES)
def test_points_of_one_run_have_no_interval(name: str) -> None:
    columns = surface_runs()
    rows = Table.from_columns(columns, ["one"] * 20)
    fitted = PROCEDURES[name](rows, QUICK)
    assert "one_run" in codes(fitted)
    assert not len(fitted.draws)


@pytest.mark.parametrize("name", PROCEDURES)
def test_no_interval_stands_beside_the_word_that_there_is_none(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nine of ten refits fail: too few are left, and none of them speaks."""
    from scaling_cli.fitting import assembly

    made = assembly.Draws.__init__

    def lacking(self: Any, refits: Any, wanted: int = 0, *more: Any, **named: Any) -> None:
        made(self, refits[: wanted // 10], wanted, *more, **named)

    monkeypatch.setattr(assembly.Draws, "__init__", lacking)
    fitted = PROCEDURES[name](Table.from_columns(surface_runs()), QUICK)
    (note, *_) = (n for n in fitted.notes if n.code == "resamples_failed")
    assert note.severity == "severe"
    assert not len(fitted.draws)
    assert all(item.low is None for item in fitted.parameters.values())


@pytest.mark.parametrize("name", ["robust", "paper", "tied", "chain"])
def test_a_law_that_falls_explains_nothing_of_what_rises(name: str) -> None:
    random = np.random.default_rng(1)
    compute = np.geomspace(1e18, 3e20, 30)
    params = np.sqrt(compute / 6 / np.exp(random.uniform(np.log(4), np.log(150), 30)))
    columns = {"params": params, "tokens": compute / 6 / params, "flops": compute}
    columns["loss"] = 1 / (1 + np.exp(18.5 - np.log10(compute)))
    fitted = PROCEDURES[name](Table.from_columns(columns), QUICK)
    assert "explains_little" in codes(fitted)


def test_optima_of_any_size_explain_nothing() -> None:
    columns = surface_runs()
    sizes = np.geomspace(0.3, 3.0, 5)
    centre = np.repeat(1e9 * np.array([1.0, 4.0, 0.3, 1.1]), 5)
    columns["params"] = centre * np.tile(sizes, 4)
    columns["loss"] = 2.0 + 0.1 * np.tile(np.log(sizes) ** 2, 4)
    columns["tokens"] = columns["flops"] / 6 / columns["params"]
    assert "explains_little" in codes(isoflop(Table.from_columns(columns), QUICK))
