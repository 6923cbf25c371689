"""A run that ended before its planned end."""

from __future__ import annotations

from scaling_cli.checks.base import Finding, Rule, Setting, Settings, Subject, Undecided
from scaling_cli.quantities import count

TOLERANCE = 0.01  # the last steps may be unlogged


def judge(run: Subject, settings: Settings) -> Finding:
    axis = "tokens" if settings["tokens"] is not None else "steps"
    if settings[axis] is not None:
        planned = run.plan(settings[axis], axis)
    elif run.planned_steps is not None:
        planned = run.plan(run.planned_steps, axis)
    else:
        raise Undecided("no plan: the config names no number of steps, and the check gives none")
    if run.running:
        raise Undecided("the run goes on")
    reached = run.number(axis)
    short = reached < (1 - settings["tolerance"]) * planned
    word = "ended" if run.record.status == "finished" else run.record.status
    text = f"The run {word} at {count(reached)} of {count(planned)} {axis}."
    return Finding("fail" if short else "pass", text, reached, planned, run.step)


RULE = Rule(
    "complete",
    "The run reached its planned end",
    judge,
    (
        Setting("steps", "expression", "planned steps; without it, those that the config names"),
        Setting("tokens", "expression", "planned tokens, in place of steps"),
        Setting("tolerance", "number", "share of it that may be missing", TOLERANCE, 0.0, 0.99),
    ),
    always=True,
)
