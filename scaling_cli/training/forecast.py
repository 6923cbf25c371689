"""What a run will reach: its own beginning, its schedule, and how its finished siblings went.

The curve is `lr_anneal` in relative form, held by the loss at its end,

    ln loss(t) = level + fall * f(t) + gain * g(t) + misfit(t) + noise,
    f = ((S1(t) / S1(end))**-alpha - 1) / alpha,    g = (S2(end) - S2(t)) / (peak * memory),

with S1 and S2 of Tissue et al. 2024 (arXiv:2408.11029). Siblings share `alpha` and the memory of
S2, and their (level, fall, gain) are draws from one normal distribution whose mean may move with
model size and length: a mixed linear model, fitted by expectation maximisation. The misfit is a
Gaussian process over the log of S1, so that neighbouring rows do not count twice and the last rows
count most. Given all that, a forecast is a conditional normal in closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from math import isnan, log
from statistics import NormalDist
from typing import Any

import numpy as np

from scaling_cli.errors import FitError
from scaling_cli.fitting.objective import MAD
from scaling_cli.notes import Note
from scaling_cli.records import Floats, Steps
from scaling_cli.shown import Shown
from scaling_cli.training.curve import Curve
from scaling_cli.training.history import annealing

ALPHAS = (0.2, 0.35, 0.5, 0.7)  # fitted alone, curves of both data sets lie in here
MEMORIES = (0.003, 0.01, 0.03, 0.1)  # of the median length; the public curves' best is 0.0125
MISFITS = (1.0, 3.0, 10.0)  # over the noise of a row
RANGE = 0.5  # of the misfit, in the log of the rate sum
SKIPPED = 1.5  # warmups that are left out: the power law does not hold in and just after it
LEAST_SHARE = 0.05  # of the planned rate sum, below which a row is left out for the same reason
LEAST_ROWS = 5  # with fewer a run says nothing of its own
FEW_RUNS = 6  # siblings from which on (level, fall, gain) may move with size and length
ITERATIONS = 25  # of expectation maximisation; more moved no forecast by 1e-4
# Without siblings. Fitted alone, fall is 0.037 and gain 0.044 on the mean of the 27 public curves,
# 0.045 and 0.15 on the sample runs; the spread covers both.
ALONE_MEAN = np.array([0.0, 0.045, 0.08])
ALONE_SPREAD = np.array([3.0, 0.03, 0.06])
SHRINK_BIAS = 10.0  # siblings' worth of no error in the mean error that a forecast is corrected by
ALONE_STRETCH = 1.3  # of the band without siblings to calibrate it
LEAST_NOISE = 1e-3  # of a row, relative
SHRINK = 3.0  # siblings' worth of that prior in their covariance
FLAT = 9.0  # variance of a level that is left free: a factor of e**3 either way


@dataclass(frozen=True)
class Shape:
    """What the curves of a ladder share: see the module's docstring. `memory` is in steps."""

    alpha: float
    memory: float
    misfit: float

    def basis(self, curve: Curve, steps: Steps) -> Floats:
        """[rows, 3]: what level, fall and gain are multiplied by at `steps`."""
        share = curve.sums[steps] / curve.sums[-1]
        fall = (share**-self.alpha - 1) / self.alpha
        return np.stack([np.ones(len(steps)), fall, _to_come(curve, steps, self.memory)], axis=1)

    def covariance(self, one: Floats, other: Floats) -> Floats:
        """Of the misfit between log rate sums, in units of a row's noise squared."""
        apart = np.abs(one[:, None] - other[None, :])
        kernel: Floats = self.misfit**2 * np.exp(-apart / RANGE)
        return kernel


@dataclass(frozen=True)
class _Rows:
    """A curve's usable rows, whitened by the covariance of misfit and noise."""

    gram: Floats  # [3, 3]
    side: Floats  # [3]
    square: float
    logdet: float
    count: int


def usable(curve: Curve, skipped: float = SKIPPED) -> Curve:
    """Without the first `skipped` warmups and the first steps after them, and thinned."""
    sums = curve.sums
    after = (curve.steps > skipped * curve.schedule.warmup) & (
        sums[curve.steps] >= LEAST_SHARE * sums[-1]
    )
    return replace(curve, steps=curve.steps[after], loss=curve.loss[after]).thinned()


def _to_come(curve: Curve, steps: Steps, memory: float) -> Floats:
    """Annealing from each step to the end, in units of the peak rate [rows]."""
    s2 = annealing(curve.schedule.rates, 1.0 - 1.0 / memory, curve.schedule.warmup)
    gain: Floats = (s2[-1] - s2[steps]) / (curve.schedule.peak * memory)
    return gain


def _root(curve: Curve, shape: Shape) -> Floats:
    """The inverse of the Cholesky factor of the covariance of misfit and noise [rows, rows]."""
    at = np.log(curve.sums[curve.steps])
    inverse: Floats = np.linalg.inv(np.linalg.cholesky(shape.covariance(at, at) + np.eye(len(at))))
    return inverse


def _whitened(curve: Curve, basis: Floats, root: Floats) -> _Rows:
    rows = root @ np.column_stack([basis, np.log(curve.loss)])
    x, y = rows[:, :3], rows[:, 3]
    logdet = -2 * float(np.sum(np.log(np.diag(root))))
    return _Rows(x.T @ x, x.T @ y, float(y @ y), logdet, len(y))


@dataclass(frozen=True)
class Ladder:
    """What finished runs say of a new one: the shape, and how (level, fall, gain) are spread.

    Their means are `traits(run) @ slopes`, and `noise` is the relative noise of one row.
    """

    shape: Shape
    slopes: Floats  # [traits, 3]
    spread: Floats  # [3, 3]
    noise: float
    origin: Floats  # [traits - 1]: what the traits are counted from
    scale: Floats
    curves: tuple[Curve, ...] = ()
    rows: tuple[_Rows, ...] = ()

    @cached_property
    def without(self) -> list[Ladder]:
        """The ladder without each of its runs, which says how well it predicts one."""
        return left_out(self)

    def expected(self, curve: Curve) -> tuple[Floats, Floats]:
        """Mean [3] and covariance [3, 3] of a run's (level, fall, gain): those of its kind, wider
        by what a run outside of the siblings' sizes and lengths leans on the slopes."""
        traits = _traits([curve], self.origin, self.scale)[0]
        leverage = 0.0
        if self.curves:
            known = _traits(self.curves, self.origin, self.scale)
            among = known.T @ known + 1e-3 * np.eye(len(traits))
            leverage = float(traits @ np.linalg.solve(among, traits))
        return traits @ self.slopes, self.spread * (1.0 + leverage)


def _raw_traits(curves: Sequence[Curve]) -> Floats:
    """Log length in steps at the peak rate, and log size [runs, 2]."""
    return np.array(
        [
            [
                log(curve.sums[-1] / curve.schedule.peak),
                0.0 if isnan(curve.params) else log(curve.params),
            ]
            for curve in curves
        ]
    )


def _traits(curves: Sequence[Curve], origin: Floats, scale: Floats) -> Floats:
    ones = np.ones((len(curves), 1))
    if not len(origin):
        return ones
    return np.hstack([ones, (_raw_traits(curves)[:, : len(origin)] - origin) * scale])


def alone(curve: Curve) -> Ladder:
    """The prior for a run without siblings; its noise is that of its own neighbouring rows."""
    memory = max(2.0, float(np.sqrt(MEMORIES[1] * MEMORIES[2])) * curve.total)
    bends = np.abs(np.diff(np.log(usable(curve).loss), 2))
    noise = MAD * float(np.median(bends)) / np.sqrt(6.0) if len(bends) else LEAST_NOISE
    return Ladder(
        Shape(ALPHAS[1], memory, MISFITS[1]),
        ALONE_MEAN[None, :],
        np.diag(ALONE_SPREAD**2),
        max(noise, LEAST_NOISE),
        np.empty(0),
        np.empty(0),
    )


def learn(siblings: Sequence[Curve]) -> Ladder:
    """The ladder of finished siblings, by the shape that explains them best.

    Raises FitError where none of them has enough rows.
    """
    curves = [usable(curve) for curve in siblings]
    curves = [curve for curve in curves if len(curve.steps) >= LEAST_ROWS]
    if not curves:
        raise FitError("no finished run has enough logged losses to learn a shape from")
    raw = _raw_traits(curves)
    origin, scale = np.empty(0), np.empty(0)
    if len(curves) >= FEW_RUNS:
        origin, scale = raw.mean(axis=0), np.where(raw.std(axis=0) > 0.05, 1.0, 0.0)
    traits = _traits(curves, origin, scale)
    length = float(np.median([curve.total for curve in curves]))
    memories = dict.fromkeys(max(2.0, share * length) for share in MEMORIES)  # short runs share one
    shapes = {
        (alpha, memory, misfit): Shape(alpha, memory, misfit)
        for alpha, memory, misfit in product(ALPHAS, memories, MISFITS)
    }
    rows: dict[Shape, list[_Rows]] = {shape: [] for shape in shapes.values()}
    for curve in curves:
        roots = {misfit: _root(curve, Shape(1.0, 1.0, misfit)) for misfit in MISFITS}
        for memory in memories:
            gain = _to_come(curve, curve.steps, memory)
            share = curve.sums[curve.steps] / curve.sums[-1]
            for alpha in ALPHAS:
                fall = (share**-alpha - 1) / alpha
                basis = np.stack([np.ones(len(gain)), fall, gain], axis=1)
                for misfit, root in roots.items():
                    rows[shapes[alpha, memory, misfit]].append(_whitened(curve, basis, root))
    likelihood, slopes, spread, noise = _mixed(traits, list(rows.values()))
    best = int(np.argmax(likelihood))
    shape = list(rows)[best]
    known = (tuple(curves), tuple(rows[shape]))
    return Ladder(shape, slopes[best], spread[best], float(noise[best]), origin, scale, *known)


def left_out(ladder: Ladder) -> list[Ladder]:
    """The ladder without each of its runs in turn, by the same shape."""
    count = len(ladder.curves)
    traits = _traits(ladder.curves, ladder.origin, ladder.scale)
    _, slopes, spread, noise = _mixed(traits, [ladder.rows], 1.0 - np.eye(count))
    return [
        replace(
            ladder,
            slopes=slopes[i],
            spread=spread[i],
            noise=float(noise[i]),
            curves=ladder.curves[:i] + ladder.curves[i + 1 :],
            rows=ladder.rows[:i] + ladder.rows[i + 1 :],
        )
        for i in range(count)
    ]


def _mixed(
    traits: Floats, rows: Sequence[Sequence[_Rows]], weights: Floats | None = None
) -> tuple[Floats, Floats, Floats, Floats]:
    """Expectation maximisation for many tables of the same runs at once: log likelihoods [batch],
    slopes [batch, traits, 3], spreads [batch, 3, 3] and noises [batch].

    `rows` [batch or 1, runs]; `weights` [batch, runs] say how much each run counts.
    """
    gram = np.array([[item.gram for item in items] for items in rows])
    side = np.array([[item.side for item in items] for items in rows])
    square = np.array([[item.square for item in items] for items in rows])
    count = np.array([[item.count for item in items] for items in rows], dtype=float)
    logdet = np.array([[item.logdet for item in items] for items in rows])
    if weights is None:
        weights = np.ones(square.shape)
    runs, kinds = weights.sum(axis=1)[:, None, None], traits.shape[1]
    ridge = 1e-3 * np.eye(kinds)
    ridge[0, 0] = 0.0
    weighted = traits.T * weights[:, None, :]
    project = np.linalg.solve(weighted @ traits + ridge, weighted)
    prior = np.diag(ALONE_SPREAD**2)
    prior[0, 0] = 0.01
    slopes = np.zeros((len(weights), kinds, 3))
    slopes[:, 0] = ALONE_MEAN
    level = side[..., 0] / gram[..., 0, 0]
    slopes[:, 0, 0] = np.sum(weights * level, axis=1) / runs[:, 0, 0]
    spread = np.broadcast_to(prior, (len(weights), 3, 3))
    variance = np.full((len(weights), 1), LEAST_NOISE**2)
    for _ in range(ITERATIONS):
        inverse, mean = np.linalg.inv(spread), traits @ slopes
        per_noise = variance[:, :, None]
        cover = np.linalg.inv(gram / per_noise[..., None] + inverse[:, None])
        beta = np.einsum("bnij,bnj->bni", cover, side / per_noise + mean @ inverse)
        slopes = project @ beta
        off = beta - traits @ slopes
        spread = (off * weights[:, :, None]).transpose(0, 2, 1) @ off + SHRINK * prior
        spread = (spread + np.einsum("bn,bnij->bij", weights, cover)) / (runs + SHRINK)
        misfit = square - 2 * np.sum(beta * side, axis=2)
        misfit = misfit + np.einsum("bni,bnij,bnj->bn", beta, gram, beta)
        misfit += np.einsum("bnij,bnji->bn", gram, cover)
        variance = np.sum(weights * misfit, axis=1) / np.sum(weights * count, axis=1)
        variance = np.maximum(variance, 1e-10)[:, None]
    inverse, mean = np.linalg.inv(spread)[:, None], traits @ slopes
    precision = gram / variance[:, :, None, None] + inverse
    rest = side - np.einsum("bnij,bnj->bni", gram, mean)
    total = square - 2 * np.sum(mean * side, axis=2)
    total = total + np.einsum("bni,bnij,bnj->bn", mean, gram, mean)
    fit = np.sum(rest * np.linalg.solve(precision, rest[..., None])[..., 0], axis=2)
    each = total / variance - fit / variance**2 + count * np.log(variance) + logdet
    each += np.linalg.slogdet(precision @ spread[:, None])[1]
    likelihood = -0.5 * np.sum(weights * each, axis=1)
    return likelihood, slopes, spread, np.sqrt(variance[:, 0])


def conditional(
    ladder: Ladder, curve: Curve, steps: Steps, free: bool = True
) -> tuple[Floats, Floats]:
    """Mean and standard deviation [rows] of the log loss that `curve` would log at `steps`, given
    what it has logged. With `free` its level is its own; otherwise that of its siblings too."""
    shape, seen = ladder.shape, usable(curve)
    mean, spread = ladder.expected(curve)
    if free:
        spread[0, :] = spread[:, 0] = 0.0
        spread[0, 0] = FLAT
    spread = spread / ladder.noise**2
    wanted, there = shape.basis(curve, steps), np.log(curve.sums[steps])
    predicted = wanted @ mean
    own = wanted @ spread @ wanted.T + shape.covariance(there, there)
    variance = np.diag(own) + 1.0
    if len(seen.steps):
        basis, at = shape.basis(curve, seen.steps), np.log(curve.sums[seen.steps])
        among = basis @ spread @ basis.T + shape.covariance(at, at) + np.eye(len(at))
        across = wanted @ spread @ basis.T + shape.covariance(there, at)
        weights = np.linalg.solve(among, across.T).T
        predicted = predicted + weights @ (np.log(seen.loss) - basis @ mean)
        variance = variance - np.sum(weights * across, axis=1)
    return predicted, ladder.noise * np.sqrt(np.maximum(variance, 1e-12))


@dataclass(frozen=True)
class Forecast(Shown):
    """The loss that a run is predicted to log at `steps` [n], with the central `level` of it.

    Where `steps` are ones that the run has logged and that the forecast was given, the band is that
    of a repeat of the row. `seen` is the last step that it was given (0: none), `siblings` the
    finished runs that it rests on.
    """

    run_id: str
    law: str
    steps: Steps
    loss: Floats
    low: Floats
    high: Floats
    level: float
    seen: int
    siblings: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def final(self) -> dict[str, float]:
        """The last of the steps: `step`, `loss`, `low`, `high`."""
        return self._point(len(self.steps) - 1)

    def _point(self, i: int) -> dict[str, float]:
        point = {"loss": self.loss[i], "low": self.low[i], "high": self.high[i]}
        return {"step": int(self.steps[i]), **{name: float(x) for name, x in point.items()}}

    def rows(self) -> list[dict[str, Any]]:
        """The points."""
        return [self._point(i) for i in range(len(self.steps))]

    def to_json(self) -> dict[str, Any]:
        """The contract's `curve` object."""
        return {
            "run": self.run_id,
            "law": self.law,
            "points": [self._point(i) for i in range(len(self.steps))],
            "final": self.final,
            "level": self.level,
            "seen": self.seen,
            "siblings": list(self.siblings),
            "warnings": [note.to_json() for note in self.notes],
        }


def forecast(
    run: Curve,
    siblings: Sequence[Curve] = (),
    *,
    upto: int | None = None,
    level: float = 0.90,
    steps: Sequence[int] | Steps | None = None,
    ladder: Ladder | None = None,
) -> Forecast:
    """What `run` will log at `steps` (its logged steps and its planned end, unless given).

    It is told the rows up to step `upto`: all of them by default, none with 0. With fewer than six
    siblings the level is the run's own; with more theirs has a say, and before the run has rows the
    only one. `siblings` are finished runs whose curves look alike; `ladder` saves
    learning from them again. The band is fitted to the errors that the same forecast makes of each
    sibling, left out in turn, from as much of it.

    Raises FitError where there is too little to say anything.
    """
    known = run if upto is None else run.until(upto)
    rows, notes = len(usable(known).steps), list(run.notes)
    others = [item for item in siblings if item.run_id != run.run_id and item.finished]
    if ladder is None and others:
        ladder = learn(others)
    if rows < LEAST_ROWS and (ladder is None or len(ladder.curves) < FEW_RUNS):
        raise FitError(
            f"run {run.run_id} has {rows} losses after its warmup, too few for a forecast, and"
            f" there are fewer than {FEW_RUNS} finished runs like it",
            "Wait for more steps, or ingest finished runs of the same kind.",
        )
    if steps is None:
        steps = np.union1d(run.steps, [run.total])
    at = np.maximum(np.asarray(steps, dtype=np.int64), max(1, run.schedule.warmup))
    free = ladder is None or len(ladder.curves) < FEW_RUNS
    if rows < LEAST_ROWS:
        notes.append(
            Note.of(
                "few_points",
                f"{rows} losses after the warmup say nothing of this run's own level; the band is"
                f" that of {len(ladder.curves) if ladder else 0} finished runs.",
            )
        )
    bias, stretch = 0.0, ALONE_STRETCH
    if ladder is not None and len(ladder.curves) > 1:
        share = float(known.sums[known.steps[-1]] / run.sums[-1]) if len(known.steps) else 0.0
        bias, stretch = calibration(ladder, share, free, level)
    else:
        notes.append(
            Note.of(
                "no_siblings",
                "No finished runs like this one: the forecast rests on its own rows and on what"
                " is common to public training curves.",
            )
        )
    mean, deviation = conditional(ladder or alone(known), known, at, free)
    half = NormalDist().inv_cdf(0.5 + level / 2) * stretch * deviation
    mean = mean - bias * deviation
    return Forecast(
        run.run_id,
        "lr_anneal",
        np.asarray(steps, dtype=np.int64),
        np.exp(mean),
        np.exp(mean - half),
        np.exp(mean + half),
        level,
        int(known.steps[-1]) if len(known.steps) else 0,
        tuple(curve.run_id for curve in ladder.curves) if ladder else (),
        tuple(notes),
    )


def calibration(ladder: Ladder, share: float, free: bool, level: float) -> tuple[float, float]:
    """Mean error in deviations, and by how much the band of the final loss is to be wider.

    From each sibling's final loss, predicted from `share` of its rate sum by the other siblings.
    With siblings enough for the level that is the conformal rank of their errors and may narrow
    the band: early in a run the deviations are too large, and 99 % of the 90 % bands from 30 % of
    the sample runs held when they could not. With fewer it only widens.
    """
    scores = []
    for i, curve in enumerate(ladder.curves):
        step = int(np.searchsorted(curve.sums, share * curve.sums[-1])) if share else 0
        last = curve.steps[-1:]
        part = curve.until(min(step, int(last[0]) - 1))
        if share and len(usable(part).steps) < LEAST_ROWS:
            continue
        mean, deviation = conditional(ladder.without[i], part, last, free)
        scores.append(float((mean[0] - np.log(curve.loss[-1])) / deviation[0]))
    if len(scores) < 2:
        return 0.0, ALONE_STRETCH
    z, count = np.array(scores), len(scores)
    bias = float(np.mean(z)) * count / (count + SHRINK_BIAS)
    wide = float(np.sqrt((np.sum((z - bias) ** 2) + SHRINK) / (count + SHRINK - 1)))
    rank = min(count, int(np.ceil((count + 1) * level)))  # the conformal one: Vovk et al. 2005
    tail = float(np.sort(np.abs(z - bias))[rank - 1]) / NormalDist().inv_cdf(0.5 + level / 2)
    return bias, tail if rank < count else max(tail, wide, 1.0)
