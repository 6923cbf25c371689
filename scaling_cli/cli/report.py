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
    add_to_job_summary,
    answer,
    check_figure,
    check_folder,
    command,
    json_text,
    make_folder,
    many,
    say,
    write_figure,
    write_text,
)
from scaling_cli.cli.flags import as_flags, listing_as_flags
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
    figures: Annotated[
        str | None,
        typer.Option("--figures", help="Write each figure into this folder.", metavar="DIR"),
    ] = None,
    kind: Annotated[
        str, typer.Option("--figure-kind", help="svg, pdf or png.", metavar="KIND")
    ] = "svg",
    style: Annotated[
        str | None,
        typer.Option("--style", help="A style file of matplotlib for them.", metavar="FILE"),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Report on the newest fits.

    Runs, parameters with intervals, held-out errors, splits of larger budgets; as .html a page
    with figures that needs nothing beside it.

    Example: scalefit report -o report.html
    """
    from scaling_cli.planning.budget import FREE
    from scaling_cli.planning.target import splits_by_fits
    from scaling_cli.project import budget_ladder, open_project
    from scaling_cli.quantities import parse_positive
    from scaling_cli.report.document import (
        TITLE,
        figures_of,
        page_tables,
        rendered,
        report_json,
        report_tables,
    )
    from scaling_cli.report.page import to_page
    from scaling_cli.report.summary import summary

    if output and Path(output).suffix not in FORMATS:
        raise InputError(
            f"--output {output}: a report is written as {', '.join(FORMATS)}",
            "Name the file report.md.",
        )
    check_folder(output)
    project = open_project(store, config)
    fits = project.saved.named(fit) if fit else project.saved.newest(law, y)
    budgets = [parse_positive(text, "--budget") for text in many(budget or [])]
    planned = [item for item in fits if item.law.splits]
    allocations = splits_by_fits(planned, budgets or budget_ladder(planned), None, FREE)
    runs = project.runs()
    document = report_json(runs, fits, allocations)
    tables = partial(report_tables, runs, fits, allocations)
    if figures:
        check_figure(f"figure.{kind}", "--figure-kind")
        made = figures_of(runs, fits, allocations, project.largest_curves())
        make_folder(figures, "--figures")
        for figure in made:
            write_figure(str(Path(figures) / f"{figure.name}.{kind}"), figure, style)
        say(f"Wrote {len(made)} figures into {figures}")
    if output:
        if output.endswith(".json"):
            text = json_text(document, 2) + "\n"
        elif output.endswith(".html"):
            text = to_page(
                TITLE,
                list(map(as_flags, summary(fits, allocations))),
                figures_of(runs, fits, allocations, project.largest_curves()),
                map(listing_as_flags, page_tables(tables(), fits)),
            )
        else:
            text = rendered(Path(output).suffix, map(listing_as_flags, tables()))
        write_text(output, text)
        say(f"Wrote {output}")
    add_to_job_summary(TITLE, tables())
    if (output or figures) and not as_json:
        return
    answer(as_json, document, tables)
