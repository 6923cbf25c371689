"""FLOPs of training: 6 N D where the runs say so, and otherwise what they measured."""

from __future__ import annotations

import numpy as np
import pytest

from scaling_cli.compute import SIX_ND, Accounting, measure

PARAMS = np.geomspace(5e6, 2e9, 12)
TOKENS = PARAMS * np.geomspace(10, 200, 12)[::-1]


def test_six_nd_is_taken_for_itself() -> None:
    rounded = 6.0 * PARAMS * TOKENS * (1 + 0.04 * (-1.0) ** np.arange(12))
    found, missed = measure(PARAMS, TOKENS, rounded)
    assert found is SIX_ND
    assert missed == pytest.approx(0.04, rel=0.05)


@pytest.mark.parametrize(
    "per_token",
    [
        lambda n: 6 * n + 1.8e8,  # a head that no parameter counts
        lambda n: 6 * n + 400 * n ** (2 / 3),  # attention over a long context
        lambda n: 8 * n,  # recomputed activations
        lambda n: 2 * n,  # a mixture of experts counted by all of its parameters
    ],
)
def test_measured_compute_is_given_back_and_carried_on(per_token) -> None:  # type: ignore[no-untyped-def]
    found, missed = measure(PARAMS, TOKENS, per_token(PARAMS) * TOKENS)
    assert found.name == "measured"
    assert missed < 1e-6
    assert found.per_token(5e10) == pytest.approx(per_token(5e10), rel=1e-6)
    assert found.tokens(1e9, found.flops(1e9, 7e10)) == pytest.approx(7e10)
    assert Accounting.from_json(found.to_json()) == found


def test_compute_that_params_do_not_tell_is_said_to_be_missed() -> None:
    noise = np.exp(np.random.default_rng(0).normal(0, 0.5, 12))
    _, missed = measure(PARAMS, TOKENS, 6 * PARAMS * TOKENS * noise)
    assert missed > 0.1
