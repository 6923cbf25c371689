"""`scalefit demo`"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from scaling_cli.cli.common import JsonOption, answer, command, console, say_notes
from scaling_cli.errors import UnreachableError

LADDER = "split != 'schedule'"
HOLDOUT = "split == 'holdout'"


@command
def demo(
    store: Annotated[
        str | None, typer.Option("--store", help="Keep the store here.", metavar="PATH")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Ingest, fit, predict and plan on the real training runs that are shipped with scalefit.

    Example: scalefit demo
    """
    with tempfile.TemporaryDirectory(prefix="scalefit-demo-") as folder:
        _demo(store or str(Path(folder) / "store"), as_json)


def _demo(store: str, as_json: bool) -> None:
    from scaling_cli.fitting.result import FailedFit
    from scaling_cli.project import budget_ladder, open_project, optimal
    from scaling_cli.report.document import report_json, report_tables
    from scaling_cli.report.tables import ingest_tables

    samples = sample_runs()
    project = open_project(store, samples / "scalefit.toml")
    screen = console()

    def step(shown: str, why: str) -> None:
        if not as_json:
            screen.print(f"\n[bold]$ scalefit {shown}[/bold]\n{why}")

    step("ingest sample_runs", "Two recipes of small transformers, recorded by four loggers.")
    done = project.ingest([str(samples)])
    if not as_json:
        say_notes(done.notes)
        answer(False, {}, lambda: ingest_tables(done))

    step(
        f'fit --law chinchilla --law skaling --by recipe --where "{LADDER}" --holdout "{HOLDOUT}"',
        "The large target runs are kept out of the fits; the report shows how well each law"
        " foresaw them.",
    )
    results = project.fit(["chinchilla", "skaling"], ["recipe"], LADDER, HOLDOUT)
    fits = [item for item in results if not isinstance(item, FailedFit)]

    step("report", "What the ladder says, with intervals, and how to spend larger budgets.")
    runs = project.runs()
    allocations = optimal(fits, budget_ladder(fits))
    answer(
        as_json,
        report_json(runs, fits, allocations),
        lambda: report_tables(runs, fits, allocations),
    )


def sample_runs() -> Path:
    """The shipped runs: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "sample_runs", package.parent / "sample_runs"):
        if (folder / "scalefit.toml").is_file():
            return folder
    raise UnreachableError(
        "the shipped sample runs are not part of this installation",
        "Run `scalefit demo` in a checkout of scalefit.",
    )
