"""Folders of thousands of files, as a nightly job reads them: the command, start included, beside a
loop of the standard library over the same files in one thread, and beside json.loads over the same
points as JSON lines. By the clock, and by the processor, whom others do not hold up."""

from __future__ import annotations

import csv
import json
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from scaling_cli.manifest import DOUBTFUL_SECONDS

FILES, ROWS = 5_000, 1_000
ROUNDS = 3  # of an ingest that finds nothing new
# The command as it is installed, so that its start is part of what is measured.
COMMAND = [str(Path(sys.executable).parent / "scalefit")]
_NUMBERS = re.compile(r"step:(\d+) loss:(\S+) tokens:(\d+) lr:(\S+)")


def steps(run: int) -> Iterator[dict[str, float]]:
    for step in range(1, ROWS + 1):
        loss = 2.0 + (run % 7) / 10 + 1 / step + step % 3 * 1e-3
        yield {
            "step": step,
            "loss": loss,
            "tokens": step * 262_144,
            "lr": 3e-4 * min(1, step / 100),
        }


def json_lines(run: int) -> str:
    head = json.dumps({"config": {"n_params": 10**7 + run}})
    return "\n".join([head, *map(json.dumps, steps(run))])


def table(run: int) -> str:
    rows = (",".join(map(str, (*row.values(), 10**7 + run))) for row in steps(run))
    return "\n".join(["step,loss,tokens,lr,n_params", *rows])


def console(run: int) -> str:
    told = (" ".join(f"{name}:{value}" for name, value in row.items()) for row in steps(run))
    return "\n".join([f"number of parameters: {10**7 + run}", *told])


def read_json(path: Path) -> None:
    with path.open("rb") as file:
        for line in file:
            json.loads(line)


def read_table(path: Path) -> None:
    with path.open(newline="") as file:
        rows = csv.reader(file)
        next(rows)
        for row in rows:
            [float(cell) for cell in row]


def read_console(path: Path) -> None:
    with path.open() as file:
        for line in file:
            found = _NUMBERS.search(line)
            if found:
                [float(text) for text in found.groups()]


Writer = Callable[[int], str]
FORMATS: dict[str, tuple[str, Writer, Callable[[Path], None], str]] = {
    "JSON lines": ("jsonl", json_lines, read_json, "json.loads"),
    "CSV": ("csv", table, read_table, "csv.reader, float"),
    "console": ("log", console, read_console, "a pattern of its own"),
}


class Spent(NamedTuple):
    """Seconds by the clock, and of the processors."""

    clock: float
    processors: float

    def over(self, other: Spent) -> str:
        return f"{self.clock / other.clock:.2f}, {self.processors / other.processors:.2f}"


def spent(work: Callable[[], object]) -> Spent:
    """What this takes, here and in the processes that it starts."""

    def processors() -> float:
        both = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(used.ru_utime + used.ru_stime for used in both)

    before, start = processors(), time.perf_counter()
    work()
    return Spent(time.perf_counter() - start, processors() - before)


def ingest(logs: Path, store: Path) -> tuple[dict[str, Any], Spent]:
    """What the command answers, and what it takes."""
    said: list[bytes] = []

    def run() -> None:
        command = [*COMMAND, "ingest", str(logs), "--store", str(store), "--json"]
        said.append(subprocess.run(command, capture_output=True, check=True).stdout)

    took = spent(run)
    return json.loads(said[0]), took


def resumed(logs: Path, store: Path, first: float) -> tuple[int, int]:
    """After Ctrl-C in the middle: how many runs were in the store, and how many were read then."""
    command = [*COMMAND, "ingest", str(logs), "--store", str(store), "-q"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        time.sleep(first / 2)
        process.send_signal(signal.SIGINT)
    answer, _ = ingest(logs, store)
    return answer["not_read"], answer["new"] + answer["replaced"]


def loop_over(folder: Path, suffix: str, write: Writer, read: Callable[[Path], None]) -> Spent:
    """The files of a folder, written and then read one after the other."""
    folder.mkdir()
    for run in range(FILES):
        (folder / f"run-{run:05}.{suffix}").write_text(write(run), encoding="utf-8")
    return spent(lambda: [read(path) for path in sorted(folder.iterdir())])


def measured(what: str) -> str:
    suffix, write, read, loop = FORMATS[what]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        logs = folder / "logs"
        by_json = loop_over(folder / "twins", "jsonl", json_lines, read_json)
        by_loop = loop_over(logs, suffix, write, read)
        size = sum(path.stat().st_size for path in logs.iterdir()) / 1e6
        time.sleep(DOUBTFUL_SECONDS)  # as files of last night are
        answer, first = ingest(logs, folder / "store")
        assert answer["new"] == FILES, answer["summary"]
        again = []
        for _ in range(ROUNDS):
            answer, took = ingest(logs, folder / "store")
            assert answer["not_read"] == FILES, answer["summary"]
            again.append(took)
        kept, rest = resumed(logs, folder / "other", first.clock)
        assert kept + rest == FILES
    return (
        f"| {what}, {size:.0f} MB | {loop}, {by_loop.processors:.1f} s | {first.over(by_loop)} |"
        f" {first.over(by_json)} | {sorted(again)[ROUNDS // 2].over(first)} |"
        f" {rest:,} of {FILES - kept:,} |"
    )


def rows() -> str:
    heads = "| folder | loop | first / loop | first / json | unchanged / first | after Ctrl-C |"
    lines = [heads, "|---|---|---|---|---|---|", *map(measured, FORMATS)]
    told = (
        f"{FILES:,} files of {ROWS:,} rows; ratios by the clock and by the processor, each command"
        " with its start; what was read after Ctrl-C, of what was left:"
    )
    return "\n".join([told, "", *lines])


if __name__ == "__main__":
    print(rows())
