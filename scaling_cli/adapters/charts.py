"""Charts of W&B that were exported: the x axis, then a column for each run."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from scaling_cli.adapters.building import make_run, whole_steps
from scaling_cli.adapters.tables import RawTable
from scaling_cli.errors import InputError
from scaling_cli.notes import Note
from scaling_cli.records import Run
from scaling_cli.steps import CALLS, marked_if_called, own_rank

_EXTREMES = ("__MIN", "__MAX")


def _chart_columns(table: RawTable) -> list[str]:
    return [c for c in list(table.arrays)[1:] if not c.endswith(_EXTREMES)]


def is_chart_export(table: RawTable) -> bool:
    columns = _chart_columns(table)
    return bool(columns) and all(" - " in column for column in columns)


def chart_export(table: RawTable) -> Iterator[Run]:
    """A W&B chart: the x axis, then "<run> - <metric>" for each run."""
    axis = next(iter(table.arrays))
    columns: dict[str, dict[str, str]] = {}
    for column in _chart_columns(table):
        run, metric = column.rsplit(" - ", 1)
        columns.setdefault(run.removeprefix("Group: "), {})[metric] = column
    note = Note.of(
        "sampled",
        "a chart export holds sampled points and no config; give the runs' table by `meta=`, or"
        " ingest the runs themselves",
    )
    for run, metrics in columns.items():
        own = metrics.pop("_step", None)
        step = own or (axis if axis in CALLS or own_rank(axis) is not None else None)
        if step is not None and not table[step].numeric:
            raise InputError(f"{table.source}: {step} is no number", "Export the chart again.")
        numeric = {m: table[c] for m, c in metrics.items() if table[c].numeric}
        if step != axis and table[axis].numeric:
            numeric[axis] = table[axis]  # what the chart was drawn over, such as the tokens
        if step is None:
            steps, filled = np.arange(1.0, table.rows + 1), np.ones(table.rows, bool)
        else:
            filled = table[step].filled
            steps = np.where(filled, table[step].values, 0).astype(np.float64)
        whole = whole_steps(steps, table.place)
        points = {
            metric: (whole[held], cells.values[held].astype(np.float64))
            for metric, cells in numeric.items()
            if len(held := np.flatnonzero(cells.filled & filled))
        }
        if step is None:
            points = {m: p for m, p in points.items() if m == axis or len(p[0])}
        made = make_run(table.adapter, run, table.source, {}, points, [note])
        yield made if step is None else marked_if_called(made)
