"""Steps that were logged twice, as after a restart, and counts of tokens that fell."""

from __future__ import annotations

import numpy as np

from scaling_cli.checks.base import Finding, Rule, Settings, Subject, Undecided

CODE = "repeated_steps"  # what the reading of a source says where a step was logged again


def judge(run: Subject, settings: Settings) -> Finding:
    if not run.run.series:
        raise Undecided("the run has no history")
    messages = [note.message for note in run.record.notes if note.code == CODE]
    if messages:
        return Finding("fail", "; ".join(messages) + ".", "steps logged again", "each step once")
    try:
        tokens = run.series("tokens")
    except Undecided:
        tokens = None
    if tokens is not None:
        falls = np.flatnonzero(np.diff(tokens.values) < 0)
        if len(falls):
            step = int(tokens.steps[falls[0] + 1])
            text = f"The count of tokens falls at step {step}: a restart that lost it?"
            return Finding("fail", text, "tokens fall", "tokens rise", step)
    return Finding("pass", "Every step was logged once.")


RULE = Rule(
    "monotone_steps", "Each step was logged once, and tokens rise with steps", judge, always=True
)
