"""The loss within the band that a fitted law predicts for a new run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from scaling_cli.checks.base import Finding, Rule, Setting, Settings, Subject, Undecided
from scaling_cli.errors import InputError
from scaling_cli.quantities import number, percent

if TYPE_CHECKING:
    from scaling_cli.fitting.result import Fit

# One healthy run in a hundred leaves such a band; of 90 % bands one in ten would.
LEVEL = 0.99
PLAN_TOLERANCE = 0.01  # a run this close to its planned end counts as finished


def judge(run: Subject, settings: Settings) -> Finding:
    fitted = of_group(run, run.bench.fits(settings["fit"]))
    if not len(fitted.draws):
        raise Undecided(f"fit {fitted.fit_id} has no resamples, and so no band")
    target, wider = fitted.columns["target"], replace(fitted, level=settings["level"])
    try:
        predicted = wider.predict({name: run.number(f"`{name}`") for name in variables(fitted)})
    except InputError as error:
        raise Undecided(str(error)) from None
    assert predicted.low is not None
    assert predicted.high is not None
    goes_on = run.running or (
        run.planned_steps is not None and run.step < (1 - PLAN_TOLERANCE) * run.planned_steps
    )
    if goes_on:
        raise Undecided(
            "the run has not ended, and a law of final losses says nothing of the way there"
        )
    observed = run.number(f"`{target}`")
    inside = predicted.low <= observed <= predicted.high
    above = observed > predicted.high
    side = "inside" if inside else "above" if above else "below"
    expected = f"{number(predicted.low)}..{number(predicted.high)}"
    text = (
        f"{target} {number(observed)} is {side} the {percent(settings['level'], 0)} band {expected}"
        f" of {fitted.fit_id}."
    )
    far = [note.message for note in predicted.notes if note.severity != "info"]
    return Finding(
        "pass" if inside else "fail",
        " ".join([text, *far]),
        observed,
        expected,
        run.step,
        {
            "fit_id": fitted.fit_id,
            "loss": predicted.loss,
            "low": predicted.low,
            "high": predicted.high,
            "level": settings["level"],
        },
    )


def variables(fitted: Fit) -> list[str]:
    """What the law reads, by the names of the columns that it was fitted to."""
    return [fitted.columns.get(name, name) for name in fitted.law.variables]


def of_group(run: Subject, fits: Sequence[Fit]) -> Fit:
    """The fit of the group that the run belongs to."""
    found = []
    for fitted in fits:
        try:
            mine = {name: run.row.groups([name])[0][0][name] for name in fitted.group}
        except InputError:
            continue
        if mine == dict(fitted.group):
            found.append(fitted)
    if len(found) == 1:
        return found[0]
    told = ", ".join(fitted.fit_id for fitted in found or fits)
    many = "several fits are" if found else "no fit is"
    raise Undecided(f"{many} of the run's group ({told})")


RULE = Rule(
    "band",
    "The final loss is within the band that a fit predicts",
    judge,
    (
        Setting("fit", "text", "a fit's id or file; without it, the newest fits of the store"),
        Setting("level", "number", "central share of the band", LEVEL),
    ),
)
