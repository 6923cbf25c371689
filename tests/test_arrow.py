"""Arrays made without pandas are those that pyarrow makes itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling_cli.arrow import filled_rows, from_lists, from_numpy, from_texts, to_numpy

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"])))
KINDS = [pa.int8(), pa.uint16(), pa.int32(), pa.int64(), pa.float32(), pa.float64()]


@given(TEXTS)
def test_texts_are_those_of_pyarrow(texts: list[str]) -> None:
    made = from_texts(texts)
    made.validate(full=True)
    assert made.equals(pa.array(texts, pa.string()))


@given(st.lists(TEXTS))
def test_lists_are_those_of_pyarrow(lists: list[list[str]]) -> None:
    made = from_lists(lists, from_texts([text for part in lists for text in part]))
    made.validate(full=True)
    assert made.equals(pa.array(lists, pa.list_(pa.string())))


@pytest.mark.parametrize("dtype", ["int64", "uint64", "float64", "bool"])
@given(numbers=st.lists(st.integers(0, 2**52)))
def test_numbers_are_those_of_pyarrow(dtype: str, numbers: list[int]) -> None:
    values = np.array(numbers, dtype=np.int64).astype(dtype)
    made = from_numpy(values[::-1])
    made.validate(full=True)
    assert made.equals(pa.array(values[::-1]))


@given(data=st.data())
def test_numbers_of_an_array_are_those_of_pyarrow(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    whole = data.draw(st.lists(st.none() | st.integers(0, 100)))
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(whole))] * 2)))
    array: Any = pa.array(whole, kind).slice(start, stop - start)
    np.testing.assert_array_equal(filled_rows(array), [n is not None for n in whole[start:stop]])
    read = to_numpy(array, 7)
    assert read.dtype == kind.to_pandas_dtype()
    np.testing.assert_array_equal(read, array.fill_null(7).to_numpy(zero_copy_only=False))
    if pa.types.is_floating(kind):
        np.testing.assert_array_equal(to_numpy(array), array.to_numpy(zero_copy_only=False))


def test_an_array_without_values_has_no_filled_row() -> None:
    assert not filled_rows(pa.nulls(3)).any()
    assert not filled_rows(pa.nulls(3, pa.float64())).any()
