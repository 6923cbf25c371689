"""Among learning-rate schedules, the one with the lowest final loss that a curve law predicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from scaling_cli.errors import InputError
from scaling_cli.notes import Note
from scaling_cli.quantities import counted
from scaling_cli.records import Floats
from scaling_cli.shown import Shown
from scaling_cli.training.assessed import SAME, Assessed, Range, assess
from scaling_cli.training.bootstrap import RESAMPLES
from scaling_cli.training.curve import Curve
from scaling_cli.training.fit import CurveFit
from scaling_cli.training.schedule import SHAPES, Schedule, family

FREE = {  # the numbers of a family that are chosen; its peak too, where the runs' peaks differ
    "wsd": ("decay", "min"),
    "cosine": ("min",),
    "linear": ("min",),
    "inv_sqrt": (),
    "constant": (),
}
USUAL: tuple[
    tuple[str, Mapping[str, float]], ...
] = (  # schedules that teams take without asking; `min` as a share of the peak
    ("cosine", {"min": 0.1}),
    ("linear", {"min": 0.0}),
    ("wsd", {"decay": 0.1, "min": 0.1}),
    ("wsd", {"decay": 0.2, "min": 0.1}),
    ("constant", {}),
)
LEAST_DECAY = 0.02  # of the steps: a shorter decay is a drop, which `piecewise` says
LONGEST_DECAY = 0.995  # of the steps after the warmup, so that three digits do not reach into it
GRID = 6  # values of each free number that are tried first
FINEST = 0.01  # step of a number's log at which the search ends: the loss is flat about the best


@dataclass(frozen=True)
class Candidate:
    """A schedule and its predicted final `loss`, with `low` and `high` of its central band.

    `behind` is its relative loss over the best's, `decided` whether that is more than its
    uncertainty. `beyond` says where the law has seen nothing like it.
    """

    schedule: str
    family: str
    usual: bool
    loss: float
    low: float
    high: float
    behind: float
    decided: bool
    beyond: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The entry of `schedules` in the answer of `scalefit schedule`."""
        return {**self.__dict__, "beyond": list(self.beyond)}


@dataclass(frozen=True)
class SchedulePlan(Shown):
    """The candidates by the final loss that the `known` law predicts, lowest first; `best` is that
    of the families."""

    known: Assessed
    steps: int
    level: float
    best: Candidate
    candidates: tuple[Candidate, ...]
    notes: tuple[Note, ...]

    def rows(self) -> list[dict[str, Any]]:
        """The schedules, the lowest final loss first."""
        return [item.to_json() for item in self.candidates]

    def to_json(self) -> dict[str, Any]:
        return {
            "law": self.known.fitted.law.id,
            "steps": self.steps,
            "level": self.level,
            "runs": list(self.known.fitted.runs),
            "parameters": self.known.parameters_json(self.level),
            "missed": self.known.missed,
            "best": self.best.to_json(),
            "schedules": [item.to_json() for item in self.candidates],
            "warnings": [note.to_json() for note in self.notes],
        }


def plan_schedule(
    curves: Sequence[Curve],
    steps: int,
    families: Sequence[str] = ("wsd", "cosine", "linear"),
    law: str = "mpl",
    warmup: int | None = None,
    level: float = 0.90,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> SchedulePlan:
    """The schedule of `families` whose final loss after `steps` is the lowest that `law`, fitted to
    `curves`, predicts, beside the usual ones.

    Free numbers stay within what the fitted runs did: rates not below their lowest, the peak within
    theirs. A band holds the draws of the parameters and the error on a schedule that was not
    fitted; a difference holds that error twice, as two schedules are missed apart.
    InputError where nothing is known of annealing, FitError where the rows are too few.
    """
    for name in families:
        if name not in FREE:
            raise InputError(f"there is no family '{name}'", f"Choose from {', '.join(FREE)}.")
    within = Range.of(curves)
    warmup = within.warmup if warmup is None else warmup
    if steps <= warmup + 1:
        raise InputError(
            f"`steps=` {steps} ends within the warmup of {warmup}", "Give more, or `warmup=`."
        )
    known = assess(law, curves, resamples, seed)
    fitted, missed = known.fitted, known.missed
    search = _Search(fitted, within, warmup, steps)
    usual = [search.made(name, _absolute(more, within)) for name, more in USUAL]
    found = [search.best(name) for name in families]
    found += [p for p in usual if p.name.partition(":")[0] in families and not within.beyond(p)]
    plans = {plan.name: plan for plan in [*found, *usual]}
    losses = {name: search.loss(plan) for name, plan in plans.items()}
    drawn = {name: np.log(search.drawn(plan)) for name, plan in plans.items()}
    best = min((plan.name for plan in found), key=lambda name: losses[name])
    z = known.quantile(level)
    candidates = []
    for name in sorted(plans, key=lambda name: losses[name]):
        half = z * float(np.hypot(np.std(drawn[name]), missed))
        apart = float(np.hypot(np.std(drawn[name] - drawn[best]), np.sqrt(2.0) * missed))
        behind = losses[name] / losses[best] - 1
        candidates.append(
            Candidate(
                name,
                name.partition(":")[0],
                name in {plan.name for plan in usual},
                losses[name],
                losses[name] * np.exp(-half),
                losses[name] * np.exp(half),
                behind,
                bool(abs(np.log1p(behind)) > z * apart),
                within.beyond(plans[name]),
            )
        )
    (chosen,) = (item for item in candidates if item.schedule == best)
    notes = tuple(_notes(curves, steps, chosen, candidates, known))
    return SchedulePlan(known, steps, level, chosen, tuple(candidates), notes)


def _absolute(more: Mapping[str, float], within: Range) -> dict[str, float]:
    """The numbers of a usual schedule at the highest peak of the fitted runs."""
    peak = within.peaks[1]
    scaled = {name: value * peak if name == "min" else value for name, value in more.items()}
    return {"peak": peak, **scaled}


@dataclass(frozen=True)
class _Search:
    """The lowest final loss over a family's free numbers, by their logs."""

    fitted: CurveFit
    within: Range
    warmup: int
    steps: int

    def made(self, name: str, numbers: Mapping[str, float], **more: str) -> Schedule:
        """A schedule of a family as it is written: numbers of three digits, the peak of six."""
        given = {key: float(f"{value:.3g}") for key, value in numbers.items() if key != "peak"}
        peak = float(f"{numbers['peak']:.6g}")
        return family(name, peak, self.warmup, self.steps, given.pop("min", None), **given, **more)

    def loss(self, plan: Schedule) -> float:
        return float(self.fitted.predict(_planned(plan), [plan.total])[0])

    def drawn(self, plan: Schedule) -> Floats:
        return self.fitted.predict_draws(_planned(plan), [plan.total])[:, 0]

    def bounds(self, name: str) -> dict[str, tuple[float, float]]:
        """The free numbers of the family and their ranges; a number without a range is not free."""
        low, high = self.within.peaks
        if high <= low * (1 + SAME):
            low = high
        longest = LONGEST_DECAY * (1.0 - self.warmup / self.steps)
        least = min(self.within.lowest, low)
        known = {
            "peak": (low, high),
            "min": (least, low),
            "decay": (min(LEAST_DECAY, longest), longest),
        }
        return {key: known[key] for key in ("peak", *FREE[name])}

    def best(self, name: str) -> Schedule:
        shapes: list[dict[str, str]] = [{"shape": s} for s in SHAPES] if name == "wsd" else [{}]
        candidates = [self._lowest(name, shape) for shape in shapes]
        return min(candidates, key=self.loss)

    def _lowest(self, name: str, shape: Mapping[str, str]) -> Schedule:
        """From the best of a grid on, steps along each axis that halve where none is better."""
        bounds = self.bounds(name)
        logs = np.log(np.array(list(bounds.values())))
        spans = logs[:, 1] - logs[:, 0]
        free = np.flatnonzero(spans > SAME)

        def at(point: Floats) -> tuple[float, Schedule]:
            numbers = dict(zip(bounds, np.exp(point).tolist(), strict=True))
            plan = self.made(name, numbers, **shape)
            return self.loss(plan), plan

        axes = [
            np.linspace(logs[i, 0], logs[i, 1], GRID) if i in free else logs[i, :1]
            for i in range(len(logs))
        ]
        point = min((np.array(p) for p in product(*axes)), key=lambda p: at(p)[0])
        value, plan = at(point)
        step = spans / (GRID - 1)
        while np.max(step[free], initial=0.0) > FINEST:
            better = False
            for moved in _neighbours(point, step, free):
                tried = at(np.clip(moved, logs[:, 0], logs[:, 1]))
                if tried[0] < value:
                    (value, plan), point, better = tried, np.clip(moved, *logs.T), True
                    break
            if not better:
                step = step / 2
        return plan


def _neighbours(point: Floats, step: Floats, free: Sequence[int] | Any) -> Iterator[Floats]:
    for i in free:
        for sign in (1.0, -1.0):
            moved = point.copy()
            moved[i] += sign * step[i]
            yield moved


def _planned(plan: Schedule) -> Curve:
    return Curve("planned", np.empty(0, dtype=np.int64), np.empty(0), plan)


def _notes(
    curves: Sequence[Curve],
    steps: int,
    best: Candidate,
    candidates: Sequence[Candidate],
    known: Assessed,
) -> Iterator[Note]:
    yield from known.within.length_notes(steps)
    kinds = {(curve.schedule.name, curve.total) for curve in curves}
    if len(kinds) < 3:
        yield Note.of(
            "few_schedules",
            f"The runs have {counted(len(kinds), 'schedule')}: how a fall of the rate"
            " pays off rests on the law more than on the runs. Three that differ are better.",
        )
    if best.beyond:
        yield Note.of(
            "outside_schedules",
            f"The best has {' and '.join(best.beyond)}: there the law extrapolates.",
        )
    ahead = [item for item in candidates if item.loss < best.loss]
    if ahead:
        yield Note.of(
            "usual_is_lower",
            f"{ahead[0].schedule} is predicted lower, but is no member of the families within the"
            " range of the fitted runs.",
        )
    yield known.error_note()
