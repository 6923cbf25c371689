"""Recipes side by side: their losses at budgets, what each is worth in compute, and how sure it is
which is the best.

A recipe's loss at a budget is that of the run that would be trained, at the best split by its own
fit. The laws that may hold for each (its resamples, with a part of the doubt that grows with the
distance) are paired at random over recipes: how often one is the lowest is the probability that it
is the best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from scaling_cli.errors import InputError
from scaling_cli.fitting.result import Fit
from scaling_cli.notes import Note
from scaling_cli.planning.budget import Constraints
from scaling_cli.planning.contrasts import curve_of, open_bounds, recipe_name, zeros
from scaling_cli.planning.splits import Allocation, allocate_fit
from scaling_cli.quantities import chance
from scaling_cli.records import Floats
from scaling_cli.shown import Shown

SURE = 0.9  # of being the best, from which on a recipe is said to be
# Of the doubt that grows with the distance, the part that each recipe has of its own: recipes of
# one ladder follow laws that bend alike, and miss alike inside of it, so that the record of a fit
# says little of their order. On 290 simulated pairs (not the benchmark's), at 3 and 30 times the
# largest run, the log score is best between .4 and .6 of it, and .014 to .037 a pair better without
# the record's widening than with it.
OWN = 0.5
DRAWS = 4000  # paired laws, by which a probability is good to a hundredth
POINTS_PER_DECADE = 12  # of the curves in which equal losses and crossings are sought
PAST = 2.0  # decades past the budgets up to which equal losses are sought


@dataclass(frozen=True)
class Standing:
    """One recipe at one budget.

    `multiple` is how many times the compute the baseline needs for this loss; None where it never
    reaches it, and `low` or `high` of it None where that end is open. `p_best` is the probability
    that no other recipe has a lower loss.
    """

    recipe: str
    split: Allocation
    multiple: float | None
    multiple_range: tuple[float | None, float | None]
    p_best: float

    def to_json(self) -> dict[str, Any]:
        low, high = self.multiple_range
        bounds = self.split.loss_range or (None, None)
        return {
            "recipe": self.recipe,
            "fit_id": self.split.fit_id,
            "params": self.split.params,
            "tokens": self.split.tokens,
            "loss": self.split.loss,
            "loss_low": bounds[0],
            "loss_high": bounds[1],
            "compute_multiple": self.multiple,
            "compute_multiple_low": low,
            "compute_multiple_high": high,
            "p_best": self.p_best,
        }


@dataclass(frozen=True)
class Ranking(Shown):
    """The recipes at one budget, the likeliest best first.

    `candidates` are the fewest that hold the best with probability SURE. The loss of whichever
    looks best is too low, because it was chosen for being low: `optimism` is by how much,
    relative, and `expected` its loss without that.
    """

    budget_flops: float
    standings: tuple[Standing, ...]
    optimism: float
    expected: float

    @property
    def candidates(self) -> tuple[str, ...]:
        total, names = 0.0, list[str]()
        for item in self.standings:
            if total >= SURE:
                break
            names.append(item.recipe)
            total += item.p_best
        return tuple(names)

    @property
    def best(self) -> str | None:
        """The best recipe; None where it cannot be told."""
        return self.candidates[0] if len(self.candidates) == 1 else None

    @property
    def verdict(self) -> str:
        first = self.standings[0]
        if self.best:
            return f"{self.best} is the best, with probability {chance(first.p_best)}"
        return f"the runs cannot tell which of {', '.join(self.candidates)} is the best"

    @property
    def notes(self) -> tuple[Note, ...]:
        """What the splits are doubted for, each saying of which recipe."""
        notes = (note.about(s.recipe) for s in self.standings for note in s.split.notes)
        return tuple(dict.fromkeys(notes))

    def rows(self) -> list[dict[str, Any]]:
        return [{"budget_flops": self.budget_flops, **item.to_json()} for item in self.standings]

    def to_json(self) -> dict[str, Any]:
        return {
            "budget_flops": self.budget_flops,
            "recipes": [item.to_json() for item in self.standings],
            "best": self.best,
            "candidates": list(self.candidates),
            "verdict": self.verdict,
            "best_loss_expected": self.expected,
            "optimism": self.optimism,
            "warnings": [note.to_json() for note in self.notes],
        }


@dataclass(frozen=True)
class Meeting:
    """Where the curves of two recipes cross: `before` is the lower below `flops`, `after` above.
    `share` of the paired resamples cross at all between the smallest run and the last budget."""

    before: str
    after: str
    flops: float
    flops_range: tuple[float | None, float | None]
    share: float

    def to_json(self) -> dict[str, Any]:
        low, high = self.flops_range
        return {
            "before": self.before,
            "after": self.after,
            "flops": self.flops,
            "flops_low": low,
            "flops_high": high,
            "share": self.share,
        }


@dataclass(frozen=True)
class SideBySide(Shown):
    """Recipes at several budgets; `baseline` is the one whose compute the others are counted in."""

    baseline: str
    rankings: tuple[Ranking, ...]
    meetings: tuple[Meeting, ...]
    level: float
    target: str

    def rows(self) -> list[dict[str, Any]]:
        return [row for item in self.rankings for row in item.rows()]

    def remarks(self) -> list[str]:
        return [f"at {item.budget_flops:.3g} FLOPs {item.verdict}" for item in self.rankings]

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "recipes",
            "baseline": self.baseline,
            "target": self.target,
            "level": self.level,
            "budgets": [item.to_json() for item in self.rankings],
            "crossings": [item.to_json() for item in self.meetings],
        }


def side_by_side(
    fits: Sequence[Fit],
    budgets: Sequence[float],
    baseline: str | None = None,
    ratio: float | None = None,
) -> SideBySide:
    """The recipes of the fits at each budget, at their best splits or at `ratio` tokens a param."""
    names = [recipe_name(fit) for fit in fits]
    _check(fits, names, budgets)
    first = names[0] if baseline is None else baseline
    if first not in names:
        raise InputError(f"there is no recipe {first}", f"There are {', '.join(names)}.")
    asked = Constraints(tokens_per_param=ratio)
    grid = _grid(fits, budgets)
    curves = _Curves.of(fits, grid, ratio)
    rankings = []
    for budget in sorted(budgets):
        splits = [_split(fit, budget, asked) for fit in fits]
        drawn = paired(fits, splits)
        rankings.append(_ranking(names, splits, drawn, curves, names.index(first), budget))
    level = min(fit.level for fit in fits)
    meetings = _meetings(names, curves, level)
    return SideBySide(first, tuple(rankings), meetings, level, fits[0].target)


def _check(fits: Sequence[Fit], names: Sequence[str], budgets: Sequence[float]) -> None:
    if not budgets:
        raise InputError("no budget is given", "Give budgets in FLOPs.")
    if len(fits) < 2:
        raise InputError(
            f"there is one recipe alone: {', '.join(names)}",
            "Fit by a key that has several values.",
        )
    if len(set(names)) < len(names):
        laws = ", ".join(dict.fromkeys(fit.name for fit in fits))
        raise InputError(f"recipes are fitted by several laws: {laws}", "Say which law.")
    targets = sorted({fit.target for fit in fits})
    if len(targets) > 1:
        raise InputError(f"recipes predict {' and '.join(targets)}", "Compare one target.")
    bare = [name for name, fit in zip(names, fits, strict=True) if not len(fit.draws)]
    if bare:
        raise InputError(
            f"{', '.join(bare)} has no interval, so nothing says how sure the order is",
            "Fit with resamples, to more runs.",
        )


def _split(fit: Fit, budget: float, asked: Constraints) -> Allocation:
    split = allocate_fit(fit, budget, asked)
    if split.params is None or split.loss is None:
        reasons = " ".join(dict.fromkeys(note.message for note in split.notes))
        raise InputError(
            f"{recipe_name(fit)} has no split of {budget:.3g} FLOPs. {reasons}",
            "Prescribe a ratio of tokens to params, or leave the recipe out.",
        )
    return split


def paired(fits: Sequence[Fit], splits: Sequence[Allocation]) -> Floats:
    """ln losses [DRAWS, recipes] that may be the truth at the splits, independent over recipes."""
    random = np.random.default_rng(fits[0].seed)
    columns = []
    for fit, split in zip(fits, splits, strict=True):
        point = {"params": np.array([split.params]), "tokens": np.array([split.tokens])}
        with np.errstate(all="ignore"):
            drawn = np.log(fit.law.predict(**fit.draw_values(), **point)).ravel()
        drawn = drawn[np.isfinite(drawn)]
        away = OWN * fit.drift * float(fit.distance(point)[0])
        columns.append(random.choice(drawn, DRAWS) + away * random.standard_normal(DRAWS))
    return np.stack(columns, axis=1)


def _ranking(
    names: Sequence[str],
    splits: Sequence[Allocation],
    drawn: Floats,
    curves: _Curves,
    baseline: int,
    budget: float,
) -> Ranking:
    """By the paired laws at one budget."""
    lowest = np.argmin(drawn, axis=1)
    shares = np.bincount(lowest, minlength=len(names)) / len(drawn)
    losses = np.array([split.loss for split in splits])
    # What looks lowest in a draw, against what the fits say of it: as the fits are to the truth.
    seen = np.mean(drawn[np.arange(len(drawn)), lowest] - np.log(losses)[lowest])
    optimism = max(0.0, -float(np.expm1(seen)))
    standings = [
        Standing(name, split, *curves.multiple(i, baseline, split, budget), float(shares[i]))
        for i, (name, split) in enumerate(zip(names, splits, strict=True))
    ]
    standings.sort(key=lambda item: (-item.p_best, item.split.loss))
    expected = float(np.min(losses)) * (1 + optimism)
    return Ranking(budget, tuple(standings), optimism, expected)


@dataclass(frozen=True)
class _Curves:
    """ln losses of the best splits along `grid` [points] of FLOPs, by each fit [points] and by its
    resamples [resamples, points]."""

    grid: Floats
    fitted: tuple[Floats, ...]
    drawn: tuple[Floats, ...]
    level: float

    @classmethod
    def of(cls, fits: Sequence[Fit], grid: Floats, ratio: float | None) -> _Curves:
        with np.errstate(all="ignore"):
            fitted = tuple(np.log(curve_of(fit, grid, ratio, False)[0]) for fit in fits)
            drawn = tuple(np.log(curve_of(fit, grid, ratio, True)) for fit in fits)
        return cls(grid, fitted, drawn, min(fit.level for fit in fits))

    def multiple(
        self, recipe: int, baseline: int, split: Allocation, budget: float
    ) -> tuple[float | None, tuple[float | None, float | None]]:
        """How many times the budget the baseline needs for the recipe's loss, and bounds."""
        if recipe == baseline:
            return 1.0, (1.0, 1.0)
        place = np.log(budget)
        logs = np.log(self.grid)
        mine, theirs = self.fitted[recipe], self.fitted[baseline]
        factor = _reached(theirs[None], np.array([np.interp(place, logs, mine)]), logs)[0]
        count = min(len(self.drawn[recipe]), len(self.drawn[baseline]))
        wanted = np.array([np.interp(place, logs, row) for row in self.drawn[recipe][:count]])
        drawn = _reached(self.drawn[baseline][:count], wanted, logs)
        low, high = open_bounds(np.exp(drawn - place), self.level)
        return (
            float(np.exp(factor - place)) if np.isfinite(factor) else None,
            (low if low else None, high),
        )


def _reached(curves: Floats, wanted: Floats, logs: Floats) -> Floats:
    """ln FLOPs at which falling curves [rows, points] come down to what is wanted [rows]; minus
    infinity where they start below it, infinity where they never do."""
    below = curves <= wanted[:, None]
    rows = np.arange(len(curves))
    cell = np.argmax(below, axis=1)
    before = np.maximum(cell - 1, 0)
    here, there = curves[rows, before], curves[rows, cell]
    with np.errstate(all="ignore"):
        share = np.where(here > there, (here - wanted) / (here - there), 0.0)
    place = logs[before] + share * (logs[cell] - logs[before])
    place = np.where(below[:, 0], -np.inf, place)
    return np.where(below.any(axis=1), place, np.inf)


def _grid(fits: Sequence[Fit], budgets: Sequence[float]) -> Floats:
    """FLOPs from the smallest run to PAST decades beyond the last budget."""
    low = min([fit.domain["flops"][0] for fit in fits if "flops" in fit.domain] + list(budgets))
    high = max(budgets) * 10**PAST
    low = min(low, min(budgets) / 10**PAST)
    return np.geomspace(low, high, int(np.log10(high / low) * POINTS_PER_DECADE) + 2)


def _meetings(names: Sequence[str], curves: _Curves, level: float) -> tuple[Meeting, ...]:
    """Where any two curves cross up to the last budget; the last crossing of each two."""
    upto = curves.grid <= curves.grid[-1] / 10**PAST * (1 + 1e-9)
    grid = curves.grid[upto]
    meetings = []
    for i, j in combinations(range(len(names)), 2):
        gap = (curves.fitted[i] - curves.fitted[j])[upto]
        places = zeros(grid, gap)
        if not len(places):
            continue
        count = min(len(curves.drawn[i]), len(curves.drawn[j]))
        gaps = (curves.drawn[i][:count] - curves.drawn[j][:count])[:, upto]
        drawn = np.array([_last(grid, row, np.sign(gap[-1])) for row in gaps])
        before, after = (i, j) if gap[-1] > 0 else (j, i)
        share = float(np.mean(np.isfinite(drawn)))
        bounds = open_bounds(drawn, level)
        meetings.append(Meeting(names[before], names[after], float(places[-1]), bounds, share))
    return tuple(meetings)


def _last(grid: Floats, gap: Floats, after: float) -> float:
    """The last crossing; infinite where it lies, if anywhere, before or after the grid."""
    places = zeros(grid, gap)
    if len(places):
        return float(places[-1])
    return float("-inf") if np.sign(gap[-1]) == after else float("inf")
