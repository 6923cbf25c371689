"""Checks applied to runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isnan
from typing import Any

import numpy as np

from scaling_cli.checks.base import Bench, Finding, Subject, Undecided, Unjudged
from scaling_cli.checks.registry import Check


@dataclass(frozen=True)
class Result:
    """What one check found on one run; `run` is None where it applied to no run at all."""

    run: str | None
    rule: str
    name: str
    finding: Finding

    def to_json(self) -> dict[str, Any]:
        finding = self.finding
        return {
            "run": self.run,
            "rule": self.rule,
            "name": self.name,
            "status": finding.status,
            "observed": finding.observed,
            "expected": finding.expected,
            "message": finding.message,
            "step": finding.step,
            "details": dict(finding.details),
        }


def run_checks(bench: Bench, checks: Sequence[Check], names: Sequence[str] = ()) -> list[Result]:
    """Every check on every run that it is for; `names` narrows them to these runs."""
    chosen = sorted({i for name in names for i in bench.runs.called(name)}) if names else None
    rows = range(len(bench.rows)) if chosen is None else chosen
    subjects = dict(zip(rows, bench.subjects(rows), strict=True))
    results = []
    for check in checks:
        check_names(bench, check)
        kept = bench.rows.matches(check.where) if check.where else np.ones(len(bench.rows), bool)
        mine = [subjects[i] for i in rows if kept[i]]
        results += [
            Result(s.record.run_id, check.rule.name, check.name, judge(check, s)) for s in mine
        ]
        if not mine:
            message = f"No run matches `{check.where}`."
            results.append(Result(None, check.rule.name, check.name, Finding("skip", message)))
    return results


def check_names(bench: Bench, check: Check) -> None:
    """InputError where the store lacks a run that the check names, whether or not a run that it
    is for can be judged yet."""
    for setting in check.rule.settings:
        if setting.kind == "runs":
            for name in check.settings[setting.name] or ():
                bench.runs.one_called(name)


def judge(check: Check, subject: Subject) -> Finding:
    """The finding of a check on a run. A rule that cannot judge yet skips; one that cannot because
    what it judges by is damaged fails."""
    try:
        finding = check.rule.judge(subject, check.settings)
    except Undecided as error:
        return Finding("skip", _sentence(str(error)))
    except Unjudged as error:
        return Finding("fail", f"Cannot judge: {error}.")
    except ArithmeticError as error:  # a plan of nothing, say
        return Finding("fail", f"Cannot judge: {error}.")
    if finding.status == "pass" and isinstance(finding.observed, float) and isnan(finding.observed):
        return replace(finding, status="fail", message=f"Cannot judge: {finding.message}")
    return finding


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].rstrip('.')}."
