"""How sure a fitted curve law is: a block bootstrap of its parameters, and its error on a new run.

Neighbouring rows of a run miss together, so a resample is the fitted curve times residuals drawn in
blocks. Blocks alone would have to be long against that memory, and few of them fit into a run; the
residuals are therefore first freed of their lag-one correlation, the innovations drawn in blocks,
and the correlation put back: the post-blackened block bootstrap (Davison & Hinkley 1997, 8.2.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from scaling_cli.errors import FitError
from scaling_cli.fitting.solver import Prior, solve
from scaling_cli.records import Floats
from scaling_cli.training.curve import Curve
from scaling_cli.training.fit import (
    TEMPERATURE,
    CurveFit,
    fit_curves,
    held_to,
    surface_of,
)

RESAMPLES = 100  # of 10 to 100 ms each: the 5 % point is good to a fifth of a deviation
LONGEST_MEMORY = 0.98  # lag-one correlation; above it the noise is as long as the run
LEAST_FREE = 0.25  # share of the independent rows that are left for noise, at the least
SETTLED = 5.0  # memories that the noise runs before its first row is taken
# Relative, of final losses of the public curves on schedules that were not fitted: root mean
# square of 18 a law.
MISS = {"mpl": 0.0023, "lr_anneal": 0.0039, "fsl": 0.0043}
MISS_WEIGHT = 3.0  # left-out runs that this prior counts as
MOST_LEFT_OUT = 8  # refits that measure the error; with more runs several are left out at a time


def resampled(
    fitted: CurveFit, curves: Sequence[Curve], count: int = RESAMPLES, seed: int = 0
) -> CurveFit:
    """The fit with `count` draws of its parameters; `curves` are those that it was fitted to.

    For `mpl` the prior is moved about the fit and its centre drawn from it in each draw, so that
    what it holds is as uncertain as it says.
    """
    random = np.random.default_rng(seed)
    law = fitted.law
    surface, scales = surface_of(law, curves, fitted.decay)
    theta = surface.encode(law.to_scaled(fitted.values, scales))[:1]
    means = [fitted.predict(curve) for curve in curves]
    missed = [np.log(curve.loss / mean) for curve, mean in zip(curves, means, strict=True)]
    noise = np.concatenate(blackened(missed, len(law.parameters), count, random), axis=1)
    prior = None
    if law.id == "mpl":
        anchored = held_to(fit_curves("lr_anneal", curves, fitted.decay), surface)
        prior = Prior(theta[0], anchored.precision)
    ones, found = np.ones((1, len(surface.target))), []
    for row in np.concatenate(means) * np.exp(noise):
        moved = prior and _drawn(prior, random)
        solution = solve(replace(surface, target=row), ones, theta, moved)
        found.append(solution.theta[solution.converged])
    raw = law.to_raw(surface.decode(np.concatenate(found)), scales)
    size = sum(map(len, found))
    draws = [np.broadcast_to(raw[name], (size, 1)) for name in law.parameter_names]
    return replace(fitted, draws=np.concatenate(draws, axis=1))


def blackened(
    residuals: Sequence[Floats], parameters: int, count: int, random: np.random.Generator
) -> list[Floats]:
    """For each run's residuals [rows], `count` draws [count, rows] of noise like theirs.

    As many independent rows as `parameters` have gone into the fit: the noise is wider for it.
    """
    memory = sum(float(np.sum(r[1:] * r[:-1])) for r in residuals)
    memory /= max(sum(float(np.sum(r[:-1] ** 2)) for r in residuals), 1e-300)
    memory = float(np.clip(memory, 0.0, LONGEST_MEMORY))
    rows = sum(map(len, residuals)) * (1.0 - memory) / (1.0 + memory)  # independent ones
    wider = np.sqrt(rows / max(rows - parameters, LEAST_FREE * rows))
    lead = int(np.ceil(SETTLED / (1.0 - memory)))
    made = []
    for own in residuals:
        innovations = own[1:] - memory * own[:-1]
        innovations = innovations - np.mean(innovations)
        size, length = lead + len(own), int(np.ceil(len(own) ** (1 / 3)))
        blocks = random.integers(len(innovations) - length + 1, size=(count, -(-size // length)))
        drawn = innovations[(blocks[:, :, None] + np.arange(length)).reshape(count, -1)]
        noise = np.empty((count, size))
        noise[:, 0] = drawn[:, 0]
        for i in range(1, size):
            noise[:, i] = memory * noise[:, i - 1] + drawn[:, i]
        made.append(wider * noise[:, lead:])
    return made


def _drawn(prior: Prior, random: np.random.Generator) -> Prior:
    """The prior about a centre that is itself a draw of it."""
    known = prior.precision > 0
    spread = np.sqrt(TEMPERATURE) / np.where(known, prior.precision, np.inf)
    return Prior(prior.mean + spread * random.standard_normal(spread.shape), prior.precision)


def missed_by(fitted: CurveFit, curves: Sequence[Curve]) -> tuple[float, int]:
    """Relative error (one standard deviation) of the final loss of a run that was not fitted, and
    how many runs say so: each is left out in turn, and a prior counts as three more."""
    count = min(len(curves), MOST_LEFT_OUT)
    errors: list[float] = []
    for first in range(count if len(curves) > 1 else 0):
        left, others = curves[first::count], [c for i, c in enumerate(curves) if i % count != first]
        try:
            refitted = fit_curves(fitted.law.id, others, fitted.decay)
        except FitError:
            continue
        with np.errstate(invalid="ignore"):
            missed = [np.log(c.loss[-1] / refitted.predict(c, c.steps[-1:])[0]) for c in left]
        errors += [float(value) for value in missed if np.isfinite(value)]
    square = MISS_WEIGHT * MISS[fitted.law.id] ** 2 + float(np.sum(np.square(errors)))
    return float(np.sqrt(square / (MISS_WEIGHT + len(errors)))), len(errors)
