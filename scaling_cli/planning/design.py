"""Which runs to train for a spend, so that most is known of the loss at a target.

Several designs are made for the spend: an isoFLOP grid, a ladder at one ratio of tokens to params,
grids of other shapes, some with two large runs on top, and runs chosen one by one, each the one
that takes away most of the doubt at the target for its FLOPs, under several caps on the largest
run, then exchanged while that helps (a greedy c-optimal design on the posterior, Fedorov 1972).
Each is tried on simulated experiments with the recipe that the user fits by (`trials`), and the one
whose own interval at the target is narrowest is chosen. The grid and the ladder stand beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling_cli.compute import SIX_ND
from scaling_cli.errors import InputError
from scaling_cli.fitting import auto
from scaling_cli.fitting.result import Fit
from scaling_cli.laws import Law, Published
from scaling_cli.planning.beliefs import Belief, Outlook, Runs
from scaling_cli.planning.budget import Line
from scaling_cli.planning.contrasts import recipe_name
from scaling_cli.planning.splits import Allocation, allocate_fit, allocate_published
from scaling_cli.planning.trials import TRIALS, Worlds, best, standing_for
from scaling_cli.records import Floats
from scaling_cli.shown import Shown

MOST_RUNS = 24
LARGEST_SHARES = (1.0, 1 / 2, 1 / 3, 1 / 5, 1 / 8)  # of the spend that one run may take
POWERS = (0.0, 0.5, 1.0)  # of the FLOPs that a gain is divided by when runs are chosen
LEVELS, SMALLEST = 10, 1 / 200  # candidates: computes, the smallest as a share of the spend
RATIOS, WIDER = 7, 3.0  # candidates: tokens per param, on either side of the target's
WORTH = 5e-3  # of the doubt that a further run has to take away
PASSES, KEPT_WAYS = 3, 3  # of exchanges, and of the ways of choosing that are exchanged
GRID = (4, 5)  # budgets a factor of 3 apart, and sizes at each over a factor of 16
FACTOR, ACROSS = 3.0, 4.0
RUNGS, TYPICAL_RATIO = 6, 20.0  # of the ladder, a factor of 2 apart in params
# Further grids: budgets, sizes at each, the factor between budgets, the sizes' reach either way,
# and the share of the spend that two runs on top take. Of 58 shapes, each tried on 18 to 24
# truths, some of those within a tenth of the narrowest.
SHAPES = ((6, 4, 3.0, 5.0, 0.0), (5, 4, 5.0, 4.0, 0.0), (4, 4, 4.0, 3.0, 0.5))
TOP = (10.0, 40.0)  # tokens per param of the two
# Degrees of freedom from where few runs hardly widen an interval, and the share of the spend that a
# run may take which is there for that alone.
ENOUGH, CHEAP = 12.0, 0.02
# Of laws drawn about a paper's: standard deviations of the logs. Exponents of ladders of language
# models scatter by .15 and their floors by .1 (fitting/auto.py).
SPREAD_EXPONENT, SPREAD_FLOOR, SPREAD_AMPLITUDE, PRIOR_DRAWS = 0.15, 0.1, 0.3, 400
DEFAULT_NOISE = 0.005


@dataclass(frozen=True)
class Design(Shown):
    """Runs to train, with their FLOPs [runs] and the half width, relative, that the interval at the
    target is expected to have after them."""

    name: str
    runs: Runs
    flops: Floats
    half_width: float

    @property
    def spend(self) -> float:
        return float(np.sum(self.flops))

    def rows(self) -> list[dict[str, Any]]:
        order = np.lexsort((self.runs.params, self.flops))
        rows: list[dict[str, Any]] = []
        for number, row in enumerate(order.tolist(), 1):
            size = {
                "params": float(f"{self.runs.params[row]:.4g}"),
                "tokens": float(f"{self.runs.tokens[row]:.4g}"),
            }
            again = sum(all(other[key] == size[key] for key in size) for other in rows)
            name = {"run": f"{self.name}-{number:02d}"}
            rows.append(name | size | {"flops": float(self.flops[row]), "seed": again + 1})
        return rows

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "runs": self.rows(),
            "spend_flops": self.spend,
            "expected_half_width": self.half_width,
        }


@dataclass(frozen=True)
class Designs(Shown):
    """The chosen design beside the usual two; `before` is the half width without any further run,
    None where there is no fit yet. The half widths are of refits to `trials` simulated experiments,
    or with none what the posterior expects."""

    target: Allocation
    spend: float
    before: float | None
    chosen: Design
    others: tuple[Design, ...]
    level: float
    trials: int = 0

    @property
    def all(self) -> tuple[Design, ...]:
        return (self.chosen, *self.others)

    def rows(self) -> list[dict[str, Any]]:
        return self.chosen.rows()

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "design",
            "target": self.target.to_json(),
            "spend_flops": self.spend,
            "level": self.level,
            "trials": self.trials,
            "half_width_before": self.before,
            "design": self.chosen.to_json(),
            "others": [item.to_json() for item in self.others],
        }


def design_for_fits(
    fits: Sequence[Fit], spend: float, target_flops: float, trials: int = TRIALS
) -> Designs:
    """Runs that narrow the forecast of a fit, or of several laws fitted to the same runs, at the
    best split of the target."""
    first = fits[0]
    usable = [fit for fit in fits if len(fit.draws) and fit.law.splits and not fit.then]
    if not usable:
        raise InputError(
            f"{first.name} has no resamples of a law of params and tokens to design by",
            "Fit one with resamples, or design by published coefficients.",
        )
    belief = Belief.of(usable)
    target = _sized(allocate_fit(usable[0], target_flops))
    seen = standing_for(usable[0])
    worlds = Worlds(belief, _aim(target), seen, usable[0].name, trials)
    return _designs(worlds, target, spend, known=True)


def of_one_recipe(fits: Sequence[Fit], recipe: str | None) -> list[Fit]:
    """The fits of one group: of the only one, or of that whose values are `recipe`."""
    names = [recipe_name(fit) for fit in fits]
    groups = list(dict.fromkeys(str(dict(fit.group)) for fit in fits))
    if recipe is None and len(groups) == 1:
        return list(fits)
    chosen = [fit for fit, name in zip(fits, names, strict=True) if name == recipe]
    if not chosen:
        known = ", ".join(dict.fromkeys(names))
        what = "several recipes are fitted" if recipe is None else f"there is no recipe {recipe}"
        raise InputError(f"{what}: {known}", "Say which recipe.")
    return chosen


def design_for_published(
    law: Law,
    published: Published,
    spend: float,
    target_flops: float,
    noise: float = DEFAULT_NOISE,
    trials: int = TRIALS,
) -> Designs:
    """The same before any run: by laws drawn about a paper's."""
    target = _sized(allocate_published(law, published, target_flops))
    ratio = target.tokens_per_param or TYPICAL_RATIO
    centre = Line(spend / 10, SIX_ND).params_at_ratio(ratio)
    values = drawn_about(law, published, {"params": centre, "tokens": ratio * centre})
    freedom = -float(auto.FREE)  # as `auto` will count it, which is to fit the runs
    belief = Belief(((law, values),), noise, auto.DRIFT, {}, SIX_ND, freedom=freedom)
    return _designs(Worlds(belief, _aim(target), None, count=trials), target, spend, known=False)


def drawn_about(
    law: Law, published: Published, centre: dict[str, float], seed: int = 0
) -> dict[str, Floats]:
    """Parameters [PRIOR_DRAWS, 1] drawn about a paper's; amplitudes so that a term at the `centre`
    of the columns keeps its size where its exponent is another."""
    random = np.random.default_rng(seed)
    values: dict[str, Floats] = {
        name: np.full((PRIOR_DRAWS, 1), value) for name, value in published.values.items()
    }
    for name in law.exponents:
        values[name] = values[name] * np.exp(
            SPREAD_EXPONENT * random.standard_normal((PRIOR_DRAWS, 1))
        )
    for name in law.amplitudes:
        factor = SPREAD_AMPLITUDE * random.standard_normal((PRIOR_DRAWS, 1))
        for column, exponent in law.parameter(name).exponents.items():
            moved = values[exponent] - published.values[exponent]
            factor = factor + moved * np.log(centre[column])
        values[name] = values[name] * np.exp(factor)
    if law.floor:
        drawn = SPREAD_FLOOR * random.standard_normal((PRIOR_DRAWS, 1))
        values[law.floor] = values[law.floor] * np.exp(drawn)
    return values


def _sized(target: Allocation) -> Allocation:
    if target.params is None or target.tokens is None or target.loss is None:
        reasons = " ".join(dict.fromkeys(note.message for note in target.notes))
        raise InputError(
            f"the target of {target.budget_flops:.3g} FLOPs has no split. {reasons}",
            "Design by a fit or a paper whose law splits it.",
        )
    return target


def _aim(target: Allocation) -> Runs:
    return Runs.one(float(target.params or 0), float(target.tokens or 0))


def _designs(worlds: Worlds, target: Allocation, spend: float, known: bool) -> Designs:
    belief, aim = worlds.belief, worlds.target
    grid, ladder = isoflop_grid(belief, aim, spend), fixed_ratio_ladder(belief, spend)
    greedy = _chosen(belief, aim, spend, (grid, ladder))
    runs = [greedy, grid, ladder, *(_shaped(belief, aim, spend, *shape) for shape in SHAPES)]
    if worlds.count:
        chosen, widths = best(worlds, runs)
    else:
        chosen, widths = greedy, [width_after(belief, aim, each) for each in runs]
    names = ("design", "isoflop-grid", "fixed-ratio-ladder")
    shown = zip(names, (chosen, grid, ladder), (min(widths), *widths[1:3]), strict=True)
    made = [
        Design(name, each, belief.compute.flops(each.params, each.tokens), width)
        for name, each, width in shown
    ]
    before = belief.half_width(Outlook(belief, aim, aim).variance) if known else None
    return Designs(target, spend, before, made[0], tuple(made[1:]), belief.level, worlds.count)


def width_after(belief: Belief, target: Runs, runs: Runs) -> float:
    """The half width that the interval at the target is expected to have after all of the runs."""
    variance = Outlook(belief, target, runs).after(range(len(runs))).variance
    return belief.half_width(variance, len(runs))


def _candidates(belief: Belief, target: Runs, spend: float) -> Runs:
    """Every compute at every ratio of tokens to params."""
    (ratio,) = (target.tokens / target.params).tolist()
    low, high = belief.domain.get("tokens_per_param", (ratio, ratio))
    ratios = np.geomspace(
        max(ratio / WIDER**2, min(low, ratio / WIDER)),
        min(ratio * WIDER**2, max(high, ratio * WIDER)),
        RATIOS,
    )
    ratios[np.argmin(np.abs(np.log(ratios / ratio)))] = ratio
    computes = np.geomspace(SMALLEST * spend, spend, LEVELS)
    return _at_ratios(belief, np.repeat(computes, RATIOS), np.tile(ratios, LEVELS))


def _at_ratios(belief: Belief, computes: Floats, ratios: Floats) -> Runs:
    pairs = zip(computes.tolist(), ratios.tolist(), strict=True)
    params = np.array([Line(flops, belief.compute).params_at_ratio(each) for flops, each in pairs])
    return Runs(params, belief.compute.tokens(params, computes))


def isoflop_grid(belief: Belief, target: Runs, spend: float) -> Runs:
    """Budgets a factor of 3 apart with as many sizes each, about the target's ratio."""
    return _shaped(belief, target, spend, *GRID, FACTOR, ACROSS)


def _shaped(
    belief: Belief, target: Runs, spend: float, levels: int, sizes: int, factor: float,
    across: float, top: float = 0.0,
) -> Runs:  # fmt: skip
    """A grid of `levels` budgets with `sizes` each, and two runs that take the share `top`."""
    shares = factor ** -np.arange(levels, dtype=float)
    budgets = (1 - top) * spend * shares / np.sum(shares) / sizes
    (ratio,) = (target.tokens / target.params).tolist()
    ratios = ratio * np.geomspace(1 / across**2, across**2, sizes)
    runs = _at_ratios(belief, np.repeat(budgets, sizes), np.tile(ratios, levels))
    if not top:
        return runs
    largest = np.full(len(TOP), top * spend / len(TOP))
    return _at_ratios(belief, largest, np.array(TOP)).joined(runs)


def fixed_ratio_ladder(belief: Belief, spend: float) -> Runs:
    """Sizes a factor of 2 apart at 20 tokens a param."""
    shares = 4.0 ** -np.arange(RUNGS, dtype=float)
    budgets = spend * shares / np.sum(shares)
    return _at_ratios(belief, budgets, np.full(RUNGS, TYPICAL_RATIO))


def _chosen(belief: Belief, target: Runs, spend: float, usual: Sequence[Runs]) -> Runs:
    """The best of several ways of choosing greedily and of the usual designs, with single runs
    exchanged and those left out that tell nothing, drawn out to the whole spend."""
    candidates = _candidates(belief, target, spend)
    starts = []
    for runs in usual:
        starts.append(list(range(len(candidates), len(candidates) + len(runs))))
        candidates = candidates.joined(runs)
    choice = _Choice(Outlook(belief, target, candidates), spend)
    starts += [choice.greedily(share, power) for share in LARGEST_SHARES for power in POWERS]
    starts.sort(key=lambda rows: choice.outlook.after(rows).variance)
    pruned = [choice.pruned(choice.exchanged(rows)) for rows in starts[:KEPT_WAYS]]
    ways = [way for rows in pruned for way in (rows, choice.filled(rows))]
    drawn_out = [_drawn_out(belief, candidates.take(rows), spend) for rows in ways]
    return min(drawn_out, key=lambda runs: width_after(belief, target, runs))


def _drawn_out(belief: Belief, runs: Runs, spend: float) -> Runs:
    """The runs, each of so much more compute at its ratio that they take the whole spend."""
    costs = belief.compute.flops(runs.params, runs.tokens)
    return _at_ratios(belief, costs * spend / np.sum(costs), runs.tokens / runs.params)


@dataclass(frozen=True)
class _Choice:
    """Ways to choose rows of the outlook's candidates for a spend."""

    outlook: Outlook
    spend: float

    @property
    def costs(self) -> Floats:
        runs = self.outlook.candidates
        costs: Floats = self.outlook.belief.compute.flops(runs.params, runs.tokens)
        return costs

    def greedily(self, largest: float, power: float) -> list[int]:
        """Runs one by one, of at most a share of the spend each, while they are worth it."""
        outlook, left, costs = self.outlook.after([]), self.spend, self.costs
        while len(outlook.chosen) < MOST_RUNS:
            payable = costs <= min(left, largest * self.spend) * (1 + 1e-9)
            gains = np.where(payable, outlook.gains(), -np.inf)
            if not np.max(gains) > WORTH * outlook.variance and outlook.chosen:
                break
            worth = gains > WORTH * outlook.variance if outlook.chosen else payable
            row = int(np.argmax(np.where(worth, gains / costs**power, -np.inf)))
            outlook.add(row)
            left -= costs[row]
        return outlook.chosen

    def exchanged(self, rows: Sequence[int]) -> list[int]:
        """Single rows exchanged for others that the spend allows, while that helps."""
        rows, costs = list(rows), self.costs
        for _ in range(PASSES):
            before = list(rows)
            for place in range(len(rows)):
                rest = rows[:place] + rows[place + 1 :]
                free = (self.spend - float(np.sum(costs[rest]))) * (1 + 1e-9)
                gains = np.where(costs <= free, self.outlook.after(rest).gains(), -np.inf)
                if gains.max() > gains[rows[place]] * (1 + 1e-9):
                    rows[place] = int(np.argmax(gains))
            if rows == before:
                break
        return rows

    def pruned(self, rows: Sequence[int]) -> list[int]:
        """Without the rows that tell nothing beside the others."""
        rows = list(rows)
        for row in sorted(rows, key=lambda row: self.costs[row]):
            rest = list(rows)
            rest.remove(row)
            doubt = self.outlook.after(rows).variance
            if rest and self.outlook.after(rest).variance < (1 + WORTH) * doubt:
                rows = rest
        return rows

    def filled(self, rows: Sequence[int]) -> list[int]:
        """With cheap runs besides, until there are enough to say what the noise is."""
        outlook = self.outlook.after(rows)
        cheap = self.costs <= CHEAP * self.spend
        while outlook.belief.freedom + len(outlook.chosen) < ENOUGH:
            gains = np.where(cheap, outlook.gains() / np.sqrt(self.costs), -np.inf)
            outlook.add(int(np.argmax(gains)))
        return outlook.chosen
