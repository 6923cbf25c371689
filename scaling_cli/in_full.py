"""One stored run with all that is known of it."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling_cli.columns import COLUMNS
from scaling_cli.ending import Ending, ending, judged
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.observe import Runs
from scaling_cli.records import Series
from scaling_cli.resolve import finals, on_mapped_step, resolve
from scaling_cli.store import RunRecord, Store


@dataclass(frozen=True)
class Metric:
    """A logged metric: its points and steps, and its first, last and lowest finite values (NaN
    where there are none), the lowest with its step."""

    points: int
    steps: tuple[int, int]
    first: float
    last: float
    lowest: float
    lowest_step: int

    @classmethod
    def of(cls, series: Series) -> Metric:
        values, steps = series.values, series.steps
        finite = np.flatnonzero(np.isfinite(values))
        low = int(finite[np.argmin(values[finite])]) if len(finite) else 0
        first, last = (finite[0], finite[-1]) if len(finite) else (0, -1)
        return cls(
            len(steps),
            (int(steps[0]), int(steps[-1])),
            float(values[first]),
            float(values[last]),
            float(values[low]),
            int(steps[low]),
        )


@dataclass(frozen=True)
class Taken:
    """What a column is read from, its value at the final point, and the names of it that were
    there too and were not taken."""

    origin: str
    value: float | None
    over: tuple[str, ...]


@dataclass(frozen=True)
class RunInFull:
    record: RunRecord
    group: str
    status: str
    ending: Ending
    stands: str  # `ending` in words
    columns: Dict[str, Taken]
    metrics: Dict[str, Metric]
    notes: tuple[Note, ...]

    def to_json(self) -> dict[str, Any]:
        """The answer of `scalefit show`."""
        record = self.record
        return {
            "run_id": record.run_id,
            "run_key": record.run_key,
            "name": record.name,
            "source": record.source,
            "group": self.group,
            "tags": list(record.tags),
            "created_at": record.created_at,
            "status": self.status,
            "ended": self.ending.ended,
            "planned_steps": self.ending.planned,
            "done": self.ending.done,
            "ended_by": self.ending.origin,
            "steps": self.ending.reached,
            "columns": {
                name: {"taken_from": taken.origin, "value": taken.value, "over": list(taken.over)}
                for name, taken in self.columns.items()
            },
            "metrics": {
                name: {**metric.__dict__, "steps": list(metric.steps)}
                for name, metric in self.metrics.items()
            },
            "config": dict(record.config),
            "warnings": [note.to_json() for note in self.notes],
        }


def in_full(store: Store, runs: Runs, row: int, mapping: Mapping | None = None) -> RunInFull:
    """The run of a row, as `mapping` reads it, or without one that of its ingest."""
    record = runs.records[row]
    used = mapping if mapping is not None and not mapping.empty else record.mapping
    run = on_mapped_step(record.to_run(store.series([record.run_key])[record.run_key]), used)
    final, columns = finals([run], used, strict=False).rows[0], resolve(run, used).columns
    state, _ = ending(run, columns, final.values.get("steps"))
    there = {*run.series, *(f"config.{key}" for key in run.config)}
    taken = {}
    for name, origin in final.mapped.items():
        known = COLUMNS[name].names if name in COLUMNS else ()
        others = [n for alias in known for n in (alias, f"config.{alias}") if n in there]
        over = tuple(other for other in others if other != origin)
        taken[name] = Taken(origin, final.values.get(name), over)
    groups = runs.table.parted(runs.table.by)
    mapped = next((group for group, rows in groups if row in rows), {})
    notes = dict.fromkeys([*record.notes, *final.notes])
    return RunInFull(
        record,
        record.group or ", ".join(map(str, mapped.values())),
        judged(None if state.ended is None else float(state.ended), record.status),
        state,
        state.in_words(record.status),
        taken,
        {name: Metric.of(series) for name, series in run.series.items() if len(series.steps)},
        tuple(notes),
    )
