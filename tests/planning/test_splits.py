"""Compute-optimal splits: closed form, numeric, published, refused."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scaling_cli.errors import InputError
from scaling_cli.fitting import auto
from scaling_cli.fitting.isoflop import isoflop_curves, minima
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.result import Fit
from scaling_cli.laws import get_law, get_published
from scaling_cli.planning.budget import Constraints, Line, optimum
from scaling_cli.planning.splits import allocate_fit, allocate_published
from scaling_cli.table import Table


@pytest.mark.parametrize(
    ("name", "budget", "params", "tokens", "loss"),
    [
        ("hoffmann2022", 1e24, 4.1297e10, 4.0358e12, 1.91120),
        ("epoch2024", 1e24, 9.5861e10, 1.7386e12, 1.95971),
        ("hoffmann2022", 5.76e23, 32.2e9, None, None),
        ("hoffmann2022_tex", 5.76e23, 40.4e9, None, None),
        ("epoch2024", 5.76e23, 72.2e9, None, None),
    ],
)
def test_published_splits(
    name: str, budget: float, params: float, tokens: float | None, loss: float | None
) -> None:
    found = allocate_published(*get_published(name), budget)
    assert found.params == pytest.approx(params, rel=2e-3)
    assert found.params is not None
    assert found.tokens is not None
    assert 6 * found.params * found.tokens == pytest.approx(budget, rel=1e-12)
    if tokens is not None:
        assert found.tokens == pytest.approx(tokens, rel=1e-3)
        assert found.loss == pytest.approx(loss, abs=5e-6)


@pytest.mark.parametrize("budget", [1e18, 1e21, 1e24])
@pytest.mark.parametrize("law_id", ["chinchilla", "skaling"])
def test_closed_form_is_the_numeric_optimum(law_id: str, budget: float) -> None:
    law = get_law(law_id)
    values = {"E": 1.8, "A": 480.0, "alpha": 0.35, "B": 2100.0, "beta": 0.37}
    if law_id == "skaling":
        values |= {"A": 2305.0, "alpha": 0.424, "B": 9957.0, "beta": 0.4305, "k": 0.77}
    batch = {name: np.full((1, 1), value) for name, value in values.items()}
    exact, data = optimum(law, batch, Line(budget))
    numeric, _ = optimum(replace(law, optimum=None), batch, Line(budget))
    assert numeric[0] == pytest.approx(exact[0], rel=1e-3)
    best = law.predict(**values, params=exact, tokens=data)
    for factor in (0.99, 1.01):
        assert law.predict(**values, params=exact * factor, tokens=data / factor) > best


@pytest.mark.parametrize(
    ("budget", "ratio"), [(1e19, 17.3), (1e20, 10.8), (1e21, 10.9), (1e22, 14.0)]
)
def test_farseer_has_the_interior_optimum_that_is_known(budget: float, ratio: float) -> None:
    found = allocate_published(*get_published("farseer2025"), budget)
    assert found.tokens_per_param == pytest.approx(ratio, rel=0.01)
    lower_elsewhere = budget >= 1e21
    assert [note.code for note in found.notes] == ["local_optimum"] * lower_elsewhere


@pytest.mark.parametrize("budget", [1e23, 1e24, 1e26])
def test_a_runaway_optimum_is_refused(budget: float) -> None:
    found = allocate_published(*get_published("farseer2025"), budget)
    assert found.params is None
    assert [note.code for note in found.notes] == ["no_optimum"]


def test_a_prescribed_ratio_is_kept() -> None:
    found = allocate_published(*get_published("epoch2024"), 1e23, Constraints(tokens_per_param=20))
    assert found.tokens_per_param == pytest.approx(20)
    free = allocate_published(*get_published("epoch2024"), 1e23)
    assert found.loss is not None
    assert free.loss is not None
    assert found.loss >= free.loss


def test_a_law_of_one_variable_splits_nothing() -> None:
    _, entry = get_published("epoch2024")
    with pytest.raises(InputError, match="power"):
        allocate_published(get_law("power"), entry, 1e23)


@pytest.fixture(scope="module")
def forecast_fit() -> Fit:
    law, published = get_published("epoch2024")
    random = np.random.default_rng(0)
    compute = 10 ** np.repeat(np.linspace(18.0, 20.5, 6), 4)
    params = np.sqrt(compute / 6 / np.exp(random.uniform(np.log(4), np.log(150), 24)))
    tokens = compute / 6 / params
    loss = law.predict(**published.values, params=params, tokens=tokens)
    loss = loss * np.exp(0.01 * random.standard_normal(24))
    rows = Table.from_columns({"params": params, "tokens": tokens, "loss": loss})
    return auto.fit(rows, FitOptions(resamples=200))


def test_the_loss_of_a_split_is_that_of_a_run_there(forecast_fit: Fit) -> None:
    widths = []
    for budget in (1e20, 1e22, 1e24):
        found = allocate_fit(forecast_fit, budget)
        assert found.params is not None
        assert found.tokens is not None
        assert found.loss_range is not None
        run = forecast_fit.predict({"params": found.params, "tokens": found.tokens})
        assert found.loss_range == (run.low, run.high)
        widths.append(np.log(found.loss_range[1] / found.loss_range[0]))
    assert (np.diff(widths) > 0.01).all()  # the doubt about the law grows with the distance
    sure = replace(forecast_fit, drift=0.0)
    narrow = allocate_fit(sure, 1e24).loss_range
    assert narrow is not None
    assert np.log(narrow[1] / narrow[0]) < widths[-1]


def test_a_prediction_that_overflows_is_refused(forecast_fit: Fit) -> None:
    runaway = replace(forecast_fit, values=forecast_fit.values | {"alpha": -60.0})
    with pytest.raises(InputError, match="no finite loss at params=1e\\+12"):
        runaway.predict({"params": 1e12, "tokens": 1e13})


def test_the_bounds_of_a_split_hold_the_level_that_is_asked_for(forecast_fit: Fit) -> None:
    sure = replace(forecast_fit, drift=0.0)
    inner, outer = (allocate_fit(sure.at_level(level), 1e22) for level in (0.5, 0.95))
    assert (inner.level, outer.level) == (0.5, 0.95)
    assert inner.fit_id == outer.fit_id
    for name in ("params_range", "tokens_range", "loss_range"):
        (low, high), (least, most) = getattr(inner, name), getattr(outer, name)
        assert least < low < high < most
    params, _ = optimum(forecast_fit.law, forecast_fit.draw_values(), Line(1e22))
    assert inner.params_range is not None
    share = np.mean((inner.params_range[0] <= params) & (params <= inner.params_range[1]))
    assert share == pytest.approx(0.5, abs=0.01)


def test_a_split_far_past_the_runs_is_as_unsure_as_such_splits_were(forecast_fit: Fit) -> None:
    for budget, at_least in ((1e22, 1.1), (1e24, 2.0)):
        wide, narrow = (
            allocate_fit(item, budget).params_range
            for item in (forecast_fit, replace(forecast_fit, drift=0.0))
        )
        assert wide is not None
        assert narrow is not None
        assert wide[1] / wide[0] > at_least * narrow[1] / narrow[0]
    fixed = allocate_fit(forecast_fit, 1e24, Constraints(tokens_per_param=20))
    assert fixed.params_range == (fixed.params, fixed.params)


def test_the_lowest_points_of_larger_isoflop_curves_lie_in_the_bounds(public_data: Path) -> None:
    """Two decades past the runs: the vertex of the measured losses near the lowest of a budget."""
    inside = []
    for name in ("owt2/base/short-warmup/chinchilla-decay", "owt2/tuned/short-warmup/const-decay"):
        rows = porian(public_data, f"{name}/standard-count/val-loss")
        top = float(np.max(rows.columns["flops"]))
        below = rows.select(rows.columns["flops"] < 0.9e-2 * top)
        fitted = auto.fit(below, FitOptions(resamples=100))
        for curve in isoflop_curves(rows):
            lowest = curve.log_params[np.argmin(curve.loss)]
            near = np.abs(curve.log_params - lowest) < np.log(4)
            vertex = minima(curve.log_params[near], curve.loss[None, near], "parabola")[0]
            bounds = allocate_fit(fitted, curve.flops).params_range
            if curve.flops > 10 * fitted.domain["flops"][1]:
                assert bounds is not None
                inside.append(bounds[0] <= np.exp(vertex) <= bounds[1])
    assert len(inside) >= 6
    assert np.mean(inside) >= 0.9


def porian(public_data: Path, group: str) -> Table:
    with (public_data / "porian_isoflop" / "porian_isoflop_points.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["group"] == group]
    names = ("params", "tokens", "loss")
    columns = {name: np.array([float(row[name]) for row in rows]) for name in names}
    columns["flops"] = 6 * columns["params"] * columns["tokens"]
    return Table.from_columns(columns, [row["run_id"] for row in rows])


def test_no_split_lies_beyond_all_ratios(forecast_fit: Fit) -> None:
    """A law whose closed form asks for less than one token a hundred params has no split."""
    lopsided = replace(forecast_fit, values=forecast_fit.values | {"B": 1e-3})
    found = allocate_fit(lopsided, 1e22)
    assert found.params is None
    assert [note.code for note in found.notes] == ["no_optimum"]
    draws = forecast_fit.draws.copy()
    draws[: len(draws) // 5, forecast_fit.law.parameter_names.index("B")] = 1e-3
    unsure = allocate_fit(replace(forecast_fit, draws=draws), 1e22)
    assert unsure.params_range is not None
    assert unsure.params_range[0] is not None
    assert unsure.open_ends == ("params_high", "tokens_low")
    document = unsure.to_json()
    assert document["params_high"] is None
    assert document["open"] == ["params_high", "tokens_low"]
    assert "optimum_uncertain" in {note.code for note in unsure.notes}
