"""Verify, compact and export; what other writers do meanwhile; clocks that jump; old stores."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from scaling_cli.cli import app
from scaling_cli.errors import InputError, UnreachableError
from scaling_cli.records import Run, Series
from scaling_cli.resolve import Final
from scaling_cli.store import Store, log, open_store, upkeep
from tests.places import DATA


def make(key: str, version: float, metrics: tuple[str, ...] = ("loss", "lr")) -> Run:
    series = {
        metric: Series(np.arange(3 + n, dtype=np.int64) * 10, np.arange(3.0 + n) + version)
        for n, metric in enumerate(metrics)
    }
    return Run(f"csv:{key}", key, f"{key}.csv", config={"version": version}, series=series)


def put(store: Store, *runs: Run) -> None:
    store.put(runs, [Final({"loss": 1.0, "steps": 30.0}, {"loss": "loss"})] * len(runs))


def content(store: Store) -> dict[str, Any]:
    """Everything that a reader sees."""
    series = store.series()
    return {
        record.run_key: (
            record,
            {m: (s.steps.tolist(), s.values.tolist()) for m, s in series[record.run_key].items()},
        )
        for record in store.runs()
    }


def segments(store: Store) -> list[str]:
    return store.files.names("runs", ".parquet")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Forty runs in as many commits, half of them put twice."""
    store = open_store(tmp_path / "store", create=True)
    for i in range(20):
        put(store, make(f"{i:02}", 0))
    for i in range(20):
        put(store, make(f"{i:02}", 1), make(f"{i + 20:02}", 1, ("loss", f"m{i % 3}")))
    return store


def test_compaction_changes_no_answer_and_leaves_one_segment(store: Store) -> None:
    before = content(store)
    done = store.compact(older_than=0)
    assert (done.segments_before, done.segments_after) == (20, 1)
    assert content(store) == before
    assert len(segments(store)) == 1
    assert len(store.files.names("history")) == 1
    assert store.verify().problems == ()
    assert store.compact(older_than=0).files_removed == 0
    put(store, make("00", 2), make("99", 2))
    assert content(store) == before | content(store)
    assert store.runs()[0].config == {"version": 2}


def test_a_segment_that_was_just_replaced_stays_for_those_who_read_it(store: Store) -> None:
    week_ago = time.time() - 7 * upkeep.DAY
    for path in Path(store.location).glob("[rh]*/*.parquet"):
        os.utime(path, (week_ago, week_ago))
    files = len(segments(store))
    assert store.compact(older_than=upkeep.DAY).files_removed == 0
    assert len(segments(store)) == files + 1


def test_leftovers_of_a_dead_writer_go_when_they_are_old(store: Store) -> None:
    store.compact(older_than=0)
    shutil.copy(
        Path(store.location, "runs", segments(store)[0]), store.location + "/runs/d.parquet"
    )
    Path(store.location, "runs", ".x.parquet.tmp").touch()
    assert store.compact(older_than=60).files_removed == 0
    assert store.compact(older_than=0).files_removed == 2
    assert len(segments(store)) == 1


def test_a_writer_whose_files_a_jumped_clock_cleared_away_commits_them_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All files look a week old to another process, just before this one commits."""
    create = store.files.create
    cleared = []

    def slow(name: str, content: bytes) -> bool:
        if not cleared:
            cleared.append(name)
            other = open_store(store.location)
            ages = other.files.ages
            monkeypatch.setattr(
                other.files, "ages", lambda folder: dict.fromkeys(ages(folder), 7 * upkeep.DAY)
            )
            assert other.compact(upkeep.DAY).files_removed > 2
        return create(name, content)

    monkeypatch.setattr(store.files, "create", slow)
    put(store, make("late", 5))
    assert cleared
    assert len(content(store)) == 41
    assert store.verify().problems == ()


def test_a_reader_whose_segments_go_meanwhile_reads_what_came_instead(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = content(store)
    folded = store.log.state()
    open_store(store.location).compact(older_than=0)
    monkeypatch.setattr(store.log, "state", lambda: folded)
    assert content(store) == expected


def test_compaction_hides_no_put_that_came_between(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = store.files.create
    done = []

    def slow(name: str, content: bytes) -> bool:
        if not done:
            done.append(name)
            put(open_store(store.location), make("00", 7), make("new", 7))
        return create(name, content)

    monkeypatch.setattr(store.files, "create", slow)
    store.compact(older_than=0)
    records = {record.run_id: record.config["version"] for record in store.runs()}
    assert (records["00"], records["new"], records["01"]) == (7, 7, 1)
    assert store.series(["csv:00"])["csv:00"]["loss"].values[0] == 7
    assert store.verify().problems == ()


def test_checkpoints_say_what_the_log_says_and_are_not_needed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "CHECKPOINT_EVERY", 4)
    for i in range(17):
        put(store, make(f"c{i}", i))
    expected = content(store)
    checkpoints = store.log.checkpoints()
    assert len(checkpoints) == 2  # older ones go
    read = []
    contents = store.log.contents
    monkeypatch.setattr(
        store.log, "contents", lambda numbers: read.extend(numbers) or contents(numbers)
    )
    assert len(store.log.state().places) == 57
    assert len(read) < 4
    assert store.verify().problems == ()
    Path(store.location, "_checkpoints", f"{checkpoints[-1]:012}.json").write_text('{"format": 1')
    assert content(store) == expected
    assert [p.code for p in store.verify().problems] == ["checkpoint_damaged"]


puts = st.tuples(st.just("put"), st.lists(st.sampled_from("abcdef"), min_size=1, unique=True))
merges = st.tuples(st.just("compact"), st.just([]))


@settings(max_examples=25)
@given(st.lists(st.one_of(puts, merges), max_size=10))
def test_after_any_puts_and_compactions_the_last_put_counts(steps: list[Any]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder, create=True)
        expected: dict[str, float] = {}
        for number, (kind, keys) in enumerate(steps):
            if kind == "put":
                put(store, *(make(key, number) for key in keys))
                expected |= dict.fromkeys(keys, float(number))
            elif expected:
                store.compact(older_than=0)
        assert {record.run_id: record.config["version"] for record in store.runs()} == expected
        series = store.series()
        assert all(series[f"csv:{k}"]["loss"].values[0] == v for k, v in expected.items())
        assert store.verify().problems == ()


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        ("flip history", "segment_damaged"),
        ("flip runs", "segment_damaged"),
        ("cut history", "segment_damaged"),
        ("misplace history", "segment_damaged"),
        ("lose runs", "segment_damaged"),
        ("swap runs", "segment_damaged"),
        ("lose commit", "commit_missing"),
        ("cut commit", "commit_damaged"),
    ],
)
def test_verify_finds_damage(store: Store, damage: str, code: str) -> None:
    how, what = damage.split()
    folder = "_log" if what == "commit" else what
    place = store.log.state().places["csv:05"]
    name = "000000000010.json" if what == "commit" else place.runs.partition("/")[2]
    path = Path(store.location, folder, name)
    content = path.read_bytes()
    if how == "flip":
        middle = len(content) // 4
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 16]) + content[middle + 1 :])
    elif how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "misplace":  # the range of run keys in the footer, by which readers skip
        footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
        assert b"csv:25" in content[footer:]
        path.write_bytes(content[:footer] + content[footer:].replace(b"csv:25", b"csv:05"))
    elif how == "swap":
        other = store.log.state().places["csv:06"]
        shutil.copy(Path(store.location, other.runs), path)
    else:
        path.unlink()
    assert code in {problem.code for problem in store.verify().problems}
    shown = CliRunner().invoke(app, ["store", "verify", "--store", store.location, "--json"])
    assert shown.exit_code == 2
    assert json.loads(shown.stdout)["ok"] is False
    assert shown.stderr.count("Error:") == 1
    assert name.partition(".")[0].lstrip("0") in shown.stderr


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_export_holds_every_value(store: Store, tmp_path: Path, suffix: str) -> None:
    read = pd.read_parquet if suffix == ".parquet" else pd.read_csv
    long_path, wide_path, runs_path = (tmp_path / f"{s}{suffix}" for s in ("long", "wide", "runs"))
    rows = store.export(long_path)
    long, series = read(long_path), store.series()
    assert len(long) == rows == sum(len(s.steps) for r in series.values() for s in r.values())
    for key, metrics in series.items():
        for metric, one in metrics.items():
            part = long[(long.run_key == key) & (long.metric == metric)]
            assert part.step.tolist() == one.steps.tolist()
            assert part.value.tolist() == one.values.tolist()
    store.export(wide_path, "wide")
    wide = read(wide_path)
    melted = wide.melt(["run_key", "run_id", "step"], var_name="metric").dropna()
    columns = ["run_key", "metric", "step", "value"]
    pd.testing.assert_frame_equal(
        melted.sort_values(columns[:3])[columns].reset_index(drop=True),
        long.sort_values(columns[:3])[columns].reset_index(drop=True),
        check_dtype=False,
        check_categorical=False,
    )
    assert store.export(runs_path, "runs") == 40
    runs = read(runs_path)
    assert json.loads(runs.config[0]) == {"version": 1}
    assert runs.loss.tolist() == [1.0] * 40


def test_a_wide_run_that_crosses_a_row_group_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scaling_cli.store.segments.ROW_GROUP", 3)
    monkeypatch.setattr("scaling_cli.store.export.PIECE_ROWS", 2)
    store = open_store(tmp_path / "s", create=True)
    put(store, *(make(key, 1, ("a", "b", "c", "d")) for key in "xyz"))
    assert store.export(tmp_path / "w.parquet", "wide") == 3 * 6
    assert store.export(tmp_path / "l.parquet") == 3 * 18


def test_an_export_that_cannot_be_written_says_so_and_leaves_nothing(
    store: Store, tmp_path: Path
) -> None:
    for path, says in (("x.xlsx", "parquet, .csv"), ("no/x.csv", "cannot be written")):
        with pytest.raises(InputError, match=says):
            store.export(tmp_path / path)
    with pytest.raises(InputError, match="long, wide, runs"):
        store.export(tmp_path / "x.csv", "tall")
    put(store, make("odd", 1, ("step",)))
    with pytest.raises(InputError, match="is called step"):
        store.export(tmp_path / "x.csv", "wide")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_export_of_some_runs_by_the_command(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "some.csv"
    where = ["--where", "run_id == '03'", "--store", store.location]
    shown = CliRunner().invoke(app, ["store", "export", str(out), *where, "--json"])
    assert json.loads(shown.stdout) == {"path": str(out), "shape": "long", "rows": 7}
    assert set(pd.read_csv(out, dtype=str).run_id) == {"03"}


def test_a_read_only_store_is_said_once_and_still_read(store: Store, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("the superuser may write anywhere")
    before = content(store)
    for path in [Path(store.location), *Path(store.location).iterdir()]:
        path.chmod(0o555)
    try:
        with pytest.raises(UnreachableError, match=r"Permission denied.*may be written"):
            put(store, make("x", 1))
        with pytest.raises(UnreachableError, match=r"Permission denied"):
            store.compact(0)
        assert content(store) == before
    finally:
        for path in [Path(store.location), *Path(store.location).iterdir()]:
            path.chmod(0o755)


def test_a_store_of_the_first_version_still_reads(tmp_path: Path) -> None:
    """Written by the version that first had stores, when histories were lists, runs had no cursor
    and logs no checkpoints: two commits, the second of which replaces run a."""
    shutil.copytree(DATA / "store_format_1", tmp_path / "old")
    store = open_store(tmp_path / "old")
    for _ in range(2):
        a, b, c = store.runs()
        assert (a.config, a.cursor) == ({"lr": 1e-3, "betas": [0.9, 0.95], "name": "é"}, "")
        assert (b.name, b.group, b.status, b.tags) == ("B", "g", "failed", ("t",))
        assert (b.mapping.final, b.final["params"], b.notes[0].code) == ("min", 1e6, "odd")
        assert c.final == {"loss": 1.0}
        series = store.series()
        assert series["csv:a"]["loss"].steps.tolist() == [1, 5, 2**40]
        np.testing.assert_array_equal(series["csv:a"]["loss"].values, [3.0, np.nan, 2.0])
        assert series["csv:b"]["eval/loss"].values.tolist() == [2.25]
        assert series["csv:c"] == {}
        assert store.fits.load(store.fits.find("old-1"))[0]["law"] == "chinchilla"
        verified = store.verify()
        assert (verified.problems, verified.runs, verified.points) == ((), 3, 8)
        put(store, a.to_run(series["csv:a"]))  # and is written on by this version
        store.compact(older_than=0)
        store.put([c.to_run({})], [Final({"loss": 1.0}, {})])
        store.put([a.to_run(series["csv:a"])], [Final(a.final, a.mapped, a.summary)], a.mapping)


def test_a_newer_version_s_store_is_refused_by_every_command(store: Store) -> None:
    newer = {"format": log.FORMAT + 1, "anything": []}
    Path(store.location, "_log", "000000000999.json").write_text(json.dumps(newer))
    before = {path: path.read_bytes() for path in Path(store.location).rglob("*.*")}
    for command in (["runs"], ["store", "verify"], ["store", "compact"]):
        shown = CliRunner().invoke(app, [*command, "--store", store.location])
        assert shown.exit_code == 3
        assert shown.stderr.count("\n") == 1
        assert (
            f"newer than {log.FORMAT}, the newest that this version reads. Update scalefit"
            in shown.stderr
        )
    with pytest.raises(UnreachableError, match="Update scalefit"):
        put(store, make("x", 1))
    assert {path: path.read_bytes() for path in Path(store.location).rglob("*.*")} == before


def test_a_file_cleared_away_while_it_is_written_is_written_again(store: Store) -> None:
    contents = []

    def write(file: Any) -> None:
        contents.append(file.write(b"all of it"))
        if len(contents) < 3:
            open_store(store.location).compact(older_than=0)

    store.files.write("history/x.parquet", write)
    assert store.files.read(["history/x.parquet"]) == [b"all of it"]
    assert len(contents) == 3
