"""Starting points: a fixed quasi-random cover of the declared ranges, amplitudes eliminated."""

from __future__ import annotations

import numpy as np

from scaling_cli.fitting.solver import objective_values
from scaling_cli.fitting.surface import Surface
from scaling_cli.records import Floats

CANDIDATES = 2048  # screened by objective; a screen costs about as much as one iteration
ROUNDS = 3  # of reweighting towards the median when amplitudes are solved for


def halton(count: int, dimensions: int) -> Floats:
    """The first `count` points of the Halton sequence [count, dimensions], without its origin."""
    primes = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
    index = np.arange(1, count + 1)
    points = np.zeros((count, dimensions))
    for d in range(dimensions):
        base, factor, rest = primes[d], 1.0, index.copy()
        while rest.any():
            factor /= base
            points[:, d] += factor * (rest % base)
            rest //= base
    return points


def candidate_starts(surface: Surface, count: int) -> Floats:
    """The `count` best of the screened starts [count, free], best first."""
    law, target = surface.law, surface.target
    free = [parameter for parameter in law.parameters if parameter.name in surface.free]
    typical = float(np.median(target))
    unit = halton(CANDIDATES, len(free))
    values: dict[str, Floats] = {
        name: np.full((CANDIDATES, 1), value) for name, value in surface.constants.items()
    }
    for i, parameter in enumerate(free):
        low, high = parameter.low, parameter.high
        if parameter.transform == "log":
            drawn = low * (high / low) ** unit[:, i : i + 1]
        else:
            drawn = low + (high - low) * unit[:, i : i + 1]
        values[parameter.name] = drawn * (typical if parameter.of_target else 1.0)

    linear = [parameter.name for parameter in free if parameter.linear]
    if linear:
        values |= _amplitudes(surface, values, linear, floor=1e-3 * typical)
    theta = surface.encode({name: values[name][:, 0] for name in surface.free})
    weights = np.ones((1, len(target)))
    objective = np.concatenate(
        [
            objective_values(surface, weights, theta[at : at + 256])
            for at in range(0, CANDIDATES, 256)
        ]
    )
    order = np.argsort(objective, kind="stable")
    chosen: Floats = theta[order[:count]]
    return chosen


def _amplitudes(
    surface: Surface, values: dict[str, Floats], names: list[str], floor: float
) -> dict[str, Floats]:
    """Best amplitudes for each candidate's exponents; those that turn negative are clamped.

    Relative residuals, reweighted a few times so that outliers lose their pull.
    """
    batch, rows = CANDIDATES, len(surface.target)
    basis = np.empty((batch, len(names), rows))
    zero = {name: np.zeros((1, 1)) for name in names}
    with np.errstate(all="ignore"):
        rest = surface.law.predict(**(values | zero), **surface.columns)
        for i, name in enumerate(names):
            unit = values | zero | {name: np.ones((1, 1))}
            basis[:, i] = surface.law.predict(**unit, **surface.columns) - rest
        basis /= surface.target
        wanted = np.broadcast_to(1.0 - rest / surface.target, (batch, rows))
        weights = np.ones((batch, rows))
        for _ in range(ROUNDS):
            weighted = basis * weights[:, None, :]
            gram = np.matmul(weighted, basis.transpose(0, 2, 1))
            right = np.matmul(weighted, wanted[:, :, None])[:, :, 0]
            amplitudes = _clamped_solve(gram, right, floor)
            residual = np.abs(np.einsum("bi,bir->br", amplitudes, basis) - wanted)
            scale = np.median(residual, axis=1, keepdims=True) + 1e-12
            weights = 1.0 / np.maximum(residual, scale)
    return {name: amplitudes[:, i : i + 1] for i, name in enumerate(names)}


def _clamped_solve(gram: Floats, right: Floats, floor: float) -> Floats:
    """Solve each normal system with every unknown at least `floor`, clamping the worst in turn."""
    batch, size = right.shape
    clamped = np.zeros((batch, size), dtype=bool)
    ridge = 1e-10 * np.einsum("bii->b", gram)[:, None, None] * np.eye(size)
    solution = np.full((batch, size), floor)
    for _ in range(size + 1):
        fixed = np.where(clamped, floor, 0.0)
        mask = ~clamped
        system = np.where(mask[:, :, None] & mask[:, None, :], gram + ridge, 0.0)
        system = system + np.where(clamped, 1.0, 0.0)[:, :, None] * np.eye(size)
        side = np.where(mask, right - np.einsum("bij,bj->bi", gram, fixed), floor)
        finite = np.isfinite(system).all(axis=(1, 2)) & np.isfinite(side).all(axis=1)
        solution[finite] = np.linalg.solve(system[finite], side[finite][:, :, None])[:, :, 0]
        lowest = np.argmin(np.where(mask, solution, np.inf), axis=1)
        worst = np.take_along_axis(solution, lowest[:, None], axis=1)[:, 0]
        below = finite & (worst < floor)
        if not below.any():
            break
        clamped[np.flatnonzero(below), lowest[below]] = True
    lifted: Floats = np.maximum(solution, floor)
    return lifted
