"""The store as one table, in Parquet or CSV, for those who ask their questions elsewhere.

Written piece by piece: memory holds one row group of one segment, and what it unfolds to.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from scaling_cli.documents import destination
from scaling_cli.errors import InputError, UnreachableError
from scaling_cli.records import Floats, Series, Steps
from scaling_cli.store import segments
from scaling_cli.store.files import LocalFiles
from scaling_cli.store.log import State
from scaling_cli.store.records import RunRecord
from scaling_cli.text import cell

if TYPE_CHECKING:
    from scaling_cli.store.store import Store

SHAPES = ("long", "wide", "runs")
PIECE_ROWS = 1 << 20  # rows written at once: some 100 MB of a long table
_RUN_FIELDS = ("run_key", "run_id", "name", "group", "status", "source", "created_at")


@dataclass(frozen=True)
class Cut:
    """What of a history is wanted: these metrics, and the steps from `first` to `last`, both of
    them included; without one, all."""

    metrics: frozenset[str] | None = None
    first: int | None = None
    last: int | None = None

    def of(self, metric: str, series: Series) -> Series | None:
        """What is left of a series, None where that is not one point."""
        if self.metrics is not None and metric not in self.metrics:
            return None
        if self.first is None and self.last is None:
            return series
        steps = series.steps
        kept = np.ones(len(steps), dtype=bool)
        if self.first is not None:
            kept &= steps >= self.first
        if self.last is not None:
            kept &= steps <= self.last
        return Series(steps[kept], series.values[kept]) if kept.any() else None


def scan(
    store: Store, records: Sequence[RunRecord] | None = None, cut: Cut | None = None
) -> Iterator[pa.Table]:
    """The logged values of runs, all or `records`, as tables of some PIECE_ROWS rows (run_key,
    run_id, metric, step, value), one after the other and as the store is now."""
    chosen = store.runs() if records is None else records
    ids = {record.run_key: record.run_id for record in chosen}
    yield from _long(store, store.log.state(), ids, cut or Cut())


def export(
    store: Store,
    path: str | Path,
    shape: str = "long",
    records: Sequence[RunRecord] | None = None,
    cut: Cut | None = None,
) -> int:
    """Write runs, all or `records`, to a file, and give the number of rows.

    `long` has a row a logged value (run_key, run_id, metric, step, value), `wide` a row a run and
    step with a column a metric, empty where it was not logged, and `runs` a row a run with its
    final values and its config as JSON. `cut` leaves metrics and steps of the histories out. The
    file is there whole or not at all.
    """
    target = Path(path)
    if shape not in SHAPES:
        raise InputError(f"{shape!r} is no shape of a table", f"There are {', '.join(SHAPES)}.")
    kind = target.suffix.lower()
    if kind not in _WRITERS:
        kinds = ", ".join(_WRITERS)
        raise InputError(f"{target}: a table is written as {kinds}", "Give such a file.")
    try:
        target, regular = destination(target)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        mend = "Give a file in a folder that is there."
        raise InputError(f"{target} cannot be written ({reason})", mend) from None
    chosen = store.runs() if records is None else records

    def export_of(state: State) -> int:
        rows = 0

        def write(file: BinaryIO) -> None:
            nonlocal rows
            rows = 0
            schema, tables = _tables(store, state, chosen, shape, cut or Cut())
            with _WRITERS[kind](file, schema) as writer:
                for table in tables:
                    writer.write_table(table)
                    rows += len(table)

        if regular:
            LocalFiles(target.parent).write(target.name, write)
        else:  # a pipe or a device
            _write_to(target, write)
        return rows

    return store.read(export_of)


def _write_to(target: Path, write: Callable[[BinaryIO], None]) -> None:
    try:
        with target.open("wb") as stream:
            write(stream)
    except OSError as error:
        raise UnreachableError(f"{target}: {error.strerror or error}") from None


_WRITERS: dict[str, Any] = {
    ".parquet": lambda file, schema: pq.ParquetWriter(file, schema, compression="zstd"),
    ".csv": lambda file, schema: _CsvWriter(file, schema),
}


class _CsvWriter:
    """A writer of CSV whose texts and headers are no formulas of a spreadsheet. What cannot be seen
    is written as an escape; numbers are as they are."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self.schema = _renamed(schema)
        self.writer = pyarrow.csv.CSVWriter(file, self.schema)

    def __enter__(self) -> _CsvWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.writer.close()

    def write_table(self, table: pa.Table) -> None:
        columns = [_as_cells(column) for column in table.columns]
        self.writer.write_table(pa.table(columns, schema=self.schema))


def _renamed(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_name(cell(field.name)) for field in schema])


def _as_cells(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_string(kind):
        return pa.chunked_array([pa.array(_cells(part), kind) for part in column.chunks], kind)
    if pa.types.is_dictionary(kind):
        parts = [
            pa.DictionaryArray.from_arrays(
                part.indices, pa.array(_cells(part.dictionary), kind.value_type)
            )
            for part in column.chunks
        ]
        return pa.chunked_array(parts, kind)
    return column


def _cells(texts: pa.Array) -> list[str | None]:
    return [None if text is None else cell(text) for text in texts.to_pylist()]


def _tables(
    store: Store, state: State, records: Sequence[RunRecord], shape: str, cut: Cut
) -> tuple[pa.Schema, Iterator[pa.Table]]:
    if shape == "runs":
        table = _runs(records)
        return table.schema, iter([table])
    ids = {record.run_key: record.run_id for record in records}
    if shape == "long":
        return _LONG, _long(store, state, ids, cut)
    metrics = _metrics(store, state, ids, cut)
    schema = pa.schema([*_POINT, *((name, pa.float64()) for name in metrics)])
    return schema, _wide(store, state, ids, metrics, schema, cut)


_TEXT = pa.dictionary(pa.int32(), pa.string())
_POINT = [("run_key", _TEXT), ("run_id", _TEXT), ("step", pa.int64())]
_LONG = pa.schema([*_POINT[:2], ("metric", _TEXT), *_POINT[2:], ("value", pa.float64())])


def _runs(records: Sequence[RunRecord]) -> pa.Table:
    columns: dict[str, Any] = {
        name: pa.array([getattr(record, name) for record in records], pa.string())
        for name in _RUN_FIELDS
    }
    columns["tags"] = pa.array([json.dumps(record.tags) for record in records], pa.string())
    for name in dict.fromkeys(name for record in records for name in record.final):
        columns[name] = pa.array([record.final.get(name) for record in records], pa.float64())
    columns["config"] = pa.array([record.config_json for record in records], pa.string())
    return pa.table(columns)


def _series(
    store: Store, state: State, ids: dict[str, str], cut: Cut
) -> Iterator[list[tuple[str, str, Series]]]:
    """The series of the runs, one row group of a segment at a time."""
    for name, keys in _histories(state, ids).items():
        with store.reading(name, state) as file:
            for table in segments.row_groups(file, keys):
                yield [
                    (key, metric, kept)
                    for key, metric, series in segments.each_series(table)
                    if key in keys and (kept := cut.of(metric, series)) is not None
                ]


def _histories(state: State, ids: dict[str, str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for key in ids:
        place = state.places.get(key)
        if place is not None and place.history is not None:
            found.setdefault(place.history, set()).add(key)
    return found


def _metrics(store: Store, state: State, ids: dict[str, str], cut: Cut) -> list[str]:
    names: set[str] = set()
    for name, keys in _histories(state, ids).items():
        with store.reading(name, state) as file:
            wanted = [("run_key", "in", sorted(keys))]
            names |= set(
                pq.read_table(file, columns=["metric"], filters=wanted)["metric"].to_pylist()
            )
    names = names if cut.metrics is None else names & cut.metrics
    taken = names & {name for name, _ in _POINT}
    if taken:
        raise InputError(
            f"A metric is called {sorted(taken)[0]}, as is a column of every wide table",
            "Export `shape=long` instead.",
        )
    return sorted(names)


def _long(store: Store, state: State, ids: dict[str, str], cut: Cut) -> Iterator[pa.Table]:
    for found in _series(store, state, ids, cut):
        for part in _portions(found):
            sizes = [len(series.steps) for *_, series in part]
            yield pa.table(
                [
                    _repeated([key for key, *_ in part], sizes),
                    _repeated([ids[key] for key, *_ in part], sizes),
                    _repeated([metric for _, metric, _ in part], sizes),
                    np.concatenate([series.steps for *_, series in part]),
                    np.concatenate([series.values for *_, series in part]),
                ],
                schema=_LONG,
            )


def _portions(found: list[tuple[str, str, Series]]) -> Iterator[list[tuple[str, str, Series]]]:
    """Parts of about PIECE_ROWS points; a longer series is a part of its own."""
    part: list[tuple[str, str, Series]] = []
    points = 0
    for item in found:
        part.append(item)
        points += len(item[2].steps)
        if points >= PIECE_ROWS:
            yield part
            part, points = [], 0
    if part:
        yield part


def _repeated(texts: Sequence[str], sizes: Sequence[int]) -> pa.Array:
    """Each text as often as its size says, as a dictionary of the texts that differ."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    at = np.repeat(np.array([numbers[text] for text in texts], dtype=np.int32), sizes)
    return pa.DictionaryArray.from_arrays(pa.array(at), pa.array(list(numbers), pa.string()))


def _wide(
    store: Store,
    state: State,
    ids: dict[str, str],
    metrics: Sequence[str],
    schema: pa.Schema,
    cut: Cut,
) -> Iterator[pa.Table]:
    column_of = {metric: number for number, metric in enumerate(metrics)}
    for key, series in _whole_runs(store, state, ids, cut):
        steps: Steps = np.unique(np.concatenate([one.steps for one in series.values()]))
        at = {metric: np.searchsorted(steps, one.steps) for metric, one in series.items()}
        nothing = pa.nulls(len(steps), pa.float64())
        columns: list[pa.Array] = [nothing] * len(column_of)
        for metric, one in series.items():
            values: Floats = np.zeros(len(steps))
            absent = np.ones(len(steps), dtype=bool)
            values[at[metric]], absent[at[metric]] = one.values, False
            columns[column_of[metric]] = pa.array(values, mask=absent)
        size = [len(steps)]
        yield pa.table(
            [_repeated([key], size), _repeated([ids[key]], size), steps, *columns], schema=schema
        )


def _whole_runs(
    store: Store, state: State, ids: dict[str, str], cut: Cut
) -> Iterator[tuple[str, dict[str, Series]]]:
    """Each run with all its series, which stand together but may cross a row group's end."""
    current, series = "", dict[str, Series]()
    for found in _series(store, state, ids, cut):
        for key, metric, one in found:
            if key != current and series:
                yield current, series
                series = {}
            current = key
            series[metric] = one
    if series:
        yield current, series
