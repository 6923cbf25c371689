"""A report as a run of W&B, against a server on loopback, and of MLflow, in its own store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scaling_cli.cli import app
from scaling_cli.drawing.figure import Axis, Figure, Series
from scaling_cli.errors import InputError, UnreachableError
from scaling_cli.publishing.publication import Publication, publish
from scaling_cli.report.listing import Listing
from tests.places import ROOT
from tests.report.wandb_receiver import Receiver

REPORT = Publication(
    "Scaling report",
    "It will be 2.1.",
    "<!doctype html><p>the page</p>",
    '{"fits": []}',
    [Figure("curve", "A curve", "Falls.", Axis("x"), Axis("y"), (Series("s", "line", [1], [2]),))],
    [
        Listing("Two runs: a, b", ("run", "loss"), (("r1", "2.1"), ("=r2", "2.2"))),
        Listing("", (), ()),
    ],
    ["chinchilla-0f"],
)


def test_wandb_has_the_page_the_figures_and_the_tables(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    pytest.importorskip("matplotlib")
    code = (
        "from scaling_cli.publishing.publication import publish\n"
        "from tests.report.test_publishing import REPORT\n"
        "print(publish('wandb:lab/ladder', REPORT))\n"
    )
    (tmp_path / "work").mkdir()
    with Receiver() as server:
        own = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "ab" * 20, "NO_PROXY": "127.0.0.1"}
        own |= {f"WANDB_{name}_DIR": str(tmp_path) for name in ("CONFIG", "DATA", "CACHE")}
        kept = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False,
            cwd=tmp_path / "work", env=kept | own | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"{server.url}/lab/ladder/runs/")
    assert server.runs[0]["jobType"] == "report"
    assert server.runs[0]["displayName"] == REPORT.title
    names = {name.partition("_0_")[0]: name for name in server.files}
    assert server.files[names["media/html/report"]].decode() == REPORT.page
    assert server.files[names["media/images/figures/curve"]].startswith(b"\x89PNG")
    table = json.loads(server.files[names["media/table/tables/01 Two runs a b"]])
    assert (table["columns"], table["data"]) == (["run", "loss"], [["r1", "2.1"], ["=r2", "2.2"]])
    assert not list((tmp_path / "work").iterdir())


def test_mlflow_has_the_page_the_figures_and_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    store = tmp_path / "mlruns"
    number = publish(f"mlflow:{store}#reports", REPORT).rpartition(" ")[2]
    (run,) = store.glob(f"*/{number}")
    written = run / "artifacts"
    assert (written / "report.html").read_text(encoding="utf-8") == REPORT.page
    assert (written / "report.json").read_text(encoding="utf-8") == REPORT.document
    assert "| r1 | 2\\.1 |" in (written / "report.md").read_text(encoding="utf-8")
    assert (written / "figures" / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert (run / "tags" / "fits").read_text(encoding="utf-8") == "chinchilla-0f"
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UnreachableError) as told:
        publish("mlflow:http://me:secret@127.0.0.1:9#x", REPORT)
    assert "secret" not in str(told.value)


def test_a_target_of_no_service_is_refused_before_the_work() -> None:
    result = CliRunner().invoke(app, ["report", "--to", "s3://bucket"])
    assert result.exit_code == 2
    assert "wandb:ENTITY/PROJECT" in result.stderr
    for target in ("wandb:lab", "wandb:lab/p/q", "mlflow:"):
        with pytest.raises(InputError):
            publish(target, REPORT)
