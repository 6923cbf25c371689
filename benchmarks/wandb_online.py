"""A project of a W&B server at 100 ms a call, beside the client's own way to read it.

The server is that of the tests, in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

from scaling_cli.adapters.reading import stream
from scaling_cli.sources import Sources
from tests.adapters.wandb_server import KEY, Recorded, Server

title = "W&B server at 100 ms a call: 96 runs of 2,000 rows with 8 metrics"
RUNS, ROWS, METRICS, LATENCY = 96, 2_000, 8, 0.1


def serve() -> None:
    rows = [
        {"_step": i, "_runtime": i / 2, "_timestamp": 1.7e9 + i}
        | {f"metric_{k}": (i * 31 + k) % 1000 / 999 for k in range(METRICS)}
        for i in range(ROWS)
    ]
    with Server(LATENCY) as server:
        for i in range(RUNS):
            server.put("lab/ladder", Recorded(f"r{i}", rows, exported=ROWS, config={"n": i}))
        print(server.url, flush=True)
        sys.stdin.read()  # until the other side goes away


@contextmanager
def server() -> Iterator[None]:
    """The server, and a client that knows of no other."""
    command = [sys.executable, "-m", "benchmarks.wandb_online", "serve"]
    with (
        tempfile.TemporaryDirectory() as home,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        ) as process,
    ):
        assert process.stdout is not None
        folders = ("HOME", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_DIR")
        said = {"WANDB_BASE_URL": process.stdout.readline().strip(), "WANDB_API_KEY": KEY}
        quiet = {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
        with patch.dict(os.environ, dict.fromkeys(folders, home) | said | quiet):
            yield
        process.terminate()


def ours() -> int:
    runs = [run for piece in stream(Sources.of("wandb:lab/ladder")) for run in piece.runs]
    return sum(len(run.series["metric_0"].steps) for run in runs)


def serial_scan() -> int:
    import wandb

    runs = wandb.Api().runs("lab/ladder", lazy=False, per_page=100)
    rows = sum(len(list(run.scan_history())) for run in runs)
    wandb.teardown()
    return rows


def seconds(work: Callable[[], int]) -> float:
    """Wall-clock time: what is measured is mostly waiting."""
    start = time.perf_counter()
    assert work() == RUNS * ROWS
    return time.perf_counter() - start


def run() -> str:
    if find_spec("wandb") is None:
        return "Skipped: the package wandb is not there."
    import wandb  # noqa: F401  # neither side pays for the import

    with server():
        times = [seconds(ours) for _ in range(3)]
        serial = seconds(serial_scan)
    median = sorted(times)[1]
    named = {"`run.scan_history()`, run after run": serial, "scalefit": median}
    lines = [
        f"| {name} | {spent:.2f} s | {RUNS * ROWS / spent:,.0f} | {serial / spent:.1f} |"
        for name, spent in named.items()
    ]
    head = ["| read by | time | rows/s | ratio |", "|---|---|---|---|"]
    return "\n".join(["Wall-clock time, the whole project.", "", *head, *lines])


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        print(run())
