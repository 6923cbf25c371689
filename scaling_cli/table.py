"""A table of runs: named columns of numbers, one row a run, and what is known of each row."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_cli.columns import COLUMNS
from scaling_cli.errors import InputError
from scaling_cli.expressions import as_number, is_missing, parse, truth
from scaling_cli.mapping import near
from scaling_cli.notes import Note
from scaling_cli.records import Floats
from scaling_cli.store import RunRecord

# Event files hold 24 bits of a number (6e-8 of it); the runs of two seeds differ by far more.
_SAME_NUMBER = 1e-6


RUN_FIELDS = ("run_id", "name", "group", "status", "source", "tags")


Mask = NDArray[np.bool_]


class _Status(str):
    """A run's status that also equals the source's own word for it (`crashed` for `failed`)."""

    word: str

    def __new__(cls, status: str, word: str) -> _Status:
        made = super().__new__(cls, status)
        made.word = word
        return made

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other) is True or self.word == other

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


@dataclass(frozen=True)
class Table:
    """One row a run. `columns` holds canonical and mapped columns [n], NaN where a run has none;
    `runs[i]` is the run of row i; `by` is what the mapping groups by."""

    columns: dict[str, Floats]
    runs: tuple[RunRecord, ...]
    notes: tuple[Note, ...] = ()
    by: tuple[str, ...] = ()
    _looked_up: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.runs)

    def select(self, mask: Mask | Sequence[bool]) -> Table:
        """The rows where `mask` is true."""
        rows = np.flatnonzero(np.asarray(mask, dtype=bool))
        return Table(
            {name: values[rows] for name, values in self.columns.items()},
            tuple(self.runs[row] for row in rows),
            self.notes,
            self.by,
        )

    def matches(self, expression: str) -> Mask:
        """Which rows a filter such as `params < 1B and config.dataset == "c4"` holds for."""
        return np.broadcast_to(truth(parse(expression).evaluate(self.look_up)), len(self)).copy()

    def groups(self, by: Sequence[str]) -> list[tuple[dict[str, Any], Table]]:
        """The rows parted by the values of `by`, in sorted order; without `by`, all in one."""
        if not by:
            return [({}, self)]
        keys = [[_plain(value) for value in self.look_up(name).tolist()] for name in by]
        rows: dict[str, list[int]] = {}
        values: dict[str, tuple[Any, ...]] = {}
        for row, key in enumerate(zip(*keys, strict=True)):
            label = repr(key)
            rows.setdefault(label, []).append(row)
            values[label] = key
        ordered = sorted(rows, key=lambda label: [_rank(value) for value in values[label]])
        found = []
        for label in ordered:
            mask = np.zeros(len(self), dtype=bool)
            mask[rows[label]] = True
            found.append((dict(zip(by, values[label], strict=True)), self.select(mask)))
        return found

    def logged_groups(self) -> list[str]:
        """The group that its logger gave each run, or none."""
        return [run.group for run in self.runs]

    def digest(self) -> str:
        """A hash of the runs and of every number: equal digests give equal fits."""
        digest = hashlib.sha256("\0".join(run.run_key for run in self.runs).encode())
        for name in sorted(self.columns):
            digest.update(f"\0{name}\0".encode())
            digest.update(np.ascontiguousarray(self.columns[name], dtype="<f8").tobytes())
        return digest.hexdigest()

    def look_up(self, name: str) -> Any:
        """A name's value for each row: run field, column, config key, then logged metric."""
        if name not in self._looked_up:
            self._looked_up[name] = self._find(name)
        return self._looked_up[name]

    def numbers(self, name: str) -> Floats:
        """A column, or what else a run calls so, as numbers [n]; NaN where it is none."""
        if name in self.columns:
            return self.columns[name]
        try:
            values = self.look_up(name).tolist()
        except InputError:
            return np.full(len(self), np.nan)
        numbers = [as_number(value) for value in values]
        return np.array([np.nan if n is None else n for n in numbers], dtype=np.float64)

    def _find(self, name: str) -> Any:
        if name in RUN_FIELDS:
            return _objects([self._field(run, name) for run in self.runs])
        if name in self.columns:
            return self.columns[name]
        keys = self._config_keys()
        for key in dict.fromkeys((name, name.removeprefix("config."))):
            if key in keys:
                return self._config(key)
            ending = [k for k in keys if k.endswith((f".{key}", f"/{key}"))]
            if len(ending) == 1:
                return self._config(ending[0])
        if any(name in run.summary for run in self.runs):
            return np.array([run.summary.get(name, np.nan) for run in self.runs])
        if name in COLUMNS and not self.runs:
            return np.empty(0)
        known = list(
            dict.fromkeys([*RUN_FIELDS, *self.columns, *sorted(keys), *sorted(self._metrics())])
        )
        if not self.runs:
            return _objects([])
        hint = near(name, known) or f"There are {', '.join(known[:20])}."
        if any(re.split(r"\W", metric)[0] == name for metric in self._metrics()):
            hint += " A name with a slash or a space stands in backticks."
        raise InputError(f"No run has {name!r}", hint)

    def _field(self, run: RunRecord, name: str) -> Any:
        if name == "status":
            words = (run.config.get(key) for key in ("status", "state", "State", "Status"))
            return _Status(run.status, next((w for w in words if isinstance(w, str)), run.status))
        if name == "source":  # a table's own column says more than the name of its file
            return run.config.get("source", run.source)
        return getattr(run, name)

    def _config(self, key: str) -> Any:
        return _objects([run.config.get(key) for run in self.runs])

    def _config_keys(self) -> set[str]:
        return {key for run in self.runs for key in run.config}

    def _metrics(self) -> set[str]:
        return {name for run in self.runs for name in run.summary}


def _objects(values: Sequence[Any]) -> Any:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _plain(value: Any) -> Any:
    """A group's value as JSON holds it, whole numbers as such."""
    if is_missing(value):
        return None
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return str(value) if isinstance(value, str) else value


def _rank(value: Any) -> tuple[int, Any]:
    """Numbers, then texts, then rows without a value."""
    if value is None:
        return (2, 0)
    return (1, value) if isinstance(value, str) else (0, value)


def same_run_twice(rows: Table) -> list[Note]:
    """A note on runs of two loggers with one id, below whatever folder, and one loss, params and
    tokens at the end."""
    ids = [run.run_id.rpartition("/")[2] for run in rows.runs]
    if len(set(ids)) == len(ids) or len({_logger(run) for run in rows.runs}) < 2:
        return []
    final = np.column_stack([rows.numbers(name) for name in ("loss", "params", "tokens")])
    order = sorted(range(len(rows)), key=lambda row: (ids[row], final[row, 0]))
    pairs = {
        (rows.runs[a].run_key, rows.runs[b].run_key): (rows.runs[a], rows.runs[b])
        for a, b in pairwise(order)
        if ids[a] == ids[b]
        and _logger(rows.runs[a]) != _logger(rows.runs[b])
        and np.isfinite(final[a, 0])
        and np.allclose(final[a], final[b], rtol=_SAME_NUMBER, atol=0, equal_nan=True)
    }
    if not pairs:
        return []
    one, other = next(iter(pairs.values()))
    more = f", and {len(pairs) - 1} more such pairs" if len(pairs) > 1 else ""
    message = (
        f"{one.run_key} (from {one.source}) and {other.run_key} (from {other.source}) look like"
        f" one run that counts twice{more}. Leave one out, as by"
        f" --where 'source != \"{other.source}\"',"
        " or ingest what one logger wrote into a store of its own."
    )
    return [Note("same_run_twice", "warning", message)]


def duplicates(rows: Table) -> list[Note]:
    """A note on runs all of whose numbers are another's too."""
    names = [name for name in rows.columns if np.isfinite(rows.columns[name]).any()]
    table = np.column_stack([rows.columns[name] for name in names]) if names else np.empty((0, 0))
    first: dict[bytes, str] = {}
    again = [
        (run.run_id, before)
        for run, numbers in zip(rows.runs, table, strict=False)
        if (before := first.setdefault(numbers.tobytes(), run.run_key)) != run.run_key
    ]
    if not again:
        return []
    one, other = again[0]
    message = (
        f"{len(again)} of {len(rows)} runs have the numbers of another ({one} those of {other}):"
        " if they are copies, each counts as often as it is there, and the intervals are too"
        " narrow. Leave the copies out by --where."
    )
    return [Note("duplicate_runs", "warning", message)]


def _logger(run: RunRecord) -> str:
    logger, colon, _ = run.run_key.partition(":")
    return logger if colon else ""
