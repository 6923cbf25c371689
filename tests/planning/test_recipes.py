"""Recipes side by side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import scaling_cli as scalefit
from scaling_cli.errors import InputError
from scaling_cli.fitting.result import Fit
from scaling_cli.laws import get_law

LAW = get_law("chinchilla")
VALUES = {"E": 1.8, "A": 480.0, "alpha": 0.348, "B": 2085.0, "beta": 0.366}


def fit_of(name: str, noise: float, seed: int, **moved: float) -> Fit:
    random = np.random.default_rng(seed)
    compute = 10 ** np.repeat(np.linspace(18.0, 20.5, 6), 4)
    params = np.sqrt(compute / 6 / np.exp(random.uniform(np.log(4), np.log(150), 24)))
    columns = {"params": params, "tokens": compute / 6 / params}
    loss = LAW.predict(**(VALUES | moved), **columns)
    loss = loss * np.exp(noise * random.standard_normal(24))
    runs = {**columns, "loss": loss, "recipe": [name] * 24}
    return scalefit.fit("chinchilla", runs, by="recipe", bootstrap=100)[0]


@pytest.fixture(scope="module")
def three() -> list[Fit]:
    return [
        fit_of("plain", 0.002, 1),
        fit_of("better", 0.002, 2, A=440.0),
        fit_of("flat", 0.002, 3, beta=0.36, E=1.81),
    ]


def test_probabilities_sum_to_one_and_name_the_best(three: list[Fit]) -> None:
    for ranking in scalefit.recipes(three, [1e19, 1e20]).rankings:
        shares = [item.p_best for item in ranking.standings]
        assert sum(shares) == pytest.approx(1)
        assert shares == sorted(shares, reverse=True)
        assert ranking.best == "better"
        assert ranking.standings[0].split == scalefit.optimal(three[1], ranking.budget_flops)


def test_the_same_runs_twice_cannot_be_told_apart(three: list[Fit]) -> None:
    twin = replace(three[0], group={"recipe": "twin"})
    (ranking,) = scalefit.recipes([three[0], twin], 1e22).rankings
    assert ranking.best is None
    assert ranking.candidates == ("plain", "twin") or ranking.candidates == ("twin", "plain")
    assert ranking.standings[0].p_best == pytest.approx(0.5, abs=0.04)
    assert "cannot tell" in ranking.verdict
    assert ranking.expected > min(s.split.loss or np.inf for s in ranking.standings)


def test_compute_multiples_are_those_of_equivalent(three: list[Fit]) -> None:
    (ranking,) = scalefit.recipes(three, 1e21, baseline="plain").rankings
    by_name = {item.recipe: item for item in ranking.standings}
    assert by_name["plain"].multiple == 1.0
    for fit in three[1:]:
        alone = scalefit.equivalent(fit, three[0], 1e21)
        item = by_name[str(fit.group["recipe"])]
        assert item.multiple == pytest.approx(alone.multiple, rel=0.01)
        assert item.multiple_range[0] == pytest.approx(alone.low, rel=0.03)
    assert (by_name["better"].multiple or 0) > 1


def test_crossings_are_those_of_crossing() -> None:
    fits = [fit_of("early", 0.001, 4), fit_of("late", 0.001, 5, A=520.0, E=1.75)]
    (meeting,) = scalefit.recipes(fits, 1e22).meetings
    alone = scalefit.crossing(*fits)
    assert (meeting.before, meeting.after) == (alone.before, alone.after)
    assert meeting.flops == pytest.approx(alone.at, rel=0.02)


def test_what_cannot_be_compared_is_refused(three: list[Fit]) -> None:
    with pytest.raises(InputError, match="one recipe alone: plain"):
        scalefit.recipes(three[:1], 1e22)
    with pytest.raises(InputError, match="there is no recipe x"):
        scalefit.recipes(three, 1e22, baseline="x")
    with pytest.raises(InputError, match="no interval"):
        scalefit.recipes([three[0], replace(three[1], draws=three[1].draws[:0])], 1e22)
    with pytest.raises(InputError, match="several laws"):
        scalefit.recipes([three[0], three[0]], 1e22)
