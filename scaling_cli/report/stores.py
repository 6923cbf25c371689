"""What a store holds, and what was done to it, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from scaling_cli.ending import BY_PLAN, ENDED, judged, stored
from scaling_cli.notes import Note
from scaling_cli.quantities import count, counted, percent
from scaling_cli.report.listing import RANGES, Listing, group_name, span

if TYPE_CHECKING:
    from scaling_cli.configuration import Configuration
    from scaling_cli.observe import Runs
    from scaling_cli.store import RunRecord
    from scaling_cli.store.upkeep import Compacted, Verified
    from scaling_cli.table import Table

UNKNOWN = "?"
MOST_RUNS = 100  # of a page


def runs_json(runs: Runs) -> list[dict[str, Any]]:
    """The contract's `runs` objects."""
    return [
        {
            "run_id": record.run_id,
            "name": record.name,
            "source": record.source,
            "group": group,
            "status": judged(record.final.get(ENDED), record.status),
            "steps": record.final.get("steps"),
            **_ending_json(record),
            **{name: record.final.get(name) for name, _ in RANGES},
            "warnings": [note.to_json() for note in record.notes],
        }
        for record, group in zip(runs.records, _groups(runs), strict=True)
    ]


def _ending_json(record: RunRecord) -> dict[str, Any]:
    """Whether the run has ended (null: nothing says so), its plan, and what says so."""
    ending = stored(record.final, record.mapped)
    return {
        "ended": ending.ended,
        "planned_steps": ending.planned,
        "done": ending.done,
        "ended_by": ending.origin,
    }


def _share_done(record: RunRecord) -> str:
    """How much of its plan a run has done, in a cell."""
    ending = stored(record.final, record.mapped)
    if ending.ended is None:
        return UNKNOWN
    if ending.origin == BY_PLAN and ending.done is not None:
        return percent(1.0 if ending.ended else ending.done, 0)
    return "-" if ending.ended else "not all"


def _groups(runs: Runs) -> list[str]:
    """Each run's group: the one that its logger gave, else what the mapping groups by."""
    mapped = {
        row: ", ".join(str(value) for value in group.values())
        for group, rows in runs.table.parted(runs.table.by)
        for row in rows.tolist()
    }
    return [record.group or mapped[row] for row, record in enumerate(runs.records)]


def verified_table(verified: Verified) -> Listing:
    names = ("commits", "segments", "runs", "points", "fits")
    rows = tuple((name, f"{getattr(verified, name):,}") for name in names)
    state = counted(len(verified.problems), "problem") if verified.problems else "whole"
    left = [Note.of("unnamed_file", f"no commit names {name}") for name in verified.unnamed]
    lines = (*verified.problems, *left)
    return Listing(f"{verified.store}: {state}", ("what", "count"), rows, lines=lines)


def configuration_table(checked: Configuration) -> Listing:
    """What the commands would go by, and every fault of it."""
    state = counted(len(checked.problems), "problem") if checked.problems else "in order"
    faults = (f"{item.where}: {item.what.rstrip('.')}. {item.mend}" for item in checked.problems)
    heads = ("setting", "value", "from")
    return Listing(
        f"Configuration: {state}",
        heads,
        checked.settings,
        left=3,
        lines=(*faults, *checked.remarks),
    )


def compacted_table(done: Compacted) -> Listing:
    rows = (
        ("segments before", f"{done.segments_before:,}"),
        ("segments after", f"{done.segments_after:,}"),
        ("files removed", f"{done.files_removed:,}"),
        ("bytes removed", f"{done.bytes_removed:,}"),
    )
    return Listing(f"Compacted {done.store}", ("what", "count"), rows)


def exported_table(path: str, shape: str, rows: int) -> Listing:
    none = ("These runs hold no such points: `shape=runs` writes final values and configs.",)
    return Listing(
        f"Exported to {path}",
        ("shape", "rows"),
        ((shape, f"{rows:,}"),),
        lines=() if rows or shape == "runs" else none,
    )


def groups_table(rows: Table, by: Sequence[str]) -> Listing:
    """One line a group: how many runs, and the range of what they span."""
    lines = []
    for group, members in rows.groups(by):
        cells = []
        for name, shape in RANGES:
            values = [v for v in members.columns.get(name, ()) if v == v]
            cells.append(span(min(values), max(values), shape) if values else "-")
        lines.append((group_name(group), str(len(members)), *cells))
    headers = (", ".join(by) or "group", "runs", *(name for name, _ in RANGES))
    title = f"{counted(len(rows), 'run')} in {counted(len(lines), 'group')}"
    return Listing(title, headers, tuple(lines))


def largest_runs_table(runs: Runs) -> Listing:
    """The runs, those of the most compute first; of many the first MOST_RUNS."""
    import numpy as np

    listing = runs_table(runs.sorted_by("-flops").take(np.arange(min(len(runs), MOST_RUNS))))
    if len(runs) <= MOST_RUNS:
        return listing
    return replace(listing, title=f"The {MOST_RUNS} largest of {counted(len(runs), 'run')}")


def runs_table(runs: Runs) -> Listing:
    lines = tuple(
        (
            record.name or record.run_id,
            group,
            judged(record.final.get(ENDED), record.status),
            count(record.final.get("steps")),
            _share_done(record),
            *(shape(record.final.get(name)) for name, shape in RANGES),
        )
        for record, group in zip(runs.records, _groups(runs), strict=True)
    )
    headers = ("run", "group", "status", "steps", "of plan", *(name for name, _ in RANGES))
    unknown = any(line[4] == UNKNOWN for line in lines)
    footnote = (f"{UNKNOWN} nothing says whether the run has ended; its last point counts",)
    return Listing(
        counted(len(runs), "run"), headers, lines, left=3, lines=footnote if unknown else ()
    )
