"""What a store holds, and what was read into it or done to it, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from scaling_cli.ending import BY_PLAN, ENDED, judged, stored
from scaling_cli.notes import Note
from scaling_cli.quantities import count, counted, percent
from scaling_cli.report.listing import RANGES, Listing, group_name, span

if TYPE_CHECKING:
    from scaling_cli.ingest import Preview
    from scaling_cli.observe import Runs
    from scaling_cli.outcome import Ingest
    from scaling_cli.store import RunRecord
    from scaling_cli.store.upkeep import Compacted, Verified
    from scaling_cli.table import Table

_PREVIEWED, _NAMES = 20, 8  # runs, and names of each, of a dry run
UNKNOWN = "?"
LISTED = 12  # names of further metrics
HOW = {
    "params": '[columns] params = "config.KEY", or an expression; `meta=TABLE` brings them',
    "tokens": '[columns] tokens = "NAME", or "step * config.KEY", says them',
}


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


def ingest_tables(ingest: Ingest) -> list[Listing]:
    mapped = tuple(
        (column, origin, str(runs))
        for column, origins in ingest.mapped.items()
        for origin, runs in origins.items()
    )
    landed = tuple((name, str(getattr(ingest, name))) for name in ("new", "replaced", "unchanged"))
    return [
        Listing("What was read as what", ("column", "taken from", "runs"), mapped, left=2),
        Listing(
            f"{counted(ingest.runs, 'run')} into {ingest.store}",
            ("runs", "count"),
            landed,
            lines=tuple(_left_to_do(ingest)),
        ),
    ]


def _left_to_do(ingest: Ingest) -> Iterator[str]:
    """What was logged and is no column, and what a law would need and is not there."""
    if ingest.also_logged:
        shown = ", ".join(ingest.also_logged[:LISTED])
        more = len(ingest.also_logged) - LISTED
        yield f"also logged: {shown}" + (f" and {more} more" if more > 0 else "")
    for name, ids in ingest.missing.items():
        if len(ids) >= ingest.runs:
            yield f"no {name}: {HOW[name]}"
        else:
            named = ", ".join(ids[:3]) + (" ..." if ids[3:] else "")
            yield f"no {name} in {len(ids)} of {ingest.runs} runs ({named}): {HOW[name]}"


def preview_tables(preview: Preview) -> list[Listing]:
    runs = tuple(
        (
            run["run_id"],
            "-" if run["first_step"] is None else f"{run['first_step']} to {run['last_step']}",
            f"{run['points']:,}",
            ", ".join(run["metrics"][:_NAMES]) + ", ..." * (len(run["metrics"]) > _NAMES),
        )
        for run in preview.runs[:_PREVIEWED]
    )
    mapped = tuple(
        (column, origin, str(number))
        for column, origins in preview.mapped.items()
        for origin, number in origins.items()
    )
    lines = tuple((form, line) for form, found in preview.forms.values() for line in found)
    title = f"{counted(len(preview.runs), 'run')} would be read; nothing was written"
    tables = [Listing(title, ("run", "steps", "points", "names"), runs, left=4)]
    if lines:
        tables.append(Listing("First lines that match", ("form", "line"), lines, left=2))
    heads = ("column", "taken from", "runs")
    return [*tables, Listing("What would be read as what", heads, mapped, left=2)]


def verified_table(verified: Verified) -> Listing:
    names = ("commits", "segments", "runs", "points", "fits")
    rows = tuple((name, f"{getattr(verified, name):,}") for name in names)
    state = counted(len(verified.problems), "problem") if verified.problems else "whole"
    left = [Note.of("unnamed_file", f"no commit names {name}") for name in verified.unnamed]
    lines = (*verified.problems, *left)
    return Listing(f"{verified.store}: {state}", ("what", "count"), rows, lines=lines)


def compacted_table(done: Compacted) -> Listing:
    rows = (
        ("segments before", f"{done.segments_before:,}"),
        ("segments after", f"{done.segments_after:,}"),
        ("files removed", f"{done.files_removed:,}"),
        ("bytes removed", f"{done.bytes_removed:,}"),
    )
    return Listing(f"Compacted {done.store}", ("what", "count"), rows)


def exported_table(path: str, shape: str, rows: int) -> Listing:
    return Listing(f"Exported to {path}", ("shape", "rows"), ((shape, f"{rows:,}"),))


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
