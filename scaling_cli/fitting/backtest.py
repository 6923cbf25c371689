"""Which law to believe: fit below a cut, predict above it, move the cut.

Laws are ranked by the error on larger runs that the fit has not seen, never by r2, which rewards
the small runs. The errors of one fold come from one fit, and folds share their largest runs: a
difference counts only if it is twice its standard error, in which the spread of the paired
differences over runs and that of both fits over their resamples are added, and is in every fold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scaling_cli.errors import FitError
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.procedures import fitter
from scaling_cli.fitting.result import FailedFit, Fit
from scaling_cli.fitting.scoring import score_holdout
from scaling_cli.notes import Note
from scaling_cli.records import Floats
from scaling_cli.shown import Shown
from scaling_cli.table import Table

FOLDS = 4  # more cuts of one ladder say little more: they share their largest runs
LEAST_HELD = 2
LEAST_TRAINING, LEAST_SHARE = 8, 0.4  # runs, and the share of all, that a fold must be fitted on
SAME_LEVEL = 1.05  # values within 5 % are one budget or one size, and stay on one side of a cut
DECISIVE = 2.0  # standard errors of the mean paired difference
USELESS = 1.0  # an error of 100 % is as bad as any larger: one blown fold decides nothing by itself
LEAST_PAIRS = 4  # held-out runs without which no difference is decisive
NORMAL = (15.87, 84.13)  # percentiles one standard deviation about the mean; few resamples run away
NEAR_DECADES = 0.35  # about a distance at which an error is looked for
RESAMPLES = 200  # a fold: enough for its coverage


@dataclass(frozen=True)
class Fold:
    """Fitted below `cut`, scored above it; `cut` is None for a hold-out that the user named."""

    cut: float | None
    training: Table
    held: Table


@dataclass(frozen=True)
class Score:
    """How one law foresaw larger runs: means over folds, each fold counting the same.

    `errors` are its absolute relative errors [folds][held-out runs], and `doubt` the standard
    deviation of their mean over the fits' resamples. `behind` is how much larger they are than the
    best law's, averaged over runs with 100 % at most for each, and `spread` the standard error of
    that mean; `decided` says whether the difference can be told from chance.
    """

    law: str
    n_parameters: int
    mape: float
    bias: float
    coverage: float | None
    errors: tuple[Floats, ...]
    doubt: float
    behind: float = 0.0
    spread: float = 0.0
    decided: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            "law": self.law,
            "holdout_mape": self.mape,
            "bias": self.bias,
            "coverage": self.coverage,
            "folds": len(self.errors),
            "fold_mape": [float(np.mean(errors)) for errors in self.errors],
            "n_parameters": self.n_parameters,
            "behind_best": {
                "mape": self.behind,
                "standard_error": self.spread,
                "decided": self.decided,
            },
        }


@dataclass(frozen=True)
class Comparison(Shown):
    """The laws on one group of runs, best first. `by` names the column that was cut."""

    group: Mapping[str, Any]
    by: str
    folds: tuple[Fold, ...]
    ranking: tuple[Score, ...]
    failed: tuple[FailedFit, ...]
    notes: tuple[Note, ...]

    def missed(self, decades: float) -> tuple[float, int] | None:
        """The best law's mean error on held-out runs about so many decades of the cut column above
        what it was fitted to, and their number; None where fewer than LEAST_HELD lie there."""
        found: list[float] = []
        for fold, errors in zip(self.folds, self.ranking[0].errors, strict=True):
            beyond = fold.held.numbers(self.by) / np.nanmax(fold.training.numbers(self.by))
            if len(beyond) == len(errors):
                with np.errstate(all="ignore"):
                    near = np.abs(np.log10(beyond) - decades) <= NEAR_DECADES
                found += errors[near].tolist()
        return (float(np.mean(found)), len(found)) if len(found) >= LEAST_HELD else None

    @property
    def sentence(self) -> str:
        """Which law to use, and what error to expect one and two decades out."""
        if not self.ranking:
            return "no law can be recommended"
        best, *others = self.ranking
        level = [score.law for score in others if not score.decided]
        said = f"use {best.law}"
        if level:
            said += f", though {', '.join(level)} cannot be separated from it"
        for decades, word in ((1.0, "one decade"), (2.0, "two decades")):
            seen = self.missed(decades)
            error = f"{100 * seen[0]:.2g} % ({seen[1]} held-out runs)" if seen else "nothing known"
            said += f"; {word} out expect an error of {error}" if seen else f"; {word} out {error}"
        return said

    def rows(self) -> list[dict[str, Any]]:
        """The laws with their held-out errors, best first."""
        names = ("law", "holdout_mape", "bias", "coverage", "folds", "n_parameters")
        scores = [score.to_json() for score in self.ranking]
        return [{**self.group, **{name: score[name] for name in names}} for score in scores]

    def to_json(self) -> dict[str, Any]:
        return {
            "group": dict(self.group),
            "cut": self.by,
            "folds": [
                {"cut": fold.cut, "n_fitted": len(fold.training), "n_held_out": len(fold.held)}
                for fold in self.folds
            ],
            "ranking": [score.to_json() for score in self.ranking],
            "best": self.ranking[0].law if self.ranking else None,
            "sentence": self.sentence,
            "failed": [{"law": item.name, "message": item.message} for item in self.failed],
            "warnings": [note.to_json() for note in self.notes],
        }


def rolling(observations: Table, by: str = "flops") -> list[Fold]:
    """Cuts of the column `by`, the lowest first; FitError where the runs allow none."""
    values = observations.numbers(by)
    if np.isnan(values).all():
        raise FitError(
            f"no run has numbers called {by} to cut by",
            "Cut by flops, params, tokens or what the law reads: `cut=COLUMN`.",
        )
    ordered = np.sort(values[np.isfinite(values) & (values > 0)])
    gaps = np.flatnonzero(np.diff(np.log(ordered)) > np.log(SAME_LEVEL))
    least = max(LEAST_TRAINING, LEAST_SHARE * len(ordered))
    gaps = gaps[(gaps + 1 >= least) & (len(ordered) - gaps - 1 >= LEAST_HELD)]
    if not len(gaps):
        raise FitError(
            f"{len(ordered)} runs cannot be cut by {by} into {int(np.ceil(least))} to fit and"
            f" {LEAST_HELD} larger ones to predict",
            "Add runs of other sizes, cut by another column, or name the runs with `holdout=`.",
        )
    cuts = np.sqrt(ordered[gaps] * ordered[gaps + 1])
    aims = np.linspace(np.log(cuts[0]), np.log(cuts[-1]), FOLDS)
    nearest = np.argmin(np.abs(np.log(cuts) - aims[:, None]), axis=1)
    return [
        Fold(float(cut), observations.select(values < cut), observations.select(values >= cut))
        for cut in cuts[np.unique(nearest)]
    ]


def named(observations: Table, holdout: str) -> list[Fold]:
    """The one fold that predicts the runs which match."""
    held = observations.matches(holdout)
    if not held.any() or held.all():
        raise FitError(
            f"`holdout=` '{holdout}' matches {int(held.sum())} of the {len(held)} runs of a group",
            "Name some of them, and leave others to fit.",
        )
    return [Fold(None, observations.select(~held), observations.select(held))]


def compare(
    laws: Sequence[str],
    folds: Sequence[Fold],
    by: str = "flops",
    options: FitOptions | None = None,
    group: Mapping[str, Any] | None = None,
) -> Comparison:
    """Rank the laws, each fitted in every fold; one that cannot be says why and is not ranked."""
    options = options or FitOptions(resamples=RESAMPLES)
    return ranked([backtested(name, folds, options, group) for name in laws], folds, by, group)


def backtested(
    law: str, folds: Sequence[Fold], options: FitOptions, group: Mapping[str, Any] | None = None
) -> Score | FailedFit:
    """One law fitted in every fold, or why it cannot be."""
    fit = fitter(law)
    try:
        fits = [
            score_holdout(fit(fold.training, options, group or {}), fold.held) for fold in folds
        ]
        return _score(law, fits)
    except FitError as error:
        rows = min(len(fold.training) for fold in folds)
        return FailedFit(law, group or {}, rows, str(error))


def ranked(
    results: Sequence[Score | FailedFit],
    folds: Sequence[Fold],
    by: str,
    group: Mapping[str, Any] | None = None,
) -> Comparison:
    """The laws, the best first, each against that one."""
    scores = sorted((r for r in results if isinstance(r, Score)), key=lambda score: score.mape)
    failed = tuple(result for result in results if isinstance(result, FailedFit))
    ranking = tuple(_against(score, scores[0], folds) for score in scores)
    notes = _verdict(ranking, folds)
    return Comparison(group or {}, by, tuple(folds), ranking, failed, notes)


def _score(name: str, fits: Sequence[Fit]) -> Score:
    summaries = [fitted.holdout for fitted in fits if fitted.holdout is not None]
    coverage = [item["coverage"] for item in summaries if item["coverage"] is not None]
    return Score(
        law=name,
        n_parameters=len(fits[0].law.parameters),
        mape=_mean(item["mape"] for item in summaries),
        bias=_mean(item["bias"] for item in summaries),
        coverage=_mean(coverage) if coverage else None,
        errors=tuple(
            np.abs(np.array([row["error"] for row in fitted.holdout_rows])) for fitted in fits
        ),
        doubt=_mean(_doubt(fitted) for fitted in fits),
    )


def _doubt(fitted: Fit) -> float:
    """Standard deviation over the resamples of the mean error on the held-out runs."""
    rows = fitted.holdout_rows
    columns = {name: np.array([row[name] for row in rows]) for name in fitted.law.variables}
    observed = np.array([row["observed"] for row in rows])
    with np.errstate(all="ignore"):
        drawn = fitted.law.predict(**fitted.draw_values(), **columns)
        errors = np.mean(np.minimum(np.abs(drawn / observed - 1), USELESS), axis=1)
    low, high = np.nanpercentile(errors, NORMAL) if len(errors) > 1 else (0.0, np.inf)
    return float(high - low) / 2


def _against(score: Score, best: Score, folds: Sequence[Fold]) -> Score:
    """The score with its paired difference to the best law's."""
    if score is best:
        return score
    differences = [
        np.minimum(mine, USELESS) - np.minimum(theirs, USELESS)
        for mine, theirs in zip(score.errors, best.errors, strict=True)
    ]
    runs: dict[str, list[float]] = {}
    for fold, values in zip(folds, differences, strict=True):
        for owner, value in zip(fold.held.owners, values.tolist(), strict=True):
            runs.setdefault(owner, []).append(value)
    paired = np.array([np.mean(values) for values in runs.values()])
    rows = float(np.std(paired, ddof=1) / np.sqrt(len(paired))) if len(paired) > 1 else np.inf
    spread = float(np.linalg.norm([rows, score.doubt, best.doubt]))
    behind = float(np.mean(paired))
    everywhere = all(np.mean(values) > 0 for values in differences)
    decided = len(paired) >= LEAST_PAIRS and behind > DECISIVE * spread and everywhere
    return replace(score, behind=behind, spread=spread, decided=bool(decided))


def _verdict(ranking: Sequence[Score], folds: Sequence[Fold]) -> tuple[Note, ...]:
    held = len({owner for fold in folds for owner in fold.held.owners})
    evidence = f"{held} held-out runs in {len(folds)} dependent fold{'s' if len(folds) > 1 else ''}"
    tied = [score.law for score in ranking[1:] if not score.decided]
    if not tied:
        return ()
    return (
        Note.of(
            "cannot_tell",
            f"{evidence} cannot tell {ranking[0].law} from {', '.join(tied)}: the difference is"
            " below twice its standard error, or not there in every fold.",
        ),
    )


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))
