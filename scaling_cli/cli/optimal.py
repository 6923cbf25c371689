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
    TargetOption,
    answer,
    check_level,
    command,
    many,
    one_of,
)
from scaling_cli.cli.limits import (
    AtOption,
    InferenceTokensOption,
    MaxParamsOption,
    MaxTokensOption,
    MinParamsOption,
    UniqueTokensOption,
    constraints,
)
from scaling_cli.errors import InputError


@command
def optimal(
    budget: Annotated[
        list[str] | None, typer.Option("--budget", help="Compute in FLOPs.", metavar="C...")
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(help="Further budgets.", metavar="C")] = None,
    fit: FitOption = None,
    law: LawOption = None,
    y: TargetOption = None,
    published: PublishedOption = None,
    tokens_per_param: RatioOption = None,
    max_params: MaxParamsOption = None,
    min_params: MinParamsOption = None,
    max_tokens: MaxTokensOption = None,
    unique_tokens: UniqueTokensOption = None,
    inference_tokens: InferenceTokensOption = None,
    target_loss: Annotated[
        float | None,
        typer.Option(help="Find the smallest budget that reaches it.", metavar="LOSS"),
    ] = None,
    at: AtOption = None,
    level: FitLevelOption = None,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Split compute between parameters and tokens.

    FLOPs are 6 params tokens, or what the runs say where they know better. A split that the runs
    cannot carry is refused.

    Example: scalefit optimal --budget 1e23 1e24 --published epoch2024

    Example: scalefit optimal --budget 1e24 --max-params 8e9 --published epoch2024
    """
    from scaling_cli.fitting.result import Fit
    from scaling_cli.laws import get_published
    from scaling_cli.planning.splits import allocate_fit, allocate_published, with_repeats
    from scaling_cli.planning.target import budget_for_fit, budget_for_published
    from scaling_cli.quantities import parse_positive
    from scaling_cli.report.origins import origins_json, with_origin
    from scaling_cli.report.plans import allocation_tables

    check_level(level)
    budgets = [parse_positive(text, "--budget") for text in many([*(budget or []), *(more or [])])]
    one_of(budget=budgets or None, target_loss=target_loss)
    if not budgets and target_loss is None:
        raise InputError("no budget is given", "Give --budget C, or --target-loss LOSS.")
    one_of(fit=fit, law=law, published=published)
    one_of(fit=fit, y=y, published=published)
    one_of(level=level, published=published)
    asked = constraints(
        tokens_per_param, max_params, min_params, max_tokens, unique_tokens, inference_tokens, at
    )
    fits: list[Fit] = []
    if published:
        chosen, entry = get_published(published)
        if unique_tokens is not None:
            chosen, entry = with_repeats(chosen, entry)
        splits = (
            [allocate_published(chosen, entry, value, asked) for value in budgets]
            if target_loss is None
            else [budget_for_published(chosen, entry, target_loss, asked)]
        )
    else:
        from scaling_cli.project import open_project

        saved = open_project(store, config).saved.answering(fit, law, y, splits=True)
        fits = [item.at_level(level) for item in saved]
        splits = (
            [allocate_fit(item, value, asked) for item in fits for value in budgets]
            if target_loss is None
            else [budget_for_fit(item, target_loss, asked) for item in fits]
        )
    if all(item.params is None for item in splits):
        reasons = dict.fromkeys(note.message for item in splits for note in item.notes)
        raise InputError(f"no split can be recommended: {' '.join(reasons)}")
    document = {
        "allocations": [item.to_json() for item in splits],
        "origin": origins_json(fits),
    }
    answer(as_json, document, lambda: with_origin(allocation_tables(splits), fits))
