"""The store beside one Parquet file a run; the whole process of `runs`; the memory of an ingest.

SCALEFIT_BENCH_POINTS=100000000 measures the memory at 1e8 points (minutes, and 2 GB of disk).
"""

from __future__ import annotations

import compileall
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import scaling_cli
from scaling_cli.records import Run, Series
from scaling_cli.resolve import finals
from scaling_cli.store import Store, open_store

title = "Store: 10,000 runs of 1,000 steps"
RUNS, STEPS, ROUNDS = 10_000, 1_000, 5
INGEST_POINTS = int(os.environ.get("SCALEFIT_BENCH_POINTS", "10_000_000"))
INGEST_RUNS, METRICS = 100, ("train/loss", "lr")  # of the ingest: files of equal size
# Prints the peak memory of a process in bytes, its own imports among it.
PEAK = """
import resource, sys
from scaling_cli.project import open_project
done = open_project(sys.argv[1], None).ingest([sys.argv[2]])
print(done.runs, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def make_runs(first: int, count: int) -> list[Run]:
    random = np.random.default_rng(first)
    steps = np.arange(STEPS, dtype=np.int64) * 10
    made = []
    for n in range(first, first + count):
        loss = 3 + 1 / (1 + steps) + random.normal(0, 0.01, STEPS)
        series = {"loss": Series(steps, loss), "lr": Series(steps, 1e-3 / (1 + steps))}
        config = {"n_params": 1e6 * (n + 1), "batch_size": 64, "seq_len": 512}
        made.append(Run(f"csv:{n:05}", f"{n:05}", "x.csv", config=config, series=series))
    return made


def fill(folder: Path) -> Store:
    store = open_store(folder / "store", create=True)
    (folder / "single").mkdir()
    for first in range(0, RUNS, 500):
        runs = make_runs(first, 500)
        store.put(runs, finals(runs).rows)
        for run in runs:
            columns = {name: series.values for name, series in run.series.items()}
            table = pa.table({"step": run.series["loss"].steps, **columns})
            pq.write_table(table, folder / "single" / f"{run.run_id}.parquet", compression="zstd")
    return store


def read_single(folder: Path) -> int:
    points = 0
    for path in (folder / "single").iterdir():
        table = pq.ParquetFile(path).read()
        points += sum(len(table[name].to_numpy()) for name in ("loss", "lr"))
    return points


def read_store(store: Store) -> int:
    return sum(len(one.values) for run in store.series().values() for one in run.values())


def processor(work: Callable[[], object]) -> float:
    """Processor seconds: what either side reads on several threads counts in full."""
    start = time.process_time()
    work()
    return time.process_time() - start


def command(*arguments: str) -> float:
    """Wall seconds of the whole process, as a user waits for it."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "scaling_cli", *arguments], check=True, capture_output=True
    )
    return time.perf_counter() - start


def peak(folder: Path) -> tuple[int, int]:
    """Points and peak bytes of an ingest of CSV files."""
    source = folder / "csv"
    source.mkdir()
    rows = INGEST_POINTS // INGEST_RUNS // len(METRICS)
    lines = "".join(f"{n},{3 + 1 / (n + 1):.6f},{1e-3 / (n + 1):.6e}\n" for n in range(rows))
    for n in range(INGEST_RUNS):
        head = f"step,{','.join(METRICS)}\n"
        (source / f"run-{n}.csv").write_text(head + lines, encoding="utf-8")
    code = [sys.executable, "-c", PEAK, str(folder / "ingested"), str(source)]
    shown = subprocess.run(code, check=True, capture_output=True, text=True).stdout.split()
    assert int(shown[0]) == INGEST_RUNS
    return rows * INGEST_RUNS * len(METRICS), int(shown[1])


def run() -> str:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = fill(folder)
        assert read_single(folder) == read_store(store) == 2 * RUNS * STEPS
        compileall.compile_dir(Path(scaling_cli.__file__).parent, quiet=1)  # as installed
        rounds = [
            (
                processor(lambda: read_single(folder)),
                statistics.median(processor(lambda: read_store(store)) for _ in range(ROUNDS)),
                command("runs", "--store", store.location),
                command("--version"),
            )
            for _ in range(ROUNDS)
        ]
        single, ours, listing, bare = map(statistics.median, zip(*rounds, strict=True))
        ratio = statistics.median(one / other for one, other, *_ in rounds)
        points, bytes_ = peak(folder)
    return "\n".join(
        [
            "| what | figure |",
            "|---|---|",
            f"| full scan, one Parquet file a run, processor time | {single:.2f} s |",
            f"| full scan, the store, processor time | {ours:.2f} s |",
            f"| ratio, median of {ROUNDS} rounds | {ratio:.1f} |",
            f"| `scalefit runs`, whole process | {listing:.2f} s |",
            f"| `scalefit --version`, whole process | {bare:.2f} s |",
            f"| peak memory, ingest of {points:.0e} points | {bytes_ / 2**30:.2f} GiB |",
        ]
    )


if __name__ == "__main__":
    print(run())
