"""JSON lines: one object a line; config lines, logged steps, or one row a run.

Steps of plain numbers and texts, which is most files, are parsed into columns by pyarrow. A file
that holds anything else is read again line by line, which takes seven times as long.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_cli.adapters.building import (
    NUMBER_WORDS,
    STEP_NAMES,
    Logged,
    Points,
    constants_to_config,
    flattened,
    make_run,
    storable,
)
from scaling_cli.adapters.files import read_bytes, stem_of, suffix_of
from scaling_cli.adapters.shapes import Column, Labels, one_array, typed_column
from scaling_cli.errors import InputError
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.records import Run

name = "jsonl"

_ID_NAMES = ("run_id", "runid", "run", "run_name")
_KINDS = ("_type", "type", "kind")
_SAMPLE = 1 << 16  # bytes that tell which fields are texts
_BLOCK = 1 << 24  # bytes parsed at a time; a line has to fit
_MOST_NESTED = 64
_LARGEST_STEP = 2**62
_BRACKETS = b"[]{}"
_NO_BRACKETS = bytes(set(range(256)) - set(_BRACKETS))
_SIGNS = bytes.maketrans(_BRACKETS, b"\x01\xff\x01\xff")


def recognises(path: Path, head: bytes) -> bool:
    suffix = suffix_of(path)
    if suffix in (".jsonl", ".ndjson"):
        return b"\0" not in head
    if suffix not in (".json", ".log", ".txt", "") or not head.lstrip().startswith(b"{"):
        return False
    lines = [line for line in head.split(b"\n") if line.strip()]
    return len(lines) > 1 and lines[1].lstrip().startswith(b"{") and _object(lines[0]) is not None


def read(path: Path, source: str, mapping: Mapping) -> Iterator[Run]:
    data = read_bytes(path, source).removeprefix(b"\xef\xbb\xbf")
    stem = stem_of(path)
    runs = _columnar_runs(data, source, stem, mapping)
    if runs is None:
        rows, notes = _rows(data, source)
        runs = list(_runs(rows, source, stem, mapping))
        if runs and notes:
            runs[0] = replace(runs[0], notes=(*notes, *runs[0].notes))
    yield from runs


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _rows(data: bytes, source: str) -> tuple[list[tuple[int, dict[str, Any]]], list[Note]]:
    lines = [(n, line) for n, line in enumerate(data.split(b"\n"), 1) if line.strip()]
    if not lines:
        raise InputError(f"{source} is empty", "Give a JSON object on each line.")
    rows, notes = [], []
    for place, (number, line) in enumerate(lines):
        row = _object(line)
        if row is not None:
            rows.append((number, row))
        elif place == len(lines) - 1 and rows:
            message = f"{source}: line {number}, the last one, is cut off and left out"
            notes.append(Note("truncated", "warning", message))
        else:
            raise InputError(
                f"{source}: line {number} is not a JSON object",
                "Mend or drop that line; each line holds one object {...}.",
            )
    return rows, notes


@dataclass
class _Draft:
    """A run while its lines are read."""

    config: dict[str, Any] = field(default_factory=dict)
    rows: list[tuple[int, dict[str, Any]]] = field(default_factory=list)  # line number, fields


def _runs(
    rows: list[tuple[int, dict[str, Any]]], source: str, stem: str, mapping: Mapping
) -> Iterator[Run]:
    id_names, step_names = _wanted(mapping)
    flat = [(number, dict(flattened(row)), _is_config(row)) for number, row in rows]
    ids = [_identity(row, id_names) for _, row, _ in flat]
    has_config = any(is_config for *_, is_config in flat)
    has_step = any(_first(row, step_names) is not None for _, row, _ in flat)
    named = [i for i in ids if i is not None]
    one_row_each = (
        not has_config
        and len(set(named)) == len(named)
        and (len(named) == len(flat) if has_step else len(named) in (0, len(flat)))
    )
    if one_row_each:
        width = len(str(len(flat)))
        for count, ((_, row, _), identity) in enumerate(zip(flat, ids, strict=True), 1):
            run_id = f"{stem}-{count:0{width}}" if identity is None else identity
            config = {
                _config_key(key): _plain(value)
                for key, value in row.items()
                if value is not None and not (identity is not None and key in _ID_NAMES)
            }
            yield make_run(name, run_id, source, config, {})
        return

    drafts: dict[str, _Draft] = {}
    current: str | None = None
    for (number, row, is_config), identity in zip(flat, ids, strict=True):
        current = identity or current
        draft = drafts.setdefault(current or stem, _Draft())
        if is_config or (has_step and _first(row, step_names) is None):
            draft.config |= _settings(row)
        else:
            draft.rows.append((number, row))
    runs = [_history(draft, run_id, source, step_names) for run_id, draft in drafts.items()]
    yield from constants_to_config(runs)


def _wanted(mapping: Mapping) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a run's id and a step may be called, the likeliest first."""
    id_names = filter(None, (mapping.id, (mapping.id or "").removeprefix("config.")))
    step_names = filter(None, (mapping.columns.get("step"),))
    return (*id_names, *_ID_NAMES), (*step_names, *STEP_NAMES)


def _settings(row: dict[str, Any]) -> dict[str, Any]:
    return {_config_key(k): v for k, v in row.items() if v is not None and k not in _KINDS}


def _is_config(row: dict[str, Any]) -> bool:
    return isinstance(row.get("config"), dict) or any(row.get(k) == "config" for k in _KINDS)


def _first(row: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((row[n] for n in names if row.get(n) is not None), None)


def _identity(row: dict[str, Any], names: tuple[str, ...]) -> str | None:
    value = _first(row, names)
    return str(value) if isinstance(value, (str, int)) and value != "" else None


def _config_key(key: str) -> str:
    return key.removeprefix("config.").removeprefix("config/") or key


def _plain(value: Any) -> Any:
    """A config value; the words for NaN and infinity are numbers."""
    number = NUMBER_WORDS.get(value.strip().lower()) if isinstance(value, str) else None
    return value if number is None else number


def _history(draft: _Draft, run_id: str, source: str, step_names: tuple[str, ...]) -> Run:
    logged = Logged()
    step_name = next((n for n in step_names if any(n in row for _, row in draft.rows)), None)
    for count, (number, row) in enumerate(draft.rows, 1):
        step = count if step_name is None else _whole(row.get(step_name), source, number, step_name)
        for key, value in row.items():
            if key != step_name and key not in _ID_NAMES:
                logged.add(step, key, value)
    return _made(run_id, source, logged, draft.config, step_name, len(draft.rows))


def _made(
    run_id: str,
    source: str,
    logged: Logged,
    config: dict[str, Any],
    step_name: str | None,
    rows: int,
    points: Points | None = None,
) -> Run:
    notes = logged.notes()
    if step_name is None and rows:
        message = f"no line has a step, so its {rows} points are numbered in order"
        notes.insert(0, Note("no_step_column", "warning", message))
    constant = {_config_key(key): value for key, value in logged.constants().items()}
    points = logged.points() if points is None else points
    return make_run(name, run_id, source, {**constant, **config}, points, notes)


def _whole(value: Any, source: str, number: int, step_name: str) -> int:
    if isinstance(value, (int, float)) and abs(value) < _LARGEST_STEP and value == int(value):
        return int(value)
    raise InputError(
        f"{source}: line {number}: {step_name} {value!r} is not a whole number",
        'Mend that line, or name the step in the mapping: [columns] step = "..."',
    )


def _columnar_runs(data: bytes, source: str, stem: str, mapping: Mapping) -> list[Run] | None:
    """The runs of a file of steps and config lines, as `_runs` makes them; None if it is not one,
    or holds what columns cannot: values of mixed types, NaN in quotes, a line that is damaged."""
    parsed = _columns(data)
    if parsed is None:
        return None
    columns, has_config = parsed
    id_names, step_names = _wanted(mapping)
    id_columns = [columns[name] for name in dict.fromkeys(id_names) if name in columns]
    step_columns = [columns[name] for name in step_names if name in columns]
    rows = len(has_config)
    if len(id_columns) > 1 or not step_columns or any(c.kind != "text" for c in id_columns):
        return None
    has_step = np.logical_or.reduce([column.filled for column in step_columns])
    is_config = has_config | ~has_step
    ids, every_row_named = _forward(id_columns, rows, stem)
    one_row_each = not has_config.any() and every_row_named and len(ids.names) == rows
    ends = np.flatnonzero(np.frombuffer(data + b"\n", np.uint8) == ord("\n"))
    starts = np.append(0, ends[:-1] + 1)
    lines = np.flatnonzero(ends > starts)
    if one_row_each or not has_step.any() or len(lines) != rows:
        return None
    if int(is_config.sum()) > max(1, rows // 4):  # hardly any steps
        return None
    config: dict[int, dict[str, Any]] = {}
    for row in np.flatnonzero(is_config).tolist():
        found = _object(data[starts[lines[row]] : ends[lines[row]]])
        if found is None:
            return None
        config.setdefault(int(ids.code[row]), {}).update(_settings(dict(flattened(found))))
    order, bounds = ids.grouped
    runs = []
    for code, run_id in enumerate(ids.names):
        held = order[bounds[code] : bounds[code + 1]]
        held = held[~is_config[held]]
        named = (n for n in step_names if n in columns and columns[n].filled[held].any())
        step_name = next(named, None)
        steps = np.arange(1, len(held) + 1)
        if step_name is not None:
            told = columns[step_name]
            if not told.numeric or not told.filled[held].all():
                return None
            steps = told.values[held]
            if not np.all((steps == np.round(steps)) & (np.abs(steps) < _LARGEST_STEP)):
                return None
            steps = steps.astype(np.int64)
        logged, points = Logged(), {}
        for key, column in columns.items():
            here = column.filled[held]
            if key == step_name or key in _ID_NAMES or not here.any():
                continue
            values = column.values[held[here]]
            if column.kind == "text":
                logged.texts[key] = set(values.tolist())
            elif column.kind == "other":
                logged.others[key] = None
            else:
                points[key] = steps[here], values.astype(np.float64)
        own = config.get(code, {})
        runs.append(_made(run_id, source, logged, own, step_name, len(held), points))
    return constants_to_config(runs)


def _columns(data: bytes) -> tuple[dict[str, Column], NDArray[np.bool_]] | None:
    """Every field by name, nested ones joined by dots, and which rows have a `config` object."""
    import pyarrow as pa
    from pyarrow import json as arrow_json

    from scaling_cli.arrow import filled_rows

    if _depth(data) > _MOST_NESTED or b'"' not in data[:_SAMPLE]:
        return None
    # Arrow would take a text that looks like a time for one.
    sampled = (_object(line) or {} for line in data[:_SAMPLE].split(b"\n")[:-1])
    texts = {k for row in sampled for k, v in row.items() if isinstance(v, str)}
    schema = pa.schema([(key, pa.string()) for key in texts if storable(key) == key])
    try:
        table = arrow_json.read_json(
            pa.BufferReader(data),
            arrow_json.ReadOptions(use_threads=False, block_size=_BLOCK),
            arrow_json.ParseOptions(explicit_schema=schema),
        )
        for column in table.columns:
            # A list that begins with null comes out of Arrow 26.0.1 an element short.
            if pa.types.is_nested(column.type):
                column.validate(full=True)
        has_config = np.zeros(table.num_rows, dtype=bool)
        if "config" in table.column_names and pa.types.is_struct(table.schema.field("config").type):
            has_config = filled_rows(one_array(table.column("config")))
        while any(pa.types.is_struct(field.type) for field in table.schema):
            table = table.flatten()
        if len(set(table.column_names)) < table.num_columns:
            return None
        columns = {key: typed_column(one_array(table.column(key))) for key in table.column_names}
    except (pa.ArrowException, ValueError):
        return None
    for key, column in columns.items():
        # The text of a time is lost; that of a config line is read again.
        is_time = pa.types.is_temporal(table.schema.field(key).type)
        if is_time and (column.filled & ~has_config).any():
            return None
        if column.kind == "text" and not NUMBER_WORDS.keys().isdisjoint(
            str(text).strip().lower() for text in set(column.values.tolist())
        ):
            return None
    return columns, has_config


def _depth(data: bytes) -> int:
    """How deep brackets nest at most, or more than that. Arrow would overflow its stack at some
    thousand levels."""
    opened = data.count(b"{") + data.count(b"[") - data.count(b"\n")
    if opened <= _MOST_NESTED:  # one object a line, and few in it: as most files are
        return opened
    signs = np.frombuffer(data.translate(_SIGNS, _NO_BRACKETS), np.int8)
    if not len(signs):
        return 0
    level = np.cumsum(signs, dtype=np.int64)
    return int((level - np.minimum.accumulate(np.minimum(level, 0))).max())


def _forward(columns: list[Column], rows: int, stem: str) -> tuple[Labels, bool]:
    """Whose each row is: that of the last row with an id; and whether every row has one."""
    if not columns:
        return Labels(np.zeros(rows, dtype=np.int64), [stem]), False
    (column,) = columns
    filled = column.filled & (column.values != "")
    last = np.maximum.accumulate(np.where(filled, np.arange(rows), -1))
    texts = np.where(last < 0, stem, column.values[last])
    names, code = dict[str, int](), np.empty(rows, dtype=np.int64)
    for row, text in enumerate(texts.tolist()):
        code[row] = names.setdefault(text, len(names))
    return Labels(code, list(names)), bool(filled.all())
