"""The splits that a budget pays for, and the best of them under constraints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scaling_cli.compute import SIX_ND, Accounting, exact
from scaling_cli.errors import InputError
from scaling_cli.laws import Law
from scaling_cli.records import Floats

GRID_POINTS = 400  # in ln params; refined by a parabola through the lowest three points
CELL_POINTS = 33  # between a constraint and the grid's next point
LEAST_RATIO, LARGEST_RATIO = 1e-2, 1e6  # tokens per param between which an optimum is sought
FORWARD = 1 / 3  # of training's FLOPs per token: the backward pass costs twice the forward one
LOG_PARAMS = (0.0, np.log(1e18))  # no model lies outside
AT_END = 1e-6  # in ln params: nearer to a constraint than this, the constraint decides


@dataclass(frozen=True)
class Constraints:
    """What a split has to keep.

    `tokens_per_param` prescribes the ratio. With `inference_tokens` the budget also pays for
    serving that many tokens over the model's life, at the FLOPs of a forward pass each (Sardana et
    al. 2024, 2401.00448, eq. 2). `at` holds what else the law reads, `unique_tokens` say;
    `limits` bound what it chooses. With a `sequence` the FLOPs of training are exact for a usual
    decoder, attention over so many tokens counted; `served_length` is the same of serving.
    """

    min_params: float | None = None
    max_params: float | None = None
    max_tokens: float | None = None
    tokens_per_param: float | None = None
    inference_tokens: float = 0.0
    at: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    sequence: float | None = None
    served_length: float | None = None

    def __post_init__(self) -> None:
        if self.served_length is not None and not self.inference_tokens:
            raise InputError("a served length is of no served tokens", "Give inference_tokens too.")

    def without(self, names: Sequence[str]) -> Constraints:
        """These constraints less those of the names."""
        kept = {name: value for name, value in vars(self).items() if name not in names}
        return Constraints(**kept)


FREE = Constraints()


@dataclass(frozen=True)
class Line:
    """The splits that a budget pays for: tokens as a falling function of params."""

    budget_flops: float
    compute: Accounting = SIX_ND
    constraints: Constraints = FREE

    def tokens(self, params: Any) -> Any:
        """Training tokens that are left for a model of this size [any shape]."""
        served = self.constraints.inference_tokens
        if not served:
            return self.compute.tokens(params, self.budget_flops)
        spent = served * FORWARD * self.serving.per_token(params)
        return (self.budget_flops - spent) / self.compute.per_token(params)

    @property
    def serving(self) -> Accounting:
        """What training on the served tokens would cost, of which the forward pass is served."""
        length = self.constraints.served_length
        return self.compute if length is None else exact(length)

    def params_at_ratio(self, ratio: float) -> float:
        """The size that is trained on `ratio` tokens a param."""
        return float(np.exp(_root(lambda x: self.tokens(np.exp(x)) / np.exp(x) - ratio)))

    def params_at_tokens(self, tokens: float) -> float:
        """The size that is trained on so many tokens."""
        return float(np.exp(_root(lambda x: self.tokens(np.exp(x)) - tokens)))

    @property
    def searched(self) -> tuple[float, float]:
        """The params between which an optimum is sought."""
        return self.params_at_ratio(LARGEST_RATIO), self.params_at_ratio(LEAST_RATIO)

    def allowed(self) -> tuple[tuple[float, str], tuple[float, str]]:
        """The smallest and the largest params that the constraints leave, each with the name of the
        constraint that sets it, empty where only the search ends; InputError where none is left."""
        asked, (least, most) = self.constraints, self.searched
        lower, upper = [(least, "")], [(most, "")]
        if asked.min_params is not None:
            lower.append((asked.min_params, "min_params"))
        if asked.max_tokens is not None:
            lower.append((self.params_at_tokens(asked.max_tokens), "max_tokens"))
        if asked.max_params is not None:
            upper.append((asked.max_params, "max_params"))
        low, high = max(lower), min(upper)
        if low[0] > high[0] * (1 + 1e-9):
            names = " and ".join(name for _, name in (low, high) if name)
            raise InputError(
                f"no split of {self.budget_flops:.3g} FLOPs is left by {names}",
                f"They ask for {low[0]:.3g} params or more and {high[0]:.3g} or fewer;"
                f" {LEAST_RATIO:g} to {LARGEST_RATIO:g} tokens per param are searched.",
            )
        return low, high


def line_of(budget_flops: float, compute: Accounting, constraints: Constraints) -> Line:
    """The splits of a budget, FLOPs counted by `compute`, or exactly where a sequence is said;
    InputError where the runs' own FLOPs are known."""
    if constraints.sequence is None:
        return Line(budget_flops, compute, constraints)
    if compute != SIX_ND:
        raise InputError(
            "the FLOPs of these runs are known and counted as they are",
            "Leave the sequence out: attention is in them if their trainer counts it.",
        )
    return Line(budget_flops, exact(constraints.sequence), constraints)


def _root(falling: Callable[[float], float]) -> float:
    """Where a falling function of ln params is zero, or the end of its range that is nearest."""
    low, high = LOG_PARAMS
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return float(0.5 * (low + high))


def optimum(law: Law, values: Mapping[str, Floats], line: Line) -> tuple[Floats, Floats]:
    """Optimal (params, tokens), each [batch], for parameters [batch, 1].

    By the law's closed form where nothing else counts; otherwise the lowest of the minima along the
    line and of the ends that a constraint sets. Where the loss falls as far as an end of the
    search, params are 0 or infinite, whichever side that is; NaN where the law gives no number.
    """
    batch = max(len(value) for value in values.values())
    ratio = line.constraints.tokens_per_param
    if ratio is not None:
        params = np.full(batch, line.params_at_ratio(ratio))
        return params, line.tokens(params)
    if law.optimum is not None and "params" not in law.variables:
        (least, lower), (most, upper) = line.allowed()
        bounds = least if lower else 0.0, most if upper else np.inf
        params = np.clip(_closed_form(law, values, line), bounds[0], bounds[1])
        return params, line.tokens(params)
    if law.optimum is not None and line.compute == SIX_ND and line.constraints == FREE:
        params = _closed_form(law, values, line)
        return params, line.tokens(params)
    return _lowest(law, values, line, batch)


def _closed_form(law: Law, values: Mapping[str, Floats], line: Line) -> Floats:
    assert law.optimum is not None
    with np.errstate(all="ignore"):
        params, tokens = law.optimum(values, np.array(line.budget_flops))
    known = np.isfinite(params[:, 0]) & np.isfinite(tokens[:, 0])
    return np.where(known, params[:, 0], np.nan)


def losses(law: Law, values: Mapping[str, Any], line: Line, params: Floats) -> Floats:
    """The loss of splits on the line, at params [points]; parameters may have a leading axis."""
    with np.errstate(all="ignore"):
        predicted: Floats = law.predict(
            **values, **line.constraints.at, params=params, tokens=line.tokens(params)
        )
    return predicted


def _lowest(
    law: Law, values: Mapping[str, Floats], line: Line, batch: int
) -> tuple[Floats, Floats]:
    def log_loss(x: Floats) -> Floats:
        predicted = losses(law, values, line, np.exp(x))
        if not (predicted < 0).any():  # a loss that a baseline was taken from has no log
            with np.errstate(all="ignore"):
                predicted = np.log(predicted)
        return np.broadcast_to(predicted, (batch, len(x)))

    (least, lower), (most, upper) = line.allowed()
    grid = np.linspace(np.log(least), np.log(most), GRID_POINTS)
    loss = log_loss(grid)
    log_params, best = _valleys(grid, loss)
    for end, name in ((0, lower), (-1, upper)):
        if not name:
            continue
        taken = loss[:, end] < best
        if taken.any():  # the minimum may lie inside of the last cell
            low = grid[0] if end == 0 else grid[-2]
            cell = low + (grid[1] - grid[0]) * np.linspace(0.0, 1.0, CELL_POINTS)
            near, height = _valleys(cell, log_loss(cell))
            inside = height < loss[:, end]
            log_params = np.where(taken, np.where(inside, near, grid[end]), log_params)
            best = np.where(taken, loss[:, end], best)
    runs_away = np.isnan(log_params) & np.isfinite(loss[:, 0]) & np.isfinite(loss[:, -1])
    side = np.where(loss[:, 0] < loss[:, -1], -np.inf, np.inf)
    params: Floats = np.exp(np.where(runs_away, side, log_params))
    with np.errstate(all="ignore"):
        return params, line.tokens(params)


def _valleys(grid: Floats, loss: Floats) -> tuple[Floats, Floats]:
    """The lowest minimum inside a grid [points] of losses [batch, points], by a parabola through
    its three points, and the loss there; NaN and infinity where there is none."""
    inner = loss[:, 1:-1]
    valley = (inner < loss[:, :-2]) & (inner <= loss[:, 2:])
    lowest = np.argmin(np.where(valley, inner, np.inf), axis=1)
    rows = np.arange(len(loss))
    before, at, after = (loss[rows, lowest + shift] for shift in (0, 1, 2))
    with np.errstate(invalid="ignore"):  # where the law overflows there is no valley
        bend = before - 2 * at + after
        shift = np.where(bend > 0, 0.5 * (before - after) / np.where(bend > 0, bend, 1), 0.0)
    place = grid[lowest + 1] + np.clip(shift, -1, 1) * (grid[1] - grid[0])
    some = valley.any(axis=1)
    return np.where(some, place, np.nan), np.where(some, at, np.inf)
