"""A power sum's starts from a grid of exponents, whose amplitudes are solved for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from scaling_cli.fitting.powersum import Rows
from scaling_cli.fitting.solver import solve_symmetric
from scaling_cli.fitting.surface import Surface
from scaling_cli.records import Floats

FINE = 24  # exponents of each of two terms; 32 led to the same optimum on 150 ladders
COARSE = 12  # the same where cells are also needed for floors and outer powers
POWERS = 6
FLOORS = np.array([0.03, 0.3, 0.6, 0.8, 0.92, 0.98])  # of the smallest target
BLOCK = 4  # cells by exponent of which one is taken
ROUNDS = 3  # of reweighting towards the median


@dataclass(frozen=True)
class _Cells:
    """Every setting of the outer power and floor, with every exponent of every term.

    `power` and `floor` [settings, 1]; `bases` [per_term, rows] of each term, each row a power of
    the term's column; `raised` [settings, rows] is what the terms add up to, and `relative`
    [settings, rows] what an error in it weighs. A floor that enters linearly is an unknown `more`.
    """

    power: Floats
    floor: Floats
    exponents: list[Floats]
    bases: list[Floats]
    raised: Floats
    relative: Floats
    more: bool

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.raised), *(len(basis) for basis in self.bases))

    def equations(self, weights: Floats) -> tuple[Floats, Floats]:
        """The normal equations of each cell's amplitudes, rows weighted by `weights`
        [settings, rows]: a matrix [*shape, unknowns, unknowns] and a right side."""
        raised, bases, terms = self.raised, self.bases, len(self.bases)
        unknowns = terms + self.more
        gram = np.empty((*self.shape, unknowns, unknowns))
        right = np.empty((*self.shape, unknowns))
        ones = [1] * terms

        def spread(values: Floats, term: int) -> Floats:
            """[settings, per_term] of one term, to every cell."""
            axes = ones.copy()
            axes[term] = self.shape[1 + term]
            return values.reshape(len(raised), *axes)

        for i, basis in enumerate(bases):
            gram[..., i, i] = spread(weights @ (basis**2).T, i)
            right[..., i] = spread((weights * raised) @ basis.T, i)
            if self.more:
                gram[..., i, terms] = gram[..., terms, i] = spread(weights @ basis.T, i)
        if terms == 2:
            crossed = np.matmul(weights[:, None, :] * bases[0], bases[1].T)
            gram[..., 0, 1] = gram[..., 1, 0] = crossed
        if self.more:
            gram[..., terms, terms] = np.sum(weights, axis=1).reshape(-1, *ones)
            right[..., terms] = np.sum(weights * raised, axis=1).reshape(-1, *ones)
        return gram, right

    def solved(self, robust: Floats, least: float) -> tuple[Floats, Floats]:
        """The misfit [*shape] of each cell and its amplitudes [cells, unknowns], none below
        `least`, with the rows weighted by `robust` [rows]."""
        weights = self.relative**2 * robust
        gram, right = self.equations(weights)
        flat, side = gram.reshape(-1, *gram.shape[-2:]), right.reshape(-1, right.shape[-1])
        amplitudes = clamped_solve(flat, side, least)
        misfit = np.einsum("bi,bi->b", amplitudes, np.einsum("bij,bj->bi", flat, amplitudes))
        misfit -= 2 * np.einsum("bi,bi->b", amplitudes, side)
        total = np.sum(weights * self.raised**2, axis=1)
        return misfit.reshape(self.shape) + total.reshape(-1, *[1] * len(self.bases)), amplitudes

    def reweighted(self, misfit: Floats, amplitudes: Floats) -> Floats:
        """Weights [rows] that take the best cell's fit towards the median."""
        best = np.unravel_index(int(np.argmin(misfit)), self.shape)
        fitted = amplitudes.reshape(*self.shape, -1)[best]
        terms = len(self.bases)
        made = sum(fitted[i] * self.bases[i][best[1 + i]] for i in range(terms))
        made = made + (fitted[terms] if self.more else 0.0)
        residual = np.abs(self.relative[best[0]] * (made - self.raised[best[0]]))
        robust: Floats = 1.0 / np.maximum(residual, np.median(residual) + 1e-12)
        robust /= np.mean(robust)
        return robust

    def apart(self, misfit: Floats, count: int) -> tuple[Rows, Rows]:
        """The best `count` cells, one of each block of neighbours: their places in the flat array
        of cells and along each axis [axes, cells]."""
        cells = np.argsort(misfit, axis=None, kind="stable")
        where = np.stack(np.unravel_index(cells, self.shape))
        blocks = np.ravel_multi_index(
            tuple(np.concatenate([where[:1], where[1:] // BLOCK])), self.shape
        )
        _, first = np.unique(blocks, return_index=True)
        chosen = np.sort(first)[:count]
        return cells[chosen], where[:, chosen]


def grid_starts(surface: Surface, count: int, typical: float, units: Floats) -> Floats:
    """The best cells of a grid of exponents, as starts [<= count, free] that lie apart.

    Rows enter all cells with the same weights, so that the cells' normal equations are a few
    products of matrices. Residuals are divided by `units` [rows]; an amplitude is at least a
    thousandth of `typical`, the median target.
    """
    cells = _cells(surface, units)
    robust = np.ones(len(surface.target))
    for _ in range(ROUNDS):
        misfit, amplitudes = cells.solved(robust, 1e-3 * typical)
        robust = cells.reweighted(misfit, amplitudes)
    chosen, where = cells.apart(misfit, count)
    return surface.encode(dict(_values(surface, cells, amplitudes[chosen], where)))


def _cells(surface: Surface, units: Floats) -> _Cells:
    law, target, form = surface.law, surface.target, surface.form
    assert form
    powers, floors = np.ones(1), np.zeros(1)
    if form.power:
        parameter = law.parameter(form.power)
        powers = np.geomspace(parameter.low, parameter.high, POWERS)
        if form.floor:
            floors = FLOORS * float(np.min(target))
    per_term = (FINE if len(powers) == 1 else COARSE) if len(form.terms) > 1 else FINE**2
    power, floor = (axis.ravel()[:, None] for axis in np.meshgrid(powers, floors, indexing="ij"))
    raised = (target - floor) ** (1 / power)
    exponents, bases = [], []
    for term in form.terms:
        ((column, name),) = term.exponents.items()
        parameter = law.parameter(name)
        exponents.append(np.geomspace(parameter.low, parameter.high, per_term))
        bases.append(np.exp(-exponents[-1][:, None] * form.logs[column]))
    relative = power * raised ** (power - 1) / units
    more = bool(form.floor and not form.power)
    return _Cells(power, floor, exponents, bases, raised, relative, more)


def _values(
    surface: Surface, cells: _Cells, amplitudes: Floats, where: Rows
) -> Iterator[tuple[str, Floats]]:
    """Each parameter's values [cells] at the cells that lie at `where` [axes, cells]."""
    form = surface.form
    assert form
    for i, term in enumerate(form.terms):
        yield term.name, amplitudes[:, i]
        yield next(iter(term.exponents.values())), cells.exponents[i][where[1 + i]]
    if form.floor:
        yield form.floor, cells.floor[where[0], 0] if form.power else amplitudes[:, -1]
    if form.power:
        yield form.power, cells.power[where[0], 0]


def clamped_solve(gram: Floats, right: Floats, floor: Floats | float) -> Floats:
    """Solve each normal system with every unknown at least its `floor`, clamping the worst in
    turn."""
    batch, size = right.shape
    floor = np.broadcast_to(np.asarray(floor, dtype=float), (size,))
    solution = np.where(np.isfinite(floor), floor, 0.0) * np.ones((batch, 1))
    left = np.flatnonzero(np.isfinite(gram).all(axis=(1, 2)) & np.isfinite(right).all(axis=1))
    system, side = gram[left], right[left]
    diagonal = np.einsum("bii->bi", system)
    diagonal += 1e-10 * np.sum(diagonal, axis=1, keepdims=True)
    clamped = np.zeros((len(left), size), dtype=bool)
    while len(left):
        unclamped = solve_symmetric(system, side)
        solution[left] = unclamped
        over = np.where(clamped | np.isinf(floor), np.inf, unclamped - floor)
        worst = np.argmin(over, axis=1)
        below = np.flatnonzero(over[np.arange(len(left)), worst] < 0)
        left, worst, clamped = left[below], worst[below], clamped[below]
        system, side = system[below], side[below]
        rows = np.arange(len(left))
        side -= floor[worst][:, None] * system[rows, :, worst]
        system[rows, :, worst] = system[rows, worst, :] = 0.0
        system[rows, worst, worst] = 1.0
        side[rows, worst] = floor[worst]
        clamped[rows, worst] = True
    lifted: Floats = np.fmax(solution, floor)
    return lifted
