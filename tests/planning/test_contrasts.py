"""Two recipes against each other, on surfaces whose crossing and worth are known exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import scaling_cli as scalefit
from scaling_cli.errors import InputError
from scaling_cli.fitting.assembly import domain
from scaling_cli.fitting.result import Fit
from scaling_cli.laws import get_law
from scaling_cli.planning.contrasts import (
    asymptotes,
    crossing,
    equivalent,
    slope_ratios,
    slopes,
)

LADDER = {"params": np.geomspace(1e7, 1e9, 20), "tokens": np.geomspace(2e8, 2e10, 20)}


def recipe(name: str, spread: float = 0.0, **values: float) -> Fit:
    """A fitted surface with 400 resamples whose ln A and ln B scatter by `spread`."""
    law = get_law("chinchilla")
    random = np.random.default_rng(sum(map(ord, name)))
    draws = np.array([[values[item] for item in law.parameter_names]] * 400)
    for column in ("A", "B"):
        draws[:, law.parameter_names.index(column)] *= np.exp(
            spread * random.standard_normal(len(draws))
        )
    return Fit(
        law_id=law.id, group={"recipe": name}, n_observations=20, n_runs=20,
        objective="huber_log", objective_value=0.0, values=values, constants={}, draws=draws,
        level=0.9, noise=0.0, metrics={}, domain=domain(LADDER),
        columns={"params": "params", "tokens": "tokens", "target": "loss"}, seed=0,
        data_digest="", version="",
    )  # fmt: skip


STEEP = {"E": 1.7, "A": 1000.0, "alpha": 0.40, "B": 1000.0, "beta": 0.40}
FLAT = {"E": 1.7, "A": 300.0, "alpha": 0.34, "B": 300.0, "beta": 0.34}


def frontier(values: dict[str, float]) -> tuple[float, float]:
    """K and g of the frontier E + K C**-g, for alpha = beta (Hoffmann et al. 2022, eq. 4)."""
    g = values["alpha"] / 2
    ratio = (values["A"] / values["B"]) ** (1 / (2 * values["alpha"]))
    k = values["A"] * ratio ** -values["alpha"] + values["B"] * ratio ** values["alpha"]
    return k * 6**g, g


def test_a_crossing_is_where_the_frontiers_meet() -> None:
    (k1, g1), (k2, g2) = frontier(STEEP), frontier(FLAT)
    truth = (k1 / k2) ** (1 / (g1 - g2))
    found = crossing(recipe("steep", 0.02, **STEEP), recipe("flat", 0.02, **FLAT))
    assert found.at == pytest.approx(truth, rel=1e-3)
    assert (found.before, found.after) == ("flat", "steep")
    assert found.low is not None
    assert found.high is not None
    assert found.low < truth < found.high
    assert found.share == 1.0


def test_a_doubtful_crossing_has_an_open_end_and_says_so() -> None:
    found = crossing(recipe("steep", 0.4, **STEEP), recipe("flat", 0.4, **FLAT))
    assert found.share is not None
    assert found.share < 0.9
    assert None in (found.low, found.high)
    assert "crossing_uncertain" in {note.code for note in found.notes}


def test_curves_that_do_not_meet_say_which_is_lower() -> None:
    better = STEEP | {"A": 800.0, "B": 800.0}
    found = crossing(recipe("better", **better), recipe("worse", **STEEP))
    assert (found.at, found.before, found.after) == (None, "better", "better")
    assert "no_crossing" in {note.code for note in found.notes}


def test_the_worth_of_a_recipe_in_compute() -> None:
    half = STEEP | {"A": 500.0, "B": 500.0}  # half the reducible loss everywhere
    found = equivalent(recipe("half", 0.01, **half), recipe("steep", 0.01, **STEEP), 1e20)
    assert found.multiple == pytest.approx(2 ** (2 / 0.40), rel=1e-3)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 32 < found.high
    back = equivalent(recipe("steep", **STEEP), recipe("half", **half), 1e20)
    assert back.multiple == pytest.approx(1 / 32, rel=1e-3)


def test_only_what_matters_is_said_of_an_extrapolation() -> None:
    """A fifth of a decade past the runs is information, three decades are a warning."""
    one, other = recipe("steep", **STEEP), recipe("flat", **FLAT)
    most = one.domain["flops"][1]
    near, far = (equivalent(one, other, factor * most) for factor in (1.6, 1e3))
    assert one.distance_notes({"flops": 1.6 * most})  # there is something to say
    assert near.notes == ()
    assert {note.code for note in far.notes} == {"extrapolation"}


def test_a_loss_below_the_other_floor_is_never_reached() -> None:
    low = STEEP | {"E": 0.5}
    found = equivalent(recipe("low", **low), recipe("steep", **STEEP), 1e22)
    assert found.multiple is None
    assert "unreachable" in {note.code for note in found.notes}


def test_slopes_are_tested_against_a_theory() -> None:
    fit = recipe("steep", **STEEP)
    random = np.random.default_rng(0)
    draws = fit.draws.copy()
    column = fit.law.parameter_names.index("alpha")
    draws[:, column] += 0.02 * random.standard_normal(len(draws))
    fit = replace(fit, draws=draws)
    by_name = {item.exponent: item for item in slopes(fit, theory=0.40)}
    assert by_name["alpha"].p_value is not None
    assert by_name["alpha"].p_value > 0.5
    far = {item.exponent: item for item in slopes(fit, theory=0.50)}["alpha"]
    assert far.p_value is not None
    assert far.p_value < 0.01
    (alpha, beta) = slope_ratios(fit, recipe("flat", **FLAT))
    assert (alpha.exponent, beta.exponent) == ("alpha", "beta")
    assert beta.value == pytest.approx(0.40 / 0.34)
    assert alpha.low is not None
    assert alpha.high is not None
    assert alpha.low < 0.40 / 0.34 < alpha.high


def test_the_lower_asymptote_is_told_from_a_draw() -> None:
    """By simulated ladders: a floor .2 lower is found, one that is the same is not."""

    def ladder(floor: float, seed: int) -> Fit:
        random = np.random.default_rng(seed)
        params = np.repeat(np.geomspace(2e7, 1e9, 6), 4)
        tokens = params * np.tile([10.0, 20.0, 40.0, 80.0], 6)
        loss = floor + 400 / params**0.34 + 1200 / tokens**0.37
        data = {"params": params, "tokens": tokens}
        data["loss"] = loss * np.exp(0.003 * random.standard_normal(24))
        found = scalefit.fit("chinchilla", data, bootstrap=100)
        assert isinstance(found, Fit)
        return found

    base, better, same = ladder(2.0, 0), ladder(1.8, 1), ladder(2.0, 2)
    found = asymptotes(better, base)
    assert found
    assert found.p_lower is not None
    assert found.p_lower > 0.99
    assert found.low is not None
    assert found.high is not None
    assert found.low < -0.2 < found.high < 0
    back = asymptotes(base, better)
    assert back
    assert back.p_lower == pytest.approx(1 - found.p_lower)
    tied = asymptotes(same, base)
    assert tied
    assert tied.low is not None
    assert tied.high is not None
    assert tied.low < 0 < tied.high
    floorless = scalefit.fit("power", {"x": [1e8, 1e9, 1e10], "loss": [4, 3.2, 2.6]}, x="x")
    assert isinstance(floorless, Fit)
    assert asymptotes(floorless, better) is None


def test_an_outer_power_belongs_to_the_slope() -> None:
    law = get_law("skaling")
    values = {"E": 1.5, "A": 900.0, "alpha": 0.5, "B": 900.0, "beta": 0.6, "k": 0.8}
    base = recipe("steep", **STEEP)
    fit = replace(
        base, law_id="skaling", values=values, draws=np.empty((0, len(law.parameter_names)))
    )
    assert {item.exponent: item.value for item in slopes(fit)} == pytest.approx(
        {"alpha": 0.4, "beta": 0.48}
    )


def test_a_surface_is_no_curve_along_another_column() -> None:
    with pytest.raises(InputError, match="flops"):
        crossing(recipe("steep", **STEEP), recipe("flat", **FLAT), along="step")


@pytest.mark.parametrize("reach", [2.0, 3.0, 5.0])
def test_bounds_of_a_crossing_do_not_change_sides_with_the_reach(reach: float) -> None:
    """Curves that meet some decades out, in some resamples sooner and in some never: at every
    reach the low end is what the resamples say, and the high end is open."""
    found = crossing(
        recipe("steep", 0.10, **(STEEP | {"A": 1500.0, "B": 1500.0})),
        recipe("flat", 0.10, **FLAT),
        reach=reach,
    )
    far = crossing(
        recipe("steep", 0.10, **(STEEP | {"A": 1500.0, "B": 1500.0})),
        recipe("flat", 0.10, **FLAT),
        reach=8.0,
    )
    assert far.low is not None
    if far.low < found.searched[1]:
        assert found.low == pytest.approx(far.low, rel=0.1)
    else:
        assert found.low is None
    assert found.high is None or found.high == pytest.approx(far.high, rel=0.1)
    assert found.to_json()["open"] == {"low": found.low is None, "high": found.high is None}


def test_an_end_at_the_limit_of_the_search_is_open() -> None:
    """A recipe with a far lower floor needs next to no compute for the other's loss."""
    low = STEEP | {"E": 0.5, "A": 2.0, "B": 2.0}
    found = equivalent(recipe("steep", 0.01, **STEEP), recipe("low", 0.01, **low), 1e10)
    assert (found.low, found.to_json()["open"]["low"]) == (None, True)
