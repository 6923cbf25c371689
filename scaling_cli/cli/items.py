"""`scalefit items`"""

from __future__ import annotations

from typing import Annotated

import typer

from scaling_cli.cli.common import (
    DEFAULT_STORE,
    ConfigOption,
    JsonOption,
    StoreOption,
    WhereOption,
    answer,
    command,
)


@command
def items(
    flops: Annotated[
        list[str], typer.Option("--flops", help="Compute to predict at, e.g. 1e24.", metavar="C")
    ],
    where: WhereOption = None,
    radius: Annotated[
        float, typer.Option(help="How alike the pass rates of a cluster are.", min=0.01, max=1.0)
    ] = 0.08,
    bootstrap: Annotated[
        int, typer.Option("--bootstrap", help="Resamples for the intervals.", min=20)
    ] = 200,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Predict the score of a test set from the items of it that scale alike.

    Columns item.NAME hold the share of tries at each item that a run passed. Items of like
    difficulty are clustered, clusters that rise are carried on by law cod, and what they reach says
    what all items do (Clustering-On-Difficulty, Xu et al. 2025).

    Example: scalefit items --flops 1e22
    """
    from scaling_cli.errors import InputError
    from scaling_cli.fitting.items import PREFIX, fit_items, items_of
    from scaling_cli.fitting.problem import FitOptions
    from scaling_cli.project import open_project
    from scaling_cli.quantities import parse_positive
    from scaling_cli.report.items import items_tables

    budgets = [parse_positive(text, "--flops") for text in flops]
    rows = open_project(store, config).observations(where)
    names = sorted(name for name in rows.columns if name.startswith(PREFIX))
    if not names:
        raise InputError(
            f"no run has a column {PREFIX}NAME",
            f'Map them, as in [columns] {PREFIX}q1 = "scores/q1", or name the columns of a table'
            " so.",
        )
    options = FitOptions(resamples=bootstrap)
    found = fit_items(*items_of(rows, names), radius, options)
    forecasts = [found.at(budget, options.level) for budget in budgets]
    document = {
        "forecasts": [item.to_json() for item in forecasts],
        "clusters": [item.to_json() for item in found.clusters],
        "items": len(names),
        "alone": found.alone,
        "mapping_error": found.missed,
    }
    answer(as_json, document, lambda: items_tables(found, forecasts, len(names)))
