"""A loss that rose from its best level and has not come back."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from scaling_cli.checks.base import (
    METRIC,
    Finding,
    Rule,
    Setting,
    Settings,
    Subject,
    Undecided,
    finite,
    judge_each,
)
from scaling_cli.quantities import number, percent

WINDOW = 16  # points whose median is a level
# The largest rise of a level over the best before it, at any point of the sample runs, is 5.1 %
# (training loss; 0.6 % on validation loss); none of the public curves rises at all.
RISE = 0.10


def judge(run: Subject, settings: Settings) -> Finding:
    window, limit = int(settings["window"]), settings["rise"]

    def one(name: str) -> Finding:
        series = finite(run.series(name))
        if len(series.steps) < 2 * window:
            raise Undecided(
                f"not enough points: {name} has {len(series.steps)}, and two levels of {window}"
                " are compared"
            )
        levels = np.median(sliding_window_view(series.values, window), axis=1)
        best = int(np.argmin(levels))
        now, least = float(levels[-1]), float(levels[best])
        rise = (now - least) / abs(least) if least else 0.0
        step = int(series.steps[best + window - 1])
        text = (
            f"The last {window} points of {name} are at {number(now)},"
            f" {percent(rise, 1, sign=True)} from the best level {number(least)} at step {step}."
        )
        return Finding(
            "fail" if rise > limit else "pass", text, rise, limit, step, {"metric": name}
        )

    return judge_each(run, settings["metric"], one)


RULE = Rule(
    "divergence",
    "The loss is not far above the best level that it had",
    judge,
    (
        METRIC,
        Setting("rise", "number", "largest rise, as a share of the best level", RISE, 0.0, 10.0),
        Setting("window", "number", "points whose median is a level", WINDOW, 1, 1e6, whole=True),
    ),
    always=True,
)
