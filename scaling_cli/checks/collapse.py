"""The loss on the curve of its ladder.

Runs of several sizes at one ratio of tokens to params, with one shape of schedule and weight decay
set for that ratio, fall on one curve when the step is divided by the planned steps and the loss by
the loss at the end: Qiu et al. 2025 (arXiv:2507.02119), who first subtract an irreducible loss, and
Bergsma et al. 2025 (arXiv:2509.25087), who judge the health of a large run by it. Of a run on its
way the divisor that lays its beginning on the curve is the loss that it will end at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaling_cli.checks.base import (
    Finding,
    Rule,
    Setting,
    Settings,
    Subject,
    Undecided,
    Unjudged,
    finite,
)
from scaling_cli.ending import stored
from scaling_cli.quantities import counted, number, percent
from scaling_cli.records import Floats, Series

START = 0.2  # share of a run from which on it is compared: before, warmup and seed have their say
PARTS = 40  # of the rest, 2 % of the run each; a part's mean takes out the noise of single steps
LAST = 3  # parts that are judged, by their median
TINY = 1e-300
LEAST = 8  # parts that a run must have been through
LEAST_SIZES = 2  # seeds of one size fall together without a ladder
RATIO = 0.1  # relative difference in tokens per param that counts as none
# Of the 136 runs with a rate that falls in the logs of Qiu et al. (chess, CIFAR-5M, MLP), each held
# against the smaller ones, the worst is 0.95 % off, and the end predicted at 60 % is within 1.1 %.
TOLERANCE = 0.02
NOISE = 2.0  # times what the ladder's own runs are apart, of which only a few are seen
SAME_SCHEDULE = 0.1  # of the peak: the largest difference of two rates that are one shape
SHARE = 0.5  # of the parts so far that the divisor is taken from


@dataclass(frozen=True)
class _Departure:
    """How far the last parts lie from the curve (relative), and the loss that the run ends at."""

    size: float
    end: float


def judge(run: Subject, settings: Settings) -> Finding:
    floor = run.number(settings["floor"])
    mine = _shape(run, settings["metric"], floor)
    if np.isfinite(mine).sum() < LEAST:
        raise Undecided(f"the run is at {percent(START, 0)} of its steps or little beyond")
    others = _by_size(run, settings, floor)
    if len(others) < LEAST_SIZES:
        raise Undecided(
            f"{counted(len(others), 'size')} beside it whose runs have ended at nearly its tokens"
            f" per param by its shape of schedule, {LEAST_SIZES} are needed"
        )
    curves = np.array([shape - shape[-1] for shape in others])
    share = settings["share"]
    apart = max(
        abs(_departure(shape, np.delete(curves, i, axis=0).mean(axis=0), share, floor).size)
        for i, shape in enumerate(others)
    )
    if apart > settings["tolerance"]:
        raise Undecided(
            f"the {len(others)} sizes of this ratio fall on no one curve: one is"
            f" {percent(apart, 1)} off the others"
        )
    found = _departure(mine, curves.mean(axis=0), share, floor)
    allowed = max(settings["tolerance"], NOISE * apart)
    fails = abs(found.size) > allowed
    text = (
        f"{settings['metric']} is {percent(found.size, 1, True)} off the curve of"
        f" {len(others)} sizes at its tokens per param ({percent(allowed, 1)} allowed, they"
        f" are {percent(apart, 1)} apart); by it the run ends at {number(found.end)}."
    )
    details = {"end": found.end, "apart": apart, "sizes": len(others)}
    return Finding("fail" if fails else "pass", text, found.size, allowed, run.step, details)


def _by_size(run: Subject, settings: Settings, floor: float) -> list[Floats]:
    """The shapes of the ladder's runs that go to the end, one a size: the mean of its runs."""
    of_size: dict[float, list[Floats]] = {}
    for other in _ladder(run, settings):
        shape = _shape(other, settings["metric"], floor)
        if np.isfinite(shape).all() and _same_schedule(run, other):
            of_size.setdefault(other.number("params"), []).append(shape)
    return [np.mean(shapes, axis=0) for shapes in of_size.values()]


def _shape(run: Subject, metric: str, floor: float) -> Floats:
    """ln(loss - floor) [PARTS] over the planned steps, NaN beyond the last one logged."""
    series = finite(run.series(metric))
    above = series.values - floor
    if not (above[series.steps >= START * _planned(run)] > 0).all():
        raise Unjudged(f"{metric} has values that are not above {number(floor)}")
    return _parts(Series(series.steps, np.log(np.maximum(above, TINY))), _planned(run))


def _same_schedule(run: Subject, other: Subject) -> bool:
    """Whether their rates over their peaks go alike, as far as both were logged."""
    try:
        rates = [finite(item.series("lr")) for item in (run, other)]
    except Undecided:
        return True
    plans = (_planned(run), _planned(other))
    shapes = [
        _parts(rate, steps) / rate.values.max() for rate, steps in zip(rates, plans, strict=True)
    ]
    apart = np.abs(shapes[0] - shapes[1])
    return bool(np.nanmax(apart, initial=0.0) <= SAME_SCHEDULE)


def _planned(run: Subject) -> int:
    planned = run.planned_steps or (0 if run.running else run.step)
    if not planned:
        raise Undecided("nothing says how many steps the run is to take")
    return planned


def _parts(series: Series, planned: int) -> Floats:
    """Means of the values in each part [PARTS] of the planned steps, between them on straight
    lines, NaN beyond the last one logged."""
    edges = planned * np.linspace(START, 1, PARTS + 1)
    part = np.clip(np.digitize(series.steps, edges) - 1, -1, PARTS - 1)
    seen = np.unique(part[part >= 0])
    if not len(seen):
        return np.full(PARTS, np.nan)
    means = np.array([series.values[part == i].mean() for i in seen])
    shape: Floats = np.interp(np.arange(PARTS), seen, means)
    shape[int(seen[-1]) + 1 :] = np.nan
    return shape


def _ladder(run: Subject, settings: Settings) -> list[Subject]:
    """The runs named, or those of its group that have ended at nearly its tokens per param."""
    bench = run.bench
    if settings["run"]:
        return [bench.other(name) for name in settings["run"] if name != run.record.run_id]
    ratio = run.number("tokens / params")
    if run.running and run.planned_steps:
        ratio *= run.planned_steps / max(run.step, 1)
    (group,) = [
        members
        for _, members in bench.runs.groups(bench.rows.by)
        if any(record.run_key == run.record.run_key for record in members.records)
    ]
    keys = set()
    for record in group.records:
        params, tokens = (record.final.get(name, np.nan) for name in ("params", "tokens"))
        near = abs(tokens / params / ratio - 1) <= RATIO if params else False
        ended = record.has_history and stored(record.final, record.mapped).ended is not False
        if near and ended and record.run_key != run.record.run_key:
            keys.add(record.run_key)
    return bench.subjects([i for i, item in enumerate(bench.runs.records) if item.run_key in keys])


def _departure(shape: Floats, curve: Floats, share: float, floor: float) -> _Departure:
    """The run's first parts lay it on the curve; its last ones say whether it is still there."""
    off = (shape - curve)[np.isfinite(shape)]
    first = max(int(share * len(off)), 1)
    level = float(np.median(off[:first]))
    size = float(np.expm1(np.median(off[-LAST:]) - level))
    return _Departure(size, float(np.exp(level)) + floor)


RULE = Rule(
    "collapse",
    "The loss is on the curve on which runs of one ratio of tokens to params fall",
    judge,
    (
        Setting("run", "runs", "run ids of the ladder; without it, the group's of this ratio"),
        Setting("metric", "text", "the metric compared", "loss"),
        Setting("floor", "expression", "irreducible loss that is subtracted first", 0.0),
        Setting("tolerance", "number", "relative distance that is accepted", TOLERANCE, 0.0, 1.0),
        Setting("share", "number", "share of the run so far that sets its level", SHARE, 0.1, 0.9),
    ),
)
