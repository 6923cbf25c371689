"""`scalefit recipes`"""

from __future__ import annotations

from typing import Annotated

import typer

from scaling_cli.cli.common import (
    DEFAULT_STORE,
    ConfigOption,
    FigureOption,
    FitLevelOption,
    FitOption,
    JsonOption,
    LawOption,
    RatioOption,
    StoreOption,
    TargetOption,
    answer,
    check_figure,
    check_level,
    command,
    draw,
    positive,
    positives,
)


@command
def recipes(
    budgets: Annotated[
        list[str],
        typer.Option("--budgets", "--budget", help="Compute in FLOPs.", metavar="C,..."),
    ],
    baseline: Annotated[
        str | None,
        typer.Option(help="The recipe whose compute the others are counted in.", metavar="NAME"),
    ] = None,
    tokens_per_param: RatioOption = None,
    fit: FitOption = None,
    law: LawOption = None,
    y: TargetOption = None,
    level: FitLevelOption = None,
    output: FigureOption = None,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare all recipes at budgets: which is the best, and how sure that is.

    Each is one group of the newest fits, at the best split by its own.

    Example: scalefit recipes --budgets 1e14,1e15
    """
    from scaling_cli.planning.recipes import side_by_side
    from scaling_cli.project import open_project
    from scaling_cli.report.answers import recipes_figure
    from scaling_cli.report.memos import recipes_tables
    from scaling_cli.report.origins import origins_json, with_origin

    check_level(level)
    check_figure(output)
    flops = positives(budgets, "--budgets")
    ratio = positive(tokens_per_param, "--tokens-per-param")
    saved = open_project(store, config).saved.answering(fit, law, y)
    fits = [item.at_level(level) for item in saved]
    standings = side_by_side(fits, flops, baseline, ratio)
    document = standings.to_json() | {"origin": origins_json(fits)}
    draw(as_json, output, lambda: recipes_figure(standings))
    answer(as_json, document, lambda: with_origin(recipes_tables(standings), fits))
