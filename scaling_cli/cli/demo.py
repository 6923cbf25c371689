"""`scalefit demo`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scaling_cli.cli.common import JsonOption, answer, command, for_people, put, say_notes, show
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
    """Go the whole way on the shipped training runs.

    Ingest, fit, predict runs that no fit has seen, and split larger budgets.

    Example: scalefit demo
    """
    import tempfile

    with tempfile.TemporaryDirectory(prefix="scalefit-demo-") as folder:
        _demo(store or str(Path(folder) / "store"), as_json)


def _demo(store: str, as_json: bool) -> None:
    from scaling_cli.fitting.result import FailedFit
    from scaling_cli.planning.budget import FREE
    from scaling_cli.planning.target import splits_by_fits
    from scaling_cli.project import budget_ladder, open_project
    from scaling_cli.report.document import report_json, report_tables
    from scaling_cli.report.ingests import ingest_tables

    samples = sample_runs()
    project = open_project(store, samples / "scalefit.toml")

    def step(shown: str, why: str) -> None:
        if for_people(as_json):
            put(f"$ scalefit {shown}\n{why}\n")

    step("ingest sample_runs", "Two recipes of small transformers, recorded by four loggers.")
    done = project.ingest([str(samples)])
    if for_people(as_json):
        say_notes(done.notes)
        show(ingest_tables(done))

    step(
        f'fit --law auto,chinchilla,skaling --by recipe --where "{LADDER}" --holdout "{HOLDOUT}"',
        "The large target runs are kept out of the fits; the report shows how well each law"
        " predicts them.",
    )
    results = project.fit(["auto", "chinchilla", "skaling"], ["recipe"], LADDER, HOLDOUT, save=True)
    fits = [item for item in results if not isinstance(item, FailedFit)]

    step("report", "What the ladder says, with intervals, and how to spend larger budgets.")
    runs = project.runs()
    allocations = splits_by_fits(fits, budget_ladder(fits), None, FREE)
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
