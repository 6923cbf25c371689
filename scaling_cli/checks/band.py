"""The loss within the band that a fitted law predicts for a new run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from scaling_cli.checks.base import (
    Finding,
    Rule,
    Setting,
    Settings,
    Subject,
    Undecided,
    Unjudged,
)
from scaling_cli.errors import InputError
from scaling_cli.quantities import MAX_LEVEL, MIN_LEVEL, number, percent

if TYPE_CHECKING:
    from scaling_cli.fitting.result import Fit

# One healthy run in a hundred leaves such a band; of 90 % bands one in ten would.
LEVEL = 0.99
PLAN_TOLERANCE = 0.01  # a run this close to its planned end counts as finished


def judge(run: Subject, settings: Settings) -> Finding:
    fitted = of_group(run, run.bench.fits(settings["fit"]))
    if not len(fitted.draws):
        raise Unjudged(f"fit {fitted.fit_id} has no resamples, and so no band")
    target, level = fitted.columns["target"], settings["level"]
    inputs = {name: run.number(f"`{name}`") for name in variables(fitted)}
    left = steps_left(run)
    if left is not None:  # where the run is to end, not where it is
        inputs |= {name: inputs[name] * left for name in ("tokens", "flops") if name in inputs}
    elif run.running:
        raise Undecided("the run goes on, and its config does not name the steps that it will take")
    try:
        predicted = replace(fitted, level=level).predict(inputs)
    except InputError as error:
        raise Undecided(str(error)) from None
    if predicted.low is None or predicted.high is None:
        raise Unjudged(f"fit {fitted.fit_id} gives no band")
    if not np.isfinite([predicted.low, predicted.high]).all():
        raise Unjudged(f"the band of fit {fitted.fit_id} has no finite ends")
    observed = run.number(f"`{target}`")
    expected = f"{number(predicted.low)}..{number(predicted.high)}"
    band = f"the {percent(level, 0)} band {expected} of {fitted.fit_id}"
    inside = predicted.low <= observed <= predicted.high
    above = observed > predicted.high
    if left is None:
        side = "inside" if inside else "above" if above else "below"
        text = f"{target} {number(observed)} is {side} {band}."
    elif inside or above:  # it still falls, and such a law says nothing of the way
        text = f"{target} {number(observed)} is on its way to {band}."
    else:
        text = f"{target} {number(observed)} is below {band} before the run has ended."
    undecided = left is not None and (inside or above)
    return Finding(
        "skip" if undecided else "pass" if inside else "fail",
        " ".join([text, *(note.message for note in predicted.notes if note.severity != "info")]),
        observed,
        expected,
        run.step,
        {
            "fit_id": fitted.fit_id,
            "loss": predicted.loss,
            "low": predicted.low,
            "high": predicted.high,
            "level": level,
        },
    )


def steps_left(run: Subject) -> float | None:
    """How many times its steps so far a run is to take, by its config; None where it has ended or
    nothing is known."""
    planned = run.planned_steps
    if planned is None or not 0 < run.step < (1 - PLAN_TOLERANCE) * planned:
        return None
    return planned / run.step


def variables(fitted: Fit) -> list[str]:
    """What the law reads, by the names of the columns that it was fitted to."""
    return [fitted.columns.get(name, name) for name in fitted.law.variables]


def of_group(run: Subject, fits: Sequence[Fit]) -> Fit:
    """The fit of the group that the run belongs to."""
    matching = []
    for fitted in fits:
        try:
            mine = {name: run.row.groups([name])[0][0][name] for name in fitted.group}
        except InputError:
            continue
        if mine == dict(fitted.group):
            matching.append(fitted)
    if len(matching) == 1:
        return matching[0]
    listed = ", ".join(fitted.fit_id for fitted in matching or fits)
    many = "several fits are" if matching else "no fit is"
    raise Undecided(f"{many} of the run's group ({listed})")


RULE = Rule(
    "band",
    "The final loss is within the band that a fit predicts",
    judge,
    (
        Setting("fit", "text", "a fit's id or file; without it, the newest fits of the store"),
        Setting("level", "number", "central share of the band", LEVEL, MIN_LEVEL, MAX_LEVEL),
    ),
)
