"""Derivatives of laws declared as a `PowerSum`: ln prediction is a nested log-sum-exp.

Its inputs (the log of the floor, the log of each monomial, the power) are linear in the parameters
with the logs of the columns as coefficients, so that sums over rows of second derivatives are
products with a few fixed features, and Newton's matrix costs little more than a prediction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from scaling_cli.fitting.arrays import Scratch, products
from scaling_cli.laws import Law
from scaling_cli.records import Floats

Rows = np.ndarray[Any, Any]  # a choice of problems of a batch, by mask or by number


@dataclass(frozen=True)
class Parts:
    """What a prediction is made of, each [batch, rows]: floor + raised, raised = total**power.

    `log_total` is there only where the law has a power. What is the same is the same array.
    """

    terms: list[Floats]
    total: Floats
    log_total: Floats | None
    raised: Floats
    prediction: Floats

    def put(self, rows: Rows, other: Parts) -> None:
        for mine, theirs in zip(self._all(), other._all(), strict=True):
            mine[rows] = theirs

    def _all(self) -> list[Floats]:
        found = [*self.terms, self.total, self.raised, self.prediction]
        return found if self.log_total is None else [*found, self.log_total]


class PowerSumModel:
    """A power-sum law on given columns, its parameters but `constants` free."""

    def __init__(self, law: Law, columns: Mapping[str, Floats], free: tuple[str, ...]) -> None:
        assert law.form is not None
        self.floor, self.power = law.form.floor, law.form.power
        self.terms = [item for item in law.parameters if item.centre]
        self.logs = {name: np.log(columns[name]) for name in law.variables}
        self.rows = len(columns[law.variables[0]])
        exponents = [name for item in self.terms for name in item.exponents.values()]
        # Whether starts can be had from a grid: all free, and an exponent of its own to each term.
        self.separable = (
            free == law.parameter_names
            and len(self.terms) == len(set(exponents)) == len(exponents) <= 2
        )
        # Each input's free parameters, with the columns whose logs, negated, multiply them.
        designs: list[list[tuple[str, tuple[str, ...]]]] = []
        if self.floor:
            designs.append([(self.floor, ())])
        for term in self.terms:
            by_columns = [(exponent, (column,)) for column, exponent in term.exponents.items()]
            designs.append([(term.name, ()), *by_columns])
        if self.power:
            designs.append([(self.power, ())])
        at = {name: i for i, name in enumerate(free)}
        designs = [[(name, by) for name, by in design if name in at] for design in designs]

        count = len(free)
        self.slopes: list[Floats] = []  # of each input: its features [rows, features]
        to_gradient: list[Floats] = []  # [features, free]
        for design in designs:
            self.slopes.append(self._features([by for _, by in design]))
            to_gradient.append(np.eye(count)[[at[name] for name, _ in design]])
        self.bends: list[Floats] = []  # the same of each pair of inputs
        to_matrix: list[Floats] = []  # [features, free * free]
        for left, right in combinations_with_replacement(designs, 2):
            spread: dict[tuple[str, ...], Floats] = {}
            for name, by_left in left:
                for other, by_right in right:
                    to = spread.setdefault(
                        tuple(sorted(by_left + by_right)), np.zeros((count, count))
                    )
                    to[at[name], at[other]] += 1
                    if left is not right:
                        to[at[other], at[name]] += 1
            self.bends.append(self._features(list(spread)))
            to_matrix.append(np.array(list(spread.values())).reshape(-1, count * count))
        self.to_gradient, self.to_matrix = np.concatenate(to_gradient), np.concatenate(to_matrix)
        inside = {item.name for item in self.terms} | {self.floor}
        # Coordinates that are the log of what enters linearly: the chain rule's second term.
        self.chained = np.array(
            [name not in inside and law.parameter(name).transform == "log" for name in free]
        )

    def _features(self, by: list[tuple[str, ...]]) -> Floats:
        features = np.ones((self.rows, len(by)))
        for i, names in enumerate(by):
            for name in names:
                features[:, i] *= -self.logs[name]
        return features

    def parts(self, values: Mapping[str, Floats], scratch: Scratch) -> Parts:
        """At parameters [batch, 1] on the columns."""
        batch = max(len(value) for value in values.values())
        shape = (batch, self.rows)
        terms = []
        for i, term in enumerate(self.terms):
            log = scratch(f"term {i}", shape)
            log[:] = np.log(values[term.name])
            for column, exponent in term.exponents.items():
                log -= values[exponent] * self.logs[column]
            terms.append(np.exp(log, out=log))
        total = terms[0]
        if len(terms) > 1:
            total = np.add(terms[0], terms[1], out=scratch("total", shape))
            for term_values in terms[2:]:
                total += term_values
        raised, log_total = total, None
        if self.power:
            log_total = np.log(total, out=scratch("log total", shape))
            raised = np.multiply(values[self.power], log_total, out=scratch("raised", shape))
            np.exp(raised, out=raised)
        prediction = raised
        if self.floor:
            prediction = np.add(raised, values[self.floor], out=scratch("prediction", shape))
        return Parts(terms, total, log_total, raised, prediction)

    def sums(
        self,
        at: Parts,
        values: Mapping[str, Floats],
        free: Floats,
        pull: Floats,
        gauss: Floats,
        mix: Floats,
        scratch: Scratch,
    ) -> tuple[Floats, Floats]:
        """Gradient [batch, free] and matrix [batch, free, free] in the free coordinates.

        The sums over rows of `pull` [batch, rows] times first derivatives of ln prediction, and of
        `gauss` times their products plus (1 - mix) pull times second derivatives. `values` are as
        in `parts`, `free` [batch, free] the free ones among them. Overwrites `at`.
        """
        shape = pull.shape
        bend = pull
        if mix.any():
            bend = np.multiply(pull, (1.0 - mix)[:, None], out=scratch("bend", shape))
        # A product of two slopes has one weight among monomials, another with the floor or power.
        with_floor = np.subtract(gauss, bend, out=scratch("with floor", shape))
        with_power = among = with_floor
        inverse = np.divide(1.0, at.prediction, out=scratch("inverse", shape))
        inputs = []
        if self.floor:
            inputs.append(np.multiply(inverse, values[self.floor], out=scratch("floor", shape)))
        if at.log_total is None:
            inputs += [np.multiply(term, inverse, out=term) for term in at.terms]
        else:
            power = values[self.power or ""]
            # The power's share of the prediction; the rest is the floor's.
            share = np.multiply(at.raised, inverse, out=inverse)
            lifted = np.divide(bend, share, out=scratch("lifted", shape))
            with_power = np.add(with_floor, lifted, out=scratch("with power", shape))
            lifted /= power
            among = np.subtract(with_power, lifted, out=lifted)
            outer = np.divide(share, at.total, out=scratch("outer", shape))
            outer *= power
            inputs += [np.multiply(term, outer, out=term) for term in at.terms]
            inputs.append(np.multiply(at.log_total, share, out=at.log_total))

        slope, left, both = (scratch(name, shape) for name in ("slope", "left", "both"))
        slopes, bends = [], []
        last = len(inputs) - 1 if self.power else len(inputs)
        features = iter(self.bends)
        for i, (first, own) in enumerate(zip(inputs, self.slopes, strict=True)):
            slopes.append(products(np.multiply(pull, first, out=slope), own))
            if bend is not pull:
                slope *= (1.0 - mix)[:, None]
            floor = i == 0 and bool(self.floor)
            for j in range(i, len(inputs)):
                weight = with_floor if floor else with_power if j == last else among
                if j in (i, last):
                    np.multiply(weight, first, out=left)
                np.multiply(left, inputs[j], out=both)
                if j == i and j != last:
                    both += slope
                elif j == last and j != i and not floor:
                    slope /= values[self.power or ""]
                    both += slope
                bends.append(products(both, next(features)))
        gradient = products(np.concatenate(slopes, axis=1), self.to_gradient)
        matrix = products(np.concatenate(bends, axis=1), self.to_matrix)
        matrix = matrix.reshape(-1, *2 * gradient.shape[1:])
        chain = np.where(self.chained, free, 1.0)
        gradient *= chain
        matrix *= chain[:, :, None] * chain[:, None, :]
        diagonal = np.einsum("bii->bi", matrix)
        diagonal += (1.0 - mix)[:, None] * np.where(self.chained, gradient, 0.0)
        return gradient, matrix
