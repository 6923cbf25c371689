"""`scalefit slope`"""

from __future__ import annotations

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
)


@command
def slope(
    recipes: Annotated[
        list[str], typer.Argument(help="One recipe, or two to compare.", metavar="A [B]")
    ],
    theory: Annotated[
        float | None,
        typer.Option("--theory", help="An exponent to test, e.g. 1.", metavar="VALUE"),
    ] = None,
    law: LawOption = None,
    fit: FitOption = None,
    y: TargetOption = None,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show exponents, their ratio between two recipes, and how they agree with a theory.

    Of two recipes also which has the lower loss at endless compute, and how sure that is.
    Variance-limited scaling has exponent 1, resolution-limited 4 / dimension (Bahri et al. 2021).

    Example: scalefit slope baseline rotary
    """
    from scaling_cli.errors import InputError
    from scaling_cli.planning.contrasts import asymptotes, slope_ratios, slopes
    from scaling_cli.project import open_project
    from scaling_cli.report.origins import origins_json, with_origin
    from scaling_cli.report.plans import asymptotes_table, slopes_table

    if len(recipes) > 2:
        raise InputError(f"{len(recipes)} recipes are given", "Give one, or two to compare.")
    project = open_project(store, config)
    fits = [project.saved.of_group(name, law, y, fit) for name in recipes]
    exponents = [item for one in fits for item in slopes(one, theory)]
    ratios = slope_ratios(*fits) if len(fits) == 2 else []
    floors = asymptotes(*fits) if len(fits) == 2 else None
    document = {
        "slopes": [item.to_json() for item in exponents],
        "ratios": [item.to_json() for item in ratios],
        "asymptotes": floors.to_json() if floors else None,
        "origin": origins_json(fits),
    }
    tables = [slopes_table(part) for part in (exponents, ratios) if part]
    tables += [asymptotes_table(floors)] if floors else []
    answer(as_json, document, lambda: with_origin(tables, fits))
