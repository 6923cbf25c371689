"""Every rule by name: of our own, each file of this folder with a `RULE` is found.

Third parties add theirs under the entry point group "scalefit.checks".
"""

from __future__ import annotations

from collections.abc import Mapping as Dict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import scaling_cli.checks as own
from scaling_cli.checks.base import Rule
from scaling_cli.errors import InputError
from scaling_cli.expressions import parse
from scaling_cli.mapping import Mapping
from scaling_cli.spelling import near

ENTRY_POINTS = "scalefit.checks"
TABLE = "check"
SHARED = ("rule", "name", "where")  # what every [[check]] table may say, whatever its rule


@dataclass(frozen=True)
class Check:
    """One [[check]] table: a rule with its settings, on the runs that `where` leaves."""

    rule: Rule
    settings: Dict[str, Any]
    name: str
    where: str | None = None


@cache
def rules() -> dict[str, Rule]:
    """Every rule by name."""
    from importlib.metadata import entry_points

    files = [import_module(f"{own.__name__}.{file.name}") for file in iter_modules(own.__path__)]
    declared: list[Rule] = [file.RULE for file in files if hasattr(file, "RULE")]
    declared += [point.load() for point in entry_points(group=ENTRY_POINTS)]
    return {rule.name: rule for rule in declared}


def read_checks(mapping: Mapping | None) -> list[Check]:
    """The [[check]] tables of a mapping; without any, the rules that need no settings."""
    tables = mapping.tables.get(TABLE) if mapping else None
    if tables is None:
        always = [rule for rule in rules().values() if rule.always]
        return [Check(rule, rule.read({}, "scalefit"), rule.name) for rule in always]
    place = mapping.path if mapping else ""
    if not isinstance(tables, list):
        raise InputError(f"{place}: [check] is one table", "Write [[check]] above each check.")
    checks = [_read(table, f"{place}: [[check]] {i}") for i, table in enumerate(tables, 1)]
    repeated = {check.name for i, check in enumerate(checks) if check.name in _names(checks[:i])}
    return [
        check
        if check.name not in repeated
        else Check(check.rule, check.settings, f"{check.name} {i}", check.where)
        for i, check in enumerate(checks, 1)
    ]


def _names(checks: Sequence[Check]) -> set[str]:
    return {check.name for check in checks}


def _read(table: Any, where: str) -> Check:
    name = table.get("rule") if isinstance(table, dict) else None
    if not isinstance(name, str):
        raise InputError(f"{where} names no rule", 'Write rule = "nan", say.')
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
