"""A table from what a notebook holds: arrays by name, a data frame, or anything of Arrow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from scaling_cli.compute import SIX_ND
from scaling_cli.errors import InputError
from scaling_cli.expressions import parse
from scaling_cli.table import Table


def table_of(data: Any, columns: Mapping[str, str] | None = None) -> Table:
    """The rows of `data`, one a run, or one a point of the run that a column `run_id` names.

    `data` maps names to arrays [n], or is a pandas or polars frame, a pyarrow table or whatever
    else has `__arrow_c_stream__`, or a Table. `columns` says what is called otherwise in it: a
    column's name -> a name or an expression over names. Compute that is not there is 6 N D.
    """
    table = data if isinstance(data, Table) else _read(data)
    named = dict(columns or {})
    for name, text in named.items():
        known = text in table.columns or table.labels.find(text) is not None
        values = table.look_up(text) if known else parse(text).evaluate(table.look_up)
        values = np.broadcast_to(np.asarray(values, dtype=np.float64), len(table)).copy()
        table = table.with_columns(**{name: values})
    if {"params", "tokens"} <= table.columns.keys() and "flops" not in table.columns:
        flops = SIX_ND.flops(table.columns["params"], table.columns["tokens"])
        table = table.with_columns(flops=flops)
    return table


def _read(data: Any) -> Table:
    columns = columns_of(data)
    if not columns:
        raise InputError("the data hold no column", "Give arrays by name: {'params': [...], ...}.")
    ids = columns.pop("run_id", None)
    return Table.from_columns(columns, None if ids is None else [str(i) for i in list(ids)])


def columns_of(data: Any) -> dict[str, Any]:
    """The columns of `data` [n] by name."""
    if isinstance(data, Mapping):
        return {str(name): values for name, values in data.items()}
    if hasattr(data, "iloc") and hasattr(data, "columns"):  # a pandas frame needs no pyarrow
        return {str(name): _of_series(data[name]) for name in data.columns}
    if hasattr(data, "__arrow_c_stream__"):
        from scaling_cli.arrow import columns_of_stream

        return columns_of_stream(data)
    raise InputError(
        f"{type(data).__name__} is no table",
        "Give arrays by name, a data frame, a pyarrow table, or a project.",
    )


def _of_series(series: Any) -> Any:
    if series.dtype.kind in "biuf":
        return series.to_numpy(dtype=np.float64, na_value=np.nan)
    return series.to_numpy(dtype=object)
