"""What is chosen beside params and tokens: experts, bits, loops, a vocabulary, a mixture, a rate.

A law declares which of its columns are chosen and what a training costs by them
(`scaling_cli.laws.Choices`). For given values of these it is a law of params and tokens like any
other, so that the best values are those whose best split has the lowest loss: found one by one, by
grids that close in, in turn until nothing moves. Shares of a mixture go from one to another, two by
two, so that they always sum to one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from scaling_cli.compute import SIX_ND, Accounting
from scaling_cli.errors import InputError
from scaling_cli.laws import Choice, Law
from scaling_cli.planning.budget import Constraints, Line, losses, optimum
from scaling_cli.records import Floats

POINTS, ROUNDS = 13, 5  # of a grid that closes in: 1/7000 of its range in the end
SWEEPS, SETTLED = 12, 1e-7  # over all choices; the gain in ln loss from where on they stand
DRAWN_POINTS, MOST_DRAWS = 25, 200  # of the grid on which resamples have their own best values
MOST_MIXTURES = 100  # of resamples whose own best mixture is found: each takes milliseconds
AT_END = 1e-3  # of the range: nearer to its end than this, the end decides

Values = Mapping[str, Floats]
Bounds = tuple[float | None, float | None]  # None is an open end
Objective = Callable[[Mapping[str, float]], Floats]


@dataclass(frozen=True)
class Settled:
    """A law of params and tokens alone, and the line of its splits, where all else is held or
    chosen: `chosen` among `ranges`."""

    law: Law
    line: Line
    size: str = "params"
    chosen: Mapping[str, float] | None = None
    ranges: Mapping[str, tuple[float, float]] | None = None
    batch: str | None = None

    def point(self, params: float, tokens: float) -> dict[str, float]:
        """All columns of the law that was settled."""
        at = self.line.constraints.at
        amount = {"step": tokens / at[self.batch]} if self.batch else {"tokens": tokens}
        return {self.size: params, **amount, **at}

    @property
    def at_end(self) -> tuple[str, ...]:
        """The chosen columns that lie at an end of what was searched."""
        chosen, ends = self.chosen or {}, []
        for name, (low, high) in (self.ranges or {}).items():
            places = np.array([low, chosen[name], high])
            start, place, end = np.log(places) if low > 0 else places
            if min(place - start, end - place) < AT_END * (end - start):
                ends.append(name)
        return tuple(ends)


def free_choices(law: Law, constraints: Constraints) -> tuple[Choice, ...]:
    """The choices that are left, each within the limits that are asked for."""
    declared = {choice.column: choice for choice in law.free}
    unknown = [name for name in constraints.limits if name not in declared]
    if unknown:
        known = ", ".join(declared) or "nothing"
        raise InputError(
            f"{' and '.join(unknown)} is no choice of law {law.id}", f"It chooses {known}."
        )
    left = []
    for name, choice in declared.items():
        if name in constraints.at:
            continue
        low, high = constraints.limits.get(name, (choice.low, choice.high))
        if low < choice.low or high > choice.high:
            raise InputError(
                f"law {law.id} was made for {name} from {choice.low:g} to {choice.high:g}",
                "Ask inside of that.",
            )
        left.append(replace(choice, low=low, high=high))
    return tuple(left)


def decided(law: Law, constraints: Constraints) -> set[str]:
    """The columns of the law that are neither its size nor tokens, and are held or chosen."""
    free = free_choices(law, constraints)
    chosen = {name for choice in free for name in (choice.column, *choice.also)}
    return chosen | set(constraints.at)


def settle(law: Law, values: Values, line: Line) -> Settled:
    """The best choices by given parameters [1, 1]."""
    if law.choices is None:
        return Settled(law, line)
    free = free_choices(law, line.constraints)
    held = dict(line.constraints.at)
    objective = _objective(law, values, line)
    if law.choices.shares:
        chosen = _mixed(law, values, line, free, held)
    else:
        chosen = _searched(free, held, lambda at: float(objective(at)[0]))
    at = held | _with_also(free, chosen, held)
    settled = replace(line, constraints=replace(line.constraints, at=at, limits={}))
    ranges = {choice.column: (choice.low, choice.high) for choice in free}
    settled = replace(settled, compute=cost_of(law, at))
    return Settled(view(law, at), settled, law.choices.size, chosen, ranges, law.choices.batch)


def drawn_ranges(
    law: Law, values: Values, line: Line, settled: Settled, level: float
) -> dict[str, Bounds]:
    """Bounds of each choice over parameters [batch, 1], the others as they are chosen, or of shares
    all together; None where the best values of so many lie at an end of what is searched."""
    if law.choices is None or not settled.chosen:
        return {}
    if law.choices.shares:
        return _drawn_shares(law, values, line, settled, level)
    some = {name: value[:MOST_DRAWS] for name, value in values.items()}
    objective = _objective(law, some, line)
    best_known, held = dict(settled.line.constraints.at), line.constraints.at
    bounds = {}
    for choice in free_choices(law, line.constraints):
        grid = _grid(choice.low, choice.high, DRAWN_POINTS)
        places = [_with_also((choice,), {choice.column: float(x)}, held) for x in grid]
        table = np.stack([objective(best_known | place) for place in places])
        lowest = np.argmin(np.where(np.isfinite(table), table, np.inf), axis=0)
        best = np.array([_refined(grid, table[:, i], k) for i, k in enumerate(lowest)])
        bounds[choice.column] = _inside(best, (grid[0], grid[-1]), level)
    return bounds


def _drawn_shares(
    law: Law, values: Values, line: Line, settled: Settled, level: float
) -> dict[str, Bounds]:
    free, held = free_choices(law, line.constraints), dict(line.constraints.at)
    count = min(MOST_MIXTURES, max(len(value) for value in values.values()))
    drawn = []
    for row in range(count):
        one = {name: value[row % len(value)][None] for name, value in values.items()}
        drawn.append(_mixed(law, one, line, free, held))
    ranges = settled.ranges or {}
    return {
        name: _inside(np.array([mixture[name] for mixture in drawn]), ranges[name], level)
        for name in settled.chosen or {}
    }


def _inside(best: Floats, ends: tuple[float, float], level: float) -> Bounds:
    """The central part of the best values [draws], None for an end of what was searched."""
    tail = 50 * (1 - level)
    low, high = np.percentile(best, [tail, 100 - tail])
    return (
        float(low) if low > ends[0] else None,
        float(high) if high < ends[1] else None,
    )


def view(law: Law, at: Mapping[str, float]) -> Law:
    """The law as one of params and tokens, its other columns held at `at`."""
    assert law.choices is not None
    size, batch, predict = law.choices.size, law.choices.batch, law.predict

    def held(**given: Any) -> Any:
        if size != "params" and "params" in given:
            given[size] = given.pop("params")
        if batch:
            given["step"] = given.pop("tokens") / at[batch]
        return predict(**(dict(at) | given))

    return replace(
        law, variables=("params", "tokens"), predict=held, optimum=None, choices=None, over=""
    )


def cost_of(law: Law, at: Mapping[str, float]) -> Accounting:
    """FLOPs by the law's own account, its other columns held at `at`."""
    assert law.choices is not None
    terms = law.choices.per_token(at)
    if terms == SIX_ND.terms and law.choices.size == "params":
        return SIX_ND
    return Accounting(law.choices.cost, terms)


def _objective(law: Law, values: Values, line: Line) -> Objective:
    """The ln of the lowest loss [batch] of the line for values of all other columns; the loss
    itself where it can be below zero; infinite where there is no best split."""

    def lowest(at: Mapping[str, float]) -> Floats:
        one = view(law, at)
        free = replace(line.constraints, at={}, limits={})
        on = replace(line, compute=cost_of(law, at), constraints=free)
        try:
            params, _ = optimum(one, values, on)
        except InputError:  # the constraints leave no split at this cost
            return np.full(max(len(value) for value in values.values()), np.inf)
        loss = losses(one, values, on, params[:, None])[:, 0]
        known = np.isfinite(params) & (params > 0) & np.isfinite(loss)
        return np.where(known, loss, np.inf)

    return lowest


def _searched(
    free: tuple[Choice, ...], held: dict[str, float], loss: Callable[[Mapping[str, float]], float]
) -> dict[str, float]:
    """Each choice in turn by grids that close in."""
    chosen = {choice.column: float(_grid(choice.low, choice.high, 3)[1]) for choice in free}

    def height(column: str, value: float) -> float:
        return loss(held | _with_also(free, chosen | {column: value}, held))

    before = np.inf
    for _ in range(SWEEPS):
        now = before
        for choice in free:
            place, now = _closing_in(choice.low, choice.high, partial(height, choice.column))
            chosen[choice.column] = place
        if len(free) < 2 or not before - now > SETTLED * abs(now):
            break
        before = now
    return chosen


def _closing_in(low: float, high: float, loss: Callable[[float], float]) -> tuple[float, float]:
    """The lowest place of a grid, and its loss, after it has closed in on it."""
    for _ in range(ROUNDS):
        grid = _grid(low, high, POINTS)
        heights = np.array([loss(float(x)) for x in grid])
        if not np.isfinite(heights).any():
            return float(grid[len(grid) // 2]), np.inf
        lowest = int(np.nanargmin(heights))
        low, high = grid[max(lowest - 1, 0)], grid[min(lowest + 1, POINTS - 1)]
    return float(grid[lowest]), float(heights[lowest])


def _mixed(
    law: Law, values: Values, line: Line, free: tuple[Choice, ...], held: Mapping[str, float]
) -> dict[str, float]:
    """Shares that sum, with those held, to one: mass goes between two of them, with the split of
    the budget found anew after each sweep."""
    left = 1 - sum(value for name, value in held.items() if name.startswith(law.over))
    low, high = (sum(getattr(choice, end) for choice in free) for end in ("low", "high"))
    if not free or not low <= left <= high:
        raise InputError(
            "the shares of a mixture sum to one",
            f"{left:.3g} is left for {', '.join(c.column for c in free) or 'no domain'}.",
        )
    room = (left - low) / (high - low) if high > low else 0.0
    chosen = {c.column: c.low + room * (c.high - c.low) for c in free}
    before = np.inf
    for _ in range(SWEEPS):
        at = dict(held) | chosen
        on = replace(line, constraints=replace(line.constraints, at={}, limits={}))
        (params,), (tokens,) = optimum(view(law, at), values, on)
        if not 0 < params < np.inf:
            return chosen
        now = before
        for first, second in combinations(free, 2):
            now = _exchanged(law, values, held, chosen, (first, second), (params, tokens))
        if not before - now > SETTLED * abs(now):
            break
        before = now
    return chosen


def _exchanged(
    law: Law, values: Values, held: Mapping[str, float], chosen: dict[str, float],
    pair: tuple[Choice, Choice], split: tuple[float, float],
) -> float:  # fmt: skip
    """Put the best part of what two shares have together into the first of them."""
    first, second = pair
    both = chosen[first.column] + chosen[second.column]
    low, high = max(first.low, both - second.high), min(first.high, both - second.low)
    params, tokens = split
    height = np.inf
    for _ in range(ROUNDS):
        grid = np.linspace(low, high, POINTS)
        moved = {first.column: grid, second.column: both - grid}
        columns = {name: np.full(POINTS, value) for name, value in {**held, **chosen}.items()}
        columns |= {"params": np.full(POINTS, params), "tokens": np.full(POINTS, tokens)}
        with np.errstate(all="ignore"):
            heights = np.ravel(law.predict(**values, **(columns | moved)))
        if not np.isfinite(heights).any():
            break
        lowest = int(np.nanargmin(np.where(np.isfinite(heights), heights, np.inf)))
        low, high, height = (
            grid[max(lowest - 1, 0)], grid[min(lowest + 1, POINTS - 1)], heights[lowest]
        )  # fmt: skip
        chosen[first.column] = float(grid[lowest])
        chosen[second.column] = float(both - grid[lowest])
    return float(height)


def _with_also(
    free: tuple[Choice, ...], chosen: Mapping[str, float], held: Mapping[str, float]
) -> dict[str, float]:
    """The chosen values, and those of the columns that go with them."""
    values = dict(chosen)
    for choice in free:
        values |= {name: chosen[choice.column] for name in choice.also if name not in held}
    return values


def _grid(low: float, high: float, points: int) -> Floats:
    """Even in the log where it can be."""
    grid = np.geomspace(low, high, points) if low > 0 else np.linspace(low, high, points)
    grid[0], grid[-1] = low, high
    return grid


def _refined(grid: Floats, heights: Floats, lowest: int) -> float:
    """The vertex of the parabola through the lowest point and its neighbours."""
    if not 0 < lowest < len(grid) - 1:
        return float(grid[lowest])
    before, at, after = heights[lowest - 1 : lowest + 2]
    bend = before - 2 * at + after
    if not (np.isfinite(bend) and bend > 0):
        return float(grid[lowest])
    shift = 0.5 * (before - after) / bend
    low, middle, high = grid[lowest - 1 : lowest + 2]
    return float(middle + shift * (high - middle if shift > 0 else middle - low))
