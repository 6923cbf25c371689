"""Trackio: the SQLite file of a project, opened read-only."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scaling_cli.adapters import sqlite
from scaling_cli.adapters.base import BY_SIGNATURE, Adapter
from scaling_cli.adapters.building import Logged, flattened, make_run, storable
from scaling_cli.errors import InputError
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.records import Run
from scaling_cli.steps import marked_if_called

NAME = "trackio"


def recognises(path: Path, head: bytes) -> bool:
    return path.suffix == ".db" and head.startswith(sqlite.MAGIC)


@dataclass
class _Draft:
    name: str = ""
    logged: Logged = field(default_factory=Logged)
    config: dict[str, Any] = field(default_factory=dict)
    broken: int = 0


def read(path: Path, source: str, mapping: Mapping) -> Iterator[Run]:
    drafts: dict[str, _Draft] = {}
    damage = None
    try:
        with sqlite.opened(path) as database:
            for run_id, title, step, row in _rows(database, "metrics", "step"):
                draft = drafts.setdefault(run_id, _Draft())
                draft.name = title
                if row is None or not isinstance(step, int):
                    draft.broken += 1
                    continue
                for key, value in flattened(row):
                    draft.logged.add(step, key, value)
            for run_id, title, _, row in _rows(database, "configs", "0"):
                draft = drafts.setdefault(run_id, _Draft(title))
                draft.config |= dict(flattened(row or {}))
    except sqlite.ERRORS as error:
        damage = sqlite.damage(error)
        if not drafts:
            raise InputError(f"{source} cannot be read: {damage}", "Copy it again.") from error
    for run_id, draft in drafts.items():
        config = {key: value for key, value in draft.config.items() if value is not None}
        group, began = config.pop("_Group", ""), config.pop("_Created", "")
        config.pop("_Username", None)
        notes = draft.logged.notes()
        if draft.broken:
            notes.append(Note.of("damaged", f"{draft.broken} rows cannot be read"))
        if damage:
            notes.append(Note.of("damaged", f"{source}: {damage}; the rest is read"))
        config = draft.logged.constants() | config
        run = make_run(NAME, run_id, source, config, draft.logged.points(), notes)
        yield replace(
            marked_if_called(run),
            run_key=f"{NAME}:{storable(path.stem)}/{run.run_id}",
            name=storable(draft.name) or run.name,
            group=storable(str(group)) or run.group,
            created_at=storable(str(began)) or run.created_at,
        )


def _rows(
    database: sqlite3.Connection, table: str, step: str
) -> Iterator[tuple[str, str, Any, dict[str, Any] | None]]:
    """(run, its name, step, the JSON) in the order they were written; early versions of Trackio
    had no ids besides the names."""
    columns = sqlite.columns(database, table)
    if not {"run_name", "id"} <= columns:
        return  # another program's database
    identity = "run_id" if "run_id" in columns else "run_name"
    content = "metrics" if table == "metrics" else "config"
    query = f"SELECT {identity}, run_name, {step}, {content} FROM {table} ORDER BY id"
    for run_id, title, number, text in database.execute(query):
        try:
            row = json.loads(text)
        except (ValueError, TypeError, RecursionError):
            row = None
        yield str(run_id), str(title or ""), number, row if isinstance(row, dict) else None


ADAPTER = Adapter(NAME, recognises, read, order=BY_SIGNATURE, beside=sqlite.beside)
