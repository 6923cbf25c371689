"""`scalefit optimal`"""

from __future__ import annotations

from typing import Annotated

import typer

from scaling_cli.cli.common import (
    DEFAULT_STORE,
    ConfigOption,
    FitLevelOption,
    FitOption,
    JsonOption,
    LawOption,
    PublishedOption,
    RatioOption,
    StoreOption,
    answer,
    check_level,
    command,
    many,
    one_of,
    positive,
)
from scaling_cli.errors import InputError


@command
def optimal(
    budget: Annotated[
        list[str], typer.Option("--budget", help="Training compute in FLOPs.", metavar="C...")
    ],
    more: Annotated[list[str] | None, typer.Argument(help="Further budgets.", metavar="C")] = None,
    fit: FitOption = None,
    law: LawOption = None,
    published: PublishedOption = None,
    tokens_per_param: RatioOption = None,
    level: FitLevelOption = None,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Split compute between parameters and tokens.

    At FLOPs = 6 params tokens; a split that the runs cannot carry is refused.

    Example: scalefit optimal --budget 1e23 1e24 --published epoch2024
    """
    from scaling_cli.laws import get_published
    from scaling_cli.planning.splits import allocate_fit, allocate_published
    from scaling_cli.quantities import parse_positive
    from scaling_cli.report.plans import allocation_tables

    check_level(level)
    budgets = [parse_positive(text, "--budget") for text in many([*budget, *(more or [])])]
    ratio = positive(tokens_per_param, "--tokens-per-param")
    one_of(fit=fit, law=law, published=published)
    one_of(level=level, published=published)
    if published:
        chosen, entry = get_published(published)
        found = [allocate_published(chosen, entry, value, ratio) for value in budgets]
    else:
        from scaling_cli.project import open_project

        fits = [item.at_level(level) for item in open_project(store, config).forecasts(fit, law)]
        found = [allocate_fit(item, value, ratio) for item in fits for value in budgets]
    if all(item.params is None for item in found):
        reasons = dict.fromkeys(note.message for item in found for note in item.notes)
        raise InputError(f"no split can be recommended: {' '.join(reasons)}")
    document = {"allocations": [item.to_json() for item in found]}
    answer(as_json, document, lambda: allocation_tables(found))
