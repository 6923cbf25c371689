"""Many groups on one and on two workers of a Dask cluster, turn by turn: the ratio of their speeds.

SCALEFIT_GROUPS=10000 takes more groups; each turn is one fit of all of them.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.groups import ROWS, ladders
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.result import FailedFit, Fit

GROUPS = int(os.environ.get("SCALEFIT_GROUPS", "200"))
ROUNDS = 3 if GROUPS < 2000 else 1
RESAMPLES = 100


def digits(results: list[Fit | FailedFit]) -> list[object]:
    return [
        result if isinstance(result, FailedFit) else (dict(result.values), result.draws.tobytes())
        for result in results
    ]


def rows() -> str:
    from distributed import LocalCluster

    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        project = ladders(Path(folder), GROUPS)
        options = FitOptions(resamples=RESAMPLES)

        def fitted(workers: int | str) -> tuple[list[object], float]:
            start = time.perf_counter()
            made = project.fit(["chinchilla"], ["config.recipe"], options=options, workers=workers)
            return digits(made), time.perf_counter() - start

        urls = {}
        for count in (1, 2):
            cluster = LocalCluster(
                n_workers=count, threads_per_worker=1, dashboard_address=None, silence_logs=50
            )
            stack.enter_context(cluster)
            urls[count] = cluster.scheduler_address.replace("tcp://", "dask://")
        spent: dict[int, list[float]] = {1: [], 2: []}
        answers = []
        for number in range(2 * ROUNDS):
            for count in (1, 2) if number % 2 else (2, 1):
                answer, seconds = fitted(urls[count])
                answers.append(answer)
                spent[count].append(seconds)
        same = all(answer == answers[0] for answer in answers)
    one, two = (statistics.median(spent[count]) for count in (1, 2))
    each = [a / b for a, b in zip(spent[1], spent[2], strict=True)]
    return (
        "| groups | one worker | two workers | ratio, median (least, most) | digits |\n"
        "|---|---|---|---|---|\n"
        f"| {GROUPS:,} | {one:.1f} s | {two:.1f} s | {statistics.median(each):.2f}"
        f" ({min(each):.2f}, {max(each):.2f}) | {'the same' if same else 'OTHERS'} |\n\n"
        f"{ROWS} runs a group, {RESAMPLES} resamples; seconds by the clock, turn by turn."
    )


if __name__ == "__main__":
    print(rows())
