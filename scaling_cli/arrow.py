"""pyarrow's arrays from Python's and numpy's values, and back, without pandas.

`pa.array`, `pa.scalar`, `fill_null(0)` and `to_numpy` import pandas, wherever it is installed, to
ask whether they were given something of pandas's: 0.5 s, more than all else of the ingest of a
small table. Buffers are passed without that question.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_MOST_BYTES = 2**31 - 1  # of an array's texts, whose bounds are 32-bit numbers


def from_texts(texts: Sequence[str]) -> pa.Array:
    """An array of strings; where they are more than one can hold, in chunks."""
    encoded = [text.encode() for text in texts]
    ends = _ends(encoded)
    if ends[-1] > _MOST_BYTES:
        return pa.array(texts, pa.string())
    content = pa.py_buffer(b"".join(encoded))
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends.astype(np.int32)), content)


def from_numpy(values: NDArray[Any]) -> pa.Array:
    """An array of the numbers or truth values [n]."""
    content = np.packbits(values, bitorder="little") if values.dtype == bool else values
    buffers = [None, pa.py_buffer(np.ascontiguousarray(content))]
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), buffers)


def from_lists(parts: Sequence[Collection[Any]], values: pa.Array) -> pa.ListArray:
    """An array of lists as long as `parts`, whose values stand one after another in `values`."""
    return pa.ListArray.from_arrays(from_numpy(_ends(parts).astype(np.int32)), values)


def to_numpy(array: pa.Array, missing: float = np.nan) -> NDArray[Any]:
    """The numbers of an array [n], `missing` where it has none."""
    dtype = np.dtype(array.type.to_pandas_dtype())
    content = array.buffers()[1]
    if content is None:
        return np.full(len(array), missing, dtype)
    values = np.frombuffer(content, dtype, len(array), array.offset * dtype.itemsize)
    return np.where(filled_rows(array), values, dtype.type(missing)) if array.null_count else values


def filled_rows(array: pa.Array) -> NDArray[np.bool_]:
    """Which rows of an array [n] hold a value."""
    if array.null_count in (0, len(array)):
        return np.full(len(array), array.null_count == 0)
    bits = np.frombuffer(array.buffers()[0], np.uint8)
    ends = array.offset + len(array)
    return np.unpackbits(bits, count=ends, bitorder="little")[array.offset :].view(np.bool_)


def packed(columns: Mapping[str, NDArray[Any] | Sequence[str]]) -> bytes:
    """Columns of numbers or of texts, all of one length, as a stream of Arrow's."""
    names = list(columns)
    arrays = [
        from_numpy(values) if isinstance(values, np.ndarray) else from_texts(values)
        for values in columns.values()
    ]
    batch = pa.record_batch(arrays, names)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def unpacked(content: bytes) -> dict[str, Any]:
    """What was packed: numbers as arrays [n] of their own, texts as lists [n]."""
    batch = pa.ipc.open_stream(content).read_next_batch()
    return {
        name: column.to_pylist() if pa.types.is_string(column.type) else to_numpy(column).copy()
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }


def columns_of_stream(data: Any) -> dict[str, Any]:
    """The columns of whatever has `__arrow_c_stream__`: numbers as float64 [n], NaN where there is
    none, anything else as lists [n]."""
    table = pa.table(data)
    return {name: _values(table.column(i)) for i, name in enumerate(table.column_names)}


def _values(column: pa.ChunkedArray) -> Any:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return column.to_pylist()
    if pa.types.is_boolean(kind) or pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return column.to_pylist()
    elif kind != pa.float64():
        column = column.cast(pa.float64(), safe=False)
    chunks = [to_numpy(chunk) for chunk in column.chunks]
    return np.concatenate(chunks) if chunks else np.empty(0)


def _ends(parts: Sequence[Collection[Any]]) -> NDArray[np.int64]:
    return np.cumsum([0, *map(len, parts)], dtype=np.int64)
