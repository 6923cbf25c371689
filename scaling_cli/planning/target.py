"""The smallest budget that reaches a loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from scaling_cli.compute import SIX_ND, Accounting
from scaling_cli.errors import InputError
from scaling_cli.fitting.result import Fit
from scaling_cli.laws import Law, Published
from scaling_cli.planning.budget import FREE, Constraints, line_of, optimum
from scaling_cli.planning.splits import (
    Allocation,
    allocate_fit,
    allocate_published,
    check_law,
    published_for,
)
from scaling_cli.records import Floats

DECADES = (8.0, 32.0)  # of FLOPs between which a budget is sought
PER_DECADE = 4  # points of the search; ln loss is nearly straight between them


def budget_for_fit(fitted: Fit, loss: float, constraints: Constraints = FREE) -> Allocation:
    """The split of the smallest budget whose best loss is `loss`, by a fitted law; `budget_range`
    bounds the budget by the resamples."""
    check_law(fitted.law, constraints)
    line_of(1.0, fitted.compute, constraints)  # refused here, not as a budget without a split
    values = {name: np.full((1, 1), v) for name, v in {**fitted.values, **fitted.constants}.items()}
    (budget,) = _budgets(fitted.law, values, loss, fitted.compute, constraints)
    _check(budget, loss, fitted.name)
    split = allocate_fit(fitted, float(budget), constraints)
    if not len(fitted.draws) or split.params is None:
        return split
    drawn = _budgets(fitted.law, fitted.draw_values(), loss, fitted.compute, constraints)
    known = np.sort(np.log(drawn[~np.isnan(drawn)]))
    if not len(known):
        return split
    tail = 0.5 * (1 - fitted.level)
    low, high = (known[round(share * (len(known) - 1))] for share in (tail, 1 - tail))
    ends = tuple(float(np.exp(end)) if np.isfinite(end) else None for end in (low, high))
    return replace(split, budget_range=(ends[0], ends[1]))


def budget_for_published(
    law: Law, published: Published, loss: float, constraints: Constraints = FREE
) -> Allocation:
    """The same by a paper's coefficients, without bounds."""
    check_law(law, constraints)
    values = {name: np.full((1, 1), value) for name, value in published.values.items()}
    (budget,) = _budgets(law, values, loss, SIX_ND, constraints)
    _check(budget, loss, published.name)
    return allocate_published(law, published, float(budget), constraints)


def splits_by_fits(
    fits: Sequence[Fit], budgets: Sequence[float], loss: float | None, constraints: Constraints
) -> list[Allocation]:
    """Each fit's split of each budget, or with a `loss` of the smallest budget that reaches it."""
    if loss is not None:
        return [budget_for_fit(fitted, loss, constraints) for fitted in fits]
    return [allocate_fit(fitted, budget, constraints) for fitted in fits for budget in budgets]


def splits_by_published(
    name: str, budgets: Sequence[float], loss: float | None, constraints: Constraints
) -> list[Allocation]:
    """The same by the published coefficients of a name."""
    law, entry = published_for(name, constraints)
    if loss is not None:
        return [budget_for_published(law, entry, loss, constraints)]
    return [allocate_published(law, entry, budget, constraints) for budget in budgets]


def _check(budget: float, loss: float, name: str) -> None:
    if not np.isfinite(budget):
        raise InputError(
            f"{name} reaches no loss of {loss:g} below 1e{DECADES[1]:g} FLOPs",
            "Its floor, or a constraint, is in the way: ask for a higher loss.",
        )


def _budgets(
    law: Law,
    values: Mapping[str, Floats],
    loss: float,
    compute: Accounting,
    constraints: Constraints,
) -> Floats:
    """FLOPs [batch] at which the best split reaches the loss, for parameters [batch, 1]; infinite
    where none does. Interpolated in the logs; for one alone by bisection."""
    if "params" not in law.variables:
        raise InputError(f"law {law.id} gives no loss", "Use a law of params and tokens.")
    batch = max(len(value) for value in values.values())

    def reached(budget: float) -> Floats:
        line = line_of(budget, compute, constraints)
        try:
            params, tokens = optimum(law, values, line)
        except InputError:  # what the constraints ask for is not to be had for this budget
            return np.full(batch, np.inf)
        with np.errstate(all="ignore"):
            columns = {"params": params[:, None], "tokens": tokens[:, None], **constraints.at}
            predicted: Floats = np.broadcast_to(law.predict(**values, **columns), (batch, 1))[:, 0]
        return np.where(np.isfinite(predicted), predicted, np.inf)

    low, high = DECADES
    grid = np.linspace(low, high, int((high - low) * PER_DECADE) + 1) * np.log(10)
    curve = np.stack([reached(float(np.exp(x))) for x in grid], axis=1)
    below = curve <= loss
    cell = np.argmax(below, axis=1)
    rows = np.arange(batch)
    before = np.maximum(cell - 1, 0)
    with np.errstate(all="ignore"):
        here, there = np.log(curve[rows, before]), np.log(curve[rows, cell])
        share = np.where(np.isfinite(here), (here - np.log(loss)) / (here - there), 1.0)
    place = grid[before] + np.clip(share, 0, 1) * (grid[cell] - grid[before])
    budgets = np.where(below.any(axis=1), np.exp(place), np.inf)
    if batch == 1 and np.isfinite(budgets[0]):
        low_x, high_x = grid[before[0]], grid[cell[0]]
        for _ in range(40):
            middle = 0.5 * (low_x + high_x)
            if reached(float(np.exp(middle)))[0] > loss:
                low_x = middle
            else:
                high_x = middle
        return np.array([np.exp(high_x)])
    return budgets
