"""Learn the prior of `auto` from public tables: `python -m tools.prior` writes what it finds.

Every ladder is fitted by `auto`'s law under its widest prior. The logs of alpha, beta and k and the
logit of E over the lowest loss are then normal about the fit (Laplace's approximation, less that
prior), and a hierarchy stands over them: a median each, of the logit one straight in ln FLOPs, and
a deviation between ladders. Sources count the same however many tables they have. One that is
unlike the others counts less, as by Student's t. Iterated: expectation and maximisation.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.forecast import Row, every_table, observations, source_of
from scaling_cli.fitting import auto
from scaling_cli.fitting.prior import AT, FILE, Known
from scaling_cli.records import Floats

NAMES = ("alpha", "beta", "k", "floor")
# Weak expectations: of the medians none but of the slope, that the reducible loss falls as compute
# to the power .15, give or take .05; and deviations between ladders, as three sources would say.
SLOPE, SLOPE_WIDTH = 0.15, 0.05
BETWEEN, AS_SOURCES = np.array([0.15, 0.15, 0.15, 0.3]), 3.0
FREEDOM = 4.0  # of Student's t over sources
ROUNDS = 60  # twenty settle the third digit
# Where the prior of these fits stands: what was used before any was learnt.
NEUTRAL = Known(alpha=0.44, beta=0.44, k=0.8, share=0.7, slope=0.15)
LEAST_KNOWN = 1e-6  # precision, of what a ladder does not show at all
MOST_SHARE = 0.97  # of a floor that a ladder puts on its lowest loss


@dataclass(frozen=True)
class Estimate:
    """What one ladder says: the `precision` [4, 4] of its coordinates, that times their values (of
    what a ladder does not show both are near none), and the `distance` of its compute on the
    straight line of the logit."""

    source: str
    told: Floats
    precision: Floats
    distance: float
    runs: int

    @property
    def design(self) -> Floats:
        """[coordinates, medians and slope]"""
        design = np.eye(4, 5)
        design[3, 4] = self.distance
        return design


@dataclass(frozen=True)
class Hierarchy:
    """Medians and slope [5], deviations between ladders [4], and how much each source counts."""

    medians: Floats
    between: Floats
    counts: dict[str, float]

    def to_json(self) -> dict[str, float]:
        alpha, beta, k = np.exp(self.medians[:3])
        share = 1 / (1 + np.exp(-self.medians[3]))
        values = {"alpha": alpha, "beta": beta, "k": k, "share": share, "slope": self.medians[4]}
        return {name: round(float(value), 4) for name, value in values.items()}


def estimate(source: str, rows: Sequence[Row]) -> Estimate:
    table = observations(rows)
    columns = [table.columns[name] for name in ("params", "tokens", "loss")]
    ladder = auto.Ladder(*columns, np.arange(len(table)))
    scales = ladder.scales()
    ground = auto.survey(ladder, scales, known=NEUTRAL)
    widest = np.full((1, 2), auto.WIDTHS[-1, 0])
    theta = auto.fit_at(ground, scales, widest)
    before = ground.prior(widest)
    precision = auto.curvature(ground, scales, theta, before)[0]
    own, free = np.array(auto.HELD), np.array([auto.A, auto.B])
    inner = np.linalg.solve(precision[np.ix_(free, free)], precision[np.ix_(free, own)])
    precision = precision[np.ix_(own, own)] - precision[np.ix_(own, free)] @ inner
    expected, by_prior = before.mean[0, own], np.diag(before.precision[0, own] ** 2)
    at = theta[0, own]
    told = precision @ at - by_prior @ expected
    precision = precision - by_prior
    known, directions = np.linalg.eigh(precision)
    precision = directions * np.maximum(known, LEAST_KNOWN) @ directions.T
    # From ln E to the logit of its share, straight about the fit.
    share = min(float(np.exp(at[3])) / ground.lowest, MOST_SHARE)
    logit = np.append(at[:3], np.log(share / (1 - share)))
    by_logit = np.array([1, 1, 1, 1 - share])
    told = by_logit * (told - precision @ at)
    precision = by_logit[:, None] * precision * by_logit
    distance = float(np.log(ground.largest / AT))
    return Estimate(source, told + precision @ logit, precision, distance, len(table))


def learn(estimates: Sequence[Estimate]) -> Hierarchy:
    between = np.diag(BETWEEN**2)
    counts = {item.source: 1.0 for item in estimates}
    weight = np.array([1 / sum(o.source == i.source for o in estimates) for i in estimates])
    for _ in range(ROUNDS):
        normal, right = np.zeros((5, 5)), np.zeros(5)
        normal[4, 4], right[4] = SLOPE_WIDTH**-2, SLOPE * SLOPE_WIDTH**-2
        for item, share in zip(estimates, weight, strict=True):
            seen = np.eye(4) + item.precision @ between / counts[item.source]
            pull = share * item.design.T @ np.linalg.inv(seen)
            normal += pull @ item.precision @ item.design
            right += pull @ item.told
        medians = np.linalg.solve(normal, right)
        total = AS_SOURCES * np.diag(BETWEEN**2)
        apart = dict.fromkeys(counts, 0.0)
        for item, share in zip(estimates, weight, strict=True):
            inner = np.linalg.inv(between / counts[item.source])
            doubt = np.linalg.inv(item.precision + inner)
            off = doubt @ (item.told - item.precision @ item.design @ medians)
            square = np.outer(off, off) + doubt
            total += share * counts[item.source] * square
            apart[item.source] += share * float(np.trace(np.linalg.solve(between, square)))
        between = np.diag(np.diag(total)) / (AS_SOURCES + np.sum(weight))
        counts = {name: (FREEDOM + 4) / (FREEDOM + far) for name, far in apart.items()}
    return Hierarchy(medians, np.sqrt(np.diag(between)), counts)


def main() -> None:
    tables = every_table()
    found = {name: estimate(source_of(name), rows) for name, rows in tables.items()}
    whole = learn(list(found.values()))
    sources = {}
    for source in sorted(whole.counts):
        without = learn([item for item in found.values() if item.source != source])
        sources[source] = {
            "counts": round(whole.counts[source], 2),
            "tables": {name: item.runs for name, item in found.items() if item.source == source},
            "without": without.to_json(),
        }
    between = zip(NAMES, whole.between, strict=True)
    document = {
        "about": "Written by `python -m tools.prior`, which says how; reviewed before a release."
        " `counts`: how much a source counts beside one like the others; `tables`: runs of each;"
        " `without`: what the other sources say, by which its forecasts are judged.",
        "known": whole.to_json(),
        "between_ladders": {name: round(float(value), 3) for name, value in between},
        "sources": sources,
    }
    FILE.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"{len(tables)} tables of {len(sources)} sources: {FILE}")


if __name__ == "__main__":
    main()
