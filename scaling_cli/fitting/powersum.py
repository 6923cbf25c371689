"""Derivatives of laws declared as a `PowerSum`: ln prediction is a nested log-sum-exp.

Its inputs (the floor, the log of each monomial, the power) are linear in the parameters
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

    `inputs` [inputs, batch, rows] holds the monomials, between the places of the floor and the
    power. `log_total` is there only where the law has a power. What is the same is the same array.
    """

    inputs: Floats
    total: Floats
    log_total: Floats | None
    raised: Floats
    prediction: Floats

    def put(self, rows: Rows, other: Parts) -> None:
        self.inputs[:, rows] = other.inputs
        for mine, theirs in zip(self._sums(), other._sums(), strict=True):
            mine[rows] = theirs

    def _sums(self) -> list[Floats]:
        sums = [self.total, self.raised, self.prediction]
        return sums if self.log_total is None else [*sums, self.log_total]


def chain(logs: Rows, free: Floats, exact: Floats, gradient: Floats, matrix: Floats) -> None:
    """From derivatives by parameters to those by coordinates, of which `logs` [free] are logs.

    `exact` [batch, 1] is the share that the matrix has of second derivatives.
    """
    slope = np.where(logs, free, 1.0)
    gradient *= slope
    matrix *= slope[:, :, None] * slope[:, None, :]
    diagonal = np.einsum("bii->bi", matrix)
    diagonal += exact * np.where(logs, gradient, 0.0)


# Each input's free parameters, with the columns whose logs, negated, multiply them.
Designs = list[list[tuple[str, tuple[str, ...]]]]
Features = dict[tuple[str, ...], int]  # the place of each product of columns' logs


def _features(designs: Designs, pairs: list[tuple[int, int]]) -> Features:
    features: Features = {}
    for i, j in pairs:
        for _, left in designs[i]:
            for _, right in designs[j]:
                features.setdefault(tuple(sorted(left + right)), len(features))
    for design in designs:
        for _, by in design:
            features.setdefault(by, len(features))
    return features


class PowerSumModel:
    """A power-sum law on given columns, its parameters but `constants` free."""

    def __init__(self, law: Law, columns: Mapping[str, Floats], free: tuple[str, ...]) -> None:
        assert law.form is not None
        self.floor, self.power = law.form.floor, law.form.power
        self.terms = [item for item in law.parameters if item.centre]
        self.logs = {name: np.log(columns[name]) for name in law.variables}
        self.rows = len(columns[law.variables[0]])
        # A monomial's log is its amplitude's and the exponents, times these [1 + columns, rows].
        places = {name: place for place, name in enumerate(self.logs)}
        self._minus_logs = np.array([np.ones(self.rows), *(-log for log in self.logs.values())])
        self._monomials = [
            (item.name, [(by, 1 + places[column]) for column, by in item.exponents.items()])
            for item in self.terms
        ]
        exponents = [name for item in self.terms for name in item.exponents.values()]
        # Whether starts can be had from a grid: all free, and an exponent of its own to each term.
        self.separable = (
            free == law.parameter_names
            and len(self.terms) == len(set(exponents)) == len(exponents) <= 2
        )
        designs = self._designs(free)
        self.inputs, first = len(designs), 1 if self.floor else 0
        self.among = slice(first, first + len(self.terms))
        pairs = list(combinations_with_replacement(range(self.inputs), 2))
        features = _features(designs, pairs)
        # [rows, features]: products of the columns' logs, negated.
        self.features = np.ones((self.rows, len(features)))
        for names, place in features.items():
            for name in names:
                self.features[:, place] *= -self.logs[name]
        self.pairs = len(pairs)
        self.to_gradient, self.to_matrix = self._assembled(designs, pairs, features, free)
        # Coordinates that are the log of what enters linearly: the chain rule's second term.
        monomials = {item.name for item in self.terms}
        self.chained = np.array(
            [name not in monomials and law.parameter(name).transform == "log" for name in free]
        )

    def _designs(self, free: tuple[str, ...]) -> Designs:
        designs: Designs = [[(self.floor, ())]] if self.floor else []
        for term in self.terms:
            by_columns = [(exponent, (column,)) for column, exponent in term.exponents.items()]
            designs.append([(term.name, ()), *by_columns])
        if self.power:
            designs.append([(self.power, ())])
        return [[(name, by) for name, by in design if name in free] for design in designs]

    def _assembled(
        self,
        designs: Designs,
        pairs: list[tuple[int, int]],
        features: Features,
        free: tuple[str, ...],
    ) -> tuple[Floats, Floats]:
        """What takes sums over rows of slopes times features to the gradient, and of the pairs'
        products and second derivatives to the matrix."""
        count, places = len(free), {name: i for i, name in enumerate(free)}
        # The matrix is summed from the pairs' products of slopes, from each monomial's own second
        # derivative, which is its slope, and from what it has together with the power.
        first, last = self.among.start, self.among.stop
        sources: list[tuple[int, int] | None] = [*pairs]
        sources += [(i, i) if first <= i < last else None for i in range(self.inputs)]
        if self.power:
            sources += [(i, last) if first <= i < last else None for i in range(self.inputs)]
        to_gradient = np.zeros((self.inputs, len(features), count))
        to_matrix = np.zeros((len(sources), len(features), count, count))
        for i, design in enumerate(designs):
            for name, by in design:
                to_gradient[i, features[by], places[name]] += 1
        for place, pair in enumerate(sources):
            i, j = pair or (0, 0)
            for name, left in designs[i] if pair else []:
                for other, right in designs[j]:
                    to = to_matrix[place, features[tuple(sorted(left + right))]]
                    to[places[name], places[other]] += 1
                    if i != j:
                        to[places[other], places[name]] += 1
        return to_gradient.reshape(-1, count), to_matrix.reshape(-1, count * count)

    def parts(self, values: Mapping[str, Floats], scratch: Scratch) -> Parts:
        """At parameters [batch, 1] on the columns."""
        batch = max(len(value) for value in values.values())
        shape = (batch, self.rows)
        inputs = scratch("inputs", (self.inputs, *shape))
        terms = inputs[self.among]
        coefficients = np.zeros((len(terms), batch, len(self._minus_logs)))
        for (name, exponents), those in zip(self._monomials, coefficients, strict=True):
            those[:, :1] = np.log(values[name])
            for exponent, place in exponents:
                those[:, place : place + 1] = values[exponent]
        flat = coefficients.reshape(-1, len(self._minus_logs))
        products(flat, self._minus_logs, terms.reshape(-1, self.rows))
        np.exp(terms, out=terms)
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
        return Parts(inputs, total, log_total, raised, prediction)

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
        shape, exact = pull.shape, (1.0 - mix)[:, None]
        bend = pull
        if np.count_nonzero(mix):
            bend = np.multiply(pull, exact, out=scratch("bend", shape))
        inputs = at.inputs
        weights = self._slopes(at, values, gauss, bend, scratch)

        # What is summed: the slope of each input, and the product of each pair's.
        summed = scratch("summed", (self.inputs + self.pairs, *shape))
        np.multiply(pull, inputs, out=summed[: self.inputs])
        self._multiply_pairs(inputs, weights, summed[self.inputs :], scratch)
        sums = products(summed.reshape(-1, self.rows), self.features)
        sums = sums.reshape(len(summed), shape[0], -1).transpose(1, 0, 2)
        slopes = sums[:, : self.inputs]
        gradient = products(slopes.reshape(shape[0], -1), self.to_gradient)
        # An input's own second derivative is its slope; that by a monomial and the power is too.
        bends = [sums[:, self.inputs :], exact[..., None] * slopes]
        if self.power:
            bends.append(bends[1] / values[self.power][..., None])
        matrix = products(np.concatenate(bends, axis=1).reshape(shape[0], -1), self.to_matrix)
        matrix = matrix.reshape(-1, *2 * gradient.shape[1:])
        chain(self.chained, free, exact, gradient, matrix)
        return gradient, matrix

    def _slopes(
        self, at: Parts, values: Mapping[str, Floats], gauss: Floats, bend: Floats, scratch: Scratch
    ) -> tuple[Floats, Floats, Floats]:
        """Turns the inputs into slopes of ln prediction; the weights [batch, rows] of a product of
        two slopes: with the floor, with the power, and among monomials."""
        shape, inputs = bend.shape, at.inputs
        with_floor = np.subtract(gauss, bend, out=scratch("with floor", shape))
        inverse = inputs[0] if self.floor else scratch("inverse", shape)
        np.divide(1.0, at.prediction, out=inverse)
        if at.log_total is None:
            inputs[self.among] *= inverse
            return with_floor, with_floor, with_floor
        power = values[self.power or ""]
        # The power's share of the prediction; the rest is the floor's.
        share = np.multiply(at.raised, inverse, out=scratch("share", shape))
        lifted = np.divide(bend, share, out=scratch("lifted", shape))
        with_power = np.add(with_floor, lifted, out=scratch("with power", shape))
        lifted /= power
        among = np.subtract(with_power, lifted, out=lifted)
        outer = np.divide(share, at.total, out=scratch("outer", shape))
        outer *= power
        inputs[self.among] *= outer
        np.multiply(at.log_total, share, out=inputs[-1])
        return with_floor, with_power, among

    def _multiply_pairs(
        self,
        slopes: Floats,
        weights: tuple[Floats, Floats, Floats],
        pairs: Floats,
        scratch: Scratch,
    ) -> None:
        """Fills `pairs` [pairs, batch, rows] with the weighted products of two slopes."""
        with_floor, with_power, among = weights
        left, place, last = scratch("left", among.shape), 0, self.among.stop
        if self.power:
            by_power = np.multiply(with_power, slopes[-1], out=scratch("by power", among.shape))
        for i, first in enumerate(slopes):
            here = pairs[place : place + self.inputs - i]
            place += len(here)
            if i == last:
                np.multiply(by_power, first, out=here[0])
            elif i < self.among.start:
                np.multiply(np.multiply(with_floor, first, out=left), slopes, out=here)
            else:
                np.multiply(among, first, out=left)
                np.multiply(left, slopes[i:last], out=here[: last - i])
                if self.power:
                    np.multiply(by_power, first, out=here[-1])
