"""The law of `auto` fitted to the curves of runs of one ratio of tokens to params.

Their final points alone know how the loss falls along the ratio and nothing of the split; within a
run tokens grow and params do not. The log of a checkpoint's loss is that of the law, plus what its
rate still costs, plus three deviations: one of the run itself (its seed), one that wanders as a
random walk in the log of tokens back from the run's end, in part all runs' alike (what the law and
the rates miss) and in part its own, and the noise of a logged point. So the ends of the runs say
how high the loss is, and the further back a checkpoint lies, the less it says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scaling_cli.errors import FitError
from scaling_cli.fitting.assembly import Draws, Optimum, Problem, assemble
from scaling_cli.fitting.objective import Objective
from scaling_cli.fitting.prior import Known
from scaling_cli.fitting.problem import Design, FitOptions, Frame
from scaling_cli.fitting.record import Record
from scaling_cli.fitting.result import Fit
from scaling_cli.fitting.solver import Prior
from scaling_cli.fitting.surface import Surface, middle
from scaling_cli.fitting.thinned import Thinned
from scaling_cli.laws import Law
from scaling_cli.notes import Note
from scaling_cli.quantities import counted
from scaling_cli.records import Floats
from scaling_cli.table import Table

# Chosen on four sources (OLMo's ladder, Misfitting's, the sample runs, simulated ladders of seeds 0
# to 23): the curves carry priors twice to three times as wide as `auto`'s tightest.
WIDTHS = np.array([[0.4, 0.25]])
# About the centre that all of these were chosen with. With that of ladders of many ratios (`prior`)
# the bounds of the split hold it in 8 of 16 simulated ladders, not in 15, and the error of ten of
# Misfitting's is 1.8 %, not 1.2 %; a share by compute changes nothing.
EXPECTED = Known(alpha=0.4375, beta=0.4375, k=0.8, share=0.7, slope=0.0)
# Share of the loss that a rate at its peak costs over none; it is .05, .07 to .09 and .14 there.
COST, COST_WIDTH = 0.08, 0.06
# Standard deviations, each known as well as by as many runs' deviations as the last says: of a run,
# of its own walk over one unit of ln tokens, of a point. That of the walk of all runs is not to be
# told from the law in so few of them, and stays.
RUN, OWN, POINT, KNOWN = 0.003, 0.003, 0.001, 4.0
SHARED = 0.004
ROUNDS = 3  # of the deviations, which two settle
STARTS = (-0.7, 0.0, 0.7)  # of the log of either term over the half of both
ITERATIONS, SHORTEST, LONGEST = 100, 1e-10, 3.0
STEP = 1e-5  # of a difference
# A run whose loss is wrong, one of five or more: with `auto`'s number of deviations. Only runs that
# differ by so many times what seeds do are looked at, and no more than can be left out in turn.
WRONG, SUSPICIOUS, LEAST_RUNS, MOST_RUNS = 6.0, 2.0, 5, 16
DRIFT = 0.004  # as `auto`'s, which has .008 without curves
# What its intervals are multiplied by; of 103 ladders the bounds of the split hold it in 97 so.
OTHERS = 0.97


@dataclass(frozen=True)
class Deviations:
    """Standard deviations: of a run, of its own walk, and of a point."""

    run: float = RUN
    own: float = OWN
    point: float = POINT

    def parts(self, rows: Thinned) -> tuple[Floats, Floats, Floats]:
        """What each is multiplied by in the covariance of the rows [rows, rows]."""
        same = rows.run[:, None] == rows.run
        walked = np.minimum(rows.back[:, None], rows.back)
        return same.astype(float), walked * same, np.eye(len(rows))

    def covariance(self, rows: Thinned) -> Floats:
        """[rows, rows], with the walk that all runs share."""
        run, own, point = self.parts(rows)
        walked = np.minimum(rows.back[:, None], rows.back)
        total: Floats = self.run**2 * run + self.own**2 * own + self.point**2 * point
        return total + SHARED**2 * walked

    def again(self, rows: Thinned, residuals: Floats, unexplained: Floats) -> Deviations:
        """As the residuals [rows] have them, by one step of expectation and maximisation;
        `unexplained` [rows, rows] is the precision of the rows that the fit does not use up."""
        pulled = np.linalg.solve(self.covariance(rows), residuals)
        runs = len(np.unique(rows.run))
        found = []
        for name, first, part, rank in zip(
            ("run", "own", "point"),
            (RUN, OWN, POINT),
            self.parts(rows),
            (runs, len(rows) - runs, len(rows)),
            strict=True,
        ):
            now = getattr(self, name) ** 2
            square = now * rank + now**2 * (pulled @ part @ pulled - np.sum(unexplained * part))
            found.append((KNOWN * first**2 + max(square, 0.0)) / (KNOWN + rank))
        return Deviations(*np.sqrt(found))


@dataclass(frozen=True)
class Optimised:
    """The law's coordinates and the rate's cost [free + 1], their precision, and the deviations."""

    theta: Floats
    precision: Floats
    deviations: Deviations
    cost: float
    converged: bool


@dataclass(frozen=True)
class Anchor:
    """A place in the logs of the scaled params and tokens, where the law is told by what runs near
    it say: the log of the loss, the floor's share of it (as a logit), its slope along one ratio
    (ln), the share of params in that slope (logit), ln k, and ln alpha / beta.

    In these the runs' likelihood is nearly normal. In the law's own coordinates it is a bent
    valley, beside which normal draws miss even the runs.
    """

    params: float
    tokens: float

    def of_law(self, theta: Floats) -> Floats:
        """The law's coordinates E, A, alpha, B, beta, k [batch, 6] -> these."""
        floor, a, alpha, b, beta, k = theta.T
        first = a - np.exp(alpha) * self.params
        second = b - np.exp(beta) * self.tokens
        reducible = np.exp(k) * np.logaddexp(first, second)
        by_params = first + alpha
        by_tokens = second + beta
        level = np.logaddexp(reducible, floor)
        slope = np.logaddexp(by_params, by_tokens) - np.logaddexp(first, second) + k
        slope += reducible - level
        return np.stack(
            [level, floor - reducible, slope, by_params - by_tokens, k, alpha - beta], axis=1
        )

    def to_law(self, told: Floats) -> Floats:
        """The way back [batch, 6]."""
        level, floor, slope, by_params, k, ratio = told.T
        reducible = level - np.logaddexp(0.0, floor)
        total = slope - k + level - reducible  # ln of the terms' mean exponent
        first, second = total - np.logaddexp(0.0, -by_params), total - np.logaddexp(0.0, by_params)
        beta = np.logaddexp(first - ratio, second)
        alpha = beta + ratio
        both = reducible * np.exp(-k)
        a = both + first - alpha + np.exp(alpha) * self.params
        b = both + second - beta + np.exp(beta) * self.tokens
        return np.stack([floor + reducible, a, alpha, b, beta, k], axis=1)

    def draws(self, found: Optimised, count: int, seed: int) -> Floats:
        """The law's coordinates [count, 6], drawn from the normal about the optimum."""
        middle = found.theta[:-1]
        steps = STEP * np.eye(len(middle))
        by = (self.of_law(middle + steps) - self.of_law(middle - steps)) / (2 * STEP)
        spread = np.linalg.inv(found.precision)[:-1, :-1]
        drawn = np.random.default_rng(seed).standard_normal((count, len(middle)))
        told = drawn @ np.linalg.cholesky(spread).T @ by
        return self.to_law(self.of_law(middle[None]) + told)


def optimise(surface: Surface, rows: Thinned, held: Prior) -> Optimised:
    """The fit of `surface`, whose targets are the rows', under the prior `held` on the law."""
    mean = np.append(held.mean[0], COST)
    precision = np.append(held.precision[0], 1 / COST_WIDTH)
    deviations = Deviations()
    free = len(mean) - 1
    starts = [mean.copy() for _ in STARTS]
    amplitudes = [i for i in range(free) if held.precision[0, i] < 1]
    for start, apart in zip(starts, STARTS, strict=True):
        start[amplitudes] += [apart, -apart]

    def linear(theta: Floats) -> tuple[Floats, Floats]:
        residuals, jacobian = surface.residuals_and_jacobian(theta[None, :free])
        by_cost = np.concatenate([jacobian[0].T, rows.rate[:, None]], axis=1)
        return residuals[0] + theta[free] * rows.rate, by_cost

    for last in range(ROUNDS):
        covariance = deviations.covariance(rows)
        whiten = np.linalg.inv(np.linalg.cholesky(covariance))

        def whole(theta: Floats, whiten: Floats = whiten) -> tuple[Floats, Floats]:
            residuals, jacobian = linear(theta)
            off = (theta - mean) * precision
            return (
                np.concatenate([whiten @ residuals, off]),
                np.concatenate([whiten @ jacobian, np.diag(precision)]),
            )

        found = [_least_squares(whole, start) for start in starts]
        theta, cost, converged = min(found, key=lambda item: item[1])
        starts = [theta]
        residuals, jacobian = linear(theta)
        _, by = whole(theta)
        bend = by.T @ by
        if last < ROUNDS - 1:
            used = np.linalg.solve(covariance, jacobian)
            inverse = whiten.T @ whiten
            unexplained = inverse - used @ np.linalg.solve(bend, used.T)
            deviations = deviations.again(rows, residuals, unexplained)
    return Optimised(theta, bend, deviations, cost, converged)


def _least_squares(
    whole: Callable[[Floats], tuple[Floats, Floats]], start: Floats
) -> tuple[Floats, float, bool]:
    """The minimum of half the sum of squares from a start, by Levenberg and Marquardt's method."""
    theta, damping = start, 1e-3
    residuals, by = whole(theta)
    cost = float(residuals @ residuals) / 2
    for _ in range(ITERATIONS):
        gradient, bend = by.T @ residuals, by.T @ by
        step = -np.linalg.solve(bend + damping * np.diag(np.diag(bend)), gradient)
        step *= min(1.0, LONGEST / max(float(np.max(np.abs(step))), 1e-300))
        residuals_there, by_there = whole(theta + step)
        there = float(residuals_there @ residuals_there) / 2
        if there <= cost:
            done = cost - there <= SHORTEST * cost
            theta, cost, residuals, by = theta + step, there, residuals_there, by_there
            damping /= 10
            if done:
                return theta, cost, True
        else:
            damping = 1.0 if damping > 1e8 else 4 * damping
            if damping == 1.0:
                return theta, cost, False
    return theta, cost, False


@dataclass(frozen=True)
class Asked:
    """The law, what its columns are called in the final points, the prior that holds it, how other
    ladders' intervals held, and what is to be said of the final points."""

    law: Law
    names: Mapping[str, str]
    held: Prior
    record: Record
    procedure: str
    notes: tuple[Note, ...]


def fit(
    finals: Table, rows: Thinned, asked: Asked, options: FitOptions, group: Mapping[str, Any]
) -> Fit:
    """The fit of the law to the thinned curves of the runs whose final points are `finals`."""
    scales = {name: middle(values) for name, values in _columns(finals, rows).items()}
    found = optimise(_surface(asked.law, finals, rows, scales), rows, asked.held)
    wrong = _wrong(finals, rows, asked, scales, found)
    if wrong is not None:
        rows = rows.take(np.flatnonzero(rows.run != wrong))
        found = optimise(_surface(asked.law, finals, rows, scales), rows, asked.held)
    columns, surface = _columns(finals, rows), _surface(asked.law, finals, rows, scales)
    if not np.isfinite(found.theta).all():
        raise FitError(f"{asked.procedure} finds no finite forecast on these {len(finals)} runs")
    law, rate = found.theta[:-1], float(found.theta[-1])
    largest = int(np.argmax(np.log(columns["tokens"]) + np.log(columns["params"])))
    anchor = Anchor(*(float(np.log(values[largest])) for values in surface.columns.values()))
    draws = anchor.draws(found, options.resamples, options.seed)
    ended = rows.target * np.exp(-rate * rows.rate)  # as if the rate had fallen
    table = _table(finals, rows, columns, {asked.names["target"]: ended})
    notes = (*asked.notes, _note(rows, finals, rate), *_set_aside(finals, wrong))
    objective = surface.objective
    design = Design(asked.law, table, asked.names, columns, ended, None, None, objective, notes)
    optimum = Optimum(
        replace(surface, target=ended),
        law,
        found.converged,
        noise=found.deviations.run,
        value=found.cost,
        precision=asked.held.precision[0],
    )
    every = np.arange(len(rows), dtype=np.int64)
    frame = Frame(asked.law, scales, {}, {}, {})
    whole = Problem(design, frame, options, group, asked.procedure, every)
    fitted = assemble(whole, optimum, Draws(draws, options.resamples))
    return replace(fitted, drift=DRIFT, record=asked.record)


def _columns(finals: Table, rows: Thinned) -> dict[str, Floats]:
    return {"params": finals.numbers("params")[rows.run], "tokens": rows.tokens}


def _surface(law: Law, finals: Table, rows: Thinned, scales: Mapping[str, float]) -> Surface:
    objective = Objective("map", "", log=True, delta=np.inf)
    scaled = {name: values / scales[name] for name, values in _columns(finals, rows).items()}
    return Surface(law, scaled, rows.target, objective, {})


def _wrong(
    finals: Table, rows: Thinned, asked: Asked, scales: Mapping[str, float], found: Optimised
) -> int | None:
    """The run whose end lies furthest from what the others say of it, by more than WRONG of the
    deviations that they give to it; looked for where the runs differ by more than seeds do."""
    runs = np.unique(rows.run)
    if not LEAST_RUNS <= len(runs) <= MOST_RUNS or found.deviations.run < SUSPICIOUS * RUN:
        return None
    far = []
    for run in runs:
        others = rows.take(np.flatnonzero(rows.run != run))
        ends = rows.take(np.flatnonzero((rows.run == run) & (rows.back == 0)))
        fitted = optimise(_surface(asked.law, finals, others, scales), others, asked.held)
        there = _surface(asked.law, finals, ends, scales)
        missed, by = there.residuals_and_jacobian(fitted.theta[None, :-1])
        spread = np.linalg.inv(fitted.precision)[:-1, :-1]
        variance = fitted.deviations.run**2 + float(by[0, :, 0] @ spread @ by[0, :, 0])
        far.append(abs(float(missed[0, 0])) / np.sqrt(variance))
    return int(runs[np.argmax(far)]) if max(far) > WRONG else None


def _set_aside(finals: Table, wrong: int | None) -> list[Note]:
    if wrong is None:
        return []
    message = (
        f"1 of {len(finals)} runs lies more than {WRONG:.0f} deviations from what the others say of"
        f" it and does not count: {finals.run_ids[wrong]}."
    )
    return [Note.of("outliers_set_aside", message)]


def _table(
    finals: Table, rows: Thinned, columns: Mapping[str, Floats], target: Mapping[str, Floats]
) -> Table:
    """The rows as a table, their compute that of the tokens that they stand for."""
    found = replace(finals, points=None).take(rows.run)
    flops = found.columns.get("flops")
    known = {} if flops is None else {"flops": flops * rows.tokens / found.numbers("tokens")}
    return found.of_columns({**columns, **target, **known})


def _note(rows: Thinned, finals: Table, rate: float) -> Note:
    """That the fit rests on curves, and how to have it without."""
    alone = len(finals) - rows.of_curves
    ends = f" and the ends of {alone} more" if alone else ""
    return Note.of(
        "surface_by_checkpoints",
        f"The final points alone, of one ratio of tokens to params, say nothing of a split: the fit"
        f" rests on {len(rows)} checkpoints of {counted(rows.of_curves, 'run')}{ends}, each as"
        f" the finished run of as large a sum of learning rates, less what its rate still costs"
        f" ({rate:.1%} of the loss at the peak).",
    )
