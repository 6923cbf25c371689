"""Scores from items that scale alike: Clustering-On-Difficulty (Xu et al. 2025, arXiv:2502.17262).

An item's pass rates on the runs, by compute, are its difficulty. Items of like difficulty are put
together; the mean of each cluster is fitted by the law `cod` and carried to a larger compute; those
clusters that do not rise yet, or have no ceiling in sight, are left out. What remains is a subset
whose score predicts that of all items by a curve from (0, 0) to (1, 1) that is fitted to the runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling_cli.errors import FitError
from scaling_cli.fitting import engine
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.result import Fit
from scaling_cli.laws import get_law
from scaling_cli.quantities import counted
from scaling_cli.records import Floats
from scaling_cli.table import Table

PREFIX = "item."
RADIUS = 0.08  # of a cluster, root mean square; 100 tries tell a rate of one half to .05
LEAST_ITEMS = 10  # of a cluster, as in the paper: fewer, and its mean is noise
LEAST_RUNS = 5  # one more than the law's parameters
LEAST_RISE = 0.05  # of a cluster's mean from the least compute to the most: below, it is no start
MOST_C, LEAST_B = 1.0, 0.1  # the paper's: a ceiling above 37 %, an exponent that is one
SHIFTS = 50


@dataclass(frozen=True)
class Cluster:
    """Items of like difficulty: how many, their mean score by run, and the fit where it holds."""

    items: int
    scores: Floats
    fit: Fit | None
    why_not: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "items": self.items,
            "first": float(self.scores[0]),
            "last": float(self.scores[-1]),
            "predictable": self.fit is not None,
            "why_not": self.why_not,
        }


@dataclass(frozen=True)
class ScoreForecast:
    """The score of all items at a compute, with that of the subset that it follows from."""

    flops: float
    subset: float
    score: float
    low: float
    high: float
    level: float

    def to_json(self) -> dict[str, float]:
        return {
            "flops": self.flops, "subset": self.subset, "score": self.score, "low": self.low,
            "high": self.high, "level": self.level,
        }  # fmt: skip


@dataclass(frozen=True)
class Items:
    """The clusters, the items in none, and the curve from the subset's score to that of all:
    s + s (1 - s) (bend[0] + bend[1] s), which misses the runs by `missed` (one deviation)."""

    clusters: tuple[Cluster, ...]
    alone: int
    bend: tuple[float, float]
    missed: float

    @property
    def predictable(self) -> list[Cluster]:
        return [item for item in self.clusters if item.fit]

    def whole(self, subset: Floats) -> Floats:
        score: Floats = subset + subset * (1 - subset) * (self.bend[0] + self.bend[1] * subset)
        return score

    def at(self, flops: float, level: float) -> ScoreForecast:
        """The clusters' errors are taken as independent, and that of the curve beside them."""
        parts = [(item.items, item.fit.predict({"flops": flops})) for item in self.predictable
                 if item.fit]  # fmt: skip
        weights = np.array([count for count, _ in parts], dtype=float)
        weights /= weights.sum()
        middle = np.clip([answer.loss for _, answer in parts], 0, 1)
        ends = [(a.loss if a.low is None else a.low, a.loss if a.high is None else a.high)
                for _, a in parts]  # fmt: skip
        off = np.array(ends).T - middle
        below, above = np.sqrt(((weights * off) ** 2).sum(axis=1))
        subset = float(weights @ middle)
        low, score, high = self.whole(np.clip([subset - below, subset, subset + above], 0, 1))
        spread = 1.645 * self.missed
        return ScoreForecast(
            flops, subset, float(score),
            float(max(score - np.hypot(score - low, spread), 0)),
            float(min(score + np.hypot(high - score, spread), 1)), level,
        )  # fmt: skip


def fit_items(
    flops: Floats, scores: Floats, radius: float = RADIUS, options: FitOptions | None = None
) -> Items:
    """From the compute of runs [runs] and the pass rates of items [runs, items].

    FitError where there are too few runs, no cluster, or none that rises.
    """
    if len(flops) < LEAST_RUNS:
        raise FitError(
            f"{counted(len(flops), 'run')} tell too little of how items scale",
            f"Give {LEAST_RUNS} or more, of different compute.",
        )
    order = np.argsort(flops, kind="stable")
    flops, difficulty = flops[order], scores[order].T
    labels = cluster(difficulty, radius)
    clusters = tuple(
        _fitted(flops, difficulty[labels == i], options or FitOptions())
        for i in range(labels.max() + 1)
    )
    kept = [item for item in clusters if item.fit]
    if not kept:
        raise FitError(
            f"none of {counted(len(clusters), 'cluster')} of items rises so that it can be carried"
            " on",
            "Give larger runs, more tries an item, or another `radius=`.",
        )
    weights = np.array([item.items for item in kept], dtype=float)
    subset = weights @ np.array([item.scores for item in kept]) / weights.sum()
    bend, missed = _curve(subset, difficulty.mean(axis=0))
    return Items(clusters, int((labels < 0).sum()), bend, missed)


def cluster(difficulty: Floats, radius: float) -> Floats:
    """A label for each item [items, runs], -1 in none: from the densest place on, the mean of what
    lies within `radius` of it is moved to until it stands."""
    points = difficulty / np.sqrt(difficulty.shape[1])
    square = (points**2).sum(axis=1)
    near = square[:, None] + square - 2 * points @ points.T <= radius**2 + 1e-12
    labels = np.full(len(points), -1)
    left, label = np.ones(len(points), dtype=bool), 0
    while left.sum() >= LEAST_ITEMS:
        crowd = np.where(left, near[:, left].sum(axis=1), 0)
        centre = points[int(np.argmax(crowd))]
        for _ in range(SHIFTS):
            inside = left & (((points - centre) ** 2).sum(axis=1) <= radius**2)
            moved = points[inside].mean(axis=0)
            if np.allclose(moved, centre):
                break
            centre = moved
        if inside.sum() < LEAST_ITEMS:
            break
        labels[inside] = label
        left, label = left & ~inside, label + 1
    return labels


def _fitted(flops: Floats, difficulty: Floats, options: FitOptions) -> Cluster:
    scores = difficulty.mean(axis=0)
    count = len(difficulty)
    if scores[-1] - scores[0] < LEAST_RISE:
        return Cluster(count, scores, None, "does not rise")
    table = Table.from_columns({"flops": flops, "accuracy": np.clip(scores, 1e-6, 1 - 1e-6)})
    try:
        fit = engine.fit(get_law("cod"), table, options)
    except FitError as error:
        return Cluster(count, scores, None, str(error))
    if fit.values["c"] >= MOST_C or fit.values["b"] <= LEAST_B:
        return Cluster(count, scores, None, "its ceiling or its exponent is out of sight")
    return Cluster(count, scores, fit)


def _curve(subset: Floats, whole: Floats) -> tuple[tuple[float, float], float]:
    """Through (0, 0) and (1, 1); with less bend where it would not rise throughout."""
    base = subset * (1 - subset)
    grid = np.linspace(0, 1, 101)
    for columns in ((base, base * subset), (base,), ()):
        bend = np.zeros(2)
        if columns:
            design = np.array(columns).T
            bend[: len(columns)] = np.linalg.lstsq(design, whole - subset, rcond=None)[0]
        rising = grid + grid * (1 - grid) * (bend[0] + bend[1] * grid)
        if (np.diff(rising) >= 0).all():
            break
    missed = whole - subset - base * (bend[0] + bend[1] * subset)
    free = max(len(whole) - len(columns), 1)
    return (float(bend[0]), float(bend[1])), float(np.sqrt((missed**2).sum() / free))


def items_of(table: Table, names: Sequence[str]) -> tuple[Floats, Floats]:
    """Compute [runs] and the pass rates of the named columns [runs, items]."""
    scores = np.array([table.numbers(name) for name in names]).T
    flops = table.numbers("flops")
    good = np.isfinite(scores).all(axis=1) & (flops > 0)
    if not good.any():
        raise FitError("no run has a score of every item and its compute", "Map flops, and items.")
    scores = scores[good]
    if (scores < 0).any() or (scores > 1).any():
        raise FitError(
            "an item's score lies outside 0 to 1", "Give the share of tries that passed."
        )
    return flops[good], scores
