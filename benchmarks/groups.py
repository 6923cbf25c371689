"""Many groups, observed, fitted, resampled and saved: time and memory against their number."""

from __future__ import annotations

import os
import resource
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.rows import seconds
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.project import Project, open_project

title = "Many groups, 100 resamples each"
GROUPS = (20, 40, 80)  # and as many as SCALEFIT_GROUPS says: 10000 take about half an hour
ROWS = 20
RESAMPLES = 100


def ladders(folder: Path, groups: int) -> Project:
    """A store of this many ladders, each on a surface of its own."""
    random = np.random.default_rng(groups)
    table = folder / "ladders.csv"
    with table.open("w") as file:
        print("run_id,recipe,params,tokens,loss", file=file)
        for group in range(groups):
            floor, decay = random.uniform(1.5, 2.0), random.uniform(0.3, 0.4)
            params = np.exp(random.uniform(np.log(1e7), np.log(1e9), ROWS))
            tokens = params * np.exp(random.uniform(np.log(5), np.log(200), ROWS))
            loss = floor + 400 * params**-decay + 1500 * tokens**-0.36
            loss = loss * np.exp(0.005 * random.normal(size=ROWS))
            for i in range(ROWS):
                print(f"g{group}r{i},g{group},{params[i]},{tokens[i]},{loss[i]}", file=file)
    project = open_project(str(folder / "store"))
    project.ingest([str(table)])
    return project


def run(groups: tuple[int, ...] = GROUPS) -> str:
    asked = os.environ.get("SCALEFIT_GROUPS")
    options = FitOptions(resamples=RESAMPLES)
    lines = ["| groups | processor time | a group | peak memory |", "|---|---|---|---|"]
    for count in (*groups, *([int(asked)] if asked else [])):
        with tempfile.TemporaryDirectory() as folder:
            project = ladders(Path(folder), count)
            (spent,) = seconds(
                lambda p=project: p.fit(["chinchilla"], ["config.recipe"], options=options),
                rounds=1,
            )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        lines.append(f"| {count} | {spent:.1f} s | {spent / count * 1e3:.0f} ms | {peak:.0f} MiB |")
    lines += ["", f"{ROWS} runs a group: read from the store, fitted, resampled and saved."]
    return "\n".join(lines)


if __name__ == "__main__":
    print(run())
