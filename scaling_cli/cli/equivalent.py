"""`scalefit equivalent`"""

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
    many,
    positive,
)


@command
def equivalent(
    first: FirstRecipe,
    second: SecondRecipe,
    flops: Annotated[
        list[str], typer.Option("--flops", help="Compute of the first.", metavar="C,...")
    ],
    tokens_per_param: RatioOption = None,
    law: LawOption = None,
    fit: FitOption = None,
    y: TargetOption = None,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how much compute one recipe is worth in the other's.

    The second needs so many times the compute for the loss that the first has.

    Example: scalefit equivalent rotary baseline --flops 1e14
    """
    from scaling_cli.planning.contrasts import equivalent as compare
    from scaling_cli.project import open_project
    from scaling_cli.quantities import parse_positive
    from scaling_cli.report.origins import origins_json, with_origin
    from scaling_cli.report.plans import equivalence_table

    project = open_project(store, config)
    ratio = positive(tokens_per_param, "--tokens-per-param")
    one, other = (project.saved.of_group(name, law, y, fit) for name in (first, second))
    equivalences = [
        compare(one, other, parse_positive(text, "--flops"), ratio) for text in many(flops)
    ]
    document = {
        "equivalences": [item.to_json() for item in equivalences],
        "origin": origins_json([one, other]),
    }
    answer(as_json, document, lambda: with_origin([equivalence_table(equivalences)], [one, other]))
