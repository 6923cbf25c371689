"""What a fit minimises: a robust sum over the runs of a residual in the log or the level."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from scaling_cli.errors import InputError
from scaling_cli.quantities import parse_positive
from scaling_cli.records import Floats

MAD = 1.4826  # median absolute deviation -> standard deviation of a normal
TUNING = 1.345  # 95 % of least squares' efficiency where the noise is normal (Huber 1964)
LEAST_DELTA = 1e-5  # below what any logger keeps of a loss
EXACT_RATE = 1e-6  # of a deviance residual: below it rounding has eaten the deviance


def _log_ratio(part: Floats, other: Floats) -> Floats:
    """ln(part / other), zero where `part` is: what a share of none adds to a deviance."""
    with np.errstate(all="ignore"):
        ratio: Floats = np.where(part > 0, np.log(part / other), 0.0)
    return ratio


@dataclass(frozen=True)
class Objective:
    """Sum over rows of weight times rho(residual).

    The residual is ln(prediction) - ln(target), or their difference where `log` is False, or the
    signed root of the binomial deviance of as many tries as the row has, where `binomial` is set.
    rho is half the square up to `delta` and linear beyond it (Huber); always the sum, never the
    mean. Where `tuning` is set, delta becomes that many robust scales of a first fit's residuals.
    """

    name: str
    meaning: str
    log: bool
    delta: float
    tuning: float = 0.0
    binomial: bool = False

    def residuals(
        self,
        prediction: Floats,
        target: Floats,
        trials: Floats | None,
        out: Floats | None = None,
    ) -> Floats:
        """[batch, rows]; `trials` [rows] are read by the binomial objective alone.

        They may be written to `out`.
        """
        if self.log:
            logs: Floats = np.log(prediction, out=out)
            logs -= np.log(target)
            return logs
        if self.binomial:
            assert trials is not None
            lost = target * _log_ratio(target, prediction)
            lost = lost + (1 - target) * _log_ratio(1 - target, 1 - prediction)
            root: Floats = np.sqrt(2 * trials * np.maximum(lost, 0.0))
            return np.where(prediction < target, -root, root)
        return prediction - target

    def by_prediction(
        self, residuals: Floats, prediction: Floats, target: Floats, trials: Floats | None
    ) -> Floats:
        """d residual / d prediction."""
        if self.log:
            return 1.0 / prediction
        if self.binomial:
            assert trials is not None
            with np.errstate(all="ignore"):
                spread = prediction * (1 - prediction)
                slope = trials * (prediction - target) / (spread * residuals)
                return np.where(np.abs(residuals) > EXACT_RATE, slope, np.sqrt(trials / spread))
        return np.ones_like(prediction)

    def adapted(self, residuals: Floats, parameters: int) -> Objective:
        """The objective whose delta follows from a fit's `residuals` [rows]; itself if fixed."""
        if not self.tuning:
            return self
        freedom = max(1, len(residuals) - parameters)
        scale = MAD * float(np.median(np.abs(residuals))) * (len(residuals) / freedom) ** 0.5
        return replace(self, delta=max(self.tuning * scale, LEAST_DELTA))

    def rho(self, residuals: Floats) -> Floats:
        slope = self.slope(residuals)
        rho: Floats = slope * (residuals - 0.5 * slope)
        return rho

    def slope(self, residuals: Floats, out: Floats | None = None) -> Floats:
        """d rho / d residual."""
        below = np.minimum(residuals, self.delta, out=out)
        return np.maximum(below, -self.delta, out=out)  # the two take half the time of np.clip


_ALL = (
    # 1e-3 is the papers' choice; below the noise of almost every ladder, so it acts as a median.
    Objective(
        "huber_log", "Huber with delta 1e-3 on log residuals (the papers' choice)", True, 1e-3
    ),
    Objective(
        "huber_adaptive",
        "Huber on log residuals with delta at 1.345 robust residual scales",
        True,
        1e-3,
        TUNING,
    ),
    Objective("squared_log", "half the squared log residual", True, np.inf),
    Objective("squared", "half the squared residual in the target's unit", False, np.inf),
    Objective("huber", "Huber with delta 1e-3 on residuals in the target's unit", False, 1e-3),
    # 1e-5 of the loss is below what any logger keeps: numerically the absolute log residual.
    Objective("absolute_log", "absolute log residual (Huber with delta 1e-5)", True, LEAST_DELTA),
    Objective(
        "binomial",
        "half the binomial deviance of a rate: minus its log likelihood, up to a constant",
        False,
        np.inf,
        binomial=True,
    ),
)
OBJECTIVES = {objective.name: objective for objective in _ALL}
DEFAULT_OBJECTIVE = "huber_log"


def get_objective(name: str) -> Objective:
    """The objective of this name; `huber_log:0.05` is huber_log with another delta."""
    base, colon, delta = name.partition(":")
    known = OBJECTIVES.get(base)
    if known is not None and not colon:
        return known
    if known is None:
        raise InputError(
            f"there is no objective '{name}'", f"Choose one of {', '.join(OBJECTIVES)}."
        )
    if known.tuning or not np.isfinite(known.delta):
        raise InputError(f"objective {base} takes no delta", f"Write {base}, or huber_log:0.05.")
    return replace(known, name=name, delta=parse_positive(delta, f"the delta of {base}"))
