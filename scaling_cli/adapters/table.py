"""CSV and TSV in the shapes that people keep runs in; the shape is told from the columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from scaling_cli.adapters.building import STEP_NAMES, constants_to_config, make_run, whole_steps
from scaling_cli.adapters.files import read_bytes, stem_of, suffix_of
from scaling_cli.columns import COLUMNS
from scaling_cli.errors import InputError
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.records import Run

name = "csv"

_DELIMITERS = ",\t;|"
_ID_NAMES = ("run_id", "runid", "run", "run_name", "id", "name", "experiment")
_METRIC_NAMES = ("metric", "tag", "metric_name", "key", "variable", "name")
_VALUE_NAMES = ("value", "metric_value")
_MISSING = ("NA", "N/A", "n/a", "#N/A", "null", "NULL", "None", "none", "-", "<NA>")
_TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_EXTREMES = ("__MIN", "__MAX")


def recognises(path: Path, head: bytes) -> bool:
    suffix = suffix_of(path)
    if suffix not in (".csv", ".tsv", ".txt", ".dat", "") or b"\0" in head:
        return False
    lines = head.decode("utf-8-sig", "replace").splitlines()
    if suffix in (".csv", ".tsv"):
        return not (lines and lines[0].startswith("{"))
    delimiter = _delimiter(lines[0]) if lines else ""
    widths = {len(_fields(line, delimiter)) for line in lines[:-1] if line} if delimiter else set()
    return len(lines) > 2 and len(widths) == 1


def read(path: Path, source: str, mapping: Mapping) -> Iterator[Run]:
    table = _load(path, source)
    runs = list(_runs(table, mapping))
    if table.notes and runs:
        runs[0] = replace(runs[0], notes=(*table.notes, *runs[0].notes))
    yield from runs


@dataclass
class _Column:
    """A column by type: numbers as float64 with NaN where empty, else objects with None."""

    kind: str  # int | float | bool | text
    values: Any
    filled: Any  # bool[n]: the cell holds something

    def cell(self, row: int) -> Any:
        if not self.filled[row]:
            return None
        value = self.values[row]
        if self.kind == "int":
            return int(value)
        return float(value) if self.kind == "float" else value

    @property
    def numeric(self) -> bool:
        return self.kind in ("int", "float")


@dataclass
class _Table:
    source: str
    stem: str
    texts: dict[str, Any]  # name -> pyarrow string array, in file order
    rows: int
    notes: list[Note] = field(default_factory=list)
    typed: dict[str, _Column] = field(default_factory=dict)

    def __getitem__(self, name: str) -> _Column:
        if name not in self.typed:
            self.typed[name] = _typed(self.texts[name])
        return self.typed[name]

    def text(self, name: str) -> list[str]:
        return [value or "" for value in self.texts[name].to_pylist()]

    def named(self, names: Sequence[str]) -> str | None:
        """The first of `names` that is a column, in whatever case."""
        plain = {column.strip().lower().replace(" ", "_"): column for column in self.texts}
        return next((plain[n] for n in (n.lower() for n in names) if n in plain), None)

    def place(self, row: int) -> str:
        return f"{self.source}: row {row + 2}"


def _fields(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])


def _delimiter(header: str) -> str:
    """The delimiter that parts the header into most fields, or nothing."""
    best = max(_DELIMITERS, key=lambda d: len(_fields(header, d)))
    return best if len(_fields(header, best)) > 1 else ""


def _load(path: Path, source: str) -> _Table:
    import pyarrow as pa
    from pyarrow import csv as pacsv

    data = read_bytes(path, source)
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
    delimiter = _delimiter(text.split("\n", 1)[0].rstrip("\r")) or ","
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    header = [field.strip() for field in next(reader)]
    twice = sorted({n for n in header if n and header.count(n) > 1})
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
        notes.append(
            Note("truncated", "warning", f"{source}: its last row is cut off and left out")
        )
    if not rows:
        raise InputError(f"{source} has a header and no rows", "Give a table with a row a point.")
    texts = {
        name: arrow.column(i).combine_chunks()
        for i, name in enumerate(names)
        if not name.startswith("\0")
    }
    return _Table(source, stem_of(path), texts, rows, notes)


def _typed(texts: Any) -> _Column:
    import pyarrow as pa
    import pyarrow.compute as pc

    trimmed = pc.utf8_trim_whitespace(texts)
    for missing in (("",), ("", *_MISSING)):
        blank = pc.is_in(trimmed, value_set=pa.array(missing))
        kept = pc.if_else(blank, pa.scalar(None, pa.string()), trimmed)
        for kind, arrow_type in (("int", pa.int64()), ("float", pa.float64())):
            if kept.null_count == len(kept):
                break
            try:
                numbers = kept.cast(arrow_type)
            except pa.ArrowInvalid:
                continue
            filled = np.asarray(numbers.is_valid())
            if kind == "int":
                return _Column(kind, numbers.fill_null(0).to_numpy(False), filled)
            return _Column(kind, numbers.to_numpy(zero_copy_only=False), filled)
    values = np.empty(len(texts), dtype=object)
    values[:] = texts.to_pylist()
    filled = np.asarray(texts.is_valid())
    if filled.any() and set(values[filled]) <= set(_TRUTH):
        values[:] = [_TRUTH.get(value) for value in values]
        return _Column("bool", values, filled)
    return _Column("text", values, filled)


def _runs(table: _Table, mapping: Mapping) -> Iterator[Run]:
    step = _step_column(table, mapping)
    if _is_chart_export(table):
        yield from _chart_export(table)
        return
    metric, value = table.named(_METRIC_NAMES), table.named(_VALUE_NAMES)
    run_id = _id_column(table, mapping, metric if value else None)
    if step and metric and value and metric != run_id and table[value].numeric:
        yield from _long(table, run_id, step, metric, value)
        return
    if run_id is None:
        if step and _is_history(table, step):
            yield from _histories(table, None, [table.stem] * table.rows, step)
        else:
            width = len(str(table.rows))
            ids = [f"{table.stem}-{row + 1:0{width}}" for row in range(table.rows)]
            yield from _rows(table, None, ids)
        return
    ids = table.text(run_id)
    if not all(ids):
        row = ids.index("")
        raise InputError(
            f"{table.place(row)} has no {run_id}",
            'Fill it in, or name another column in the mapping: [run] id = "..."',
        )
    if len(set(ids)) == table.rows:
        yield from _rows(table, run_id, ids)
    elif step and len(set(zip(ids, table[step].values.tolist(), strict=True))) > len(set(ids)):
        yield from _histories(table, run_id, ids, step)
    else:
        yield from _repeated_rows(table, run_id, ids, step)


def _step_column(table: _Table, mapping: Mapping) -> str | None:
    mapped = mapping.columns.get("step", "")
    for candidate in (mapped, *STEP_NAMES):
        if candidate in table.texts and table[candidate].numeric:
            return candidate
    return None


def _id_column(table: _Table, mapping: Mapping, metric: str | None) -> str | None:
    if mapping.id is not None:
        wanted = (mapping.id, mapping.id.removeprefix("config."))
        found = next((n for n in wanted if n in table.texts), None)
        if found is not None:
            return found
        message = f"{table.source}: has no column {mapping.id!r} for [run] id"
        table.notes.append(Note("no_id_column", "warning", message))
    for candidate in _ID_NAMES:
        column = table.named((candidate,))
        if column is None or column == metric:
            continue
        if candidate in ("run_id", "runid"):
            return column
        # A column `run` or `name` may also count repeats; it names runs if its values differ,
        # or if a step parts the rows of one value.
        unique = len(set(table.text(column))) == table.rows
        if unique or table.named(STEP_NAMES) is not None:
            return column
    return None


def _is_history(table: _Table, step: str) -> bool:
    """Whether the rows of a table without run ids are the points of one run."""
    for size in ("params", *COLUMNS["params"].aliases):
        if size in table.texts and len(set(table.text(size))) > 1:
            return False
    column = table[step]
    return len(np.unique(column.values[column.filled])) * 2 > int(column.filled.sum())


def _rows(table: _Table, run_id: str | None, ids: Sequence[str]) -> Iterator[Run]:
    """One row a run: every other column is a config key."""
    columns = [(column, table[column]) for column in table.texts if column != run_id]
    for row, identity in enumerate(ids):
        cells = {column: values.cell(row) for column, values in columns}
        config = {_config_key(c): value for c, value in cells.items() if value is not None}
        yield make_run(name, identity, table.source, config, {})


def _config_key(column: str) -> str:
    for prefix in ("config.", "config/"):
        if column.startswith(prefix) and len(column) > len(prefix):
            return column[len(prefix) :]
    return column


def _repeated_rows(
    table: _Table, run_id: str, ids: Sequence[str], step: str | None
) -> Iterator[Run]:
    """Rows that share a run but no step parts them: the tokens do, or they are repeats of it."""
    tokens = next((n for n in ("tokens", *COLUMNS["tokens"].aliases) if n in table.texts), None)
    if step is None and tokens is not None and table[tokens].numeric:
        pairs = set(zip(ids, table[tokens].values.tolist(), strict=True))
        if len(pairs) == table.rows:
            message = (
                f"{table.source}: it has no step column, so the points are numbered by {tokens}"
            )
            table.notes.append(Note("no_step_column", "warning", message))
            yield from _histories(table, run_id, ids, None, tokens)
            return
    last = {identity: row for row, identity in enumerate(ids)}
    loss = next((n for n in ("loss", *COLUMNS["loss"].aliases) if n in table.texts), None)
    for row, identity in enumerate(ids):
        kept = last[identity]
        if step is None and loss and table[loss].cell(row) != table[loss].cell(kept):
            raise InputError(
                f"{table.source}: run {identity!r} stands in rows {row + 2} and {kept + 2} with"
                f" different {loss}, and no column tells the step",
                "Add a step column, or make the run ids differ.",
            )
    message = f"{table.source}: {table.rows - len(last)} rows repeat a run; its last row counts"
    table.notes.append(Note("repeated_runs", "warning", message))
    kept_rows = {run.run_id: run for run in _rows(table, run_id, ids)}
    yield from kept_rows.values()


def _histories(
    table: _Table,
    run_id: str | None,
    ids: Sequence[str],
    step: str | None,
    order_by: str | None = None,
) -> Iterator[Run]:
    """Rows are points of runs."""
    ids = _part_by_group(table, run_id, ids, step)
    if step is None:
        steps, has_step = _numbered(ids, table[str(order_by)].values), np.ones(table.rows, bool)
    else:
        has_step = table[step].filled
        numbers = np.where(has_step, table[step].values, 0).astype(np.float64)
        steps = whole_steps(numbers, table.place)
    if not has_step.all():
        message = f"{table.source}: {int((~has_step).sum())} rows have no {step} and are left out"
        table.notes.append(Note("rows_without_step", "warning", message))
    names, first, codes = np.unique(np.asarray(ids), return_index=True, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(len(names) + 1))
    columns = {c: table[c] for c in table.texts if c not in (run_id, step)}
    left_out: dict[str, None] = {}
    runs = []
    for code in np.argsort(first):
        rows = order[bounds[code] : bounds[code + 1]]
        rows = rows[has_step[rows]]
        if not len(rows):
            continue
        config: dict[str, Any] = {}
        points = {}
        for column, cells in columns.items():
            held = rows[cells.filled[rows]]
            if not len(held):
                continue
            if not cells.numeric or _config_key(column) != column:
                if len(set(cells.values[held].tolist())) == 1:
                    config[_config_key(column)] = cells.cell(int(held[-1]))
                    continue
                if cells.kind == "text":
                    left_out[column] = None
                    continue
            points[column] = (steps[held], cells.values[held].astype(np.float64))
        runs.append(make_run(name, str(names[code]), table.source, config, points))
    if left_out:
        message = (
            f"{table.source}: text that changes within a run is left out: {', '.join(left_out)}"
        )
        table.notes.append(Note("text_left_out", "info", message))
    yield from constants_to_config(runs)


def _part_by_group(
    table: _Table, run_id: str | None, ids: Sequence[str], step: str | None
) -> Sequence[str]:
    """Tables give one run's points once for each evaluation, told apart by their group only."""
    group = table.named(("group",))
    if group is None or run_id is None or step is None or group == run_id:
        return ids
    points = list(zip(ids, table[step].values.tolist(), strict=True))
    groups = table.text(group)
    whole = set(zip(points, groups, strict=True))
    if len(set(points)) == table.rows or len(whole) != table.rows:
        return ids
    held: dict[str, set[str]] = {}
    for identity, value in zip(ids, groups, strict=True):
        held.setdefault(identity, set()).add(value)
    message = f"{table.source}: runs that repeat their steps in several {group}s are parted by it"
    table.notes.append(Note("parted_by_group", "info", message))
    return [
        f"{identity}/{value}" if len(held[identity]) > 1 else identity
        for identity, value in zip(ids, groups, strict=True)
    ]


def _numbered(ids: Sequence[str], order_by: Any) -> Any:
    """1, 2, ... within each run in rising order of a column."""
    steps = np.empty(len(ids), dtype=np.int64)
    count: dict[str, int] = {}
    for row in np.argsort(order_by, kind="stable"):
        count[ids[row]] = steps[row] = count.get(ids[row], 0) + 1
    return steps


def _long(table: _Table, run_id: str | None, step: str, metric: str, value: str) -> Iterator[Run]:
    """Rows are (run, step, metric, value)."""
    ids = table.text(run_id) if run_id else [table.stem] * table.rows
    metrics = table.text(metric)
    values = table[value]
    usable = table[step].filled & values.filled
    steps = whole_steps(np.where(usable, table[step].values, 0).astype(np.float64), table.place)
    rows: dict[str, dict[str, list[int]]] = {}
    for row in np.flatnonzero(usable).tolist():
        rows.setdefault(ids[row], {}).setdefault(metrics[row], []).append(row)
    others = [c for c in table.texts if c not in (run_id, step, metric, value)]
    runs = []
    for identity, found in rows.items():
        points = {n: (steps[r], values.values[r].astype(np.float64)) for n, r in found.items() if n}
        held = [row for r in found.values() for row in r]
        config = {}
        for column in others:
            cells = {table[column].cell(row) for row in held} - {None}
            if len(cells) == 1:
                config[_config_key(column)] = cells.pop()
        runs.append(make_run(name, identity, table.source, config, points))
    yield from runs


def _chart_columns(table: _Table) -> list[str]:
    return [c for c in list(table.texts)[1:] if not c.endswith(_EXTREMES)]


def _is_chart_export(table: _Table) -> bool:
    columns = _chart_columns(table)
    return bool(columns) and all(" - " in column for column in columns)


def _chart_export(table: _Table) -> Iterator[Run]:
    """A W&B chart: the x axis, then "<run> - <metric>" for each run."""
    axis = next(iter(table.texts))
    columns: dict[str, dict[str, str]] = {}
    for column in _chart_columns(table):
        run, metric = column.rsplit(" - ", 1)
        columns.setdefault(run.removeprefix("Group: "), {})[metric] = column
    note = Note(
        "sampled",
        "warning",
        "a chart export holds sampled points and no config; put a runs.csv with the runs' settings"
        " beside it, or ingest the runs themselves",
    )
    for run, metrics in columns.items():
        own = metrics.pop("_step", None)
        step = own or (axis if axis in STEP_NAMES else None)
        numeric = {m: table[c] for m, c in metrics.items() if table[c].numeric}
        if step is None:
            steps, filled = np.arange(1.0, table.rows + 1), np.ones(table.rows, bool)
            if table[axis].numeric:
                numeric[axis] = table[axis]
        else:
            filled = table[step].filled
            steps = np.where(filled, table[step].values, 0).astype(np.float64)
        whole = whole_steps(steps, table.place)
        points = {
            metric: (whole[held], cells.values[held].astype(np.float64))
            for metric, cells in numeric.items()
            if len(held := np.flatnonzero(cells.filled & filled))
        }
        yield make_run(name, run, table.source, {}, points, [note])
