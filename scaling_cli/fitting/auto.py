"""The recipe `auto`: the skaling law, held by a prior as far as the runs themselves allow it.

1. A robust fit under a weak prior finds the scale of the noise and the rows that are wrong.
2. Rows count by how near they lie to the frontier of compute and loss: forecasts start from there.
3. The law is fitted under priors of several widths. A backtest inside the rows says how far each
   width of the exponents is to be believed, by its error and by the density that it gave to what
   came; the evidence of all rows says it of the widths of E. The law that is reported is fitted
   under their mean width.
4. Resamples of the runs, each with the prior's centre drawn anew, are spread over the widths by the
   same belief: the intervals carry the noise, the doubt about the floor and that about the prior.

Runs of one ratio of tokens to params go another way, by their curves (`curved`), where these are
logged: their final points alone say nothing of a split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_cli.compute import SIX_ND
from scaling_cli.errors import FitError
from scaling_cli.fitting import accepts, assembly, curved, diagnostics, problem, record, thinned
from scaling_cli.fitting.assembly import Draws, Optimum, Problem, assemble, noise_of
from scaling_cli.fitting.identified import settled
from scaling_cli.fitting.objective import MAD, Objective
from scaling_cli.fitting.prior import LEARNT, Known
from scaling_cli.fitting.problem import Design, FitOptions, Frame
from scaling_cli.fitting.procedures import AUTO, PROCEDURES
from scaling_cli.fitting.record import Fold, Record
from scaling_cli.fitting.result import Fit, distance_outside
from scaling_cli.fitting.solver import Prior, Solution, objective_values, solve
from scaling_cli.fitting.starts import candidate_starts
from scaling_cli.fitting.surface import Surface, middle
from scaling_cli.fitting.targets import holds_prior, is_cross_entropy
from scaling_cli.notes import Note
from scaling_cli.records import Floats
from scaling_cli.table import Mask, Table

LAW = PROCEDURES[AUTO].law
NAMES = LAW.parameter_names  # all free, all logged: the solver's coordinates in this order
E, A, ALPHA, B, BETA, K = (NAMES.index(name) for name in ("E", "A", "alpha", "B", "beta", "k"))
HELD = [ALPHA, BETA, K, E]  # the coordinates that a prior holds; A and B are free

# Standard deviations of the logs of alpha, beta and k, and of E where it is expected at .70 of the
# lowest loss; E may have a wider one than its row's. Belief in a width of the exponents falls with
# its backtest's error over EARNED powers of the density that its fits gave to the held-out rows,
# all to the power SHARPNESS; and every widening, of E too, costs EARNED powers of its factor: a
# wide prior must earn its place, as folds of few rows are weak evidence. Twice as wide is 8 % less
# error, the widest 19 %. Chosen on the public tables and on simulated ladders of other seeds than
# the benchmark's, where all of 32 to 48 and of 1/12 to 1/6 do: less SHARPNESS forecasts the tables
# worse, and more EARNED the ladders whose floor lies near their losses.
WIDTHS = np.array([[0.15, 0.08], [0.25, 0.12], [0.4, 0.2], [0.8, 0.8]])
SHARPNESS, EARNED = 32.0, 1 / 8
# Runs whose logs stay this near to one line, as those of one ratio of tokens to params, know the
# sum of the two terms alone: A is held by such a standard deviation at half of it, as at the best
# split under like exponents, and B takes up the rest. Free, both trade along a bent valley in which
# 75 % of refits never end.
ONE_LINE, ON_ONE_LINE = 0.03, 0.1
FLAT = 10.0  # standard deviation of the logs of A and B where a density must have one
WEAK = np.array([[0.8, 0.4]])  # of stage 0; E's quantile is a poor guide, so that it is held more
NO_PRIOR = np.array([[2.0, 2.0]])  # other targets: factors of 7, to keep the solver on earth
NEARNESS = 8.0  # a row counts by (lowest loss / its loss) to this power, and by its compute
HUBER = 1.345  # noise scales: 95 % efficient on normal residuals
CUT_OFF = 0.7102  # mean square of a normal of deviation one that is cut off there
FIRST_NOISE, PASSES = 0.02, 4  # of the noise scale, which four rounds settle
LEAST_NOISE = 8e-4  # losses are logged to three or four digits
LEAST_ERROR = 1e-3  # of a backtest: below it widths are alike
WRONG = 6.0  # noise scales from stage 0: such a row is set aside ...
WRONG_SHARE = 0.15  # ... unless they are this many: then it is the noise that is not understood
# The deepest of the folds says more of the rows that it lacks than of the width, while its density
# knows how far it reaches; so the error counts in the first two alone (on the public tables,
# sources equal: 0.417 of plain Chinchilla's error, and 0.423 with all three).
ERROR_FOLDS = 2
DOUBT = 0.2  # of the belief in the widths that three folds of one ladder do not move
FREE = 2  # parameters that the prior leaves to the runs: A and B
FEWEST = FREE + 1  # runs: one more, to say how far they lie from the law
STARTS = 12
# What its intervals are multiplied by, of other ladders' record: with .93 they cover .935 of the
# held-out runs of 23 public tables and .87 to 1 in cells of simulated ladders with 3 % noise;
# with .87 .921, and .82 in two of the cells.
OTHERS = 0.93
NOISE_KNOWN = 4.0  # runs that say as much of the noise where runs count as all rows alike do
DRIFT = 0.008  # log error per unit of distance outside the design; from folds inside training rows
GAVE_WAY = 0.4  # share of the belief in the tightest prior; it is 0.71 before any row has spoken
LISTED = 5

ABOUT = (
    f"prior: exponents near {LEARNT.alpha:.2f} and {LEARNT.beta:.2f}, k near {LEARNT.k:.1f}, E near"
    f" {LEARNT.share_at(1e21):.0%} of the lowest loss at 1e21 FLOPs, {LEARNT.share_at(1e18):.0%} at"
    f" 1e18 and {LEARNT.share_at(1e15):.0%} at 1e15; for a language model's cross-entropy alone",
    f"its standard deviation is {WIDTHS[0, 0]:.2f} in the logs of the exponents and"
    f" {WIDTHS[0, 1]:.2f} in that of E, up to {WIDTHS[-1, 0]:.1f} and {WIDTHS[-1, 1]:.1f} where a"
    " backtest inside the runs, or for E the losses themselves, believe wider ones",
    f"runs count by their compute and by (lowest loss / loss)**{NEARNESS:.0f}; one that lies more"
    f" than {WRONG:.0f} noise scales from a robust fit is set aside and named",
    "objective: Huber at 1.345 noise scales on log residuals, plus the prior",
    "intervals: runs drawn anew and the prior's centre with them, noise, and"
    f" {DRIFT:.1%} per unit of log distance outside the runs; then each half by what forecasts"
    " inside the runs missed on its side",
    "runs of one ratio of tokens to params are fitted by their curves where these hold the learning"
    " rate, under a prior twice to three times as wide: a checkpoint counts as a finished run",
)

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Ladder:
    """Runs as arrays [rows]; `owner` numbers the run that a row is a point of."""

    params: Floats
    tokens: Floats
    target: Floats
    owner: Index

    def __len__(self) -> int:
        return len(self.target)

    @property
    def compute(self) -> Floats:
        compute: Floats = SIX_ND.flops(self.params, self.tokens)
        return compute

    @property
    def sizes(self) -> dict[str, Floats]:
        return {"params": self.params, "tokens": self.tokens}

    @property
    def on_one_line(self) -> bool:
        """Whether the logs of params and tokens never leave a line, so that only the sum of the two
        terms is in the runs."""
        logs = np.log(np.stack([self.params, self.tokens]))
        return len(self) > 1 and float(np.linalg.eigvalsh(np.cov(logs))[0]) < ONE_LINE**2

    def take(self, rows: Index) -> Ladder:
        return Ladder(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def scales(self) -> dict[str, float]:
        return {name: middle(values) for name, values in self.sizes.items()}

    def surface(self, scales: Mapping[str, float], noise: float) -> Surface:
        columns = {name: values / scales[name] for name, values in self.sizes.items()}
        objective = Objective("map", "", log=True, delta=HUBER * noise)
        return Surface(LAW, columns, self.target, objective, {})


@dataclass(frozen=True)
class Ground:
    """What the first fit makes of a ladder.

    `wrong` numbers the rows that are, `kept` those that count: the others, or all where too many
    are wrong. `rows` are these, `weights` [kept] their weights of mean 1; `noise` is the robust
    scale of the residuals at `theta` [free], `lowest` the loss that its prior on E is centred by,
    `known` what is expected of it.
    """

    wrong: Index
    kept: Index
    rows: Ladder
    weights: Floats
    theta: Floats
    noise: float
    lowest: float
    known: Known

    @property
    def largest(self) -> float:
        """The compute of the largest run."""
        return float(np.max(self.rows.compute))

    @property
    def floor(self) -> float:
        """The centre of the prior on ln E."""
        return float(np.log(self.known.share_at(self.largest) * self.lowest))

    def prior(self, widths: Floats) -> Prior:
        """The priors of `widths` [problems, 2], by which this ladder is fitted."""
        spread = [1.0, self.known.floor_spread(self.largest)]
        held = prior(self.floor, widths * spread, self.known)
        if self.rows.on_one_line:
            both = np.logaddexp(self.theta[A], self.theta[B])
            held.mean[:, A], held.precision[:, A] = both - np.log(2), 1 / ON_ONE_LINE
        return held


@dataclass(frozen=True)
class Belief:
    """How far each of `widths` [pairs, 2] is believed, the fits `theta` [pairs, free] under them,
    and the backtest behind it.

    `errors` [folds, widths] are root mean squares of held-out log residuals, by the widths of the
    exponents; no fold fits into a ladder of fewer than nine rows.
    """

    widths: Floats
    shares: Floats
    theta: Floats
    errors: Floats

    @property
    def mean_width(self) -> Floats:
        """[1, 2]"""
        mean: Floats = np.exp(self.shares @ np.log(self.widths))[None]
        return mean

    @property
    def doubted(self) -> Floats:
        """The shares [pairs] by which intervals are made: folds that share their largest runs make
        no width certain, and none impossible."""
        before = _shares(-SHARPNESS * EARNED * np.log(self.widths[:, 0] * self.widths[:, 1]))
        mixed: Floats = (1 - DOUBT) * self.shares + DOUBT * before
        return mixed

    @property
    def by_exponents(self) -> Floats:
        """Belief in each width of the exponents [widths], whatever that of E."""
        exponents = self.widths[:, 0]
        return np.array([np.sum(self.shares[exponents == one]) for one in np.unique(exponents)])


def prior(floor: float, widths: Floats, known: Known = LEARNT) -> Prior:
    """One normal prior [problems, free] for each of `widths` [problems, 2]."""
    mean = np.zeros((len(widths), len(NAMES)))
    precision = np.zeros_like(mean)
    mean[:, HELD] = [*known.centre, floor]
    precision[:, HELD] = 1 / widths[:, [0, 0, 0, 1]]
    return Prior(mean, precision)


def survey(
    ladder: Ladder,
    scales: Mapping[str, float],
    starts: Floats | None = None,
    known: Known = LEARNT,
) -> Ground:
    """The first fit: noise, wrong rows, weights."""
    n = len(ladder)
    share = known.share_at(float(np.max(ladder.compute)))
    weak = prior(float(np.log(share * np.quantile(ladder.target, 0.05))), WEAK, known)
    if starts is None:
        starts = candidate_starts(ladder.surface(scales, FIRST_NOISE), STARTS)
    noise = FIRST_NOISE
    for _ in range(PASSES):
        surface = ladder.surface(scales, noise)
        found = solve(surface, np.full((1, n), noise**-2), starts, weak)
        theta = found.theta[found.best()]
        residuals = surface.residuals(theta[None])[0]
        spread = MAD * float(np.median(np.abs(residuals)))
        noise = max(LEAST_NOISE, spread * float(np.sqrt(n / max(1, n - len(NAMES)))))
        starts = np.concatenate([theta[None], starts[: STARTS // 4]])
    wrong = np.abs(residuals) > WRONG * noise
    few = np.sum(wrong) < WRONG_SHARE * n
    kept = np.flatnonzero(~wrong) if few else np.arange(n)
    rows = ladder.take(kept)
    # A loss that is wrong and too low must not set the frontier: the fit speaks where it is higher.
    level = rows.target * np.exp(np.maximum(0.0, residuals[kept]))
    lowest = float(np.min(level))
    weights = rows.compute / np.max(rows.compute) * (lowest / level) ** NEARNESS
    weights /= np.mean(weights)
    return Ground(np.flatnonzero(wrong), kept, rows, weights, theta, noise, lowest, known)


def solution_at(ground: Ground, scales: Mapping[str, float], widths: Floats) -> Solution:
    """The fit [widths, free] under each of `widths` [widths, 2], from two starts."""
    held = ground.prior(widths)
    near = np.repeat(ground.theta[None], len(widths), axis=0)
    central = near.copy()
    central[:, HELD] = held.mean[:, HELD]
    # Of another k the same reducible loss at the centre of the runs: fewer steps lead home.
    both = np.logaddexp(near[:, A], near[:, B])
    central[:, [A, B]] += (both * np.expm1(near[:, K] - central[:, K]))[:, None]
    twice = Prior(np.tile(held.mean, (2, 1)), np.tile(held.precision, (2, 1)))
    surface = ground.rows.surface(scales, ground.noise)
    weights = ground.weights[None] / ground.noise**2
    found = solve(surface, weights, np.concatenate([near, central]), twice)
    better = found.objective[: len(widths)] <= found.objective[len(widths) :]
    chosen = np.where(better, 0, len(widths)) + np.arange(len(widths))
    return found.take(chosen)


def fit_at(ground: Ground, scales: Mapping[str, float], widths: Floats) -> Floats:
    """The optima [widths, free] of `solution_at`."""
    return solution_at(ground, scales, widths).theta


def curvature(ground: Ground, scales: Mapping[str, float], theta: Floats, held: Prior) -> Floats:
    """The objective's curvature at the fits [widths, free, free]: the precision of their logs."""
    surface = ground.rows.surface(scales, ground.noise)
    residuals, jacobian = surface.residuals_and_jacobian(theta)
    inlier = np.abs(residuals) <= surface.objective.delta
    weights = inlier * ground.weights / ground.noise**2
    found: Floats = np.matmul(jacobian * weights[:, None, :], jacobian.transpose(0, 2, 1))
    precision = np.where(held.precision > 0, held.precision, 1 / FLAT)
    found += precision[:, :, None] ** 2 * np.eye(theta.shape[1])
    return found


def log_evidence(
    ground: Ground, scales: Mapping[str, float], theta: Floats, widths: Floats
) -> Floats:
    """Log probability of all rows under each of `widths` [widths], but for a constant: Laplace's
    approximation about the fits `theta` [widths, free]."""
    held = ground.prior(widths)
    surface = ground.rows.surface(scales, ground.noise)
    value = objective_values(surface, ground.weights[None] / ground.noise**2, theta, held)
    _, bend = np.linalg.slogdet(curvature(ground, scales, theta, held))
    evidence: Floats = np.sum(np.log(held.precision[:, HELD]), axis=1) - value - 0.5 * bend
    return evidence


def log_density(
    ground: Ground, scales: Mapping[str, float], theta: Floats, widths: Floats, ahead: Ladder
) -> Floats:
    """Log density of the rows `ahead` by the fits `theta` under each of `widths` [widths]: normal,
    with the doubt about the parameters, the noise, and the drift with the distance."""
    held = ground.prior(widths)
    residuals, jacobian = ahead.surface(scales, 1.0).residuals_and_jacobian(theta)
    outside = distance_outside(assembly.domain(ground.rows.sizes), ahead.sizes)
    own = ground.noise**2 + (DRIFT * outside) ** 2
    # The covariance is `own` plus one of the rank of the parameters: small systems say it all.
    before = curvature(ground, scales, theta, held)
    after = before + np.matmul(jacobian / own, jacobian.transpose(0, 2, 1))
    pull = np.matmul(jacobian, (residuals / own)[:, :, None])
    explained = np.sum(pull * np.linalg.solve(after, pull), axis=(1, 2))
    spread = np.linalg.slogdet(after)[1] - np.linalg.slogdet(before)[1] + np.sum(np.log(own))
    density: Floats = 0.5 * (explained - spread - np.sum(residuals**2 / own, axis=1))
    return density


@dataclass(frozen=True)
class Below:
    """The rows below a cut of compute, `inside` [rows], and what is fitted to them alone: the first
    fit and the law's, `theta` [pairs, free], under each pair of widths."""

    cut: float
    inside: Mask
    ground: Ground
    theta: Floats


def every_pair(widths: Floats) -> tuple[Index, Floats]:
    """Each width of the exponents with E's own and every wider one: the number of the former
    [pairs], and both [pairs, 2]."""
    row, wider = np.triu_indices(len(widths))
    return row, np.stack([widths[row, 0], widths[wider, 1]], axis=1)


def cut_below(ground: Ground, scales: Mapping[str, float], widths: Floats) -> list[Below]:
    """Everything repeated below each cut, the highest first."""
    found = []
    for cut, inside in record.cuts(ground.rows.compute):
        rows = ground.rows.take(np.flatnonzero(inside))
        inner = survey(rows, scales, ground.theta[None], ground.known)
        found.append(Below(cut, inside, inner, fit_at(inner, scales, every_pair(widths)[1])))
    return found


def believe(
    ground: Ground,
    scales: Mapping[str, float],
    theta: Floats,
    widths: Floats,
    folds: Sequence[tuple[Below, Ladder]],
) -> Belief:
    """Belief in each pair of widths, whose fits to the rows are `theta` [pairs, free].

    `folds` are fits to fewer rows and the rows that these predict. The widths of the exponents are
    weighed by them, those of E, from the row's own upwards, by the evidence of all rows.
    """
    row, pairs = every_pair(widths)
    if len(pairs) == 1:
        return Belief(pairs, np.ones(1), theta, np.empty((0, 1)))
    own = np.flatnonzero(np.diff(row, prepend=-1))  # of each width of the exponents, E's own
    errors, densities = [], []
    for below, ahead in folds:
        residuals = ahead.surface(scales, 1.0).residuals(below.theta[own])
        errors.append(np.sqrt(np.mean(residuals**2, axis=1)))
        densities.append(log_density(below.ground, scales, below.theta[own], widths, ahead))
    table = np.array(errors).reshape(-1, len(widths))
    earned = -np.log(widths[:, 0])
    error = np.zeros(len(widths))
    if errors:
        missed = np.log(np.maximum(table[:ERROR_FOLDS], LEAST_ERROR))
        error = np.mean(missed, axis=0)
        earned += np.sum(densities, axis=0) / len(missed)
    by_row = _shares(SHARPNESS * (EARNED * earned - error))
    evidence = log_evidence(ground, scales, theta, pairs)
    evidence -= SHARPNESS * EARNED * np.log(pairs[:, 1])
    shares = np.concatenate([by_row[i] * _shares(evidence[row == i]) for i in range(len(widths))])
    return Belief(pairs, shares, theta, table)


def backtested(
    ground: Ground, scales: Mapping[str, float], widths: Floats = WIDTHS
) -> tuple[Belief, list[Fold]]:
    """How far each width is believed, and what the recipe missed where it was fitted below a cut
    and its own belief came from the cuts below that one."""
    below = cut_below(ground, scales, widths)

    def belief(here: Ground, inside: Mask, theta: Floats, deeper: Sequence[Below]) -> Belief:
        held = [ground.rows.take(np.flatnonzero(inside & ~item.inside)) for item in deeper]
        return believe(here, scales, theta, widths, list(zip(deeper, held, strict=True)))

    everything = np.ones(len(ground.rows), dtype=bool)
    theta = fit_at(ground, scales, every_pair(widths)[1])
    found = belief(ground, everything, theta, below)
    folds = []
    for i, item in enumerate(below):
        inner = belief(item.ground, item.inside, item.theta, below[i + 1 :])
        folds.append(_missed(ground, item, inner, scales))
    return found, folds


def _missed(ground: Ground, below: Below, belief: Belief, scales: Mapping[str, float]) -> Fold:
    """The residuals above a cut against what the fit below it states: the doubt about the
    parameters under each width and about the widths, the noise, and the drift."""
    above = np.flatnonzero(~below.inside)
    ahead = ground.rows.take(above)
    final = fit_at(below.ground, scales, belief.mean_width)
    surface = ahead.surface(scales, 1.0)
    missed = -surface.residuals(final)[0]
    residuals, jacobian = surface.residuals_and_jacobian(belief.theta)
    spread = spread_of_refits(below.ground, scales, belief)
    doubt = np.einsum("pir,pij,pjr->pr", jacobian, spread, jacobian)
    outside = distance_outside(assembly.domain(below.ground.rows.sizes), ahead.sizes)
    variance = belief.doubted @ (doubt + (residuals + missed) ** 2)
    noise, _ = noise_at(below.ground, scales, final, belief.mean_width)
    variance += noise**2 + (DRIFT * outside) ** 2
    return Fold.of(below.cut, int(np.sum(below.inside)), missed, variance, ground.weights[above])


def spread_of_refits(ground: Ground, scales: Mapping[str, float], belief: Belief) -> Floats:
    """The covariance [pairs, free, free] that `resample` has under each pair of widths, to first
    order: by the pulls of the rows and the prior's own spread (Huber's sandwich)."""
    held = ground.prior(belief.widths)
    surface = ground.rows.surface(scales, ground.noise)
    residuals, jacobian = surface.residuals_and_jacobian(belief.theta)
    pull = ground.weights / ground.noise**2 * surface.objective.slope(residuals)
    pulled = jacobian * pull[:, None, :]
    moved = np.matmul(pulled, pulled.transpose(0, 2, 1))
    moved += held.precision[:, :, None] ** 2 * np.eye(len(NAMES))
    inverse = np.linalg.inv(curvature(ground, scales, belief.theta, held))
    spread: Floats = np.matmul(np.matmul(inverse, moved), inverse)
    return spread


def noise_at(
    ground: Ground, scales: Mapping[str, float], theta: Floats, width: Floats
) -> tuple[float, float]:
    """The deviation of one run of those that count, and the degrees of freedom that say so, from
    the residuals at the fit `theta` [1, free] under `width` [1, 2].

    The weighted squares of residuals have the mean and the spread of a quadratic form in the runs'
    noise: what the fit itself has taken up is added, and rows of little weight tell little
    (Satterthwaite 1946, doi:10.2307/3002019). Squares of outliers are cut off as in Huber's second
    proposal (1964, doi:10.1214/aoms/1177703732).
    """
    surface = ground.rows.surface(scales, ground.noise)
    residuals, jacobian = (item[0] for item in surface.residuals_and_jacobian(theta))
    weights = ground.weights
    covariance = np.linalg.inv(curvature(ground, scales, theta, ground.prior(width))[0])
    first, second, third = ((jacobian * weights**power) @ jacobian.T for power in (1, 2, 3))
    # The form is W - W J' K J W, of the weights W and the Jacobian J.
    pull = covariance / ground.noise**2
    taken = 2 * pull - pull @ first @ pull
    mean = float(np.sum(weights) - np.trace(taken @ second))
    square = float(np.sum(weights**2) - 2 * np.trace(taken @ third))
    square += float(np.trace(taken @ second @ taken @ second))
    runs = len(np.unique(ground.rows.owner))  # points of one run are no more
    freedom = max(1.0, mean**2 / square * runs / len(weights))
    scale = max(LEAST_NOISE, MAD * diagnostics.weighted_median(np.abs(residuals), weights))
    for _ in range(PASSES):
        cut = np.minimum(np.abs(residuals), HUBER * scale)
        scale = max(LEAST_NOISE, float(np.sqrt(weights @ cut**2 / (mean * CUT_OFF))))
    everywhere = max(LEAST_NOISE, noise_of(residuals, FREE))
    # Mean and variance of the log of a deviation of so many degrees: the first terms of psi's.
    short = 1 / (2 * freedom) + 1 / (6 * freedom**2)
    doubt = 1 / (2 * freedom) + 1 / (2 * freedom**2) + 1 / (3 * freedom**3)
    told = 1 / (1 + 2 * NOISE_KNOWN * doubt)
    found = np.exp(told * (np.log(scale) + short) + (1 - told) * np.log(everywhere))
    return float(found), freedom + NOISE_KNOWN


def _shares(logs: Floats) -> Floats:
    shares: Floats = np.exp(logs - np.max(logs))
    shares /= np.sum(shares)
    return shares


def resample(
    ground: Ground,
    scales: Mapping[str, float],
    belief: Belief,
    count: int,
    seed: int,
) -> Floats:
    """Refits [resamples, free]: whole runs drawn anew, the prior's centre drawn from the prior.

    The widths get resamples by their doubted belief; those that did not converge are left out.
    """
    if count <= 0:
        return np.empty((0, len(NAMES)))
    if not np.isfinite(belief.doubted).all():
        raise FitError(
            "the values of the runs are too large or too small to be weighed",
            "See that params, tokens and the target are in their units, by `[columns]`.",
        )
    random = np.random.default_rng(seed)
    bounds = np.round(np.cumsum(belief.doubted) * count).astype(int)
    widths = np.repeat(np.arange(len(bounds)), np.diff(bounds, prepend=0))
    _, owner = np.unique(ground.rows.owner, return_inverse=True)
    runs = int(owner.max()) + 1
    drawn = random.multinomial(runs, np.full(runs, 1 / runs), size=count)[:, owner]
    held = ground.prior(belief.widths[widths])
    held.mean[:, HELD] += random.standard_normal((count, len(HELD))) / held.precision[:, HELD]
    weights = drawn * ground.weights / ground.noise**2
    surface = ground.rows.surface(scales, ground.noise)
    found = solve(surface, weights, belief.theta[widths], held)
    return found.theta[found.converged]


def reads_curves(rows: Table, options: FitOptions) -> bool:
    """Whether these runs are to be fitted by their curves: where their final points have one ratio
    of tokens to params, or lie on another line, and say nothing of a split."""
    named = options.target or LAW.target
    asked = options.checkpoints and holds_prior(named, options.prior)
    return asked and rows.has("lr") and thinned.wanted(rows)


def fit(
    observations: Table,
    options: FitOptions | None = None,
    group: Mapping[str, Any] | None = None,
    widths: Floats = WIDTHS,
    known: Known = LEARNT,
) -> Fit:
    """Fit one group of runs by the recipe, under priors of these `widths` [widths, 2] about what is
    `known` of such ladders.

    Raises FitError where the runs lack a column or are fewer than the law's parameters.
    """
    options = options or FitOptions()
    accepts.check("auto", AUTO, options)
    wanted = options.target or LAW.target
    names = {"params": "params", "tokens": "tokens", "target": wanted}
    with_prior = holds_prior(wanted, options.prior)
    least = FEWEST if with_prior else None
    rows, notes = problem.usable(LAW, observations, names, positive_target=True, least=least)
    if rows.points and options.checkpoints and with_prior and thinned.wanted(rows):
        once = rows.take(np.sort(np.unique(rows.owner_numbers(), return_index=True)[1]))
        curves = thinned.of_runs(once, wanted)
        if curves:
            return _by_curves(once, curves, names, options, group or {}, notes)
    columns, target = problem.read(rows, names)
    columns = settled(LAW, columns)
    ladder = Ladder(**columns, target=target, owner=rows.owner_numbers())

    scales = ladder.scales()
    ground = survey(ladder, scales, known=known)
    if not np.isfinite(ground.theta).all():
        raise FitError(f"{AUTO} finds no finite forecast on these {len(rows)} runs")
    belief, folds = backtested(ground, scales, widths if with_prior else NO_PRIOR)
    final = solution_at(ground, scales, belief.mean_width)
    surface = ground.rows.surface(scales, ground.noise)
    residuals = surface.residuals(final.theta)[0]
    draws = resample(ground, scales, belief, options.resamples, options.seed)

    noise, freedom = noise_at(ground, scales, final.theta, belief.mean_width)
    effective = problem.effective_runs(rows)
    notes += problem.look_at(LAW, wanted, columns, target, effective, len(NAMES))
    floor = float(np.exp(final.theta[0, E]))
    notes += _recipe_notes(ground, belief, floor, ladder, rows.run_ids)
    if not with_prior:
        notes.append(_no_prior(wanted))
    design = Design(LAW, rows, names, columns, target, None, None, surface.objective, tuple(notes))
    asked = Problem(design, Frame(LAW, scales, {}, {}, {}), options, group or {}, AUTO, ground.kept)
    optimum = Optimum(
        replace(surface, weights=ground.weights),
        final.theta[0],
        bool(final.converged[0]),
        noise=noise,
        value=float(np.sum(ground.weights * surface.objective.rho(residuals)) / ground.noise**2),
        precision=ground.prior(belief.mean_width).precision[0],
    )
    fitted = assemble(asked, optimum, Draws(draws, options.resamples))
    if not with_prior:
        freedom = min(freedom, max(1.0, rows.n_runs - len(NAMES)))
    record = Record("flops", OTHERS, freedom, tuple(folds))
    return replace(fitted, drift=DRIFT, record=record)


def _by_curves(
    rows: Table,
    curves: thinned.Thinned,
    names: Mapping[str, str],
    options: FitOptions,
    group: Mapping[str, Any],
    notes: Sequence[Note],
) -> Fit:
    """The fit of runs of one ratio of tokens to params to their curves, under a wider prior."""
    columns, target = problem.read(rows, names)
    floor = float(np.log(curved.EXPECTED.share * np.min(curves.target)))
    held = prior(floor, curved.WIDTHS, curved.EXPECTED)
    reducible = np.log(np.median(curves.target) - np.exp(floor))
    held.mean[:, [A, B]] = reducible / np.exp(held.mean[0, K]) - np.log(2)
    held.precision[:, [A, B]] = 1 / FLAT
    effective = problem.effective_runs(rows)
    about = problem.look_at(LAW, names["target"], columns, target, effective, len(NAMES))
    about = [note for note in about if note.code not in ("collinear_design", "few_sizes")]
    freedom = max(1.0, rows.n_runs - FREE + NOISE_KNOWN)
    own = Record("flops", curved.OTHERS, freedom)
    asked = curved.Asked(LAW, names, held, own, AUTO, (*notes, *about))
    return curved.fit(rows, curves, asked, options, group)


def _recipe_notes(
    ground: Ground,
    belief: Belief,
    floor: float,
    ladder: Ladder,
    run_ids: Sequence[str],
) -> list[Note]:
    """What the recipe did with these runs, and where it is weak; `floor` is the fitted E."""
    notes = []
    wrong = ground.wrong
    if len(wrong):
        named = ", ".join(run_ids[i] for i in wrong[:LISTED])
        more = f" and {len(wrong) - LISTED} more" if len(wrong) > LISTED else ""
        aside = len(ground.kept) < len(ladder)
        notes.append(
            Note.of(
                "outliers_set_aside" if aside else "outliers",
                f"{len(wrong)} of {len(ladder)} runs lie more than {WRONG:.0f} noise scales from a"
                " robust fit"
                + (" and do not count" if aside else ", too many to be set aside")
                + f": {named}{more}.",
                "warning" if aside else "severe",
            )
        )
    if len(belief.widths) == len(NO_PRIOR):
        return notes
    if len(belief.errors) and belief.shares[0] < GAVE_WAY:
        errors = np.exp(np.mean(np.log(belief.errors[:ERROR_FOLDS]), axis=0))
        tight, found = errors[0], errors[np.argmax(belief.by_exponents)]
        if belief.by_exponents[0] >= GAVE_WAY:
            why = f"their losses put E at {floor / ground.lowest:.0%} of the lowest one"
        elif found < tight:
            why = f"in a backtest it misses larger runs by {tight:.2%}, a wider one by {found:.2%}"
        else:
            why = "in a backtest larger runs lie further off than its forecasts allow"
        notes.append(
            Note.of(
                "prior_gave_way",
                f"These runs are unlike the language models that the prior comes from: {why};"
                f" the prior was widened, its standard deviation from {WIDTHS[0, 0]:.2f} to"
                f" {belief.mean_width[0, 0]:.2f} in the log of the exponents and from"
                f" {WIDTHS[0, 1]:.2f} to {belief.mean_width[0, 1]:.2f} in that of E.",
            )
        )
    elif not len(belief.errors):
        notes.append(
            Note.of(
                "no_backtest",
                f"{len(ground.rows)} runs are too few to test the prior on: the forecast leans on"
                " what other ladders of language models look like.",
            )
        )
    return notes


def _no_prior(target: str) -> Note:
    why = (
        "The runs are said to be no language models'"
        if is_cross_entropy(target)
        else f"{target} is no language model's cross-entropy"
    )
    return Note.of("no_prior", f"{why}: no prior holds the fit.")
