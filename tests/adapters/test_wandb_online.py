"""Runs of a W&B server, by the real client from a server on loopback (see wandb_server)."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from scaling_cli.adapters import wandb_online
from scaling_cli.adapters.base import Request
from scaling_cli.adapters.reading import read_sources, stream
from scaling_cli.cli import app
from scaling_cli.errors import InputError, UnreachableError
from scaling_cli.notes import Note
from scaling_cli.records import Run
from scaling_cli.resolve import finals
from scaling_cli.sources import Selection, Sources
from scaling_cli.store import open_store
from tests.adapters.wandb_server import KEY, SIGNATURE, Fault, Recorded, Server
from tests.places import SAMPLES as RUNS

pytest.importorskip("wandb")
SAMPLES = RUNS / "wandb"
TOKENS = 2**33  # of a step, where a run counts tokens for steps


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server, and a client that knows of no other."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    with Server() as made:
        for name, value in {
            "WANDB_BASE_URL": made.url,
            "WANDB_API_KEY": KEY,
            "WANDB_CONFIG_DIR": str(home),
            "WANDB_DATA_DIR": str(home),
            "HOME": str(home),
        }.items():
            monkeypatch.setenv(name, value)
        yield made


def history(steps: int = 40, stride: int = 1, nan: Any = "NaN") -> list[dict[str, Any]]:
    """Rows as a trainer logs them; one loss is not finite, which the server tells by a text."""
    rows = []
    for i in range(steps):
        row = {"_step": i * stride, "_runtime": i / 2, "loss": nan if i == 3 else 3 - i / 100}
        rows.append(row | ({"eval/loss": 2 - i / 100} if i % 10 == 0 else {}))
    return rows


def ladder() -> list[Recorded]:
    """120 runs: exported whole, in part, and not at all; every seventh counts tokens for steps."""
    return [
        Recorded(
            f"r{i:03}",
            history(stride=TOKENS if i % 7 == 0 else 1),
            exported=(40, 25, 0)[i % 3],
            per_file=20,
            config={"params": 1000 + i, "model": {"width": i}, "recipe": "ab"[i % 2]},
            summary={"loss": 2.61, "n_heads": 4, "_runtime": 9},
            group=f"g{i % 4}",
            tags=["keep"] if i % 5 == 0 else [],
            sweep="s1" if i % 2 else None,
        )
        for i in range(120)
    ]


def ingest(store: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["ingest", *arguments, "--store", str(store), "--json"])


def told(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def fetched(source: str, select: Selection | None = None) -> dict[str, Run]:
    asked = Sources.of(source, select=select or Selection())
    return {run.run_id: run for piece in stream(asked) for run in piece.runs}


def no_secret_in(*texts: str) -> None:
    for text in texts:
        assert KEY not in text
        assert SIGNATURE not in text
        assert "5ecret" not in text


def same_as_logged(run: Recorded, series: dict[str, Any]) -> None:
    for metric in ("loss", "eval/loss"):
        rows = [row for row in run.rows if metric in row]
        assert series[metric].steps.tolist() == [row["_step"] for row in rows]
        logged = np.array([float(row[metric]) for row in rows])
        assert np.array_equal(series[metric].values, logged, equal_nan=True)


def test_a_project_comes_whole_through_what_may_go_wrong(server: Server, tmp_path: Path) -> None:
    runs = ladder()
    server.put("lab/ladder", *runs)
    server.overlap = True
    server.faults = [
        Fault("Runs", 500),
        Fault("RunParquetHistory", 429, times=2, headers={"Retry-After": "1"}),
        Fault("HistoryPage", 500),
        Fault("export", 403, times=3),  # expired links
    ]
    answer = told(ingest(tmp_path / "s", "wandb:lab/ladder"))
    assert (answer["runs"], answer["new"]) == (120, 120)
    assert server.pages == [100, 20]
    assert {note["code"] for note in answer["warnings"]} == {"loss_chosen", "non_finite"}
    store = open_store(tmp_path / "s")
    series = store.series()
    for run, record in zip(runs, store.runs(), strict=True):
        assert record.run_key == f"wandb:lab/ladder/{run.name}"
        same_as_logged(run, series[record.run_key])
        assert record.final["params"] == run.config["params"]
        assert record.config["model.width"] == run.config["model"]["width"]
        assert record.config["n_heads"] == 4
        assert (record.group, record.tags) == (run.group, tuple(run.tags))
        assert record.config.get("sweep") == run.sweep
        assert (record.status, record.created_at) == ("finished", "2024-05-01T09:00:00+00:00")
        assert "history_incomplete" not in {note.code for note in record.notes}

    server.faults, server.pages = [], []
    server.calls.clear()
    grown, other = runs[4], runs[6]
    grown.rows, grown.heartbeat = history(60), "2024-05-02T10:00:00Z"
    other.tags = ["new"]
    server.put("lab/ladder", grown, other)
    answer = told(ingest(tmp_path / "s", "wandb:lab/ladder"))
    assert (answer["replaced"], answer["unchanged"]) == (2, 118)
    assert server.pages == [100, 20, 2]
    assert server.calls["RunParquetHistory"] <= 4
    same_as_logged(grown, store.series([f"wandb:lab/ladder/{grown.name}"]).popitem()[1])


def test_where_and_by_see_what_wandb_knows_of_a_run(server: Server, tmp_path: Path) -> None:
    runs = ladder()[:8]
    server.put("lab/ladder", *runs)
    told(ingest(tmp_path / "s", f"{server.url}/lab/ladder/workspace?nw=me"))
    where = ["--store", str(tmp_path / "s"), "--json", "--where"]
    for expression, count in {
        "group == 'g1'": 2,
        "config.sweep == 's1'": 4,
        "config.recipe == 'a' and tags == 'keep'": 1,
    }.items():
        shown = CliRunner().invoke(app, ["runs", *where, expression])
        assert len(told(shown)["runs"]) == count, expression


@pytest.mark.parametrize(
    ("source", "select", "names"),
    [
        ("wandb:lab/ladder/r003", Selection(), {"r003"}),
        ("wandb:lab/ladder", Selection(tags=("keep", "x")), {"r000", "r005"}),
        ("wandb:lab/ladder", Selection(sweep="s1", filter='{"config.recipe": "a"}'), set()),
        ("wandb:lab/ladder", Selection(filter='{"group": {"$in": ["g1", "g2"]}}'), "1256"),
        ("{url}/lab/ladder/sweeps/s1", Selection(), "1357"),
    ],
)
def test_a_part_of_a_project_is_asked_for(
    server: Server, source: str, select: Selection, names: Any
) -> None:
    server.put("lab/ladder", *ladder()[:8])
    wanted = {f"r00{name}" for name in names} if isinstance(names, str) else names
    source = source.replace("{url}", server.url)
    if not wanted:
        with pytest.raises(InputError, match="no such runs"):
            fetched(source, select)
        return
    assert fetched(source, select).keys() == wanted
    assert sum(server.pages) == len(wanted)


def test_what_is_missing_is_said_and_holds_up_no_other_run(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_online, "RUN_SECONDS", 8.0)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    whole = Recorded("whole", history(), exported=40)
    short = Recorded("short", history(), exported=30, lines=50, heartbeat=now)
    old = Recorded("old", history(), exported=40, lines=50)
    thin = Recorded("thin", history(15_000, nan=1.0), most=10_000)
    running = Recorded("running", history(), state="running")
    stuck = Recorded("stuck", history(41), exported=41, delay=16)
    empty = Recorded("empty", [])
    gone = Recorded("gone", history(42), exported=42)
    server.put("lab/x", whole, short, old, thin, running, stuck, empty, gone)
    server.files["lab/x/gone"] = [b"not found, " + SIGNATURE.encode()]
    answer = told(ingest(tmp_path / "s", "wandb:lab/x"))
    messages = [note["message"] for note in answer["warnings"] if note["code"] == "unreadable"]
    assert len(messages) == 1  # of both runs
    assert "lab/x/gone could not be fetched (its exported history is damaged)" in messages[0]
    assert "1 other such remark" in messages[0]
    no_secret_in(*messages)
    records = {record.run_id: record for record in open_store(tmp_path / "s").runs()}
    assert records.keys() == {"whole", "short", "old", "thin", "running", "empty"}
    for name in ("short", "old"):
        (note,) = (n for n in records[name].notes if n.code == "history_incomplete")
        assert note.message == "40 of 50 logged rows could be had, up to step 39 of 39"
    assert records["short"].cursor == ""  # what is missing may still come
    assert records["old"].cursor
    assert records["running"].status == "unfinished"
    loss = open_store(tmp_path / "s").series(["wandb:lab/x/thin"], ["loss"])
    assert len(loss["wandb:lab/x/thin"]["loss"].steps) == 15_000


def test_refusals_are_one_message_without_secrets(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put("lab/x", Recorded("a", history()))

    def refused(code: int, *words: str, source: str = "wandb:lab/x", more: Any = ()) -> None:
        done = ingest(tmp_path / "s", source, *more)
        assert done.exit_code == code, done.stderr
        assert json.loads(done.stdout).keys() == {"error"}
        no_secret_in(done.stdout)
        assert done.stderr.count("\n") == 1
        assert "Traceback" not in done.stderr
        no_secret_in(done.stderr)
        for word in words:
            assert word in done.stderr

    refused(2, "ENTITY/PROJECT", source="wandb:ladder")
    refused(2, "no project lab/nowhere", source="wandb:lab/nowhere")
    refused(2, "no JSON object", more=["--filter", "recipe = a"])
    server.faults = [Fault("Viewer", 401, times=9)]
    refused(3, "API key", "wandb login")
    monkeypatch.setenv("WANDB_API_KEY", "too-short")
    refused(3, "API key")
    monkeypatch.delenv("WANDB_API_KEY")
    refused(3, "API key", "wandb login")
    monkeypatch.setattr(wandb_online, "CALL_SECONDS", 2.0)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    refused(3, "cannot be reached")
    assert not (tmp_path / "s").exists()


def test_secrets_reach_neither_the_store_nor_any_output(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    server.put("lab/x", *ladder()[:3])
    server.files["lab/x/r001"] = [SIGNATURE.encode()]
    server.faults = [Fault("export", 403, times=1)]
    done = ingest(tmp_path / "s", "wandb:lab/x", "--debug")  # tracebacks are shown
    assert told(done)["new"] == 2
    server.faults = [Fault("Viewer", 401, times=99)]
    refused = ingest(tmp_path / "s", "wandb:lab/x", "--debug")
    assert isinstance(refused.exception, UnreachableError)
    shown = "".join(traceback.format_exception(refused.exception))
    server.faults = [Fault("RunParquetHistory", 403, times=99)]
    lost = ingest(tmp_path / "s", "wandb:lab/x/r001", "--debug")
    server.faults = [Fault("Runs", 404, times=99)]  # the client quotes what the server answers
    odd = ingest(tmp_path / "s", "wandb:lab/x", "--debug")
    assert isinstance(odd.exception, UnreachableError)
    shown += "".join(traceback.format_exception(odd.exception))
    outputs = [
        text for result in (done, refused, lost, odd) for text in (result.stdout, result.stderr)
    ]
    no_secret_in(*outputs, shown, *capfd.readouterr(), caplog.text)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    for path in written:
        no_secret_in(path.read_bytes().decode("latin-1"))


def test_ctrl_c_keeps_what_came_and_ends_at_once(server: Server, tmp_path: Path) -> None:
    server.put("lab/x", *ladder())
    server.latency = 0.1
    code = "import sys; sys.argv[0] = 'scalefit'; from scaling_cli.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "ingest", "wandb:lab/x", "--store", str(tmp_path / "s")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while server.calls["HistoryPage"] < 16 and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert out == ""
    assert "the same command goes on from there" in err
    assert "Traceback" not in err
    kept = len(open_store(tmp_path / "s").runs())
    assert 0 < kept < 120
    assert f"{kept} runs are in" in err
    server.latency = 0.0
    answer = told(ingest(tmp_path / "s", "wandb:lab/x"))
    assert (answer["unchanged"], answer["new"]) == (kept, 120 - kept)


def test_a_run_is_the_same_from_its_file_and_from_the_server(server: Server) -> None:
    """The offline files of the sample runs, served as if they had been synchronised."""
    offline = read_sources([SAMPLES]).runs[:3]
    for run in offline:
        rows: dict[int, dict[str, Any]] = {}
        for metric, series in run.series.items():
            for step, value in zip(series.steps.tolist(), series.values.tolist(), strict=True):
                rows.setdefault(step, {"_step": step})[metric] = value
        ordered = [rows[step] for step in sorted(rows)]
        assert not any(math.isnan(value) for row in ordered for value in row.values())
        recorded = Recorded(
            run.run_id,
            ordered,
            exported=len(ordered) // 2,
            config={k: v for k, v in run.config.items() if k not in ("sweep", "job_type")},
            display=run.name,
            group=run.group,
            tags=run.tags,
        )
        server.put("lab/x", recorded)
    online = fetched("wandb:lab/x")
    for run in offline:
        other = online[run.run_id]
        assert other.config == run.config
        assert (other.name, other.group, other.tags) == (run.name, run.group, run.tags)
        assert other.series.keys() == run.series.keys()
        for metric, series in run.series.items():
            assert np.array_equal(other.series[metric].steps, series.steps)
            assert np.array_equal(other.series[metric].values, series.values)


@pytest.mark.parametrize(
    ("source", "claimed"),
    [
        ("wandb:lab/x", True),
        ("https://wandb.ai/lab/x/runs/abc", True),
        ("https://acme.wandb.io/lab/x", True),
        ("https://notwandb.ai/lab/x", False),
        ("https://example.org/wandb.ai/runs.csv", False),
        ("runs/wandb.ai", False),
        ("", False),
    ],
)
def test_only_what_is_spelled_as_wandb_is_claimed(
    source: str, claimed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_BASE_URL", raising=False)
    assert wandb_online.claims(source) is claimed


def test_without_the_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match=r"pip install '\.\[wandb\]'"):
        list(stream(Sources.of("wandb:lab/x")))


def lightning(calls: int = 40) -> list[dict[str, Any]]:
    """Rows of a logger that gives no step: its count of calls, and the trainer's as a metric."""
    rows = []
    for call in range(calls):
        name = "val_loss" if call % 4 == 3 else "train_loss"
        rows.append({"_step": call, "k": 50 * call, name: 4 - call / 100})
    return rows


@pytest.mark.parametrize("exported", [0, 40])
def test_the_step_that_define_metric_declared_is_the_step(server: Server, exported: int) -> None:
    # As the client keeps it in the config, by the numbers of the fields: 1 is a name, 2 a pattern,
    # 5 the place of its step metric, from 1 on.
    declared = [{"1": "k", "6": [3], "7": []}, {"2": "*", "5": 1, "6": [1], "7": []}]
    config = {"params": 1000, "batch_size": 8, "seq_len": 16}
    made = Recorded("r", lightning(), exported, config=config, metrics=declared)
    plain = Recorded("plain", lightning(), exported, config=config)
    server.put("lab/ladder", made, plain)
    runs = fetched("wandb:lab/ladder")
    assert runs["r"].series["val_loss"].steps.tolist() == [50 * call for call in range(3, 40, 4)]
    assert {note.code for note in runs["r"].notes} == {"own_step"}
    assert runs["plain"].series["val_loss"].steps.tolist() == list(range(3, 40, 4))
    rows = finals(list(runs.values())).rows
    tokens = {run_id: row.values.get("tokens") for run_id, row in zip(runs, rows, strict=True)}
    assert tokens == {"r": 50 * 39 * 8 * 16, "plain": None}


def test_a_client_that_does_not_end_holds_up_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb_online, "END_SECONDS", 0.05)
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    service = SimpleNamespace(_proc=SimpleNamespace(_process=process))
    setup = SimpleNamespace(singleton=lambda: SimpleNamespace(_connection=service))
    wandb_online._end(SimpleNamespace(teardown=lambda: sys.exit(process.wait())), setup)
    assert process.returncode


def answering(server: Server, change: Any) -> None:
    """What the server says of its runs, changed; told whether it lists them in full."""
    answer = server.answer

    def changed(operation: str, query: str, asked: dict[str, Any]) -> Any:
        found = answer(operation, query, asked)
        if operation == "Runs":
            change(found["project"]["runs"], "...RunFragment" in query)
        return found

    server.answer = changed  # type: ignore[method-assign]


def test_a_config_that_cannot_be_read_costs_no_page(server: Server) -> None:
    """The client gives up the page that it is on; what cannot be listed at all is said."""
    server.put("lab/x", *ladder()[:3])

    def damage(runs: Any, full: bool) -> None:
        if full:
            runs["edges"][0]["node"]["config"] = "{"

    answering(server, damage)
    assert len(fetched("wandb:lab/x")) == 3
    answering(server, lambda runs, full: runs["edges"][0].update(node=None))
    notes = [
        note for note in wandb_online.fetch("wandb:lab/x", Request()) if isinstance(note, Note)
    ]
    assert [note.code for note in notes] == ["unreadable"]


def test_a_list_without_end_is_left(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb_online, "MOST_REPEATED", 9)
    server.put("lab/x", *ladder()[:3])
    more = {"hasNextPage": True, "endCursor": "0"}
    answering(server, lambda runs, full: runs["pageInfo"].update(more))
    with pytest.raises(UnreachableError, match="has no end"):
        fetched("wandb:lab/x")
