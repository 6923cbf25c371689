"""A metric within limits at a given number of tokens or steps, or at the end."""

from __future__ import annotations

import math

from scaling_cli.checks.base import Finding, Rule, Setting, Settings, Subject, Undecided, Unjudged
from scaling_cli.quantities import count, number


def judge(run: Subject, settings: Settings) -> Finding:
    name, high, low = settings["metric"], settings["max"], settings["min"]
    if high is not None and low is not None and low > high:
        raise Unjudged(f"min {low:g} is above max {high:g}")
    place, step = "at the end", None
    axis = next((axis for axis in ("tokens", "step") if settings[axis] is not None), None)
    if axis is None:
        value = run.number(f"`{name}`")
    else:
        at = run.number(settings[axis])
        series = run.series(name)
        reached = run.at(axis, series.steps)
        if not reached[-1] >= at:
            raise Undecided(f"not enough points: {axis} {count(reached[-1])} of {count(at)}")
        before = int((reached <= at).sum()) - 1
        if before < 0:
            raise Undecided(f"{name} is first logged after {axis} {count(at)}")
        value, step = float(series.values[before]), int(series.steps[before])
        place = f"at {count(at)} {'tokens' if axis == 'tokens' else 'steps'}"
    bounds = [
        text for text, bound in ((f">= {low}", low), (f"<= {high}", high)) if bound is not None
    ]
    expected = " and ".join(bounds)
    good = (high is None or value <= high) and (low is None or value >= low)
    text = f"{name} {place} is {number(value)}; expected {expected}."
    observed = value if math.isfinite(value) else str(value)
    return Finding("pass" if good else "fail", text, observed, expected, step)


RULE = Rule(
    "limit",
    "A metric is within limits",
    judge,
    (
        Setting("max", "number", "the highest value allowed"),
        Setting("min", "number", "the lowest value allowed"),
        Setting("tokens", "expression", "judge at this many tokens; without it, at the end"),
        Setting("step", "expression", "judge at this step"),
        Setting("metric", "text", "the metric judged", "loss"),
    ),
    one_of=("max", "min"),
)
