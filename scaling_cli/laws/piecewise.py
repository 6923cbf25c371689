"""Farseer's differential piecewise procedure: the paper's own way to its three curves.

Li et al. 2025 (arXiv:2506.10972), section 3. On a grid of tokens with one ratio between neighbours
the difference of two neighbours' losses has no floor in it, so that each size's data term is a
straight line in logs; curves through the sizes follow, and last the floor that is left. Each curve
is c_0 + c_1 phi(k, x) in x = ln(params / params_0), which is the paper's a params**k + b.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scaling_cli.errors import FitError
from scaling_cli.laws.base import Array

SAME = 1.02  # sizes, and ratios of tokens, within 2 % are one
LEAST_SIZES = 4  # three numbers of a curve must leave something to judge it by
LEAST_PAIRS = 2  # of a size: a line through them
LEAST_ROWS = 4  # of a size on an irregular grid: floor, amplitude, exponent and one to spare
REGULAR = 0.5  # share of the neighbours at one ratio that makes a grid
BENDS = np.linspace(-0.6, 0.6, 241)  # the published ones are 0.169, -0.1 and 0.123
EXPONENTS = np.linspace(0.02, 1.5, 371)  # of tokens, tried for a size on an irregular grid
ROUNDS = 2  # of the two bends in turn; the paper took one or two


def fit(
    columns: Mapping[str, Array], loss: Array, references: Mapping[str, float]
) -> tuple[dict[str, float], str]:
    """The curves' values, slopes and bends at the references, and what was done.

    Raises FitError where there are too few sizes with enough tokens each.
    """
    params, tokens = columns["params"], columns["tokens"]
    sizes = _sizes(params)
    ratio = _ratio(sizes, tokens)
    fits = _each_size(sizes, tokens, loss, ratio)
    x = np.log([params[rows[0]] for rows, _, _ in fits]) - np.log(references["params_0"])
    log_exponent = np.log([exponent for _, exponent, _ in fits])
    log_data = np.array([data for _, _, data in fits])
    ladder = Ladder.of([rows for rows, _, _ in fits], tokens, loss)

    data_curves, exponent_curves = _curves(x, log_data), _curves(x, log_exponent)
    data, exponent = data_curves.nearest(log_data), exponent_curves.nearest(log_exponent)
    with np.errstate(over="ignore"):
        for _ in range(ROUNDS):
            data = ladder.best(data_curves.at, exponent_curves.at[exponent])
            exponent = ladder.best(data_curves.at[data], exponent_curves.at)
    log_floors = np.log(ladder.floors(data_curves.at[data], exponent_curves.at[exponent]))
    floor_curves = _curves(x, log_floors)
    floor = floor_curves.nearest(log_floors)

    y_0 = np.log(references["tokens_0"])
    (h_0, h_1), (c_0, c_1) = exponent_curves.of[exponent], data_curves.of[data]
    g_0, g_1 = floor_curves.of[floor]
    values = {
        "floor": np.exp(g_0),
        "floor_slope": g_1,
        "floor_bend": BENDS[floor],
        "data": np.exp(c_0 - np.exp(h_0) * y_0),
        "data_slope": c_1 - np.exp(h_0) * h_1 * y_0,
        "data_bend": BENDS[data],
        "exponent": np.exp(h_0),
        "exponent_slope": h_1,
        "exponent_bend": BENDS[exponent],
    }
    return {name: float(value) for name, value in values.items()}, _said(fits, sizes, ratio)


Curve = tuple[Array, float, float]  # a size's rows, its exponent and the log of its data term


def _each_size(sizes: list[Array], tokens: Array, loss: Array, ratio: float | None) -> list[Curve]:
    """The curve along the tokens of each size that has enough runs for one."""
    fits = [
        curve
        for rows in sizes
        if (
            curve := _by_differences(rows, tokens, loss, ratio)
            if ratio
            else _by_least_squares(rows, tokens, loss)
        )
    ]
    if len(fits) < LEAST_SIZES:
        raise FitError(
            f"{len(fits)} of {len(sizes)} model sizes have enough runs along the tokens for a"
            f" curve of their own, and {LEAST_SIZES} are needed"
        )
    return fits


def _said(fits: list[Curve], sizes: list[Array], ratio: float | None) -> str:
    how = (
        f"differences of neighbours on a grid of tokens with ratio {ratio:.3g}"
        if ratio
        else "least squares of floor and power law, as the grid of tokens has no common ratio"
    )
    return (
        f"The paper's piecewise procedure: {len(fits)} of {len(sizes)} sizes, each by {how}; then"
        " curves through the sizes. It minimises no one objective and gives no intervals."
    )


@dataclass(frozen=True)
class Ladder:
    """The runs of the sizes that have a curve: `size` [rows] is the place of each run's."""

    size: Array
    log_tokens: Array
    loss: Array

    @classmethod
    def of(cls, used: list[Array], tokens: Array, loss: Array) -> Ladder:
        rows = np.concatenate(used)
        size = np.repeat(np.arange(len(used)), [len(item) for item in used])
        return cls(size, np.log(tokens[rows]), loss[rows])

    def _left(self, data: Array, exponent: Array) -> list[Array]:
        """What the data term of curves [..., sizes] leaves of the losses, size by size."""
        slope = np.exp(exponent[..., self.size])
        left = self.loss - np.exp(data[..., self.size] - slope * self.log_tokens)
        return [left[..., self.size == size] for size in range(self.size[-1] + 1)]

    def best(self, data: Array, exponent: Array) -> int:
        """The bend whose curves leave the least squares about each size's own floor."""
        spread = [
            np.sum((mine - mine.mean(axis=-1, keepdims=True)) ** 2, axis=-1)
            for mine in self._left(data, exponent)
        ]
        return int(np.argmin(np.sum(spread, axis=0)))

    def floors(self, data: Array, exponent: Array) -> Array:
        floors = np.array([np.mean(mine) for mine in self._left(data, exponent)])
        if not (floors > 0).all():
            raise FitError("the data term is larger than the loss of a size: no floor is left")
        return floors


def _sizes(params: Array) -> list[Array]:
    """The rows of each model size, the smallest first."""
    order = np.argsort(params, kind="stable")
    steps = np.flatnonzero(np.diff(np.log(params[order])) > np.log(SAME))
    return np.split(order, steps + 1)


def _ratio(sizes: list[Array], tokens: Array) -> float | None:
    """The ratio of tokens that neighbours of one size have in common, if there is one."""
    steps = np.concatenate([np.diff(np.sort(np.log(tokens[rows]))) for rows in sizes])
    steps = steps[steps > np.log(SAME)]
    if not len(steps):
        return None
    middle = float(np.median(steps))
    regular = np.mean(np.abs(steps - middle) < np.log(SAME))
    return float(np.exp(middle)) if regular >= REGULAR else None


def _by_differences(
    rows: Array, tokens: Array, loss: Array, ratio: float
) -> tuple[Array, float, float] | None:
    """A size's rows, its exponent of tokens and the log of its data term at one token.

    Loss(D) - loss(ratio D) is B (1 - ratio**-A) D**-A: ordinary least squares in logs.
    """
    rows = rows[np.argsort(tokens[rows], kind="stable")]
    log_tokens = np.log(tokens[rows])
    fall = -np.diff(loss[rows])
    pairs = (np.abs(np.diff(log_tokens) - np.log(ratio)) < np.log(SAME)) & (fall > 0)
    if np.sum(pairs) < LEAST_PAIRS:
        return None
    slope, level = np.polyfit(log_tokens[:-1][pairs], np.log(fall[pairs]), 1)
    if slope >= 0:
        return None
    return rows, -float(slope), float(level - np.log1p(-(ratio**slope)))


def _by_least_squares(rows: Array, tokens: Array, loss: Array) -> tuple[Array, float, float] | None:
    """The same from the floor and power law that come nearest to the size's losses."""
    log_tokens = np.log(tokens[rows])
    if len(np.unique(np.round(log_tokens / np.log(SAME)))) < LEAST_ROWS:
        return None
    middle = np.mean(log_tokens)
    basis = np.exp(-EXPONENTS[:, None] * (log_tokens - middle))
    centred = basis - basis.mean(axis=1, keepdims=True)
    data = centred @ loss[rows] / np.sum(centred**2, axis=1)
    floor = np.mean(loss[rows]) - data * basis.mean(axis=1)
    error = np.sum((floor[:, None] + data[:, None] * basis - loss[rows]) ** 2, axis=1)
    best = int(np.argmin(np.where((data > 0) & (floor > 0), error, np.inf)))
    if not (data[best] > 0 and floor[best] > 0):
        return None
    return rows, float(EXPONENTS[best]), float(np.log(data[best]) + EXPONENTS[best] * middle)


@dataclass(frozen=True)
class Curves:
    """For each of BENDS the curve nearest to given logs: `of` [bends, 2] its value and slope at
    params_0, `at` [bends, sizes] its values."""

    of: Array
    at: Array

    def nearest(self, logs: Array) -> int:
        return int(np.argmin(np.sum((self.at - logs) ** 2, axis=1)))


def _curves(x: Array, logs: Array) -> Curves:
    """Ordinary least squares of logs [sizes] on 1 and phi(k, x), for each bend k."""
    small = np.abs(BENDS) < 1e-9
    k = np.where(small, 1.0, BENDS)[:, None]
    phi = np.where(small[:, None], x, np.expm1(k * x) / k)
    centred = phi - phi.mean(axis=1, keepdims=True)
    slope = centred @ logs / np.sum(centred**2, axis=1)
    level = np.mean(logs) - slope * phi.mean(axis=1)
    return Curves(np.stack([level, slope], axis=1), level[:, None] + slope[:, None] * phi)
