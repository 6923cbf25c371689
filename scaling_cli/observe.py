"""From the store to a table: every run at its final point, or at each of its points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from scaling_cli.errors import InputError
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.resolve import finals, points
from scaling_cli.store import RunRecord, Store
from scaling_cli.table import Table


def listed(store: Store, where: str | None = None) -> Table:
    """Every stored run that matches, with the values of its ingest, also runs without a loss."""
    records = store.runs()
    rows = _rows(records, [record.final for record in records], by=_same_group(records))
    return rows if where is None else rows.select(rows.matches(where))


def every_run(store: Store, mapping: Mapping | None = None) -> Table:
    """Every stored run at its final point, also those that a filter would leave out or that have
    no loss.

    Without a mapping, or with that of the ingest, the values of the ingest serve; another mapping
    is applied to the stored histories.
    """
    records = store.runs()
    if not records:
        raise InputError(
            f"The store at {store.location} holds no runs",
            "Bring some in: `scalefit ingest SOURCE`.",
        )
    if mapping is not None and mapping.empty:
        mapping = None
    values = [record.final for record in records]
    notes: tuple[Note, ...] = ()
    if mapping is not None and not all(r.mapping.reads_like(mapping) for r in records):
        series = store.series(r.run_key for r in records if r.has_history)
        found = finals([r.to_run(series.get(r.run_key, {})) for r in records], mapping)
        values, notes = [row.values for row in found.rows], found.notes
    return _rows(records, values, notes, mapping.group if mapping else _same_group(records))


def observe(
    store: Store,
    mapping: Mapping | None = None,
    where: str | None = None,
    every_point: bool = False,
) -> Table:
    """Of `every_run`, those that `where` and the mapping's own filter leave.

    Runs without a loss are dropped, and a note names them. With `every_point` a run has a row for
    each logged loss instead; the filters still ask about its final point.
    """
    rows = every_run(store, mapping)
    records = rows.runs
    if mapping is not None and mapping.empty:
        mapping = None
    kept = np.ones(len(rows), dtype=bool)
    own = [mapping.where if mapping is not None else r.mapping.where for r in records]
    for text in dict.fromkeys(own):
        if text is not None:
            kept &= rows.matches(text) | np.array([w != text for w in own])
    if where is not None:
        kept &= rows.matches(where)
    if not kept.any():
        texts = " and ".join(f"`{t}`" for t in dict.fromkeys([*own, where]) if t)
        raise InputError(
            f"None of the {len(rows)} runs is left by {texts}",
            "Widen the filter; see `scalefit runs`.",
        )
    kept_rows = _with_loss(rows.select(kept))
    return _every_point(store, mapping, kept_rows) if every_point else kept_rows


def _every_point(store: Store, mapping: Mapping | None, rows: Table) -> Table:
    series = store.series(run.run_key for run in rows.runs if run.has_history)
    tables = [
        points(run.to_run(series.get(run.run_key, {})), mapping or run.mapping) for run in rows.runs
    ]
    lengths = [len(table["loss"]) for table in tables]
    columns = {
        name: np.concatenate(
            [table.get(name, np.full(n, np.nan)) for table, n in zip(tables, lengths, strict=True)]
        )
        for name in dict.fromkeys(name for table in tables for name in table)
    }
    runs = tuple(run for run, n in zip(rows.runs, lengths, strict=True) for _ in range(n))
    expanded = Table(columns, runs, rows.notes, rows.by)
    return expanded.select(np.isfinite(columns["loss"]))


def _rows(
    records: Sequence[RunRecord],
    values: Sequence[dict[str, float]],
    notes: tuple[Note, ...] = (),
    by: tuple[str, ...] = (),
) -> Table:
    names = dict.fromkeys(name for row in values for name in row if name != "steps")
    columns = {n: np.array([row.get(n, np.nan) for row in values], np.float64) for n in names}
    return Table(columns, tuple(records), notes, by)


def _same_group(records: Iterable[RunRecord]) -> tuple[str, ...]:
    """The grouping of the mapping that the runs were ingested with, if they agree on one."""
    groups = {record.mapping.group for record in records}
    return groups.pop() if len(groups) == 1 else ()


def _with_loss(rows: Table) -> Table:
    loss = rows.columns.get("loss", np.full(len(rows), np.nan))
    lacking = np.isnan(loss)
    if not lacking.any():
        return rows
    ids = [rows.runs[row].run_id for row in np.flatnonzero(lacking)]
    named = ", ".join(ids[:5]) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
    if lacking.all():
        raise InputError(
            f"All {len(rows)} runs have no loss, or NaN for it ({named})",
            'Check the source, or name another column in the mapping: [columns] loss = "..."',
        )
    verb = "run has" if len(ids) == 1 else "runs have"
    note = Note("no_loss", "warning", f"{len(ids)} {verb} no finite loss and are left out: {named}")
    kept = rows.select(~lacking)
    return Table(kept.columns, kept.runs, (*rows.notes, note), rows.by)
