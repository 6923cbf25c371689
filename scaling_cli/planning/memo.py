"""A plan for one budget, to be signed: the split, what it should give, how such forecasts went,
the weakest link, and which run would tell most before the money is spent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scaling_cli.errors import InputError
from scaling_cli.fitting.result import FAR_DECADES, Fit
from scaling_cli.laws import Law, Published
from scaling_cli.notes import Note, kind_of, mends
from scaling_cli.planning.beliefs import Belief, Outlook, Runs
from scaling_cli.planning.budget import FREE, Constraints, Line
from scaling_cli.planning.costs import Cost, Machine
from scaling_cli.planning.sensitivity import Sensitivity
from scaling_cli.planning.splits import Allocation, allocate_fit, allocate_published
from scaling_cli.quantities import count, counted, measured, number, percent, power, share
from scaling_cli.records import Floats
from scaling_cli.shown import Shown

PILOT_SHARE = 0.1  # of the budget that a run may cost which is to tell about it
STEPS, RATIOS = 12, 9  # candidates: computes from the largest run's, and ratios for each
ASIDE = 3.0  # of the target's tokens per param, either way: nobody trains much further off for it
NEARLY = 0.95  # of the largest gain: a cheaper run that tells as much is the better one
LEAST_GAIN = 0.02  # of the interval's width; a run that tells less is not worth a line
LARGE_STRETCH = 1.25  # of intervals by their record; from there on it is said
FEW_HELD = 4  # held-out runs that are told one by one

WORDS = {
    "law": "what the runs leave open about the law",
    "distance": "the distance from the runs, over which any law may bend",
    "noise": "the noise of a single run",
}


@dataclass(frozen=True)
class Track:
    """How the same way of forecasting went on runs that it had not seen.

    `errors` are relative, predicted over observed. Held-out runs lie `times` the largest fitted
    compute away; without any, the runs of the ladder above `cut` were predicted from those below
    it, with `rms` as the root mean square of the errors.
    """

    errors: tuple[float, ...] = ()
    times: tuple[float, float] | None = None
    inside: int = 0
    cut: float | None = None
    along: str = "flops"
    n_held: int = 0
    rms: float | None = None

    @classmethod
    def of(cls, fit: Fit) -> Track:
        if fit.holdout_rows:
            rows = fit.holdout_rows
            errors = tuple(float(row["error"]) for row in rows)
            known = [row for row in rows if row.get("low") is not None]
            inside = sum(row["low"] <= row["observed"] <= row["high"] for row in known)
            times = None
            if "flops" in fit.domain and all({"params", "tokens"} <= row.keys() for row in rows):
                top = fit.domain["flops"][1]
                computes = [fit.compute.flops(row["params"], row["tokens"]) / top for row in rows]
                times = min(computes), max(computes)
            return cls(errors, times, inside, n_held=len(rows))
        if fit.record and fit.record.folds:
            fold = max(fit.record.folds, key=lambda item: item.n_held)
            along = fit.record.along
            return cls(
                cut=fold.cut, along=along, n_held=fold.n_held, rms=float(np.expm1(fold.error))
            )
        return cls()

    @property
    def sentence(self) -> str:
        if self.errors:
            where = ""
            if self.times:
                low, high = (f"{item:.2g}" for item in self.times)
                where = f" {low if low == high else f'{low} to {high}'} times the largest fitted"
            shown = ", ".join(percent(item, 1, sign=True) for item in self.errors[:FEW_HELD])
            more = (
                "" if len(self.errors) <= FEW_HELD else f" and {len(self.errors) - FEW_HELD} more"
            )
            return (
                f"On {counted(self.n_held, 'held-out run')}{where} it was off by {shown}{more};"
                f" {self.inside} of {self.n_held} lay inside the interval."
            )
        if self.cut is not None and self.rms is not None:
            return (
                f"Fitted below {power(self.cut)} {self.along} alone, it missed the"
                f" {counted(self.n_held, 'run')} above by {percent(self.rms, 1)} (root mean"
                " square); no run was held out of the final fit."
            )
        return "None: no forecast has been held against a run that had not been seen."

    def to_json(self) -> dict[str, Any]:
        return {
            "n": self.n_held,
            "errors": list(self.errors),
            "times_largest": list(self.times) if self.times else None,
            "inside": self.inside if self.errors else None,
            "cut": self.cut,
            "rms": self.rms,
            "sentence": self.sentence,
        }


@dataclass(frozen=True)
class NextRun:
    """The run that narrows the forecast most for at most a tenth of the budget; `before` and
    `after` are half widths of the interval at the target, relative, the latter as expected."""

    params: float
    tokens: float
    flops: float
    share: float  # of the budget
    before: float
    after: float

    @property
    def sentence(self) -> str:
        return (
            f"Before that, {count(self.params)} params on {count(self.tokens)} tokens"
            f" ({power(self.flops)} FLOPs, {percent(self.share, 1)} of the budget) would tell most:"
            f" the interval should shrink from ±{percent(self.before, 1)} to"
            f" ±{percent(self.after, 1)}."
        )

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "sentence": self.sentence}


@dataclass(frozen=True)
class Memo(Shown):
    """All that is to be known before a budget is signed for; `parts` are the shares of the doubt
    about the loss by what they come from, of WORDS."""

    split: Allocation
    track: Track
    parts: Mapping[str, float] = field(default_factory=dict)
    next_run: NextRun | None = None
    stretch: float = 1.0
    n_runs: int | None = None
    cost: Cost | None = None
    lean: Sensitivity | None = None

    def trained_on(self, machine: Machine | None) -> Memo:
        """The memo with what training takes of a machine."""
        cost = machine.cost(self.split.training_flops) if machine else None
        return replace(self, cost=cost)

    @property
    def notes(self) -> tuple[Note, ...]:
        return self.split.notes

    @property
    def sentence(self) -> str:
        """The whole plan in one sentence, with what forbids to rely on it in front."""
        split = self.split
        if split.params is None or split.tokens is None:
            reasons = " ".join(dict.fromkeys(note.message for note in split.notes))
            return f"No split of {power(split.budget_flops)} FLOPs can be recommended. {reasons}"
        value, interval = measured(split.loss, *(split.loss_range or (None, None)))
        expected = f"{split.target} {value}" if split.loss is not None else "a loss that is unknown"
        if split.loss_range and split.level:
            expected += f" ({share(split.level)} of such runs within {interval})"
        elif split.loss is not None:
            expected += ", no interval known"
        serious = [note.code for note in split.notes if note.severity == "severe"]
        caution = f"NOT TO BE RELIED ON ({', '.join(dict.fromkeys(serious))}): " if serious else ""
        return (
            f"{caution}train {count(split.params)} params on {count(split.tokens)} tokens"
            f" ({number(split.tokens_per_param, 3)} a param) for {power(split.budget_flops)} FLOPs"
            f" and expect {expected}{self._reach}."
        )

    @property
    def _reach(self) -> str:
        beyond = self.split.decades_beyond
        if beyond is None:
            return ", by coefficients of a paper's runs, not yours" if not self.n_runs else ""
        times = 10**beyond
        return (
            "" if times < 1.05 else f", at {number(times, 2)} times the compute of any run fitted"
        )

    @property
    def weakest(self) -> str:
        """The weakest link in words: what is severe, else the largest part of the doubt."""
        severe = [note for note in self.split.notes if note.severity == "severe"]
        if severe or self.split.params is None:
            worst = severe[0] if severe else self.split.notes[0]
            kind = kind_of(worst.code)
            return f"{worst.message} {kind.mend if kind else ''}".strip()
        if not self.n_runs:
            return (
                "Nothing here is measured on your data, tokenizer or training: fit a ladder of your"
                " own before the loss is believed; the split is more likely to carry over."
            )
        if not self.parts:
            return "There is no interval: the runs are too few, or were fitted without resamples."
        largest = max(self.parts, key=lambda name: self.parts[name])
        said = f"{percent(self.parts[largest], 0)} of the doubt is {WORDS[largest]}"
        if self.stretch > LARGE_STRETCH:
            said += (
                f"; such fits missed inside the ladder by {self.stretch:.1f} times what they stated"
            )
        beyond = self.split.decades_beyond
        if beyond is not None and beyond > FAR_DECADES:
            said += f"; nothing tested it {beyond:.1f} decades out"
        return f"{said}."

    @property
    def mend(self) -> str:
        """What would make a split possible where there is none."""
        return mends(self.notes)

    def rows(self) -> list[dict[str, Any]]:
        return self.split.rows()

    def caption(self) -> str:
        return self.sentence

    def to_json(self) -> dict[str, Any]:
        return {
            "sentence": self.sentence,
            "allocation": self.split.to_json(),
            "record": self.track.to_json(),
            "doubt": dict(self.parts),
            "weakest": self.weakest,
            "next_run": self.next_run.to_json() if self.next_run else None,
            "cost": self.cost.to_json() if self.cost else None,
            "sensitivity": self.lean.to_json() if self.lean else None,
        }


def memo_of_fit(fitted: Fit, budget_flops: float, constraints: Constraints = FREE) -> Memo:
    """The plan of a budget by a fitted law."""
    split = allocate_fit(fitted, budget_flops, constraints)
    track = Track.of(fitted)
    if split.params is None or split.tokens is None or not len(fitted.draws):
        return Memo(split, track, n_runs=fitted.n_runs)
    if fitted.then or not fitted.log or set(fitted.law.variables) != {"params", "tokens"}:
        return Memo(split, track, n_runs=fitted.n_runs)
    belief = Belief.of([fitted])
    target = Runs.one(split.params, split.tokens)
    outlook = Outlook(belief, target, _candidates(belief, target, budget_flops))
    variance = outlook.variance
    parts = {name: part / variance for name, part in outlook.parts.items()}
    next_run = _next_run(outlook, budget_flops) if split.loss_range else None
    return Memo(split, track, parts, next_run, belief.stretch, fitted.n_runs)


def memo_of_published(
    law: Law, published: Published, budget_flops: float, constraints: Constraints = FREE
) -> Memo:
    """The same by a paper's coefficients: without interval, record or next run."""
    return Memo(allocate_published(law, published, budget_flops, constraints), Track())


def scaled(fitted: Fit, scale: float) -> float:
    """The compute that is `scale` times that of the largest fitted run."""
    if "flops" not in fitted.domain:
        raise InputError(
            f"no run of {fitted.name} has a compute to be scaled", "Give a budget in FLOPs."
        )
    return scale * fitted.domain["flops"][1]


def _candidates(belief: Belief, target: Runs, budget: float) -> Runs:
    """Runs of up to a tenth of the budget, at ratios about the target's."""
    least, top = belief.domain.get("flops", (budget, budget))
    most = max(PILOT_SHARE * budget, least)
    (ratio,) = (target.tokens / target.params).tolist()
    ratios = ratio * np.geomspace(1 / ASIDE, ASIDE, RATIOS)
    computes = np.geomspace(min(top, most) / 10, most, STEPS)
    grid = np.stack(np.meshgrid(computes, ratios), axis=-1).reshape(-1, 2)
    lines = [(Line(flops, belief.compute), each) for flops, each in grid.tolist()]
    params = np.array([line.params_at_ratio(each) for line, each in lines])
    return Runs(params, belief.compute.tokens(params, grid[:, 0]))


def _next_run(outlook: Outlook, budget: float) -> NextRun | None:
    """The cheapest of the runs that tell nearly as much as the best; None where none tells any."""
    belief, runs = outlook.belief, outlook.candidates
    gains = outlook.gains()
    costs: Floats = belief.compute.flops(runs.params, runs.tokens)
    near = np.flatnonzero(gains >= NEARLY * np.max(gains))
    row = int(near[np.argmin(costs[near])])
    before = belief.half_width(outlook.variance)
    after = belief.half_width(outlook.variance - float(gains[row]), 1)
    if after > (1 - LEAST_GAIN) * before:
        return None
    params, tokens, cost = (float(item[row]) for item in (runs.params, runs.tokens, costs))
    return NextRun(params, tokens, cost, cost / budget, before, after)
