"""What a procedure predicted inside the runs, and what that says of the intervals that it states.

The runs are cut where compute changes; the procedure is fitted below each cut and states the
deviations of the runs above it. What it missed there, over what it had stated, widens or narrows
every interval of the fit: folds share their largest runs and are few, so that the record of the
same procedure on other ladders counts beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_cli.fitting.student import over_normal
from scaling_cli.records import Floats

# ln compute below the largest from where on rows are held out, a factor of 1.4, 2.5 and 5; the most
# that may be, and the share that is taken instead and where no compute is cut. A fourth cut changes
# nothing.
FOLDS = ((0.35, 0.40, 0.20), (0.90, 0.53, 0.33), (1.60, 0.66, 0.45))
SAME_LEVEL = 1.05  # values within 5 % are one budget or one size, and stay on one side of a cut
LEAST_HELD, LEAST_TRAINING = 2, 7
# Folds that the record of other ladders counts for. On 44 public tables of ten sources all of 1 to
# 3 cover alike; with one the intervals of a ladder that follows its law are narrowest.
OTHERS = 1.0
MOST = 16.0  # of a fold's mean square: four times the stated deviation says all that a fold can
# Share of the evidence that is taken side by side: what forecasts missed upwards says more of the
# upper end. Of plain laws the side of the folds' misses is that of the held-out runs' in two of
# three tables (in all five where the folds lean by more than a deviation), of `auto` in half.
ONE_SIDE = 0.5

Rows = NDArray[np.bool_]


@dataclass(frozen=True)
class Fold:
    """What a fit to the runs below `cut` missed above it.

    `error` is the root mean square of the residuals, of the logs where the fit takes logs, `bias`
    their mean, prediction less observation, and `stated` the deviation that the fit itself gave to
    them. `below` and `above` are mean squares of residuals over stated ones, of the observations
    below and above the prediction alone, doubled.
    """

    cut: float
    n_fitted: int
    n_held: int
    error: float
    bias: float
    stated: float
    below: float
    above: float

    @classmethod
    def of(
        cls, cut: float, n_fitted: int, missed: Floats, variance: Floats, weights: Floats
    ) -> Fold:
        """From the residuals `missed` [rows], observed less predicted, their stated `variance`
        [rows] and how much each row counts."""
        share = weights / np.sum(weights)
        square, stated = float(share @ missed**2), float(share @ variance)
        sides = [float(2 * share @ side(missed, 0.0) ** 2) for side in (np.minimum, np.maximum)]
        below, above = (value / stated for value in sides)
        bias = -float(share @ missed)
        return cls(cut, n_fitted, len(missed), square**0.5, bias, stated**0.5, below, above)

    def to_json(self) -> dict[str, Any]:
        return {
            "cut": self.cut,
            "n_fitted": self.n_fitted,
            "n_held_out": self.n_held,
            "error": self.error,
            "bias": self.bias,
            "stated": self.stated,
            "below": self.below,
            "above": self.above,
        }


@dataclass(frozen=True)
class Record:
    """The folds of a procedure on its own runs, cut by the column `along`; by how much other
    ladders say that its intervals are too wide or too narrow, `others`; and the degrees of
    `freedom` that the runs leave to say what the noise is."""

    along: str
    others: float
    freedom: float = np.inf
    folds: tuple[Fold, ...] = ()

    @property
    def below(self) -> float:
        """What the lower half of an interval is multiplied by."""
        return self._factor([fold.below for fold in self.folds])

    @property
    def above(self) -> float:
        return self._factor([fold.above for fold in self.folds])

    def ends(self, level: float) -> tuple[float, float]:
        """What the halves of an interval of this level are multiplied by: the record and, where few
        runs say what the noise is, Student's t over the normal."""
        few = over_normal(level, self.freedom)
        return self.below * few, self.above * few

    @property
    def factor(self) -> float:
        """What a deviation whose sign says nothing is multiplied by."""
        return float(np.sqrt((self.below**2 + self.above**2) / 2))

    def _factor(self, one_side: Sequence[float]) -> float:
        both = [min(MOST, (fold.below + fold.above) / 2) for fold in self.folds]
        seen = (1 - ONE_SIDE) * sum(both) + ONE_SIDE * sum(min(MOST, item) for item in one_side)
        return float(self.others * np.sqrt((OTHERS + seen) / (OTHERS + len(both))))

    def to_json(self) -> dict[str, Any]:
        return {
            "along": self.along,
            "others": self.others,
            "freedom": self.freedom if np.isfinite(self.freedom) else None,
            "folds": [fold.to_json() for fold in self.folds],
            "below": self.below,
            "above": self.above,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Record:
        folds = [
            Fold(**{"n_held" if key == "n_held_out" else key: value for key, value in item.items()})
            for item in document["folds"]
        ]
        freedom = document.get("freedom")
        return cls(
            document["along"],
            float(document["others"]),
            np.inf if freedom is None else float(freedom),
            tuple(folds),
        )


def cuts(
    values: Floats, compute: bool = True, least: int = LEAST_TRAINING
) -> list[tuple[float, Rows]]:
    """Where rows [rows] are cut by `values` above zero, the highest cut first, and which rows lie
    below: between two values that differ, so that neither ties nor names decide, with `least` rows
    below or more."""
    logs = np.log(values)
    ordered, n = np.sort(logs), len(logs)
    at = np.flatnonzero(np.diff(ordered) > np.log(SAME_LEVEL))
    middles, held = (ordered[at] + ordered[at + 1]) / 2, n - 1 - at
    found: list[tuple[float, Rows]] = []
    last = LEAST_HELD - 1
    for depth, most, share in FOLDS:
        wanted = float(np.sum(logs > ordered[-1] - depth)) if compute else 0.0
        if not last < wanted <= most * n:  # budgets a factor of 3 apart put two folds at one cut
            wanted = max(last + 1, share * n)
        allowed = np.flatnonzero((held > last) & (held <= most * n) & (n - held >= least))
        if len(allowed):
            chosen = allowed[np.argmin(np.abs(held[allowed] - wanted))]
            found.append((float(np.exp(middles[chosen])), logs < middles[chosen]))
            last = held[chosen]
    return found
