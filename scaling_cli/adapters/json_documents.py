"""JSON files that are one document: rows, columns, a run's result, or TensorBoard's download.

[{"step": 100, "loss": 5.1}, ...]               rows; also as a list within an object
{"step": [100, 200], "loss": [5.1, 4.8]}        columns, as Keras' History has them
{"loss": {"steps": [100], "values": [5.1]}}     the same by metric, as Sacred has them
{"n_params": 3e7, "tokens": 6e8, "val_loss": 4} the result of one run
[{"name": "a", "config": {...}, "log": [...]}]  runs, each with its rows or columns
[[1764337000.1, 100, 5.1], ...]                 wall time, step and value, as TensorBoard's
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scaling_cli.adapters.building import flattened
from scaling_cli.adapters.files import download_of, stem_of, suffix_of
from scaling_cli.counts import names_params, names_tokens
from scaling_cli.errors import InputError
from scaling_cli.expressions import as_number
from scaling_cli.losses import is_loss
from scaling_cli.spelling import last_part
from scaling_cli.steps import CALLS, own_rank

Row = dict[str, Any]

_WHOLE = 1 << 16  # bytes of a head that may cut the document off
_ROWS = re.compile(rb"\s*\[\s*\{")
_POINTS = re.compile(rb"\s*\[\s*\[\s*1\d{9}(?:\.\d+)?\s*,\s*\d+\s*,")  # times since 1970
_KEY_OF_NUMBER = re.compile(rb"\"([^\"]{1,80})\"\s*:\s*\"?-?[\d.]")
_SACRED = ("steps", "values")
_NAMES = ("run_id", "id", "run", "run_name", "name")
_KEY_OF_LIST = re.compile(rb"\"([^\"]{1,80})\"\s*:\s*\[\s*(?:-?[\d.]|\{)")


def recognises(path: Path, head: bytes) -> bool:
    """Whether a document holds what a training logs."""
    if _ROWS.match(head):
        return knows(_KEY_OF_NUMBER.findall(head))
    if suffix_of(path) != ".json":
        return False
    if _POINTS.match(head):
        return True
    if not head.lstrip().startswith(b"{"):
        return False
    if len(head) >= _WHOLE:
        return knows(_KEY_OF_LIST.findall(head)) and b'"log_history"' not in head
    try:
        return bool(_rows_of(json.loads(head), path))
    except (ValueError, RecursionError):
        return False


def is_document(path: Path, data: bytes) -> bool:
    """Whether a file is to be read as one document, rather than line by line."""
    if suffix_of(path) in (".jsonl", ".ndjson"):
        return False
    if _ROWS.match(data) or _POINTS.match(data):
        return True
    return suffix_of(path) == ".json" and data.lstrip()[:1] == b"{" and _is_whole(data)


def _is_whole(data: bytes) -> bool:
    first = data.lstrip().split(b"\n", 1)[0]
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return True
    return not data.lstrip()[len(first) :].strip()


def rows(path: Path, data: bytes, source: str) -> list[tuple[int, Row]]:
    """The rows of a document, numbered from one."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{source} is no whole JSON document: {error}",
            "Write it to its end, or one object a line.",
        ) from error
    made = _rows_of(document, path)
    if not made:
        raise InputError(
            f"{source} holds no rows of steps and losses", "Give an object for each row."
        )
    return list(enumerate(made, 1))


def knows(names: Iterable[Any]) -> bool:
    """Whether some name is known as a step's or a loss's."""
    texts = (name.decode("utf-8", "replace") if isinstance(name, bytes) else name for name in names)
    return any(own_rank(text) is not None or is_loss(text) or text in CALLS for text in texts)


def _rows_of(document: Any, path: Path) -> list[Row]:
    if isinstance(document, list):
        if document and isinstance(document[0], list):
            return _points(document, path)
        rows = [row for row in document if isinstance(row, dict)]
        return _listed_runs(rows) or rows
    if not isinstance(document, dict):
        return []
    named = [row | {"run": f"{stem_of(path)}/{row['run']}"} for row in _by_run(document)]
    rows = _columns(document) or _by_metric(document) or _history(document)
    return rows or named or _result(document)


def _points(document: list[Any], path: Path) -> list[Row]:
    """Rows of wall time, step and value; the file's name says of what."""
    metric = download_of(path)[1]
    whole = [row for row in document if isinstance(row, list) and len(row) == 3]
    return [{"step": step, metric: value} for _, step, value in whole]


def _columns(document: Row) -> list[Row]:
    """Rows from lists of one length, with the other values as settings."""
    lists = {k: v for k, v in document.items() if isinstance(v, list) and v and _are_numbers(v)}
    longest = max(map(len, lists.values()), default=0)
    held = {key: values for key, values in lists.items() if len(values) == longest}
    if longest < 2 or not any(map(is_loss, held)):
        return []
    settings = {key: value for key, value in document.items() if key not in lists}
    made = [dict(zip(held, values, strict=True)) for values in zip(*held.values(), strict=True)]
    return [_as_config(settings), *made] if settings else made


def _by_metric(document: Row) -> list[Row]:
    """Rows from lists of steps and values under the names of metrics."""
    rows: dict[Any, Row] = {}
    for name, value in document.items():
        steps, values = (value.get(key) if isinstance(value, dict) else None for key in _SACRED)
        if not isinstance(steps, list) or not isinstance(values, list) or not _are_numbers(values):
            return []
        if not all(type(step) is int for step in steps):
            return []
        for step, number in zip(steps, values, strict=False):
            rows.setdefault(step, {"step": step})[name] = number
    return [rows[step] for step in sorted(rows)] if any(map(is_loss, document)) else []


def _history(document: Row) -> list[Row]:
    """A list of rows within an object, with the other values as settings."""
    for key, value in document.items():
        if (
            not isinstance(value, list)
            or not value
            or not all(isinstance(row, dict) for row in value)
        ):
            continue
        runs = _listed_runs(value)
        if runs:
            return runs
        if len(value) > 1 and knows(name.rpartition(".")[2] for name, _ in flattened(value[0])):
            settings = {k: v for k, v in document.items() if k != key and not isinstance(v, list)}
            return [_as_config(settings), *value] if settings else value
    return []


def _as_config(settings: Row) -> Row:
    """What stands beside the rows as one line of settings, those under `config` among them."""
    own = settings.get("config")
    if isinstance(own, dict):
        settings = {k: v for k, v in settings.items() if k != "config"} | own
    return {"config": settings}


def _listed_runs(elements: list[Any]) -> list[Row]:
    """The rows of runs that are listed with a history each."""
    found: list[Row] = []
    for place, element in enumerate(elements, 1):
        own = _columns(element) or _history(element)
        if not own:
            return []
        named = (element.get(key) for key in _NAMES)
        name = next((str(value) for value in named if isinstance(value, str | int)), str(place))
        found += [{"run": name, **row} for row in own]
    return found


def _by_run(document: Row) -> list[Row]:
    """Objects with a history or a result each, under the names of their runs; those of a task or a
    corpus may stand in an object of their own."""
    rows: list[Row] = []
    for name, value in document.items():
        if not isinstance(value, dict):
            return []
        within = _by_run(value)
        own = within or _columns(value) or _history(value) or _result(value)
        if not own:
            return []
        rows += [row | {"run": f"{name}/{row['run']}" if within else name} for row in own]
    return rows


def _result(document: Row) -> list[Row]:
    """The document as the row of a run, if it has a loss and a size."""
    flat = {key: value for key, value in flattened(document) if as_number(value) is not None}
    ends = [last_part(key) for key in flat]
    sized = any(names_params(key) or names_tokens(key, logged=False) for key in ends)
    return [document] if sized and any(map(is_loss, ends)) else []


def _are_numbers(values: list[Any]) -> bool:
    return all(value is None or as_number(value) is not None for value in values)
