"""One run in full, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scaling_cli.quantities import count, number
from scaling_cli.report.listing import COUNTS, Listing

if TYPE_CHECKING:
    from scaling_cli.in_full import RunInFull

WIDEST = 60  # characters of a setting's value


def run_tables(run: RunInFull) -> list[Listing]:
    """What it is and how it stands, what is taken as what, its metrics, its config."""
    return [_head(run), _columns(run), _metrics(run), _config(run)]


def _head(run: RunInFull) -> Listing:
    record, planned = run.record, run.ending.planned
    rows = [
        ("key", record.run_key),
        ("name", record.name),
        ("source", record.source),
        ("group", run.group),
        ("tags", ", ".join(record.tags)),
        ("began", record.created_at),
        ("status", f"{run.status}: {run.stands}"),
        ("planned steps", count(planned) if planned is not None else "not known"),
    ]
    shown = tuple(row for row in rows if row[1])
    return Listing(f"Run {record.run_id}", ("what", "value"), shown, left=2, lines=run.notes)


def _columns(run: RunInFull) -> Listing:
    rows = tuple(
        (name, taken.origin, _value(name, taken.value), ", ".join(taken.over))
        for name, taken in run.columns.items()
        if name != "ended"
    )
    headers = ("column", "taken from", "value at the end", "rather than")
    return Listing("What is taken as what", headers, rows, left=2)


def _metrics(run: RunInFull) -> Listing:
    rows = tuple(
        (
            name,
            str(metric.points),
            f"{metric.steps[0]}..{metric.steps[1]}",
            number(metric.first),
            number(metric.last),
            number(metric.lowest),
            str(metric.lowest_step),
        )
        for name, metric in run.metrics.items()
    )
    headers = ("metric", "points", "steps", "first", "last", "lowest", "at step")
    return Listing("What it logged", headers, rows)


def _config(run: RunInFull) -> Listing:
    rows = tuple((key, _setting(value)) for key, value in run.record.config.items())
    return Listing("Its config", ("key", "value"), rows, left=2)


def _value(name: str, value: float | None) -> str:
    return count(value) if name in (*COUNTS, "step", "planned_steps") else number(value)


def _setting(value: Any) -> str:
    text = str(value)
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 3]}..."
