"""The prior of `auto`, learnt from ladders whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.forecast import Row
from scaling_cli.fitting.prior import AT
from scaling_cli.laws import get_law
from tools.prior import Estimate, estimate, learn

ALPHA, BETA, K, SHARE, SLOPE = 0.55, 0.5, 0.6, 0.7, 0.12
TRUTH = np.array([np.log(ALPHA), np.log(BETA), np.log(K), np.log(SHARE / (1 - SHARE)), SLOPE])


def told(
    source: str, distance: float, apart: Sequence[float] = (0, 0, 0, 0), sure: float = 0.02
) -> Estimate:
    """What a ladder says that lies `apart` [4] from the truth and knows each value to `sure`."""
    precision = np.eye(4) / sure**2
    value = TRUTH[:4] + np.array([0, 0, 0, SLOPE * distance]) + apart
    return Estimate(source, precision @ value, precision, distance, 20)


def ladder(seed: int, largest: float) -> list[Row]:
    """A grid of runs up to so many FLOPs, about a law near the truth with .1 % noise."""
    random = np.random.default_rng(seed)
    size, ratio = np.meshgrid(np.geomspace(1e-2, 1, 8), np.geomspace(3, 300, 8))
    params = (size * np.sqrt(largest / 6 / 300)).ravel()
    tokens = params * ratio.ravel()
    alpha, beta, k = np.array([ALPHA, BETA, K]) * np.exp(0.05 * random.standard_normal(3))
    law = get_law("skaling")
    values = {"A": np.median(params) ** alpha, "B": np.median(tokens) ** beta}
    values |= {"alpha": alpha, "beta": beta, "k": k, "E": 0.0}
    falling = law.predict(**values, params=params, tokens=tokens)
    odds = SHARE / (1 - SHARE) * (largest / AT) ** SLOPE
    loss = (falling + odds * np.min(falling)) * np.exp(0.001 * random.standard_normal(64))
    columns = zip(params, tokens, loss, strict=True)
    return [
        {"run_id": f"r{i}", "params": str(n), "tokens": str(d), "loss": str(y)}
        for i, (n, d, y) in enumerate(columns)
    ]


def test_the_prior_finds_what_simulated_ladders_have_in_common() -> None:
    """Exponents, k, the floor's share and how it grows, from ladders of three decades of compute:
    each ladder's own weak prior, about other values, leaves no trace."""
    budgets = (1e19, 1e20, 1e21, 1e22)
    found = [estimate(f"s{i}", ladder(i, budget)) for i, budget in enumerate(budgets)]
    learnt = learn(found).to_json()
    assert learnt["alpha"] == pytest.approx(ALPHA, rel=0.15)
    assert learnt["beta"] == pytest.approx(BETA, rel=0.15)
    assert learnt["k"] == pytest.approx(K, rel=0.15)
    assert learnt["share"] == pytest.approx(SHARE, abs=0.03)
    assert learnt["slope"] == pytest.approx(SLOPE, abs=0.03)


def test_ladders_that_agree_are_the_prior() -> None:
    found = learn([told(f"s{i}", distance) for i, distance in enumerate((-6.0, -3.0, 0.0, 3.0))])
    assert found.medians == pytest.approx(TRUTH, abs=0.01)
    assert set(found.counts) == {"s0", "s1", "s2", "s3"}


def test_a_source_counts_once_however_many_tables_it_has() -> None:
    """Of two sources that differ in alpha the median lies half-way, whether one has one ladder or
    twelve."""
    above, below = (0.1, 0, 0, 0), (-0.1, 0, 0, 0)
    one = learn([told("a", 0.0, above), told("b", 0.0, below)])
    many = learn([*(told("a", 0.0, above) for _ in range(12)), told("b", 0.0, below)])
    assert one.medians[0] == pytest.approx(TRUTH[0], abs=1e-6)
    assert many.medians[0] == pytest.approx(one.medians[0], abs=0.02)


def test_a_source_unlike_the_others_counts_less() -> None:
    alike = [told(f"s{i}", 0.0) for i in range(6)]
    found = learn([*alike, told("odd", 0.0, (1.0, 0, 0, 0))])
    assert found.counts["odd"] < min(found.counts[f"s{i}"] for i in range(6)) / 2
    assert abs(found.medians[0] - TRUTH[0]) < 1 / 7 / 2  # the mean would move by a seventh


def test_a_ladder_that_does_not_know_leaves_the_word_to_the_others() -> None:
    vague = told("vague", 0.0, (1.0, 1.0, 1.0, 1.0), sure=10.0)
    found = learn([told("a", 0.0), told("b", 0.0), vague])
    assert found.medians[:4] == pytest.approx(TRUTH[:4], abs=0.01)


def test_a_ladder_says_nothing_of_what_it_does_not_show() -> None:
    """Of one size alpha is unknown: the weak prior under which it was fitted is taken away."""
    rows = [row | {"params": "1e9"} for row in ladder(0, 1e21)]
    assert estimate("one size", rows).precision[0, 0] < 0.1
