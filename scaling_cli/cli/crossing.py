"""`scalefit crossing`"""

from __future__ import annotations

from typing import Annotated

import typer

from scaling_cli.cli.common import (
    DEFAULT_STORE,
    ConfigOption,
    JsonOption,
    LawOption,
    RatioOption,
    StoreOption,
    answer,
    command,
)


@command
def crossing(
    first: Annotated[str, typer.Argument(help="A recipe: group, fit id or file.", metavar="A")],
    second: Annotated[str, typer.Argument(help="The other one.", metavar="B")],
    along: Annotated[
        str, typer.Option("--along", help="Column along which they meet.", metavar="COLUMN")
    ] = "flops",
    tokens_per_param: RatioOption = None,
    reach: Annotated[
        float, typer.Option("--reach", help="Decades past the runs to look.", metavar="DECADES")
    ] = 2.0,
    law: LawOption = None,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find where the curves of two recipes meet.

    With an interval from the resamples of both, and the share of them that cross at all.

    Example: scalefit crossing baseline rotary
    """
    from scaling_cli.contrasts import crossing as cross
    from scaling_cli.project import open_project
    from scaling_cli.quantities import parse_positive
    from scaling_cli.report.tables import crossing_table

    project = open_project(store, config)
    ratio = parse_positive(tokens_per_param, "--tokens-per-param") if tokens_per_param else None
    one, other = (project.recipe_fit(name, law) for name in (first, second))
    found = cross(one, other, along, ratio, reach)
    answer(as_json, {"crossing": found.to_json()}, lambda: [crossing_table(found)])
