"""Parquet segments: runs and histories to tables and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, pairwise
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from scaling_cli.arrow import from_lists, from_numpy, from_texts, to_numpy
from scaling_cli.records import Run, Series
from scaling_cli.resolve import Final
from scaling_cli.store.digests import PORTION, fingerprint

ROW_GROUP = 512
IN_MEMORY = 128 << 20  # a segment is half of that unless one run alone is larger
STEPS_BYTES = 16 << 20  # of a row group's different steps; those beyond are kept as they come
_TEXTS = (
    "run_key",
    "run_id",
    "name",
    "source",
    "group",
    "status",
    "created_at",
    "revision",
    "config_json",
    "summary_json",
    "mapped_json",
    "notes_json",
    "mapping_json",
    "cursor",
)
_RUNS = pa.schema(
    [(name, pa.string()) for name in _TEXTS]
    + [
        ("tags", pa.list_(pa.string())),
        ("final_names", pa.list_(pa.string())),
        ("final_values", pa.list_(pa.float64())),
        ("has_history", pa.bool_()),
    ]
)

Row = tuple[Run, Final, str]


def _dump(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def revision(run: Run, final: Final, mapping_json: str) -> str:
    """A hash of what a run says and how it was read. Where its file lay does not matter."""
    texts = [
        run.run_key,
        run.run_id,
        run.name,
        run.group,
        run.status,
        run.created_at,
        run.tags,
        run.config,
        final.values,
        final.mapped,
        mapping_json,
    ]
    if run.cursor:  # most sources have none
        texts.append(run.cursor)
    digest = hashlib.sha256(_dump(texts).encode())
    for name in sorted(run.series):
        series = run.series[name]
        digest.update(_dump([name, len(series.steps)]).encode())
        digest.update(np.ascontiguousarray(series.steps, dtype="<i8").tobytes())
        digest.update(np.ascontiguousarray(series.values, dtype="<f8").tobytes())
    return digest.hexdigest()


def batches(rows: Sequence[Row], most_runs: int, most_points: int) -> Iterator[list[Row]]:
    batch: list[Row] = []
    points = 0
    for row in rows:
        size = sum(len(series.steps) for series in row[0].series.values())
        if batch and (len(batch) == most_runs or points + size > most_points):
            yield batch
            batch, points = [], 0
        batch.append(row)
        points += size
    if batch:
        yield batch


def runs_table(rows: Sequence[Row], mapping_json: str) -> pa.Table:
    texts = [
        {
            "run_key": run.run_key,
            "run_id": run.run_id,
            "name": run.name or run.run_id,
            "source": run.source,
            "group": run.group,
            "status": run.status,
            "created_at": run.created_at,
            "revision": rev,
            "config_json": json.dumps(run.config, default=str),
            "summary_json": json.dumps(final.summary),
            "mapped_json": json.dumps(final.mapped),
            "notes_json": json.dumps([note.to_json() for note in (*run.notes, *final.notes)]),
            "mapping_json": mapping_json,
            "cursor": run.cursor,
        }
        for run, final, rev in rows
    ]
    columns = {name: from_texts([text[name] for text in texts]) for name in _TEXTS}
    tags = [run.tags for run, _, _ in rows]
    finals = [final.values for _, final, _ in rows]
    values = np.array([value for final in finals for value in final.values()], dtype=np.float64)
    columns["tags"] = from_lists(tags, from_texts(list(chain.from_iterable(tags))))
    columns["final_names"] = from_lists(finals, from_texts(list(chain.from_iterable(finals))))
    columns["final_values"] = from_lists(finals, from_numpy(values))
    columns["has_history"] = from_numpy(np.array([bool(run.series) for run, _, _ in rows]))
    return pa.table(columns, schema=_RUNS)


def history_table(runs: Sequence[Run]) -> pa.Table:
    """A row a run and metric, by run_key and metric: its steps and values as little-endian bytes.

    As lists of numbers they would read four times slower, for the sake of each number's nesting.
    """
    found = [
        (run.run_key, name, series)
        for run in sorted(runs, key=lambda run: run.run_key)
        for name, series in sorted(run.series.items())
    ]
    sizes = np.array([len(series.steps) for _, _, series in found], dtype=np.int64)
    steps = np.concatenate([series.steps for _, _, series in found])
    values = np.concatenate([series.values for _, _, series in found])
    return pa.table(
        {
            "run_key": from_texts([key for key, _, _ in found]),
            "metric": from_texts([name for _, name, _ in found]),
            "step": _packed(steps.astype("<i8", copy=False), sizes),
            "value": _packed(values.astype("<f8", copy=False), sizes),
        }
    )


def _packed(numbers: NDArray[Any], sizes: NDArray[np.int64]) -> pa.BinaryArray:
    """The bytes of consecutive parts of these sizes."""
    ends = np.concatenate([[0], np.cumsum(sizes * numbers.itemsize)]).astype(np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(np.ascontiguousarray(numbers))]
    return pa.Array.from_buffers(pa.binary(), len(sizes), buffers)


def runs_content(table: pa.Table) -> pa.Buffer:
    """A file of runs."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        table, sink, compression="zstd", row_group_size=ROW_GROUP, write_page_checksum=True
    )
    return sink.getvalue()


def history_content(table: pa.Table) -> pa.Buffer:
    """A file of histories. LZ4 takes a quarter more room than zstd, and reads nearly twice as fast.
    Most metrics of a run share its steps, which a dictionary keeps and reads once."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="lz4",
        row_group_size=ROW_GROUP,
        use_dictionary=["run_key", "metric", "step"],
        dictionary_pagesize_limit=STEPS_BYTES,
        write_page_checksum=True,  # for readers that know no commit
    )
    return sink.getvalue()


def check_pages(file: Any) -> None:
    """Read a file, each page against its checksum; OSError where one does not agree."""
    pq.ParquetFile(file, page_checksum_verification=True).read()
    file.seek(0)


@contextmanager
def fingerprinted(file: Any) -> Iterator[tuple[str, Any]]:
    """The fingerprint of a file, and what to read of it: of all but the largest a copy in memory,
    so that they are fetched once."""
    size = file.size()
    if size <= IN_MEMORY:
        content = file.read_buffer(size)
        with pa.BufferReader(content) as copy:
            yield fingerprint([content]), copy
    else:
        portions = (file.read_buffer(PORTION) for _ in range(-(-size // PORTION)))
        found = fingerprint(portions)
        file.seek(0)
        yield found, file


def conformed_runs(table: pa.Table) -> pa.Table:
    """A runs table of this or an older version with the columns of this version."""
    columns = []
    for field in _RUNS:
        if field.name in table.column_names:
            column = table.column(field.name)
            # A cast loads pyarrow.compute, 0.1 s
            columns.append(column if column.type == field.type else column.cast(field.type))
        else:  # every column that a version has added is text, empty where there was none
            columns.append(from_texts([""] * len(table)))
    return pa.table(columns, schema=_RUNS)


def read_runs(file: BinaryIO) -> dict[str, list[Any]]:
    """Column -> its value for each run; `final` in place of the names and values that it has."""
    # Not pq.read_table, which loads pyarrow.dataset, a third of the time of `scalefit runs`
    columns: dict[str, list[Any]] = conformed_runs(pq.ParquetFile(file).read()).to_pydict()
    names, values = columns.pop("final_names"), columns.pop("final_values")
    columns["final"] = [dict(zip(n, v, strict=True)) for n, v in zip(names, values, strict=True)]
    columns["tags"] = [tuple(tags) for tags in columns["tags"]]
    return columns


def read_history(
    file: BinaryIO, keys: set[str], metrics: list[str] | None, into: dict[str, dict[str, Series]]
) -> None:
    """Add the series of `keys` in a segment to `into`."""
    wanted = None if metrics is None else set(metrics)
    for table in row_groups(file, keys):
        for key, name, series in each_series(table):
            if key in keys and (wanted is None or name in wanted):
                into[key][name] = series


def row_groups(
    file: BinaryIO, keys: Collection[str] | None = None, verified: bool = False
) -> Iterator[pa.Table]:
    """The row groups of a segment's histories that may hold any of `keys`, with `verified` held
    against their checksums. One at a time is a fifth faster than all: each fits into the cache."""
    metadata = pq.ParquetFile(file).metadata
    packed = metadata.schema.column(2).path == "step"  # lists of numbers in format 1
    parquet = pq.ParquetFile(
        file,
        metadata=metadata,
        read_dictionary=["step"] if packed else None,
        page_checksum_verification=verified,
    )
    for number in range(parquet.num_row_groups):
        group = parquet.metadata.row_group(number)
        if keys is None or _may_hold(group, keys):
            table = parquet.read_row_group(number)
            if verified and not all(_may_hold(group, {key}) for key in _keys(table)):
                raise ValueError("a row group's range of run keys is not that of its rows")
            yield table


def _keys(table: pa.Table) -> set[str]:
    return set(table.column("run_key").to_pylist())


def _may_hold(group: pq.RowGroupMetaData, keys: Collection[str]) -> bool:
    """Whether a row group's range of run keys has any of these."""
    found = group.column(0).statistics
    if found is None or not found.has_min_max:
        return True
    return any(found.min <= key <= found.max for key in keys)


def conformed_history(table: pa.Table) -> pa.Table:
    """A history of this or an older version as this version writes it; format 1 had lists."""
    for place, name in enumerate(table.column_names):
        if pa.types.is_list(table.schema.field(name).type):
            lists = table[name].combine_chunks()
            numbers, sizes = to_numpy(lists.flatten()), np.diff(to_numpy(lists.offsets))
            table = table.set_column(place, name, _packed(numbers, sizes.astype(np.int64)))
    return table


def each_series(table: pa.Table) -> Iterator[tuple[str, str, Series]]:
    """Run key, metric and points of each row of a history; the arrays are views of one buffer.

    Raises ValueError for a row that this program cannot have written.
    """
    for batch in conformed_history(table).to_batches():
        steps, values = (
            _unpacked(batch.column("step"), "<i8"),
            _unpacked(batch.column("value"), "<f8"),
        )
        if list(map(len, steps)) != list(map(len, values)):
            raise ValueError("a series has more steps than values, or fewer")
        run_keys, names = batch.column("run_key").to_pylist(), batch.column("metric").to_pylist()
        yield from zip(run_keys, names, map(Series, steps, values), strict=True)


def _unpacked(column: pa.Array, dtype: str) -> list[NDArray[Any]]:
    """The numbers of each row; rows of one dictionary entry share them."""
    if pa.types.is_dictionary(column.type):
        entries = _unpacked(column.dictionary, dtype)
        return [entries[number] for number in column.indices.to_pylist()]
    _, ends, content = column.buffers()
    offsets = np.frombuffer(ends, np.int32)[column.offset : column.offset + len(column) + 1]
    if np.any(offsets % 8):
        raise ValueError("a series is cut within a number")
    at = (offsets // 8).tolist()
    numbers = np.frombuffer(content if content is not None else b"", dtype, at[-1])
    return [numbers[i:j] for i, j in pairwise(at)]
