"""The solver: a Newton method for robust sums, for many problems over the same rows at once.

Starts, resamples and held-out cuts are all weights over one set of rows, so that a batch shares
everything but its weights. Close to the optimum the step is Newton's on the inliers' quadratic
part; where that fails it turns, by one damping number per problem, into reweighted least squares,
which always descends.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from scaling_cli.fitting.surface import Surface
from scaling_cli.records import Floats

RELATIVE_TOLERANCE = (
    1e-13  # predicted decrease over objective; scipy's ftol compares with 1 instead
)
EXACT = 1e-18  # objective per row of a fit through every row: residuals of 1e-9, as good as none
MAX_ITERATIONS = 300
BATCH_ELEMENTS = 2**16  # problems times rows that are worked on together: stays in the cache
MAX_DAMPING = 1e9
DELTA_FACTOR = 10.0  # between the widths of Huber's delta that are solved in turn
MAX_STEP = 3.0  # in a coordinate: a factor of e**3 in a parameter
COORDINATE_LIMIT = 80.0  # exp(80) is beyond every parameter; stops a coordinate from overflowing


@dataclass(frozen=True)
class Solution:
    """Minima [batch, free], their objectives [batch], and which of them converged [batch]."""

    theta: Floats
    objective: Floats
    converged: np.ndarray[tuple[int], np.dtype[np.bool_]]

    def best(self) -> int:
        return int(np.argmin(self.objective))


@dataclass(frozen=True)
class Prior:
    """A normal prior on the coordinates: its means and inverse standard deviations, [free].

    It adds half the sum of ((theta - mean) * precision)**2 to the objective.
    """

    mean: Floats
    precision: Floats


def objective_values(
    surface: Surface, weights: Floats, theta: Floats, prior: Prior | None = None
) -> Floats:
    """Objective of each problem [batch]; infinite where the law gives no number."""
    with np.errstate(all="ignore"):
        residuals = surface.residuals(theta)
        values: Floats = np.sum(weights * surface.objective.rho(residuals), axis=1)
    if prior is not None:
        values = values + 0.5 * np.sum(((theta - prior.mean) * prior.precision) ** 2, axis=1)
    finite: Floats = np.where(np.isfinite(values), values, np.inf)
    return finite


def solve(
    surface: Surface, weights: Floats, starts: Floats, prior: Prior | None = None
) -> Solution:
    """Minimise each problem from its start: `weights` [batch or 1, rows], `starts` [batch, free].

    Where nearly every residual lies beyond delta the objective is a kinked one, on which a step of
    Newton's says little; then wider deltas are solved first, each from the last one's optimum.
    """
    for delta in _wider_deltas(surface, starts):
        wide = replace(surface, objective=replace(surface.objective, delta=delta))
        starts = _solve(wide, weights, starts, prior).theta
    return _solve(surface, weights, starts, prior)


def _wider_deltas(surface: Surface, starts: Floats) -> list[float]:
    with np.errstate(all="ignore"):
        sizes = np.abs(surface.residuals(starts[:1]))
    typical = float(np.nanmedian(sizes)) if np.isfinite(sizes).any() else 0.0
    deltas = []
    delta = surface.objective.delta * DELTA_FACTOR
    while delta < typical:
        deltas.append(delta)
        delta *= DELTA_FACTOR
    return deltas[::-1]


def _solve(surface: Surface, weights: Floats, starts: Floats, prior: Prior | None) -> Solution:
    size = max(1, BATCH_ELEMENTS // weights.shape[1])
    parts = []
    for at in range(0, len(starts), size):
        rows = weights if len(weights) == 1 else weights[at : at + size]
        part = starts[at : at + size]
        parts.append(
            _solve_batch(surface, np.broadcast_to(rows, (len(part), rows.shape[1])), part, prior)
        )
    return Solution(
        np.concatenate([part.theta for part in parts]),
        np.concatenate([part.objective for part in parts]),
        np.concatenate([part.converged for part in parts]),
    )


@dataclass
class _Model:
    """Derivatives of the objective at each problem's point."""

    gradient: Floats  # [batch, free]
    inner: Floats  # Gauss-Newton matrix of the quadratic rows [batch, free, free]
    outer: Floats  # reweighted matrix of the linear rows
    curvature: Floats  # from the residuals' second derivatives

    @classmethod
    def at(cls, surface: Surface, weights: Floats, theta: Floats, prior: Prior | None) -> _Model:
        residuals, jacobian = surface.residuals_and_jacobian(theta)
        size, delta = np.abs(residuals), surface.objective.delta
        inlier = size <= delta
        pull = weights * surface.objective.slope(residuals)
        gradient = np.matmul(jacobian, pull[:, :, None])[:, :, 0]
        curvature = surface.curvature(theta, pull, gradient)
        inner = _gram(jacobian, weights * inlier)
        if np.isfinite(delta):
            outer = _gram(jacobian, weights * ~inlier * (delta / np.maximum(size, delta)))
        else:
            outer = np.zeros_like(inner)
        if prior is not None:
            square = prior.precision**2
            gradient = gradient + (theta - prior.mean) * square
            inner = inner + np.diag(square)
        return cls(gradient, inner, outer, curvature)

    def put(self, rows: Floats, other: _Model) -> None:
        for name in ("gradient", "inner", "outer", "curvature"):
            getattr(self, name)[rows] = getattr(other, name)

    def take(self, rows: Floats) -> _Model:
        return _Model(self.gradient[rows], self.inner[rows], self.outer[rows], self.curvature[rows])


def _gram(jacobian: Floats, weights: Floats) -> Floats:
    gram: Floats = np.matmul(jacobian * weights[:, None, :], jacobian.transpose(0, 2, 1))
    return gram


def _solve_batch(
    surface: Surface, weights: Floats, starts: Floats, prior: Prior | None
) -> Solution:
    theta = np.clip(starts, -COORDINATE_LIMIT, COORDINATE_LIMIT)
    value = objective_values(surface, weights, theta, prior)
    converged = np.zeros(len(theta), dtype=bool)
    damping = np.full(len(theta), 1.0)
    active = np.flatnonzero(np.isfinite(value))
    if not len(active):
        return Solution(theta, value, converged)
    with np.errstate(all="ignore"):
        model = _Model.at(surface, weights[active], theta[active], prior)
        for _ in range(MAX_ITERATIONS):
            step, predicted = _step(model, damping[active])
            moved = np.clip(theta[active] + step, -COORDINATE_LIMIT, COORDINATE_LIMIT)
            trial = objective_values(surface, weights[active], moved, prior)
            old = value[active]
            gain = (old - trial) / np.maximum(predicted, 1e-300)
            better = trial < old
            small = predicted <= RELATIVE_TOLERANCE * old
            damp = damping[active]
            exact = old <= EXACT * np.sum(weights[active], axis=1)
            small |= exact
            done = small & ((damp <= 1.0) | exact) | (damp > MAX_DAMPING)
            theta[active[better]] = moved[better]
            value[active[better]] = trial[better]
            damp = np.where(
                better & (gain > 0.25),
                np.where(damp < 1e-3, 0.0, damp * np.where(gain > 0.75, 0.1, 0.5)),
                np.where(better, damp, np.maximum(4 * damp, 0.02)),
            )
            damping[active] = damp
            converged[active[done & small]] = True
            keep = ~done
            changed = better[keep]
            active, model = active[keep], model.take(keep)
            if not len(active):
                break
            if changed.any():
                rows = active[changed]
                model.put(changed, _Model.at(surface, weights[rows], theta[rows], prior))
    return Solution(theta, value, converged)


def _step(model: _Model, damping: Floats) -> tuple[Floats, Floats]:
    """The damped step [batch, free] and the decrease that it predicts [batch]."""
    size = model.gradient.shape[1]
    eye = np.eye(size)
    full = model.inner + model.outer
    diagonal = np.einsum("bii->bi", full)
    floor = 1e-10 * np.max(diagonal, axis=1, keepdims=True) + 1e-300
    scale = np.maximum(diagonal, floor)
    amount = damping[:, None, None]
    newton = np.minimum(amount, 1.0)
    matrix = (
        model.inner
        + (1 - newton) * model.curvature
        + newton * model.outer
        + (1e-3 * amount + 1e-12) * scale[:, None, :] * eye
    )
    step = _solve_symmetric(matrix, -model.gradient)
    bad = ~(np.einsum("bi,bi->b", step, model.gradient) < 0)
    if bad.any():  # not a descent direction: the reweighted matrix is positive
        safe = full[bad] + (1e-3 * np.maximum(amount[bad], 1.0)) * scale[bad][:, None, :] * eye
        step[bad] = _solve_symmetric(safe, -model.gradient[bad])
        matrix[bad] = safe
    largest = np.max(np.abs(step), axis=1, keepdims=True)
    step = step * np.minimum(1.0, MAX_STEP / np.maximum(largest, 1e-300))
    slope = np.einsum("bi,bi->b", step, model.gradient)
    bend = np.einsum("bi,bij,bj->b", step, matrix, step)
    predicted: Floats = np.maximum(-slope - 0.5 * bend, 0.0)
    return step, predicted


def _solve_symmetric(matrix: Floats, right: Floats) -> Floats:
    """Solve batch of small systems by LDL' where positive definite; NaN rows where not."""
    size = right.shape[1]
    lower = matrix.copy()
    pivots = np.empty_like(right)
    for j in range(size):
        for k in range(j):
            lower[:, j:, j] -= lower[:, j:, k] * (lower[:, j, k] * pivots[:, k])[:, None]
        pivot = lower[:, j, j]
        pivots[:, j] = np.where(pivot > 0, pivot, np.nan)
        lower[:, j:, j] /= pivots[:, j : j + 1]
    solution = right.copy()
    for j in range(size):
        for k in range(j):
            solution[:, j] -= lower[:, j, k] * solution[:, k]
    solution /= pivots
    for j in reversed(range(size)):
        for k in range(j + 1, size):
            solution[:, j] -= lower[:, k, j] * solution[:, k]
    return solution
