"""The record of a fit: what it missed inside the runs, and what that makes of its intervals."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from scaling_cli.fitting import record
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.procedures import fitter
from scaling_cli.fitting.record import Fold, Record
from scaling_cli.fitting.result import Fit
from scaling_cli.laws import get_law
from scaling_cli.table import Table

CHINCHILLA = {"E": 1.82, "A": 480.0, "alpha": 0.348, "B": 2085.0, "beta": 0.366}
QUICK = FitOptions(resamples=100)


def ladder(seed: int = 0, bent: float = 0.0, noise: float = 0.003) -> dict[str, np.ndarray]:
    """Six budgets of six sizes; `bent` adds to ln loss what grows with the square of ln compute."""
    random = np.random.default_rng(seed)
    compute = np.repeat(np.geomspace(1e18, 1e20, 6), 6)
    ratio = np.tile(np.geomspace(5, 150, 6), 6)
    params = np.sqrt(compute / 6 / ratio)
    tokens = compute / 6 / params
    loss = get_law("chinchilla").predict(**CHINCHILLA, params=params, tokens=tokens)
    loss = loss * np.exp(noise * random.standard_normal(len(loss)))
    loss *= np.exp(-bent * np.log(compute / compute.min()) ** 2)
    return {"params": params, "tokens": tokens, "loss": loss, "flops": compute}


def test_no_cut_parts_runs_of_one_budget() -> None:
    compute = ladder()["flops"] * np.exp(0.01 * np.random.default_rng(1).standard_normal(36))
    found = record.cuts(compute)
    assert len(found) == 3
    for _, below in found:
        assert np.sum(below) % 6 == 0
        assert np.max(compute[below]) < np.min(compute[~below])
    held = [int(np.sum(~below)) for _, below in found]
    assert held == sorted(set(held))


def test_runs_of_one_budget_or_too_few_have_no_fold() -> None:
    assert record.cuts(np.full(40, 1e20)) == []
    assert record.cuts(np.geomspace(1e18, 1e20, 8)) == []


@pytest.mark.parametrize("name", ["auto", "chinchilla"])
def test_neither_order_nor_names_of_runs_change_the_folds(name: str) -> None:
    columns = ladder()
    order = np.random.default_rng(2).permutation(36)
    shuffled = {key: values[order] for key, values in columns.items()}
    named = Table.from_columns(columns, [f"a{i}" for i in range(36)])
    other = Table.from_columns(shuffled, [f"z{i}" for i in order[::-1]])
    first, second = (fitter(name)(rows, QUICK, {}).record for rows in (named, other))
    assert first
    assert second
    assert [fold.n_held for fold in first.folds] == [fold.n_held for fold in second.folds]
    for one, two in zip(first.folds, second.folds, strict=True):
        assert one.error == pytest.approx(two.error, rel=1e-3)


@pytest.mark.parametrize("name", ["auto", "chinchilla"])
def test_misses_inside_the_runs_widen_the_interval_on_their_side(name: str) -> None:
    """A ladder that falls faster and faster: every forecast inside it was too high."""
    fine, bent = (
        fitter(name)(Table.from_columns(ladder(bent=bend)), QUICK, {}) for bend in (0.0, 0.004)
    )
    assert fine.record
    assert bent.record
    assert all(fold.bias > 0 for fold in bent.record.folds)
    assert bent.record.below > 1.5 * fine.record.below
    assert bent.record.below > bent.record.above
    point = {"params": np.array([4e9]), "tokens": np.array([8e10])}
    as_stated = replace(bent, record=None).band(point)
    band = bent.band(point)
    assert band is not None
    assert as_stated is not None
    middle = np.log(bent.curve(point))
    grown = [
        (np.log(end) - middle) / (np.log(was) - middle)
        for end, was in zip(band, as_stated, strict=True)
    ]
    assert np.ravel(grown) == pytest.approx(bent.record.ends(0.9))


def test_a_fold_is_worth_no_more_than_four_deviations() -> None:
    def fold(square: float) -> Fold:
        return Fold(1.0, 10, 5, 0.1, 0.0, 0.1, square, square)

    far, further = (Record("flops", 1.0, (fold(square),)).factor for square in (16.0, 1e6))
    assert far == further
    none, fair = Record("flops", 0.9), Record("flops", 0.9, (fold(1.0),) * 3)
    assert none.factor == pytest.approx(0.9)
    assert fair.factor == pytest.approx(0.9)


def test_the_record_is_part_of_the_document() -> None:
    fitted = fitter("auto")(Table.from_columns(ladder()), QUICK, {})
    document = json.loads(json.dumps(fitted.to_document()))
    assert [fold["n_fitted"] + fold["n_held_out"] for fold in document["record"]["folds"]] == [
        36
    ] * 3
    assert Fit.from_document(document).record == fitted.record
