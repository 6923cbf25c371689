"""What runs that never leave a line say nothing of: how a law splits into its terms.

Runs of one ratio of tokens to params know the sum of the two terms along it; those of one size know
its term with the floor; those of one budget a level, a bend and the middle of it. Left free, what
trades in the sum goes along a bent valley that a search does not end in. The split is therefore
held: at equal amplitudes, exponents by which both terms fall alike along the line, no outer power,
and a floor of most of the loss. Each resample is held to a split of its own, so that the draws are
as open as the split is where a law's curvature makes it count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scaling_cli.fitting import diagnostics
from scaling_cli.fitting.assembly import noise_of
from scaling_cli.fitting.problem import Design
from scaling_cli.fitting.solver import Prior, Solution, solve
from scaling_cli.fitting.starts import candidate_starts
from scaling_cli.fitting.surface import Surface
from scaling_cli.laws import Law
from scaling_cli.records import Floats

# Standard deviations of the logs of the amplitudes' ratio, of the exponents' and of the power that
# resamples are drawn by, and the share of it that each is held to what was drawn for it.
AMPLITUDES, EXPONENTS, POWER = 1.0, 0.3, 0.2
POWER_ALONE = 0.4  # of a power that runs of many sizes and ratios do not tell
HELD = 0.2
FLOOR = float(np.log(4.0))  # of an amplitude: floors of language models are .6 to .8 of the loss
LITTLE = 0.02  # of the target: a term that is the same for all runs, so that the floor holds it
LEAST_NOISE = 8e-4  # losses are logged to three or four digits; a fit through all runs shows none
STARTS = 8

Sum = tuple[Mapping[str, float], float, float]  # weights of parameters' logs, middle and deviation


@dataclass(frozen=True)
class Split:
    """What the runs of one line leave open: sums of coordinates `along` [held, free], and the
    middle [held] and deviation [held] of each; `names` says by which of these the parameters in
    them are held, and `free` how many are left to the runs. Priors weigh as one row of this `noise`
    does."""

    along: Floats
    middle: Floats
    deviation: Floats
    names: Mapping[str, float]
    noise: float
    free: int

    def _prior(self, mean: Floats) -> Prior:
        return Prior(mean, self.noise / (HELD * self.deviation), self.along)

    def drawn(self, random: np.random.Generator, count: int) -> Prior:
        """Of `count` problems, each about its own draw of the split."""
        steps = random.standard_normal((count, len(self.middle)))
        return self._prior(self.middle + self.deviation * steps)

    def held(self, surface: Surface) -> Solution:
        """The optima of all runs with the split held at its middle."""
        starts = candidate_starts(surface, STARTS)
        weights = np.ones((1, len(surface.target)))
        return solve(surface, weights, starts, self._prior(self.middle), one_fit=True)


def of_one_line(design: Design, surface: Surface, found: Solution) -> Split | None:
    """None where the runs part in params and tokens, or the law has no two terms to split. `found`
    are the optima with a free split."""
    return _held(_open(design, surface.law), surface, found)


def of_power(surface: Surface, found: Solution) -> Split | None:
    """The outer power of a law that has one: few runs, or noisy ones, do not tell it from the
    floor, and it runs away. None where there is none."""
    power = surface.law.form.power if surface.law.form else None
    return _held([({power or "": 1.0}, 0.0, POWER_ALONE)], surface, found)


def _held(sums: Sequence[Sum], surface: Surface, found: Solution) -> Split | None:
    sums = [item for item in sums if set(item[0]) <= set(surface.free)]
    if not sums:
        return None
    along = np.array([[by.get(name, 0.0) for name in surface.free] for by, _, _ in sums])
    middle = np.array([centre for _, centre, _ in sums])
    deviation = np.array([width for _, _, width in sums])
    names = {name: width for by, _, width in sums for name in by}
    residuals = surface.residuals(found.theta[found.best()][None])[0]
    free = len(surface.free) - len(sums)
    noise = max(LEAST_NOISE, noise_of(residuals, free))
    return Split(along, middle, deviation, names, noise, free)


def _open(design: Design, law: Law) -> list[Sum]:
    """What the runs leave open, in logs on scaled columns."""
    terms = _terms(law)
    if terms is None:
        return []
    columns = [design.columns[name] for name in ("params", "tokens")]
    codes = {note.code for note in design.notes}
    one = [diagnostics.distinct(column) == 1 for column in columns]
    amplitudes, exponents = terms
    power: list[Sum] = [({law.form.power: 1.0}, 0.0, POWER)] if law.form and law.form.power else []
    over_floor: Sum = ({law.floor or "": 1.0, amplitudes[0]: -1.0}, FLOOR, AMPLITUDES)
    if any(one):
        place = one.index(True)
        little = float(np.log(LITTLE * np.min(np.abs(design.target))))
        return [
            ({amplitudes[place]: 1.0}, little, EXPONENTS),
            *_usual(law, exponents[place]),
            *power,
        ]
    if "single_budget_design" in codes:
        return [over_floor, ({exponents[0]: 1.0, exponents[1]: -1.0}, 0.0, EXPONENTS), *power]
    if "collinear_design" in codes:
        params, tokens = (float(np.std(np.log(column))) for column in columns)
        slope = float(np.log(tokens / params))
        return [
            ({amplitudes[0]: 1.0, amplitudes[1]: -1.0}, 0.0, AMPLITUDES),
            ({exponents[0]: 1.0, exponents[1]: -1.0}, slope, EXPONENTS),
            *power,
        ]
    return []


def _usual(law: Law, exponent: str) -> list[Sum]:
    """An exponent held in the middle of where its search starts."""
    if exponent not in law.parameter_names:
        return []
    item = law.parameter(exponent)
    return [({exponent: 1.0}, float(np.log(item.low * item.high)) / 2, EXPONENTS)]


def _terms(law: Law) -> tuple[tuple[str, str], tuple[str, str]] | None:
    """The amplitudes of the two terms in params alone and in tokens alone, and their exponents,
    empty where these are none of their own; None where a law has no two such terms."""
    terms = []
    for column in ("params", "tokens"):
        named = [item for item in law.parameters if set(item.centre) == {column}]
        if len(named) != 1 or isinstance(named[0].centre[column], (int, float)):
            return None
        terms.append((named[0].name, named[0].exponents.get(column, "")))
    (params, by_params), (tokens, by_tokens) = terms
    return (params, tokens), (by_params, by_tokens)
