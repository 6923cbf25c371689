"""Parquet in the shapes of `shapes.py`, and the dumps of neptune-exporter.

Neptune's service ended in March 2026; its exporter wrote each run as
`<project>/<run>_part_<n>.parquet`, a row for each value, with the type telling which of the value
columns holds it (github.com/neptune-ai/neptune-exporter).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling_cli.adapters.base import BY_SIGNATURE, Adapter
from scaling_cli.adapters.building import make_run, whole_steps
from scaling_cli.adapters.files import Found, read_bytes, stem_of, suffix_of
from scaling_cli.adapters.shapes import runs_of
from scaling_cli.adapters.tables import RawTable, one_array, typed_column
from scaling_cli.errors import InputError
from scaling_cli.notes import Note

if TYPE_CHECKING:
    from pathlib import Path

    from scaling_cli.mapping import Mapping
    from scaling_cli.records import Run

NAME = "parquet"

_MAGIC = b"PAR1"
_DEPTH = 16  # of structs in structs
# A run-length code can claim any number of rows in a few bytes; a table of decoded cells larger
# than this, and than so many times the file, is refused.
_CELL_BYTES, _ALWAYS_ALLOWED, _MOST_TIMES = 8, 1 << 30, 250
_PART = re.compile(r"_part_\d+$")
_NEPTUNE = {"run_id", "attribute_path", "attribute_type", "step", "float_value"}
_NEPTUNE_SETTINGS = ("float_value", "int_value", "string_value", "bool_value", "string_set_value")


def recognises(path: Path, head: bytes) -> bool:
    return head.startswith(_MAGIC) or suffix_of(path) == ".parquet"


def read_together(files: Sequence[Found], mapping: Mapping) -> Iterator[Run | Note]:
    parts: dict[Any, list[Found]] = {}
    for found in files:
        parts.setdefault(found.path.with_name(_PART.sub("", stem_of(found.path))), []).append(found)
    for together in parts.values():
        try:
            yield from _runs(together, mapping)
        except InputError as error:
            if not together[0].walked:
                raise
            yield Note.of("unreadable", f"{error.what} (left out)")


def _runs(parts: Sequence[Found], mapping: Mapping) -> Iterator[Run]:
    import pyarrow as pa

    source = parts[0].source
    tables = [_load(found) for found in parts]
    if any(len(set(table.column_names)) < len(table.column_names) for table in tables):
        raise InputError(f"{source} has a column twice", "Rename one of the two.")
    if len(tables) > 1 and not all(set(table.column_names) >= _NEPTUNE for table in tables):
        for found in parts:
            yield from _runs([found], mapping)
        return
    try:
        table = pa.concat_tables(tables).combine_chunks()
        arrays = {
            column: one_array(table.column(column))
            for column in table.column_names
            if not column.startswith("__index_level_")  # pandas' row numbers
        }
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowCapacityError) as error:
        raise InputError(f"{source} cannot be read: {error}", "Write it again.") from error
    if not table.num_rows:
        raise InputError(f"{source} has no rows", "Give a table with a row a point.")
    made = RawTable(NAME, source, stem_of(parts[0].path), arrays, table.num_rows, typed_column)
    yield from _neptune(made) if set(arrays) >= _NEPTUNE else runs_of(made, mapping)


def _load(found: Found) -> Any:
    """The file as a table without nested columns, but for lists."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        data = pa.BufferReader(read_bytes(found.path, found.source))
        with parquet.ParquetFile(data) as file:
            cells = file.metadata.num_rows * file.metadata.num_columns
            if cells * _CELL_BYTES > max(_ALWAYS_ALLOWED, _MOST_TIMES * data.size()):
                raise InputError(
                    f"{found.source} claims {cells:,} cells in {data.size():,} bytes",
                    "Write it again without what repeats, or as several files.",
                )
            table = file.read(use_threads=False)
        for _ in range(_DEPTH):
            if not any(pa.types.is_struct(field.type) for field in table.schema):
                break
            table = table.flatten()
    except (pa.ArrowException, OSError, ValueError) as error:
        told = str(error).partition("\n")[0]
        raise InputError(
            f"{found.source} is no whole Parquet file: {told}", "Copy it again."
        ) from None
    return table


def _neptune(table: RawTable) -> Iterator[Run]:
    """A row for each value: of a series where there is a step, else a setting."""
    ids, names = table.labels("run_id"), table.labels("attribute_path")
    kinds, step = table.labels("attribute_type"), table["step"]
    wanted = kinds.names.index("float_series") if "float_series" in kinds.names else -1
    is_point = step.filled & (kinds.code == wanted)
    numbers = np.where(is_point, step.values, 0).astype(np.float64)
    steps = whole_steps(numbers, table.place)
    order, bounds = ids.grouped
    for code, run_id in enumerate(ids.names):
        rows = order[bounds[code] : bounds[code + 1]]
        settings = {}
        for row in rows[~step.filled[rows]].tolist():
            cells = (table[c].cell(row) for c in _NEPTUNE_SETTINGS if c in table.arrays)
            value = next((cell for cell in cells if cell is not None), None)
            if value is not None:
                settings[names.names[names.code[row]]] = value
        rows = rows[is_point[rows]]
        rows = rows[np.argsort(names.code[rows], kind="stable")]
        metrics, begin = np.unique(names.code[rows], return_index=True)
        points = {
            names.names[metric]: (steps[held], table["float_value"].values[held])
            for metric, held in zip(metrics.tolist(), np.split(rows, begin[1:]), strict=True)
        }
        title = settings.get("sys/name")
        config = settings | ({"name": title} if title else {})
        config |= {"tags": settings["sys/tags"]} if "sys/tags" in settings else {}
        yield make_run(table.adapter, run_id, table.source, config, points)


ADAPTER = Adapter(NAME, recognises, read_together=read_together, order=BY_SIGNATURE)
