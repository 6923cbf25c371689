"""A law over given rows, as the solver sees it: residuals and derivatives in free coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scaling_cli.fitting.objective import Objective
from scaling_cli.laws import Law
from scaling_cli.records import Floats

DIFFERENCE_STEP = 1e-6  # for the curvature only: it steers the step and leaves the optimum alone


@dataclass(frozen=True)
class Surface:
    """`law` on `columns` (each [rows], divided by its scale) against `target` [rows].

    Coordinates are [batch, free]: the logs of positive parameters, the others as they are.
    `constants` are the law's references and the parameters that the user fixed, on scaled columns.
    """

    law: Law
    columns: Mapping[str, Floats]
    target: Floats
    objective: Objective
    constants: Mapping[str, float]

    @cached_property
    def free(self) -> tuple[str, ...]:
        return tuple(name for name in self.law.parameter_names if name not in self.constants)

    @cached_property
    def _logged(self) -> tuple[bool, ...]:
        kinds = {parameter.name: parameter.transform for parameter in self.law.parameters}
        return tuple(kinds[name] == "log" for name in self.free)

    @cached_property
    def _log_target(self) -> Floats:
        return np.log(self.target)

    def decode(self, theta: Floats) -> dict[str, Floats]:
        """Coordinates [batch, free] -> parameters [batch, 1] on scaled columns."""
        values = {name: np.full((1, 1), value) for name, value in self.constants.items()}
        for i, name in enumerate(self.free):
            column = theta[:, i : i + 1]
            values[name] = np.exp(column) if self._logged[i] else column
        return values

    def encode(self, values: Mapping[str, float | Floats]) -> Floats:
        """Parameters (scalars or [batch]) on scaled columns -> coordinates [batch, free]."""
        columns = [
            np.log(np.maximum(values[name], 1e-300)) if self._logged[i] else values[name]
            for i, name in enumerate(self.free)
        ]
        return np.stack([np.atleast_1d(column) for column in columns], axis=-1).astype(float)

    def residuals(self, theta: Floats) -> Floats:
        """[batch, rows]; NaN where the prediction is not a positive number."""
        prediction = self.law.predict(**self.decode(theta), **self.columns)
        if self.objective.log:
            return np.log(prediction) - self._log_target
        return prediction - self.target

    def residuals_and_jacobian(self, theta: Floats) -> tuple[Floats, Floats]:
        """Residuals [batch, rows] and their derivatives [batch, free, rows]."""
        values = self.decode(theta)
        prediction, gradient = self.law.value_and_gradient(values, self.columns)
        jacobian = np.empty((len(theta), len(self.free), len(self.target)))
        for i, name in enumerate(self.free):
            scale = values[name] if self._logged[i] else 1.0
            jacobian[:, i] = gradient[name] * scale
        if not self.objective.log:
            return prediction - self.target, jacobian
        jacobian /= prediction[:, None, :]
        return np.log(prediction) - self._log_target, jacobian

    def curvature(self, theta: Floats, weights: Floats, slope: Floats) -> Floats:
        """Sum over rows of weights times the residuals' second derivatives [batch, free, free].

        By differences of `slope`, the sum of weights times first derivatives [batch, free].
        """
        count = theta.shape[1]
        result = np.empty((len(theta), count, count))
        for i in range(count):
            shifted = theta.copy()
            shifted[:, i] += DIFFERENCE_STEP
            _, jacobian = self.residuals_and_jacobian(shifted)
            moved = np.matmul(jacobian, weights[:, :, None])[:, :, 0]
            result[:, i] = (moved - slope) / DIFFERENCE_STEP
        return 0.5 * (result + result.transpose(0, 2, 1))
