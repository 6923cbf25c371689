"""CSV and TSV."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from scaling_cli.adapters.base import BY_COLUMNS, Adapter
from scaling_cli.adapters.files import read_bytes, stem_of, suffix_of, utf16
from scaling_cli.adapters.settings import of_yaml
from scaling_cli.adapters.shapes import Column, RawTable, text_column
from scaling_cli.errors import InputError
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.records import Run
from scaling_cli.steps import is_even, own_rank

NAME = "csv"

_DELIMITERS = ",\t;|"
_MISSING = ("NA", "N/A", "n/a", "#N/A", "null", "NULL", "None", "none", "-", "<NA>")
_TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


def recognises(path: Path, head: bytes) -> bool:
    suffix = suffix_of(path)
    if suffix not in (".csv", ".tsv", ".txt", ".dat", ""):
        return False
    lines = head.decode("utf-8-sig", "replace").splitlines()
    if suffix in (".csv", ".tsv"):  # a damaged one too: that it cannot be read is then said
        return not (lines and lines[0].startswith("{"))
    if b"\0" in head:
        return False
    delimiter = _delimiter(lines[0]) if lines else ""
    widths = {len(_fields(line, delimiter)) for line in lines[:-1] if line} if delimiter else set()
    return len(lines) > 2 and len(widths) == 1


def read(path: Path, source: str, mapping: Mapping) -> Iterator[Run]:
    runs = _load(path, source).runs(mapping)
    if len(runs) == 1 and (beside := _hparams(path)):
        runs = [replace(runs[0], config=beside | runs[0].config)]
    yield from runs


def _beside(path: Path) -> list[Path]:
    return [path.with_name("hparams.yaml")] if path.name == "metrics.csv" else []


def _hparams(path: Path) -> dict[str, Any]:
    """The settings that Lightning's CSV logger keeps beside its `metrics.csv`."""
    beside = next(filter(Path.is_file, _beside(path)), None)
    if beside is None:
        return {}
    return of_yaml(read_bytes(beside, beside.as_posix()).decode("utf-8", "replace"))


def _fields(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:  # it is longer than any field may be, and so has other delimiters
        return [line]


def _delimiter(header: str) -> str:
    """The delimiter that parts the header into most fields, or nothing."""
    best = max(_DELIMITERS, key=lambda d: len(_fields(header, d)))
    return best if len(_fields(header, best)) > 1 else ""


def _load(path: Path, source: str) -> RawTable:
    import pyarrow as pa
    from pyarrow import csv as pacsv

    data = read_bytes(path, source)
    utf16(data, source)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(
            f"{source}: line {line} is not UTF-8 text", "Save the file as UTF-8."
        ) from error
    if not text.strip():
        raise InputError(f"{source} is empty", "Give a table with a header and a row a point.")
    text = text.lstrip("\r\n")
    if "\n" not in text:  # lines end as those of old Macs
        text = text.replace("\r", "\n")
    delimiter = _delimiter(text.split("\n", 1)[0].rstrip("\r")) or ","
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    try:
        header = [field.strip() for field in next(reader)]
    except csv.Error as error:
        raise InputError(
            f"{source} has a header that cannot be read: {error}", "Mend its first line."
        ) from None
    twice = sorted(n for n, count in Counter(header).items() if n and count > 1)
    if twice:
        raise InputError(
            f"{source}: column {twice[0]!r} stands twice in the header", "Rename one of the two."
        )
    names = [field or f"\0{i}" for i, field in enumerate(header)]
    body = text.encode()
    bad: list[tuple[int, int]] = []

    def skip(row: Any) -> str:
        bad.append((row.number or 0, row.actual_columns))
        return "skip"

    try:
        arrow = pacsv.read_csv(
            pa.BufferReader(body),
            read_options=pacsv.ReadOptions(
                use_threads=False,
                column_names=names,
                skip_rows_after_names=1,
                block_size=max(1 << 20, min(len(body) + 1, 1 << 28)),
            ),
            parse_options=pacsv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip
            ),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        raise InputError(f"{source} is not a table: {error}", "Mend the row it names.") from error
    notes = []
    rows = arrow.num_rows
    if bad:
        number, fields = bad[0]
        if len(bad) > 1 or number < rows + 2 or fields > len(header):
            raise InputError(
                f"{source}: row {number} has {fields} fields, the header has {len(header)}",
                "Mend that row, or quote the field that holds the delimiter.",
            )
        notes.append(Note.of("truncated", f"{source}: its last row is cut off and left out"))
    arrow, again = _without_headers(arrow, header)
    if again:
        rows = arrow.num_rows
        told = ", ".join(map(str, again[:3])) + (", ..." if len(again) > 3 else "")
        message = f"{source}: the header stands again in row {told}, as after a restart"
        notes.append(Note.of("header_again", message))
    if not rows:
        raise InputError(f"{source} has a header and no rows", "Give a table with a row a point.")
    if not header[0] and not any(own_rank(name) is not None for name in names):
        index = _typed(arrow.column(0).combine_chunks())
        if index.kind == "int" and _is_step(index):
            names[0] = "step"
            message = (
                f"{source}: its first column has no name and rises evenly, so it is taken for the"
                " step"
            )
            notes.append(Note.of("step_by_order", message))
    texts = {
        column: arrow.column(i).combine_chunks()
        for i, column in enumerate(names)
        if not column.startswith("\0")
    }
    return RawTable(NAME, source, stem_of(path), texts, rows, _typed, 2, notes)


def _is_step(index: Column) -> bool:
    """Whether what numbers the rows counts steps, and not the rows themselves."""
    values = index.values.astype(float)
    rows = len(values) > 1 and values[0] in (0, 1) and values[-1] - values[0] == len(values) - 1
    return bool(index.filled.all()) and not rows and is_even(values)


def _without_headers(arrow: Any, header: list[str]) -> tuple[Any, list[int]]:
    """The table without rows that repeat its header, and their numbers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from scaling_cli.arrow import from_texts

    named = [i for i, field in enumerate(header) if field]
    if not named:
        return arrow, []
    repeats = pc.is_in(arrow.column(named[0]), value_set=from_texts([header[named[0]]]))
    if not pc.any(repeats).as_py():
        return arrow, []
    for i in named[1:]:
        trimmed = pc.utf8_trim_whitespace(arrow.column(i))
        repeats = pc.and_(repeats, pc.is_in(trimmed, value_set=from_texts([header[i]])))
    chunks = repeats.combine_chunks() if isinstance(repeats, pa.ChunkedArray) else repeats
    rows = [i for i, repeated in enumerate(chunks.to_pylist()) if repeated]
    return (arrow.filter(pc.invert(repeats)), [row + 2 for row in rows]) if rows else (arrow, [])


def _typed(texts: Any) -> Column:
    import pyarrow as pa
    import pyarrow.compute as pc

    from scaling_cli.arrow import filled_rows, from_texts, to_numpy

    trimmed = pc.utf8_trim_whitespace(texts)
    for missing in (("",), ("", *_MISSING)):
        blank = pc.is_in(trimmed, value_set=from_texts(missing))
        kept = pc.if_else(blank, pa.nulls(1, pa.string())[0], trimmed)
        for kind, arrow_type in (("int", pa.int64()), ("float", pa.float64())):
            if kept.null_count == len(kept):
                break
            try:
                numbers = kept.cast(arrow_type)
            except pa.ArrowInvalid:
                continue
            filled = filled_rows(numbers)
            if kind == "int":
                return Column(kind, to_numpy(numbers, 0), filled)
            return Column(kind, to_numpy(numbers), filled)
    column = text_column(texts)
    if column.filled.any() and set(column.values[column.filled]) <= set(_TRUTH):
        column.values[:] = [_TRUTH.get(value) for value in column.values]
        return Column("bool", column.values, column.filled)
    return column


ADAPTER = Adapter(NAME, recognises, read, order=BY_COLUMNS, beside=_beside)
