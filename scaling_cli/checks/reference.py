"""A regression against reference runs, paired over tokens and tested by blocks of rows."""

from __future__ import annotations

from itertools import product

import numpy as np

from scaling_cli.checks.base import (
    REQUIRED,
    Finding,
    Rule,
    Setting,
    Settings,
    Subject,
    Undecided,
    Unjudged,
    finite,
)
from scaling_cli.quantities import count, percent
from scaling_cli.records import Floats

# Rows of a run depend on each other, so blocks of them are compared, not rows. Ten blocks give
# 1024 flips of signs: p-values down to 0.001.
BLOCKS = 10
MIN_PER_BLOCK = 3
LEVEL = 0.01  # chance of a false alarm where nothing but noise differs
SHARE = 0.5  # of the tokens in common, the last: early losses depend on warmup and seed
# A repeat under another seed differs for the whole of a run, which no test within the run can see:
# by 0.5 to 0.6 % of the loss (one standard deviation, sample runs), two of them by 0.8 %.
TOLERANCE = 0.02


def judge(run: Subject, settings: Settings) -> Finding:
    name = settings["metric"]
    mine = finite(run.series(name))
    tokens = run.at("tokens", mine.steps)
    names = [item for item in settings["run"] if item != run.record.run_id]
    if not names:
        raise Undecided("the run is its own reference")
    curves = []
    for item in names:
        other = run.bench.other(item)
        series = finite(other.series(name))
        curves.append((other.at("tokens", series.steps), series.values))
    start = max(float(places[0]) for places, _ in curves)
    end = min(float(tokens[-1]), *(float(places[-1]) for places, _ in curves))
    compared = (tokens >= max(start, end * (1 - settings["share"]))) & (tokens <= end)
    if compared.sum() < BLOCKS * MIN_PER_BLOCK:
        raise Undecided(
            f"not enough points: {int(compared.sum())} of {name} at tokens in common,"
            f" {BLOCKS * MIN_PER_BLOCK} are needed"
        )
    if not all((values > 0).all() for values in (mine.values, *(v for _, v in curves))):
        raise Unjudged(f"{name} has values that are not above zero")
    logs = [np.interp(tokens[compared], places, np.log(values)) for places, values in curves]
    differences = np.log(mine.values[compared]) - np.mean(logs, axis=0)
    excess = float(differences.mean())
    p_value = flip_p_value(differences - settings["tolerance"])
    fails = p_value < settings["level"]
    against = names[0] if len(names) == 1 else f"the mean of {len(names)} runs"
    text = (
        f"{name} is {percent(np.expm1(excess), 2, sign=True)} against {against} over the last"
        f" {int(compared.sum())} points up to {count(end)} tokens (p {p_value:.3f} for no more than"
        f" {percent(settings['tolerance'], 1)})."
    )
    return Finding(
        "fail" if fails else "pass",
        text,
        float(np.expm1(excess)),
        settings["tolerance"],
        details={"metric": name, "p_value": p_value, "references": names},
    )


def flip_p_value(differences: Floats) -> float:
    """One-sided p-value that the mean of serially dependent differences [n] is above zero: the
    share of sign flips of the means of blocks that sum to as much (exact if these are symmetric).
    """
    means = np.array([block.mean() for block in np.array_split(differences, BLOCKS)])
    signs = np.array(list(product((1.0, -1.0), repeat=BLOCKS)))
    return float(np.mean(signs @ means >= means.sum() - 1e-12))


RULE = Rule(
    "reference",
    "The loss is not worse than that of reference runs",
    judge,
    (
        Setting("run", "runs", "run id of the reference, or several whose mean is one", REQUIRED),
        Setting("metric", "text", "the metric compared", "loss"),
        Setting("tolerance", "number", "relative difference that is accepted", TOLERANCE, 0.0, 1.0),
        Setting("share", "number", "share of the tokens in common, the last", SHARE, 0.01, 1.0),
        Setting("level", "number", "p-value below which it is a regression", LEVEL, 0.001, 0.5),
    ),
)
