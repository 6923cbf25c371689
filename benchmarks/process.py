"""The whole process, start to print, beside the imports that no such program can do without."""

from __future__ import annotations

import compileall
import json
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import scaling_cli
from benchmarks.rows import TABLE

title = "Whole process: read the table, fit, 4000 resamples, print"
ROUNDS = 5
PROGRAM = """
import sys, tempfile
import scaling_cli as scalefit
from scaling_cli.fitting.problem import FitOptions
with tempfile.TemporaryDirectory() as folder:
    project = scalefit.open_project(folder)
    project.ingest([sys.argv[1]])
    (fitted,) = project.fit(
        ["chinchilla"], where="in_epoch_fit == 1", options=FitOptions(resamples=4000)
    )
print(fitted.values)
"""
PHASES = """
import json, sys, tempfile
from time import process_time
laps = [("start of Python", process_time())]
lap = lambda name: laps.append((name, process_time()))
import numpy, pyarrow
lap("import numpy, pyarrow")
import scaling_cli as scalefit
from scaling_cli.fitting.problem import FitOptions
lap("import of the package")
with tempfile.TemporaryDirectory() as folder:
    project = scalefit.open_project(folder)
    project.ingest([sys.argv[1]])
    lap("ingest of 245 rows")
    rows = project.observations("in_epoch_fit == 1")
    lap("observations")
    for resamples, name in ((0, "fit"), (4000, "fit again, with 4000 resamples")):
        options = FitOptions(resamples=resamples)
        project.fit(["chinchilla"], where="in_epoch_fit == 1", options=options, save=False)
        lap(name)
print(json.dumps(laps))
"""


def spent(*command: str) -> float:
    """Processor seconds of a child process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def phases() -> dict[str, float]:
    """Processor seconds of each phase of one process."""
    shown = subprocess.run(
        [sys.executable, "-c", PHASES, str(TABLE)], check=True, capture_output=True
    ).stdout
    spans, before = {}, 0.0
    for name, at in json.loads(shown):
        spans[name], before = at - before, at
    return spans


def run() -> str:
    if not TABLE.is_file():
        return f"Skipped: {TABLE.name} is not there (set SCALEFIT_PUBLIC_DATA)."
    compileall.compile_dir(Path(scaling_cli.__file__).parent, quiet=1)  # as installed
    rounds = [
        (spent("-c", "import numpy, pyarrow"), spent("-c", PROGRAM, str(TABLE)), phases())
        for _ in range(ROUNDS)
    ]
    imports, ours = (statistics.median(column) for column in list(zip(*rounds, strict=True))[:2])
    parts = {name: statistics.median(spans[name] for *_, spans in rounds) for name in rounds[0][2]}
    return "\n".join(
        [
            f"Medians of {ROUNDS}; the phases are of a process of their own.",
            "",
            "| process | processor time | ratio |",
            "|---|---|---|",
            f"| import numpy, pyarrow | {imports:.2f} s | 1 |",
            f"| scalefit | {ours:.2f} s | {ours / imports:.1f} |",
            "",
            "| phase | processor time |",
            "|---|---|",
            *(f"| {name} | {seconds:.2f} s |" for name, seconds in parts.items()),
        ]
    )


if __name__ == "__main__":
    print(run())
