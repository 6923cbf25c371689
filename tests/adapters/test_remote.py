"""Sources that are no local paths: a real S3 server and a real HTTP server on loopback, fsspec's
memory, standard input."""

from __future__ import annotations

import gzip
import io
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from scaling_cli.adapters.reading import read_sources
from scaling_cli.errors import InputError, UnreachableError
from scaling_cli.remote import without_secrets
from scaling_cli.sources import Sources
from tests.places import SAMPLES

CSV = b"step,loss\n1,3\n2,2\n"


def test_a_bucket_reads_as_the_folder_that_was_copied_to_it(s3: Any, tmp_path: Path) -> None:
    for name in ("csv", "jsonl", "tensorboard", "wandb"):
        s3.put(str(SAMPLES / name), f"lab/ladder/{name}", recursive=True)
        (tmp_path / name).symlink_to(SAMPLES / name)
    for name in (".hidden.csv", "nothing.csv", "wandb/x/logs/debug.jsonl", "wandb/x/run-1.wandb"):
        s3.pipe(f"lab/ladder/{name}", b"" if name == "nothing.csv" else b"{}")
    here, there = read_sources([tmp_path]), read_sources(["s3://lab/ladder/"])
    assert len(there.runs) > 60
    for a, b in zip(here.runs, there.runs, strict=True):
        assert (a.run_key, a.config, a.status) == (b.run_key, b.config, b.status)
        assert b.source == a.source.replace(str(tmp_path), "s3://lab/ladder")
        assert a.series.keys() == b.series.keys()
        for name, series in a.series.items():
            assert np.array_equal(series.values, b.series[name].values, equal_nan=True)
    assert [note.code for note in there.notes[:2]] == ["empty_file", "unreadable"]


def test_only_what_holds_runs_is_copied(s3: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "werkzeug")
    s3.pipe("lab/run/metrics.csv", CSV + b"".join(b"%d,1\n" % n for n in range(3, 20000)))
    s3.pipe("lab/run/model.bin", bytes(1 << 20))
    (run,) = read_sources(["s3://lab/run"]).runs
    assert (run.run_id, len(run.series["loss"].steps)) == ("run", 19999)
    read = [message for message in caplog.messages if "GET /lab/run/" in message]
    assert [message.rpartition('" ')[2] for message in read if "model.bin" in message] == ["206 -"]
    assert any('metrics.csv HTTP/1.1" 200' in message for message in read)


def test_a_key_that_leads_elsewhere_stays_in_the_copy(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    s3.pipe("lab/evil/a/../../../../../../../escaped.csv", CSV)
    s3.pipe("lab/evil/fine.csv", CSV)
    assert [run.run_id for run in read_sources(["s3://lab/evil"]).runs] == ["fine"]
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    ("source", "kind", "says"),
    [
        ("s3://lab/none.csv", InputError, "s3://lab/none.csv does not exist"),
        ("s3://nowhere/x", InputError, "s3://nowhere/x does not exist"),
        ("s5://lab/x", InputError, "s5://lab/x: no such protocol"),
        ("https://me:pw@127.0.0.1:9/a.csv?sig=1", UnreachableError, "//127.0.0.1:9/a.csv cannot"),
    ],
)
def test_what_is_not_there_is_said_without_secrets(
    s3: Any, source: str, kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says) as caught:
        read_sources([source])
    assert "sig" not in str(caught.value)
    assert "pw" not in str(caught.value)
    assert caught.value.__suppress_context__  # so that --debug does not quote the client either


@pytest.fixture(scope="module")
def website(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    folder = tmp_path_factory.mktemp("website")

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if "secret" in self.path:
                self.send_error(403)
            else:
                super().do_GET()

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield SimpleNamespace(folder=folder, url=f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()


def test_a_file_behind_a_signed_link(website: SimpleNamespace) -> None:
    pytest.importorskip("aiohttp")
    (website.folder / "run-7.csv").write_bytes(CSV)
    (run,) = read_sources([f"{website.url}/run-7.csv?X-Amz-Signature=abc"]).runs
    assert (run.run_id, run.source) == ("run-7", f"{website.url}/run-7.csv")
    with pytest.raises(UnreachableError, match="may not be read") as caught:
        read_sources([f"{website.url}/secret.csv?X-Amz-Signature=abc"])
    assert "abc" not in str(caught.value)


def test_any_file_system_of_fsspec() -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe("/logs/a/metrics.csv", CSV)
    memory.pipe("/logs/b/metrics.csv", gzip.compress(CSV))
    assert [run.run_id for run in read_sources(["memory://logs"]).runs] == ["a", "b"]
    memory.rm("/logs", recursive=True)


@pytest.mark.parametrize(
    ("content", "as_format"),
    [
        (CSV, "csv"),
        (b"step,loss\n1,3\n2,2\n3,1\n", None),
        (b'{"step": 1, "loss": 3}\n{"step": 2, "loss": 2}\n', None),
        (pa.compress(b"step,loss\n1,3\n2,2\n3,1\n", codec="zstd", asbytes=True), None),
    ],
)
def test_standard_input_is_a_file(
    content: bytes, as_format: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    (run,) = read_sources(Sources.of(["-"], as_format=as_format)).runs
    assert (run.run_id, run.source) == ("stdin", "standard input")
    assert run.series["loss"].values.tolist()[:2] == [3, 2]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@host/a.csv?sig=1#x", "https://host/a.csv"),
        ("s3://bucket/me@home/a.csv", "s3://bucket/me@home/a.csv"),
        ("simplecache::s3://key:secret@bucket/a", "simplecache::s3://bucket/a"),
        ("logs/a.csv", "logs/a.csv"),
    ],
)
def test_secrets_of_an_address_are_not_shown(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
