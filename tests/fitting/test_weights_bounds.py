"""Runs that count differently, and parameters that are kept in a range."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from scaling_cli.errors import InputError
from scaling_cli.fitting import tied
from scaling_cli.fitting.engine import fit
from scaling_cli.fitting.objective import get_objective
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.result import Fit
from scaling_cli.fitting.surface import Surface, on_scale
from scaling_cli.laws import get_law
from scaling_cli.table import Table
from tests.simulate import observations

LAW = get_law("chinchilla")
PLAIN = FitOptions(resamples=0)


def ladder(seed: int = 1, rows: int = 30, floor: float = 1.7) -> Table:
    random = np.random.default_rng(seed)
    params = np.exp(random.uniform(np.log(1e7), np.log(1e9), rows))
    tokens = params * np.exp(random.uniform(np.log(5), np.log(200), rows))
    loss = floor + 400 * params**-0.34 + 1500 * tokens**-0.36
    loss *= np.exp(0.01 * random.standard_normal(rows))
    columns = {"params": params, "tokens": tokens}
    made = observations(LAW, columns, loss)
    return replace(made, columns=made.columns | {"count": 1.0 + np.arange(rows) % 3})


def same_law(one: Fit, other: Fit) -> None:
    for name, value in one.values.items():
        assert other.values[name] == pytest.approx(value, rel=1e-6), name


def test_a_weight_of_two_is_a_row_that_stands_twice() -> None:
    rows = ladder()
    often = np.repeat(np.arange(len(rows)), rows.columns["count"].astype(int))
    repeated = rows.take(often)
    weighted = fit(LAW, rows, replace(PLAIN, weights="count"))
    same_law(weighted, fit(LAW, repeated, PLAIN))
    assert weighted.values != fit(LAW, rows, PLAIN).values
    assert "weighted" in {note.code for note in weighted.notes}


def test_the_unit_of_weights_is_of_no_account() -> None:
    rows = ladder()
    scaled = replace(rows, columns=rows.columns | {"count": 1e6 * rows.columns["count"]})
    options = FitOptions(resamples=50, weights="count")
    one, other = fit(LAW, rows, options), fit(LAW, scaled, options)
    assert np.allclose(one.draws, other.draws, rtol=1e-9)
    assert one.objective_value == pytest.approx(other.objective_value, rel=1e-12)


@pytest.mark.parametrize(("end", "word"), [((0.1, 1.4), "more"), ((2.0, 3.0), "less")])
@pytest.mark.parametrize("objective", ["huber_log", "squared"])
def test_a_bound_that_holds_is_a_parameter_that_is_fixed_there(
    end: tuple[float, float], word: str, objective: str
) -> None:
    rows = ladder()
    options = FitOptions(resamples=40, objective=objective, bounds={"E": end})
    bounded = fit(LAW, rows, options)
    at = end[1] if word == "more" else end[0]
    fixed = fit(LAW, rows, replace(options, bounds={}, fixed={"E": at}))
    assert bounded.objective_value == pytest.approx(fixed.objective_value, rel=1e-9)
    assert bounded.values["E"] == pytest.approx(at, rel=1e-12)
    (note,) = (note for note in bounded.notes if note.code == "at_bound")
    assert word in note.message
    drawn = bounded.draws[:, LAW.parameter_names.index("E")]
    assert len(drawn) > 35
    assert np.all((end[0] - 1e-9 <= drawn) & (drawn <= end[1] + 1e-9))


def test_two_bounds_hold_at_once() -> None:
    bounds = {"alpha": (0.4, 0.6), "beta": (0.5, 0.7)}
    bounded = fit(LAW, ladder(), replace(PLAIN, bounds=bounds))
    fixed = fit(LAW, ladder(), replace(PLAIN, fixed={"alpha": 0.4, "beta": 0.5}))
    assert bounded.objective_value == pytest.approx(fixed.objective_value, rel=1e-9)
    same_law(fixed, bounded)


@pytest.mark.parametrize("seed", range(6))
def test_bounds_that_pull_on_each_other_lead_to_the_best_point_inside(seed: int) -> None:
    """No fit with each of the two free, or fixed at an end, that lies inside is better."""
    random = np.random.default_rng(seed)
    rows = ladder(seed, 25)
    low = {"E": random.uniform(0.5, 2.2), "alpha": random.uniform(0.1, 0.5)}
    bounds = {name: (at, at + random.uniform(0.05, 0.3)) for name, at in low.items()}
    options = replace(PLAIN, objective="squared_log")
    bounded = fit(LAW, rows, replace(options, bounds=bounds))
    best = np.inf
    for ends in product((None, 0, 1), repeat=2):
        fixed = {
            name: bounds[name][end] for name, end in zip(bounds, ends, strict=True) if end in (0, 1)
        }
        found = fit(LAW, rows, replace(options, fixed=fixed))
        values = found.values
        if all(bounds[name][0] <= values[name] <= bounds[name][1] for name in bounds):
            best = min(best, found.objective_value)
    assert bounded.objective_value == pytest.approx(best, rel=1e-9)


def test_a_bound_beyond_the_optimum_changes_nothing() -> None:
    plain = fit(LAW, ladder(), PLAIN)
    wide = {"E": (0.5, 2.5), "alpha": (0.05, 2.0), "beta": (-1.0, 2.0)}
    same_law(plain, fit(LAW, ladder(), replace(PLAIN, bounds=wide)))


@pytest.mark.parametrize("floor", [1.7, -0.25])
def test_a_floor_that_may_be_negative_is_found(floor: float) -> None:
    rows = ladder(floor=floor)
    found = fit(LAW, rows, replace(PLAIN, ranges={"E": (-1.0, 2.0)}))
    assert "not_converged" not in {note.code for note in found.notes}
    for shift in (-0.01, 0.01):
        beside = fit(LAW, rows, replace(PLAIN, fixed={"E": found.values["E"] + shift}))
        assert beside.objective_value > found.objective_value
    if floor > 0:
        same_law(fit(LAW, rows, PLAIN), found)


def test_steps_of_a_floor_that_may_be_negative_are_its_own() -> None:
    law = LAW.starting({"E": (-1.0, 2.0)})
    _, columns, _ = on_scale(law, {name: ladder().columns[name] for name in law.variables})
    surface = Surface(law, columns, ladder().columns["loss"], get_objective("huber_log"), {})
    theta = surface.encode({"E": 0.1, "A": 0.5, "alpha": 0.3, "B": 0.5, "beta": 0.3})
    step = np.array([[-0.4, 0.1, 0.1, 0.0, 0.0]])
    assert surface.moved(theta, step)[0, 0] == pytest.approx(-0.3, rel=1e-12)
    assert surface.step_limits(theta)[0][0, 0] < -10


def test_groups_that_share_a_parameter_keep_weights_and_bounds() -> None:
    groups = [({"recipe": name}, ladder(seed, floor=1.5)) for seed, name in enumerate("ab", 3)]
    options = FitOptions(resamples=20, tied=("E",), bounds={"E": (1.9, 2.5)}, weights="count")
    bounded = tied.fit(LAW, groups, options)
    fixed = [
        fit(LAW, rows, replace(PLAIN, fixed={"E": 1.9}, weights="count")) for _, rows in groups
    ]
    for one, other in zip(bounded, fixed, strict=True):
        assert isinstance(one, Fit)
        same_law(other, one)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"bounds": {"F": (0.0, 1.0)}}, "no parameter F"),
        ({"bounds": {"A": (1.0, 2.0)}}, "amplitude"),
        ({"bounds": {"E": (1.0, 2.0)}, "fixed": {"E": 1.5}}, "fixed and bounded"),
    ],
)
def test_what_cannot_be_bounded_is_refused(options: dict[str, object], word: str) -> None:
    with pytest.raises(InputError, match=word):
        fit(LAW, ladder(), replace(PLAIN, **options))  # type: ignore[arg-type]
