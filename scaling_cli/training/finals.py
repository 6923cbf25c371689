"""Runs that have not reached their planned end, as observations at the end that is foreseen."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from scaling_cli.errors import FitError
from scaling_cli.fitting.imputed import SPREAD, UNKNOWN
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.store import Store
from scaling_cli.table import Table
from scaling_cli.training.ask import curves_of
from scaling_cli.training.curve import Curve
from scaling_cli.training.forecast import Ladder, foresee, learn

GROWING = ("tokens", "flops", "flops_exact")  # columns that are in proportion to the steps done
WIDEST = 0.05  # relative standard deviation of a foreseen final loss from which on it says nothing
LEVEL = 0.90  # of the band that the standard deviation is read from
LISTED = 5


def with_predicted(store: Store, rows: Table, mapping: Mapping | None) -> Table:
    """The rows with each unfinished run at its planned end: its loss the median that its curve and
    the finished runs of its group foresee, its tokens and compute those of the end.

    The column `loss_spread` holds the relative standard deviation of such a loss, 0 for the others.
    Runs that nothing can be foreseen of are left out, and a note names them.
    """
    columns = {name: values.copy() for name, values in rows.columns.items()}
    columns[SPREAD] = np.zeros(len(rows))
    at = {owner: i for i, owner in enumerate(rows.owners)}
    records = {record.run_key: record for record in store.runs() if record.has_history}
    kept = np.ones(len(rows), dtype=bool)
    left_out = []
    for _, group in rows.groups(rows.by):
        curves = curves_of(store, [records[o] for o in group.owners if o in records], mapping)
        going = {key: curve for key, curve in curves.items() if not curve.finished}
        ended = [curve for curve in curves.values() if curve.finished]
        ladder = learn(ended) if going and ended else None
        for key, own in going.items():
            i = at[key]
            found = _end_of(own, ended, ladder)
            if found is None:
                kept[i] = False
                left_out.append(own.run_id)
                continue
            columns["loss"][i], columns[SPREAD][i] = found
            for name in GROWING:
                if name in columns:
                    columns[name][i] *= own.total / int(own.steps[-1])
    notes = []
    if left_out:
        more = " ..." if len(left_out) > LISTED else ""
        notes.append(
            Note(
                UNKNOWN,
                "warning",
                f"{len(left_out)} runs have not ended and cannot be foreseen to within"
                f" {WIDEST:.0%}; they are left out: {', '.join(left_out[:LISTED])}{more}.",
            )
        )
    return rows.of_columns(columns).with_notes(notes).select(kept)


def _end_of(
    own: Curve, ended: Sequence[Curve], ladder: Ladder | None
) -> tuple[float, float] | None:
    """The loss at the planned end and its relative standard deviation; None where that is wide."""
    try:
        found = foresee(own, ended, steps=[own.total], level=LEVEL, ladder=ladder)
    except FitError:
        return None
    wide = 2 * NormalDist().inv_cdf(0.5 + LEVEL / 2)
    spread = float(np.log(found.high[0] / found.low[0])) / wide
    return (float(found.loss[0]), spread) if spread <= WIDEST else None
