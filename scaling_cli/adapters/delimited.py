"""CSV and TSV."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from scaling_cli.adapters.base import BY_COLUMNS, Adapter
from scaling_cli.adapters.files import download_of, read_bytes, stem_of, suffix_of, utf16
from scaling_cli.adapters.settings import files_beside
from scaling_cli.adapters.shapes import TELLS_RUNS, runs_of
from scaling_cli.adapters.tables import Column, RawTable, text_column
from scaling_cli.columns import COLUMNS
from scaling_cli.errors import InputError
from scaling_cli.losses import is_loss
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.quantities import counted
from scaling_cli.records import Run
from scaling_cli.steps import is_even, own_rank, step_names

NAME = "csv"

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan", re.IGNORECASE)
_LOGGED = re.compile(r"[=:]\s*[-+]?\d|\d[%\])]")  # in a line of a log, and in no header
_SHOWN = 64  # rows that tell how a table is parted
_TELLING = 4  # rows that mostly tell a history
_LONGEST = 1 << 24  # bytes of a line; a packed one of 400 MB took 2.4 GB to be refused
_DELIMITERS = ",\t;|"
_DOWNLOAD = {"Wall time", "Step", "Value"}  # of a table that TensorBoard's page saved
_MISSING = ("NA", "N/A", "n/a", "#N/A", "null", "NULL", "None", "none", "-", "<NA>")
_TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


def recognises(path: Path, head: bytes) -> bool:
    suffix = suffix_of(path)
    if suffix not in (".csv", ".tsv", ".txt", ".dat", ""):
        return False
    text = head.decode("utf-8-sig", "replace")
    lines = (_without_comments(text)[0] if text.startswith("#") else text).splitlines()
    if suffix in (".csv", ".tsv"):  # a damaged one too: that it cannot be read is then said
        return not (lines and lines[0].startswith("{"))
    if b"\0" in head or (lines and _LOGGED.search(lines[0])):
        return False
    if _by_blanks(lines[:-1]):
        return True
    delimiter = _delimiter(lines[0]) if lines else ""
    widths = {len(_fields(line, delimiter)) for line in lines[:-1] if line} if delimiter else set()
    return len(lines) > 2 and len(widths) == 1


def read(path: Path, source: str, mapping: Mapping) -> Iterator[Run]:
    table = _load(path, source)
    if table.arrays.keys() == _DOWNLOAD:
        table.stem, metric = download_of(path)
        table.arrays[metric] = table.arrays.pop("Value")
        del table.arrays["Wall time"]
    yield from runs_of(table, mapping)


def _fields(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:  # it is longer than any field may be, and so has other delimiters
        return [line]


def _delimiter(header: str) -> str:
    """The delimiter that parts the header into most fields, or nothing."""
    best = max(_DELIMITERS, key=lambda d: len(_fields(header, d)))
    return best if len(_fields(header, best)) > 1 else ""


def _by_blanks(lines: Sequence[str]) -> bool:
    """Whether words above rows of as many numbers are a table whose columns blanks part."""
    header, *rows = [line.split() for line in lines if line.strip()] or [[]]
    words = len(header) > 1 and not any(map(_NUMBER.fullmatch, header))
    numbers = all(
        len(row) == len(header) and all(map(_NUMBER.fullmatch, row)) for row in rows[:_SHOWN]
    )
    return words and len(rows) > 1 and numbers


def _load(path: Path, source: str) -> RawTable:
    text = _text(read_bytes(path, source), source)
    notes: list[Note] = []
    text, above = _without_comments(text)
    text = _without_remarks(text, source, notes)
    if not text.strip():
        raise InputError(f"{source} is empty", "Give a table with a header and a row a point.")
    if _by_blanks(text.split("\n", _SHOWN)[:_SHOWN]):
        text = "\n".join(",".join(line.split()) for line in text.split("\n"))
    delimiter = _delimiter(text.split("\n", 1)[0].rstrip("\r")) or ","
    header = _header(text, delimiter, source)
    tables: list[Any] = []
    starts = [0]
    for part in _parts(text, header, delimiter):
        names = header if not tables else _header(part, delimiter, source)
        tables.append(_parsed(part, names, delimiter, source, notes))
        starts.append(starts[-1] + part.count("\n"))
    arrow = _one(tables)
    if len(tables) > 1:
        rows = ", ".join(str(start + 1) for start in starts[1:-1])
        message = f"{source}: a header with other columns stands in row {rows}, as after a restart"
        notes.append(Note.of("header_again", message))
    arrow, again = _without_headers(arrow, arrow.column_names if len(tables) > 1 else header)
    if again:
        told = ", ".join(str(row + above) for row in again[:3]) + ", ..." * (len(again) > 3)
        message = f"{source}: the header stands again in row {told}, as after a restart"
        notes.append(Note.of("header_again", message))
    if not arrow.num_rows:
        raise InputError(f"{source} has a header and no rows", "Give a table with a row a point.")
    texts = {name: arrow.column(name).combine_chunks() for name in arrow.column_names}
    texts = _with_index(texts, source, notes)
    return RawTable(NAME, source, stem_of(path), texts, arrow.num_rows, _typed, 2 + above, notes)


def _text(data: bytes, source: str) -> str:
    utf16(data, source)
    for at in range(0, len(data) - _LONGEST, _LONGEST):
        if not any(end in data[at : at + _LONGEST] for end in (b"\n", b"\r")):
            raise InputError(
                f"{source} has a line of more than {_LONGEST >> 20} MiB, which no table has",
                "Leave it out, if it is none; else write a row a line.",
            )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(
            f"{source}: line {line} is not UTF-8 text", "Save the file as UTF-8."
        ) from error
    text = text.lstrip("\r\n")
    return text if "\n" in text else text.replace("\r", "\n")  # lines end as those of old Macs


def _without_comments(text: str) -> tuple[str, int]:
    """The text behind the lines of remarks (`# run of 30M`) that stand above it, and how many. One
    whose fields are as many as those of the row below is the header."""
    above = 0
    while text.startswith("#"):
        line, _, rest = text.partition("\n")
        below = rest.split("\n", 1)[0]
        delimiter = _delimiter(line)
        if not rest or (
            delimiter and len(_fields(line, delimiter)) == len(_fields(below, delimiter))
        ):
            break
        text, above = rest, above + 1
    return text, above


def _without_remarks(text: str, source: str, notes: list[Note]) -> str:
    """The text without remarks (`# restarted`) between its rows; the table has none of its own."""
    if "\n#" not in text or text.startswith("#"):
        return text
    lines = text.split("\n")
    remarks = [line for line in lines if line.startswith("#")]
    if 4 * len(remarks) > len(lines):
        return text
    message = (
        f"{source}: {counted(len(remarks), 'remark')} between rows left out: {remarks[0][:60]}"
    )
    notes.append(Note.of("remarks_left_out", message))
    return "\n".join(line for line in lines if not line.startswith("#"))


def _header(text: str, delimiter: str, source: str) -> list[str]:
    try:
        reader = csv.reader(io.StringIO(text), delimiter=delimiter)
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
    return header


def _parts(text: str, header: list[str], delimiter: str) -> list[str]:
    """The text, parted where a header with other columns stands in it: a restart that logs more."""
    if not header[0] or text.count(f"\n{header[0]}{delimiter}") == 0:
        return [text]
    parts, begin, place = [], 0, 0
    while (place := text.find(f"\n{header[0]}{delimiter}", place) + 1) > 0:
        end = text.find("\n", place)
        fields = [f.strip() for f in _fields(text[place : end if end > 0 else None], delimiter)]
        shared = len(set(fields) & set(header))
        if (
            fields != header
            and not any(map(_NUMBER.fullmatch, fields))
            and 2 * shared > min(len(header), len(fields))
        ):
            parts.append(text[begin:place])
            begin, header = place, fields
    return [*parts, text[begin:]]


def _one(tables: Sequence[Any]) -> Any:
    import pyarrow as pa

    return tables[0] if len(tables) == 1 else pa.concat_tables(tables, promote_options="default")


def _parsed(text: str, header: list[str], delimiter: str, source: str, notes: list[Note]) -> Any:
    """The rows below a header as texts; of a last one that is cut off a note is added."""
    import pyarrow as pa
    from pyarrow import csv as pacsv

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
    if bad:
        number, fields = bad[0]
        if len(bad) > 1 or number < arrow.num_rows + 2 or fields > len(header):
            raise InputError(
                f"{source}: row {number} has {fields} fields, the header has {len(header)}",
                "Mend that row, or quote the field that holds the delimiter.",
            )
        notes.append(Note.of("truncated", f"{source}: its last row is cut off and left out"))
    return arrow


def _with_index(texts: dict[str, Any], source: str, notes: list[Note]) -> dict[str, Any]:
    """The named columns, and a first one without a name if it is what counts the steps."""
    named = {name: column for name, column in texts.items() if not name.startswith("\0")}
    if "\x000" not in texts or any(own_rank(name) is not None for name in named):
        return named
    index = _typed(texts["\x000"])
    if index.kind != "int" or not _is_step(index):
        return named
    message = (
        f"{source}: its first column has no name and rises evenly, so it is taken for the step"
    )
    notes.append(Note.of("step_by_order", message))
    return {"step": texts["\x000"], **named}


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

    from scaling_cli.arrow import from_texts

    column = _numbers(texts)  # as they stand, which most do: a third of the time
    trimmed = None if column else pc.utf8_trim_whitespace(texts)
    for missing in () if column else (("",), ("", *_MISSING)):
        blank = pc.is_in(trimmed, value_set=from_texts(missing))
        column = column or _numbers(pc.if_else(blank, pa.nulls(1, pa.string())[0], trimmed))
    if column:
        return column
    column = text_column(texts)
    if column.filled.any() and set(column.values[column.filled]) <= set(_TRUTH):
        column.values[:] = [_TRUTH.get(value) for value in column.values]
        return Column("bool", column.values, column.filled)
    return column


def _numbers(texts: Any) -> Column | None:
    """The numbers that all of the texts write that are there; None where they write none."""
    import pyarrow as pa

    from scaling_cli.arrow import filled_rows, to_numpy

    first = next((text.as_py() for text in texts if text.is_valid), None)
    if first is None:
        return None
    for kind, arrow_type, missing in (("int", pa.int64(), 0), ("float", pa.float64(), np.nan)):
        if kind == "int" and "." in first:
            continue  # to fail at a thousand texts takes twenty times as long as to read them
        try:
            numbers = texts.cast(arrow_type)
        except pa.ArrowInvalid:
            continue
        return Column(kind, to_numpy(numbers, missing), filled_rows(numbers))
    return None


def shows_history(head: bytes, mapping: Mapping) -> bool:
    """Whether the first rows are steps of one run beyond doubt, as most files' are: numbers below
    a header that names a step and a loss, both of which differ from row to row, and no run."""
    rows = head.decode("utf-8-sig", "replace").split("\n", _TELLING + 1)[: _TELLING + 1]
    cells = [[cell.strip() for cell in _fields(row, ",")] for row in rows]
    header, *below = cells
    named = step_names(header, None)
    if "step" in mapping.columns or mapping.id is not None or not named or len(below) < _TELLING:
        return False
    alike = {name.lower().replace(" ", "_") for name in header}
    if len(set(header)) < len(header) or alike & TELLS_RUNS or "" in alike:
        return False
    if any(len(row) != len(header) or not all(map(_NUMBER.fullmatch, row)) for row in below):
        return False
    columns = dict(zip(header, zip(*below, strict=True), strict=True))
    losses = [len(set(column)) > 1 for name, column in columns.items() if is_loss(name)]
    sizes = [set(columns[name]) for name in COLUMNS["params"].names if name in columns]
    counts = [float(text) for text in columns[named[0]]]
    rising = all(a < b and b.is_integer() for a, b in pairwise([-1.0, *counts]))
    return rising and any(losses) and all(len(size) == 1 for size in sizes)


ADAPTER = Adapter(
    NAME, recognises, read, order=BY_COLUMNS, shows_history=shows_history, beside=files_beside
)
