"""`scalefit plan`"""

from __future__ import annotations

from dataclasses import replace
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


@command
def plan(
    budget: Annotated[str | None, typer.Option(help="Compute in FLOPs.", metavar="C")] = None,
    scale: Annotated[
        str | None,
        typer.Option(help="Compute as a multiple of the largest run's, e.g. 20x.", metavar="K"),
    ] = None,
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
    """Plan a training budget: the memo for whoever signs for it.

    The split and what it should give, how such forecasts went, the weakest link, and the run that
    would tell most before the money is spent.

    Example: scalefit plan --budget 1e24 --max-params 70e9 --published epoch2024
    """
    from scaling_cli.fitting.result import Fit
    from scaling_cli.planning.memo import memo_of_fit, memo_of_published, scaled
    from scaling_cli.planning.splits import published_for
    from scaling_cli.quantities import parse_multiple
    from scaling_cli.report.memos import memo_tables
    from scaling_cli.report.origins import origins_json, with_origin

    check_level(level)
    check_figure(output)
    one_of(budget=budget, scale=scale, gpu_hours=gpu_hours)
    one_of(scale=scale, published=published)
    if budget is None and scale is None and gpu_hours is None:
        raise InputError("no budget is given", "Give --budget C, --gpu-hours H, or --scale 20x.")
    one_of(fit=fit, law=law, published=published)
    one_of(fit=fit, y=y, published=published)
    one_of(level=level, published=published)
    one_of(sensitivity=sensitivity or None, published=published)
    trained_on = machine(store, config, published, device, mfu, devices, price, gpu_hours)
    flops = positive(budget, "--budget") or budget_of(trained_on, gpu_hours, inference_tokens)
    times = None if scale is None else parse_multiple(scale, "--scale")
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
    if published and flops is not None:
        chosen, entry = published_for(published, asked)
        memos = [memo_of_published(chosen, entry, flops, asked)]
    else:
        from scaling_cli.project import open_project

        saved = open_project(store, config).saved.answering(fit, law, y, splits=True)
        fits = [item.at_level(level) for item in saved]
        budgets = [flops or scaled(item, times or 1.0) for item in fits]
        memos = [memo_of_fit(item, each, asked) for item, each in zip(fits, budgets, strict=True)]
    if all(item.split.params is None for item in memos):
        reasons = dict.fromkeys(note.message for item in memos for note in item.notes)
        raise InputError(f"no split: {' '.join(reasons)}", memos[0].mend)
    memos = [item.trained_on(trained_on) for item in memos]
    if sensitivity:
        leans = sensitivities(store, config, fits, [item.split for item in memos])
        memos = [replace(item, lean=lean) for item, lean in zip(memos, leans, strict=True)]
    document = {
        "kind": "plan",
        "plans": [item.to_json() for item in memos],
        "origin": origins_json(fits),
    }
    splits = [item.split for item in memos]
    draw(as_json, output, lambda: split_figure(store, config, published, fits, splits, asked))
    answer(as_json, document, lambda: with_origin(memo_tables(memos), fits))
