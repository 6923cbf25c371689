"""`scalefit compare`"""

from __future__ import annotations

from typing import Annotated

import typer

from scaling_cli.cli import completion
from scaling_cli.cli.common import (
    DEFAULT_PRIOR,
    DEFAULT_STORE,
    DEFAULT_WORKERS,
    ByOption,
    ConfigOption,
    FigureOption,
    JsonOption,
    OnceOption,
    PriorOption,
    StoreOption,
    WhereOption,
    WorkersOption,
    answer,
    check_figure,
    command,
    draw,
    names,
)


@command
def compare(
    laws: Annotated[
        str | None,
        typer.Option(
            "--laws",
            help="Laws to compare; without, auto and all that fit.",
            metavar="LAW,...",
            autocompletion=completion.laws,
        ),
    ] = None,
    by: ByOption = None,
    where: WhereOption = None,
    holdout: Annotated[
        str | None,
        typer.Option("--holdout", help="Predict these runs alone: one fold.", metavar="EXPR"),
    ] = None,
    cut: Annotated[
        str | None,
        typer.Option("--cut", help="Cut by this column; that of --x, or flops.", metavar="COLUMN"),
    ] = None,
    x: Annotated[
        str | None, typer.Option("--x", help="Column of one-variable laws.", metavar="COLUMN")
    ] = None,
    y: Annotated[
        str | None,
        typer.Option("--y", "--metric", help="The target; the laws' own.", metavar="COLUMN"),
    ] = None,
    prior: PriorOption = DEFAULT_PRIOR,
    once: OnceOption = False,
    workers: WorkersOption = DEFAULT_WORKERS,
    output: FigureOption = None,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rank laws by how well they predict larger runs.

    Each law is fitted below a cut and scored on the runs above it, and the cut is moved. What is
    ranked is the held-out error; where the runs cannot separate two laws, that is said.

    Example: scalefit compare --laws auto,chinchilla,skaling --by recipe
    """
    from scaling_cli.fitting.backtest import RESAMPLES
    from scaling_cli.fitting.problem import FitOptions
    from scaling_cli.project import open_project
    from scaling_cli.report.answers import compared_figure
    from scaling_cli.report.fits import comparison_table

    check_figure(output)
    options = FitOptions(resamples=RESAMPLES, x=x, target=y, prior=prior)
    project = open_project(store, config)
    rankings = project.compare(names(laws), names(by), where, holdout, cut, options, once, workers)
    document = {"groups": [item.to_json() for item in rankings]}
    draw(as_json, output, lambda: compared_figure(rankings))
    answer(as_json, document, lambda: [comparison_table(item) for item in rankings])
