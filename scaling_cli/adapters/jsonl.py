"""JSON lines: one object a line; config lines, logged steps, or one row a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scaling_cli.adapters.building import (
    NUMBER_WORDS,
    STEP_NAMES,
    Logged,
    constants_to_config,
    flattened,
    make_run,
)
from scaling_cli.adapters.files import read_bytes, stem_of, suffix_of
from scaling_cli.errors import InputError
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.records import Run

try:
    from orjson import loads as _fast_loads  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    _fast_loads = None

name = "jsonl"

_ID_NAMES = ("run_id", "runid", "run", "run_name")
_KINDS = ("_type", "type", "kind")


def recognises(path: Path, head: bytes) -> bool:
    suffix = suffix_of(path)
    if suffix in (".jsonl", ".ndjson"):
        return b"\0" not in head
    if suffix not in (".json", ".log", ".txt", "") or not head.lstrip().startswith(b"{"):
        return False
    lines = [line for line in head.split(b"\n") if line.strip()]
    return len(lines) > 1 and lines[1].lstrip().startswith(b"{") and _object(lines[0]) is not None


def read(path: Path, source: str, mapping: Mapping) -> Iterator[Run]:
    rows, notes = _rows(read_bytes(path, source), source)
    runs = list(_runs(rows, source, stem_of(path), mapping))
    if runs and notes:
        runs[0] = replace(runs[0], notes=(*notes, *runs[0].notes))
    yield from runs


def _parse(line: bytes) -> Any:
    if _fast_loads is not None:
        try:
            return _fast_loads(line)
        except ValueError:
            pass  # NaN and Infinity are no JSON, but loggers write them
    return json.loads(line)


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        value = _parse(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _rows(data: bytes, source: str) -> tuple[list[tuple[int, dict[str, Any]]], list[Note]]:
    lines = [(n, line) for n, line in enumerate(data.split(b"\n"), 1) if line.strip()]
    if lines and lines[0][1].startswith(b"\xef\xbb\xbf"):
        lines[0] = (lines[0][0], lines[0][1][3:])
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
    id_names = tuple(filter(None, (mapping.id, (mapping.id or "").removeprefix("config."))))
    step_names = (*filter(None, (mapping.columns.get("step"),)), *STEP_NAMES)
    flat = [(number, dict(flattened(row)), _is_config(row)) for number, row in rows]
    ids = [_identity(row, (*id_names, *_ID_NAMES)) for _, row, _ in flat]
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
            draft.config |= {
                _config_key(k): v for k, v in row.items() if v is not None and k not in _KINDS
            }
        else:
            draft.rows.append((number, row))
    runs = [_history(draft, run_id, source, step_names) for run_id, draft in drafts.items()]
    yield from constants_to_config(runs)


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
    notes = logged.notes()
    if step_name is None and draft.rows:
        message = f"no line has a step, so its {len(draft.rows)} points are numbered in order"
        notes.insert(0, Note("no_step_column", "warning", message))
    constant = {_config_key(key): value for key, value in logged.constants().items()}
    return make_run(name, run_id, source, {**constant, **draft.config}, logged.points(), notes)


def _whole(value: Any, source: str, number: int, step_name: str) -> int:
    if isinstance(value, (int, float)) and abs(value) < 2**62 and value == int(value):
        return int(value)
    raise InputError(
        f"{source}: line {number}: {step_name} {value!r} is not a whole number",
        'Mend that line, or name the step in the mapping: [columns] step = "..."',
    )
