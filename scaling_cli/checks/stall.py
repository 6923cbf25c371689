"""A loss that has stopped falling."""

from __future__ import annotations

import numpy as np

from scaling_cli.checks.base import Finding, Rule, Setting, Settings, Subject, Undecided, finite
from scaling_cli.fitting.objective import MAD
from scaling_cli.quantities import percent

SHARE = 0.5  # of the points so far: with less, a healthy constant rate looks flat for a while
# The gain from the first to the second half of these points, taken two standard errors high, is
# 0.63 % or more at every prefix of the public curves and 1.15 % on the sample runs' validation
# loss; where the weights are frozen at half of a sample run it is below 0.44 % nine times of ten.
GAIN = 0.004
STANDARD_ERRORS = 2.0
MEDIAN_TO_MEAN = 1.2533  # standard error of a median over that of a mean, normal noise
MIN_POINTS = 24  # below it the noise of a median hides any gain


def judge(run: Subject, settings: Settings) -> Finding:
    name, least = settings["metric"], settings["gain"]
    series = finite(run.series(name))
    window = series.values[len(series.values) - int(settings["share"] * len(series.values)) :]
    if len(window) < MIN_POINTS:
        raise Undecided(
            f"not enough points: {len(window)} of {name} in the window, {MIN_POINTS} are needed"
        )
    half = len(window) // 2
    older, newer = window[:half], window[half:]
    level = float(np.median(newer))
    gain = (float(np.median(older)) - level) / abs(level)
    changes = np.diff(window)  # what a falling loss changes by from point to point is mostly noise
    sigma = MAD * float(np.median(np.abs(changes - np.median(changes)))) / np.sqrt(2)
    error = MEDIAN_TO_MEAN * sigma * np.sqrt(1 / len(older) + 1 / len(newer)) / abs(level)
    highest = gain + STANDARD_ERRORS * error
    step = int(series.steps[-len(window)])
    text = (
        f"Since step {step} {name} fell by {percent(gain)} from one half of the points to the next"
        f" (at most {percent(highest)})"
    )
    details = {"metric": name, "highest": highest}
    if highest < least:
        return Finding("fail", f"{text}, less than {percent(least)}.", gain, least, step, details)
    if gain < least:
        raise Undecided(f"cannot tell: {text[0].lower()}{text[1:]}")
    return Finding("pass", f"{text}.", gain, least, step, details)


RULE = Rule(
    "stall",
    "The loss still falls",
    judge,
    (
        Setting("metric", "text", "the metric judged", "loss"),
        Setting(
            "gain",
            "number",
            "least fall between the halves, as a share of the loss",
            GAIN,
            1e-6,
            1.0,
        ),
        Setting(
            "share", "number", "share of the points so far that is looked at", SHARE, 0.01, 1.0
        ),
    ),
    always=True,
)
