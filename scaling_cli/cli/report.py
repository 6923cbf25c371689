"""`scalefit report`"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from scaling_cli.drawing.figure import Figure
    from scaling_cli.fitting.result import Fit
    from scaling_cli.report.listing import Listing

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
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            help="Send it as a run: wandb:ENTITY/PROJECT or mlflow:URI#EXPERIMENT.",
            metavar="SERVICE",
        ),
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
    from scaling_cli.publishing.publication import check_target
    from scaling_cli.quantities import parse_positive
    from scaling_cli.report.document import (
        TITLE,
        figures_of,
        page_tables,
        report_json,
        report_tables,
    )
    from scaling_cli.report.summary import summary
    from scaling_cli.surroundings import surroundings

    if output and Path(output).suffix not in FORMATS:
        raise InputError(
            f"--output {output}: a report is written as {', '.join(FORMATS)}",
            "Name the file report.md.",
        )
    check_folder(output)
    if to:
        check_target(to)
    if figures:
        check_figure(f"figure.{kind}", "--figure-kind")
    project = open_project(store, config)
    fits = project.saved.named(fit) if fit else project.saved.newest(law, y)
    budgets = [parse_positive(text, "--budget") for text in many(budget or [])]
    planned = [item for item in fits if item.law.splits]
    budgets = budgets or budget_ladder(planned)
    allocations = splits_by_fits(planned, budgets, None, FREE)
    runs, beside = project.runs(), surroundings(project, fits, budgets)
    document = report_json(runs, fits, allocations, beside)
    tables = partial(report_tables, runs, fits, allocations)
    drawn = cache(partial(figures_of, runs, fits, allocations, beside))
    on_page = partial(page_tables, runs, fits, beside)
    words = partial(summary, fits, allocations, beside.recipes)
    written = _Written(document, fits, words, tables, drawn, on_page)
    if figures:
        write_figures(figures, kind, style, drawn())
    if output:
        text = written.text(Path(output).suffix)
        if output.endswith(".md"):
            text += figures_beside(output, style, drawn)
        write_text(output, text)
        say(f"Wrote {output}")
    if to:
        say(f"The report is at {written.publish(to)}")
    add_to_job_summary(TITLE, tables())
    if (output or figures or to) and not as_json:
        return
    answer(as_json, document, tables)


def write_figures(folder: str, kind: str, style: str | None, figures: Sequence[Figure]) -> None:
    """Each figure as a file of this kind."""
    make_folder(folder, "--figures")
    for figure in figures:
        write_figure(str(Path(folder) / f"{figure.name}.{kind}"), figure, style)
    say(f"Wrote {len(figures)} figures into {folder}")


def figures_beside(output: str, style: str | None, figures: Callable[[], list[Figure]]) -> str:
    """The figures in a folder beside a document of Markdown, and the text that shows them; nothing
    where matplotlib, which draws them, is not installed."""
    from importlib.util import find_spec

    from scaling_cli.report.render import figures_markdown

    if find_spec("matplotlib") is None:
        return ""
    folder = Path(output).with_suffix("").name + "-figures"
    write_figures(str(Path(output).parent / folder), "svg", style, figures())
    return "\n" + figures_markdown(figures(), folder)


@dataclass(frozen=True)
class _Written:
    """The parts of a report, and what is made of them when it is asked for."""

    document: dict[str, Any]
    fits: Sequence[Fit]
    words: Callable[[], list[str]]
    tables: Callable[[], list[Listing]]
    figures: Callable[[], list[Figure]]
    on_page: Callable[[list[Listing]], list[Listing]]

    def text(self, suffix: str) -> str:
        """A file of this suffix."""
        from scaling_cli.report.document import rendered

        if suffix == ".json":
            return json_text(self.document, 2) + "\n"
        if suffix == ".html":
            return self.page()
        return rendered(suffix, map(listing_as_flags, self.tables()))

    def page(self) -> str:
        from scaling_cli.report.document import TITLE
        from scaling_cli.report.folding import fold
        from scaling_cli.report.page import to_page

        tables = fold(list(map(listing_as_flags, self.on_page(self.tables()))))
        return to_page(TITLE, self.summary(), self.figures(), tables)

    def summary(self) -> list[str]:
        return list(map(as_flags, self.words()))

    def publish(self, target: str) -> str:
        from scaling_cli.publishing.publication import Publication, publish
        from scaling_cli.report.document import TITLE

        parts = (self.page(), self.text(".json"), self.figures())
        tables = list(map(listing_as_flags, self.tables()))
        ids = list(dict.fromkeys(fit.fit_id for fit in self.fits))
        return publish(target, Publication(TITLE, " ".join(self.summary()), *parts, tables, ids))
