"""The folds of a plain fit: the law fitted again below each cut, and what it missed above.

A cut is a weight of zero for the rows above it, and so are resamples below a cut: all are problems
over the same rows, solved from the optimum of all rows, together with the resamples of these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scaling_cli.compute import SIX_ND
from scaling_cli.fitting import record
from scaling_cli.fitting.assembly import domain, noise_of
from scaling_cli.fitting.problem import Design
from scaling_cli.fitting.record import Fold, Record
from scaling_cli.fitting.resampling import determined
from scaling_cli.fitting.result import distance_outside
from scaling_cli.fitting.solver import Solution
from scaling_cli.fitting.surface import Surface
from scaling_cli.records import Floats
from scaling_cli.table import Mask, Rows

REFITS = 40  # of each fold; their deviation is good to a ninth
ABOVE_FREE = 2  # rows of a fold that its fit has more than parameters
NORMAL = (15.87, 84.13)  # percentiles one standard deviation about the mean; few refits run away
# Log error of a loss surface in params and tokens per unit of distance outside its runs, and what
# its intervals are multiplied by: on 34 public tables those of chinchilla and skaling cover
# 59 and 70 % of the rows without them and without folds, 89 and 96 % with all.
DRIFT = 0.012
OTHERS = 1.05


def drift(design: Design) -> float:
    return DRIFT if _is_surface(design) else 0.0


@dataclass(frozen=True)
class Below:
    """The problems of all folds: `weights` [problems, rows] of the law below each cut, then of its
    resamples there; `fold` [problems] says of which one each is. `cuts` hold each cut and which
    rows lie below it. `free` counts the parameters that the rows are to tell."""

    free: int
    cuts: Sequence[tuple[float, Mask]]
    weights: Floats
    fold: Rows

    def __len__(self) -> int:
        return len(self.fold)


def planned(design: Design, free: int, seed: int) -> Below:
    """The folds of these rows for a law of so many `free` parameters; none where these cannot be
    cut."""
    along, values = _along(design)
    least = max(record.LEAST_TRAINING, free + ABOVE_FREE)
    parts = [] if values is None else record.cuts(values, along == "flops", least)
    weights = [below[None].astype(float) for _, below in parts]
    fold = [np.array([i]) for i in range(len(parts))]
    random = np.random.default_rng([seed, len(parts)])
    for i, (_, below) in enumerate(parts):
        drawn = _resampled(design, below, free, random)
        weights.append(drawn)
        fold.append(np.full(len(drawn), i))
    if not parts:
        return Below(free, [], np.empty((0, len(design.rows))), np.empty(0, dtype=np.intp))
    return Below(free, parts, np.concatenate(weights), np.concatenate(fold))


def record_of(design: Design, surface: Surface, below: Below, found: Solution) -> Record:
    """What the law missed above cuts of its own runs; `found` are the solved problems `below`."""
    along, _ = _along(design)
    freedom = max(1.0, float(design.rows.n_runs - below.free))
    others = OTHERS if _is_surface(design) else 1.0
    count, folds = len(below.cuts), []
    for i, (cut, inside) in enumerate(below.cuts):
        drawn = np.flatnonzero((below.fold == i) & found.converged)
        refits = found.theta[drawn[drawn >= count]]
        fold = _missed(design, surface, below.free, (cut, inside), found.theta[i], refits)
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


def _resampled(design: Design, below: Mask, free: int, random: np.random.Generator) -> Floats:
    """How often each row counts [refits, rows] when the runs below a cut are drawn anew."""
    owners, runs = design.rows.owner_numbers(), design.rows.n_runs
    inside = np.unique(owners[below])
    drawn = np.zeros((REFITS, runs))
    drawn[:, inside] = random.multinomial(
        len(inside), np.full(len(inside), 1 / len(inside)), size=REFITS
    )
    counts: Floats = drawn[:, owners] * below
    return counts[determined(counts, free)]


def _missed(
    design: Design,
    surface: Surface,
    free: int,
    at: tuple[float, Mask],
    theta: Floats,
    drawn: Floats,
) -> Fold | None:
    """None where the fit below the cut states nothing or gives no number above it."""
    (cut, below), log = at, design.objective.log
    with np.errstate(all="ignore"):
        predicted = _predicted(surface, theta[None], log)[0]
        missed = (np.log(design.target) if log else design.target) - predicted
        spread = _predicted(surface, drawn, log)[:, ~below] if len(drawn) else drawn
    if len(spread) < REFITS / 4 or not np.isfinite(missed).all():
        return None
    low, high = np.nanpercentile(spread, NORMAL, axis=0)
    noise = noise_of(missed[below], free)
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
