"""The whole process, start to print, beside the imports that no such program can do without."""

from __future__ import annotations

import compileall
import resource
import subprocess
import sys
from pathlib import Path

import scaling_cli
from benchmarks.rows import TABLE

title = "Whole process: read the table, fit, 4000 resamples, print"
ROUNDS = 3
PROGRAM = """
import sys, tempfile
import scaling_cli as scalefit
from scaling_cli.fitting.engine import FitOptions
with tempfile.TemporaryDirectory() as folder:
    project = scalefit.open_project(folder)
    project.ingest([sys.argv[1]])
    (fitted,) = project.fit(
        ["chinchilla"], where="in_epoch_fit == 1", options=FitOptions(resamples=4000)
    )
print(fitted.values)
"""


def spent(*command: str) -> float:
    """Processor seconds of a child process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run() -> str:
    if not TABLE.is_file():
        return f"Skipped: {TABLE.name} is not there (set SCALEFIT_PUBLIC_DATA)."
    ours = imports = 0.0
    compileall.compile_dir(Path(scaling_cli.__file__).parent, quiet=1)  # as installed
    for _ in range(ROUNDS):
        imports += spent("-c", "import numpy, pyarrow") / ROUNDS
        ours += spent("-c", PROGRAM, str(TABLE)) / ROUNDS
    return "\n".join(
        [
            "| process | processor time | ratio |",
            "|---|---|---|",
            f"| import numpy, pyarrow | {imports:.2f} s | 1 |",
            f"| scalefit | {ours:.2f} s | {ours / imports:.1f} |",
        ]
    )


if __name__ == "__main__":
    print(run())
