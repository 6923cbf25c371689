"""A law over given rows, as the solver sees it: residuals and derivatives in free coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from scaling_cli.fitting.arrays import Scratch
from scaling_cli.fitting.objective import Objective
from scaling_cli.fitting.powersum import Parts, PowerSumModel, Rows
from scaling_cli.fitting.sizewise import CurvesModel
from scaling_cli.fitting.transforms import TRANSFORMS, Transform
from scaling_cli.laws import Law
from scaling_cli.records import Floats

COORDINATE_LIMIT = 80.0  # exp(80) is beyond every parameter; stops a coordinate from overflowing
LEAST_FLOOR = 1e-12  # of the median target: a floor at its bound, as good as none
DIFFERENCE_STEP = 1e-6  # for the curvature only: it steers the step and leaves the optimum alone


@dataclass(frozen=True)
class Point:
    """A batch of points: coordinates [batch, free], residuals [batch, rows], the objective's slope
    by them, and what a law with a closed form makes its derivatives of."""

    theta: Floats
    residuals: Floats
    slope: Floats
    parts: Parts | None

    def put(self, rows: Rows, other: Point) -> None:
        """Replace these rows of the batch."""
        self.theta[rows], self.residuals[rows] = other.theta, other.residuals
        self.slope[rows] = other.slope
        if self.parts and other.parts:
            self.parts.put(rows, other.parts)


def on_scale(
    law: Law, columns: Mapping[str, Floats]
) -> tuple[dict[str, float], dict[str, Floats], dict[str, float]]:
    """The scales of the columns that `law` lets be divided (their geometric means), the columns
    divided by them, and the law's references on these."""
    scales = {name: middle(columns[law.same_scale.get(name, name)]) for name in law.scaled_columns}
    scaled = {n: value / scales[n] if n in scales else value for n, value in columns.items()}
    return scales, scaled, {name: middle(scaled[of]) for name, of in law.references.items()}


def middle(values: Floats) -> float:
    """Geometric mean."""
    return float(np.exp(np.mean(np.log(values))))


@dataclass(frozen=True)
class Surface:
    """`law` on `columns` (each [rows], divided by its scale) against `target` [rows].

    Coordinates are [batch, free]: the parameters by their transforms. `trials` [rows] count the
    tries behind each target, for the binomial objective.
    `constants` are the law's references and the parameters that the user fixed, on scaled columns;
    `weights` [rows] say how much each row counts, all the same without, and `bounds` hold
    parameters in a range.
    """

    law: Law
    columns: Mapping[str, Floats]
    target: Floats
    objective: Objective
    constants: Mapping[str, float]
    trials: Floats | None = None
    weights: Floats | None = None
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def weighted(self, counts: Floats) -> Floats:
        """How much each row counts [batch, rows] where it is drawn so often [batch, rows]."""
        return counts if self.weights is None else counts * self.weights

    @cached_property
    def free(self) -> tuple[str, ...]:
        return tuple(name for name in self.law.parameter_names if name not in self.constants)

    @cached_property
    def _transforms(self) -> tuple[Transform, ...]:
        return tuple(TRANSFORMS[self.law.parameter(name).transform] for name in self.free)

    @cached_property
    def _all_logs(self) -> bool:
        """Whether one exponential decodes all coordinates, as it does for power sums."""
        return all(transform is TRANSFORMS["log"] for transform in self._transforms)

    @cached_property
    def _floors(self) -> Rows:
        """The coordinates that are logs of a declared floor; one that may be negative is none."""
        pairs = zip(self.free, self._transforms, strict=True)
        log = TRANSFORMS["log"]
        return np.flatnonzero([name == self.law.floor and by is log for name, by in pairs])

    @cached_property
    def _straight(self) -> slice | Rows:
        """Coordinates that a step moves as their parameter, not as its log: a declared floor.

        Where a floor and an amplitude all but cancel, the valley between them is straight in the
        floor itself; a floor that wants to be zero gets there in one step, not thirty.
        """
        at = self._floors
        return slice(at[0], at[0] + 1) if len(at) == 1 else at

    def decode(self, theta: Floats) -> dict[str, Floats]:
        """Coordinates [batch, free] -> parameters [batch, 1] on scaled columns."""
        values = {name: np.full((1, 1), value) for name, value in self.constants.items()}
        if self._all_logs:
            theta = np.exp(theta)
        for i, name in enumerate(self.free):
            column = theta[:, i : i + 1]
            values[name] = column if self._all_logs else self._transforms[i].decode(column)
        return values

    def encode(self, values: Mapping[str, float | Floats]) -> Floats:
        """Parameters (scalars or [batch]) on scaled columns -> coordinates [batch, free]."""
        columns = [self._transforms[i].encode(values[name]) for i, name in enumerate(self.free)]
        return np.stack([np.atleast_1d(column) for column in columns], axis=-1).astype(float)

    @cached_property
    def _unit(self) -> float:
        return float(np.median(np.abs(self.target)))

    @cached_property
    def unlimited(self) -> Rows:
        """Whether each coordinate [free] is a linear parameter of either sign: it has the unit of
        its column, and a step in it is good for any length."""
        items = [self.law.parameter(name) for name in self.free]
        return np.array([item.linear and item.transform == "identity" for item in items])

    def for_steps(
        self, theta: Floats, gradient: Floats, matrix: Floats, mix: Floats
    ) -> tuple[Floats, Floats]:
        """Gradient and matrix by the coordinates that `moved` takes a step in; changes them."""
        at = self._straight
        lift = self._unit * np.exp(-theta[:, at])
        diagonal = np.einsum("bii->bi", matrix)
        diagonal[:, at] -= (1.0 - mix)[:, None] * gradient[:, at]
        gradient[:, at] *= lift
        matrix[:, at] *= lift[:, :, None]
        matrix[:, :, at] *= lift[:, None]
        return gradient, matrix

    @cached_property
    def limits(self) -> tuple[Floats, Floats]:
        """The lowest and the highest value of each coordinate [free]."""
        highest = np.where(self.unlimited, np.inf, COORDINATE_LIMIT)
        lowest = -highest
        lowest[self._straight] = np.log(LEAST_FLOOR * self._unit)
        for i, (name, transform) in enumerate(zip(self.free, self._transforms, strict=True)):
            if name in self.bounds:
                low, high = sorted(float(transform.encode(end)) for end in self.bounds[name])
                lowest[i], highest[i] = np.clip((low, high), lowest[i], highest[i])
        return lowest, highest

    def inside(self, theta: Floats) -> Floats:
        """The coordinates [batch, free] within their limits."""
        within: Floats = np.clip(theta, *self.limits)
        return within

    def step_limits(self, theta: Floats) -> tuple[Floats, Floats]:
        """The steps [batch, free] that take each coordinate to its limits."""
        lowest, highest = (limit - theta for limit in self.limits)
        at = self._straight
        level = np.exp(theta[:, at]) / self._unit
        for limit, step in zip(self.limits, (lowest, highest), strict=True):
            step[:, at] = np.exp(limit[at]) / self._unit - level
        return lowest, highest

    def moved(self, theta: Floats, step: Floats) -> Floats:
        """Where a step leads: a floor takes up what the amplitudes' step bends.

        Along the valley between floor, amplitude and exponent the level at the middle of the rows
        hardly changes; a step straight in floor and amplitudes leaves the valley soon. On 25
        ladders of 20 runs the slowest of 100 resamples takes 55 steps so, and 215 without.
        """
        at = self._straight
        level = np.exp(theta[:, at]) / self._unit + step[:, at]
        level -= self._bent(theta, step) / self._unit
        moved: Floats = theta + step
        moved[:, at] = np.log(np.maximum(level, LEAST_FLOOR) * self._unit)
        return self.inside(moved)

    @cached_property
    def _amplitudes(self) -> list[int]:
        """The coordinates that are logs of amplitudes."""
        return [
            i
            for i, name in enumerate(self.free)
            if name in self.law.amplitudes and self._transforms[i] is TRANSFORMS["log"]
        ]

    def _bent(self, theta: Floats, step: Floats) -> Floats:
        """What a step adds to the prediction above each floor [batch, floors] at the middle of the
        rows, where every column is at its scale or reference, beyond the step's linear part."""
        if not len(self._floors):
            return np.zeros((1, 1))
        by = step[:, self._amplitudes]
        amplitudes = np.exp(theta[:, self._amplitudes])
        linear = np.einsum("bi,bi->b", amplitudes, by)
        grown = np.einsum("bi,bi->b", amplitudes, np.expm1(by))
        power = self.law.form and self.law.form.power
        if not power:
            bent: Floats = grown - linear
            return bent[:, None]
        total = np.sum(amplitudes, axis=1)
        total += sum(self.constants.get(name, 0.0) for name in self.law.amplitudes)
        value, by_value = np.full(1, self.constants.get(power, 1.0)), np.zeros(1)
        if power in self.free:
            at = self.free.index(power)
            value, by_value = np.exp(theta[:, at]), step[:, at]
        moved = (total + grown) ** (value * np.exp(by_value))
        bent = moved - total**value * (1 + value * (linear / total + by_value * np.log(total)))
        return bent[:, None]

    @cached_property
    def form(self) -> PowerSumModel | None:
        """The law as a power sum on these columns, where it declares that it is one."""
        if self.law.form is None or self.objective.binomial:
            return None
        return PowerSumModel(self.law, self.columns, self.free)

    @cached_property
    def model(self) -> PowerSumModel | CurvesModel | None:
        """What makes predictions and derivatives of a law that declares a closed form."""
        if self.law.curves is None or self.objective.binomial:
            return self.form
        return CurvesModel(self.law, self.columns, self.free)

    def residuals(self, theta: Floats) -> Floats:
        """[batch, rows]; NaN where the prediction is not a positive number."""
        return self.at(theta).residuals

    def at(self, theta: Floats, scratch: Scratch | None = None) -> Point:
        """The residuals at `theta`, and what their derivatives can use again.

        With `scratch` they are good until the next call.
        """
        scratch = scratch or Scratch()
        values, parts = self.decode(theta), None
        shape = (len(theta), len(self.target))
        if self.model:
            parts = self.model.parts(values, scratch)
            prediction = parts.prediction
        else:
            prediction = self.law.predict(**values, **self.columns)
        residuals = self.objective.residuals(
            prediction, self.target, self.trials, scratch("residuals", shape)
        )
        slope = self.objective.slope(residuals, scratch("objective slope", shape))
        return Point(theta, residuals, slope, parts)

    def residuals_and_jacobian(self, theta: Floats) -> tuple[Floats, Floats]:
        """Residuals [batch, rows] and their derivatives [batch, free, rows]."""
        values = self.decode(theta)
        prediction, gradient = self.law.value_and_gradient(values, self.columns)
        jacobian = np.empty((len(theta), len(self.free), len(self.target)))
        for i, name in enumerate(self.free):
            jacobian[:, i] = gradient[name] * self._transforms[i].slope(values[name])
        residuals = self.objective.residuals(prediction, self.target, self.trials)
        slope = self.objective.by_prediction(residuals, prediction, self.target, self.trials)
        jacobian *= slope[:, None, :]
        return residuals, jacobian

    def sums(
        self,
        point: Point,
        pull: Floats,
        gauss: Floats,
        mix: Floats,
        scratch: Scratch | None = None,
    ) -> tuple[Floats, Floats]:
        """Gradient [batch, free] and matrix [batch, free, free] of a weighted sum of residuals.

        The gradient is the sum over rows of `pull` [batch, rows] times first derivatives; the
        matrix that of `gauss` times their products and 1 - `mix` [batch] times pull times second
        derivatives. Uses the point up.
        """
        if self.model and point.parts:
            values = self.decode(point.theta)
            free = np.concatenate([values[name] for name in self.free], axis=1)
            if not self.objective.log:
                level = point.parts.prediction
                pull = pull * level
                gauss = gauss * level**2 + (1.0 - mix)[:, None] * pull
            scratch = scratch or Scratch()
            return self.model.sums(point.parts, values, free, pull, gauss, mix, scratch)
        _, jacobian = self.residuals_and_jacobian(point.theta)
        gradient = np.matmul(jacobian, pull[:, :, None])[:, :, 0]
        matrix = np.matmul(jacobian * gauss[:, None, :], jacobian.transpose(0, 2, 1))
        exact = mix < 1
        if exact.any():
            curvature = self.curvature(
                point.theta[exact], pull[exact], gradient[exact], jacobian[exact]
            )
            matrix[exact] += (1.0 - mix[exact])[:, None, None] * curvature
        return gradient, matrix

    def _bends(
        self, values: Mapping[str, Floats], weights: Floats
    ) -> dict[tuple[str, str], Floats]:
        """Sums over rows of weights times the law's second derivatives [batch]."""
        if self.law.bend:
            return self.law.bend(weights, **values, **self.columns)
        assert self.law.hessian
        second = self.law.hessian(**values, **self.columns)
        return {pair: np.sum(weights * item, axis=1) for pair, item in second.items()}

    def curvature(self, theta: Floats, weights: Floats, slope: Floats, jacobian: Floats) -> Floats:
        """Sum over rows of weights times the residuals' second derivatives [batch, free, free].

        `slope` [batch, free] is the sum of weights times first derivatives. A law without second
        derivatives has them by differences of the slope.
        """
        count = theta.shape[1]
        result = np.zeros((len(theta), count, count))
        if (self.law.hessian or self.law.bend) and not self.objective.binomial:
            values = self.decode(theta)
            pairs = list(zip(self._transforms, self.free, strict=True))
            slopes = np.stack([item.slope(values[name])[:, 0] for item, name in pairs], axis=1)
            bends = np.stack([item.bend(values[name])[:, 0] for item, name in pairs], axis=1)
            if self.objective.log:
                result -= np.matmul(jacobian * weights[:, None, :], jacobian.transpose(0, 2, 1))
                weights = weights / self.law.predict(**values, **self.columns)
            at = {name: i for i, name in enumerate(self.free)}
            second = {
                (at[name], at[by]): item
                for (name, by), item in self._bends(values, weights).items()
                if name in at and by in at
            }
            if second:  # all pairs at once: laws over mixtures have 200 of them
                one, other = np.array(list(second)).T
                entries = slopes[:, one] * slopes[:, other]
                sums = np.broadcast_arrays(slopes[:, 0], *second.values())[1:]
                entries *= np.stack(sums, axis=1)
                result[:, one, other] += entries
                apart = one != other
                result[:, other[apart], one[apart]] += entries[:, apart]
            diagonal = np.einsum("bii->bi", result)
            diagonal += bends * slope
            return result
        for i in range(count):
            shifted = theta.copy()
            shifted[:, i] += DIFFERENCE_STEP
            _, moved = self.residuals_and_jacobian(shifted)
            moved = np.matmul(moved, weights[:, :, None])[:, :, 0]
            result[:, i] = (moved - slope) / DIFFERENCE_STEP
        return 0.5 * (result + result.transpose(0, 2, 1))
