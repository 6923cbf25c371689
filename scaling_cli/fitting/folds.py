"""The folds of a plain fit: the law fitted again below each cut, and what it missed above.

A cut is a weight of zero for the rows above it, and so are resamples below a cut: all are problems
over the same rows, solved together.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scaling_cli.compute import SIX_ND
from scaling_cli.fitting import record
from scaling_cli.fitting.assembly import domain, noise_of
from scaling_cli.fitting.problem import Design
from scaling_cli.fitting.record import Fold, Record
from scaling_cli.fitting.resampling import determined
from scaling_cli.fitting.result import distance_outside
from scaling_cli.fitting.solver import Solution, solve
from scaling_cli.fitting.surface import Surface
from scaling_cli.records import Floats
from scaling_cli.table import Mask

REFITS = 40  # of each fold; their deviation is good to a ninth
STARTED = 4  # optima of the whole fit from which each fold starts
ABOVE_FREE = 2  # rows of a fold that its fit has more than parameters
NORMAL = (15.87, 84.13)  # percentiles one standard deviation about the mean; few refits run away
# Log error of a loss surface in params and tokens per unit of distance outside its runs, and what
# its intervals are multiplied by: on 34 public tables those of chinchilla and skaling cover
# 59 and 70 % of the rows without them and without folds, 89 and 96 % with all.
DRIFT = 0.012
OTHERS = 1.05


def drift(design: Design) -> float:
    return DRIFT if _is_surface(design) else 0.0


def record_of(design: Design, surface: Surface, found: Solution, seed: int) -> Record:
    """What the law missed above cuts of its own runs; `found` are the optima of all rows."""
    along, values = _along(design)
    others = OTHERS if _is_surface(design) else 1.0
    free, rows = len(surface.free), design.rows
    freedom = max(1.0, float(rows.n_runs - free))
    least = max(record.LEAST_TRAINING, free + ABOVE_FREE)
    if values is None:
        return Record(along, others, freedom)
    parts = record.cuts(values, along == "flops", least)
    if not parts:
        return Record(along, others, freedom)
    inside = np.array([below for _, below in parts])
    best = np.argsort(found.objective, kind="stable")[:STARTED]
    starts = found.theta[best]
    again = solve(
        surface,
        np.repeat(inside.astype(float), len(starts), axis=0),
        np.tile(starts, (len(parts), 1)),
    )
    objective = again.objective.reshape(len(parts), -1)
    chosen = np.argmin(objective, axis=1) + np.arange(len(parts)) * len(starts)
    theta = again.theta[chosen]
    refits = _refits(design, surface, inside, theta, seed)
    folds = []
    for (cut, below), at, drawn in zip(parts, theta, refits, strict=True):
        fold = _missed(design, surface, cut, below, at, drawn)
        if fold:
            folds.append(fold)
    return Record(along, others, freedom, tuple(folds))


def _is_surface(design: Design) -> bool:
    return design.objective.log and {"params", "tokens"} <= set(design.columns)


def _along(design: Design) -> tuple[str, Floats | None]:
    """The column that grows with the scale of runs, by which they are cut; None where there is
    none above zero. A loss falls as runs grow."""
    columns = design.columns
    if {"params", "tokens"} <= set(columns):
        return "flops", SIX_ND.flops(columns["params"], columns["tokens"])
    if len(design.law.variables) == 1:
        (name,) = design.law.variables
        values, column = columns[name], design.names[name]
        if np.min(values) > 0:
            return column, 1 / values if _falls(column) else values
    elif "flops" in design.rows.columns:
        values = design.rows.numbers("flops")
        if np.isfinite(values).all() and np.min(values) > 0:
            return "flops", values
    return "", None


def _falls(column: str) -> bool:
    return column in ("loss", "bpb") or column.endswith(("_loss", "/loss"))


def _refits(
    design: Design, surface: Surface, inside: Mask, theta: Floats, seed: int
) -> list[Floats]:
    """Resamples of the runs below each cut, [refits, free] for each of `inside` [folds, rows]."""
    random = np.random.default_rng([seed, len(inside)])
    owners, runs = design.rows.owner_numbers(), design.rows.n_runs
    weights, fold = [], []
    for i, below in enumerate(inside):
        of_fold = np.unique(owners[below])
        drawn = np.zeros((REFITS, runs))
        drawn[:, of_fold] = random.multinomial(
            len(of_fold), np.full(len(of_fold), 1 / len(of_fold)), size=REFITS
        )
        counts = drawn[:, owners] * below
        counts = counts[determined(counts, theta.shape[1])]
        weights.append(counts)
        fold.append(np.full(len(counts), i))
    of = np.concatenate(fold)
    if not len(of):
        return [theta[:0]] * len(inside)
    found = solve(surface, np.concatenate(weights), theta[of])
    return [found.theta[(of == i) & found.converged] for i in range(len(inside))]


def _missed(
    design: Design, surface: Surface, cut: float, below: Mask, theta: Floats, drawn: Floats
) -> Fold | None:
    """None where the fit below the cut states nothing or gives no number above it."""
    log = design.objective.log
    with np.errstate(all="ignore"):
        predicted = _predicted(surface, theta[None], log)[0]
        missed = (np.log(design.target) if log else design.target) - predicted
        spread = _predicted(surface, drawn, log)[:, ~below] if len(drawn) else drawn
    if len(spread) < REFITS / 4 or not np.isfinite(missed).all():
        return None
    low, high = np.nanpercentile(spread, NORMAL, axis=0)
    noise = noise_of(missed[below], len(surface.free))
    within: Mapping[str, Floats] = {name: at[below] for name, at in design.columns.items()}
    ahead = {name: at[~below] for name, at in design.columns.items()}
    outside = distance_outside(domain(within), ahead)
    variance = noise**2 + ((high - low) / 2) ** 2 + (drift(design) * outside) ** 2
    weights = np.ones(len(outside)) if design.weights is None else design.weights[~below]
    if not np.isfinite(variance).all() or not np.sum(variance) > 0:
        return None
    return Fold.of(cut, int(np.sum(below)), missed[~below], variance, weights)


def _predicted(surface: Surface, theta: Floats, log: bool) -> Floats:
    """The target [batch, rows], or its log."""
    found: Floats = surface.law.predict(**surface.decode(theta), **surface.columns)
    return np.log(found) if log else found
