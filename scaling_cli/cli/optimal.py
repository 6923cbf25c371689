"""`scalefit optimal`"""

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
    PublishedOption,
    RatioOption,
    StoreOption,
    TargetOption,
    answer,
    check_figure,
    check_level,
    command,
    draw,
    one_of,
    positive,
    positives,
)
from scaling_cli.cli.figures import split_figure
from scaling_cli.cli.limits import (
    AtOption,
    DeviceOption,
    DevicesOption,
    GpuHoursOption,
    InferenceTokensOption,
    LimitOption,
    MaxParamsOption,
    MaxTokensOption,
    MfuOption,
    MinParamsOption,
    PriceOption,
    SensitivityOption,
    SequenceOption,
    ServedLengthOption,
    UniqueTokensOption,
    budget_of,
    constraints,
    machine,
    sensitivities,
)
from scaling_cli.errors import InputError
from scaling_cli.notes import mends


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
    served_length: ServedLengthOption = None,
    sequence: SequenceOption = None,
    target_loss: Annotated[
        str | None,
        typer.Option(help="Find the smallest budget that reaches it.", metavar="LOSS"),
    ] = None,
    at: AtOption = None,
    bound: LimitOption = None,
    gpu_hours: GpuHoursOption = None,
    device: DeviceOption = None,
    mfu: MfuOption = None,
    devices: DevicesOption = None,
    price: PriceOption = None,
    sensitivity: SensitivityOption = False,
    level: FitLevelOption = None,
    output: FigureOption = None,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Split compute between parameters and tokens.

    FLOPs are 6 params tokens, or what the runs say where they know better. A split that the runs
    cannot carry is refused.

    Example: scalefit optimal --budget 1e23 1e24 --published epoch2024

    Example: scalefit optimal --budget 1e24 --max-params 8e9 --published epoch2024

    Example: scalefit optimal --gpu-hours 1e6 --device H100 --mfu 0.4 --published epoch2024
    """
    from scaling_cli.fitting.result import Fit
    from scaling_cli.planning.target import splits_by_fits, splits_by_published
    from scaling_cli.report.origins import origins_json, with_origin
    from scaling_cli.report.plans import allocation_tables

    check_level(level)
    check_figure(output)
    budgets = positives([*(budget or []), *(more or [])], "--budget")
    one_of(budget=budgets or None, target_loss=target_loss, gpu_hours=gpu_hours)
    loss = positive(target_loss, "--target-loss")
    trained_on = machine(store, config, published, device, mfu, devices, price, gpu_hours)
    hours = budget_of(trained_on, gpu_hours, inference_tokens)
    budgets += [] if hours is None else [hours]
    if not budgets and loss is None:
        raise InputError("no budget is given", "Give --budget C, or --target-loss LOSS.")
    one_of(fit=fit, law=law, published=published)
    one_of(fit=fit, y=y, published=published)
    one_of(level=level, published=published)
    one_of(sensitivity=sensitivity or None, published=published)
    asked = constraints(
        tokens_per_param,
        max_params,
        min_params,
        max_tokens,
        unique_tokens,
        inference_tokens,
        at,
        bound,
        sequence,
        served_length,
    )
    fits: list[Fit] = []
    if published:
        splits = splits_by_published(published, budgets, loss, asked)
    else:
        from scaling_cli.project import open_project

        saved = open_project(store, config).saved.answering(fit, law, y, splits=True)
        fits = [item.at_level(level) for item in saved]
        splits = splits_by_fits(fits, budgets, loss, asked)
    if all(item.params is None for item in splits):
        reasons = dict.fromkeys(note for item in splits for note in item.notes)
        raise InputError(f"no split: {' '.join(note.message for note in reasons)}", mends(reasons))
    costs = [trained_on.cost(item.training_flops) if trained_on else None for item in splits]
    leans = sensitivities(store, config, fits, splits) if sensitivity else [None] * len(splits)
    document = {
        "allocations": [
            item.to_json()
            | ({"cost": cost.to_json()} if cost else {})
            | ({"sensitivity": lean.to_json()} if lean else {})
            for item, cost, lean in zip(splits, costs, leans, strict=True)
        ],
        "origin": origins_json(fits),
    }
    draw(as_json, output, lambda: split_figure(store, config, published, fits, splits, asked))
    answer(as_json, document, lambda: with_origin(allocation_tables(splits, costs, leans), fits))
