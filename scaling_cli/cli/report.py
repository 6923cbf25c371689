"""`scalefit report`"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from scaling_cli.cli.common import (
    DEFAULT_STORE,
    ConfigOption,
    FitOption,
    JsonOption,
    LawOption,
    StoreOption,
    TargetOption,
    answer,
    command,
    json_text,
    many,
    say,
    write_text,
)
from scaling_cli.cli.flags import listing_as_flags
from scaling_cli.errors import InputError

FORMATS = (".html", ".md", ".tex", ".csv", ".json")


@command
def report(
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", help="Write it here: .html, .md, .tex, .csv, .json.", metavar="FILE"
        ),
    ] = None,
    budget: Annotated[
        list[str] | None, typer.Option("--budget", help="Budgets to split.", metavar="C")
    ] = None,
    fit: FitOption = None,
    law: LawOption = None,
    y: TargetOption = None,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Report on the newest fits.

    Runs, parameters with intervals, held-out errors, splits of larger budgets.

    Example: scalefit report -o report.md
    """
    from scaling_cli.planning.budget import FREE
    from scaling_cli.planning.target import splits_by_fits
    from scaling_cli.project import budget_ladder, open_project
    from scaling_cli.quantities import parse_positive
    from scaling_cli.report.document import rendered, report_json, report_tables

    if output and Path(output).suffix not in FORMATS:
        raise InputError(
            f"--output {output}: a report is written as {', '.join(FORMATS)}",
            "Name the file report.md.",
        )
    project = open_project(store, config)
    fits = project.saved.named(fit) if fit else project.saved.newest(law, y)
    budgets = [parse_positive(text, "--budget") for text in many(budget or [])]
    planned = [item for item in fits if item.law.splits]
    allocations = splits_by_fits(planned, budgets or budget_ladder(planned), None, FREE)
    runs = project.runs()
    document = report_json(runs, fits, allocations)
    tables = partial(report_tables, runs, fits, allocations)
    if output:
        if output.endswith(".json"):
            text = json_text(document, 2) + "\n"
        else:
            text = rendered(Path(output).suffix, map(listing_as_flags, tables()))
        write_text(output, text)
        say(f"Wrote {output}")
        if not as_json:
            return
    answer(as_json, document, tables)
