"""`scalefit runs forget`: gone for every reader, and not brought back by the next ingest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from scaling_cli.cli import app
from scaling_cli.records import Run, Series
from scaling_cli.resolve import Final
from scaling_cli.store import Store, log, open_store


@pytest.fixture
def scalefit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SCALEFIT_STORE", raising=False)
    rows = [f"r{i},{10**i},{step},{3 + i / step}" for i in range(4) for step in (1, 2, 3)]
    Path("runs.csv").write_text("run_id,params,step,loss\n" + "\n".join(rows) + "\n")

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == code, result.output
        return result

    run("ingest", "runs.csv")
    return run


def ids(scalefit: Callable[..., Result]) -> list[str]:
    return [run["run_id"] for run in json.loads(scalefit("runs", "--json").stdout)["runs"]]


def test_forgotten_runs_stay_away_until_asked_for(scalefit: Callable[..., Result]) -> None:
    forgotten = scalefit("runs", "forget", "params > 50", "--json").stdout
    assert json.loads(forgotten) == {"forgotten": ["r2", "r3"]}
    assert ids(scalefit) == ["r0", "r1"]
    again = scalefit("ingest", "runs.csv", "--json")
    document = json.loads(again.stdout)
    assert (document["new"], document["unchanged"]) == (0, 2)
    assert [note["code"] for note in document["warnings"]].count("runs_forgotten") == 1
    assert ids(scalefit) == ["r0", "r1"]
    scalefit("store", "compact", "--older-than", "0")
    scalefit("store", "verify")
    scalefit("ingest", "runs.csv")
    assert ids(scalefit) == ["r0", "r1"]
    scalefit("ingest", "runs.csv", "--again")
    assert ids(scalefit) == ["r0", "r1", "r2", "r3"]
    scalefit("ingest", "runs.csv")
    assert ids(scalefit) == ["r0", "r1", "r2", "r3"]
    assert "matches no run" in scalefit("runs", "forget", "params > 1T", code=2).stderr
    scalefit("runs", "--where", "params > 50", "--by", "run_id")


def put(store: Store, *keys: str) -> None:
    steps = np.arange(3)
    runs = [Run(f"csv:{k}", k, "x", series={"loss": Series(steps, steps + 1.0)}) for k in keys]
    store.put(runs, [Final({"loss": 1.0}, {})] * len(keys))


def test_a_put_on_its_way_does_not_bring_back_what_is_forgotten_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "CHECKPOINT_EVERY", 2)
    store = open_store(tmp_path / "store", create=True)
    put(store, "a", "b")
    create, done = store.files.create, []

    def slow(name: str, content: bytes) -> bool:
        if not done:
            done.append(name)
            assert open_store(store.location).forget(["csv:a"]) == 1
        return create(name, content)

    monkeypatch.setattr(store.files, "create", slow)
    steps = np.arange(4)
    runs = [Run(f"csv:{k}", k, "x", series={"loss": Series(steps, steps + 2.0)}) for k in "ab"]
    store.put(runs, [Final({"loss": 2.0}, {})] * 2)
    assert [(r.run_id, r.final["loss"]) for r in store.runs()] == [("b", 2.0)]
    assert store.verify().problems == ()
