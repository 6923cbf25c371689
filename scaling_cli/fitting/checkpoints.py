"""The checkpoints of runs as observations of a link: every logged point, not the final one alone.

From the loss to a score there is one curve, whatever the size and the schedule (Bhagia et al. 2024,
arXiv:2412.04403): a checkpoint lies on it as the end of a run does. Its own noise is averaged over
its neighbours; that points of a run go together is left to the resamples, which draw whole runs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scaling_cli.fitting.assembly import noise_of
from scaling_cli.fitting.result import Fit
from scaling_cli.laws import Law
from scaling_cli.notes import Note
from scaling_cli.quantities import counted
from scaling_cli.records import Floats
from scaling_cli.table import Table

SMOOTHED = 5  # neighbouring points that one row is the mean of
WARMING = 0.1  # of a run's points, its first, which follow no law yet
LEAST_POINTS = 2 * SMOOTHED  # fewer say no more than the run's end
MOST_POINTS = 40  # rows of a run: more lie nearer than their noise is independent
NOTE = "link_by_checkpoints"


def of_link(finals: Table, x: str, y: str) -> Table | None:
    """Rows of the smoothed checkpoints of each run, of a run without them its final one; None where
    no run has any. A score that is logged more rarely than the loss counts where it was logged."""
    points = finals.points
    if points is None or x not in points.columns or y not in points.columns:
        return None
    owners, values = np.array(points.owners), points.columns
    known = np.isfinite(values[x]) & np.isfinite(values[y])
    parts: dict[str, list[Floats]] = {name: [] for name in (x, y)}
    chosen: list[int] = []
    whole: list[str] = []
    for owner in dict.fromkeys(finals.owners):
        at = np.flatnonzero((owners == owner) & known)
        at = at[np.diff(values[y][at], prepend=np.nan) != 0]
        if len(at) < LEAST_POINTS:
            continue
        whole.append(owner)
        first = int(np.ceil(WARMING * len(at)))
        kept = np.unique(np.linspace(first, len(at) - 1, MOST_POINTS).round().astype(int))
        chosen += at[kept].tolist()
        for name, smooth in parts.items():
            smooth.append(_smoothed(values[name][at])[kept])
    if not whole:
        return None
    rows = points.take(np.array(chosen, dtype=np.intp))
    rows = rows.with_columns(**{name: np.concatenate(smooth) for name, smooth in parts.items()})
    return _joined(rows, finals.select([owner not in whole for owner in finals.owners]))


def of_ends(fitted: Fit, finals: Table) -> Fit:
    """A link fitted to checkpoints, with the noise of one run's end as it was logged: means of
    neighbours have less."""
    (variable,) = fitted.law.variables
    seen, predicted = (
        finals.numbers(fitted.target),
        fitted.curve({variable: finals.numbers(fitted.columns[variable])}),
    )
    missed = np.log(seen) - np.log(predicted) if fitted.log else seen - predicted
    missed = missed[np.isfinite(missed)]
    noise = noise_of(missed, 1) if len(missed) > 1 else 0.0
    return replace(fitted, noise=max(fitted.noise, noise))


def note(link: Law, rows: Table) -> Note:
    """That the link rests on checkpoints, and how to have it without."""
    ends = " and its known end (loss 0, score 1)" if link.plateaus else ""
    return Note.of(
        NOTE,
        f"{link.id} is fitted to {len(rows)} checkpoints of {counted(rows.n_runs, 'run')} (means of"
        f" {SMOOTHED}, without the first tenth){ends}, not to their final points alone.",
    )


def _smoothed(values: Floats) -> Floats:
    """Moving means [n], of fewer at the ends, centred so that a slope does not move them."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    reach = np.minimum(SMOOTHED // 2, np.minimum(at, len(values) - 1 - at))
    found: Floats = (total[at + reach + 1] - total[at - reach]) / (2 * reach + 1)
    return found


def _joined(first: Table, second: Table) -> Table:
    """Rows of both, with the columns and labels of the first."""
    if not len(second):
        return first
    columns = {
        name: np.concatenate([values, second.numbers(name)])
        for name, values in first.columns.items()
    }
    return Table(
        columns, first.run_ids + second.run_ids, first.owners + second.owners, notes=first.notes
    )
