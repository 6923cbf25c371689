"""Settings that are written as a text: JSON or YAML of the plain kind."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from scaling_cli.adapters.building import flattened, plain_number
from scaling_cli.adapters.files import read_bytes
from scaling_cli.quantities import read_quantity

_FENCE = re.compile(r"^\s*```\w*\s*$", re.MULTILINE)
_YAML = re.compile(r"(-?\s*[\w.\-/]+):(\s.*|)$|#")
_NAME = re.compile(r"[\w.\-]+")


# How trainers call the file of a run's settings, the likeliest first.
_NAMES = ("config", "hparams", "hyperparameters", "params", "args")
_SUFFIXES = (".json", ".yaml")
_FILES = tuple(f"{name}{suffix}" for name in _NAMES for suffix in _SUFFIXES)
_LARGEST = 1 << 20  # bytes


def files_beside(path: Path) -> Sequence[Path]:
    """The files that may hold the settings of a log, whether they are there or not."""
    return _files_in(path.parent)


@lru_cache(maxsize=1 << 10)
def _files_in(folder: Path) -> Sequence[Path]:
    return tuple(folder / name for name in _FILES)


def beside(log: Path, alone: bool) -> tuple[str, dict[str, Any]]:
    """The file of settings of a log, and what it holds; empty if there is none. Of a log that is
    not `alone` in its folder only Lightning says which is its own."""
    if not alone and log.name != "metrics.csv":
        return "", {}
    for path in files_beside(log):
        if not alone and path.name != "hparams.yaml":
            continue
        if not path.is_file() or path.stat().st_size > _LARGEST:
            continue
        text = read_bytes(path, path.as_posix()).decode("utf-8", "replace")
        if path.suffix == ".json":
            try:
                told = json.loads(text)
            except (ValueError, RecursionError):
                continue
            found = dict(flattened(told)) if isinstance(told, dict) else {}
        else:
            found = of_yaml(text)
        if found:
            return path.as_posix(), {k: v for k, v in found.items() if v is not None}
    return "", {}


def settings_in(tag: str, told: str) -> dict[str, Any]:
    """The settings that a text holds: a JSON object or flat YAML, as it is or in Markdown; or the
    one value of the setting that the tag names, as Megatron logs its arguments."""
    body = _FENCE.sub("", told.replace("\t", "    ")).strip()
    lines = [line.strip() for line in body.splitlines() if line.strip()]
    if body.startswith("{"):
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            return {}
        flat = dict(flattened(found)) if isinstance(found, dict) else {}
        return {key: value for key, value in flat.items() if value is not None}
    if len(lines) > 1 and all(_YAML.match(line) for line in lines):
        return of_yaml(body)
    if len(lines) == 1 and _NAME.fullmatch(tag):
        value = _scalar(lines[0])
        return {tag: value} if isinstance(value, int | float) else {}
    return {}


def of_yaml(body: str) -> dict[str, Any]:
    """Nested `key: value` lines, their keys joined by dots; lists are left out."""
    found: dict[str, Any] = {}
    above: list[tuple[int, str]] = []
    for line in body.splitlines():
        told = _YAML.match(line.strip())
        if told is None or line.strip().startswith(("-", "#")):
            continue
        depth = len(line) - len(line.lstrip())
        above = [(d, key) for d, key in above if d < depth]
        if told[2].strip():
            found[".".join([*(key for _, key in above), told[1]])] = _scalar(told[2].strip())
        else:
            above.append((depth, told[1]))
    return {key: value for key, value in found.items() if value is not None}


def _scalar(told: str) -> Any:
    if told in ("None", "null", "~"):
        return None
    if told.lower() in ("true", "false"):
        return told.lower() == "true"
    number = read_quantity(told) if told[:1] in "+-.0123456789" else None
    return told.strip("'\"") if number is None else plain_number(number)
