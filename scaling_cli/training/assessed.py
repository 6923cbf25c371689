"""A curve law with all that it needs to answer for another run: what it was fitted to, how sure it
is, and the file that keeps it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan, log, nan
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from scaling_cli.documents import (
    AGREES,
    DocumentKind,
    Fields,
    as_finite,
    check_digest,
    digest_of,
    finite,
)
from scaling_cli.errors import InputError
from scaling_cli.fitting.transforms import DOMAINS
from scaling_cli.laws import Law, get_law
from scaling_cli.notes import Note
from scaling_cli.quantities import count, counted
from scaling_cli.records import Floats, Steps
from scaling_cli.training.bootstrap import MISS_WEIGHT, RESAMPLES, missed_by, resampled
from scaling_cli.training.curve import Curve
from scaling_cli.training.fit import CurveFit, fit_curves
from scaling_cli.training.forecast import LEAST_ROWS, Forecast, usable
from scaling_cli.training.schedule import Schedule
from scaling_cli.version import VERSION

LAWS = ("mpl", "lr_anneal", "fsl")
DOCUMENT = DocumentKind(
    "scalefit curve fit",
    1,
    "a saved curve fit",
    "Make one with `scalefit curve` with `run=RUN` `law=mpl` `output=FILE.json`.",
)
SAME = 0.02  # relative distance beyond the fitted runs' range that is none
SAME_SIZE = 0.01  # relative difference of params of runs that one curve law holds for
NEAR_PEAK = 0.99  # of the peak: a rate below it has begun to fall
# Warmups that are left out of the rows. The forecast of a run leaves out half of one more; on the
# public curves that costs `mpl` a third of its accuracy at 100M (0.0047 for 0.0030).
SKIPPED = 1.0
FALLEN = 0.9  # of the peak: a run that ends above it says nothing of annealing


@dataclass(frozen=True)
class Range:
    """What the schedules of the fitted runs span: what a candidate is held to, or said to leave.

    `tails` are the shares of the steps from the start of the decay on, of the runs that have one.
    """

    steps: tuple[int, int]
    peaks: tuple[float, float]
    lowest: float
    tails: tuple[float, float]
    warmup: int

    @classmethod
    def of(cls, curves: Sequence[Curve]) -> Range:
        """InputError where no run lowers its rate."""
        plans = [curve.schedule for curve in curves]
        tails = [_tail(plan) for plan in plans if plan.rates[-1] < FALLEN * plan.peak]
        if not tails:
            raise InputError(
                "no run lowers its learning rate, so nothing is known of what that gains",
                "Add a finished run with a decay (cosine, linear, wsd) to the runs.",
            )
        peaks = [plan.peak for plan in plans]
        lowest = min(float(np.min(rates[rates > 0])) for rates in map(_after_warmup, plans))
        totals = [plan.total for plan in plans]
        return cls(
            (min(totals), max(totals)),
            (min(peaks), max(peaks)),
            lowest,
            (min(tails), max(tails)),
            int(np.median([plan.warmup for plan in plans])),
        )

    def length_notes(self, steps: int) -> Iterator[Note]:
        if steps > self.steps[1] * (1 + SAME):
            yield Note.of(
                "extrapolation",
                f"{steps} steps are {steps / self.steps[1]:.2g} times the longest fitted run"
                f" ({self.steps[1]}): the law has not seen a rate sum that large.",
                "warning",
            )

    def beyond(self, plan: Schedule) -> tuple[str, ...]:
        """In what a schedule leaves it, in words."""
        beyond_range = []
        if not self.peaks[0] / (1 + SAME) <= plan.peak <= self.peaks[1] * (1 + SAME):
            beyond_range.append("peak")
        after = _after_warmup(plan)
        if np.min(after) < self.lowest / (1 + SAME):
            beyond_range.append("rates below those fitted")
        tail = _tail(plan) if plan.rates[-1] < FALLEN * plan.peak else self.tails[0]
        if tail < self.tails[0] * (1 - SAME):
            beyond_range.append("a shorter decay than those fitted")
        return tuple(beyond_range)


def _after_warmup(plan: Schedule) -> Floats:
    return plan.rates[max(plan.warmup, 1) :]


def _tail(plan: Schedule) -> float:
    """Share of the steps from the start of the decay on."""
    return 1.0 - float(np.flatnonzero(plan.rates >= NEAR_PEAK * plan.peak)[-1]) / plan.total


@dataclass(frozen=True)
class Assessed:
    """A fitted curve law, its relative error `missed` (one standard deviation) on the final loss of
    a run that was not fitted, as `said_by` runs left out say, and what the fitted runs span."""

    fitted: CurveFit
    missed: float
    said_by: int
    params: float
    within: Range

    def forecast(self, run: Curve, steps: Steps, level: float = 0.90) -> Forecast:
        """What `run` logs at `steps` by the law alone: its own losses do not count.

        The band holds the draws of the parameters and the law's error. InputError where the run is
        of another size.
        """
        if abs(log(run.params / self.params)) > SAME_SIZE:  # not where one is NaN
            raise InputError(
                f"the curve fit is of {count(self.params)} params, and run {run.run_id} has"
                f" {count(run.params)}",
                "Fit runs of its size: leave `fit=` out.",
            )
        at = np.maximum(steps, max(1, run.schedule.warmup))
        loss = self.fitted.predict(run, at)
        spread = np.hypot(np.std(np.log(self.fitted.predict_draws(run, at)), axis=0), self.missed)
        factor = np.exp(self.quantile(level) * spread)
        notes = [*run.notes, *self.within.length_notes(run.total)]
        beyond = self.within.beyond(run.schedule)
        if beyond:
            said = f"The schedule has {' and '.join(beyond)}: there the law extrapolates."
            notes.append(Note.of("outside_schedules", said))
        return Forecast(
            run.run_id,
            self.fitted.law.id,
            steps,
            loss,
            loss / factor,
            loss * factor,
            level,
            0,
            self.fitted.runs,
            (*notes, self.error_note()),
        )

    def quantile(self, level: float) -> float:
        """By how many of its deviations a band of the central `level` reaches to each side."""
        return student(0.5 + level / 2, MISS_WEIGHT + self.said_by)

    def error_note(self) -> Note:
        left_out = counted(self.said_by, "run")
        basis = f"from {left_out} left out in turn" if self.said_by else "on public curves"
        return Note.of(
            "law_error",
            f"The law misses the end of a run that it was not fitted to by {self.missed:.2%} (one"
            f" standard deviation, {basis}); the bands hold that.",
        )

    def parameters_json(self, level: float = 0.90) -> dict[str, dict[str, float | None]]:
        return {name: asdict(item) for name, item in self.fitted.parameters(level).items()}

    def to_document(self) -> dict[str, Any]:
        """All of it, for a file that is read back by `from_document`."""
        said = {
            **DOCUMENT.head(),
            "law": self.fitted.law.id,
            "runs": list(self.fitted.runs),
            "params": None if isnan(self.params) else self.params,
            "parameters": self.parameters_json(),
            "decay": self.fitted.decay,
            "objective": self.fitted.objective,
            "misfit": self.fitted.misfit,
            "missed": self.missed,
            "said_by": self.said_by,
            "within": asdict(self.within),
            "version": VERSION,
            "draws": self.fitted.draws.tolist(),
        }
        document: dict[str, Any] = finite(said)
        return document | {"digest": digest_of(document, self.fitted.draws)}

    @classmethod
    def from_document(cls, document: Any, where: str = "the document") -> Assessed:
        """Read it back; InputError says what `where` lacks."""
        DOCUMENT.check(document, where)
        try:
            fields = Fields(document)
            law, within = get_law(fields.text("law")), fields.fields("within")
            if law.id not in LAWS:
                raise ValueError(f"law {law.id} is none of {', '.join(LAWS)}")
            parameters = fields.fields("parameters")
            values = {n: parameters.fields(n).number("value") for n in law.parameter_names}
            draws = _read_draws(fields, law, values)
            check_digest(document, draws)
            numbers = {n: fields.number(n) for n in ("decay", "objective", "misfit")}
            params = fields.number_or_null("params")
            steps = within.pair("steps")
            return cls(
                CurveFit(law, values, runs=fields.texts("runs"), draws=draws, **numbers),
                fields.number("missed", 0.0),
                fields.integer("said_by"),
                nan if params is None else params,
                Range(
                    (int(steps[0]), int(steps[1])),
                    within.pair("peaks"),
                    within.number("lowest", 0.0),
                    within.pair("tails"),
                    within.integer("warmup"),
                ),
            )
        except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
            raise DOCUMENT.malformed(where, error) from None

    @classmethod
    def load(cls, path: Path) -> Assessed:
        """The curve fit of a file."""
        return cls.from_document(DOCUMENT.read(path), str(path))


def _read_draws(fields: Fields, law: Law, values: Mapping[str, float]) -> Floats:
    """The resamples' parameters [resamples, parameters], about the values."""
    raw = fields.items("draws")
    if not raw or not all(isinstance(row, list) and len(row) == len(values) for row in raw):
        raise ValueError(f"draws is no list of rows of {len(values)} numbers")
    draws: Floats = np.array(
        [[as_finite(number, "draws") for number in row] for row in raw], dtype=float
    )
    low, high = draws.min(axis=0), draws.max(axis=0)
    for i, (name, value) in enumerate(values.items()):
        least, most = DOMAINS[law.parameter(name).transform]
        if not (least <= min(low[i], value) and max(high[i], value) <= most):
            raise ValueError(f"parameters.{name} leaves {least:g} to {most:g}")
        room = AGREES * (high[i] - low[i]) + 1e-6 * abs(value) + 1e-9
        if not low[i] - room <= value <= high[i] + room:
            raise ValueError(f"parameters.{name}.value is far from all its draws")
    return draws


def student(level: float, freedom: float) -> float:
    """The quantile of Student's t, by its expansion about the normal's (Fisher & Cornish 1960): how
    wide the law's error is rests on few runs."""
    z = NormalDist().inv_cdf(level)
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2


def assess(
    law: str, curves: Sequence[Curve], resamples: int = RESAMPLES, seed: int = 0
) -> Assessed:
    """`law` fitted to the rows of the curves after their warmup, which are of one size.

    InputError where the law is none of `LAWS` or no run lowers its rate; FitError where the rows
    are too few.
    """
    if law not in LAWS:
        raise InputError(
            f"`law=` {law} is not fitted to runs of one size", f"Choose one of {', '.join(LAWS)}."
        )
    within = Range.of(curves)
    rows = [usable(curve, SKIPPED) for curve in curves]
    rows = [curve for curve in rows if len(curve.steps) >= LEAST_ROWS]
    fitted = fit_curves(law, rows)
    missed, said_by = missed_by(fitted, rows)
    sizes = [curve.params for curve in rows if not isnan(curve.params)]
    params = float(np.median(sizes)) if sizes else nan
    return Assessed(resampled(fitted, rows, resamples, seed), missed, said_by, params, within)
