"""What a fit minimises: a robust sum over the runs of a residual in the log or the level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaling_cli.errors import InputError
from scaling_cli.records import Floats


@dataclass(frozen=True)
class Objective:
    """Sum over rows of weight times rho(residual).

    The residual is ln(prediction) - ln(target), or their difference where `log` is False. rho is
    half the square up to `delta` and linear beyond it (Huber); always the sum, never the mean.
    """

    name: str
    meaning: str
    log: bool
    delta: float

    def rho(self, residuals: Floats) -> Floats:
        size = np.abs(residuals)
        inner = np.minimum(size, self.delta)
        rho: Floats = inner * (size - 0.5 * inner)
        return rho

    def slope(self, residuals: Floats) -> Floats:
        """d rho / d residual."""
        return np.clip(residuals, -self.delta, self.delta)


_ALL = (
    # 1e-3 is the papers' choice; below the noise of almost every ladder, so it acts as a median.
    Objective(
        "huber_log", "Huber with delta 1e-3 on log residuals (the papers' choice)", True, 1e-3
    ),
    Objective("squared_log", "half the squared log residual", True, np.inf),
    Objective("squared", "half the squared residual in the target's unit", False, np.inf),
    # 1e-5 of the loss is below what any logger keeps: numerically the absolute log residual.
    Objective("absolute_log", "absolute log residual (Huber with delta 1e-5)", True, 1e-5),
)
OBJECTIVES = {objective.name: objective for objective in _ALL}
DEFAULT_OBJECTIVE = "huber_log"


def get_objective(name: str) -> Objective:
    if name in OBJECTIVES:
        return OBJECTIVES[name]
    raise InputError(f"there is no objective '{name}'", f"Choose one of {', '.join(OBJECTIVES)}.")
