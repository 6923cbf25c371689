"""MLflow: its folders and databases, written by its own stores, and its real server on loopback."""

from __future__ import annotations

import json
import math
import os
import shutil
import sqlite3
import threading
import time
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count, repeat
from pathlib import Path
from typing import Any

import pytest

from scaling_cli import remote
from scaling_cli.adapters import mlflow_server
from scaling_cli.adapters.base import Request, Unchanged
from scaling_cli.adapters.mlflow_server import fetch
from scaling_cli.adapters.reading import read_sources
from scaling_cli.errors import InputError, UnreachableError
from scaling_cli.records import Run
from scaling_cli.sources import Selection

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
STEPS = 30
pytestmark = pytest.mark.filterwarnings("ignore")  # the server's own: it runs in this process


def write(client: Any) -> dict[str, str]:
    """Two runs of experiment `ladder` and one of `other`; their ids by name."""
    from mlflow.entities import Metric

    ids = {}
    for experiment, name in (("ladder", "small"), ("ladder", "big"), ("other", "else")):
        known = client.get_experiment_by_name(experiment)
        home = known.experiment_id if known else client.create_experiment(experiment)
        run_id = client.create_run(home, run_name=name, tags={"recipe": "rotary"}).info.run_id
        ids[name] = run_id
        client.log_batch(
            run_id,
            metrics=[
                *(Metric("train/loss", 1 / (s + 1), 1_000_000 + s, s * 10) for s in range(STEPS)),
                Metric("eval", math.nan, 1_000_000, 10),
                Metric("eval", math.inf, 1_000_001, 20),
                Metric("eval", 0.5, 1_000_002, 30),
            ],
        )
        for key, value in {"params": 1000, "opt/lr": 3e-4, "tied": True, "kind": "a b"}.items():
            client.log_param(run_id, key, value)
    client.set_terminated(ids["small"])
    client.set_terminated(ids["big"], status="KILLED")
    return ids


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    pytest.importorskip("mlflow")
    from mlflow.store.tracking.file_store import FileStore

    home = tmp_path_factory.mktemp("mlflow") / "mlruns"
    FileStore(str(home))
    from mlflow.tracking import MlflowClient

    return home, write(MlflowClient(home.as_uri()))


def check(runs: tuple[Run, ...], ids: dict[str, str]) -> None:
    by_key = {run.run_key: run for run in runs}
    assert set(by_key) >= {f"mlflow:{ids['small']}", f"mlflow:{ids['big']}"}
    run = by_key[f"mlflow:{ids['small']}"]
    assert (run.run_id, run.name, run.group) == (ids["small"], "small", "ladder")
    assert (run.status, by_key[f"mlflow:{ids['big']}"].status) == ("finished", "failed")
    assert run.created_at.startswith("20")
    settings = {"params": 1000, "opt/lr": 3e-4, "tied": True, "kind": "a b"}
    assert run.config == {**settings, "tags.recipe": "rotary"}
    loss = run.series["train/loss"]
    assert loss.steps.tolist() == [s * 10 for s in range(STEPS)]
    assert loss.values.tolist() == [1 / (s + 1) for s in range(STEPS)]
    assert [math.isnan(value) for value in run.series["eval"].values] == [True, True, False]
    assert [note.message for note in run.notes] == ["values that are not finite: 2 in eval"]


def test_a_folder_of_the_file_store(folder: tuple[Path, dict[str, str]]) -> None:
    home, ids = folder
    (home / "x.csv").write_text("step,loss\n1,3\n2,2\n")
    found = read_sources([home])
    check(found.runs, ids)
    assert [run.run_key for run in found.runs if run.run_key.startswith("csv")] == ["csv:x"]
    other = next(run for run in found.runs if run.run_key == f"mlflow:{ids['else']}")
    assert (other.group, other.status) == ("other", "unfinished")
    (home / "x.csv").unlink()


def test_artifacts_are_no_runs_and_deleted_runs_are_left_out(
    folder: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    from mlflow.tracking import MlflowClient

    home, ids = folder
    shutil.copytree(home, tmp_path / "mlruns")
    client = MlflowClient((tmp_path / "mlruns").as_uri())
    client.delete_run(ids["else"])
    (run_folder,) = (tmp_path / "mlruns").glob(f"*/{ids['small']}")
    (run_folder / "artifacts").mkdir(exist_ok=True)
    (run_folder / "artifacts" / "table.csv").write_text("step,loss\n1,3\n2,2\n")
    (run_folder / "params" / "empty").write_text("")
    with (run_folder / "metrics" / "eval").open("a") as file:
        file.write("1000003 0.25 40\n10000")  # killed while it wrote
    runs = {run.run_id: run for run in read_sources([tmp_path / "mlruns"]).runs}
    assert set(runs) == {ids["small"], ids["big"]}
    small = runs[ids["small"]]
    assert small.series["eval"].steps.tolist() == [10, 20, 30, 40]
    assert "damaged" in {note.code for note in small.notes}
    assert small.config["empty"] == ""


@pytest.fixture(scope="session")  # a second server of one process would know the first one's store
def server(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, Path, dict[str, str]]]:
    """MLflow's server application on loopback over a SQLite store: its address, the file, and the
    ids of what a client wrote through it."""
    for package in ("mlflow", "sqlalchemy", "alembic", "flask"):
        pytest.importorskip(package)
    home = tmp_path_factory.mktemp("server")
    patch = pytest.MonkeyPatch()
    patch.setenv("_MLFLOW_SERVER_FILE_STORE", f"sqlite:///{home / 'tracking.db'}")
    patch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", str(home / "artifacts"))
    patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    patch.setenv("NO_PROXY", "127.0.0.1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of the server's own code
        from mlflow.server import app
        from mlflow.tracking import MlflowClient
        from werkzeug.serving import make_server

        listening = make_server("127.0.0.1", 0, app, threaded=True)
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{listening.server_port}"
        ids = write(MlflowClient(address))
    yield address, home / "tracking.db", ids
    listening.shutdown()
    listening.server_close()
    patch.undo()


def fetched(source: str, **options: Any) -> tuple[Run, ...]:
    return tuple(item for item in fetch(source, Request(**options)) if isinstance(item, Run))


def test_a_server_gives_whole_histories(server: tuple[str, Path, dict[str, str]]) -> None:
    address, _, ids = server
    runs = fetched(f"mlflow:{address}#ladder")
    assert len(runs) == 2
    check(runs, ids)
    assert {run.source for run in runs} == {f"mlflow:{address}#ladder"}
    assert len(fetched(f"mlflow:{address}")) == 3
    some = Selection(filter="attributes.run_name = 'big'")
    assert [run.name for run in fetched(f"mlflow:{address}", select=some)] == ["big"]


def test_a_run_that_has_not_changed_is_not_read_again(
    server: tuple[str, Path, dict[str, str]],
) -> None:
    address, _, ids = server
    known = {run.run_key: run.cursor for run in fetched(f"mlflow:{address}")}
    items = list(fetch(f"mlflow:{address}", Request(known=known)))
    unchanged = {item.run_key for item in items if isinstance(item, Unchanged)}
    assert unchanged == {f"mlflow:{ids['small']}", f"mlflow:{ids['big']}"}
    assert [item.run_id for item in items if isinstance(item, Run)] == [ids["else"]]


def test_runs_come_in_pages(
    server: tuple[str, Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, _, ids = server
    monkeypatch.setattr(mlflow_server, "_RUNS_A_PAGE", 1)
    check(fetched(f"mlflow:{address}#ladder"), ids)


def test_what_a_server_does_not_give_is_said_without_its_password(
    server: tuple[str, Path, dict[str, str]],
) -> None:
    address, _, _ = server
    with pytest.raises(InputError, match="has no experiment 'ladders'"):
        fetched(f"mlflow:{address}#ladders")
    for wrong in ("http://me:pw@127.0.0.1:9", f"{address}/nowhere".replace("//", "//me:pw@")):
        with pytest.raises(UnreachableError, match="cannot be read") as caught:
            fetched(f"mlflow:{wrong}#ladder")
        assert "pw" not in str(caught.value)
        assert caught.value.__suppress_context__


def test_a_database_is_known_by_its_tables(server: tuple[str, Path, dict[str, str]]) -> None:
    _, path, ids = server
    check(read_sources([path]).runs, ids)
    check(fetched(f"mlflow:sqlite:///{path}#ladder"), ids)


def test_a_damaged_database_gives_what_is_readable(
    server: tuple[str, Path, dict[str, str]], tmp_path: Path
) -> None:
    _, path, _ = server
    whole = path.read_bytes()
    (tmp_path / "mlflow.db").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"mlflow\.db cannot be read"):
        read_sources([tmp_path / "mlflow.db"])
    shutil.copy(path, tmp_path / "mlflow.db")
    with sqlite3.connect(tmp_path / "mlflow.db") as edited:
        edited.execute("PRAGMA writable_schema = 1")
        edited.execute("DROP TABLE params")
    found = read_sources([tmp_path / "mlflow.db"])
    assert len(found.runs) == 3
    assert "damaged" in {note.code for note in found.notes}


@pytest.mark.parametrize("endless", [repeat(["r"]), ([str(i)] for i in count())])
def test_a_server_that_lists_without_end_is_left(
    endless: Iterator[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Page(list[str]):
        token = "more"

    monkeypatch.setattr(mlflow_server, "_MOST_RUNS", 50)
    pages = mlflow_server._pages("x", lambda page_token: Page(next(endless)), str)
    with pytest.raises(UnreachableError, match=r"lists without end|more than 50 runs"):
        list(pages)


def test_an_answer_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MOST_GROWTH", 32 << 20)
    held: list[bytes] = []

    def grow() -> None:
        while len(held) < 200:
            held.append(bytearray(b"x" * (1 << 20)))  # type: ignore[arg-type]
            time.sleep(0.005)

    with pytest.raises(MemoryError, match="an answer of more than"):
        remote.bounded(grow, 60)
    with pytest.raises(TimeoutError):
        remote.bounded(lambda: time.sleep(1), 0.01)
    assert remote.bounded(lambda: 3, 1) == 3


def test_what_a_server_says_reaches_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """MLflow's client logs words of the server that it does not know."""
    pytest.importorskip("mlflow")

    class Hostile(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = json.dumps({"error_code": "\n::error::x\x1b[2J", "message": "x"}).encode()
            self.send_response(400)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Hostile) as http:
        threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True).start()
        with pytest.raises(UnreachableError, match="cannot be read"):
            fetched(f"mlflow:http://127.0.0.1:{http.server_port}")
        http.shutdown()
    assert capfd.readouterr().err == ""
