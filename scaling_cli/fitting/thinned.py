"""The checkpoints of runs as observations of a surface: a few of each run, back from its end.

A checkpoint stands for a finished run of fewer tokens. Two things part them. Its rates were higher:
of two runs the loss goes together by the sum of their rates (Tissue et al. 2024, arXiv:2408.11029),
so that the tokens of a checkpoint are those of a finished run with as large a sum. And its rate has
not fallen yet: what that still costs goes with the rate that is left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaling_cli.fitting import diagnostics
from scaling_cli.records import Floats
from scaling_cli.table import Table

# Of a run's tokens, from where on it follows its law: a tenth, and this many times its warmup. On
# the public ladders that this was chosen on the error of the loss is a third higher with all after
# a sixth of the tokens, and that of the best split by a factor of 1.5 to 2.
FROM, WARMUPS = 0.1, 6.0
LATEST = 0.6  # of its tokens: there even a run that is all warmup begins to count
AT_PEAK = 0.99  # of the highest rate: the warmup is over
MOST_POINTS, LEAST_POINTS = 14, 3  # of a run, each the middle of its logged points about there
MOST_ROWS = 240  # of all runs: their covariance is dense
SAME_END = 1.02  # tokens of the last point and of the run, within these they are one

Index = NDArray[np.intp]


@dataclass(frozen=True)
class Thinned:
    """Rows [rows] of several runs; `run` is the row of the table of final points that each is of.

    `target` is that of the checkpoint, and `tokens` those of the finished run that it stands for.
    `rate` is its learning rate less that at the end of its run, as a share of the run's peak;
    `back` the log of its run's tokens over its own.
    """

    run: Index
    tokens: Floats
    target: Floats
    rate: Floats
    back: Floats

    def __len__(self) -> int:
        return len(self.run)

    def take(self, rows: Index) -> Thinned:
        return Thinned(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    @property
    def of_curves(self) -> int:
        """How many runs have more than their end."""
        return int(np.sum(np.bincount(self.run) > 1))


def wanted(finals: Table) -> bool:
    """Whether the final points [runs] leave a split to the curves: params and tokens are one
    variable in them."""
    columns = {name: finals.numbers(name) for name in ("params", "tokens")}
    known = np.all([np.isfinite(values) & (values > 0) for values in columns.values()], axis=0)
    logs = [np.log(values[known]) for values in columns.values()]
    few = len(logs[0]) <= MOST_ROWS // (LEAST_POINTS + 1)
    return few and len(logs[0]) > 2 and diagnostics.on_one_line(*logs)


def of_runs(finals: Table, target: str) -> Thinned | None:
    """The thinned curves of the runs, of one without a curve its end; None where fewer than half
    of the runs have one. A curve without its learning rates says nothing of the finished runs."""
    points = finals.points
    if points is None or len(set(finals.owners)) < len(finals):
        return None
    names = ("tokens", target, "lr")
    if not all(name in points.columns for name in names):
        return None
    order = np.argsort(np.array(points.owners), kind="stable")
    owners = np.array(points.owners)[order]
    values = np.stack([points.columns[name][order] for name in names])
    most = int(np.clip(MOST_ROWS // len(finals) - 1, LEAST_POINTS, MOST_POINTS))
    parts = []
    for run, owner in enumerate(finals.owners):
        own = slice(np.searchsorted(owners, owner), np.searchsorted(owners, owner, side="right"))
        end = finals.numbers("tokens")[run], finals.numbers(target)[run]
        found = _of_run(values[:, own], end, most)
        parts.append(np.concatenate([np.full((1, found.shape[1]), run), found]))
    run, *rest = np.concatenate(parts, axis=1)
    thinned = Thinned(run.astype(np.intp), *rest)
    return thinned if 2 * thinned.of_curves >= max(len(finals), 4) else None


def _of_run(curve: Floats, end: tuple[float, float], most: int) -> Floats:
    """Rows [tokens, target, rate, back; rows] of one run, the last its end, from its curve
    [tokens, target, lr; points]."""
    alone = np.array([[end[0]], [end[1]], [0.0], [0.0]])
    tokens, target, lr = curve[:, np.argsort(curve[0], kind="stable")]
    logged = np.isfinite(lr) & (lr >= 0) & (tokens > 0)
    seen = np.isfinite(target) & (target > 0) & (tokens > 0)
    seen &= np.diff(target, prepend=np.nan) != 0  # a value that was carried on was not measured
    if np.sum(logged) < LEAST_POINTS or np.sum(seen) < LEAST_POINTS or not np.max(lr[logged]) > 0:
        return alone
    if not 1 / SAME_END < tokens[seen][-1] / end[0] < SAME_END:
        return alone
    places, shares = tokens[logged], lr[logged] / np.max(lr[logged])
    sums = _sums(places, shares)
    warmup = places[np.argmax(shares >= AT_PEAK)]  # of one that no point saw, at most that much
    start = min(max(FROM * end[0], WARMUPS * warmup), LATEST * end[0])
    kept = np.flatnonzero(seen & (tokens >= start) & (tokens < end[0] / SAME_END))
    if not len(kept):
        return alone
    share, total = np.interp(tokens[kept], places, shares), np.interp(tokens[kept], places, sums)
    rows = np.log(np.stack([total / sums[-1], target[kept], tokens[kept] / end[0]]))
    rows = np.concatenate([rows, share[None] - shares[-1]])
    edges = np.geomspace(start, end[0], most + 1)[1:-1]
    parts = np.split(rows, np.searchsorted(tokens[kept], edges), axis=1)
    middles = np.stack([np.median(part, axis=1) for part in parts if part.shape[1]], axis=1)
    summed, log_target, ahead, rate = middles
    found = np.stack([end[0] * np.exp(summed), np.exp(log_target), rate, -ahead])
    return np.concatenate([found, alone], axis=1)


def _sums(tokens: Floats, rates: Floats) -> Floats:
    """The sum of the rates up to each of `tokens` [points]: trapezoids, and before the first a rise
    from zero, or its rate where it is the peak already."""
    before = tokens[0] * (rates[0] if rates[0] >= AT_PEAK else rates[0] / 2)
    between = np.diff(tokens) * (rates[1:] + rates[:-1]) / 2
    sums: Floats = np.cumsum(np.concatenate([[before], between]))
    return sums
