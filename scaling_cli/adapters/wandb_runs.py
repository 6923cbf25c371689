"""What a W&B run says of itself, the same from its file and from a server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Mapping as Table
from itertools import accumulate
from typing import Any

from scaling_cli.adapters.building import Logged


def settings(
    logged: Logged,
    series: Iterable[str],
    summary: Iterable[tuple[str, Any]],
    config: Iterable[tuple[str, Any]],
    labels: Table[str, str],
) -> dict[str, Any]:
    """The config, and beside it what the summary holds beyond the history (`n_params`, say), text
    that the run logged and never changed, and the labels that W&B gave it (`sweep`).

    `summary` and `config` are flat, their keys joined by dots.
    """
    history = {*series, *logged.numbers, *logged.texts, *logged.others}
    beyond = {
        key: value
        for key, value in summary
        if value is not None and not key.startswith("_") and history.isdisjoint(_prefixes(key))
    }
    own = {
        key: value for key, value in config if value is not None and not key.startswith("_wandb.")
    }
    given = {key: value for key, value in labels.items() if value}
    return given | logged.constants() | beyond | own


def _prefixes(key: str) -> Iterator[str]:
    """`a.b.c` -> a, a.b, a.b.c"""
    return accumulate(key.split("."), lambda path, part: f"{path}.{part}")


def declared_steps(raw: Any) -> list[str]:
    """The metrics that `define_metric` declared as the step of others, from a server's config: a
    list of records whose fields go by their numbers (1 a metric's name, 5 the place of its step
    metric in the list, from one on)."""
    told = raw.get("_wandb") if isinstance(raw, dict) else None
    value = told.get("value", told) if isinstance(told, dict) else None
    records = value.get("m") if isinstance(value, dict) else None
    records = [record for record in records if isinstance(record, dict)] if records else []
    found: dict[str, None] = {}
    for record in records:
        place = record.get("5")
        if isinstance(place, int) and 0 < place <= len(records):
            named = records[place - 1].get("1")
            if isinstance(named, str):
                found[named] = None
    return list(found)
