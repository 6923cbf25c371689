"""The loss on the course that the run's own beginning and its finished siblings predict."""

from __future__ import annotations

import numpy as np

from scaling_cli.checks.base import Finding, Rule, Setting, Settings, Subject, Undecided, Unjudged
from scaling_cli.errors import ScalefitError
from scaling_cli.quantities import MAX_LEVEL, MIN_LEVEL, counted, number, percent
from scaling_cli.training.ask import ask

LEVEL = 0.99  # as for the final loss: one healthy run in a hundred is outside
SHARE = 0.5  # of the steps so far that the forecast is told; it would follow what it is told
POINTS = 8  # the last ones, of which most have to be outside: one bad row is no other course


def judge(run: Subject, settings: Settings) -> Finding:
    bench = run.bench
    known = bench.curve_fit(settings["fit"]) if settings["fit"] else None
    if not np.isfinite(run.series("loss").values).any():
        raise Unjudged("no logged loss is a finite number")
    if not np.isfinite(run.series("lr").values).all():
        raise Unjudged("a logged learning rate is no finite number")
    upto = int(settings["share"] * run.step)
    try:
        curve, predicted = ask(
            bench.store,
            bench.runs,
            run.record.run_key,
            bench.mapping,
            upto=upto,
            level=settings["level"],
            known=known,
        )
    except ScalefitError as error:
        raise Undecided(str(error)) from None
    since = int(np.sum(curve.steps > upto))
    if since < POINTS:
        raise Undecided(f"not enough points: {since} since step {upto}, {POINTS} are needed")
    steps, loss = curve.steps[-POINTS:], curve.loss[-POINTS:]
    at = np.searchsorted(predicted.steps, steps)
    low, high = predicted.low[at], predicted.high[at]
    if not (np.isfinite(low).all() and np.isfinite(high).all() and np.isfinite(loss).all()):
        raise Unjudged("the last points or their band hold what is no finite number")
    above, below = float(np.mean(loss > high)), float(np.mean(loss < low))
    last, expected = float(loss[-1]), f"{number(float(low[-1]))}..{number(float(high[-1]))}"
    left = max(above, below) > 0.5
    side = "inside" if not left else "above" if above > below else "below"
    ground = f" and the run itself up to step {upto}" if known is None else f" by {settings['fit']}"
    text = (
        f"loss {number(last)} at step {int(steps[-1])}: most of the last {POINTS} points are {side}"
        f" the {percent(settings['level'], 0)} band ({expected} there), predicted from"
        f" {counted(len(predicted.siblings), 'finished run')}{ground}."
    )
    details = {"low": float(low[-1]), "high": float(high[-1]), "final": predicted.final}
    return Finding("fail" if left else "pass", text, last, expected, int(steps[-1]), details)


RULE = Rule(
    "course",
    "The loss stays on the course that a curve law predicts",
    judge,
    (
        Setting("fit", "text", "a file of `scalefit curve`; without it, the group's runs"),
        Setting("share", "number", "share of the steps that it predicts from", SHARE, 0.01, 0.99),
        Setting("level", "number", "central share of the band", LEVEL, MIN_LEVEL, MAX_LEVEL),
    ),
)
