"""The learning rate as its schedule says."""

from __future__ import annotations

import re

import numpy as np

from scaling_cli.checks.base import (
    REQUIRED,
    Finding,
    Rule,
    Setting,
    Settings,
    Subject,
)
from scaling_cli.quantities import number, percent
from scaling_cli.records import Floats, Series
from scaling_cli.training.schedule import Schedule, parse_schedule

# A rate logged in float32, or rounded to three digits, is well within; another peak, warmup or
# final rate is not.
TOLERANCE = 0.01
# Trainers log the rate of the step before, of this one or of the next: each is right.
SHIFTS = (-1, 0, 1)
FLOOR = 0.01  # of the peak: rates below it are compared on this scale


def judge(run: Subject, settings: Settings) -> Finding:
    spec = re.sub(r"\{(.*?)\}", lambda match: repr(run.number(match[1])), settings["spec"])
    schedule = parse_schedule(spec)
    logged = run.series("lr")
    offs = differences(logged, schedule)
    wrong = np.flatnonzero(~(offs <= settings["tolerance"]))  # a rate that is NaN is wrong too
    worst = int(np.argmax(offs))
    if not len(wrong):
        text = f"The learning rate is that of {spec} at all {len(offs)} logged steps."
        return Finding("pass", text, float(offs[worst]), settings["tolerance"])
    first, worst = int(logged.steps[wrong[0]]), int(logged.steps[wrong[np.argmax(offs[wrong])]])
    worst_value = float(logged.values[np.searchsorted(logged.steps, worst)])
    planned = float(schedule.rates[min(worst, schedule.total)])
    text = (
        f"The learning rate is not that of {spec} at {len(wrong)} of {len(offs)} logged steps, the"
        f" first {first}; at step {worst} it is {number(worst_value)}, expected {number(planned)}"
        f" (differences above {percent(settings['tolerance'], 1)} count)."
    )
    return Finding("fail", text, worst_value, planned, worst, {"steps": len(wrong), "first": first})


def differences(logged: Series, schedule: Schedule) -> Floats:
    """How far each logged rate [n] is from the schedule's nearest at the steps around, as a share
    of that rate. After the schedule's end its last rate holds."""
    deviations = []
    for shift in SHIFTS:
        rates = schedule.rates[np.clip(logged.steps + shift, 0, schedule.total)]
        scale = np.maximum(rates, FLOOR * schedule.peak)
        deviations.append(np.abs(logged.values - rates) / scale)
    nearest: Floats = np.min(deviations, axis=0)
    return nearest


RULE = Rule(
    "schedule",
    "The learning rate is as its schedule says",
    judge,
    (
        Setting(
            "spec",
            "text",
            'a schedule, with {expressions} over the run: "cosine:peak=3e-4,warmup=2000,'
            'total={total_steps},min=3e-5"',
            REQUIRED,
        ),
        Setting("tolerance", "number", "largest relative difference", TOLERANCE, 0.0, 1.0),
    ),
)
