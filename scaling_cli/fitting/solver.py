"""The solver: a Newton method for robust sums, for many problems over the same rows at once.

Starts, resamples and held-out cuts are all weights over one set of rows, so that a batch shares
everything but its weights. Close to the optimum the step is Newton's on the inliers' quadratic
part; where that fails it turns, by one damping number per problem, into reweighted least squares,
which always descends.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from scaling_cli.fitting.arrays import Scratch
from scaling_cli.fitting.powersum import Rows
from scaling_cli.fitting.surface import Point, Surface
from scaling_cli.records import Floats

# Predicted decrease over objective at which a fit is done; scipy's ftol compares with 1 instead.
RELATIVE_TOLERANCE = 1e-13
LOOSE_TOLERANCE = 1e-4  # the same for a wider delta, whose optimum is only a way station
EXACT = 1e-18  # objective per row of a fit through every row: residuals of 1e-9, as good as none
FEW_ITERATIONS = 60  # most take 9; one that takes more is better led there by wide deltas
ROUGH_ITERATIONS = 20  # of all starts of a law that bends, before the best are polished
MAX_ITERATIONS = 300
BATCH_ELEMENTS = 2**16  # problems times rows worked on together; 2**13 took 1.6 times as long
SCREEN = 256  # starts looked at together
FIRST_DAMPING = 1.0  # undamped starts took 11.1 evaluations a resample, these 9.0
MAX_DAMPING = 1e9
RIDGE = 1e-3  # of the matrix's diagonal at a damping of one
SMALLEST_BEND = 1e-8  # of an eigenvalue over the largest, so that a flat direction stays finite
DELTA_FACTOR = 4.0  # between the widths of Huber's delta that are solved in turn
FAR = 16.0  # median residual over delta beyond which a start is led by wider deltas at once
WIDEST = 4  # powers of the factor that a near start without an optimum falls back by
MAX_STEP = 3.0  # in a coordinate: a factor of e**3 in a parameter
COORDINATE_LIMIT = 80.0  # exp(80) is beyond every parameter; stops a coordinate from overflowing


@dataclass(frozen=True)
class Solution:
    """Minima [batch, free], their objectives [batch], and which of them converged [batch]."""

    theta: Floats
    objective: Floats
    converged: np.ndarray[tuple[int], np.dtype[np.bool_]]

    def put(self, rows: Rows, other: Solution, chosen: Rows) -> None:
        """Replace these rows by the chosen ones of `other`."""
        self.theta[rows], self.objective[rows] = other.theta[chosen], other.objective[chosen]
        self.converged[rows] = other.converged[chosen]

    def best(self) -> int:
        return int(np.argmin(self.objective))


@dataclass(frozen=True)
class Prior:
    """A normal prior on the coordinates: means and inverse standard deviations, [batch, free].

    Either may be [free]: the same for every problem. It adds half the sum of
    ((theta - mean) * precision)**2 to the objective.
    """

    mean: Floats
    precision: Floats

    def take(self, rows: Rows | slice) -> Prior:
        """The prior of these problems."""
        mean, precision = np.atleast_2d(self.mean), np.atleast_2d(self.precision)
        return Prior(
            mean[rows] if len(mean) > 1 else mean,
            precision[rows] if len(precision) > 1 else precision,
        )


def objective_values(
    surface: Surface, weights: Floats, theta: Floats, prior: Prior | None = None
) -> Floats:
    """Objective of each problem [batch]; infinite where the law gives no number."""
    with np.errstate(all="ignore"):
        return _values(weights, surface.at(theta), prior, Scratch())


def solve(
    surface: Surface,
    weights: Floats,
    starts: Floats,
    prior: Prior | None = None,
    one_fit: bool = False,
) -> Solution:
    """Minimise each problem from its start: `weights` [batch or 1, rows], `starts` [batch, free].

    With `one_fit` the starts are those of one fit, and what neither converges soon nor lies below
    those that do is given up: it would take ten times as long as all others together.

    Where nearly every residual lies beyond delta the objective is a kinked one, on which a step of
    Newton's says little; then wider deltas are solved first, each from the last one's optimum.
    What does not converge, mostly resamples with about as many distinct rows as parameters, takes
    that way too. No problem's digits depend on the others of its batch.
    """
    delta = surface.objective.delta
    distance = np.concatenate(
        [_distance(surface, starts[at : at + SCREEN]) for at in range(0, len(starts), SCREEN)]
    )
    near = ~(distance > FAR)
    found = _solve_batch(surface, weights, starts, prior, np.where(near, FEW_ITERATIONS, 0))
    open_ = ~found.converged & (np.isfinite(found.objective) | ~near)
    if one_fit and found.converged.any():
        open_ &= ~(found.objective >= np.min(found.objective[found.converged])) | ~near
    left = np.flatnonzero(open_)
    if not len(left):
        return found
    far = np.ceil(np.log(np.clip(distance[left], 1.0, 1e9)) / np.log(DELTA_FACTOR))
    widest = np.where(near[left], WIDEST, far)
    theta, prior = starts[left], prior and prior.take(left)
    weights = weights if len(weights) == 1 else weights[left]
    for power in range(int(widest.max()), 0, -1):
        objective = replace(surface.objective, delta=delta * DELTA_FACTOR**power)
        wide = replace(surface, objective=objective)
        limit = np.where(widest >= power, FEW_ITERATIONS, 0)
        theta = _solve_batch(wide, weights, theta, prior, limit, LOOSE_TOLERANCE).theta
    again = _solve_batch(surface, weights, theta, prior, np.full(len(theta), MAX_ITERATIONS))
    better = again.objective <= found.objective[left]
    found.put(left[better], again, better)
    return found


def _distance(surface: Surface, starts: Floats) -> Floats:
    """The median residual [batch] in units of delta."""
    with np.errstate(all="ignore"):
        middle: Floats = np.median(np.abs(surface.residuals(starts)), axis=1)
    return middle / surface.objective.delta


def rough(surface: Surface, weights: Floats, starts: Floats) -> Floats:
    """Where a few loose iterations with a wide delta take each start [batch, free]."""
    objective = replace(surface.objective, delta=surface.objective.delta * DELTA_FACTOR**2)
    wide = replace(surface, objective=objective)
    limit = np.full(len(starts), ROUGH_ITERATIONS)
    return _solve_batch(wide, weights, starts, None, limit, LOOSE_TOLERANCE).theta


def _solve_batch(
    surface: Surface,
    weights: Floats,
    starts: Floats,
    prior: Prior | None,
    limit: Floats,
    tolerance: float = RELATIVE_TOLERANCE,
) -> Solution:
    """One width of delta, at most `limit` [batch] iterations; no limit leaves a start as it is.

    A problem that is done makes room for the next one, so that the arrays stay full.
    """
    theta = np.clip(starts, -COORDINATE_LIMIT, COORDINATE_LIMIT)
    value = np.full(len(theta), np.inf)
    converged = np.zeros(len(theta), dtype=bool)
    damping = np.full(len(theta), FIRST_DAMPING)
    nothing = EXACT * np.sum(weights, axis=1)
    left, scratch = limit.copy(), Scratch()
    size = max(1, BATCH_ELEMENTS // weights.shape[1])
    queue = np.flatnonzero(limit)
    active, queue = queue[:size], queue[size:]
    moved, predicted = theta[active], np.zeros(len(active))
    with np.errstate(all="ignore"):
        while len(active):
            here, held = _share(weights, active, scratch), prior and prior.take(active)
            point = surface.at(moved, scratch)
            new, old, damp = _values(here, point, held, scratch), value[active], damping[active]
            better = new < old
            worse = np.flatnonzero(~better)
            if len(worse):
                point.put(worse, surface.at(theta[active[worse]]))
            value[active], theta[active] = np.where(better, new, old), point.theta
            gain = (old - new) / np.maximum(predicted, 1e-300)
            damp = np.where(
                better & (gain > 0.25),
                np.where(damp < 1e-3, 0.0, damp * np.where(gain > 0.75, 0.1, 0.5)),
                np.where(better, damp, np.maximum(4 * damp, 0.02)),
            )
            damp = damping[active] = np.where(np.isinf(old), FIRST_DAMPING, damp)

            step, predicted = _step(surface, here, point, held, damp, scratch)
            exact = value[active] <= (nothing[active] if len(nothing) > 1 else nothing)
            small = exact | (predicted <= tolerance * value[active])
            small &= (damp <= 1.0) | exact
            done = small | (damp > MAX_DAMPING) | np.isinf(value[active]) | (left[active] == 0)
            converged[active] = small
            left[active] -= 1
            moved = np.clip(surface.moved(point.theta, step), -COORDINATE_LIMIT, COORDINATE_LIMIT)
            if done.any():
                fresh = queue[: np.count_nonzero(done)]
                queue = queue[len(fresh) :]
                active = np.concatenate([active[~done], fresh])
                moved = np.concatenate([moved[~done], theta[fresh]])
                predicted = np.concatenate([predicted[~done], np.zeros(len(fresh))])
    return Solution(theta, value, converged)


def _share(weights: Floats, rows: Rows, scratch: Scratch) -> Floats:
    """The weights of these problems."""
    if len(weights) == 1:
        return weights
    out = scratch("weights", (len(rows), weights.shape[1]))
    # The mode "raise" would copy once more.
    return np.take(weights, rows, axis=0, out=out, mode="clip")


def _values(weights: Floats, point: Point, prior: Prior | None, scratch: Scratch) -> Floats:
    """Half the square up to delta and linear beyond: slope times (residual - slope / 2)."""
    pull = np.multiply(weights, point.slope, out=scratch("pull", point.slope.shape))
    values = np.einsum("bn,bn->b", pull, point.residuals)
    values -= 0.5 * np.einsum("bn,bn->b", pull, point.slope)
    if prior is not None:
        values = values + 0.5 * np.sum(((point.theta - prior.mean) * prior.precision) ** 2, axis=1)
    finite: Floats = np.where(np.isfinite(values), values, np.inf)
    return finite


def _step(
    surface: Surface,
    weights: Floats,
    point: Point,
    prior: Prior | None,
    damping: Floats,
    scratch: Scratch,
) -> tuple[Floats, Floats]:
    """The damped step [batch, free] and the decrease that it predicts [batch].

    The matrix is Newton's at no damping and that of reweighted least squares, which is positive,
    from a damping of one on. Where it is not positive its eigenvalues count by their size, which
    steps downhill and far along the curved valleys of a design with few distinct rows.
    """
    shape = point.slope.shape
    mix = np.minimum(damping, 1.0)
    pull = np.multiply(weights, point.slope, out=scratch("pull", shape))
    inlier = point.slope == point.residuals
    gauss = np.multiply(weights, inlier, out=scratch("gauss", shape))
    if mix.any():
        outlier = np.divide(pull, point.residuals, out=scratch("outlier", shape))
        outlier *= mix[:, None]
        np.copyto(gauss, outlier, where=~inlier)
    gradient, matrix = surface.sums(point, pull, gauss, mix, scratch)
    if prior is not None:
        square = prior.precision**2
        gradient = gradient + (point.theta - prior.mean) * square
        matrix = matrix + square[..., None] * np.eye(square.shape[-1])
    gradient, matrix = surface.for_steps(point.theta, gradient, matrix, mix)
    diagonal = np.abs(np.einsum("bii->bi", matrix))
    floor = 1e-10 * np.max(diagonal, axis=1, keepdims=True) + 1e-300
    scale = np.maximum(diagonal, floor)
    ridge = (RIDGE * damping + 1e-12)[:, None] * scale
    matrix = matrix + ridge[:, :, None] * np.eye(ridge.shape[1])
    step = solve_symmetric(matrix, -gradient)
    bad = ~np.isfinite(step).all(axis=1) & np.isfinite(matrix).all(axis=(1, 2))
    if bad.any():
        matrix[bad] = _positive(matrix[bad], scale[bad])
        step[bad] = solve_symmetric(matrix[bad], -gradient[bad])
    _hold_above(surface.lowest_step(point.theta), step, matrix, gradient)
    largest = np.max(np.abs(step), axis=1, keepdims=True)
    step = step * np.minimum(1.0, MAX_STEP / np.maximum(largest, 1e-300))
    slope = np.einsum("bi,bi->b", step, gradient)
    bend = np.einsum("bi,bij,bj->b", step, matrix, step)
    predicted: Floats = np.maximum(-slope - 0.5 * bend, 0.0)
    return step, predicted


def _hold_above(lowest: Floats, step: Floats, matrix: Floats, gradient: Floats) -> None:
    """Hold the coordinates that a step takes below their bound at it, and step in the others."""
    held = step < lowest
    rows = np.flatnonzero(held.any(axis=1))
    if not len(rows):
        return
    held = held[rows]
    there = np.where(held, lowest[rows], 0.0)
    side = -gradient[rows] - np.einsum("bij,bj->bi", matrix[rows], there)
    rest = np.where(held[:, :, None] | held[:, None, :], 0.0, matrix[rows])
    rest += held[:, :, None] * np.eye(held.shape[1])
    step[rows] = np.where(held, there, solve_symmetric(rest, np.where(held, 0.0, side)))


def _positive(matrix: Floats, scale: Floats) -> Floats:
    """The matrices with each eigenvalue by its size: downhill, and far where it is flat."""
    root = np.sqrt(scale)
    root = root[:, :, None] * root[:, None, :]
    values, vectors = np.linalg.eigh(matrix / root)
    values = np.abs(values)
    values = np.maximum(values, SMALLEST_BEND * np.max(values, axis=1, keepdims=True))
    positive: Floats = np.matmul(vectors * values[:, None, :], vectors.transpose(0, 2, 1)) * root
    return positive


def solve_symmetric(matrix: Floats, right: Floats) -> Floats:
    """Solve a batch of small systems by LDL' where positive definite; NaN rows where not."""
    size = right.shape[1]
    lower = matrix.transpose(1, 2, 0).copy()  # the batch innermost: long loops
    solution = right.T.copy()
    pivots = np.empty_like(solution)
    for j in range(size):
        pivot = lower[j, j]
        pivots[j] = np.where(pivot > 0, pivot, np.nan)
        below = lower[j + 1 :, j]
        scaled = below / pivots[j]
        lower[j + 1 :, j + 1 :] -= below[:, None] * scaled  # the upper half is not looked at
        below[:] = scaled
        solution[j + 1 :] -= scaled * solution[j]
    solution /= pivots
    for j in reversed(range(1, size)):
        solution[:j] -= lower[j, :j] * solution[j]
    return solution.T.copy()
