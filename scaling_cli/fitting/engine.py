"""Fit a law to observations: starts, solve, resample, diagnose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from scaling_cli.fitting import accepts, diagnostics, folds, plateaus, settled, split
from scaling_cli.fitting.assembly import Draws, Optimum, Problem, assemble
from scaling_cli.fitting.problem import Design, FitOptions, Frame
from scaling_cli.fitting.record import Record
from scaling_cli.fitting.resampling import determined, resampled, weighed
from scaling_cli.fitting.result import PAPER, Fit
from scaling_cli.fitting.solver import SAME_OPTIMUM, Solution, solve
from scaling_cli.fitting.split import Split
from scaling_cli.fitting.starts import fit_starts
from scaling_cli.fitting.surface import Surface
from scaling_cli.laws import Law
from scaling_cli.notes import Note
from scaling_cli.records import Floats
from scaling_cli.table import Table

STARTS = 16  # on 60 random ladders, 16 screened starts held the best known optimum every time
UNENDED = {"not_converged", "resamples_failed"}  # warnings of a law that runs away along a valley
HARD_STARTS = 48  # for laws that bend: fewer miss it


def fit(
    law: Law,
    observations: Table,
    options: FitOptions | None = None,
    group: Mapping[str, Any] | None = None,
) -> Fit:
    """Fit `law` to one group of runs.

    Raises FitError where the runs cannot carry the law: a column is missing, or there are fewer
    runs than parameters.
    """
    options = options or FitOptions()
    design = Design.of(law, observations, options)
    options = plateaus.bounded(design, options)
    frame = Frame.around(design.law, design.columns, options)
    frame = plateaus.no_step(design, frame)
    problem = Problem(design, frame, options, group or {})
    surface = frame.surface(design)
    if options.procedure == PAPER and design.law.paper and design.law.paper.staged:
        return _staged(design.law.paper.staged, problem, surface)
    surface, solution = fit_starts(surface, starts(surface))
    line = split.of_one_line(design, surface, solution)
    fitted = _fitted(problem, surface, line.held(surface) if line else solution, line)
    severe = {note.code for note in fitted.severe_notes}
    if line or not UNENDED & severe:
        return fitted
    power = split.of_power(surface, solution)
    return _fitted(problem, surface, power.held(surface), power) if power else fitted


def _fitted(problem: Problem, surface: Surface, solution: Solution, held: Split | None) -> Fit:
    """The fit at the best of these optima, with its resamples and record."""
    design, frame = problem.design, problem.frame
    written = np.isfinite(frame.raw(surface, solution.theta)).all(axis=1)
    if written.any():  # an exponent that ran away leaves an amplitude that is no number
        solution = solution.take(np.flatnonzero(written))
    best = solution.best()
    theta, value = solution.theta[best], float(solution.objective[best])
    if not np.isfinite(value):
        raise design.no_number()
    middle = plateaus.held(design, surface, solution)
    theta = theta if middle is None else middle
    there = solution.objective <= value * (1 + SAME_OPTIMUM)
    starts_met = (float(np.mean(there)), len(there))
    converged = bool(solution.converged[there].any())
    draws, record = _resamples(problem, surface, theta, held)
    optimum = Optimum(surface, theta, converged, starts_met, held=held.names if held else {})
    fitted = assemble(problem, optimum, draws)
    if not len(fitted.draws):
        return fitted
    fitted = replace(fitted, drift=folds.drift(design), record=record)
    flat = diagnostics.no_rise_notes(design.law, fitted.notes)
    if flat:
        return replace(fitted, draws=fitted.draws[:0]).with_notes(flat)
    return fitted.with_notes(plateaus.notes(fitted, design))


def _resamples(
    problem: Problem, surface: Surface, theta: Floats, held: Split | None
) -> tuple[Draws, Record | None]:
    """The refits of resampled runs and the record of the folds: problems over the same rows, which
    are solved together from the optimum `theta` [free], each about a draw of what is `held`."""
    design, options = problem.design, problem.options
    random = np.random.default_rng(options.seed)
    weights = resampled(design.rows, options.resamples, random)
    free = held.free if held else len(theta)
    enough = determined(weights, free)
    left_out = np.sum(~enough) > diagnostics.MAX_FAILED_RESAMPLES * len(enough)
    if left_out and free < design.rows.n_runs:
        weights = weighed(design.rows, options.resamples, random)
        enough = determined(weights, free)
    short = int(np.sum(~enough))
    if not enough.any():
        return Draws(np.empty((0, len(theta))), options.resamples, short), None
    weights = weights[enough]
    count = len(weights)
    prior = plateaus.opened(design, surface, theta, count, random)
    below = folds.planned(design, free, options.seed)
    weights = np.concatenate([weights, below.weights])
    starts = np.repeat(theta[None], len(weights), axis=0)
    prior = held.drawn(random, len(weights)) if held else prior and prior.followed(len(below))
    found = solve(surface, weights, starts, prior)
    refits, cut = found.take(np.arange(count)), found.take(np.arange(count, len(weights)))
    power = design.law.form.power if design.law.form else None  # where few end, it is to be held
    if held or not power or np.mean(refits.converged) >= settled.MANY:
        refits = settled.spoken(surface, weights[:count], prior, refits, theta)
    draws = Draws(refits.theta[refits.converged], options.resamples, short)
    return draws, folds.record_of(design, surface, below, cut)


def _staged(
    procedure: Callable[..., tuple[dict[str, float], str]], problem: Problem, surface: Surface
) -> Fit:
    """The fit by a paper's procedure of several stages; it has no resamples."""
    design, frame, options = problem.design, problem.frame, problem.options
    accepts.check("staged", design.law.id, options)
    values, done = procedure(design.columns, design.target, frame.constants)
    theta = surface.encode(design.law.to_scaled(values, frame.scales))[0]
    fitted = assemble(problem, Optimum(surface, theta), Draws.none(len(theta)))
    return fitted.with_notes([Note.of("staged_procedure", done)])


def starts(surface: Surface) -> int:
    """How many starting points the surface is worth."""
    return HARD_STARTS if len(surface.free) > 6 else STARTS
