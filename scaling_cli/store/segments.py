"""Parquet segments: runs and histories to tables and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scaling_cli.records import Run, Series
from scaling_cli.resolve import Final

ROW_GROUP = 512
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
    records = [
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
            "tags": list(run.tags),
            "final_names": list(final.values),
            "final_values": list(final.values.values()),
            "has_history": bool(run.series),
        }
        for run, final, rev in rows
    ]
    return pa.Table.from_pylist(records, schema=_RUNS)


def history_table(runs: Sequence[Run]) -> pa.Table:
    found = [
        (run.run_key, name, series)
        for run in sorted(runs, key=lambda run: run.run_key)
        for name, series in sorted(run.series.items())
    ]
    sizes = np.array([len(series.steps) for _, _, series in found], dtype=np.int64)
    offsets = pa.array(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32))
    steps = np.concatenate([series.steps for _, _, series in found])
    values = np.concatenate([series.values for _, _, series in found])
    return pa.table(
        {
            "run_key": pa.array([key for key, _, _ in found], pa.string()),
            "metric": pa.array([name for _, name, _ in found], pa.string()),
            "step": pa.ListArray.from_arrays(offsets, pa.array(steps, pa.int64())),
            "value": pa.ListArray.from_arrays(offsets, pa.array(values, pa.float64())),
        }
    )


def write(table: pa.Table, file: BinaryIO) -> None:
    """Pages carry checksums: `verify` finds a flipped bit, and they cost nothing to speak of."""
    pq.write_table(
        table, file, compression="zstd", row_group_size=ROW_GROUP, write_page_checksum=True
    )


def conformed(table: pa.Table) -> pa.Table:
    """A runs table of this or an older version with the columns of this version."""
    columns = []
    for field in _RUNS:
        if field.name in table.column_names:
            columns.append(table.column(field.name).cast(field.type))
        else:  # every column that a version has added is text, empty where there was none
            columns.append(pa.array([""] * len(table), field.type))
    return pa.table(columns, schema=_RUNS)


def read_runs(file: BinaryIO) -> list[dict[str, Any]]:
    columns = conformed(pq.read_table(file, schema=None)).to_pydict()
    names, values = columns.pop("final_names"), columns.pop("final_values")
    columns["final"] = [dict(zip(n, v, strict=True)) for n, v in zip(names, values, strict=True)]
    columns["tags"] = [tuple(tags) for tags in columns["tags"]]
    keys = list(columns)
    return [dict(zip(keys, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def read_history(
    file: BinaryIO, keys: set[str], metrics: list[str] | None, into: dict[str, dict[str, Series]]
) -> None:
    """Add the series of `keys` in a segment to `into`; the arrays are views of one buffer."""
    chosen = [("run_key", "in", sorted(keys))]
    if metrics is not None:
        chosen.append(("metric", "in", metrics))
    table = pq.read_table(file, filters=chosen)
    for batch in table.to_batches():
        for key, name, series in each_series(batch):
            into[key][name] = series


def each_series(batch: pa.RecordBatch) -> Iterator[tuple[str, str, Series]]:
    """Run key, metric and points of each row of a history."""
    steps, values = batch.column("step"), batch.column("value")
    all_steps = steps.values.to_numpy(zero_copy_only=False)
    all_values = values.values.to_numpy(zero_copy_only=False)
    step_at, value_at = steps.offsets.to_numpy(), values.offsets.to_numpy()
    run_keys, names = batch.column("run_key").to_pylist(), batch.column("metric").to_pylist()
    for i, (key, name) in enumerate(zip(run_keys, names, strict=True)):
        yield (
            key,
            name,
            Series(
                all_steps[step_at[i] : step_at[i + 1]], all_values[value_at[i] : value_at[i + 1]]
            ),
        )
