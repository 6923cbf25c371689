"""The report: the runs, the fits, what they say of runs they have not seen, and the splits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from scaling_cli.report.fits import fit_table, holdout_table
from scaling_cli.report.listing import Listing
from scaling_cli.report.origins import origins_json, with_origin
from scaling_cli.report.plans import allocation_tables
from scaling_cli.report.stores import groups_table, runs_json

if TYPE_CHECKING:
    from scaling_cli.fitting.result import Fit
    from scaling_cli.observe import Runs
    from scaling_cli.planning.splits import Allocation

TITLE = "Scaling report"


def report_tables(
    runs: Runs, fits: Sequence[Fit], allocations: Sequence[Allocation]
) -> list[Listing]:
    by = list(dict.fromkeys(key for item in fits for key in item.group))
    parts = [groups_table(runs.table, by)]
    parts += [fit_table(item) for item in fits]
    if any(item.holdout_rows for item in fits):
        parts.append(holdout_table(fits))
    if allocations:
        parts += allocation_tables(allocations)
    return with_origin(parts, fits)


def report_json(
    runs: Runs, fits: Sequence[Fit], allocations: Sequence[Allocation]
) -> dict[str, Any]:
    return {
        "runs": runs_json(runs),
        "fits": [item.to_json() for item in fits],
        "allocations": [item.to_json() for item in allocations],
        "origin": origins_json(fits),
    }


def rendered(suffix: str, tables: Iterable[Listing]) -> str:
    """The report as a file of this suffix holds it."""
    from scaling_cli.report import render

    parts = list(tables)
    if suffix == ".html":
        return render.to_html(TITLE, parts)
    if suffix == ".md":
        return render.to_markdown(TITLE, parts)
    return render.FORMATS[{".tex": "latex", ".csv": "csv"}[suffix]](parts) + "\n"
