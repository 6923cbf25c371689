"""Rules on runs, for CI: one file a rule, declared by `Rule` and named in `OWN`.

Third parties add theirs under the entry point group "scalefit.checks".
"""

from __future__ import annotations

from collections.abc import Mapping as Dict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from math import isnan
from typing import Any

import numpy as np

from scaling_cli.checks.base import Bench, Finding, Rule, Subject, Undecided, Unjudged
from scaling_cli.errors import InputError
from scaling_cli.expressions import parse
from scaling_cli.mapping import Mapping
from scaling_cli.spelling import near

ENTRY_POINTS = "scalefit.checks"
OWN = (
    "nan",
    "spike",
    "divergence",
    "stall",
    "monotone_steps",
    "complete",
    "planned",
    "schedule",
    "limit",
    "band",
    "course",
    "reference",
)
TABLE = "check"
SHARED = ("rule", "name", "where")  # what every [[check]] table may say, whatever its rule


@dataclass(frozen=True)
class Check:
    """One [[check]] table: a rule with its settings, on the runs that `where` leaves."""

    rule: Rule
    settings: Dict[str, Any]
    name: str
    where: str | None = None


@dataclass(frozen=True)
class Result:
    """What one check found on one run; `run` is None where it applied to no run at all."""

    run: str | None
    rule: str
    name: str
    finding: Finding

    def to_json(self) -> dict[str, Any]:
        found = self.finding
        return {
            "run": self.run,
            "rule": self.rule,
            "name": self.name,
            "status": found.status,
            "observed": found.observed,
            "expected": found.expected,
            "message": found.message,
            "step": found.step,
            "details": dict(found.details),
        }


@cache
def rules() -> dict[str, Rule]:
    """Every rule by name."""
    from importlib.metadata import entry_points

    found: list[Rule] = [import_module(f"{__name__}.{module}").RULE for module in OWN]
    found += [point.load() for point in entry_points(group=ENTRY_POINTS)]
    return {rule.name: rule for rule in found}


def read_checks(mapping: Mapping | None) -> list[Check]:
    """The [[check]] tables of a mapping; without any, the rules that need no settings."""
    tables = mapping.tables.get(TABLE) if mapping else None
    if tables is None:
        always = [rule for rule in rules().values() if rule.always]
        return [Check(rule, rule.read({}, "scalefit"), rule.name) for rule in always]
    place = mapping.path if mapping else ""
    if not isinstance(tables, list):
        raise InputError(f"{place}: [check] is one table", "Write [[check]] above each check.")
    found = [_read(table, f"{place}: [[check]] {i}") for i, table in enumerate(tables, 1)]
    repeated = {check.name for i, check in enumerate(found) if check.name in _names(found[:i])}
    return [
        check
        if check.name not in repeated
        else Check(check.rule, check.settings, f"{check.name} {i}", check.where)
        for i, check in enumerate(found, 1)
    ]


def _names(checks: Sequence[Check]) -> set[str]:
    return {check.name for check in checks}


def _read(table: Any, where: str) -> Check:
    name = table.get("rule") if isinstance(table, dict) else None
    if not isinstance(name, str):
        raise InputError(f"{where} names no rule", f'Write rule = "{OWN[0]}", say.')
    known = rules()
    if name not in known:
        raise InputError(
            f"{where}: there is no rule {name!r}",
            near(name, known) or f"Known: {', '.join(known)}.",
        )
    for key in ("name", "where"):
        if not isinstance(table.get(key, ""), str):
            raise InputError(f"{where}: {key} is no text", "Write it in quotes.")
    filtered = table.get("where") or None
    if filtered is not None:
        try:
            parse(filtered)
        except InputError as error:
            raise InputError(f"{where}: where: {error.what}", error.mend) from error
    given = {key: value for key, value in table.items() if key not in SHARED}
    settings = known[name].read(given, where)
    return Check(known[name], settings, table.get("name") or name, filtered)


def run_checks(bench: Bench, checks: Sequence[Check], names: Sequence[str] = ()) -> list[Result]:
    """Every check on every run that it is for; `names` narrows them to these runs."""
    chosen = sorted({i for name in names for i in bench.runs.called(name)}) if names else None
    rows = range(len(bench.rows)) if chosen is None else chosen
    subjects = dict(zip(rows, bench.subjects(rows), strict=True))
    results = []
    for check in checks:
        kept = bench.rows.matches(check.where) if check.where else np.ones(len(bench.rows), bool)
        mine = [subjects[i] for i in rows if kept[i]]
        results += [
            Result(s.record.run_id, check.rule.name, check.name, judge(check, s)) for s in mine
        ]
        if not mine:
            message = f"No run matches `{check.where}`."
            results.append(Result(None, check.rule.name, check.name, Finding("skip", message)))
    return results


def judge(check: Check, subject: Subject) -> Finding:
    """The finding of a check on a run. A rule that cannot judge yet skips; one that cannot because
    what it judges by is damaged fails."""
    try:
        found = check.rule.judge(subject, check.settings)
    except Undecided as error:
        return Finding("skip", _sentence(str(error)))
    except Unjudged as error:
        return Finding("fail", f"Cannot judge: {error}.")
    except ArithmeticError as error:  # a plan of nothing, say
        return Finding("fail", f"Cannot judge: {error}.")
    if found.status == "pass" and isinstance(found.observed, float) and isnan(found.observed):
        return replace(found, status="fail", message=f"Cannot judge: {found.message}")
    return found


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].rstrip('.')}."
