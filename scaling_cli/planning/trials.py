"""Designs tried before they are paid for: runs made by laws that may hold, fitted as the user will.

What a posterior expects of a design is too good, since the interval that is stated in the end also
counts what the fit missed inside the runs and how few they are. So the whole experiment is made
anew: a law is drawn, the runs that there are and those of the design are made by it with noise, the
same recipe is fitted to all, and its own interval at the target is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scaling_cli.errors import FitError, InputError
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.procedures import AUTO, fitter
from scaling_cli.fitting.result import Fit
from scaling_cli.planning.beliefs import Belief, Runs
from scaling_cli.records import Floats
from scaling_cli.table import Table

TRIALS = 6  # worlds that every design is tried in; the same ones for all
RESAMPLES = 100  # of a refit; the ends of an interval are then good to a tenth of it
GOLDEN = 0.5 * (np.sqrt(5) - 1)


@dataclass(frozen=True)
class Worlds:
    """`count` drawn laws, each with the noise of the runs that there are, `seen`; `recipe` is the
    way of fitting by which the interval at `target` is stated."""

    belief: Belief
    target: Runs
    seen: Runs | None
    recipe: str = AUTO
    count: int = TRIALS

    def half_width(self, runs: Runs) -> float:
        """Half of the interval of a new run at the target, relative, after these runs: the
        geometric mean over the worlds; infinite where no refit states one."""
        widths = [self._in_one(number, runs) for number in range(self.count)]
        known = [width for width in widths if width is not None]
        return float(np.exp(np.mean(np.log(known)))) if known else float("inf")

    def _in_one(self, number: int, runs: Runs) -> float | None:
        everything = runs if self.seen is None else self.seen.joined(runs)
        random = np.random.default_rng([number, len(self.belief.members)])
        noise = self.belief.noise * random.standard_normal(len(everything))
        loss = self._losses(number, everything) * np.exp(noise)
        rows = Table.from_columns({**everything.columns, "loss": loss})
        (params,), (tokens,) = self.target.params.tolist(), self.target.tokens.tolist()
        try:
            options = FitOptions(resamples=RESAMPLES, seed=number, level=self.belief.level)
            answer = fitter(self.recipe)(rows, options, {}).predict(
                {"params": params, "tokens": tokens}
            )
        except (FitError, InputError):
            return None
        if answer.low is None or answer.high is None or not answer.loss > 0:
            return None
        width = (answer.high - answer.low) / 2 / answer.loss
        return width if 0 < width < np.inf else None

    def _losses(self, number: int, runs: Runs) -> Floats:
        """By the drawn law of this number [runs]: members in turn, draws evenly apart."""
        law, values = self.belief.members[number % len(self.belief.members)]
        draws = max(len(value) for value in values.values())
        draw = int((number + 0.5) * GOLDEN % 1 * draws)
        one = {name: value[draw % len(value)] for name, value in values.items()}
        losses: Floats = law.predict(**one, **runs.columns)
        return losses


def standing_for(fit: Fit) -> Runs | None:
    """Runs like those of a fit, which remembers their number and how far they reach: evenly over
    its computes and its ratios of tokens to params."""
    if not {"flops", "tokens_per_param"} <= fit.domain.keys():
        return None
    place = np.arange(fit.n_runs)
    low, high = np.log(fit.domain["flops"])
    flops = np.exp(low + (high - low) * (place + 0.5) / fit.n_runs)
    least, most = np.log(fit.domain["tokens_per_param"])
    ratios = np.exp(least + (most - least) * (place * GOLDEN % 1))
    params = np.sqrt(flops / fit.compute.per_token(1.0) / ratios)
    return Runs(params, fit.compute.tokens(params, flops))


def best(worlds: Worlds, designs: Sequence[Runs]) -> tuple[Runs, Sequence[float]]:
    """The design whose interval is narrowest, and the half width of each."""
    widths = [worlds.half_width(runs) for runs in designs]
    return designs[int(np.argmin(widths))], widths
