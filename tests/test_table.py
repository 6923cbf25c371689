"""A table made of arrays, as whoever has no store makes one."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from scaling_cli.errors import InputError
from scaling_cli.expressions import objects
from scaling_cli.names import Document, RunNames
from scaling_cli.table import Table

SIX = {
    "params": [1, 2, 3, 4, 5, 6],
    "loss": [6.0, 5.0, 4.0, 3.0, 2.0, 1.0],
    "recipe": ["web", "web", "code", "code", "web", "code"],
}


def test_numbers_are_columns_and_texts_labels() -> None:
    rows = Table.from_columns(SIX)
    assert set(rows.columns) == {"params", "loss"}
    assert all(values.dtype == np.float64 for values in rows.columns.values())
    kept = rows.select(rows.matches("recipe == 'web' and params > 1"))
    assert kept.columns["params"].tolist() == [2, 5]
    assert kept.run_ids == ("run1", "run4")
    assert [(group["recipe"], len(part)) for group, part in rows.groups(["recipe"])] == [
        ("code", 3),
        ("web", 3),
    ]


def test_rows_of_one_owner_are_one_run() -> None:
    rows = Table.from_columns(SIX, owners=["b", "a", "b", "c", "a", "b"])
    assert (len(rows), rows.n_runs) == (6, 3)
    assert rows.owner_numbers().tolist() == [0, 1, 0, 2, 1, 0]
    assert rows.take(np.array([3, 3, 1])).owners == ("c", "c", "a")


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(InputError, match=r"params \(2,\), loss \(3,\)"):
        Table.from_columns({"params": [1, 2], "loss": [1, 2, 3]})


def test_a_part_of_the_runs_travels_without_the_others() -> None:
    """A worker gets its groups alone, however many runs the store has."""
    fields = {name: [f"{name}{i}" for i in range(1000)] for name in ("run_id", "status")}
    config = [Document(json.dumps({"depth": i, "note": "x" * 100})) for i in range(1000)]
    rows = Table(
        {"loss": np.arange(1000.0)},
        tuple(fields["run_id"]),
        tuple(fields["run_id"]),
        RunNames(
            {name: objects(values) for name, values in fields.items()},
            objects(config),
            objects([Document("{}")] * 1000),
        ),
    )
    part = rows.select(rows.matches("depth in [3, 5]"))
    sent = pickle.dumps(part)
    assert len(sent) < 3000
    assert pickle.loads(sent).look_up("config.depth").tolist() == [3, 5]  # noqa: S301
