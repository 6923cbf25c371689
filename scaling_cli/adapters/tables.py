"""Columns of any source by name, typed when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_cli.adapters.wire import Ints
from scaling_cli.notes import Note


@dataclass
class Column:
    """A column by type: numbers as float64 with NaN where empty, else objects with None."""

    kind: str  # int | float | bool | text | other, which is no text and no number
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
class Labels:
    """A text in each row, as the number of one of the distinct `names`, in order of appearance."""

    code: NDArray[np.signedinteger[Any]]
    names: list[str]

    def __len__(self) -> int:
        return len(self.code)

    def texts(self) -> list[str]:
        return [self.names[code] for code in self.code.tolist()]

    @cached_property
    def grouped(self) -> tuple[Ints, Ints]:
        """The rows in order of their name, and where each name's begin; one bound more."""
        order = np.argsort(self.code, kind="stable")
        return order, np.searchsorted(self.code[order], np.arange(len(self.names) + 1))


@dataclass
class RawTable:
    """Columns of any source by name. `arrays` are pyarrow's, which `to_column` types when asked;
    `first_row` is the number that a person finds the first of them under."""

    adapter: str
    source: str
    stem: str
    arrays: dict[str, Any]
    rows: int
    to_column: Callable[[Any], Column]
    first_row: int = 1
    notes: list[Note] = field(default_factory=list)
    _typed: dict[str, Column] = field(default_factory=dict)
    _labels: dict[str, Labels] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Column:
        if name not in self._typed:
            self._typed[name] = self.to_column(self.arrays[name])
        return self._typed[name]

    def labels(self, name: str) -> Labels:
        """A column as text, empty where it holds nothing."""
        if name not in self._labels:
            import pyarrow as pa

            from scaling_cli.arrow import from_texts, to_numpy

            (empty,) = from_texts([""])
            encoded = self.arrays[name].cast(pa.string()).fill_null(empty).dictionary_encode()
            names = encoded.dictionary.to_pylist()
            self._labels[name] = Labels(to_numpy(encoded.indices), names)
        return self._labels[name]

    def has_labels(self, name: str) -> bool:
        import pyarrow as pa

        kind = self.arrays[name].type
        return not (pa.types.is_nested(kind) or pa.types.is_binary(kind))

    def named(self, names: Sequence[str]) -> str | None:
        """The first of `names` that is a column, in whatever case."""
        plain = {column.strip().lower().replace(" ", "_"): column for column in self.arrays}
        return next((plain[n] for n in (n.lower() for n in names) if n in plain), None)

    def replace(self, name: str, known: dict[str, float]) -> None:
        """Take the texts of a column for the numbers that they write."""
        cells = self[name]
        values = [
            known[text] if here else 0.0
            for text, here in zip(cells.values, cells.filled, strict=True)
        ]
        self._typed[name] = Column("float", np.array(values), cells.filled)

    def add(self, name: str, column: Column) -> None:
        """Give the table a column of its own."""
        self.arrays[name], self._typed[name] = None, column

    def place(self, row: int) -> str:
        return f"{self.source}: row {row + self.first_row}"


def one_run(table: RawTable) -> Labels:
    """The whole table as one run."""
    return Labels(np.zeros(table.rows, dtype=np.int64), [table.stem])


def distinct(*keys: Any) -> int:
    """How many different rows the columns of numbers have."""
    if not len(keys[0]):
        return 0
    order = np.lexsort(keys)
    new = np.zeros(len(order) - 1, dtype=bool)
    for key in keys:
        new |= key[order][1:] != key[order][:-1]
    return 1 + int(new.sum())


def floats(column: Column) -> NDArray[np.float64]:
    return np.where(column.filled, column.values, np.nan).astype(np.float64)


def one_array(column: Any) -> Any:
    """A pyarrow column as one array, without dictionaries and large offsets."""
    import pyarrow as pa

    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    is_text = pa.types.is_string(array.type) or pa.types.is_large_string(array.type)
    return array.cast(pa.string()) if is_text or pa.types.is_null(array.type) else array


def typed_column(array: Any) -> Column:
    """A pyarrow array as a column."""
    import pyarrow as pa

    from scaling_cli.arrow import filled_rows, to_numpy

    kind = array.type
    filled = filled_rows(array)
    if pa.types.is_integer(kind):
        try:
            return Column("int", to_numpy(array.cast(pa.int64()), 0), filled)
        except pa.ArrowInvalid:  # past 63 bits
            return Column("float", _doubles(array), filled)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return Column("float", _doubles(array), filled)
    if pa.types.is_string(kind) or pa.types.is_temporal(kind):
        return text_column(array.cast(pa.string()))
    values = np.empty(len(array), dtype=object)
    if pa.types.is_binary(kind) or pa.types.is_struct(kind) or pa.types.is_map(kind):
        return Column("other", values, np.zeros(len(array), dtype=bool))
    values[:] = array.to_pylist()
    return Column("bool" if pa.types.is_boolean(kind) else "other", values, filled)


def _doubles(array: Any) -> Any:
    import pyarrow as pa

    from scaling_cli.arrow import to_numpy

    return to_numpy(array.cast(pa.float64(), safe=False))


def text_column(array: Any) -> Column:
    """A column of a pyarrow string array; equal texts are one object."""
    from scaling_cli.arrow import filled_rows, to_numpy

    encoded = array.dictionary_encode()
    names = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
    return Column("text", names[to_numpy(encoded.indices, -1)], filled_rows(array))


def config_key(column: str) -> str:
    for prefix in ("config.", "config/"):
        if column.startswith(prefix) and len(column) > len(prefix):
            return column[len(prefix) :]
    return column
