"""JSON lines: one object a line; config lines, logged steps, or one row a run.

Steps of plain numbers and texts, which is most files, are parsed into columns by pyarrow. A file
that holds anything else is read again line by line, which takes seven times as long.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_cli.adapters import json_documents
from scaling_cli.adapters.base import BY_LINES, Adapter
from scaling_cli.adapters.building import (
    NUMBER_WORDS,
    Logged,
    constants_to_config,
    flattened,
    make_run,
    names_numbered,
    no_id,
    numbered_names,
    numbers_of,
    storable,
)
from scaling_cli.adapters.files import read_bytes, stem_of, suffix_of, utf16
from scaling_cli.adapters.histories import is_split, part_by_group, part_by_seed
from scaling_cli.adapters.settings import files_beside
from scaling_cli.adapters.tables import (
    Column,
    Labels,
    RawTable,
    distinct,
    one_array,
    typed_column,
)
from scaling_cli.adapters.unnamed import TIME, begun_again_in, epoch_of, runs_in
from scaling_cli.counts import names_tokens
from scaling_cli.errors import InputError
from scaling_cli.expressions import as_number
from scaling_cli.losses import is_loss, is_measure
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.quantities import read_quantity
from scaling_cli.records import Floats, Run
from scaling_cli.spelling import unfiled
from scaling_cli.steps import (
    CALLS,
    STEP_IS,
    Points,
    counters,
    epoch_column,
    from_names,
    marked_if_called,
    saved_steps,
    settings_differ,
    step_names,
    unrolled,
)

NAME = "jsonl"

_ID_NAMES = ("run_id", "runid", "run", "run_name")
_NAMES = ("id", "name", "experiment")  # a run by these only where it is a line
_KINDS = ("_type", "type", "kind")
_SAMPLE = 1 << 12  # bytes that tell which fields are times
_BLOCK = 1 << 24  # bytes parsed at a time; a line has to fit
_TELLING = 4  # lines that mostly tell a history
_FEW = 1 << 12  # bytes that are read line by line sooner than into columns
_MOST_NESTED = 64
_NAMES_MODELS = re.compile(r"(?i)(?:^|[._/ -])(?:model|size|arch|variant|scale|params)$")
_LARGEST_STEP = 2**62
_BRACKETS = b"[]{}"
_NO_BRACKETS = bytes(set(range(256)) - set(_BRACKETS))
_BEHIND = re.compile(rb"(?<=[\s|:])\{\".*\}\s*$")
_TIME = re.compile(rb"\"\d{4}-\d\d-\d\d")
_SIGNS = bytes.maketrans(_BRACKETS, b"\x01\xff\x01\xff")


def recognises(path: Path, head: bytes) -> bool:
    suffix = suffix_of(path)
    if suffix in (".jsonl", ".ndjson"):
        return b"\0" not in head
    if suffix not in (".json", ".log", ".txt", ".out", "") or b"\0" in head:
        return False
    if json_documents.recognises(path, head):
        return True
    if b"{" not in head:
        return False
    first = head.lstrip().split(b"\n", 1)
    if first[0].startswith(b"{") and first[-1].lstrip().startswith(b"{") and len(first) > 1:
        return _object(first[0]) is not None
    if suffix == ".json" or b'{"' not in head:
        return False
    told = map(_object_behind, _lines_with(b'{"', head))
    return sum(row is not None and json_documents.knows(row) for row in told) > 1


def read(path: Path, source: str, mapping: Mapping) -> Iterator[Run]:
    data = read_bytes(path, source).removeprefix(b"\xef\xbb\xbf")
    utf16(data, source)
    stem = stem_of(path)
    whole = json_documents.is_document(path, data)
    by_line = whole or len(data) < _FEW
    runs = None if by_line else _columnar_runs(data, source, stem, mapping)
    notes: list[Note] = []
    if runs is None:
        loose = suffix_of(path) in (".log", ".txt", ".out", "")
        if whole:
            rows = json_documents.rows(path, data, source)
        else:
            rows, notes = _rows(data, source, loose)
        runs = list(_runs(rows, source, stem, mapping))
    if mapping.id is not None and (missing := _lacks_id(data, source, mapping.id, runs)):
        notes.append(missing)
    if runs and notes:
        runs[0] = replace(runs[0], notes=(*notes, *runs[0].notes))
    yield from runs


def _lacks_id(data: bytes, source: str, wanted: str, runs: list[Run]) -> Note | None:
    """A note where no line has the field that the mapping names as the run's id."""
    name = json.dumps(wanted.removeprefix("config.").rpartition(".")[2]).encode()
    if name in data:
        return None
    names = dict.fromkeys(name for run in runs for name in (*run.config, *run.series))
    return no_id(source, wanted, names)


def shows_history(head: bytes, mapping: Mapping) -> bool:
    """Whether the first lines are steps of one run beyond doubt, as most files' are."""
    rows = [_object(line) for line in head.split(b"\n", _TELLING)[:_TELLING]]
    steps = [row for row in rows if row and _first(row, tuple(step_names(row))) is not None]
    id_names = _id_names(mapping)
    told = [row for row in steps if _identity(row, id_names) is None and len(row) > 1]
    numbers = [sum(type(value) in (int, float) for value in row.values()) for row in told]
    return "step" not in mapping.columns and len(numbers) > 1 and min(numbers) > 1


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _lines_with(word: bytes, text: bytes) -> Iterator[bytes]:
    """The lines that hold a word: few, of a script of thousands."""
    at = text.find(word)
    while at >= 0:
        end = text.find(b"\n", at)
        end = len(text) if end < 0 else end
        yield text[text.rfind(b"\n", 0, at) + 1 : end]
        at = text.find(word, end)


def _object_behind(line: bytes) -> dict[str, Any] | None:
    """The object that ends a line of a log, behind the time and the name of the logger."""
    found = _BEHIND.search(line)
    return None if found is None else _object(line[found.start() :])


def _rows(
    data: bytes, source: str, loose: bool = False
) -> tuple[list[tuple[int, dict[str, Any]]], list[Note]]:
    """The objects with the numbers of their lines; of a log (`loose`) those that end its lines."""
    lines = [(n, line) for n, line in enumerate(data.split(b"\n"), 1) if line.strip()]
    if not lines:
        raise InputError(f"{source} is empty", "Give a JSON object on each line.")
    rows, notes = [], []
    for place, (number, line) in enumerate(lines):
        row = _object(line)
        if row is None and loose:
            row = _object_behind(line)
            if row is None:
                continue
        if row is not None:
            rows.append((number, row))
        elif place == len(lines) - 1 and rows:
            message = f"{source}: line {number}, the last one, is cut off and left out"
            notes.append(Note.of("truncated", message))
        else:
            raise InputError(
                f"{source}: line {number} is not a JSON object",
                "Mend or drop that line; each line holds one object {...}.",
            )
    if not rows:
        raise InputError(f"{source}: no line holds a JSON object", "Give one on each line.")
    return rows, notes


@dataclass
class _Draft:
    """A run while its lines are read."""

    config: dict[str, Any] = field(default_factory=dict)
    rows: list[tuple[int, dict[str, Any]]] = field(default_factory=list)  # line number, fields
    stepless: int = 0

    def takes_up(self, row: dict[str, Any]) -> bool:
        """Whether a line without a step goes on with the line before, rather than being settings:
        it holds a metric, and none that the step before has."""
        if not self.rows:
            return False
        before = self.rows[-1][1]
        keys = [k for k, v in row.items() if as_number(v) is not None and not isinstance(v, str)]
        metrics = [k for k in keys if is_loss(k) or any(k in known for _, known in self.rows[-99:])]
        return bool(metrics) and not any(before.get(key) is not None for key in metrics)


def _runs(
    rows: list[tuple[int, dict[str, Any]]], source: str, stem: str, mapping: Mapping
) -> Iterator[Run]:
    flat = [(number, dict(flattened(row)), _is_config(row)) for number, row in rows]
    _part_losses([row for _, row, _ in flat])
    id_names = _id_names(mapping)
    steps = _steps_of((key for _, row, _ in flat for key in row), mapping)
    ids = [_identity(row, id_names) for _, row, _ in flat]
    has_config = any(is_config for *_, is_config in flat)
    has_step = any(_first(row, steps) is not None for _, row, _ in flat)
    notes: list[Note] = []
    if not has_step and not any(ids) and not has_config:
        steps = _by_checkpoint([row for _, row, _ in flat], source, notes) or steps
        has_step = bool(notes)
    if not has_config:
        ids = _told_apart([row for _, row, _ in flat], ids, steps, source, stem, notes)
    if _is_row_each([row for _, row, _ in flat], ids, has_config, has_step):
        width = len(str(len(flat)))
        if not any(ids):
            ids = _named_rows([row for _, row, _ in flat]) or ids
        for count, ((_, row, _), identity) in enumerate(zip(flat, ids, strict=True), 1):
            run_id = f"{stem}-{count:0{width}}" if identity is None else identity
            config = {
                _config_key(key): _plain(value)
                for key, value in row.items()
                if value is not None and not (identity is not None and key in _ID_NAMES)
            }
            yield make_run(NAME, run_id, source, config, {}, notes if count == 1 else ())
        return

    drafts: dict[str, _Draft] = {}
    current: str | None = None
    for (number, row, is_config), identity in zip(flat, ids, strict=True):
        current = identity or current
        draft = drafts.setdefault(current or stem, _Draft())
        if not is_config and (not has_step or _first(row, steps) is not None):
            draft.rows.append((number, row))
        elif is_config or not draft.takes_up(row):
            draft.config |= _settings(row)
        else:
            draft.rows.append((number, row))
            draft.stepless += 1
    runs = [_history(draft, run_id, source, steps) for run_id, draft in drafts.items()]
    runs = constants_to_config(runs)
    yield from [replace(runs[0], notes=(*notes, *runs[0].notes)), *runs[1:]] if notes else runs


def _by_checkpoint(
    rows: list[dict[str, Any]], source: str, notes: list[Note]
) -> tuple[str, ...] | None:
    """The field that is the step of rows which name the checkpoints of one run."""
    if settings_differ(_numbers(rows)):
        return None
    for key in list(rows[0]):
        texts = [row.get(key) for row in rows]
        known = [text for text in texts if isinstance(text, str)]
        found = saved_steps(key, known) if len(known) == len(rows) else None
        if found is not None and all(a < b for a, b in pairwise(found)):
            notes.append(from_names(source, key, known[-1]))
            for row, step in zip(rows, found, strict=True):
                row[key] = step
            return (key,)
    return None


def _part_losses(rows: list[dict[str, Any]]) -> None:
    """Where a field says which data each line is of (`split`: train, val), each has its losses."""
    for key in dict.fromkeys(k for row in rows for k, v in row.items() if isinstance(v, str)):
        values = [row[key] for row in rows if key in row]
        if not all(isinstance(value, str) for value in values):
            continue
        texts = set(values)
        if len(texts) < 2 or not is_split(texts):
            continue
        for row in rows:
            if key in row:
                for loss in [k for k in row if is_loss(k) or is_measure(k)]:
                    row[f"{row[key]}/{loss}"] = row.pop(loss)
                del row[key]


def _told_apart(
    rows: list[dict[str, Any]],
    ids: list[str | None],
    steps: tuple[str, ...],
    source: str,
    stem: str,
    notes: list[Note],
) -> list[str | None]:
    """The ids of lines, with those that no id or one for several runs tells apart: by a setting, a
    seed, or their number. As of a table."""
    table = _table_of(rows, source, stem, notes)
    step = next((name for name in steps if name in table.arrays), None)
    named = [identity for identity in ids if identity is not None]
    counter = step or epoch_of(table)
    if not named and counter is not None and table[counter].numeric:
        parts = runs_in(table, counter) or begun_again_in(table, counter)
        return ids if parts is None else list(parts.texts())
    if len(named) < len(rows) or len(set(named)) == len(named):
        return ids
    number = {name: place for place, name in enumerate(dict.fromkeys(named))}
    labels = Labels(np.array([number[name] for name in named]), list(number))
    told = table[step].values if step is not None and table[step].numeric else labels.code
    if distinct(labels.code, told) > len(number):  # histories
        return list(part_by_group(table, "", labels, step).texts()) if step else ids
    seeds = part_by_seed(table, "", labels)
    if seeds is not None:
        return list(seeds.texts())
    losses = [name for name in table.arrays if is_loss(name)]
    tokens = [name for name in table.arrays if names_tokens(name) and table[name].numeric]
    constant = all(distinct(labels.code, table[n].values) == len(number) for n in tokens)
    apart = any(distinct(labels.code, table.labels(n).code) > len(number) for n in losses)
    if apart and tokens and constant and not any("run_id" in row for row in rows):
        notes.append(names_numbered(source, named))
        return list(numbered_names(named, stem))
    return ids


def _named_rows(rows: list[dict[str, Any]]) -> list[str | None]:
    """The names of lines that are a run each, where each has one of its own; else nothing."""
    for key in _NAMES:
        named = [row.get(key) for row in rows]
        if all(isinstance(name, str) and name for name in named) and len(set(named)) == len(rows):
            return [*named]
    return []


def _table_of(rows: list[dict[str, Any]], source: str, stem: str, notes: list[Note]) -> RawTable:
    """The lines as a table, of the fields that hold numbers or texts alone."""
    import pyarrow as pa

    arrays = {}
    for key in dict.fromkeys(key for row in rows for key in row):
        values = [row.get(key) for row in rows]
        kinds = {type(value) for value in values if value is not None}
        if kinds <= {int, float} or kinds == {str}:
            try:
                whole = kinds == {int}
                values = values if whole or kinds == {str} else [_float(v) for v in values]
                arrays[key] = pa.array(values)
            except (pa.ArrowInvalid, OverflowError, UnicodeEncodeError):
                continue
    return RawTable(NAME, source, stem, arrays, len(rows), typed_column, notes=notes)


def _float(value: int | float | None) -> float | None:
    return None if value is None else float(value)


def _is_row_each(
    rows: list[dict[str, Any]], ids: list[str | None], has_config: bool, has_step: bool
) -> bool:
    """Whether each line is a run of its own: each has an id that no other has, or their settings
    differ and nothing counts them."""
    named = [identity for identity in ids if identity is not None]
    if has_config or len(set(named)) < len(named):
        return False
    if has_step:
        return len(named) == len(rows)
    if named:
        return len(named) == len(rows)
    return len(rows) == 1 or not _is_one_history(rows)


def _is_one_history(rows: list[dict[str, Any]]) -> bool:
    """Whether lines without a known step are points of one history."""
    numbers = _numbers(rows)
    if settings_differ(numbers) or not any(is_loss(key) for row in rows for key in row):
        return False
    for key in dict.fromkeys(key for row in rows for key in row):
        texts = [row[key] for row in rows if isinstance(row.get(key), str)]
        if len(texts) == len(set(texts)) == len(rows) and not all(map(TIME.match, texts)):
            # Names of runs, unless they are numbers; `30M` is the name of a model.
            return numbers_of(texts) is not None and not _NAMES_MODELS.search(key)
    return True


def _numbers(rows: list[dict[str, Any]]) -> dict[str, Floats]:
    """The fields that hold numbers and nothing else [lines], NaN where a line has none."""
    numbers: dict[str, Floats] = {}
    for key in dict.fromkeys(key for row in rows for key in row):
        held = [row.get(key) for row in rows]
        if all((isinstance(v, int | float) and not isinstance(v, bool)) or v is None for v in held):
            values = [as_number(value) for value in held]
            numbers[key] = np.array([np.nan if v is None else v for v in values])
    return numbers


def _id_names(mapping: Mapping) -> tuple[str, ...]:
    """What a run's id may be called, the likeliest first."""
    mapped = filter(None, (mapping.id, (mapping.id or "").removeprefix("config.")))
    return (*mapped, *_ID_NAMES)


def _steps_of(names: Iterable[str], mapping: Mapping) -> tuple[str, ...]:
    """Those of the names that may be the step, the likeliest first."""
    return tuple(step_names(dict.fromkeys(names), mapping.columns.get("step")))


def _settings(row: dict[str, Any]) -> dict[str, Any]:
    return {_config_key(k): v for k, v in row.items() if v is not None and k not in _KINDS}


def _is_config(row: dict[str, Any]) -> bool:
    if any(row.get(kind) == "config" for kind in _KINDS):
        return True
    beside = ((key, value) for key, value in row.items() if key != "config")
    return isinstance(row.get("config"), dict) and not any(
        is_loss(key) and as_number(value) is not None for key, value in flattened(dict(beside))
    )


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


def _history(draft: _Draft, run_id: str, source: str, steps: tuple[str, ...]) -> Run:
    logged = Logged()
    rows = [row for _, row in draft.rows]
    step_name, notes, counts = _axis(rows, steps, source)
    step = 0
    at: list[int] = []
    for count, (number, row) in enumerate(draft.rows, 1):
        told = None if step_name is None else row.get(step_name)
        if step_name is None:
            step = count
        elif told is not None:
            step, total = _whole(told, source, number, step_name)
            draft.config |= {} if total is None else {"total_steps": total}
        at.append(step)
    at, joined = _one_counter(at, rows, step_name)
    for step, row in zip(at, rows, strict=True):
        for key, value in row.items():
            if key != step_name and key not in _ID_NAMES:
                logged.add(step, key, value)
    lost = sum(row.get(step_name) is None for row in rows) if step_name else 0
    if lost:
        message = f"{lost} lines have no {step_name} and stand at that of the line before"
        notes.append(Note.of("rows_without_step", message))
    config = draft.config | ({} if counts is None else {STEP_IS: counts})
    made = _made(run_id, source, logged, config, step_name, len(draft.rows))
    return replace(made, notes=(*made.notes, *notes, *joined))


def _axis(
    rows: list[dict[str, Any]], steps: tuple[str, ...], source: str
) -> tuple[str | None, list[Note], str | None]:
    """The field that is the step of these lines, with a note where it is no known one; and what it
    counts if that is no step."""
    present = [n for n in steps if any(row.get(n) is not None for row in rows)]
    if present:
        whole = (n for n in present if all(row.get(n) is not None for row in rows))
        return next(whole, present[0]), [], None
    if len(rows) < 2:
        return None, [], "rows"
    numbers = _numbers(rows)
    found = counters(numbers)
    if len(found) > 1:
        raise InputError(
            f"{source}: its lines are points of a history, and more than one field may be their"
            f" step: {', '.join(found)}",
            f'Name it in scalefit.toml: [columns] step = "{found[0]}"',
        )
    if found:
        message = (
            f"{found[0]} rises from line to line and no setting differs, so it is taken for the"
            ' step; if it is not, name the step: [columns] step = "..."'
        )
        return found[0], [Note.of("step_by_order", message)], None
    epoch = epoch_column(numbers)
    if epoch is not None:
        message = f"no line has a step, so the points stand at their {epoch}"
        return epoch, [Note.of("no_step_column", message)], "epoch"
    return None, [], "rows"


def _one_counter(
    at: list[int], rows: list[dict[str, Any]], step_name: str | None
) -> tuple[list[int], list[Note]]:
    """The steps of the lines; those that begin again with each epoch go on."""
    if step_name is None or all(a <= b for a, b in pairwise(at)):
        return at, []
    told = [next((row[k] for k in row if unfiled(k) == "epoch"), None) for row in rows]
    epochs = None if any(as_number(e) is None for e in told) else np.array(told, dtype=np.float64)
    key = next((k for k in rows[0] if names_tokens(k)), "")
    counts = [as_number(row.get(key)) for row in rows]
    seen = None if any(n is None for n in counts) else np.array(counts, dtype=np.float64)
    joined, notes = unrolled(np.array(at, dtype=np.float64), epochs, step_name, seen)
    return (at if joined is None else joined.astype(np.int64).tolist()), notes


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
        notes.insert(0, Note.of("no_step_column", message))
    constant = {_config_key(key): value for key, value in logged.constants().items()}
    points = logged.points() | (points or {})
    run = make_run(NAME, run_id, source, {**constant, **config}, points, notes)
    run = replace(run, step_name=step_name or "")
    return marked_if_called(run) if step_name in CALLS else run


def _whole(value: Any, source: str, number: int, step_name: str) -> tuple[int, int | None]:
    """A step, and of `10/200` the total too."""
    total = None
    if isinstance(value, str):
        told, _, rest = value.partition("/")
        whole = read_quantity(told, counts=True)
        end = read_quantity(rest, counts=True) if rest else None
        value = value if whole is None or (rest and end is None) else whole
        total = None if end is None else int(end)
    if isinstance(value, (int, float)) and abs(value) < _LARGEST_STEP and value == int(value):
        return int(value), total
    raise InputError(
        f"{source}: line {number}: {step_name} {value!r} is not a whole number",
        'Mend that line, or name the step in the mapping: [columns] step = "..."',
    )


def _may_hold_several(columns: dict[str, Column]) -> bool:
    """Whether lines without ids may be told apart by a setting, or say which data they are of."""
    numbers = {}
    for name, column in columns.items():
        if column.kind == "text" and name not in _ID_NAMES:
            texts = set(column.values[column.filled].tolist())
            if len(texts) > 1 and (is_split(texts) or not all(map(TIME.match, texts))):
                return True
        elif column.numeric:
            numbers[name] = np.where(column.filled, column.values, np.nan)
    return settings_differ(numbers)


def _columnar_runs(data: bytes, source: str, stem: str, mapping: Mapping) -> list[Run] | None:
    """The runs of a file of steps and config lines, as `_runs` makes them; None if it is not one,
    or holds what columns cannot: values of mixed types, NaN in quotes, a line that is damaged."""
    parsed = _columns(data)
    if parsed is None:
        return None
    columns, has_config = parsed
    if any(
        is_split(set(c.values[c.filled].tolist())) for c in columns.values() if c.kind == "text"
    ):
        return None
    id_columns = [columns[n] for n in dict.fromkeys(_id_names(mapping)) if n in columns]
    steps_named = _steps_of(columns, mapping)
    step_columns = [columns[name] for name in steps_named]
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
        if found is None or (not has_config[row] and has_step[:row].any()):
            return None
        config.setdefault(int(ids.code[row]), {}).update(_settings(dict(flattened(found))))
    order, bounds = ids.grouped
    runs = []
    for code, run_id in enumerate(ids.names):
        own = order[bounds[code] : bounds[code + 1]]
        own = own[~is_config[own]]
        counted_steps = _own_steps(columns, steps_named, own)
        if counted_steps is None:
            return None
        step_name, steps = counted_steps
        logged, points = _logged(columns, {step_name, *_ID_NAMES}, own, steps)
        settings = config.get(code, {})
        runs.append(_made(run_id, source, logged, settings, step_name, len(own), points))
    return constants_to_config(runs)


def _own_steps(
    columns: dict[str, Column], names: Sequence[str], rows: NDArray[np.intp]
) -> tuple[str | None, NDArray[np.int64]] | None:
    """The name of the column that counts these rows of one run, and its steps; None where they are
    no steps that rise, or some rows have none."""
    named = [name for name in names if columns[name].filled[rows].any()]
    name = next((name for name in named if columns[name].filled[rows].all()), None)
    if name is None:
        return None if len(rows) else (None, np.arange(1, 1))
    column = columns[name]
    if not column.numeric:
        return None
    steps = column.values[rows]
    if not np.all((steps == np.round(steps)) & (np.abs(steps) < _LARGEST_STEP)):
        return None
    steps = steps.astype(np.int64)
    return None if bool((np.diff(steps) < 0).any()) else (name, steps)


def _logged(
    columns: dict[str, Column],
    left_out: Collection[str | None],
    rows: NDArray[np.intp],
    steps: NDArray[np.int64],
) -> tuple[Logged, dict[str, tuple[NDArray[np.int64], Floats]]]:
    """What these rows of one run hold beside `left_out`: words, and points by metric."""
    logged, points = Logged(), {}
    for key, column in columns.items():
        there = column.filled[rows]
        if key in left_out or not there.any():
            continue
        values = column.values[rows[there]]
        if column.kind == "text":
            logged.texts[key] = set(values.tolist())
            logged.written[key] = (steps[there].tolist(), values.tolist())
        elif column.kind == "other":
            logged.others[key] = None
        else:
            points[key] = steps[there], values.astype(np.float64)
    return logged, points


def _columns(data: bytes) -> tuple[dict[str, Column], NDArray[np.bool_]] | None:
    """Every field by name, nested ones joined by dots, and which rows have a `config` object."""
    import pyarrow as pa

    from scaling_cli.arrow import filled_rows

    if _depth(data) > _MOST_NESTED or b'"' not in data[:_SAMPLE]:
        return None
    try:
        table = _parsed(data, _times(data[:_SAMPLE]))
        times = [field.name for field in table.schema if pa.types.is_temporal(field.type)]
        if times:
            table = _parsed(data, times)
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
            text.strip().lower() for text in set(column.values[column.filled].tolist())
        ):
            return None
    return columns, has_config


def _parsed(data: bytes, texts: Collection[str]) -> Any:
    """The lines as Arrow reads them; of these fields it takes no text for a time."""
    import pyarrow as pa
    from pyarrow import json as arrow_json

    schema = pa.schema([(key, pa.string()) for key in texts if storable(key) == key])
    return arrow_json.read_json(
        pa.BufferReader(data),
        arrow_json.ReadOptions(use_threads=False, block_size=_BLOCK),
        arrow_json.ParseOptions(explicit_schema=schema),
    )


def _times(sample: bytes) -> dict[str, None]:
    """The fields whose text looks like a time, for which Arrow would take it."""
    found: dict[str, None] = {}
    for line in sample.split(b"\n")[:-1]:
        if _TIME.search(line):
            found |= {k: None for k, v in (_object(line) or {}).items() if isinstance(v, str)}
    return found


def _depth(data: bytes) -> int:
    """How deep brackets nest at most, or more than that. Arrow would overflow its stack at some
    thousand levels."""
    codes = np.frombuffer(data, np.uint8)
    counts = [int(np.count_nonzero(codes == ord(sign))) for sign in "{[\n"]  # faster than `count`
    opened = counts[0] + counts[1] - counts[2]
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
    first = np.append(True, np.diff(last) != 0)  # of the rows of one run
    names = dict[str, int]()
    told = [stem if row < 0 else column.values[row] for row in last[first].tolist()]
    code = np.array([names.setdefault(text, len(names)) for text in told])[np.cumsum(first) - 1]
    return Labels(code, list(names)), bool(filled.all())


ADAPTER = Adapter(
    NAME, recognises, read, order=BY_LINES, shows_history=shows_history, beside=files_beside
)
