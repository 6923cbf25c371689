"""What an ingest read, or would read, as tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from scaling_cli.quantities import counted
from scaling_cli.report.listing import Listing

if TYPE_CHECKING:
    from scaling_cli.ingest import Preview
    from scaling_cli.outcome import Ingest

_PREVIEWED, _NAMES = 20, 8  # runs, and names of each, of a dry run
LISTED = 12  # names of further metrics
HOW = {
    "params": '[columns] params = "config.KEY", or an expression; `meta=TABLE` brings them',
    "tokens": '[columns] tokens = "NAME", or "step * config.KEY", says them',
}


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
