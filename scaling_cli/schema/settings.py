"""The JSON Schema of scalefit.toml, made of the canonical columns and the rules of checks."""

from __future__ import annotations

from scaling_cli.checks.base import REQUIRED, Rule, Setting
from scaling_cli.checks.registry import TABLE, rules
from scaling_cli.columns import COLUMNS
from scaling_cli.mapping import FINAL
from scaling_cli.schema.derive import DIALECT, Schema

TEXTS: Schema = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_VALUE: Schema = {"type": ["string", "number"]}
_WORD: Schema = {"type": "string", "minLength": 1, "pattern": r"\S"}


def settings_schema() -> Schema:
    """What a mapping file may say; further tables are allowed."""
    columns = {
        name: {**_VALUE, "description": f"{column.meaning} ({column.unit})"}
        for name, column in COLUMNS.items()
    }
    known = list(rules().values())
    return {
        "$schema": DIALECT,
        "title": "scalefit.toml",
        "description": "What a project's runs call things, and the rules that they are checked by.",
        "type": "object",
        "properties": {
            "columns": {
                "description": "column = a logged name, an expression over names, or a number",
                "type": "object",
                "properties": columns,
                "additionalProperties": _VALUE,
            },
            "run": _run(),
            "console": {
                "description": 'templates of a console log: "step {step} loss {loss}"',
                "type": "object",
                "properties": {"line": TEXTS},
                "additionalProperties": False,
            },
            TABLE: {"type": "array", "items": _any_check(known)},
        },
    }


def _run() -> Schema:
    return {
        "type": "object",
        "properties": {
            "id": {"type": "string", "description": "the column of the run, of a file of many"},
            "group": {**TEXTS, "description": "the groups where `by=` is not given"},
            "final": {
                "type": "string",
                "pattern": f"^({FINAL.pattern})$",
                "description": "which point of a history counts",
            },
            "where": {"type": "string", "description": "only runs that match"},
        },
        "additionalProperties": False,
    }


def _any_check(known: list[Rule]) -> Schema:
    """One [[check]]: a rule by name, and what this rule takes."""
    return {
        "type": "object",
        "properties": {"rule": {"enum": [rule.name for rule in known]}},
        "required": ["rule"],
        "allOf": [
            {"if": {"properties": {"rule": {"const": rule.name}}}, "then": _check(rule)}
            for rule in known
        ],
    }


def _check(rule: Rule) -> Schema:
    made: Schema = {
        "description": rule.title,
        "properties": {
            "rule": True,
            "name": {"type": "string", "description": "what the check is called"},
            "where": {"type": "string", "description": "only runs that match"},
            **{setting.name: _setting(setting) for setting in rule.settings},
        },
        "required": [item.name for item in rule.settings if item.default is REQUIRED],
        "additionalProperties": False,
    }
    if rule.one_of:
        made["anyOf"] = [{"required": [name]} for name in rule.one_of]
    return made


def _setting(setting: Setting) -> Schema:
    """A number may also be written as `2T`, an expression in words."""
    number: Schema = {"type": "integer" if setting.whole else "number"}
    ends = (("minimum", setting.low), ("maximum", setting.high))
    number |= {name: end for name, end in ends if abs(end) != float("inf")}
    several: Schema = {"type": "array", "items": _WORD, "minItems": 1}
    kinds = {"text": [_WORD], "texts": [_WORD, several], "runs": [_WORD, several]}.get(
        setting.kind, [number, _WORD]
    )
    made: Schema = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    made = {**made, "description": setting.meaning}
    if setting.default is not None and setting.default is not REQUIRED:
        made["default"] = setting.default
    return made
