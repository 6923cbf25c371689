"""Refits that never end, along a valley that their rows do not see.

Where a resample does not hold a floor or an exponent, the solver follows it towards zero or without
end. The objective has no minimum there, only a limit, and what the fit says of its rows stands long
before. That is what this draw of the runs has to say: without it the rest look surer than they are.
"""

from __future__ import annotations

import numpy as np

from scaling_cli.fitting.assembly import noise_of
from scaling_cli.fitting.diagnostics import MAX_FAILED_RESAMPLES
from scaling_cli.fitting.solver import Prior, Solution, solve
from scaling_cli.fitting.surface import Surface
from scaling_cli.records import Floats

STANDS = 0.25  # of the noise: what a prediction at a row may move in as many iterations again
MANY = 0.5  # of the refits: where more do not end, the law itself has to be held


def spoken(
    surface: Surface, weights: Floats, prior: Prior | None, refits: Solution, theta: Floats
) -> Solution:
    """The `refits` of rows that count as `weights` [batch, rows], those of them taken as ended too
    that go on without moving what they predict by more than a part of the noise about the fit
    `theta` [free]."""
    left = np.flatnonzero(~refits.converged)
    if len(left) <= MAX_FAILED_RESAMPLES * len(weights):
        return refits
    before = refits.take(left)
    after = solve(surface, weights[left], before.theta, prior and prior.take(left))
    with np.errstate(all="ignore"):
        noise = noise_of(surface.residuals(theta[None])[0], len(theta))
        moved = np.abs(surface.residuals(after.theta) - surface.residuals(before.theta))
    moved = np.where(weights[left] > 0, moved, 0.0)
    stands = np.isfinite(after.objective) & (np.max(moved, axis=1) <= STANDS * noise)
    after.converged[:] |= stands
    ended = Solution(refits.theta.copy(), refits.objective.copy(), refits.converged.copy())
    ended.put(left, after)
    return ended
