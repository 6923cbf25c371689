"""The record of `auto` by the number of runs and by how far the forecast goes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from benchmarks.forecast import Row, every_table, markdown, observations
from benchmarks.rows import DATA
from scaling_cli.errors import FitError
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.procedures import fitter
from scaling_cli.records import Floats

title = "Forecasts by the number of runs and the distance"
RUNS: tuple[int | None, ...] = (3, 4, 6, 8, 12, 24, None)
DISTANCES = (2.0, 5.0, 20.0, np.inf)
DRAWS = 1
HOW = """\
Runs drawn from the training runs of every public table (one draw of seed 0; `all`: all of
them), and the held-out ones by how many times the compute of the largest drawn run they took. Each
cell: the median of the mean relative error of a draw, and the share of held-out runs inside their
90 % interval. The tables had a say in the prior of `auto`, and the first 23 in its constants.
"""


def of_draw(rows: Sequence[Row], count: int | None, seed: int) -> list[tuple[Floats, Floats]]:
    """Relative errors and which intervals hold, of the held-out runs at each distance."""
    training = observations([row for row in rows if row["split"] == "train"])
    held = observations([row for row in rows if row["split"] == "test"])
    if count is not None:
        if count >= len(training):
            return []
        chosen = np.random.default_rng(seed).choice(len(training), count, replace=False)
        training = training.take(np.sort(chosen))
    try:
        fitted = fitter("auto")(training, FitOptions(resamples=100), {})
    except FitError:
        return []
    columns = {name: held.numbers(name) for name in ("params", "tokens")}
    loss, band = held.numbers("loss"), fitted.band(columns)
    error = np.abs(fitted.curve(columns) / loss - 1)
    low, high = band if band is not None else (np.full(len(loss), np.nan),) * 2
    inside = np.where(np.isfinite(low), (low <= loss) & (loss <= high), np.nan)
    times = held.numbers("flops") / np.max(training.numbers("flops"))
    place = np.searchsorted(DISTANCES, times)
    return [(error[place == i], inside[place == i]) for i in range(len(DISTANCES))]


def run() -> str:
    if not DATA.is_dir():
        return f"The public tables are not at {DATA} (set SCALEFIT_PUBLIC_DATA).\n"
    every = list(every_table().values())
    lines = []
    for count in RUNS:
        seeds = range(DRAWS) if count else range(1)
        draws = [of_draw(rows, count, seed) for rows, seed in product(every, seeds)]
        draws = [draw for draw in draws if draw]
        cells = ["all" if count is None else str(count)]
        for i in range(len(DISTANCES)):
            errors = [float(np.mean(draw[i][0])) for draw in draws if len(draw[i][0])]
            inside = np.concatenate([draw[i][1] for draw in draws])
            if not errors:
                cells.append("-")
                continue
            cells.append(f"{np.median(errors):.2%}, {np.nanmean(inside):.2f} ({len(errors)})")
        lines.append(cells)
    head = ["runs", "to 2 times", "to 5 times", "to 20 times", "beyond"]
    return f"{HOW}\n{markdown(head, lines)}"


if __name__ == "__main__":
    print(run())
