"""Splits that no fit has seen: `auto` below a cut in compute, and measured isoFLOP curves above."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.forecast import DATA, further_tables, markdown, observations, tables
from scaling_cli.errors import FitError
from scaling_cli.fitting.auto import LEAST_NOISE
from scaling_cli.fitting.isoflop import IsoFlopCurve, isoflop_curves, minima
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.procedures import fitter
from scaling_cli.planning.splits import allocate_fit
from scaling_cli.table import Table

title = "Compute-optimal splits beyond the runs"
CUTS = (0.5, 1.0, 1.5, 2.0)  # decades of compute below the largest
NEAR = np.log(4.0)  # of ln params about a curve's lowest point: a parabola there
LEAST_SIZES, LEAST_CURVES, LEAST_RUNS = 4, 3, 12
REPEATS = 300
LOST = 0.2  # share of noisy repeats without a lowest point, above which a curve has none
RESAMPLES = 400
ONE_SIDE = 1.645  # standard deviations of a central 90 %
HOW = """\
Every public ladder that has three isoFLOP curves with a lowest point inside them is cut below its
largest compute; `auto` is fitted below the cut and splits the budgets of the curves above it.
`error`: root mean square of ln params against the parabola through the sizes within a factor of 4
of the lowest. `covered`: share of these lowest points (give or take their own error) in the 90 %
bounds, mean over ladders, of the budgets that are not refused; `unwidened` without what the bounds
gain with the distance from the runs. How much they gain was chosen on these same ladders, one
number for all.
"""


@dataclass(frozen=True)
class Lowest:
    """The lowest point of a measured isoFLOP curve: ln params and its standard error."""

    flops: float
    log_params: float
    error: float


def lowest(curve: IsoFlopCurve, random: np.random.Generator) -> Lowest | None:
    """None where the curve's lowest point cannot be told from its sizes."""
    near = np.abs(curve.log_params - curve.log_params[np.argmin(curve.loss)]) < NEAR
    x, y = curve.log_params[near], np.log(curve.loss[near])
    if len(x) < LEAST_SIZES:
        return None
    (found,) = minima(x, y[None], "parabola")
    missed = y - np.polyval(np.polyfit(x, y, 2), x)
    noise = max(LEAST_NOISE, float(np.sqrt(np.sum(missed**2) / (len(x) - 3))))
    noisy = y + noise * random.standard_normal((REPEATS, len(x)))
    repeats = minima(x, noisy, "parabola")
    if np.isnan(found) or np.mean(np.isnan(repeats)) > LOST:
        return None
    return Lowest(curve.flops, float(found), float(np.nanstd(repeats)))


def splits(rows: Table, points: list[Lowest], cut: float) -> Iterator[tuple[float, ...]]:
    """Of each budget above the cut: error in ln params, whether it is covered, and unwidened."""
    top = max(point.flops for point in points)
    training = rows.select(rows.columns["flops"] < top / 10**cut)
    if len(training) < LEAST_RUNS:
        return
    try:
        fitted = fitter("auto")(training, FitOptions(resamples=RESAMPLES), {})
    except FitError:
        return
    edge = np.max(training.columns["flops"])
    for point in points:
        if point.flops < 1.2 * edge:
            continue
        found = [allocate_fit(item, point.flops) for item in (fitted, replace(fitted, drift=0.0))]
        if found[0].params is None:
            yield np.nan, np.nan, np.nan  # refused
            continue
        inside = []
        for item in found:
            low, high = np.log(item.params_range or (np.inf, -np.inf))
            give = ONE_SIDE * point.error
            inside.append(float(low - give <= point.log_params <= high + give))
        yield float(np.log(found[0].params)) - point.log_params, *inside


def run() -> str:
    if not DATA.is_dir():
        return f"The public tables are not at {DATA} (set SCALEFIT_PUBLIC_DATA).\n"
    random = np.random.default_rng(0)
    ladders = []
    for rows in (tables() | further_tables()).values():
        ladder = observations(rows)
        points = [lowest(curve, random) for curve in isoflop_curves(ladder)]
        known = [point for point in points if point]
        if len(known) >= LEAST_CURVES:
            ladders.append((ladder, known))
    lines = []
    for cut in CUTS:
        found = [np.array(list(splits(ladder, points, cut))) for ladder, points in ladders]
        asked = [item for item in found if len(item)]
        budgets, refused = (sum(map(len, asked)), sum(int(np.isnan(i[:, 0]).sum()) for i in asked))
        answered = [kept for item in asked if len(kept := item[np.isfinite(item[:, 0])])]
        error, covered, unwidened = np.mean(
            [[np.mean(item[:, 0] ** 2), *item[:, 1:].mean(axis=0)] for item in answered], axis=0
        )
        counts = [f"{len(answered)}", f"{budgets}", f"{refused}"]
        measured = [f"{value:.2f}" for value in (np.sqrt(error), covered, unwidened)]
        lines.append([f"{cut:g} decades", *counts, *measured])
    counted = ["cut below the largest", "ladders", "budgets", "refused"]
    head = [*counted, "error", "covered", "unwidened"]
    return HOW + "\n" + markdown(head, lines)


if __name__ == "__main__":
    print(run())
