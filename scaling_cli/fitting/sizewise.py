"""Derivatives of laws declared as `Curves`: each curve at the few places of the rows.

A row's prediction depends on its three curves' values alone, so that sums over the rows of one size
come first, and the curves' own derivatives, of which there are many, meet only these.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scaling_cli.fitting.arrays import Scratch
from scaling_cli.fitting.powersum import Parts, chain
from scaling_cli.laws import Law
from scaling_cli.records import Floats

PLACES = {"floor": 0, "log_data": 1, "exponent": 2}
PAIRS = ((0, 1, 2), (1, 3, 4), (2, 4, 5))  # where each two curves' product stands among the six


class CurvesModel:
    """Such a law on given columns, its parameters but `constants` free."""

    def __init__(self, law: Law, columns: Mapping[str, Floats], free: tuple[str, ...]) -> None:
        assert law.curves is not None
        self.curves, self.free = law.curves, {name: i for i, name in enumerate(free)}
        sizes, self.size_of = np.unique(columns[self.curves.by], return_inverse=True)
        self.sizes = {self.curves.by: sizes}
        self.order = np.argsort(self.size_of, kind="stable")
        self.firsts = np.searchsorted(self.size_of[self.order], np.arange(len(sizes)))
        self.log_along = np.log(columns[self.curves.along])
        self.logs = np.array([law.parameter(name).transform == "log" for name in free])

    def parts(self, values: Mapping[str, Floats], scratch: Scratch) -> Parts:
        """At parameters [batch, 1] on the columns. The third of the inputs is yet to be made."""
        batch, rows = max(len(value) for value in values.values()), len(self.log_along)
        curves = [
            np.broadcast_to(curve, (batch, len(self.firsts)))
            for curve in self.curves.at(**values, **self.sizes)
        ]
        inputs = scratch("inputs", (3, batch, rows))
        for curve, on_rows in zip(curves, inputs, strict=True):
            np.take(curve, self.size_of, axis=1, out=on_rows, mode="clip")
        floor, data, exponent = inputs
        exponent *= self.log_along
        data -= exponent
        np.exp(data, out=data)
        prediction = np.add(floor, data, out=scratch("prediction", data.shape))
        return Parts(inputs, data, None, data, prediction)

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
        """Gradient [batch, free] and matrix [batch, free, free], as `PowerSumModel.sums`."""
        (batch, rows), exact = pull.shape, (1.0 - mix)[:, None]
        bend = np.multiply(pull, exact, out=scratch("bend", pull.shape))
        weight = np.subtract(gauss, bend, out=scratch("weight", pull.shape))

        # The derivatives of ln prediction by the curves, then what is summed over a size's rows:
        # each slope, and each pair's product with the second derivative by them.
        inputs = at.inputs
        by_floor, by_data, by_exponent = inputs
        np.divide(1.0, at.prediction, out=by_floor)
        by_data *= by_floor
        np.multiply(by_data, -self.log_along, out=by_exponent)
        summed = scratch("summed", (9, batch, rows))
        np.multiply(pull, inputs, out=summed[:3])
        np.multiply(np.multiply(weight, by_floor, out=summed[8]), inputs, out=summed[3:6])
        by_weight = np.multiply(weight, by_data, out=scratch("by weight", pull.shape))
        by_weight += bend
        np.multiply(by_weight, inputs[1:], out=summed[6:8])
        np.multiply(by_weight, -self.log_along, out=by_weight)
        np.multiply(by_weight, by_exponent, out=summed[8])
        ordered = np.take(summed, self.order, axis=2, out=scratch("ordered", summed.shape))
        sums = np.add.reduceat(ordered, self.firsts, axis=2)
        slope, pairs = sums[:3], sums[3:]

        slopes, bends = self.curves.derivatives(**values, **self.sizes)
        size = len(self.firsts)
        jacobian = np.zeros((batch, len(self.free), 3, size))
        for (curve, name), value in slopes.items():
            if name in self.free:
                jacobian[:, self.free[name], PLACES[curve]] = value
        bent = scratch("bent", jacobian.shape)
        for place, (first, *rest) in enumerate(PAIRS):
            np.multiply(pairs[first][:, None], jacobian[:, :, 0], out=bent[:, :, place])
            for other, pair in enumerate(rest, 1):
                bent[:, :, place] += pairs[pair][:, None] * jacobian[:, :, other]
        flat, bent = (item.reshape(batch, -1, 3 * size) for item in (jacobian, bent))
        gradient = np.matmul(flat, slope.transpose(1, 0, 2).reshape(batch, -1, 1))[:, :, 0]
        matrix = np.matmul(flat, bent.transpose(0, 2, 1))
        if np.count_nonzero(exact):
            self._bend(matrix, slope, exact, bends(), scratch)
        chain(self.logs, free, exact, gradient, matrix)
        return gradient, matrix

    def _bend(
        self,
        matrix: Floats,
        slope: Floats,
        exact: Floats,
        bends: Mapping[tuple[str, str, str], Floats],
        scratch: Scratch,
    ) -> None:
        """Adds to the matrix `slope` [curves, batch, sizes] times the curves' second derivatives,
        in the share `exact` [batch, 1]."""
        second = [
            (value, PLACES[curve], self.free[name], self.free[other])
            for (curve, name, other), value in bends.items()
            if name in self.free and other in self.free
        ]
        bent = scratch("second", (len(second), *slope.shape[1:]))
        for (value, *_), row in zip(second, bent, strict=True):
            row[:] = value
        bent *= slope[[curve for _, curve, _, _ in second]]
        added = exact[:, 0] * np.sum(bent, axis=2)
        for (_, _, i, j), entry in zip(second, added, strict=True):
            matrix[:, i, j] += entry
            if i != j:
                matrix[:, j, i] += entry
