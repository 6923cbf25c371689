"""Non-monotone scaling is found where it is, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from scaling_cli.errors import FitError
from scaling_cli.fitting import engine
from scaling_cli.fitting.diagnostics import turn
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.laws import get_law
from scaling_cli.table import Table

X = np.geomspace(1e6, 1e10, 14)
DECADES = np.log10(X / 1e8)


@pytest.mark.parametrize(
    "shape",
    [
        0.02 * DECADES**2 + 0.5,  # inverse scaling that turns into U
        0.5 - 0.02 * DECADES**2,
        np.where(DECADES < 0.4, 0.7 - 0.1 * DECADES, 0.62 + 0.1 * DECADES),  # a sharp corner
    ],
)
def test_a_turn_is_found_in_noise(shape: np.ndarray) -> None:
    noise = np.random.default_rng(0).standard_normal((20, len(X))) * 0.004
    found = [turn(X, shape + row) for row in noise]
    places = np.array([place for place in found if place is not None])
    assert len(places) >= 18
    assert np.all(np.abs(np.log10(places / 1e8)) < 1.2)


@pytest.mark.parametrize("floor", [0.0, 0.5, 3.0])
def test_monotone_curves_do_not_turn(floor: float) -> None:
    """A power law that has reached its floor is noise about a constant on one side."""
    noise = np.random.default_rng(1).standard_normal((400, len(X))) * 0.02
    curve = floor + 30 * X**-0.35
    alarms = sum(turn(X, curve * (1 + row)) is not None for row in noise)
    assert alarms / len(noise) < 0.02


def test_a_monotone_law_refuses_a_u_and_says_where() -> None:
    y = 0.5 + 0.02 * DECADES**2
    rows = Table.from_columns({"params": X, "error": y})
    options = FitOptions(x="params", target="error", resamples=0)
    with pytest.raises(FitError, match=r"error turns around near params [67].*e\+07") as refused:
        engine.fit(get_law("power_offset"), rows, options)
    assert "bnsl" in str(refused.value)
