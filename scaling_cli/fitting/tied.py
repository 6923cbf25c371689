"""One law fitted to several groups at once, with some parameters the same in all of them.

The groups' rows stand one after the other in one surface, whose coordinates are the tied ones,
once, and the others of each group. The solver sees no difference: each group adds its gradient and
matrix at its own coordinates, so that the joint optimum is Newton's as for one group.

Whether the runs allow the tie is tested by the rise of the objective that it costs. What rise
chance alone makes is seen on resamples, where the truth is the untied fit: there the parameters are
held apart by the differences that were found, which is then a tie that holds (a bootstrap of the
likelihood ratio under its null; Hall and Wilson 1991).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_cli.errors import FitError, InputError
from scaling_cli.fitting import accepts, engine, problem, resampling
from scaling_cli.fitting.arrays import Scratch
from scaling_cli.fitting.assembly import Draws, Optimum, Problem, assemble
from scaling_cli.fitting.powersum import Rows
from scaling_cli.fitting.problem import Design, FitOptions, Frame
from scaling_cli.fitting.result import PAPER, FailedFit, Fit
from scaling_cli.fitting.solver import Solution, objective_values, solve
from scaling_cli.fitting.starts import fit_starts
from scaling_cli.fitting.surface import Point, Surface
from scaling_cli.laws import Law
from scaling_cli.notes import Note
from scaling_cli.records import Floats
from scaling_cli.table import Table

CANDIDATES = (0.0, 0.5, 1.0)  # quantiles of the groups' own values, from which the tied one starts
DOUBTED = (
    0.05  # share of resamples with a larger rise of the objective, below which a tie is warned of
)

Groups = Sequence[tuple[Mapping[str, Any], Table]]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class TiedPoint(Point):
    """A point of a tied surface, with the points of its groups."""

    groups: tuple[Point, ...]

    def put(self, rows: Rows, other: Point) -> None:
        super().put(rows, other)
        assert isinstance(other, TiedPoint)
        for mine, theirs in zip(self.groups, other.groups, strict=True):
            mine.put(rows, theirs)


@dataclass(frozen=True)
class TiedSurface(Surface):
    """`law` on the rows of several groups, which stand in blocks of `sizes` rows.

    Coordinates are those of `tied`, then the others of each group in turn. `apart` [groups, tied]
    holds the groups' tied coordinates at fixed distances from the common one.
    """

    tied: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    apart: Floats = field(default_factory=lambda: np.empty((0, 0)))

    @cached_property
    def parts(self) -> tuple[Surface, ...]:
        """Each group's own surface."""
        return tuple(
            Surface(
                self.law,
                {name: values[rows] for name, values in self.columns.items()},
                self.target[rows],
                self.objective,
                self.constants,
                None if self.trials is None else self.trials[rows],
                None if self.weights is None else self.weights[rows],
                self.bounds,
            )
            for rows in self._blocks
        )

    @cached_property
    def _blocks(self) -> tuple[slice, ...]:
        ends = np.cumsum(self.sizes).tolist()
        return tuple(slice(end - size, end) for end, size in zip(ends, self.sizes, strict=True))

    @cached_property
    def _own(self) -> tuple[str, ...]:
        """A group's free parameters, the tied ones included."""
        return tuple(name for name in self.law.parameter_names if name not in self.constants)

    @cached_property
    def free(self) -> tuple[str, ...]:
        """The law's parameter behind each coordinate."""
        others = tuple(name for name in self._own if name not in self.tied)
        return self.tied + others * len(self.sizes)

    @cached_property
    def coordinates(self) -> tuple[Numbers, ...]:
        """Where each group's free parameters stand among the coordinates."""
        others = [name for name in self._own if name not in self.tied]
        return tuple(
            np.array(
                [
                    self.tied.index(name)
                    if name in self.tied
                    else len(self.tied) + group * len(others) + others.index(name)
                    for name in self._own
                ]
            )
            for group in range(len(self.sizes))
        )

    def of_group(self, theta: Floats, group: int) -> Floats:
        """Coordinates [batch, free] -> those of a group's own surface."""
        shift = np.array(
            [
                self.apart[group, self.tied.index(name)] if name in self.tied else 0.0
                for name in self._own
            ]
        )
        own: Floats = theta[:, self.coordinates[group]] + shift
        return own

    def together(self, own: Sequence[Floats], common: Floats) -> Floats:
        """Coordinates [batch, free] of groups' [batch, own], at tied ones [batch, tied]."""
        theta = np.empty((len(common), len(self.free)))
        for coordinates, part in zip(self.coordinates, own, strict=True):
            theta[:, coordinates] = part
        theta[:, : len(self.tied)] = common
        return theta

    def _bent(self, theta: Floats, step: Floats) -> Floats:
        if not len(self._floors) or self.law.floor in self.tied:
            return np.zeros((1, 1))  # one floor cannot take up what every group bends
        groups = zip(self.parts, self.coordinates, strict=True)
        bent = [
            part._bent(self.of_group(theta, i), step[:, at]) for i, (part, at) in enumerate(groups)
        ]
        return np.concatenate(bent, axis=1)

    def at(self, theta: Floats, scratch: Scratch | None = None) -> TiedPoint:
        scratch = scratch or Scratch()
        groups = tuple(
            part.at(self.of_group(theta, i), scratch.of(i)) for i, part in enumerate(self.parts)
        )
        return TiedPoint(
            theta,
            np.concatenate([group.residuals for group in groups], axis=1),
            np.concatenate([group.slope for group in groups], axis=1),
            None,
            groups,
        )

    def sums(
        self,
        point: Point,
        pull: Floats,
        gauss: Floats,
        mix: Floats,
        scratch: Scratch | None = None,
    ) -> tuple[Floats, Floats]:
        scratch = scratch or Scratch()
        assert isinstance(point, TiedPoint)
        gradient = np.zeros(point.theta.shape)
        matrix = np.zeros((*point.theta.shape, point.theta.shape[1]))
        groups = zip(self.parts, point.groups, self._blocks, self.coordinates, strict=True)
        for i, (part, here, rows, at) in enumerate(groups):
            first, second = part.sums(here, pull[:, rows], gauss[:, rows], mix, scratch.of(i))
            gradient[:, at] += first
            matrix[:, at[:, None], at] += second
        return gradient, matrix


def fit(law: Law, groups: Groups, options: FitOptions) -> list[Fit | FailedFit]:
    """Fit `law` to each group with the parameters `options.tied` the same in all.

    Each fit's `tied` holds the group's untied fit and the test of the tie. A group that cannot
    carry the law is left out and says why; FitError if fewer than two can.
    """
    tied = options.tied
    _check(law, options)
    designs: dict[int, Design] = {}
    failed: dict[int, FailedFit] = {}
    for i, (group, observations) in enumerate(groups):
        try:
            designs[i] = Design.of(law, observations, options)
        except FitError as error:
            failed[i] = FailedFit(law.id, group, len(observations), str(error))
    if len(designs) < 2:
        raise FitError(
            f"`tie={','.join(tied)}` shares parameters among groups, and {len(designs)} of"
            f" {len(groups)} can be fitted",
            "Name a key whose values part the runs: `by=KEY`; `scalefit runs` with it shows them.",
        )
    if options.weights:
        designs = _weighed_together(designs, options.weights)
    every = list(designs.values())
    law = every[0].law
    frame = Frame.around(
        law,
        {name: np.concatenate([item.columns[name] for item in every]) for name in law.variables},
        options,
    )
    joint, own, best = _solve(law, every, frame, options)
    apart, refits, test = _resample(joint, own, best, every, options)
    fits: dict[int, Fit] = {}
    for g, (i, design) in enumerate(designs.items()):
        group = groups[i][0]
        part = joint.parts[g]
        theta = joint.of_group(best.theta, g)[0]
        asked = Problem(design, frame, options, group)
        count, converged = options.resamples, bool(best.converged[0])
        alone = assemble(asked, Optimum(part, own[g]), Draws(apart[g], count))
        tied_refits = Draws(joint.of_group(refits, g), count)
        both = assemble(asked, Optimum(part, theta, converged), tied_refits)
        fits[i] = replace(
            both,
            tied={
                "parameters": list(tied),
                "groups": [dict(groups[j][0]) for j in designs],
                "objective": float(best.objective[0]),
                **test,
                "untied": {
                    name: {"value": item.value, "low": item.low, "high": item.high}
                    for name, item in alone.parameters.items()
                },
            },
        )
    doubt = _doubt(options.tied, list(fits.values()), test["p_value"])
    return [fits[i].with_notes(doubt) if i in fits else failed[i] for i in range(len(groups))]


def _weighed_together(designs: Mapping[int, Design], column: str) -> dict[int, Design]:
    """The designs with weights of mean one over all groups: a run counts by its own weight,
    whichever group it stands in."""
    every = [design.rows.numbers(column) for design in designs.values()]
    weights = problem.of_mean_one(np.concatenate(every))
    parts = np.split(weights, np.cumsum([len(part) for part in every])[:-1])
    given = zip(designs.items(), parts, strict=True)
    return {i: replace(design, weights=part) for (i, design), part in given}


def _check(law: Law, options: FitOptions) -> None:
    tied = options.tied
    if options.procedure == PAPER and law.paper and law.paper.staged:
        accepts.check("staged", f"law {law.id} as its paper fitted it", options)
    problem.check_names(law, tied)
    for name in tied:
        if name in options.fixed:
            raise InputError(
                f"{name} is fixed, and so the same in every group already",
                f"Take {name} out of `tie=` or `fix=`.",
            )
        for exponent in law.parameter(name).exponents.values():
            if exponent not in (*tied, *options.fixed):
                raise InputError(
                    f"{name} can only be tied together with {exponent}",
                    f"Give `tie={','.join([*tied, exponent])}`.",
                )
    if set(law.parameter_names) <= {*tied, *options.fixed}:
        raise InputError(
            "with every parameter tied the groups are one", "Fit them together: leave `by=` out."
        )


def _solve(
    law: Law, designs: Sequence[Design], frame: Frame, options: FitOptions
) -> tuple[TiedSurface, list[Floats], Solution]:
    """The joint surface, each group's own optimum [own], and the joint one."""
    parts = [frame.surface(design) for design in designs]
    tied = tuple(name for name in law.parameter_names if name in options.tied)
    joint = TiedSurface(
        law,
        {name: np.concatenate([part.columns[name] for part in parts]) for name in law.variables},
        np.concatenate([part.target for part in parts]),
        parts[0].objective,
        parts[0].constants,
        None if law.trials is None else np.concatenate([part.trials for part in parts]),
        None if options.weights is None else np.concatenate([part.weights for part in parts]),
        parts[0].bounds,
        tied,
        tuple(len(part.target) for part in parts),
        np.zeros((len(parts), len(tied))),
    )
    own = [_best(fit_starts(part, engine.starts(part))[1]) for part in parts]
    at = [parts[0].free.index(name) for name in tied]
    values = np.array([theta[at] for theta in own])
    starts = []
    for common in np.quantile(values, CANDIDATES, axis=0):
        others = [
            _at_common(part, theta, tied, common) for part, theta in zip(parts, own, strict=True)
        ]
        starts.append(joint.together([theta[None] for theta in others], common[None])[0])
    every = np.ones((1, len(joint.target)))
    found = solve(joint, every, np.array(starts))
    if joint.objective.tuning:
        residuals = joint.residuals(_best(found)[None])[0]
        joint = replace(joint, objective=joint.objective.adapted(residuals, len(joint.free)))
        found = solve(joint, every, found.theta)
    i = [found.best()]
    best = Solution(found.theta[i], found.objective[i], found.converged[i])
    if not np.isfinite(best.objective[0]):
        raise FitError(f"{law.id} gives no finite prediction on these {len(joint.target)} runs")
    # A group's own optimum under the joint objective, and never above the tied one.
    for g, part in enumerate(joint.parts):
        near = np.stack([own[g], joint.of_group(best.theta, g)[0]])
        own[g] = _best(solve(part, np.ones((1, len(part.target))), near))
    return joint, own, best


def _best(found: Solution) -> Floats:
    theta: Floats = found.theta[found.best()]
    return theta


def _at_common(part: Surface, own: Floats, tied: tuple[str, ...], common: Floats) -> Floats:
    """A group's best coordinates [own] with the tied ones at `common` [tied]."""
    at = [part.free.index(name) for name in tied]
    near = own.copy()
    near[at] = common
    decoded = part.decode(near[None])
    held = {name: float(decoded[name][0, 0]) for name in tied}
    rest = replace(part, constants={**part.constants, **held})
    _, found = fit_starts(rest, engine.starts(rest))
    if np.isfinite(found.objective[found.best()]):
        near[[part.free.index(name) for name in rest.free]] = _best(found)
    return near


def _resample(
    joint: TiedSurface,
    own: Sequence[Floats],
    best: Solution,
    designs: Sequence[Design],
    options: FitOptions,
) -> tuple[list[Floats], Floats, dict[str, float | None]]:
    """Untied refits of each group [resamples, own], tied ones [resamples, free], and the test."""
    ones = [np.ones((1, len(part.target))) for part in joint.parts]
    alone = sum(
        float(objective_values(part, one, theta[None])[0])
        for part, one, theta in zip(joint.parts, ones, own, strict=True)
    )
    rise = float(best.objective[0]) - alone
    test: dict[str, float | None] = {"untied_objective": alone, "p_value": None}
    least = min(design.rows.n_runs for design in designs)
    if not options.resamples or least < 2:  # of one run there is but one resample
        none = [np.empty((0, len(theta))) for theta in own]
        return none, np.empty((0, best.theta.shape[1])), test
    random = np.random.default_rng(options.seed)
    drawn = [resampling.resampled(design.rows, options.resamples, random) for design in designs]
    weights = np.concatenate(drawn, axis=1)

    def repeated(theta: Floats) -> Floats:
        return np.repeat(theta[None], options.resamples, axis=0)

    tied = solve(joint, weights, repeated(best.theta[0]))
    apart = [
        solve(part, rows, repeated(theta))
        for part, rows, theta in zip(joint.parts, drawn, own, strict=True)
    ]
    # In the resamples' world the untied fit is true, and so is a tie at its own differences.
    at = [joint.parts[0].free.index(name) for name in joint.tied]
    values = np.array([theta[at] for theta in own])
    common = np.mean(values, axis=0)
    held = replace(joint, apart=values - common)
    start = held.together([theta[None] for theta in own], common[None])[0]
    null = solve(held, weights, repeated(start))
    sound = null.converged & np.all([part.converged for part in apart], axis=0)
    chance = null.objective[sound] - np.sum([part.objective for part in apart], axis=0)[sound]
    test["p_value"] = float((1 + np.sum(chance >= rise)) / (1 + len(chance)))
    sure = [
        resampling.determined(rows, part.theta.shape[1]) & part.converged
        for part, rows in zip(apart, drawn, strict=True)
    ]
    refits = [part.theta[good] for part, good in zip(apart, sure, strict=True)]
    return refits, tied.theta[tied.converged], test


def _doubt(tied: Sequence[str], fits: Sequence[Fit], p_value: float | None) -> list[Note]:
    if p_value is None or p_value >= DOUBTED:
        return []
    untied = []
    for name in tied:
        values = [f"{fitted.tied['untied'][name]['value']:.4g}" for fitted in fits if fitted.tied]
        untied.append(f"{name} {', '.join(values)}")
    return [
        Note.of(
            "tie_doubtful",
            f"The runs speak against one {' and '.join(tied)} for all groups: the tie costs more of"
            f" the objective than chance alone in {1 - p_value:.1%} of resamples. Untied, group by"
            f" group: {'; '.join(untied)}. What changes with the tie is not to be relied on.",
        )
    ]
