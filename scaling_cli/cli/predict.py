"""`scalefit predict`"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

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
    assignments,
    check_figure,
    check_level,
    command,
    draw,
    many,
    one_of,
    positive,
    positives,
)
from scaling_cli.cli.limits import SequenceOption
from scaling_cli.errors import InputError

if TYPE_CHECKING:
    from scaling_cli.drawing.figure import Figure
    from scaling_cli.fitting.result import Fit, Prediction
    from scaling_cli.planning.inverse import Solution
    from scaling_cli.planning.points import Grid


@command
def predict(
    params: Annotated[
        list[str] | None,
        typer.Option("--params", help="Parameters, e.g. 300M,7B.", metavar="N,..."),
    ] = None,
    tokens: Annotated[
        list[str] | None,
        typer.Option("--tokens", help="Training tokens, e.g. 2T.", metavar="D,..."),
    ] = None,
    flops: Annotated[
        list[str] | None,
        typer.Option(
            "--flops", help="Compute; at its best split, or with --params.", metavar="C,..."
        ),
    ] = None,
    scale: Annotated[
        list[str] | None,
        typer.Option(help="Compute as a multiple of the largest run's.", metavar="K,..."),
    ] = None,
    tokens_per_param: RatioOption = None,
    sequence: SequenceOption = None,
    quantiles: Annotated[
        list[str] | None,
        typer.Option(help="Quantiles of a new run, e.g. 0.05,0.5,0.95.", metavar="Q,..."),
    ] = None,
    at: Annotated[
        list[str] | None, typer.Option("--at", help="Another variable.", metavar="VAR=VALUE")
    ] = None,
    solve: Annotated[
        str | None,
        typer.Option("--solve", help="The variable to find, with --loss.", metavar="VAR"),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option("--loss", help="Loss or score at which --solve is sought.", metavar="VALUE"),
    ] = None,
    fit: FitOption = None,
    law: LawOption = None,
    y: TargetOption = None,
    published: PublishedOption = None,
    level: FitLevelOption = None,
    output: FigureOption = None,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Predict the loss of runs.

    With the interval for one new run, and how far it lies from the fitted ones. Several params and
    tokens give every pair of them.

    Example: scalefit predict --params 7B --tokens 2T --published epoch2024

    Example: scalefit predict --flops 1e23,1e24 --published epoch2024

    With --solve and --loss the other way round: which params, tokens, compute or samples give it.

    Example: scalefit predict --solve params --loss 2.1 --tokens 1T --published epoch2024
    """
    from scaling_cli.laws import get_published
    from scaling_cli.planning.points import Grid
    from scaling_cli.quantities import parse_multiple
    from scaling_cli.report.fits import predictions_table
    from scaling_cli.report.origins import origins_json, with_origin

    check_level(level)
    check_figure(output)
    one_of(solve=solve, output=output)
    one_of(flops=flops, scale=scale)
    one_of(scale=scale, published=published)
    one_of(fit=fit, law=law, published=published)
    one_of(fit=fit, y=y, published=published)
    one_of(level=level, published=published)
    one_of(quantiles=quantiles, published=published)
    if (solve is None) != (loss is None):
        raise InputError("--solve and --loss go together", "Write --solve params --loss 2.1.")
    shares = [_share(text) for text in many(quantiles or [])]
    if quantiles is not None and not shares:
        raise InputError("--quantiles is empty", "Give shares, as 0.05,0.5,0.95.")
    times = [parse_multiple(text, "--scale") for text in many(scale or [])]
    grid = Grid(
        positives(params, "--params"),
        positives(tokens, "--tokens"),
        positives(flops, "--flops"),
        positive(tokens_per_param, "--tokens-per-param"),
        assignments(at or [], "--at"),
        positive(sequence, "--sequence"),
    )
    fits: list[Fit] = []
    if published and solve is not None and loss is not None:
        from scaling_cli.planning.inverse import solve_published

        _solved([partial(solve_published, *get_published(published))], solve, loss, grid, as_json)
        return
    if published:
        predictions = grid.of_published(*get_published(published))
    else:
        from scaling_cli.planning.memo import scaled
        from scaling_cli.project import open_project

        saved = open_project(store, config).saved.answering(fit, law, y)
        fits = [item.at_level(level) for item in saved]
        if solve is not None and loss is not None:
            from scaling_cli.planning.inverse import solve as solve_fit

            of_fits = [partial(solve_fit, item) for item in fits]
            _solved(of_fits, solve, loss, grid, as_json, fits)
            return
        predictions = [
            answered
            for item in fits
            for own in [replace(grid, flops=[scaled(item, each) for each in times] or grid.flops)]
            for answered in own.of_fit(item, shares)
        ]
    if output:  # not in every terminal: all runs are read for it, and an answer needs none
        draw(as_json, output, lambda: _figure(store, config, fits, predictions))
    document = {
        "predictions": [item.to_json() for item in predictions],
        "origin": origins_json(fits),
    }
    answer(as_json, document, lambda: with_origin([predictions_table(predictions)], fits))


def _figure(
    store: str, config: str | None, fits: Sequence[Fit], predictions: Sequence[Prediction]
) -> Figure | None:
    """The predictions among the runs of their fits; of a paper's coefficients alone."""
    from scaling_cli.project import open_project
    from scaling_cli.report.answers import predictions_figure

    rows = open_project(store, config).observations() if fits else None
    return predictions_figure(rows, fits, predictions)


def _solved(
    solvers: Sequence[Callable[[str, float, Mapping[str, float]], Solution]], variable: str,
    loss: str, grid: Grid, as_json: bool, fits: Sequence[Fit] = (),
) -> None:  # fmt: skip
    """The answer of --solve."""
    from scaling_cli.quantities import parse_quantity
    from scaling_cli.report.fits import solutions_table
    from scaling_cli.report.origins import origins_json, with_origin

    sizes = {"params": grid.params, "tokens": grid.tokens, "flops": grid.flops}
    if any(len(values) > 1 for values in sizes.values()):
        raise InputError("--solve takes one value of each variable", "Ask for one at a time.")
    given = {name: values[0] for name, values in sizes.items() if values}
    given |= dict(grid.further or {})
    wanted = parse_quantity(loss, "--loss")
    found = [of(variable, wanted, given) for of in solvers]
    document = {"solutions": [item.to_json() for item in found], "origin": origins_json(fits)}
    answer(as_json, document, lambda: with_origin([solutions_table(found)], fits))


def _share(text: str) -> float:
    """A quantile's share; no resamples say anything of the last half permille."""
    from scaling_cli.quantities import MAX_LEVEL, parse_quantity

    value, least = parse_quantity(text, "--quantiles"), 0.5 * (1 - MAX_LEVEL)
    if not least <= value <= 1 - least:
        raise InputError(f"--quantiles {text} is no share", f"Give {least:g} to {1 - least:g}.")
    return value
