"""The figure of one command's answer: what `-o FIGURE` writes, and a terminal shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from scaling_cli.compute import SIX_ND, Accounting
from scaling_cli.drawing.figure import PARAMS, TOKENS, Axis, Figure, Series
from scaling_cli.quantities import count, percent, share
from scaling_cli.report.figures import (
    FLOPS,
    MOST_GROUPS,
    STEPS,
    fitted_rows,
    loss_over_compute,
)
from scaling_cli.report.listing import group_name

if TYPE_CHECKING:
    from scaling_cli.fitting.backtest import Comparison
    from scaling_cli.fitting.result import Fit, Prediction
    from scaling_cli.planning.recipes import SideBySide
    from scaling_cli.planning.splits import Allocation
    from scaling_cli.table import Table
    from scaling_cli.training.plan import SchedulePlan

AXES = {"params": PARAMS, "tokens": TOKENS, "flops": FLOPS}
_SHARED = ("peak", "warmup", "total")
AROUND = 10.0  # times the budgets on either side, for coefficients that no runs stand beside


def fits_figure(table: Table, fits: Sequence[Fit]) -> Figure | None:
    """The runs and what was fitted to them: along compute, where of several laws the first of each
    group is drawn, or along a law's one variable."""
    surfaces = {repr(fit.group): fit for fit in reversed(fits) if _is_surface(fit)}
    if surfaces:
        return loss_over_compute(table, [*surfaces.values()][::-1][:MOST_GROUPS], ())
    lines = [fit for fit in fits if len(fit.law.variables) == 1]
    first = lines[0] if lines else None
    if first is None:
        return None
    column = _column(first)
    same = [fit for fit in lines if _column(fit) == column and fit.target == first.target]
    return Figure(
        "fits",
        f"{first.target.capitalize()} against {column}",
        "Each point is a run. The line is the fitted law, with the interval of a new run; beyond"
        " the largest run it is a forecast.",
        AXES.get(column, Axis(column)),
        AXES.get(first.target, Axis(first.target)),
        tuple(s for i, fit in enumerate(same[:MOST_GROUPS]) for s in _along(table, fit, column, i)),
    )


def _is_surface(fit: Fit) -> bool:
    """Whether a fit is of the loss over params and tokens; those of best sizes alone are not."""
    return fit.law.splits and {"params", "tokens"} <= set(fit.law.variables)


def _column(fit: Fit) -> str:
    """The column that a law of one variable was fitted along."""
    name = fit.law.variables[0]
    return fit.columns.get(name, name)


def _along(table: Table, fit: Fit, column: str, colour: int) -> Iterator[Series]:
    rows = fitted_rows(table, fit)
    name = f"{fit.name}, {group_name(fit.group)}" if fit.group else fit.name
    # The runs of isoFLOP curves are of many sizes at each compute, and the line of the best ones.
    if fit.target != "params" and {column, fit.target} <= set(rows.columns):
        points = rows.columns[column], rows.columns[fit.target]
        yield Series("runs", "points", *points, names=rows.run_ids, colour=colour)
    variable = fit.law.variables[0]
    low, high = fit.domain.get(variable, (0.0, 0.0))
    if not 0 < low < high:
        return
    along = np.geomspace(low, AROUND * high, STEPS)
    predicted = [fit.predict({variable: float(value)}) for value in along]
    ends = [(item.low, item.high) for item in predicted]
    losses = [item.loss for item in predicted]
    if all(lower is not None and upper is not None for lower, upper in ends):
        lows, highs = ([float(end or 0) for end in side] for side in zip(*ends, strict=True))
        yield Series(f"{share(fit.level)} interval", "band", along, losses, lows, highs, (), colour)
    yield Series(name, "line", along, losses, colour=colour)


def splits_figure(table: Table, fits: Sequence[Fit], splits: Sequence[Allocation]) -> Figure | None:
    """The loss along compute, and the budgets that were asked about with their intervals."""
    drawn = [fit for fit in fits if _is_surface(fit)][:MOST_GROUPS]
    whole = loss_over_compute(table, drawn, splits) if drawn else None
    if whole is None:
        return None
    return _with_budgets(whole, splits)


def predictions_figure(
    table: Table | None, fits: Sequence[Fit], predictions: Sequence[Prediction]
) -> Figure | None:
    """Predictions among the runs of their fits, along compute or a law's one variable; alone where
    the fits are not known, as of a paper's coefficients."""
    whole = fits_figure(table, fits) if fits and table is not None else None
    axis = whole.x if whole else FLOPS
    column = next((name for name, of in AXES.items() if of is axis), axis.label)
    counted: dict[str | None, Accounting] = {fit.fit_id: fit.compute for fit in fits}
    places = [_place(item, column, counted.get(item.fit_id, SIX_ND)) for item in predictions]
    known = [(x, item) for x, item in zip(places, predictions, strict=True) if x is not None]
    if not known:
        return whole
    bounds = [
        (item.low, item.high)
        if item.low is not None and item.high is not None
        else (item.loss,) * 2
        for _, item in known
    ]
    asked = Series(
        "predicted",
        "points",
        [x for x, _ in known],
        [item.loss for _, item in known],
        [low for low, _ in bounds],
        [high for _, high in bounds],
        [_point_asked(item) for _, item in known],
        colour=6,
    )
    if whole is not None:
        return replace(whole, series=(*whole.series, asked))
    first = known[0][1]
    return Figure(
        "predictions",
        f"{first.target.capitalize()} against {axis.label}",
        "Each point is a run that was asked about, with its interval where one is known.",
        axis,
        AXES.get(first.target, Axis(first.target)),
        (asked,),
    )


def _place(item: Prediction, column: str, counted: Accounting) -> float | None:
    """Where a prediction lies along a column; its compute as the fit counts it."""
    if column in item.inputs or column != "flops":
        return item.inputs.get(column)
    params, tokens = item.inputs.get("params"), item.inputs.get("tokens")
    return float(counted.flops(params, tokens)) if params and tokens else None


def _point_asked(item: Prediction) -> str:
    sizes = ", ".join(f"{count(value)} {name}" for name, value in item.inputs.items())
    return f"{sizes}, {group_name(item.group)}" if item.group else sizes


def _with_budgets(whole: Figure, splits: Sequence[Allocation]) -> Figure:
    known = [item for item in splits if item.loss is not None]
    losses = [float(item.loss or 0) for item in known]
    ends = _ends(known)
    asked = Series(
        "the budgets asked about",
        "points",
        [item.budget_flops for item in known],
        losses,
        [low for low, _ in ends],
        [high for _, high in ends],
        [
            f"{count(item.params)} params, {count(item.tokens)} tokens, {group_name(item.group)}"
            for item in known
        ],
        colour=6,
    )
    return replace(whole, series=(*whole.series, asked))


def _ends(splits: Sequence[Allocation]) -> list[tuple[float, float]]:
    """The ends of the bars of losses that are known; of one without an interval, the loss."""
    return [split.loss_range or (split.loss or 0.0, split.loss or 0.0) for split in splits]


def published_figure(
    name: str, split: Callable[[float], Allocation], splits: Sequence[Allocation]
) -> Figure | None:
    """The frontier of a paper's coefficients about the budgets that were asked about."""
    budgets = [item.budget_flops for item in splits]
    around = np.geomspace(min(budgets) / AROUND, AROUND * max(budgets), STEPS)
    frontier = [item for item in map(split, around.tolist()) if item.loss is not None]
    if not frontier:
        return None
    line = Series(
        name,
        "line",
        [item.budget_flops for item in frontier],
        [float(item.loss or 0) for item in frontier],
    )
    whole = Figure(
        "published",
        "Loss against compute",
        "The lowest loss for that much compute by a paper's coefficients, which come without runs"
        " and without intervals.",
        FLOPS,
        Axis("loss"),
        (line,),
    )
    return _with_budgets(whole, splits)


def compared_figure(comparisons: Sequence[Comparison]) -> Figure | None:
    """How far each law missed the runs that were held out, by how much larger those were."""
    first = next((item for item in comparisons if item.ranking), None)
    if first is None:
        return None
    series = []
    for colour, score in enumerate(first.ranking[:MOST_GROUPS]):
        places, errors = [], []
        for fold, missed in zip(first.folds, score.errors, strict=True):
            beyond = fold.held.numbers(first.by) / np.nanmax(fold.training.numbers(first.by))
            places.append(float(np.nanmedian(beyond)))
            errors.append(float(np.mean(missed)))
        order = np.argsort(places)
        along, up = [places[i] for i in order], [errors[i] for i in order]
        series.append(Series(score.law, "points", along, up, colour=colour))
    return Figure(
        "compared",
        f"Error on larger runs, {group_name(first.group)}",
        "Each point is one cut: a law was fitted to the runs below it, and missed those above it by"
        " so much on average.",
        Axis(f"{first.by} of the held-out runs over the largest fitted"),
        Axis("mean relative error", shape=percent),
        tuple(series),
    )


def recipes_figure(found: SideBySide) -> Figure | None:
    """The loss of each recipe at each budget, with its interval."""
    names = [item.recipe for item in found.rankings[0].standings]
    series = []
    for colour, name in enumerate(sorted(names)[:MOST_GROUPS]):
        splits = [
            standing.split
            for ranking in found.rankings
            for standing in ranking.standings
            if standing.recipe == name and standing.split.loss is not None
        ]
        splits.sort(key=lambda split: split.budget_flops)
        losses = [float(split.loss or 0) for split in splits]
        ends = _ends(splits)
        lows, highs = [low for low, _ in ends], [high for _, high in ends]
        budgets = [split.budget_flops for split in splits]
        series.append(Series(name, "points", budgets, losses, lows, highs, colour=colour))
        series.append(Series("", "line", budgets, losses, colour=colour))
    return Figure(
        "recipes",
        "The recipes at each budget",
        f"The predicted loss of each recipe at its best split, with its {share(found.level)}"
        " interval. Where the intervals overlap, the runs may not tell which is better.",
        FLOPS,
        Axis(found.target),
        tuple(series),
    )


def schedules_figure(plan: SchedulePlan) -> Figure:
    """The learning rate of the best schedule and of those beside it."""
    from scaling_cli.training.schedule import parse_schedule

    shown = {item.schedule: item for item in (plan.best, *plan.candidates)}
    steps = np.unique(np.linspace(1, plan.steps, 10 * STEPS).astype(int))
    series = tuple(
        Series(
            f"{_told_apart(spec)} (loss {item.loss:.4g})",
            "line" if item is plan.best else "dashes",
            steps,
            parse_schedule(spec, plan.steps).rates[steps],
            colour=colour,
        )
        for colour, (spec, item) in enumerate(list(shown.items())[:MOST_GROUPS])
    )
    return Figure(
        "schedules",
        f"Schedules of {plan.steps:,} steps",
        "The learning rate along the run: the best schedule full, the others dashed.",
        Axis("step", log=False, shape=count, whole=True),
        Axis("learning rate", log=False),
        series,
    )


def _told_apart(spec: str) -> str:
    """A schedule without the settings that all of a plan have."""
    family, _, settings = spec.partition(":")
    own = [item for item in settings.split(",") if item.split("=")[0] not in _SHARED]
    return ", ".join([family, *own])
