"""`scalefit crossing`"""

from __future__ import annotations

from typing import Annotated

import typer

from scaling_cli.cli.common import (
    DEFAULT_STORE,
    ConfigOption,
    FirstRecipe,
    FitOption,
    JsonOption,
    LawOption,
    RatioOption,
    SecondRecipe,
    StoreOption,
    TargetOption,
    answer,
    command,
    positive,
)


@command
def crossing(
    first: FirstRecipe,
    second: SecondRecipe,
    along: Annotated[
        str, typer.Option("--along", help="Column along which they meet.", metavar="COLUMN")
    ] = "flops",
    tokens_per_param: RatioOption = None,
    reach: Annotated[
        float, typer.Option("--reach", help="Decades past the runs to look.", metavar="DECADES")
    ] = 2.0,
    law: LawOption = None,
    fit: FitOption = None,
    y: TargetOption = None,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find where the curves of two recipes meet.

    With an interval from the resamples of both, and the share of them that cross at all.

    Example: scalefit crossing baseline rotary
    """
    from scaling_cli.planning.contrasts import crossing as cross
    from scaling_cli.project import open_project
    from scaling_cli.report.origins import origins_json, with_origin
    from scaling_cli.report.plans import crossing_table

    project = open_project(store, config)
    ratio = positive(tokens_per_param, "--tokens-per-param")
    one, other = (project.saved.of_group(name, law, y, fit) for name in (first, second))
    crossings = cross(one, other, along, ratio, reach)
    document = {"crossing": crossings.to_json(), "origin": origins_json([one, other])}
    answer(as_json, document, lambda: with_origin([crossing_table(crossings)], [one, other]))
