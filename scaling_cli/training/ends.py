"""How runs end: those that have not are left out, or enter a table at their predicted end."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from dataclasses import dataclass

import numpy as np

from scaling_cli.ending import ENDED
from scaling_cli.errors import FitError
from scaling_cli.fitting.imputed import SPREAD, UNFINISHED
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.quantities import counted
from scaling_cli.store import Store
from scaling_cli.table import Table

GROWING = ("tokens", "flops", "flops_exact")  # columns that are in proportion to the steps done
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
        named = rows.with_notes(self.notes(rows))
        named = named if kept.all() else named.select(kept)
        at = [(i, self.predicted[owner]) for i, owner in enumerate(named.owners) if owner in self]
        if not at:
            return named
        columns = {name: values.copy() for name, values in named.columns.items()}
        columns[SPREAD] = np.zeros(len(named))
        for i, end in at:
            columns["loss"][i], columns[SPREAD][i] = end.loss, end.spread
            for name in GROWING:
                if name in columns:
                    columns[name][i] *= end.growth
        return named.of_columns(columns)

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
        notes = []
        if out:
            verb = "has" if out == 1 else "have"
            message = (
                f"{out} of {counted(len(rows), 'run')} {verb} not ended and cannot be predicted to"
                f" the end; left out: {self._reasons(rows)}."
            )
            notes.append(Note.of(UNFINISHED, message))
        unknown = [i for i, o in zip(rows.run_ids, rows.owners, strict=True) if o in self.unknown]
        if unknown:
            more = " ..." if len(unknown) > LISTED else ""
            message = (
                f"nothing says whether {len(unknown)} of {counted(len(rows), 'run')} have ended"
                " (no planned steps, no learning rate that falls, no word of a logger); their last"
                f" points count: {', '.join(unknown[:LISTED])}{more}."
            )
            notes.append(Note.of("end_unknown", message))
        return notes

    def _reasons(self, rows: Table) -> str:
        named = [
            f"{run_id} ({self.left_out[owner]})"
            for run_id, owner in zip(rows.run_ids, rows.owners, strict=True)
            if owner in self.left_out
        ]
        return ", ".join(named[:LISTED]) + (
            f" and {len(named) - LISTED} more" if len(named) > LISTED else ""
        )


def ends_of(store: Store, rows: Table, mapping: Mapping | None) -> Ends:
    """How the runs of the rows that have not ended will end; where all have, no curve is read."""
    if rows.labels.find(ENDED) is None:
        return Ends({}, {})
    ended = dict(zip(rows.owners, rows.look_up(ENDED).tolist(), strict=True))
    unknown = frozenset(owner for owner, value in ended.items() if value is None)
    if all(value is not False for value in ended.values()):
        return Ends({}, {}, unknown)
    from scaling_cli.training.finals import predict_ends

    return Ends(*predict_ends(store, rows, mapping, ended), unknown)
