"""From the store to a table: every run at its final point, or at each of its points."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scaling_cli.ending import ENDED, NOT_ENDED, PLANNED, judged
from scaling_cli.errors import InputError
from scaling_cli.expressions import is_missing, objects, parse
from scaling_cli.mapping import Mapping
from scaling_cli.names import RUN_FIELDS, Document, RunNames
from scaling_cli.notes import Note
from scaling_cli.resolve import finals, points
from scaling_cli.shown import Shown
from scaling_cli.spelling import near
from scaling_cli.store import RunRecord, Store
from scaling_cli.table import Mask, Rows, Table

NO_COLUMNS = ("steps", PLANNED, ENDED)  # values of a final point that say how far a run has come


@dataclass(frozen=True)
class Runs(Shown):
    """Stored runs, and the table of their final points: record i is row i."""

    records: tuple[RunRecord, ...]
    table: Table

    def __len__(self) -> int:
        return len(self.records)

    def rows(self) -> list[dict[str, Any]]:
        """Each run at its final point."""
        fields = ("run_id", "name", "group", "status", "source")
        names = ("steps", "params", "tokens", "flops", "loss")
        return [
            {name: getattr(record, name) for name in fields}
            | {name: record.final.get(name) for name in names}
            for record in self.records
        ]

    def take(self, rows: Rows) -> Runs:
        """The runs of these rows."""
        return Runs(tuple(self.records[row] for row in rows.tolist()), self.table.take(rows))

    def select(self, mask: Mask) -> Runs:
        """The runs where `mask` is true."""
        return self if mask.all() else self.take(np.flatnonzero(mask))

    def of_records(self, records: Sequence[RunRecord]) -> Runs:
        """The same rows of numbers, of records that say something else of the runs."""
        labels = names_of(records, [record.final for record in records])
        return Runs(tuple(records), replace(self.table, labels=labels))

    def sorted_by(self, name: str) -> Runs:
        """In order of the values of a name, with a minus before it the highest first; runs without
        one come last."""
        key, falling = name.removeprefix("-"), name.startswith("-")
        if key in NO_COLUMNS:
            values: list[Any] = [record.final.get(key) for record in self.records]
        else:
            values = self.table.look_up(key).tolist()
        known = [row for row, value in enumerate(values) if not is_missing(value)]
        texts = any(isinstance(values[row], str | list | tuple) for row in known)
        order = sorted(
            known, key=lambda row: str(values[row]) if texts else values[row], reverse=falling
        )
        rest = [row for row in range(len(self)) if row not in set(known)]
        return self.take(np.array([*order, *rest], dtype=np.intp))

    def called(self, asked: str) -> list[int]:
        """The rows of the runs that a user means by `asked`: of that key, else of that id, else of
        that name, else those whose id or name matches it with its `*` for any text.

        InputError, with names that are near, where there is none.
        """
        keys = [record.run_key for record in self.records]
        ids = [record.run_id for record in self.records]
        names = [record.name for record in self.records]
        for texts in (keys, ids, names):
            rows = [row for row, text in enumerate(texts) if text == asked]
            if rows:
                return rows
        if "*" in asked or "?" in asked:
            pairs = zip(ids, names, strict=True)
            rows = [row for row, texts in enumerate(pairs) if _matches(texts, asked)]
            if rows:
                return rows
        raise InputError(
            f"There is no run '{asked}' in the store",
            near(asked, [*ids, *filter(None, names)]) or "See `scalefit runs`.",
        )

    def one_called(self, asked: str) -> int:
        """The row of the one run that `asked` means; InputError where it means several."""
        rows = self.called(asked)
        if len(rows) > 1:
            keys = [self.records[row].run_key for row in rows]
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise InputError(
                f"'{asked}' means {len(rows)} runs", f"Name one: {', '.join(keys[:3])}{more}."
            )
        return rows[0]

    def groups(self, by: Sequence[str]) -> list[tuple[dict[str, Any], Runs]]:
        """The runs parted by the values of `by`, in sorted order; without `by`, all in one."""
        return [(group, self.take(rows)) for group, rows in self.table.parted(by)]


def listed(store: Store, where: str | None = None, mapping: Mapping | None = None) -> Runs:
    """Every stored run that matches, also runs without a loss; with the values of its ingest, or as
    another mapping reads it."""
    records, notes = _as_read(store, store.runs(), mapping, strict=False)
    runs = _runs(records, notes, _grouping(records, mapping))
    if where is None:
        return runs
    remarks = runs.table.remarks(parse(where).names)
    kept = runs.select(runs.table.matches(where))
    return Runs(kept.records, kept.table.with_notes(remarks))


def every_run(store: Store, mapping: Mapping | None = None) -> Runs:
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
    read, notes = _as_read(store, records, mapping)
    return _runs(read, notes, _grouping(read, mapping))


def _as_read(
    store: Store, records: Sequence[RunRecord], mapping: Mapping | None, strict: bool = True
) -> tuple[Sequence[RunRecord], tuple[Note, ...]]:
    """The records with their final points as a mapping reads them, and what is to be said of it."""
    if mapping is None or mapping.empty or all(r.mapping.reads_like(mapping) for r in records):
        return records, ()
    series = store.series(r.run_key for r in records if r.has_history)
    runs = [r.to_run(series.get(r.run_key, {})) for r in records]
    resolved = finals(runs, mapping, strict)
    read = [
        replace(record, final=row.values, mapped_json=json.dumps(row.mapped))
        for record, row in zip(records, resolved.rows, strict=True)
    ]
    return read, tuple(n for n in resolved.notes if n.code != NOT_ENDED)  # fits say these


def _grouping(records: Sequence[RunRecord], mapping: Mapping | None) -> tuple[str, ...]:
    return _same_group(records) if mapping is None or mapping.empty else mapping.group


def observe(
    store: Store,
    mapping: Mapping | None = None,
    where: str | None = None,
    every_point: bool = False,
    among: Collection[str] | None = None,
) -> Table:
    """Of `every_run`, those that `where` and the mapping's own filter leave, and that are `among`
    these owners where some are named.

    Runs without a loss are dropped, and a note names them. With `every_point` a run has a row for
    each logged loss instead; the filters still ask about its final point.
    """
    runs = every_run(store, mapping)
    rows, records = runs.table, runs.records
    if mapping is not None and mapping.empty:
        mapping = None
    kept = np.ones(len(rows), dtype=bool)
    own = [mapping.where if mapping is not None else r.mapping.where for r in records]
    for text in dict.fromkeys(own):
        if text is not None:
            kept &= rows.matches(text) | np.array([w != text for w in own])
    if where is not None:
        kept &= rows.matches(where)
    asked = [name for text in dict.fromkeys([*own, where]) if text for name in parse(text).names]
    runs = Runs(records, rows.with_notes(rows.remarks(asked)))
    if not kept.any():
        texts = " and ".join(f"`{t}`" for t in dict.fromkeys([*own, where]) if t)
        raise InputError(
            f"None of the {len(rows)} runs is left by {texts}",
            "Widen the filter; see `scalefit runs`.",
        )
    if among is not None:
        kept &= np.array([owner in among for owner in rows.owners])
    with_loss = _with_loss(runs.select(kept))
    return _every_point(store, mapping, with_loss) if every_point else with_loss.table


def _matches(texts: Iterable[str], asked: str) -> bool:
    from fnmatch import fnmatchcase

    return any(fnmatchcase(text, asked) for text in texts)


def names_of(records: Sequence[RunRecord], values: Sequence[dict[str, float]]) -> RunNames:
    """What filters and groups can ask of the runs, besides their columns."""
    own = [name for name in RUN_FIELDS if name != ENDED]
    fields: dict[str, list[Any]] = {
        name: [getattr(record, name) for record in records] for name in own
    }
    ends = [row.get(ENDED) for row in values]
    fields["status"] = [judged(end, s) for end, s in zip(ends, fields["status"], strict=True)]
    fields[ENDED] = [None if end is None else bool(end) for end in ends]
    return RunNames(
        {name: objects(values) for name, values in fields.items()},
        objects([Document(record.config_json) for record in records]),
        objects([Document(record.summary_json) for record in records]),
    )


def _every_point(store: Store, mapping: Mapping | None, runs: Runs) -> Table:
    records, rows = runs.records, runs.table
    series = store.series(run.run_key for run in records if run.has_history)
    tables = [
        points(run.to_run(series.get(run.run_key, {})), mapping or run.mapping) for run in records
    ]
    lengths = [len(table["loss"]) for table in tables]
    columns = {
        name: np.concatenate(
            [table.get(name, np.full(n, np.nan)) for table, n in zip(tables, lengths, strict=True)]
        )
        for name in dict.fromkeys(name for table in tables for name in table)
    }
    owner = np.repeat(np.arange(len(records)), lengths)
    finite = np.isfinite(columns["loss"])
    expanded = rows.take(owner[finite])
    return expanded.of_columns({name: values[finite] for name, values in columns.items()})


def _runs(
    records: Sequence[RunRecord], notes: tuple[Note, ...] = (), by: tuple[str, ...] = ()
) -> Runs:
    values = [record.final for record in records]
    names = dict.fromkeys(name for row in values for name in row if name not in NO_COLUMNS)
    columns = {n: np.array([row.get(n, np.nan) for row in values], np.float64) for n in names}
    ids = tuple(record.run_id for record in records)
    keys = tuple(record.run_key for record in records)
    return Runs(tuple(records), Table(columns, ids, keys, names_of(records, values), notes, by))


def _same_group(records: Iterable[RunRecord]) -> tuple[str, ...]:
    """The grouping of the mapping that the runs were ingested with, if they agree on one."""
    groups = {record.mapping.group for record in records}
    return groups.pop() if len(groups) == 1 else ()


def _with_loss(runs: Runs) -> Runs:
    rows = runs.table
    loss = rows.columns.get("loss", np.full(len(rows), np.nan))
    lacking = np.isnan(loss)
    if not lacking.any():
        return runs
    if "loss" not in rows.columns:  # runs of another target, which asks for its own column
        return runs
    ids = [rows.run_ids[row] for row in np.flatnonzero(lacking)]
    named = ", ".join(ids[:5]) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
    if lacking.all():
        raise InputError(
            f"All {len(rows)} runs have no loss, or NaN for it ({named})",
            'Check the source, or name another column in the mapping: [columns] loss = "..."',
        )
    verb = "run has" if len(ids) == 1 else "runs have"
    note = Note.of("no_loss", f"{len(ids)} {verb} no finite loss and are left out: {named}")
    kept = runs.select(~lacking)
    return Runs(kept.records, kept.table.with_notes([note]))
