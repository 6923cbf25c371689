"""Runs that have not ended, as observations at the end that is predicted for them."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from scaling_cli.ending import ENDED, stored
from scaling_cli.errors import FitError, InputError
from scaling_cli.fitting.imputed import SPREAD, UNFINISHED
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.quantities import counted
from scaling_cli.store import RunRecord, Store
from scaling_cli.table import Table
from scaling_cli.training.curve import Curve, curve_of
from scaling_cli.training.forecast import Ladder, forecast, learn

GROWING = ("tokens", "flops", "flops_exact")  # columns that are in proportion to the steps done
WIDEST = 0.05  # relative standard deviation of a predicted final loss from which on it says nothing
LEVEL = 0.90  # of the band that the standard deviation is read from
# A last loss so far above the lowest (both of thinned rows) is of a run that diverged: its curve
# predicts no end. Noise of the sample runs' rows is .3 to 1 %.
DIVERGED = 0.1
LISTED = 5


@dataclass(frozen=True)
class End:
    """The predicted end of a run: its loss, the relative standard deviation of that, and by how
    much its tokens and compute are still to grow."""

    loss: float
    spread: float
    growth: float


@dataclass(frozen=True)
class Ends:
    """What is known of the ends of runs that have not ended, by owner: the end, or in words why
    there is none. Of the runs `unknown` nothing says whether they have ended."""

    predicted: Dict[str, End]
    left_out: Dict[str, str]
    unknown: frozenset[str] = frozenset()

    def of(self, rows: Table) -> Table:
        """The rows with each such run at its predicted end, and without those that have none; the
        notes name them. `loss_spread` is 0 for the runs that have ended.
        """
        kept = np.array([owner not in self.left_out for owner in rows.owners], dtype=bool)
        told = rows.with_notes(self.notes(rows))
        told = told if kept.all() else told.select(kept)
        at = [(i, self.predicted[owner]) for i, owner in enumerate(told.owners) if owner in self]
        if not at:
            return told
        columns = {name: values.copy() for name, values in told.columns.items()}
        columns[SPREAD] = np.zeros(len(told))
        for i, end in at:
            columns["loss"][i], columns[SPREAD][i] = end.loss, end.spread
            for name in GROWING:
                if name in columns:
                    columns[name][i] *= end.growth
        return told.of_columns(columns)

    def ended(self, rows: Table) -> Table:
        """The rows of runs that have ended alone, since a prediction is held against what runs
        reached; a note names the others. FitError where none is left."""
        going = np.array([o in self.left_out or o in self for o in rows.owners], dtype=bool)
        if not going.any():
            return rows
        ids = [run_id for run_id, out in zip(rows.run_ids, going.tolist(), strict=True) if out]
        more = f" and {len(ids) - LISTED} more" if len(ids) > LISTED else ""
        message = (
            f"{len(ids)} of {counted(len(rows), 'run')} to hold predictions against have not"
            f" ended; left out: {', '.join(ids[:LISTED])}{more}"
        )
        if going.all():
            raise FitError(message, "Wait for them, or choose others.")
        return rows.with_notes([Note.of(UNFINISHED, f"{message}.")]).select(~going)

    def __contains__(self, owner: str) -> bool:
        return owner in self.predicted

    def notes(self, rows: Table) -> list[Note]:
        """On those of the rows that are left out, and on those that may not have ended."""
        out = sum(owner in self.left_out for owner in rows.owners)
        found = []
        if out:
            verb = "has" if out == 1 else "have"
            message = (
                f"{out} of {counted(len(rows), 'run')} {verb} not ended and cannot be predicted to"
                f" the end; left out: {self._reasons(rows)}."
            )
            found.append(Note.of(UNFINISHED, message))
        unknown = [i for i, o in zip(rows.run_ids, rows.owners, strict=True) if o in self.unknown]
        if unknown:
            more = " ..." if len(unknown) > LISTED else ""
            message = (
                f"nothing says whether {len(unknown)} of {counted(len(rows), 'run')} have ended"
                " (no planned steps, no learning rate that falls, no word of a logger); their last"
                f" points count: {', '.join(unknown[:LISTED])}{more}."
            )
            found.append(Note.of("end_unknown", message))
        return found

    def _reasons(self, rows: Table) -> str:
        named = [
            f"{run_id} ({self.left_out[owner]})"
            for run_id, owner in zip(rows.run_ids, rows.owners, strict=True)
            if owner in self.left_out
        ]
        return ", ".join(named[:LISTED]) + (
            f" and {len(named) - LISTED} more" if len(named) > LISTED else ""
        )


def predicted_ends(store: Store, rows: Table, mapping: Mapping | None) -> Ends:
    """How the runs of the rows that have not ended will end, by their own curves and the runs of
    their group that have."""
    if rows.labels.find(ENDED) is None:
        return Ends({}, {})
    ended = dict(zip(rows.owners, rows.look_up(ENDED).tolist(), strict=True))
    unknown = frozenset(owner for owner, value in ended.items() if value is None)
    if all(value is not False for value in ended.values()):
        return Ends({}, {}, unknown)
    records = {record.run_key: record for record in store.runs() if record.run_key in ended}
    predicted: dict[str, End] = {}
    left_out: dict[str, str] = {}
    for _, group in rows.groups(rows.by):
        members = dict.fromkeys(group.owners)
        going = [records[owner] for owner in members if ended[owner] is False]
        if not going:
            continue
        others = [records[owner] for owner in members if ended[owner] is not False]
        curves = [found for _, found in _curves(store, others, mapping) if isinstance(found, Curve)]
        siblings = [curve for curve in curves if curve.finished]
        ladder = learn(siblings) if siblings else None
        for record, own in _curves(store, going, mapping):
            found = own if isinstance(own, str) else _end_of(own, siblings, ladder)
            if isinstance(found, End):
                predicted[record.run_key] = found
            else:
                state = stored(record.final, record.mapped).in_words(record.status)
                left_out[record.run_key] = f"{state}; {found}"
    return Ends(predicted, left_out, unknown)


def _curves(
    store: Store, records: Sequence[RunRecord], mapping: Mapping | None
) -> list[tuple[RunRecord, Curve | str]]:
    """The curve of each run, or what it lacks for one."""
    series = store.series(record.run_key for record in records if record.has_history)
    found: list[tuple[RunRecord, Curve | str]] = []
    for record in records:
        run = record.to_run(series.get(record.run_key, {}))
        try:
            found.append((record, curve_of(run, mapping or record.mapping)))
        except InputError as error:
            what = error.what.removeprefix(f"run {record.run_id} has ")
            found.append((record, what))
    return found


def _end_of(own: Curve, ended: Sequence[Curve], ladder: Ladder | None) -> End | str:
    """The end of a run, or why none can be predicted."""
    if own.finished:
        return "nothing says how many steps it is to take"
    thin = own.thinned().loss
    if len(thin) and thin[-1] > (1 + DIVERGED) * np.min(thin):
        return "its loss has risen again"
    try:
        found = forecast(own, ended, steps=[own.total], level=LEVEL, ladder=ladder)
    except FitError as error:
        return error.what.removeprefix(f"run {own.run_id} has ")
    wide = 2 * NormalDist().inv_cdf(0.5 + LEVEL / 2)
    spread = float(np.log(found.high[0] / found.low[0])) / wide
    if not spread <= WIDEST:
        return f"its end is known to {spread:.0%} only"
    return End(float(found.loss[0]), spread, own.total / int(own.steps[-1]))
