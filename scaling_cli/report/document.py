"""The report: the runs, the fits, what they say of runs they have not seen, and the splits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from scaling_cli.report.checks import tables as checks_tables
from scaling_cli.report.fits import fit_table, holdout_table
from scaling_cli.report.listing import Listing
from scaling_cli.report.memos import recipes_tables
from scaling_cli.report.origins import origins_json, with_origin
from scaling_cli.report.plans import allocation_tables
from scaling_cli.report.stores import groups_table, largest_runs_table, runs_json
from scaling_cli.report.summary import meanings_table, part_compared, reproduction_table

if TYPE_CHECKING:
    from scaling_cli.drawing.figure import Figure
    from scaling_cli.fitting.result import Fit
    from scaling_cli.observe import Runs
    from scaling_cli.planning.splits import Allocation
    from scaling_cli.surroundings import Surroundings

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
    runs: Runs,
    fits: Sequence[Fit],
    allocations: Sequence[Allocation],
    beside: Surroundings | None = None,
) -> dict[str, Any]:
    return {
        "runs": runs_json(runs),
        "fits": [item.to_json() for item in fits],
        "allocations": [item.to_json() for item in allocations],
        **(beside.to_json() if beside else {}),
        "origin": origins_json(fits),
    }


def page_tables(
    runs: Runs, fits: Sequence[Fit], beside: Surroundings, tables: Sequence[Listing]
) -> list[Listing]:
    """The tables of a report, and what a page adds: recipes, checks, runs, what warnings mean, how
    to make it again."""
    further: list[Listing] = []
    groups = len({repr(item.group) for item in fits})
    if beside.recipes:
        compared = recipes_tables(beside.recipes)
        part = part_compared(beside.recipes, groups)
        lines = (*compared[-1].lines, *([part] if part else []))
        further += [*compared[:-1], replace(compared[-1], lines=lines)]
    if beside.checks is None:
        further.append(
            Listing(
                "Checks", (), (), lines=("Not made of so many runs; `scalefit check` makes them.",)
            )
        )
    else:
        further += checks_tables(beside.checks)
    meanings = meanings_table([*tables, *further])
    listed = largest_runs_table(runs)
    return [*tables, *further, listed, *([meanings] if meanings else []), reproduction_table(fits)]


def figures_of(
    runs: Runs,
    fits: Sequence[Fit],
    allocations: Sequence[Allocation],
    beside: Surroundings | None = None,
) -> list[Figure]:
    """Every figure of the report."""
    from scaling_cli.report.answers import recipes_figure
    from scaling_cli.report.figures import curves_figure, forecast_figures, report_figures

    made = report_figures(runs.table, fits, allocations)
    if beside is None:
        return made
    compared = recipes_figure(beside.recipes) if beside.recipes else None
    if compared and beside.recipes:
        part = part_compared(beside.recipes, len({repr(item.group) for item in fits}))
        compared = replace(compared, caption=f"{compared.caption} {part}".strip())
    further = [
        compared,
        curves_figure(beside.curves),
        *forecast_figures(beside.forecasts),
    ]
    return [*made, *(figure for figure in further if figure)]


def rendered(suffix: str, tables: Iterable[Listing]) -> str:
    """The tables of the report as a file of this suffix holds them."""
    from scaling_cli.report import render

    parts = list(tables)
    if suffix == ".md":
        return render.to_markdown(TITLE, parts)
    return render.FORMATS[{".tex": "latex", ".csv": "csv"}[suffix]](parts) + "\n"
