"""Starting points: a fixed quasi-random cover of the declared ranges, amplitudes eliminated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scaling_cli.fitting.grid import ROUNDS, clamped_solve, grid_starts
from scaling_cli.fitting.solver import (
    SAME_OPTIMUM,
    Solution,
    objective_values,
    rough,
    solve,
)
from scaling_cli.fitting.surface import Surface
from scaling_cli.records import Floats

CANDIDATES = 2048  # screened by objective; a screen costs about as much as one iteration
FEWER_CANDIDATES = 256  # where the law holds its bends at their starting values
SCREENED = 4  # cells screened by the objective for each start
GRID_STARTS = 8  # on 20 random ladders all 8 ended in the best known optimum
MANY_ROWS = 600  # beyond it a law of no closed form seeks its starts on fewer
FEW_ROWS = 300
LED = 4  # starts for all rows, of the 16 optima on few: from 2 a joint mixture law did not end
POLISHED = 16  # of the starts of a law that bends
AGAIN = 8  # of 12 starts about an optimum; 4 of them miss two of the three optima that 12 find
MANY_SIZES = 6  # twice a curve's numbers: through four, one optimum forecast 1e5 times the loss
ALIKE = 0.9  # 1 is noise; 60 surfaces with nothing but noise about them have 0.91 to 1.4


def halton(count: int, dimensions: int) -> Floats:
    """The first `count` points of the Halton sequence [count, dimensions], without its origin."""
    primes = _primes(dimensions)
    index = np.arange(1, count + 1)
    points = np.zeros((count, dimensions))
    for d in range(dimensions):
        base, factor, rest = primes[d], 1.0, index.copy()
        while rest.any():
            factor /= base
            points[:, d] += factor * (rest % base)
            rest //= base
    return points


def _primes(count: int) -> list[int]:
    found: list[int] = []
    candidate = 2
    while len(found) < count:
        if all(candidate % prime for prime in found):
            found.append(candidate)
        candidate += 1
    return found


def fit_starts(surface: Surface, count: int) -> tuple[Surface, Solution]:
    """The optimum of every polished start, and the surface whose objective they minimise.

    Of many starts the best few are polished after some loose iterations of all.

    An adaptive objective is fitted twice: its delta follows from the first fit's residuals.
    """
    weights = np.ones((1, len(surface.target)))
    if surface.form and surface.form.separable and not surface.form.power:
        count = min(count, GRID_STARTS)
    thin = _thinned(surface)
    starts = candidate_starts(thin, count)
    if count > POLISHED:
        starts = _best(thin, rough(thin, np.ones((1, len(thin.target))), starts), POLISHED)
    if thin is not surface:
        starts = _led(thin, starts)
    found = _again(surface, weights, solve(surface, weights, starts, one_fit=True))
    if not surface.objective.tuning:
        return surface, found
    residuals = surface.residuals(found.theta[found.best()][None])[0]
    objective = surface.objective.adapted(residuals, len(surface.free))
    surface = replace(surface, objective=objective)
    return surface, solve(surface, weights, found.theta, one_fit=True)


def _thinned(surface: Surface) -> Surface:
    """The same law on some of many rows, spread over all of them; itself where they are few or the
    law has a closed form."""
    rows = len(surface.target)
    if rows <= MANY_ROWS or surface.model:
        return surface
    # A stride in the order of the target meets no period of the table's own order.
    order = np.argsort(surface.target, kind="stable")
    kept = np.sort(order[np.linspace(0, rows - 1, FEW_ROWS).astype(int)])
    return replace(
        surface,
        columns={name: values[kept] for name, values in surface.columns.items()},
        target=surface.target[kept],
        trials=None if surface.trials is None else surface.trials[kept],
        weights=None if surface.weights is None else surface.weights[kept],
    )


def _led(thin: Surface, starts: Floats) -> Floats:
    """The optima of few rows that the starts lead to, the best `LED` of them: starts for all."""
    weights = np.ones((1, len(thin.target)))
    found = solve(thin, weights, starts, one_fit=True, to_the_end=False)
    led: Floats = found.theta[np.argsort(found.objective, kind="stable")[:LED]]
    return led


def _again(surface: Surface, weights: Floats, found: Solution) -> Solution:
    """The same, and where neighbouring rows miss alike the optima that the law's other starts lead
    to, if they are lower: on 3 of 68 public ladders by 19, 5 and 0.5 %."""
    law, best = surface.law, found.theta[found.best()][None]
    if law.again is None or law.curves is None:
        return found
    sizes = surface.columns[law.curves.by]
    if not _missed_alike(sizes, surface.columns[law.curves.along], surface.at(best).slope[0]):
        return found
    values = {name: float(value[0, 0]) for name, value in surface.decode(best).items()}
    starts = surface.encode(law.again(values, sizes))
    starts = _best(surface, rough(surface, weights, starts), AGAIN)
    more = solve(surface, weights, starts, one_fit=True)
    more = more.take(more.converged)  # one that runs away is no optimum
    if not np.min(more.objective, initial=np.inf) < found.objective.min() * (1 - SAME_OPTIMUM):
        return found
    return found.joined(more)


def _missed_alike(sizes: Floats, along: Floats, missed: Floats) -> bool:
    """Whether residuals [rows] of neighbours along a size are alike (von Neumann's ratio, 1941)."""
    order = np.lexsort((along, sizes))
    steps = np.diff(missed[order])[np.diff(sizes[order]) == 0]
    if not len(steps) or len(missed) - len(steps) < MANY_SIZES:
        return False
    return bool(np.mean(steps**2) / 2 < ALIKE * np.mean(missed**2))


def candidate_starts(surface: Surface, count: int) -> Floats:
    """The `count` best of the screened starts [count, free], best first."""
    if surface.form and surface.form.separable:
        return _best(
            surface,
            grid_starts(surface, SCREENED * count, _typical(surface), _units(surface)),
            count,
        )
    return _best(surface, _cover(surface), count)


def _best(surface: Surface, theta: Floats, count: int) -> Floats:
    weights = np.ones((1, len(surface.target)))
    parts = [theta[at : at + 256] for at in range(0, len(theta), 256)]
    objective = np.concatenate([objective_values(surface, weights, part) for part in parts])
    chosen: Floats = theta[np.argsort(objective, kind="stable")[:count]]
    return chosen


def _units(surface: Surface) -> Floats:
    """What the residuals [rows] of a linear model are divided by, to weigh as the objective does:
    the target where that takes logs, else one number for all."""
    if surface.objective.log:
        return surface.target
    return np.full_like(surface.target, _typical(surface))


def _typical(surface: Surface) -> float:
    """Median target; its spread where the target changes sign."""
    middle = float(np.median(surface.target))
    return middle if middle > 0 else float(np.std(surface.target)) or 1.0


def _cover(surface: Surface) -> Floats:
    """A quasi-random cover of the declared ranges [at most CANDIDATES, free]."""
    law = surface.law
    free = [parameter for parameter in law.parameters if parameter.name in surface.free]
    typical = _typical(surface)
    varied = [item for item in free if item.start is None]
    count = CANDIDATES if len(varied) == len(free) else FEWER_CANDIDATES
    unit = halton(count, len(free))
    values: dict[str, Floats] = {
        name: np.full((count, 1), value) for name, value in surface.constants.items()
    }
    for i, parameter in enumerate(free):
        low, high = parameter.low, parameter.high
        if parameter.transform in ("log", "negative"):
            drawn = low * (high / low) ** unit[:, i : i + 1]
        else:
            drawn = low + (high - low) * unit[:, i : i + 1]
        if parameter.start is not None:
            drawn = np.full_like(drawn, parameter.start)
        values[parameter.name] = drawn * (typical if parameter.of_target else 1.0)

    linear = [parameter.name for parameter in free if parameter.linear]
    if linear:
        least = [
            1e-3 * typical if item.transform == "log" else -np.inf for item in free if item.linear
        ]
        values |= amplitudes(surface, values, linear, np.array(least))
    return surface.encode({name: values[name][:, 0] for name in surface.free})


def amplitudes(
    surface: Surface, values: dict[str, Floats], names: list[str], floor: Floats | float
) -> dict[str, Floats]:
    """Best amplitudes for each candidate's exponents, each at least its `floor` [names].

    Relative residuals, reweighted a few times so that outliers lose their pull.
    """
    batch, rows = len(next(iter(values.values()))), len(surface.target)
    basis = np.empty((batch, len(names), rows))
    zero = {name: np.zeros((1, 1)) for name in names}
    with np.errstate(all="ignore"):
        rest = surface.law.predict(**(values | zero), **surface.columns)
        for i, name in enumerate(names):
            unit = values | zero | {name: np.ones((1, 1))}
            basis[:, i] = surface.law.predict(**unit, **surface.columns) - rest
        units = _units(surface)
        basis /= units
        wanted = np.broadcast_to((surface.target - rest) / units, (batch, rows))
        weights = np.ones((batch, rows))
        for _ in range(ROUNDS):
            weighted = basis * weights[:, None, :]
            gram = np.matmul(weighted, basis.transpose(0, 2, 1))
            right = np.matmul(weighted, wanted[:, :, None])[:, :, 0]
            amplitudes = clamped_solve(gram, right, floor)
            residual = np.abs(np.einsum("bi,bir->br", amplitudes, basis) - wanted)
            scale = np.median(residual, axis=1, keepdims=True) + 1e-12
            weights = 1.0 / np.maximum(residual, scale)
    return {name: amplitudes[:, i : i + 1] for i, name in enumerate(names)}
