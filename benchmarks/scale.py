"""How time and memory grow with the number of runs: each command as a process of its own.

What grows as the runs has an exponent of 1; the last columns are on paper, from the two largest
that were measured. SCALEFIT_SCALE=1000,10000,100000 measures more, and SCALEFIT_MEMORY sets the MiB
that no command may exceed.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

title = "Scale: time and memory against the number of runs"
SIZES = tuple(map(int, os.environ.get("SCALEFIT_SCALE", "1000,10000").split(",")))
ROWS, A_GROUP = 100, 100  # steps of a run, runs of a group
ON_PAPER = (100_000, 1_000_000)
POINTS_ON_PAPER = 1e10  # of the histories of that many runs, of as many steps each as it takes
MEMORY = float(os.environ.get("SCALEFIT_MEMORY", "2048"))  # MiB, of one process at its peak
SCALEFIT = str(Path(sys.executable).parent / "scalefit")
SCAN = (
    "import sys; from scaling_cli.store import open_store;"
    "print(sum(map(len, open_store(sys.argv[1]).scan(metrics=['loss']))))"
)
OBSERVE = (
    "import sys; from scaling_cli.project import Project;"
    "print(len(Project(sys.argv[1], None).observations().owners))"
)


Found = dict[int, dict[str, tuple[float, float]]]  # runs -> command -> seconds, MiB


def write(folder: Path, runs: int) -> None:
    """Each run on one surface, in groups that differ in nothing but their noise."""
    for run in range(runs):
        member = run % A_GROUP
        params, width = 10 ** (6 + member % 10 / 4), 20 * 2 ** (member // 10 % 5)
        head = {"n_params": round(params), "recipe": f"r{run // A_GROUP}"}
        lines = [json.dumps({"config": head})]
        for step in range(1, ROWS + 1):
            tokens = params * width * step / ROWS
            noise = 1 + ((run * 7919 + step * 104_729) % 1000 - 500) * 1e-5
            loss = (1.7 + 400 * params**-0.34 + 410 * tokens**-0.28) * noise
            lines.append(json.dumps({"step": step, "loss": loss, "tokens": round(tokens)}))
        (folder / f"run-{run:07}.jsonl").write_text("\n".join(lines), encoding="utf-8")


def spent(command: list[str], folder: Path) -> tuple[float, float]:
    """Processor seconds of a process, and its peak memory in MiB."""
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit((folder / "said").read_text())
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def commands() -> Iterator[tuple[str, list[str]]]:
    yield "ingest", [SCALEFIT, "ingest", "logs", "--store", "store"]
    yield "ingest again, unchanged", [SCALEFIT, "ingest", "logs", "--store", "store"]
    yield "runs --json", [SCALEFIT, "runs", "--json", "--store", "store"]
    yield "observations", [sys.executable, "-c", OBSERVE, "store"]
    fit = ["fit", "--law", "chinchilla", "--by", "config.recipe", "--bootstrap", "0"]
    yield "fit of each group", [SCALEFIT, *fit, "--store", "store"]
    yield "scan of one metric", [sys.executable, "-c", SCAN, "store"]
    yield "report", [SCALEFIT, "report", "-o", "report.json", "--store", "store"]
    yield "store verify", [SCALEFIT, "store", "verify", "--store", "store"]


def measured(runs: int) -> dict[str, tuple[float, float]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "logs").mkdir()
        write(folder / "logs", runs)
        return {what: spent(command, folder) for what, command in commands()}


def run() -> str:
    found = {size: measured(size) for size in SIZES}
    first, last = SIZES[-2:]
    decades = math.log10(last / first)
    sizes = "".join(f" {size:,} runs |" for size in SIZES)
    paper = "".join(f" {size:,} on paper |" for size in ON_PAPER if size > last)
    lines = [f"| command |{sizes} exponent |{paper} peak memory at {first:,}, {last:,} |"]
    lines.append("|---" * (lines[0].count("|") - 1) + "|")
    for what in found[last]:
        low, high = (found[size][what][0] for size in (first, last))
        each = (high - low) / (last - first)
        times = "".join(f" {found[size][what][0]:.2f} s |" for size in SIZES)
        later = "".join(f" {high + each * (n - last):,.0f} s |" for n in ON_PAPER if n > last)
        peaks = ", ".join(f"{found[size][what][1]:.0f}" for size in (first, last))
        exponent = math.log10(high / low) / decades
        lines.append(f"| {what} |{times} {exponent:.2f} |{later} {peaks} MiB |")
    told = f"Processor time of a process, its start included; {ROWS} steps a run, {A_GROUP} runs a"
    beyond = [
        f"{what} at {size:,} ({peak:.0f} MiB)"
        for size, each in found.items()
        for what, (_, peak) in each.items()
        if peak > MEMORY
    ]
    kept = (
        f"Above {MEMORY:.0f} MiB: {', '.join(beyond)}."
        if beyond
        else f"None above {MEMORY:.0f} MiB."
    )
    lines += ["", f"{told} group. On paper: as each further run took. {kept}", "", points(found)]
    return "\n".join(lines)


def points(found: Found) -> str:
    """What 1e10 points take on paper, from what each further one took."""
    first, last = SIZES[-2:]
    further = (last - first) * ROWS
    told = []
    for what in ("ingest", "scan of one metric", "store verify"):
        low, high = found[first][what], found[last][what]
        each = (high[0] - low[0]) / further
        told.append(f"{what} {each * 1e6:.2f} us a point, so {each * POINTS_ON_PAPER / 3600:.1f} h")
    return f"On paper, {POINTS_ON_PAPER:.0e} points on one processor: {'; '.join(told)}."


if __name__ == "__main__":
    print(run())
