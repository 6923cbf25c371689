"""Fit a curve law to the steps of one or many runs that share its parameters.

The multi-power law has two directions that a few schedules hardly see: how a falling rate pays off
in the long run, and where the curve ends. Left free, a better optimum predicts other schedules
worse. It is therefore held to the simpler law: `lr_anneal` is fitted first, and the floor and the
gain of a drop once it has paid off (B of `mpl`, C / (1 - decay) of `lr_anneal`) have normal priors
about its values, as wide as it fits badly; the shape of the pay-off has one about the paper's own
starting point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan

import numpy as np

from scaling_cli.errors import FitError
from scaling_cli.fitting.objective import get_objective
from scaling_cli.fitting.result import Estimate
from scaling_cli.fitting.solver import Prior, Solution, solve
from scaling_cli.fitting.starts import amplitudes
from scaling_cli.fitting.surface import Surface, on_scale
from scaling_cli.laws import Law, get_law
from scaling_cli.records import Floats, Steps
from scaling_cli.training.curve import Curve
from scaling_cli.training.history import DECAY, curve_columns, stacked

OBJECTIVE = "huber_log"
ALPHAS = (0.3, 0.5, 0.7)  # of the starts of a law without a simpler one; all end in one optimum
SHAPE = {"C": 1.0, "beta": 0.5, "gamma": 0.5}  # where Luo et al. 2025 start it
# What a unit of the objective is worth: delta 1e-3 times a typical log residual of 2e-3, and five
# rows that move together count as one.
TEMPERATURE = 1e-5
LEAST_MISFIT = 1e-5  # of `lr_anneal`, so that an exact fit is no infinite precision


@dataclass(frozen=True)
class Hold:
    """How far `mpl` may go from its prior, as standard deviations of logs.

    `shape`: of beta and gamma, and twice that of C. `trust`: of floor and gain, over the mean
    absolute log residual of `lr_anneal` on the same rows. The narrowest, in factors of two, within
    1 % of the least error on the nine `schedule` sample runs, each of three schedules predicted
    from the other two: 0.0143; half of `trust` costs 80 % more, twice is no better.
    """

    shape: float = 0.01
    trust: float = 16.0

    def spreads(self, misfit: float) -> Mapping[str, float]:
        """Of each parameter that is held."""
        wide = self.trust * max(misfit, LEAST_MISFIT)
        shape = {"C": 2 * self.shape, "beta": self.shape, "gamma": self.shape}
        return shape | {"L0": wide, "B": wide}


HOLD = Hold()


@dataclass(frozen=True)
class CurveFit:
    """A curve law's parameters over `runs`; `decay` is the memory of `lr_anneal`.

    `misfit` is the mean absolute log residual. `draws` [resamples, parameters] are the bootstrap's,
    in the law's order; none before one.
    """

    law: Law
    values: Mapping[str, float]
    decay: float
    objective: float
    runs: tuple[str, ...]
    misfit: float = nan
    draws: Floats = field(default_factory=lambda: np.empty((0, 0)), compare=False, repr=False)

    def predict(self, curve: Curve, steps: Sequence[int] | Steps | None = None) -> Floats:
        """The loss [rows] at `steps` of the curve's schedule (its logged steps)."""
        loss: Floats = self.law.predict(**self.values, **self._columns(curve, steps))
        return loss

    def predict_draws(self, curve: Curve, steps: Sequence[int] | Steps | None = None) -> Floats:
        """The same by each of the bootstrap's draws [resamples, rows]."""
        values = {name: self.draws[:, [i]] for i, name in enumerate(self.law.parameter_names)}
        loss: Floats = self.law.predict(**values, **self._columns(curve, steps))
        return loss

    def parameters(self, level: float = 0.90) -> dict[str, Estimate]:
        """Each parameter with the central `level` of its draws."""
        names = self.law.parameter_names
        if not len(self.draws):
            return {name: Estimate(self.values[name], None, None) for name in names}
        tail = (1 - level) / 2
        low, high = np.quantile(self.draws, [tail, 1 - tail], axis=0).tolist()
        return {name: Estimate(self.values[name], low[i], high[i]) for i, name in enumerate(names)}

    def _columns(self, curve: Curve, steps: Sequence[int] | Steps | None) -> Mapping[str, Floats]:
        at = curve.steps if steps is None else np.array(steps, dtype=np.int64)
        return columns_of(self.law, [curve], self.decay, [at])


def columns_of(
    law: Law, curves: Sequence[Curve], decay: float, steps: Sequence[Steps] | None = None
) -> Mapping[str, Floats]:
    """The law's columns over the rows of the curves; the warmup does not count as annealing."""
    parts = []
    for i, curve in enumerate(curves):
        at = curve.steps if steps is None else steps[i]
        plan = curve.schedule
        parts.append(curve_columns(law, plan.rates, at, curve.params, decay, plan.warmup))
    return stacked(parts)


def fit_curves(
    law_id: str, curves: Sequence[Curve], decay: float = DECAY, hold: Hold = HOLD
) -> CurveFit:
    """`lr_anneal` or `mpl` on every row of the curves: the sum of Huber's function (delta 1e-3) of
    the log residuals, for `mpl` with the priors of the module's docstring, `hold` wide.

    Raises FitError where there are fewer rows than parameters.
    """
    law = get_law(law_id)
    surface, scales = surface_of(law, curves, decay)
    if len(surface.target) < 2 * len(law.parameters):
        raise FitError(
            f"{law.id} has {len(law.parameters)} parameters, and there are"
            f" {len(surface.target)} rows",
            "Give longer or more runs.",
        )
    prior, alphas = None, list(ALPHAS)
    if law.id == "mpl":
        simple = fit_curves("lr_anneal", curves, decay)
        prior, alphas = held_to(simple, surface, hold), [simple.values["alpha"]]
    solution = solve_curves(surface, prior, alphas)
    best = solution.best()
    theta = solution.theta[best : best + 1]
    raw, misfit = law.to_raw(surface.decode(theta), scales), np.abs(surface.residuals(theta))
    values = {name: float(np.ravel(raw[name])[0]) for name in law.parameter_names}
    ids = tuple(curve.run_id for curve in curves)
    objective = float(solution.objective[best])
    return CurveFit(law, values, decay, objective, ids, float(np.mean(misfit)))


def surface_of(
    law: Law, curves: Sequence[Curve], decay: float = DECAY
) -> tuple[Surface, Mapping[str, float]]:
    """The objective's surface over the rows of the curves, and the scales of its columns."""
    scales, scaled, constants = on_scale(law, columns_of(law, curves, decay))
    target = np.concatenate([curve.loss for curve in curves])
    return Surface(law, scaled, target, get_objective(OBJECTIVE), constants), scales


def solve_curves(
    surface: Surface, prior: Prior | None = None, alphas: Sequence[float] = ALPHAS
) -> Solution:
    """The optimum from each start."""
    starts = curve_starts(surface, alphas)
    return solve(surface, np.ones((1, len(surface.target))), starts, prior)


def curve_starts(surface: Surface, alphas: Sequence[float] = ALPHAS) -> Floats:
    """A start for each exponent [starts, free], the linear parameters eliminated."""
    law, count = surface.law, len(alphas)
    start = {"alpha": np.array(alphas)[:, None]}
    for item in law.parameters:
        if item.name not in start and not item.linear:
            middle = np.sqrt(item.low * item.high) if item.transform == "log" else 0.0
            start[item.name] = np.full((count, 1), SHAPE.get(item.name, middle))
    linear = [item.name for item in law.parameters if item.linear]
    start |= amplitudes(surface, start, linear, 1e-4 * float(np.median(surface.target)))
    return surface.encode({name: start[name][:, 0] for name in surface.free})


def held_to(simple: CurveFit, surface: Surface, hold: Hold = HOLD) -> Prior:
    """The prior on `mpl` that a fit of `lr_anneal` to the same rows gives."""
    gain = simple.values["C"] / (1.0 - simple.decay)
    about = SHAPE | {"L0": simple.values["L0"], "B": gain}
    mean, precision = np.zeros(len(surface.free)), np.zeros(len(surface.free))
    for name, spread in hold.spreads(simple.misfit).items():
        if about[name] > 0:
            i = surface.free.index(name)
            mean[i], precision[i] = np.log(about[name]), np.sqrt(TEMPERATURE) / spread
    return Prior(mean, precision)
