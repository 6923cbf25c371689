"""MLflow's own stores: an `mlruns` folder or a SQLite file, read without the client.

A folder holds `<experiment>/<run>/metrics/<key>`, each a text file of `timestamp value step`; the
tables of a database hold the same. What a server serves is in `mlflow_server.py`.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from scaling_cli.adapters import sqlite
from scaling_cli.adapters.base import BY_SIGNATURE, Adapter
from scaling_cli.adapters.building import NUMBER_WORDS, make_run, moment, storable
from scaling_cli.adapters.files import Found, read_bytes
from scaling_cli.errors import InputError
from scaling_cli.expressions import as_number
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.records import Run
from scaling_cli.steps import Points

NAME = "mlflow"

_RUN_FILE = re.compile(r"(.*/)?([0-9a-f]{32})/(?:(metrics|params|tags)/(.+)|meta\.yaml)")
_DATABASE = "mlflow.db"  # what MLflow calls it, for one that is not here to be looked into
# RunStatus, in the numbers of meta.yaml and the words of the database
_STATUS = {"1": "running", "2": "pending", "3": "finished", "4": "failed", "5": "killed"}
# MLflow's databases hold no infinity; they hold the largest double instead.
_INFINITE = 1.7976931348623157e308
_WORDS: dict[str, Any] = {"True": True, "False": False, "None": None}


def recognises(path: Path, head: bytes) -> bool:
    if head.startswith(sqlite.MAGIC):
        return _is_database(path) if path.exists() else path.name == _DATABASE
    if path.name == "meta.yaml" and b"experiment_id:" in head:
        return True
    return _RUN_FILE.fullmatch(path.as_posix()) is not None and path.name != "meta.yaml"


def read_together(files: Sequence[Found], mapping: Mapping) -> Iterator[Run | Note]:
    folders: dict[Path, list[tuple[str, str, Found]]] = {}
    experiments: dict[Path, str] = {}
    for found in files:
        matched = _RUN_FILE.fullmatch(found.path.as_posix())
        if matched:
            depth = (matched[4] or "").count("/") + (1 if matched[3] else 0)
            folder = found.path.parents[depth]
            folders.setdefault(folder, []).append((matched[3] or "", matched[4] or "", found))
        elif found.path.name == "meta.yaml":
            experiments[found.path.parent] = _meta(found).get("name", "")
        else:
            yield from _database(found)
    for folder, parts in folders.items():
        yield from _folder(folder, parts, experiments.get(folder.parent, ""))


@dataclass
class Recorded:
    """What MLflow records of a run. `status` is its word in small letters; `began` in seconds."""

    run_id: str
    title: str = ""
    experiment: str = ""
    status: str = "finished"
    began: float = 0.0
    deleted: bool = False
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    points: Points = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)

    def run(self, source: str) -> Run:
        config = {f"tags.{k}": v for k, v in self.tags.items() if not k.startswith("mlflow.")}
        if "mlflow.parentRunId" in self.tags:
            config["parent_run_id"] = self.tags["mlflow.parentRunId"]
        config |= {
            key: value for key, text in self.params.items() if (value := setting(text)) is not None
        }
        run = make_run(NAME, self.run_id, source, config | {"status": self.status}, self.points)
        return replace(
            run,
            name=storable(self.title or self.tags.get("mlflow.runName", "")) or run.name,
            group=storable(self.experiment) or run.group,
            config=config,
            created_at=moment(self.began),
            notes=(*self.notes, *run.notes),
        )


def setting(text: str) -> Any:
    """A param, which MLflow keeps as text, as what it was."""
    if text in _WORDS:
        return _WORDS[text]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    return NUMBER_WORDS.get(text.strip().lower(), text)


def make_points(steps: Sequence[int], values: Sequence[float]) -> Any:
    numbers = np.array(values, dtype=np.float64)
    numbers[np.abs(numbers) >= _INFINITE] = np.inf
    return np.array(steps, dtype=np.int64), numbers


def _folder(
    folder: Path, parts: Iterable[tuple[str, str, Found]], experiment: str
) -> Iterator[Run | Note]:
    recorded = Recorded(folder.name, experiment=experiment)
    source = ""
    known = False
    for kind, key, found in parts:
        source = source or found.source.rpartition(f"/{folder.name}/")[0] + f"/{folder.name}"
        if kind == "metrics":
            recorded.points[key], lost = _metric(found)
            known = True
            if lost:
                message = f"{found.source}: {lost} lines are damaged and left out"
                recorded.notes.append(Note.of("damaged", message))
        elif kind:
            text = read_bytes(found.path, found.source).decode("utf-8", "replace")
            (recorded.params if kind == "params" else recorded.tags)[key] = text
        else:
            meta = _meta(found)
            known = True
            recorded.title = meta.get("run_name", "") or meta.get("name", "")
            recorded.status = _STATUS.get(meta.get("status", ""), "finished")
            recorded.deleted = meta.get("lifecycle_stage") == "deleted"
            recorded.began = (as_number(meta.get("start_time", "")) or 0.0) / 1000
    if not known:
        yield Note.of("unreadable", f"{source} holds no run")
    elif not recorded.deleted:
        yield recorded.run(source)


def _meta(found: Found) -> dict[str, str]:
    """The plain entries of a meta.yaml."""
    text = read_bytes(found.path, found.source).decode("utf-8", "replace")
    pairs = (line.partition(": ") for line in text.splitlines() if not line.startswith(" "))
    return {key: value.strip().strip("'\"") for key, _, value in pairs if value.strip() != "null"}


def _metric(found: Found) -> tuple[Any, int]:
    """The points of a metric's file, and how many of its lines are none."""
    lines = read_bytes(found.path, found.source).splitlines()
    steps, values, lost = [], [], 0
    for line in lines:
        try:
            _, value, *rest = line.split()
            step = int(rest[0]) if rest else 0  # early versions of MLflow had no steps
            if abs(step) >= 2**62:
                raise ValueError
            steps.append(step)
            values.append(float(value))
        except ValueError:
            lost += 1
            del steps[len(values) :]
    return make_points(steps, values), lost


def _is_database(path: Path) -> bool:
    try:
        with sqlite.opened(path) as database:
            return {"run_uuid", "step", "is_nan"} <= sqlite.columns(database, "metrics")
    except sqlite.ERRORS:
        return path.name == _DATABASE


def _database(found: Found) -> Iterator[Run | Note]:
    runs: dict[str, Recorded] = {}
    damage = ""
    try:
        with sqlite.opened(found.path) as database:
            for row in database.execute(
                "SELECT run_uuid, runs.name, lower(status), start_time, runs.lifecycle_stage,"
                " experiments.name FROM runs LEFT JOIN experiments USING (experiment_id)"
            ):
                run_id, title, status, began, stage, experiment = row
                runs[str(run_id)] = Recorded(
                    str(run_id),
                    str(title or ""),
                    str(experiment or ""),
                    str(status or ""),
                    (as_number(began) or 0.0) / 1000,
                    stage == "deleted",
                )
            for kind in ("params", "tags"):
                for run_id, key, text in database.execute(
                    f"SELECT run_uuid, key, value FROM {kind}"
                ):
                    if run_id in runs and text is not None:
                        getattr(runs[run_id], kind)[str(key)] = str(text)
            _histories(database, runs)
    except sqlite.ERRORS as error:
        damage = sqlite.damage(error)
        message = f"{found.source}: {damage}; the rest is read"
        if not runs:
            raise_or_note = InputError(f"{found.source} cannot be read: {damage}", "Copy it again.")
            if not found.walked:
                raise raise_or_note from error
            yield Note.of("unreadable", f"{raise_or_note.what} (left out)")
            return
        next(iter(runs.values())).notes.append(Note.of("damaged", message))
    for recorded in runs.values():
        if not recorded.deleted:
            yield recorded.run(found.source)


def _histories(database: sqlite3.Connection, runs: dict[str, Recorded]) -> None:
    rows = database.execute(
        "SELECT run_uuid, key, step, CASE WHEN is_nan THEN NULL ELSE value END FROM metrics"
        " WHERE typeof(step) = 'integer' AND abs(step / 2) < 2305843009213693952"
        " AND typeof(value) IN ('real', 'integer') ORDER BY run_uuid, key, timestamp, step"
    )
    for (run_id, key), points in groupby(rows, key=lambda row: row[:2]):
        found = [(step, np.nan if value is None else value) for _, _, step, value in points]
        if run_id in runs:
            steps, values = zip(*found, strict=True)
            runs[run_id].points[str(key)] = make_points(steps, values)


ADAPTER = Adapter(
    NAME, recognises, read_together=read_together, order=BY_SIGNATURE, beside=sqlite.beside
)
