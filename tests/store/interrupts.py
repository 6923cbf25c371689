"""Interrupt commands (Ctrl-C) at any moment, while they are imported too: `make faults`.

A command ends within seconds with exit code 130, or had its answer out; no traceback reaches a
person, and the store is whole and has all that was told done.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

COMMAND = [str(Path(sys.executable).with_name("scalefit"))]
SECONDS = 30
OURS = f"{os.sep}scaling_cli{os.sep}"  # in a traceback


def ladder(folder: Path) -> Path:
    lines = ["run_id,step,loss,params,tokens"]
    for i, params in enumerate((1e6, 3e6, 1e7, 3e7, 1e8)):
        for ratio in (10, 20, 40):
            for step in range(1, 101):
                tokens = params * ratio * step / 100
                loss = 1.7 + 400 / params**0.34 + 1200 / tokens**0.37
                lines.append(f"r{i}-{ratio},{step},{loss:.6f},{params},{tokens}")
    (folder / "ladder.csv").write_text("\n".join(lines) + "\n")
    return folder / "ladder.csv"


def commands(folder: Path) -> list[list[str]]:
    return [
        ["ingest", str(folder / "ladder.csv")],
        ["runs"],
        ["fit", "--law", "chinchilla", "--bootstrap", "50"],
        ["fit", "--law", "kaplan_nd", "--bootstrap", "50", "--workers", "2"],
        ["predict", "--params", "1B", "--tokens", "20B"],
        ["check"],
        ["report", "-o", str(folder / "r.html")],
        ["store", "export", str(folder / "x.csv")],
        ["store", "verify"],
        ["--version"],
    ]


def environment(folder: Path) -> dict[str, str]:
    """With the store in the folder: not every command has an option for it."""
    return {**os.environ, "SCALEFIT_STORE": str(folder / "store")}


def interrupted(line: list[str], after: float, folder: Path) -> tuple[int, str]:
    """The exit code and stderr of a command that is interrupted so many seconds after its start."""
    process = subprocess.Popen(
        [*COMMAND, *line],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=folder,
        env=environment(folder), start_new_session=True,
    )  # fmt: skip
    time.sleep(after)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to its workers too
    _, said = process.communicate(timeout=SECONDS)
    return process.returncode, said


def campaign(folder: Path, count: int, seed: int) -> Counter[str]:
    """Interrupt so many commands; gives how many ended how. AssertionError says what was wrong."""
    from scaling_cli.store import open_store

    random_ = random.Random(seed)
    ladder(folder)
    lines = commands(folder)
    took = {}
    for line in lines:
        started = time.monotonic()
        subprocess.run(
            [*COMMAND, *line], check=True, capture_output=True, cwd=folder, env=environment(folder)
        )
        took[str(line)] = time.monotonic() - started
    runs = len(open_store(folder / "store").runs())
    ends: Counter[str] = Counter()
    for i in range(count):
        line = lines[i % len(lines)]
        after = random_.uniform(0, took[str(line)])
        code, said = interrupted(line, after, folder)
        where = f"{' '.join(line)} after {after:.3f} s: exit {code}\n{said}"
        if "Traceback" in said and OURS not in said:
            ends["Python had not begun with us"] += 1  # its own start, 15 ms, nobody can answer for
            continue
        assert "Traceback" not in said, where
        assert "unexpectedly" not in said, where
        # Before Python can call anything of ours the signal ends the process by itself.
        assert code in (0, 130, -signal.SIGINT), where
        ends["had ended" if code == 0 else "ended clean"] += 1
        store = open_store(folder / "store")
        assert len(store.runs()) == runs
        assert store.verify().problems == (), where
    return ends


def main() -> None:
    count = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
    with tempfile.TemporaryDirectory() as folder:
        ends = campaign(Path(folder), count, seed)
    print(f"{count} interrupts, seed {seed}: {dict(ends)}; no traceback, the store was whole")


if __name__ == "__main__":
    main()
