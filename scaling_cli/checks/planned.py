"""Tokens, compute and parameters as planned."""

from __future__ import annotations

from scaling_cli.checks.base import Finding, Rule, Setting, Settings, Subject
from scaling_cli.quantities import count, percent

QUANTITIES = ("tokens", "flops", "params")
TOLERANCE = 0.01  # a last batch or a rounded budget moves them by less; a wrong batch by more


def judge(run: Subject, settings: Settings) -> Finding:
    wanted = {name: settings[name] for name in QUANTITIES if settings[name] is not None}
    batch = settings["batch_tokens"]
    parts, off = [], []
    for name, expression in wanted.items():
        planned, logged = run.plan(expression, name), run.number(name)
        parts.append((name, logged, planned))
        # Tokens and compute of a run that goes on may still be below the plan.
        below = logged < planned and run.running and name != "params"
        if abs(logged / planned - 1) > settings["tolerance"] and not below:
            off.append(name)
    if batch is not None:
        planned, logged = run.plan(batch, "tokens a step"), run.number("tokens / steps")
        parts.append(("batch_tokens", logged, planned))
        if abs(logged / planned - 1) > settings["tolerance"]:
            off.append("batch_tokens")
    shown = [part for part in parts if part[0] in off] or parts
    text = ", ".join(
        f"{name} {count(logged)}, planned {count(planned)}"
        f" ({percent(logged / planned - 1, 1, True)})"
        for name, logged, planned in shown
    )
    _, logged, planned = shown[0]
    return Finding("fail" if off else "pass", f"{text}.", logged, planned)


RULE = Rule(
    "planned",
    "Tokens, compute and parameters are as planned",
    judge,
    (
        Setting("tokens", "expression", "tokens of the whole run"),
        Setting("flops", "expression", "compute of the whole run, FLOPs"),
        Setting("params", "expression", "parameters"),
        Setting("batch_tokens", "expression", "tokens of a step, on average"),
        Setting("tolerance", "number", "largest relative difference", TOLERANCE, 0.0, 1.0),
    ),
    one_of=(*QUANTITIES, "batch_tokens"),
)
