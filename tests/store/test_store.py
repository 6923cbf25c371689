from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pyarrow import parquet as pq

from scaling_cli.errors import InputError, UnreachableError
from scaling_cli.mapping import Mapping
from scaling_cli.observe import listed
from scaling_cli.records import Run, Series
from scaling_cli.resolve import Final
from scaling_cli.store import PutSummary, Store, log, open_store


def make(key: str, seed: float = 0.0, points: int = 3, **config: Any) -> Run:
    steps = np.arange(points, dtype=np.int64)
    return Run(
        f"csv:{key}",
        key,
        f"{key}.csv",
        config=config,
        series={"loss": Series(steps, steps + seed)} if points else {},
    )


def put(store: Store, *runs: Run, mapping: Mapping | None = None) -> PutSummary:
    finals = [Final({"loss": float(len(run.series))}, {"loss": "loss"}) for run in runs]
    return store.put(runs, finals, mapping)


def equal(a: dict[str, Series], b: dict[str, Series]) -> bool:
    return a.keys() == b.keys() and all(
        np.array_equal(a[n].steps, b[n].steps)
        and np.array_equal(a[n].values, b[n].values, equal_nan=True)
        for n in a
    )


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store", create=True)


def test_a_store_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match=r"no store at .*scalefit ingest") as caught:
        open_store(tmp_path / "none")
    assert caught.value.exit_code == 3
    (tmp_path / "file").write_text("")
    for create in (True, False):
        with pytest.raises(UnreachableError, match="is a file, not a store"):
            open_store(tmp_path / "file", create)


def test_opening_makes_nothing_and_the_first_put_makes_the_store(tmp_path: Path) -> None:
    store = open_store(tmp_path / "deep" / "store", create=True)
    assert not (tmp_path / "deep").exists()
    assert put(store, make("a")) == PutSummary(1, 0, 0)
    assert [record.run_id for record in open_store(tmp_path / "deep" / "store").runs()] == ["a"]


def test_all_of_a_run_is_read_back(store: Store) -> None:
    steps = np.array([1, 5, 2**60], np.int64)
    run = Run(
        run_key="jsonl:x/ü",
        run_id="x/ü",
        source="logs/x.jsonl",
        name="the run",
        group="g",
        status="failed",
        config={
            "a": 1,
            "b": 2.5,
            "c": None,
            "d": [1, "x"],
            "e": True,
            "n": float("nan"),
            "big": 10**30,
        },
        series={"eval/loss": Series(steps, np.array([np.nan, -0.0, 1e-310]))},
        tags=("t1", "t2"),
        created_at="2026-01-01",
    )
    final = Final({"loss": 1.5, "tokens": float("nan")}, {"loss": "eval/loss"}, {"eval/loss": 1.5})
    mapping = Mapping(columns={"loss": "eval/loss"}, group=("recipe",))
    store.put([run], [final], mapping)
    (record,) = store.runs()
    for name in ("run_key", "run_id", "source", "name", "group", "status", "tags", "created_at"):
        assert getattr(record, name) == getattr(run, name)
    assert repr(record.config) == repr(run.config)
    assert record.final["loss"] == 1.5
    assert np.isnan(record.final["tokens"])
    assert (record.mapped, record.mapping) == ({"loss": "eval/loss"}, mapping)
    assert record.summary == {"eval/loss": 1.5}
    assert equal(store.series()["jsonl:x/ü"], run.series)
    assert equal(record.to_run(store.series()[record.run_key]).series, run.series)


def test_the_same_runs_again_write_nothing(store: Store, tmp_path: Path) -> None:
    put(store, make("a"), make("b", points=0, n=1))
    before = files(tmp_path)
    assert put(store, make("b", points=0, n=1), make("a")) == PutSummary(0, 0, 2)
    assert files(tmp_path) == before


def test_a_changed_run_is_replaced_whole(store: Store) -> None:
    put(store, make("a", points=5, n=1), make("b"))
    assert put(store, make("a", seed=1, points=2), make("b")) == PutSummary(0, 1, 1)
    assert store.series()["csv:a"]["loss"].values.tolist() == [1, 2]
    assert store.runs()[0].config == {}
    assert put(store, make("a", points=0, n=1)) == PutSummary(0, 1, 0)
    assert store.series(["csv:a"]) == {"csv:a": {}}


def test_another_mapping_is_another_revision(store: Store) -> None:
    put(store, make("a"))
    assert put(store, make("a"), mapping=Mapping(final="min")) == PutSummary(0, 1, 0)
    assert store.runs()[0].mapping == Mapping(final="min")


def test_series_of_some_runs_and_metrics(store: Store) -> None:
    steps = np.arange(4, dtype=np.int64)
    runs = [
        Run(f"csv:{k}", k, "x", series={m: Series(steps, steps * 1.0) for m in ("loss", "lr")})
        for k in "abc"
    ]
    put(store, *runs)
    got = store.series(["csv:c", "csv:a", "csv:nobody"], ["lr", "nothing"])
    assert {key: list(found) for key, found in got.items()} == {"csv:a": ["lr"], "csv:c": ["lr"]}


def test_segments_hold_few_runs_and_points(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scaling_cli.store.store.SEGMENT_RUNS", 4)
    monkeypatch.setattr("scaling_cli.store.store.SEGMENT_POINTS", 5)
    runs = [make(f"{i:02}", seed=i, points=i % 4) for i in range(20)]
    put(store, *runs)
    assert len(store.files.names("runs", ".parquet")) > 5
    assert len(store.files.names("_log", ".json")) == 1
    got = store.series()
    assert all(equal(got[run.run_key], run.series) for run in runs)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("moment", ["write", "create"])
def test_a_put_that_dies_leaves_the_store_as_it_was(
    store: Store, tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, make("a"))
    before = files(tmp_path)

    def die(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(store.files, moment, die)
        with pytest.raises(Killed):
            put(store, make("a", seed=9), make("b"))
    assert files(tmp_path) == before
    assert put(store, make("a", seed=9), make("b")) == PutSummary(1, 1, 0)


def test_segments_that_were_never_committed_are_not_seen(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a power cut leaves it: nothing cleans up behind the writer."""
    put(store, make("a"))

    def die(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(store.log, "commit", die)
        patch.setattr(store.files, "remove", lambda name: None)
        with pytest.raises(Killed):
            put(store, make("a", seed=9), make("b"))
    assert len(store.files.names("history", ".parquet")) == 2
    assert [record.run_id for record in store.runs()] == ["a"]
    assert store.series()["csv:a"]["loss"].values.tolist() == [0, 1, 2]


def test_a_process_killed_while_it_puts_leaves_a_whole_store(tmp_path: Path) -> None:
    code = """
import sys
import numpy as np
from scaling_cli.records import Run, Series
from scaling_cli.resolve import Final
from scaling_cli.store import open_store
store = open_store(sys.argv[1], create=True)
steps = np.arange(50)
for n in range(10_000):
    runs = [Run(f"csv:{i}", str(i), "x", series={"loss": Series(steps, steps + 0.0 + n)})
            for i in range(20)]
    store.put(runs, [Final({"n": float(n)}, {})] * 20)
    print(n, flush=True)
"""
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "s")], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    for _ in range(3):
        writer.stdout.readline()
    time.sleep(0.02)
    writer.kill()
    done = [int(line) for line in writer.communicate()[0].split()]
    store = open_store(tmp_path / "s")
    (n,) = {record.final["n"] for record in store.runs()}
    assert n >= max(done, default=2)
    got = store.series()
    assert len(got) == 20
    assert all(
        found["loss"].values.tolist() == (np.arange(50) + n).tolist() for found in got.values()
    )


def test_writers_side_by_side_lose_nothing(tmp_path: Path) -> None:
    def write(name: str) -> None:
        store = open_store(tmp_path / "s", create=True)
        for i in range(8):
            put(store, make("shared", seed=i), make(f"{name}{i}"))

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = open_store(tmp_path / "s")
    assert len(store.files.names("_log", ".json")) == 24
    expected = sorted([f"csv:{name}{i}" for name in "abc" for i in range(8)] + ["csv:shared"])
    assert [record.run_key for record in store.runs()] == expected


def test_a_file_system_without_hard_links_will_do(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: Any) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    put(store, make("a"))
    put(store, make("b"))
    put(store, make("c"))
    assert [record.run_id for record in store.runs()] == ["a", "b", "c"]
    assert len(store.files.names("_log", ".json")) == 3


keys = st.sampled_from("abcd")
values = hnp.arrays(np.float64, st.integers(0, 5), elements=st.floats(width=64))


@settings(max_examples=25)
@given(st.lists(st.dictionaries(keys, values, max_size=3), max_size=5))
def test_after_any_puts_each_run_is_as_it_was_put_last(puts: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder, create=True)
        expected: dict[str, dict[str, Series]] = {}
        for batch in puts:
            runs = []
            for key, array in batch.items():
                series = {"loss": Series(np.arange(len(array), dtype=np.int64), array)}
                runs.append(Run(f"csv:{key}", key, "x", series=series if len(array) else {}))
                expected[f"csv:{key}"] = runs[-1].series
            summary = put(store, *runs)
            assert summary.new + summary.replaced + summary.unchanged == len(batch)
        assert [record.run_key for record in store.runs()] == sorted(expected)
        got = store.series()
        assert all(equal(got[key], series) for key, series in expected.items())


def test_a_newer_format_is_refused_in_words(store: Store) -> None:
    put(store, make("a"))
    path = Path(store.location, "_log", "000000000002.json")
    path.write_text(json.dumps({"format": log.FORMAT + 1, "anything": []}))
    with pytest.raises(UnreachableError, match=r"newer than \d.*Update scalefit"):
        store.runs()


def test_damage_is_told_by_file(store: Store) -> None:
    put(store, make("a"))
    (segment,) = store.files.names("runs", ".parquet")
    Path(store.location, "runs", segment).write_bytes(b"PAR1")
    with pytest.raises(UnreachableError, match=rf"{segment} is damaged"):
        store.runs()
    Path(store.location, "runs", segment).unlink()
    with pytest.raises(UnreachableError, match=rf"{segment} is not there"):
        store.runs()
    Path(store.location, "_log", "000000000001.json").write_text("{")
    with pytest.raises(UnreachableError, match=r"000000000001\.json is damaged"):
        store.runs()


def test_fits_come_newest_first_and_by_id(store: Store) -> None:
    def ids() -> list[str]:
        return [fit.fit_id for fit in store.fits.listed()]

    for fit_id in ("zeta", "alpha", "mid"):
        store.fits.save([{"fit_id": fit_id, "value": float("nan"), "n": [1, 2]}])
    store.fits.save([{"fit_id": "zeta", "again": True}])
    assert ids() == ["zeta", "mid", "alpha"]
    assert store.fits.load(store.fits.find("zeta")) == [{"fit_id": "zeta", "again": True}]
    with pytest.raises(InputError, match=r"no fit 'alhpa'.*Near ids: alpha"):
        store.fits.find("alhpa")
    store.fits.save([{"fit_id": "second"}, {"fit_id": "first"}])
    saved = store.fits.listed()
    assert ids() == ["second", "first", "zeta", "mid", "alpha"]
    assert saved[0].set == saved[1].set > saved[2].set
    for bad in ("", "../x", "a/b", ".x", None, 3):
        with pytest.raises(InputError, match="is not a fit id"):
            store.fits.save([{"fit_id": bad}])


def test_a_listing_opens_each_file_of_runs_once_and_decodes_no_config(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for first in range(0, 2000, 500):
        put(store, *(make(f"{i:05}", points=2, n_params=i) for i in range(first, first + 500)))
    opened = []
    read = store.files.open
    monkeypatch.setattr(store.files, "open", lambda name: opened.append(name) or read(name))
    records = listed(store).records
    assert len(records) == 2000
    assert sorted(opened) == sorted(f"runs/{name}" for name in store.files.names("runs"))
    assert len(opened) == 4
    assert not any("config" in vars(record) or "summary" in vars(record) for record in records)


def test_the_command_that_lists_loads_what_it_needs(store: Store) -> None:
    """pyarrow.dataset and pyarrow.compute would add half as much again to its time."""
    put(store, make("a"))
    code = (
        "import sys\nfrom scaling_cli.cli import app\n"
        f"app(['runs', '--store', {store.location!r}], standalone_mode=False)\n"
        "print('LOADED', *sys.modules)\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    listing, _, loaded = shown.stdout.rpartition("LOADED")
    assert listing.startswith("1 run\n")
    for module in ("pyarrow.dataset", "pyarrow.compute", "pandas", "scipy", "rich", "fsspec"):
        assert module not in loaded.split()
    assert "scaling_cli.laws" not in loaded.split()


@pytest.mark.parametrize("apart", [False, True])
def test_series_come_back_whether_they_share_their_steps(
    store: Store, monkeypatch: pytest.MonkeyPatch, apart: bool
) -> None:
    """Steps are kept in a dictionary, up to a size beyond which they are kept as they come."""
    monkeypatch.setattr("scaling_cli.store.segments.STEPS_BYTES", 4000)
    runs = []
    for number in range(40):
        steps = np.arange(100, dtype=np.int64) + (number if apart else 0)
        series = {name: Series(steps, steps * number + 0.5) for name in ("loss", "lr")}
        runs.append(Run(f"csv:{number:02}", f"{number:02}", "x.csv", series=series))
    put(store, *runs)
    got = store.series()
    assert all(equal(got[run.run_key], run.series) for run in runs)
    assert store.verify().points == 40 * 2 * 100
    (name,) = store.files.names("history")
    pages = pq.ParquetFile(Path(store.location, "history", name)).metadata.row_group(0).column(2)
    assert pages.path_in_schema == "step"
    assert (pages.total_uncompressed_size < 4000) is not apart


def test_importing_the_store_loads_no_pyarrow() -> None:
    code = "import sys, scaling_cli.store; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


NAMES = ["=1+1", "+cmd|' /C calc'!A0", "-1+1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1", "a;=1"]


@pytest.mark.parametrize("shape", ["long", "wide", "runs"])
def test_an_exported_csv_holds_no_formulas(tmp_path: Path, shape: str) -> None:
    import csv

    store = open_store(tmp_path / "s", create=True)
    steps = np.arange(2, dtype=np.int64)
    runs = [
        Run(f"csv:{i}{n}", n, n, name=n, tags=(n,), config={n: n},
            series={n: Series(steps, np.array([-1.5, 2.0])), "loss": Series(steps, -steps * 1.0)})
        for i, n in enumerate(NAMES)
    ]  # fmt: skip
    store.put(runs, [Final({"loss": -1.5, n: -2.0}, {}) for n in NAMES])
    store.export(tmp_path / "x.csv", shape)
    rows = list(csv.reader((tmp_path / "x.csv").read_text().splitlines()))
    cells = {cell for row in rows for cell in row}
    for cell in cells:
        first = cell.lstrip()[:1]
        assert not first or first not in "=+-@\uff1d" or float(cell) < 0, cell
    assert "-1.5" in cells  # a number is one still
    assert {"'=1+1", "'-1+1", "\\t=1", "a;=1"} <= cells


def test_a_scan_gives_the_wanted_points_in_bounded_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scaling_cli.store.export.PIECE_ROWS", 50)
    store = open_store(tmp_path / "store", create=True)
    steps = np.arange(100, dtype=np.int64)
    for part in range(3):
        runs = [
            Run(f"csv:{part}{i}", f"{part}{i}", "x", series={
                "loss": Series(steps, steps * 1.0), "lr": Series(steps, steps * 0.0),
            })
            for i in range(4)
        ]  # fmt: skip
        store.put(runs, [Final({"loss": 1.0}, {})] * 4)
    pieces = list(store.scan(metrics=["loss"], steps=(20, 39)))
    assert sum(map(len, pieces)) == 12 * 20
    assert max(map(len, pieces)) < 2 * 50
    assert {name for piece in pieces for name in piece["metric"].to_pylist()} == {"loss"}
    assert {step for piece in pieces for step in piece["step"].to_pylist()} == set(range(20, 40))
    (chosen,) = [record for record in store.runs() if record.run_id == "11"]
    assert sum(map(len, store.scan([chosen]))) == 200
    assert list(store.scan([chosen], metrics=["none"])) == []
    rows = store.export(tmp_path / "x.parquet", "wide", metrics=["loss"], steps=(None, 4))
    assert rows == 12 * 5
