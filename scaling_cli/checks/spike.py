"""A point far above the run's own past, by a robust z-score."""

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
from scaling_cli.fitting.objective import MAD
from scaling_cli.quantities import number, percent

# The past that a point is held against: its median is not moved by a spike of up to 15 points.
WINDOW = 32
# Over the 28,000 points of the sample runs and the public multi-power-law curves the largest score
# is 4.4 (training loss; 2.6 on validation loss).
Z = 8.0
# Without noise every rise has a large score. The largest rise of a validation loss there is 2.0 %.
RISE = 0.02


def judge(run: Subject, settings: Settings) -> Finding:
    window, limit, rise = int(settings["window"]), settings["z"], settings["rise"]

    def one(name: str) -> Finding:
        series = finite(run.series(name))
        if len(series.steps) <= window:
            raise Undecided(
                f"not enough points: {name} has {len(series.steps)}, and a point is held against"
                f" the {window} before it"
            )
        past = sliding_window_view(series.values, window)[:-1]
        centre = np.median(past, axis=1)
        spread = MAD * np.median(np.abs(past - centre[:, None]), axis=1)
        above = series.values[window:] - centre
        scores = above / np.maximum(spread, np.finfo(float).tiny)
        high = above > rise * np.abs(centre)
        # A rise too small to count has no score, so that a flat past does not hide the others.
        scores = np.where(high, scores, np.minimum(scores, limit))
        worst = int(np.argmax(scores))
        step = int(series.steps[window + worst])
        spikes = int(np.sum(high & (scores > limit)))
        score = float(min(scores[worst], 1e6))  # a past without any spread
        details = {"metric": name, "z": score, "spikes": spikes}
        if not spikes:
            text = f"No point of {name} is a spike; the largest score is {score:.1f}."
            return Finding("pass", text, score, limit, step, details)
        value, before = float(series.values[window + worst]), float(centre[worst])
        text = (
            f"{spikes} of {len(series.steps)} points of {name} are spikes; the largest, at step"
            f" {step}, is {number(value)} after {number(before)}"
            f" ({percent(value / before - 1, 0, sign=True)}, z {score:.0f})."
        )
        return Finding("fail", text, score, limit, step, details)

    return judge_each(run, settings["metric"], one)


RULE = Rule(
    "spike",
    "No point lies far above the run's own past",
    judge,
    (
        METRIC,
        Setting("z", "number", "robust z-score from which a point is a spike", Z, 0.1, 1000.0),
        Setting("rise", "number", "least rise, as a share of the past median", RISE, 0.0, 10.0),
        Setting("window", "number", "points of the past", WINDOW, 2, 1e6, whole=True),
    ),
    always=True,
)
