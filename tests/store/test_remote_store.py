"""A store in a bucket of a real S3 server on loopback, and in fsspec's memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from scaling_cli.cli import app
from scaling_cli.errors import UnreachableError
from scaling_cli.project import Project
from scaling_cli.records import Run, Series
from scaling_cli.resolve import Final
from scaling_cli.store import Store, open_store


def put(store: Store, key: str, version: float) -> None:
    steps = np.arange(5, dtype=np.int64)
    run = Run(f"csv:{key}", key, "x.csv", series={"loss": Series(steps, steps + version)})
    store.put([run], [Final({"loss": version, "params": 1.0}, {})])


@pytest.fixture(params=["s3://lab/team/store", "memory://team/store"])
def url(request: pytest.FixtureRequest) -> Any:
    if request.param.startswith("s3"):
        request.getfixturevalue("s3")
    fsspec = pytest.importorskip("fsspec")
    yield request.param
    system, path = fsspec.core.url_to_fs(request.param, use_listings_cache=False)
    if system.exists(path):
        system.rm(path, recursive=True)


def test_it_does_what_a_folder_does(url: str) -> None:
    with pytest.raises(UnreachableError, match=f"There is no store at {url}"):
        open_store(url)
    store = open_store(url, create=True)
    for version in range(2):
        for key in "ab":
            put(store, key, version)
    store.fits.save([{"fit_id": "f"}])
    assert {r.final["loss"] for r in open_store(url).runs()} == {1.0}
    assert store.series(["csv:b"])["csv:b"]["loss"].values.tolist() == [1, 2, 3, 4, 5]
    assert store.fits.load(store.fits.find("f")) == [{"fit_id": "f"}]
    assert store.compact(older_than=0).segments_after == 1
    assert len(store.files.names("runs")) == 1
    assert store.verify().problems == ()
    assert {r.final["loss"] for r in store.runs()} == {1.0}


def test_pyarrow_reads_from_what_outlives_the_interpreter(url: str, tmp_path: Path) -> None:
    """Its threads may hold what they read until after Python's end, where a Python file or buffer
    aborts the process."""
    for store in (open_store(url, create=True), open_store(tmp_path / "store", create=True)):
        put(store, "a", 1)
        (name,) = store.files.names("runs")
        with store.files.open(f"runs/{name}") as file:
            assert isinstance(file, pa.OSFile | pa.BufferReader)
            content = file.read()
        assert content[:4] == b"PAR1"
        ours = b"".join(store.files.read([f"runs/{name}"]))
        assert content == ours


def test_of_several_writers_each_commit_stays(url: str) -> None:
    def write(name: str) -> None:
        store = open_store(url, create=True)
        for i in range(4):
            put(store, f"{name}{i}", i)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = open_store(url)
    assert store.log.numbers() == list(range(1, 13))
    assert len(store.runs()) == 12


RUNS_EACH, STEPS = 6, [1, 2, 3, 4, 5]


def by_a_process(url: str, logs: Path) -> int:
    """How many runs the command ingests."""
    program = [sys.executable, "-m", "scaling_cli", "ingest", str(logs), "--store", url, "--json"]
    told = subprocess.run(program, capture_output=True, check=True, timeout=300).stdout
    runs: int = json.loads(told)["runs"]
    return runs


def by_a_thread(url: str, logs: Path) -> int:
    return Project(url, None).ingest([str(logs)]).runs


@pytest.mark.parametrize("ingest", [by_a_thread, by_a_process])
def test_four_writers_ingest_into_one_store_and_nothing_is_lost_or_twice(
    s3: Any, ingest: Callable[[str, Path], int], tmp_path: Path
) -> None:
    """As on machines of their own; two of them read the same runs, which count once."""
    if ingest is by_a_process and "PYTEST_XDIST_WORKER" in os.environ:
        pytest.skip("four processes beside the others take a minute: `make clusters`")
    url = f"s3://lab/{ingest.__name__}/store"
    for writer in "abc":
        (tmp_path / writer).mkdir()
        for run in range(RUNS_EACH):
            rows = [{"step": s, "loss": 3 - s / 10, "tokens": 100 * s} for s in STEPS]
            text = "\n".join(map(json.dumps, [{"config": {"n_params": 10**6 + run}}, *rows]))
            (tmp_path / writer / f"{writer}{run}.jsonl").write_text(text)
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda writer: ingest(url, tmp_path / writer), "abcc"))
    store = open_store(url)
    ids = sorted(record.run_id for record in store.runs())
    assert ids == [f"{writer}{run}" for writer in "abc" for run in range(RUNS_EACH)]
    assert [s["loss"].steps.tolist() for s in store.series().values()] == [STEPS] * len(ids)
    assert told == [RUNS_EACH] * 4
    numbers = store.log.numbers()
    assert numbers == list(range(1, len(numbers) + 1))
    assert store.verify().problems == ()


def test_damage_and_loss_there_are_told_by_name(s3: Any) -> None:
    store = open_store("s3://lab/hurt", create=True)
    put(store, "a", 1)
    (name,) = store.files.names("runs")
    content = s3.cat_file(f"lab/hurt/runs/{name}")
    s3.pipe_file(f"lab/hurt/runs/{name}", content[:-100])
    with pytest.raises(UnreachableError, match=f"s3://lab/hurt/runs/{name} is damaged"):
        store.runs()
    assert [p.code for p in store.verify().problems] == ["segment_damaged"]
    s3.rm_file(f"lab/hurt/runs/{name}")
    with pytest.raises(UnreachableError, match=f"s3://lab/hurt/runs/{name} is not there"):
        store.runs()


def test_a_server_that_does_not_answer_is_unreachable(
    s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3fs = pytest.importorskip("s3fs")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        shown = CliRunner().invoke(app, ["runs", "--store", "s3://lab/x"])
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
    assert shown.exit_code == 3
    assert "s3://lab/x" in shown.stderr
    assert "not-to-be-told" not in shown.stderr


def test_a_client_that_would_overwrite_is_refused() -> None:
    fsspec = pytest.importorskip("fsspec")

    class Old(fsspec.AbstractFileSystem):  # type: ignore[misc]
        protocol = "old"

        def pipe_file(self, path: str, value: bytes) -> None: ...

    fsspec.register_implementation("old", Old, clobber=True)
    with pytest.raises(UnreachableError, match="cannot refuse to overwrite"):
        open_store("old://x")


@pytest.mark.parametrize("answer", ["lost", "doubled", "late"])
def test_a_commit_whose_answer_goes_astray_loses_nothing(
    url: str, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PUT that succeeded and said that it failed; that was sent twice; that arrives when its
    writer has given up. Another writer commits all the while."""
    store, other = (open_store(url, create=True) for _ in range(2))
    put(store, "before", 1)
    send, sent = store.files.create, []

    def create(name: str, content: bytes) -> bool:
        if name.endswith(".head") or sent:
            return send(name, content)
        sent.append((name, content))
        if answer == "late":
            raise UnreachableError("timeout")
        assert send(name, content)
        if answer == "doubled":
            return send(name, content)
        raise UnreachableError("connection reset")

    monkeypatch.setattr(store.files, "create", create)
    if answer == "late":
        with pytest.raises(UnreachableError):
            put(store, "mine", 2)
        assert send(*sent[0])
    else:
        put(store, "mine", 2)
    put(other, "theirs", 3)
    assert {r.run_id: r.final["loss"] for r in open_store(url).runs()} == {
        "before": 1.0,
        "mine": 2.0,
        "theirs": 3.0,
    }
    assert len(store.series()) == 3
    assert store.verify().problems == ()
