"""Parquet, written by pyarrow and pandas; and what gzip and zstd pack."""

from __future__ import annotations

import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from scaling_cli.adapters.reading import Ingested, read_sources
from scaling_cli.errors import InputError
from scaling_cli.records import Run
from scaling_cli.sources import Sources


def ingest(tmp_path: Path, table: pa.Table, name: str = "t.parquet") -> Ingested:
    parquet.write_table(table, tmp_path / name)
    return read_sources([tmp_path / name])


def points(run: Run, metric: str) -> list[tuple[int, float]]:
    series = run.series[metric]
    return list(zip(series.steps.tolist(), series.values.tolist(), strict=True))


def test_rows_are_runs_with_the_types_of_their_columns(tmp_path: Path) -> None:
    table = pa.table(
        {
            "run_id": pa.array(["a", "b"]).dictionary_encode(),
            "loss": pa.array([2.5, float("nan")], pa.float32()),
            "params": pa.array([7_000_000_000, None], pa.uint64()),
            "huge": pa.array([2**63 + 1024, 1], pa.uint64()),
            "cost": pa.array([Decimal("1.25"), None], pa.decimal128(10, 2)),
            "moe": [True, False],
            "at": pa.array([0, 1], pa.timestamp("ms")),
            "tags": [["x", "y"], []],
            "model": [{"width": 8, "attention": {"heads": 2}}, {"width": 16, "attention": None}],
            "blob": [b"\x00", b"\x01"],
        }
    )
    one, two = ingest(tmp_path, table).runs
    assert one.run_key == "parquet:a"
    assert one.config == {
        "loss": 2.5, "params": 7_000_000_000, "huge": 2.0**63 + 1024, "cost": 1.25, "moe": True,
        "at": "1970-01-01 00:00:00.000", "tags": ["x", "y"], "model.width": 8,
        "model.attention.heads": 2,
    }  # fmt: skip
    assert one.tags == ("x", "y")
    assert np.isnan(two.config["loss"])
    assert "params" not in two.config


def test_several_rows_of_a_run_are_its_history(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "run": ["a", "a", "b"],
            "step": [20, 10, 10],
            "loss": [2.0, 3.0, np.nan],
            "val/loss": [None, 3.5, 4.5],
            "recipe": ["x", "x", "y"],
        }
    )
    frame.index = [5, 6, 7]
    frame.to_parquet(tmp_path / "t.parquet")
    a, b = read_sources([tmp_path / "t.parquet"]).runs
    assert points(a, "loss") == [(10, 3.0), (20, 2.0)]
    assert points(a, "val/loss") == [(10, 3.5)]
    assert a.config == {"recipe": "x"}
    assert set(b.series) == {"val/loss"}


def test_a_long_table_is_the_wide_one_melted(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    wide = pd.DataFrame(
        {
            "run_id": np.repeat([f"r{i}" for i in range(7)], 50),
            "step": np.tile(np.arange(50), 7),
            "loss": random.normal(size=350),
            "lr": random.normal(size=350),
        }
    )
    long = wide.melt(["run_id", "step"], var_name="metric").sample(frac=1, random_state=0)
    long["recipe"] = long["run_id"] + "!"
    (tmp_path / "wide").mkdir()
    a = ingest(tmp_path / "wide", pa.Table.from_pandas(wide)).runs
    b = ingest(tmp_path, pa.Table.from_pandas(long)).runs
    assert len(a) == len(b) == 7
    for one, other in zip(a, b, strict=True):
        assert other.config == {"recipe": f"{one.run_id}!"}
        for metric in ("loss", "lr"):
            assert points(one, metric) == points(other, metric)


def neptune(run_id: str, rows: list[dict[str, Any]]) -> pa.Table:
    """As neptune-exporter lays out its dumps."""
    schema = pa.schema(
        [
            ("project_id", pa.string()), ("run_id", pa.string()), ("attribute_path", pa.string()),
            ("attribute_type", pa.string()), ("step", pa.decimal128(18, 6)),
            ("timestamp", pa.timestamp("ms", "UTC")), ("int_value", pa.int64()),
            ("float_value", pa.float64()), ("string_value", pa.string()),
            ("bool_value", pa.bool_()), ("datetime_value", pa.timestamp("ms", "UTC")),
            ("string_set_value", pa.list_(pa.string())),
            ("file_value", pa.struct([("path", pa.string())])),
        ]
    )  # fmt: skip
    filled = [{"project_id": "team/ladder", "run_id": run_id, **row} for row in rows]
    return pa.Table.from_pylist(filled, schema)


def test_the_dump_of_a_neptune_run_is_joined_from_its_parts(tmp_path: Path) -> None:
    def series(step: int, value: float) -> dict[str, Any]:
        kind = {"attribute_path": "train/loss", "attribute_type": "float_series"}
        return {**kind, "step": Decimal(step), "float_value": value}

    def setting(path: str, kind: str, value: Any) -> dict[str, Any]:
        column = f"{kind.replace('float_series', 'float')}_value"
        return {"attribute_path": path, "attribute_type": kind, column: value}

    first = [
        setting("sys/name", "string", "big run"),
        setting("config/params", "int", 1000),
        setting("config/lr", "float", 0.5),
        setting("config/tied", "bool", True),
        setting("sys/tags", "string_set", ["a", "b"]),
        series(1, 3.0),
    ]
    folder = tmp_path / "team_ladder"
    folder.mkdir()
    parquet.write_table(neptune("LAD-1", first), folder / "LAD-1_part_0.parquet")
    parquet.write_table(neptune("LAD-1", [series(2, 2.0)]), folder / "LAD-1_part_1.parquet")
    (run,) = read_sources([tmp_path]).runs
    assert (run.run_key, run.name, run.tags) == ("parquet:LAD-1", "big run", ("a", "b"))
    assert points(run, "train/loss") == [(1, 3.0), (2, 2.0)]
    assert (run.config["config/params"], run.config["config/lr"]) == (1000, 0.5)


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.parquet"])
def test_packed_files_are_read_as_what_they_hold(tmp_path: Path, name: str, codec: str) -> None:
    lines = ["step,loss,lr", "1,3,1", "2,2,1"]
    content = "\n".join(lines).encode()
    if name == "t.tsv":
        content = content.replace(b",", b"\t")
    if name == "t.jsonl":
        content = b'{"step": 1, "loss": 3}\n{"step": 2, "loss": 2}\n'
    if name == "t.parquet":
        sink = pa.BufferOutputStream()
        parquet.write_table(pa.table({"step": [1, 2], "loss": [3.0, 2.0]}), sink)
        content = sink.getvalue().to_pybytes()
    packed = gzip.compress(content)
    if codec == "zstd":
        packed = pa.compress(content, codec="zstd", asbytes=True)
    path = tmp_path / f"{name}.{'gz' if codec == 'gzip' else 'zst'}"
    path.write_bytes(packed)
    (run,) = read_sources([path]).runs
    assert (run.run_id, points(run, "loss")) == ("t", [(1, 3.0), (2, 2.0)])
    path.write_bytes(packed[:-3])
    with pytest.raises(InputError, match="is not a whole"):
        read_sources([path])


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv.zst").write_bytes(
        pa.compress(b"step,loss\n" + bytes(1 << 29), codec="zstd", asbytes=True)
    )
    with pytest.raises(InputError, match="unpacks to more than 250 times its size"):
        read_sources(Sources.of([tmp_path / "t.csv.zst"], as_format="csv"))
    column = pa.array(np.zeros(1 << 24, dtype=np.int64))
    table = pa.table({f"c{i}": column for i in range(9)})
    with pytest.raises(InputError, match=r"claims 150,994,944 cells in \d+"):
        ingest(tmp_path, table)


def test_a_file_that_is_cut_off_is_refused_and_keeps_no_other_out(tmp_path: Path) -> None:
    ingest(tmp_path, pa.table({"step": [1, 2], "loss": [3.0, 2.0]}), "good.parquet")
    whole = (tmp_path / "good.parquet").read_bytes()
    (tmp_path / "bad.parquet").write_bytes(whole[:-20])
    with pytest.raises(InputError, match=r"bad\.parquet is no whole Parquet file"):
        read_sources([tmp_path / "bad.parquet"])
    found = read_sources([tmp_path])
    assert [run.run_id for run in found.runs] == ["good"]
    assert [note.code for note in found.notes] == ["unreadable"]
