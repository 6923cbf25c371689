"""A table: named columns of numbers, and for each row the run that it belongs to and its labels."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from scaling_cli.columns import COLUMNS
from scaling_cli.errors import InputError
from scaling_cli.expressions import as_number, is_missing, objects, parse, truth
from scaling_cli.notes import Note
from scaling_cli.records import Floats
from scaling_cli.spelling import near

Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]


class Labels(Protocol):
    """What rows are called, apart from their columns: texts, settings, whatever a filter asks."""

    def find(self, name: str) -> Any | None:
        """The value of a name in each row [n]; None where no row has it."""

    def known(self) -> list[str]:
        """The names that can be found."""

    def origin(self, name: str) -> str:
        """Where the values of a name that can be found come from."""

    def remarks(self, names: Iterable[str]) -> list[Note]:
        """Notes on those of the names that could mean more than one thing."""

    def take(self, rows: Rows) -> Labels:
        """The labels of these rows, which may repeat."""


@dataclass(frozen=True)
class Texts:
    """Labels as arrays [n] by name."""

    values: Mapping[str, Any] = field(default_factory=dict)

    def find(self, name: str) -> Any | None:
        return self.values.get(name)

    def known(self) -> list[str]:
        return list(self.values)

    def origin(self, name: str) -> str:
        return name

    def remarks(self, names: Iterable[str]) -> list[Note]:
        return []

    def take(self, rows: Rows) -> Texts:
        return Texts({name: values[rows] for name, values in self.values.items()})


@dataclass(frozen=True)
class Table:
    """Rows of runs. `columns` holds numbers [n] in base units, NaN where a row has none.

    `run_ids` [n] name the run of each row to people, and `owners` [n] name it for good: rows of
    one owner are points of one run, and so not independent. `by` is what rows are grouped by
    where nobody says otherwise. `points` has every logged point of the same runs, where it was
    read.
    """

    columns: dict[str, Floats]
    run_ids: tuple[str, ...]
    owners: tuple[str, ...]
    labels: Labels = field(default_factory=Texts)
    notes: tuple[Note, ...] = ()
    by: tuple[str, ...] = ()
    points: Table | None = None

    @staticmethod
    def from_columns(
        columns: Mapping[str, Any],
        run_ids: Sequence[str] | None = None,
        owners: Sequence[str] | None = None,
        by: Iterable[str] = (),
    ) -> Table:
        """A table of arrays [n] by name: those of numbers are columns, the others labels.

        Without `run_ids` and `owners` each row is a run of its own.
        """
        arrays = {name: _as_numbers(np.asarray(values)) for name, values in columns.items()}
        lengths = {name: len(values) for name, values in arrays.items() if values.ndim == 1}
        if len(lengths) < len(arrays) or len(set(lengths.values())) > 1:
            shapes = ", ".join(f"{name} {np.shape(values)}" for name, values in arrays.items())
            raise InputError(f"columns differ in length: {shapes}", "Give one value a run in each.")
        count = next(iter(lengths.values()), 0)
        numbers = {n: v for n, v in arrays.items() if v.dtype == np.float64}
        texts = {n: objects(v.tolist()) for n, v in arrays.items() if n not in numbers}
        ids = tuple(run_ids or owners or (f"run{i}" for i in range(count)))
        return Table(numbers, ids, tuple(owners or ids), Texts(texts), (), tuple(by))

    def __len__(self) -> int:
        return len(self.owners)

    def __reduce__(self) -> tuple[Any, ...]:
        """As it is sent to workers: its columns and the names of its runs as Arrow."""
        from scaling_cli.arrow import packed

        texts = {"run_id": self.run_ids, "owner": self.owners}
        rest = (self.labels, self.notes, self.by, self.points)
        return _unpacked, (packed(texts), packed(self.columns), *rest)

    @property
    def n_runs(self) -> int:
        """How many runs the rows belong to."""
        return len(set(self.owners))

    def owner_numbers(self) -> Rows:
        """The run of each row [n], numbered from 0 in the order in which they come."""
        return numbered(self.owners)

    def take(self, rows: Rows) -> Table:
        """These rows, which may repeat."""
        places = rows.tolist()
        return replace(
            self,
            points=self._points_of(rows),
            columns={name: values[rows] for name, values in self.columns.items()},
            run_ids=tuple(self.run_ids[row] for row in places),
            owners=tuple(self.owners[row] for row in places),
            labels=self.labels.take(rows),
        )

    def _points_of(self, rows: Rows) -> Table | None:
        if self.points is None:
            return None
        kept = {self.owners[row] for row in rows.tolist()}
        return self.points.select([owner in kept for owner in self.points.owners])

    def with_points(self, points: Table) -> Table:
        """The same rows with those of the logged points that are of their runs."""
        owners = set(self.owners)
        return replace(self, points=points.select([owner in owners for owner in points.owners]))

    def select(self, mask: Mask | Sequence[bool]) -> Table:
        """The rows where `mask` is true."""
        kept = np.asarray(mask, dtype=bool)
        return self if kept.all() else self.take(np.flatnonzero(kept))

    def with_columns(self, **columns: Floats) -> Table:
        """The same rows with more columns, or others."""
        return replace(self, columns={**self.columns, **columns})

    def of_columns(self, columns: dict[str, Floats]) -> Table:
        """The same rows with these columns alone."""
        return replace(self, columns=columns)

    def with_notes(self, notes: Iterable[Note]) -> Table:
        """The same rows with more notes."""
        return replace(self, notes=(*self.notes, *notes))

    def matches(self, expression: str) -> Mask:
        """Which rows a filter such as `params < 1B and config.dataset == "c4"` holds for."""
        return np.broadcast_to(truth(parse(expression).evaluate(self.look_up)), len(self)).copy()

    def groups(self, by: Sequence[str]) -> list[tuple[dict[str, Any], Table]]:
        """The rows parted by the values of `by`, in sorted order; without `by`, all in one."""
        if not by:
            return [({}, self)]
        return [(group, self.take(rows)) for group, rows in self.parted(by)]

    def parted(self, by: Sequence[str]) -> list[tuple[dict[str, Any], Rows]]:
        """Each group of values of `by`, in sorted order, and its rows."""
        keys = [[_plain(value) for value in self.look_up(name).tolist()] for name in by]
        rows: dict[str, list[int]] = {}
        values: dict[str, tuple[Any, ...]] = {}
        for row, key in enumerate(zip(*keys, strict=True) if by else [()] * len(self)):
            label = repr(key)
            rows.setdefault(label, []).append(row)
            values[label] = key
        ordered = sorted(rows, key=lambda label: [_rank(value) for value in values[label]])
        return [
            (dict(zip(by, values[label], strict=True)), np.array(rows[label])) for label in ordered
        ]

    def logged_groups(self) -> list[str]:
        """The group that its logger gave the run of each row, or none."""
        groups = self.labels.find("group")
        return [""] * len(self) if groups is None else [str(group) for group in groups.tolist()]

    def digest(self) -> str:
        """A hash of the runs and of every number: equal digests give equal fits."""
        digest = hashlib.sha256("\0".join(self.owners).encode())
        for name in sorted(self.columns):
            digest.update(f"\0{name}\0".encode())
            digest.update(np.ascontiguousarray(self.columns[name], dtype="<f8").tobytes())
        return digest.hexdigest()

    def remarks(self, names: Iterable[str]) -> list[Note]:
        """Notes on those of the names that are no columns and could mean more than one thing."""
        return self.labels.remarks(name for name in names if name not in self.columns)

    def has(self, name: str) -> bool:
        """Whether any row has a number of this name."""
        return bool(np.isfinite(self.numbers(name)).any())

    def look_up(self, name: str) -> Any:
        """The value of a name in each row [n]: a column, else a label. InputError for no name."""
        values = self._values(name)
        if values is not None:
            return values
        known = list(dict.fromkeys([*self.columns, *self.labels.known()]))
        if name in ("null", "None", "nan"):
            raise InputError(f"No run has {name!r}", "For a missing value write `is null`.")
        hint = near(name, known)
        if not hint:
            hint = f"There are {', '.join(known[:20])}. A text stands in quotes: {name!r}."
        if any(_first(other) == name for other in known):
            hint += " A name with a slash or a space stands in backticks."
        raise InputError(f"No run has {name!r}", hint)

    def _values(self, name: str) -> Any | None:
        """The value of a name in each row [n]; None where no row has one."""
        if name in self.columns:
            return self.columns[name]
        values = self.labels.find(name)
        if values is not None:
            return values
        if name == "run_id":
            return objects(self.run_ids)
        if not len(self):
            return np.empty(0) if name in COLUMNS else objects([])
        return None

    def numbers(self, name: str) -> Floats:
        """A column, or what else the rows call so, as numbers [n]; NaN where it is none. A config
        key named as a column that was not read is not it: the ingest had a reason."""
        if name in self.columns:
            return self.columns[name]
        values = None if name in COLUMNS else self._values(name)
        if values is None:
            return np.full(len(self), np.nan)
        numbers = [as_number(value) for value in values.tolist()]
        return np.array([np.nan if n is None else n for n in numbers], dtype=np.float64)


def _unpacked(texts: bytes, columns: bytes, *rest: Any) -> Table:
    from scaling_cli.arrow import unpacked

    ids = unpacked(texts)
    return Table(unpacked(columns), tuple(ids["run_id"]), tuple(ids["owner"]), *rest)


def _as_numbers(values: NDArray[Any]) -> NDArray[Any]:
    """Values [n] as float64 where each is a number, or None for a missing one."""
    if values.dtype.kind in "biuf":
        return values.astype(np.float64)
    items = values.tolist()
    if values.dtype != object or not all(
        v is None or isinstance(v, (bool, int, float)) for v in items
    ):
        return values
    return np.array([np.nan if item is None else item for item in items], dtype=np.float64)


def numbered(names: Sequence[str]) -> Rows:
    """Equal names as equal numbers [n], from 0 in the order in which they come."""
    places: dict[str, int] = {}
    return np.array([places.setdefault(name, len(places)) for name in names], dtype=np.intp)


def _first(name: str) -> str:
    """What stands before the first slash or space of a name that has one."""
    match = re.match(r"(\w+)[^\w.]", name)
    return match[1] if match else ""


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
