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
RELATIVE_TOLERANCE = 1e-12
LOOSE_TOLERANCE = 1e-4  # the same for a wider delta, whose optimum is only a way station
EXACT = 1e-18  # objective per row of a fit through every row: residuals of 1e-9, as good as none
FEW_ITERATIONS = 60  # most take 9; of the starts of one fit, and of a way station
ROUGH_ITERATIONS = 15  # of all starts of a law that bends, before the best are polished
MAX_ITERATIONS = 150  # beyond it few converge: skaling's k may run away
BATCH = 1024  # problems that step together
# Problems times rows that are looked at together, of a law by `predict` and by its form: a resample
# of 240 rows takes 170 us at 2**15, 300 at 2**12 and 185 at 2**16.
PIECE_ELEMENTS = (2**16, 2**15)
SCREEN = 256  # starts looked at together
FIRST_DAMPING = 1.0  # of a start; from 0.5 one of 60 random Farseer surfaces misses its optimum
NEAR_DAMPING = (
    0.5  # of a resample: 13.3 evaluations on 20 rows and 7.7 on 240; 14.4 and 7.5 from 0.25
)
NO_DAMPING = 0.02  # what lies below it goes to none at the next success
MAX_DAMPING = 1e9
RIDGE = 1e-3  # of the matrix's diagonal at a damping of one
SMALLEST_BEND = 1e-8  # of an eigenvalue over the largest, so that a flat direction stays finite
DELTA_FACTOR = 4.0  # between the widths of Huber's delta that are solved in turn
FAR = 16.0  # median residual over delta beyond which a start is led by wider deltas at once
SAME_OPTIMUM = 1e-6  # relative difference of objectives that counts as the same optimum
ROUNDS_PER_COORDINATE = 4  # of a step within limits; most take two in all
MAX_STEP = 3.0  # in a coordinate: a factor of e**3 in a parameter


@dataclass(frozen=True)
class Solution:
    """Minima [batch, free], their objectives [batch], and which of them converged [batch]."""

    theta: Floats
    objective: Floats
    converged: np.ndarray[tuple[int], np.dtype[np.bool_]]

    def put(self, rows: Rows, other: Solution) -> None:
        """Replace these rows of the batch."""
        self.theta[rows], self.objective[rows] = other.theta, other.objective
        self.converged[rows] = other.converged

    def take(self, rows: Rows) -> Solution:
        """These rows of the batch."""
        return Solution(self.theta[rows], self.objective[rows], self.converged[rows])

    def joined(self, other: Solution) -> Solution:
        """One batch after the other."""
        return Solution(
            np.concatenate([self.theta, other.theta]),
            np.concatenate([self.objective, other.objective]),
            np.concatenate([self.converged, other.converged]),
        )

    def best(self) -> int:
        return int(np.argmin(self.objective))


@dataclass(frozen=True)
class Prior:
    """A normal prior on the coordinates: means and inverse standard deviations, [batch, free].

    Either may be [free]: the same for every problem. It adds half the sum of
    ((theta - mean) * precision)**2 to the objective. With `along` [held, free] it is one on these
    sums of coordinates, and means and inverse deviations are [batch, held].
    """

    mean: Floats
    precision: Floats
    along: Floats | None = None

    def take(self, rows: Rows | slice) -> Prior:
        """The prior of these problems."""
        mean, precision = np.atleast_2d(self.mean), np.atleast_2d(self.precision)
        return replace(
            self,
            mean=mean[rows] if len(mean) > 1 else mean,
            precision=precision[rows] if len(precision) > 1 else precision,
        )

    def followed(self, count: int) -> Prior:
        """The prior [batch, free], and after it `count` problems without one."""
        none = np.zeros((count, self.mean.shape[1]))
        return replace(
            self,
            mean=np.concatenate([self.mean, none]),
            precision=np.concatenate([self.precision, none]),
        )

    def apart(self, theta: Floats) -> Floats:
        """How far each problem lies from the mean [batch, held or free]."""
        at = theta if self.along is None else np.einsum("bi,hi->bh", theta, self.along)
        distance: Floats = at - self.mean
        return distance

    def add_to(self, gradient: Floats, matrix: Floats, theta: Floats) -> None:
        """Its gradient [batch, free] and curvature [batch, free, free], added in place."""
        square = self.precision**2
        pull = self.apart(theta) * square
        if self.along is None:
            gradient += pull
            diagonal = np.einsum("bii->bi", matrix)
            diagonal += square
            return
        gradient += np.einsum("bh,hi->bi", pull, self.along)
        matrix += np.einsum("bh,hi,hj->bij", np.atleast_2d(square), self.along, self.along)


def objective_values(
    surface: Surface, weights: Floats, theta: Floats, prior: Prior | None = None
) -> Floats:
    """Objective of each problem [batch]; infinite where the law gives no number."""
    with np.errstate(all="ignore"):
        point = surface.at(theta)
        return _values(surface.weighted(weights) * point.slope, point, prior)


def solve(
    surface: Surface,
    weights: Floats,
    starts: Floats,
    prior: Prior | None = None,
    one_fit: bool = False,
    to_the_end: bool = True,
) -> Solution:
    """Minimise each problem from its start: `weights` [batch or 1, rows], `starts` [batch, free].

    With `one_fit` the starts are those of one fit. What neither converges soon nor lies below those
    that do is given up, as it would take ten times as long as all others together; and so are the
    last ones where half have met in the lowest optimum. Not `to_the_end` are they where the optima
    are only starts for more rows.

    Where nearly every residual lies beyond delta the objective is a kinked one, on which a step of
    Newton's says little; then wider deltas are solved first, each from the last one's optimum. No
    problem's digits depend on the others of its batch.
    """
    delta = surface.objective.delta
    # Rows are taken out of the weights at each step; of another layout all would be copied first.
    weights = np.ascontiguousarray(surface.weighted(weights))
    distance = np.concatenate(
        [_distance(surface, starts[at : at + SCREEN]) for at in range(0, len(starts), SCREEN)]
    )
    near = ~(distance > FAR)
    widest = np.ceil(np.log(np.clip(distance, 1.0, 1e9)) / np.log(DELTA_FACTOR))
    widest[near] = 0
    theta = starts
    for power in range(int(widest.max()), 0, -1):
        objective = replace(surface.objective, delta=delta * DELTA_FACTOR**power)
        wide = replace(surface, objective=objective)
        limit = np.where(widest >= power, FEW_ITERATIONS, 0)
        theta = _solve_batch(wide, weights, theta, prior, limit, LOOSE_TOLERANCE).theta
    limit = np.full(len(theta), FEW_ITERATIONS if one_fit else MAX_ITERATIONS)
    damping = FIRST_DAMPING if one_fit else NEAR_DAMPING
    solution = _solve_batch(
        surface, weights, theta, prior, limit, first_damping=damping, race=one_fit
    )
    if one_fit and to_the_end:
        least = np.min(solution.objective[solution.converged], initial=np.inf)
        left = np.flatnonzero(~solution.converged & (solution.objective < least))
        weights = weights if len(weights) == 1 else weights[left]
        limit, prior = np.full(len(left), MAX_ITERATIONS), prior and prior.take(left)
        solution.put(left, _solve_batch(surface, weights, solution.theta[left], prior, limit))
    return solution


def _distance(surface: Surface, starts: Floats) -> Floats:
    """The median residual [batch] in units of delta."""
    with np.errstate(all="ignore"):
        middle: Floats = np.median(np.abs(surface.residuals(starts)), axis=1)
    return middle / surface.objective.delta


def rough(surface: Surface, weights: Floats, starts: Floats) -> Floats:
    """Where a few loose iterations with a wide delta take each start [batch, free]."""
    objective = replace(surface.objective, delta=surface.objective.delta * DELTA_FACTOR**2)
    wide = replace(surface, objective=objective)
    limit, weights = np.full(len(starts), ROUGH_ITERATIONS), surface.weighted(weights)
    return _solve_batch(wide, weights, starts, None, limit, LOOSE_TOLERANCE, bends=False).theta


def _solve_batch(
    surface: Surface,
    weights: Floats,
    starts: Floats,
    prior: Prior | None,
    limit: Floats,
    tolerance: float = RELATIVE_TOLERANCE,
    first_damping: float = FIRST_DAMPING,
    bends: bool = True,
    race: bool = False,
) -> Solution:
    """One width of delta, at most `limit` [batch] iterations; none leaves a start as it is.

    Problems begin at `first_damping`; without `bends` no second derivatives are taken, and all
    steps are those of reweighted least squares. A `race` ends as soon as it is decided. A problem
    that is done makes room for the next one, so that the arrays stay full.
    """
    theta = surface.inside(starts)
    descent = _Descent(surface, weights, prior, theta, first_damping, bends)
    value, converged = descent.value, descent.converged
    nothing = EXACT * np.sum(weights, axis=1)
    left, queue = limit.copy(), np.flatnonzero(limit)
    active, queue = queue[:BATCH], queue[BATCH:]
    moved, predicted = theta[active], np.zeros(len(active))
    with np.errstate(all="ignore"):
        while len(active):
            gradient, matrix = descent.tried(active, moved, predicted)
            damp, own_prior = descent.damping[active], prior and prior.take(active)
            mix = descent.mix(damp)
            step, predicted = _step(surface, theta[active], gradient, matrix, own_prior, damp, mix)
            exact = value[active] <= (nothing[active] if len(nothing) > 1 else nothing)
            small = exact | (predicted <= tolerance * value[active])
            small &= (damp <= 1.0) | exact
            done = small | (damp > MAX_DAMPING) | np.isinf(value[active]) | (left[active] == 0)
            converged[active] = small
            left[active] -= 1
            if race and np.count_nonzero(done) and decided(value, converged):
                break
            moved = surface.moved(theta[active], step)
            if np.count_nonzero(done):
                fresh = queue[: np.count_nonzero(done)]
                queue = queue[len(fresh) :]
                active = np.concatenate([active[~done], fresh])
                moved = np.concatenate([moved[~done], theta[fresh]])
                predicted = np.concatenate([predicted[~done], np.zeros(len(fresh))])
    return Solution(theta, value, converged)


class _Descent:
    """Problems on their way down: where each stands, what that is worth, how steps are damped."""

    def __init__(
        self,
        surface: Surface,
        weights: Floats,
        prior: Prior | None,
        theta: Floats,
        first_damping: float,
        bends: bool,
    ) -> None:
        self.surface, self.weights, self.prior = surface, weights, prior
        self.theta, self.first_damping, self.bends = theta, first_damping, bends
        self.value = np.full(len(theta), np.inf)
        self.converged = np.zeros(len(theta), dtype=bool)
        self.damping = np.full(len(theta), first_damping)
        self.scratch = Scratch()
        # Problems are tried in pieces whose arrays stay in the cache.
        self.piece = max(1, PIECE_ELEMENTS[surface.model is not None] // weights.shape[1])

    def mix(self, damping: Floats) -> Floats:
        """The share [batch] of second derivatives that is left out."""
        return np.minimum(damping, 1.0) if self.bends else np.ones(len(damping))

    def tried(self, active: Rows, moved: Floats, predicted: Floats) -> tuple[Floats, Floats]:
        """Gradient and matrix where each problem then stands: at `moved`, if that is better.

        `predicted` [batch] is what the step should have gained; by what it did the damping goes
        down or up.
        """
        count, free = moved.shape
        gradient, matrix = np.empty((count, free)), np.empty((count, free, free))
        for at in (slice(first, first + self.piece) for first in range(0, count, self.piece)):
            self._try(active[at], moved[at], predicted[at], gradient[at], matrix[at])
        return gradient, matrix

    def _try(
        self, chosen: Rows, moved: Floats, predicted: Floats, gradient: Floats, matrix: Floats
    ) -> None:
        surface, scratch = self.surface, self.scratch
        here = _share(self.weights, chosen, scratch)
        point = surface.at(moved, scratch)
        pull = np.multiply(here, point.slope, out=scratch("pull", point.slope.shape))
        new = _values(pull, point, self.prior and self.prior.take(chosen))
        old, damp = self.value[chosen], self.damping[chosen]
        better = new < old
        (worse,) = (~better).nonzero()
        if len(worse):
            point.put(worse, surface.at(self.theta[chosen[worse]]))
            pull[worse] = (here if len(here) == 1 else here[worse]) * point.slope[worse]
        self.value[chosen], self.theta[chosen] = np.where(better, new, old), point.theta
        gain = (old - new) / np.maximum(predicted, 1e-300)
        damp = np.where(
            better & (gain > 0.25),
            np.where(damp < NO_DAMPING, 0.0, damp * np.where(gain > 0.75, 0.3, 0.5)),
            np.where(better, damp, np.maximum(4 * damp, NO_DAMPING)),
        )
        damp = self.damping[chosen] = np.where(np.isinf(old), self.first_damping, damp)
        gradient[:], matrix[:] = _sums(surface, here, pull, point, self.mix(damp), scratch)


def decided(value: Floats, converged: Rows) -> bool:
    """Whether half of the starts of one fit have met in the lowest optimum and none is below it.

    Side by side 4 of 60 random Farseer surfaces take above 100 ms, and 10 without; none of these
    and of 360 small ladders ends in another optimum.
    """
    least = np.min(value[converged], initial=np.inf)
    same = converged & (value <= least * (1 + SAME_OPTIMUM))
    return bool(2 * np.sum(same) >= len(value) and np.all(value[~converged] > least))


def _share(weights: Floats, rows: Rows, scratch: Scratch) -> Floats:
    """The weights of these problems."""
    if len(weights) == 1:
        return weights
    out = scratch("weights", (len(rows), weights.shape[1]))
    # The mode "raise" would copy once more.
    return np.take(weights, rows, axis=0, out=out, mode="clip")


def _values(pull: Floats, point: Point, prior: Prior | None) -> Floats:
    """Half the square up to delta and linear beyond: slope times (residual - slope / 2)."""
    values = np.einsum("bn,bn->b", pull, point.residuals)
    values -= 0.5 * np.einsum("bn,bn->b", pull, point.slope)
    if prior is not None:
        values = values + 0.5 * np.sum((prior.apart(point.theta) * prior.precision) ** 2, axis=1)
    finite: Floats = np.where(np.isfinite(values), values, np.inf)
    return finite


def _sums(
    surface: Surface,
    weights: Floats,
    pull: Floats,
    point: Point,
    mix: Floats,
    scratch: Scratch,
) -> tuple[Floats, Floats]:
    """Gradient [batch, free] and matrix [batch, free, free] at a point.

    The matrix is Newton's at a `mix` [batch] of zero and that of reweighted least squares, which is
    positive, at one. `pull` [batch, rows] is weight times slope.
    """
    delta = surface.objective.delta
    if np.isinf(delta):
        return surface.sums(point, pull, np.broadcast_to(weights, pull.shape), mix, scratch)
    # Slope over residual: one for inliers, and less for outliers, of which `mix` is taken.
    gauss = np.abs(point.residuals, out=scratch("gauss", pull.shape))
    np.divide(delta, np.maximum(gauss, delta, out=gauss), out=gauss)
    inlier = np.floor(gauss, out=scratch("inlier", pull.shape))
    if np.count_nonzero(mix):
        gauss -= inlier
        gauss *= mix[:, None]
        gauss += inlier
    else:
        gauss = inlier
    gauss *= weights
    return surface.sums(point, pull, gauss, mix, scratch)


def _step(
    surface: Surface,
    theta: Floats,
    gradient: Floats,
    matrix: Floats,
    prior: Prior | None,
    damping: Floats,
    mix: Floats,
) -> tuple[Floats, Floats]:
    """The damped step [batch, free] and the decrease that it predicts [batch].

    Where the matrix is not positive its eigenvalues count by their size, which steps downhill and
    far along the curved valleys of a design with few distinct rows.
    """
    diagonal = np.einsum("bii->bi", matrix)
    if prior is not None:
        prior.add_to(gradient, matrix, theta)
    gradient, matrix = surface.for_steps(theta, gradient, matrix, mix)
    scale = np.abs(diagonal)
    scale = np.maximum(scale, 1e-10 * scale.max(axis=1, keepdims=True) + 1e-300)
    diagonal += (RIDGE * damping + 1e-12)[:, None] * scale
    step = solve_symmetric(matrix, -gradient)
    bad = ~np.isfinite(step).all(axis=1)
    if np.count_nonzero(bad):
        bad &= np.isfinite(matrix).all(axis=(1, 2))
        matrix[bad] = _positive(matrix[bad], scale[bad])
        step[bad] = solve_symmetric(matrix[bad], -gradient[bad])
    _hold_inside(surface.step_limits(theta), step, matrix, gradient)
    largest = np.abs(step).max(axis=1, keepdims=True, where=~surface.unlimited, initial=0.0)
    step *= np.minimum(1.0, MAX_STEP / np.maximum(largest, 1e-300))
    slope = np.einsum("bi,bi->b", step, gradient)
    bend = np.einsum("bi,bij,bj->b", step, matrix, step)
    predicted: Floats = np.maximum(-slope - 0.5 * bend, 0.0)
    return step, predicted


def _hold_inside(
    limits: tuple[Floats, Floats], step: Floats, matrix: Floats, gradient: Floats
) -> None:
    """Where a step passes limits, the best one within them: a quadratic program by active sets.

    From no step at all each round goes towards the optimum of the coordinates that are not held,
    as far as the first limit, which then holds; one that is held back without need is let go. So
    the model never rises, and a step of nothing is an optimum. Holding all that the free step
    passes at once can lead uphill, and looks like one.
    """
    lowest, highest = limits
    rows = np.flatnonzero(((step < lowest) | (step > highest)).any(axis=1))
    if not len(rows):
        return
    ends = np.stack([lowest[rows], highest[rows]])
    aim, matrix, gradient = step[rows], matrix[rows], gradient[rows]
    at = np.clip(0.0, *ends)
    held = np.zeros(at.shape, dtype=bool)
    left = np.arange(len(rows))
    for _ in range(ROUNDS_PER_COORDINATE * at.shape[1]):
        way = aim - at[left]
        room = np.where(way > 0, ends[1, left], ends[0, left]) - at[left]
        with np.errstate(all="ignore"):
            shares = np.where(held[left] | (way == 0), np.inf, room / way)
        share = np.minimum(1.0, shares.min(axis=1, keepdims=True))
        stopped = (shares <= share) & (share < 1)
        at[left] = np.where(stopped, at[left] + room, at[left] + share * way)
        held[left] |= stopped
        # Of what is held, that which pulls back inside is let go, the strongest first.
        pull = gradient[left] + np.einsum("bij,bj->bi", matrix[left], at[left])
        inward = np.where(at[left] <= ends[0, left], -pull, pull)
        inward = np.where(held[left] & ~stopped.any(axis=1, keepdims=True), inward, 0.0)
        worst = np.argmax(inward, axis=1)
        freed = inward[np.arange(len(left)), worst] > 0
        held[left[freed], worst[freed]] = False
        left = left[freed | stopped.any(axis=1)]
        if not len(left):
            break
        kept = held[left]
        side = -gradient[left] - np.einsum(
            "bij,bj->bi", matrix[left], np.where(kept, at[left], 0.0)
        )
        rest = np.where(kept[:, :, None] | kept[:, None, :], 0.0, matrix[left])
        rest += kept[:, :, None] * np.eye(kept.shape[1])
        aim = np.where(kept, at[left], solve_symmetric(rest, np.where(kept, 0.0, side)))
    step[rows] = at


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
    lower = np.empty((size + 1, size, len(right)))  # the batch innermost: long loops
    lower[:size] = matrix.transpose(1, 2, 0)
    lower[size] = right.T  # goes through the elimination as one row more
    for j in range(size):
        below = lower[j + 1 :, j]
        scaled = below / lower[j, j]
        if j + 1 < size:  # the upper half is not looked at
            lower[j + 1 :, j + 1 :] -= scaled[:, None] * below[:-1]
        below[:] = scaled
    solution = lower[size]
    for j in range(size - 1, 0, -1):
        solution[:j] -= lower[j, :j] * solution[j]
    positive = (np.einsum("iib->ib", lower[:size]) > 0).all(axis=0)
    return np.where(positive, solution, np.nan).T.copy()
