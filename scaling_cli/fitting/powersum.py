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

from scaling_cli.laws import Law
from scaling_cli.records import Floats

Rows = np.ndarray[Any, Any]  # a choice of problems of a batch, by mask or by number


@dataclass(frozen=True)
class Slopes:
    """What the derivatives at a point need: d ln prediction / d input, each [batch, rows].

    `inputs` are the floor, the monomials and the power, those that the law has. `share` is the
    power's share of the prediction, the rest is the floor's.
    """

    prediction: Floats
    inputs: list[Floats]
    share: Floats
    power: Floats  # [batch, 1]

    def put(self, rows: Rows, other: Slopes) -> None:
        self.prediction[rows] = other.prediction
        for mine, theirs in zip(self.inputs, other.inputs, strict=True):
            mine[rows] = theirs
        if self.share.ndim:
            self.share[rows] = other.share
        if self.power.ndim:
            self.power[rows] = other.power

    def take(self, rows: Rows) -> Slopes:
        return Slopes(
            self.prediction[rows],
            [item[rows] for item in self.inputs],
            self.share[rows] if self.share.ndim else self.share,
            self.power[rows] if self.power.ndim else self.power,
        )


class PowerSumModel:
    """A power-sum law on given columns, its parameters but `constants` free."""

    def __init__(self, law: Law, columns: Mapping[str, Floats], free: tuple[str, ...]) -> None:
        assert law.form is not None
        self.floor, self.power = law.form.floor, law.form.power
        self.terms = [item for item in law.parameters if item.centre]
        self.logs = {name: np.log(columns[name]) for name in law.variables}
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
        self.pairs = list(combinations_with_replacement(range(len(designs)), 2))

        features: dict[tuple[str, ...], int] = {}
        gradient: list[tuple[int, int, int]] = []  # (input, feature, parameter)
        matrix: list[tuple[int, int, int, int]] = []  # (pair, feature, parameter, parameter)
        for i, design in enumerate(designs):
            for name, by in design:
                gradient.append((i, features.setdefault(by, len(features)), at[name]))
        for pair, (i, j) in enumerate(self.pairs):
            for left, by_left in designs[i]:
                for right, by_right in designs[j]:
                    by = tuple(sorted(by_left + by_right))
                    feature = features.setdefault(by, len(features))
                    matrix.append((pair, feature, at[left], at[right]))
                    if i != j:
                        matrix.append((pair, feature, at[right], at[left]))
        self.features = np.stack(
            [
                np.prod([-self.logs[name] for name in by], axis=0)
                * np.ones_like(columns[law.variables[0]])
                for by in features
            ],
            axis=1,
        )
        count = len(free)
        to_gradient = np.zeros((len(designs), len(features), count))
        for i, feature, p in gradient:
            to_gradient[i, feature, p] += 1
        to_matrix = np.zeros((len(self.pairs), len(features), count, count))
        for pair, feature, p, q in matrix:
            to_matrix[pair, feature, p, q] += 1
        self.to_gradient: Floats = to_gradient.reshape(-1, count)
        self.to_matrix: Floats = to_matrix.reshape(-1, count * count)
        inside = {item.name for item in self.terms} | {self.floor}
        # Coordinates that are the log of what enters linearly: the chain rule's second term.
        self.chained = np.array(
            [name not in inside and law.parameter(name).transform == "log" for name in free]
        )

    def slopes(self, values: Mapping[str, Floats]) -> Slopes:
        """At parameters [batch, 1] on the columns."""
        terms = []
        for term in self.terms:
            log = np.log(values[term.name])
            for column, exponent in term.exponents.items():
                log = log - values[exponent] * self.logs[column]
            terms.append(np.exp(log, out=log))
        total = terms[0] if len(terms) == 1 else sum(terms[1:], terms[0])
        inputs = []
        power = np.ones(())
        raised = total
        if self.power:
            power = values[self.power]
            log_total = np.log(total)
            raised = np.exp(power * log_total)
        prediction, share = raised, np.ones(())
        if self.floor:
            prediction = raised + values[self.floor]
            share = raised / prediction
            inputs.append(values[self.floor] / prediction)
        if self.power:
            outer = power * share / total
            inputs += [outer * term for term in terms]
            inputs.append(share * log_total)
        else:
            inverse = 1.0 / prediction
            inputs += [term * inverse for term in terms]
        return Slopes(prediction, inputs, share, power)

    def sums(
        self, at: Slopes, values: Floats, pull: Floats, gauss: Floats, mix: Floats
    ) -> tuple[Floats, Floats]:
        """Gradient [batch, free] and matrix [batch, free, free] in the free coordinates.

        The sums over rows of `pull` [batch, rows] times first derivatives of ln prediction, and of
        `gauss` times their products plus (1 - mix) pull times second derivatives. `values`
        [batch, free] are the parameters.
        """
        g, n = at.inputs, len(self.pairs)
        exact = (1.0 - mix)[:, None]
        sums = np.empty((len(pull), n + len(g), pull.shape[1]))
        for i, slope in enumerate(g):
            np.multiply(pull, slope, out=sums[:, n + i])
        bent = sums[:, n:] * exact[:, None] if mix.any() else sums[:, n:]
        bend = pull * exact if mix.any() else pull
        # A product of two slopes has one weight among monomials, another with the floor or power.
        with_floor = with_power = among = gauss - bend
        if self.power:
            with_power = gauss + bend * (1.0 / at.share - 1.0)
            among = with_power - bend / (at.power * at.share)
        pair = 0
        for i in range(len(g)):
            floor, weight = bool(self.floor) and i == 0, None
            for j in range(i, len(g)):
                powered = bool(self.power) and j == len(g) - 1
                wanted = with_floor if floor else with_power if powered else among
                if wanted is not weight:
                    weight, left = wanted, wanted * g[i]
                out = np.multiply(left, g[j], out=sums[:, pair])
                if i == j and not powered:
                    out += bent[:, i]
                elif powered and not floor and i != j:
                    out += bent[:, i] / at.power
                pair += 1
        summed = np.matmul(sums, self.features)
        chain = np.where(self.chained, values, 1.0)
        gradient = chain * (summed[:, n:].reshape(len(pull), -1) @ self.to_gradient)
        matrix = summed[:, :n].reshape(len(pull), -1) @ self.to_matrix
        matrix = matrix.reshape(len(pull), *2 * chain.shape[1:])
        matrix *= chain[:, :, None] * chain[:, None, :]
        diagonal = np.einsum("bii->bi", matrix)
        diagonal += (1.0 - mix)[:, None] * np.where(self.chained, gradient, 0.0)
        return gradient, matrix
