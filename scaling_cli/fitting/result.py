"""A fitted law: what it is, what it rests on, how sure it is, and what it predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling_cli.compute import SIX_ND, Accounting
from scaling_cli.documents import finite
from scaling_cli.errors import InputError
from scaling_cli.fitting import diagnostics, shares
from scaling_cli.fitting.objective import OBJECTIVES
from scaling_cli.fitting.procedures import AUTO
from scaling_cli.fitting.student import FEW, over_normal
from scaling_cli.fitting.targets import LANGUAGE, is_share
from scaling_cli.laws import Law, Published, get_law
from scaling_cli.notes import Note
from scaling_cli.quantities import share
from scaling_cli.records import Floats
from scaling_cli.shown import Shown

if TYPE_CHECKING:
    from scaling_cli.fitting.basis import Basis
    from scaling_cli.fitting.explored import Explored
    from scaling_cli.fitting.record import Record

AT_END = 1e-6  # of a share, from 0 and 1: there it ends because it may go no further
ROBUST, PAPER = PROCEDURES = (
    "robust",
    "paper",
)  # ways of fitting one law; other procedures have names
CHAINED = 4000  # draws of a law and its link: the 5 % point is good to a thirtieth of a deviation
NOISE_POINTS = 41  # quantile points of the noise that is folded into a prediction interval
OUTSIDE_FACTOR = 1.05  # a value this far past the data counts as outside
# Doubts about directions that the runs did not explore.
OF_DIRECTIONS = ("few_sizes", "collinear_design", "single_budget_design")
STORE_CHANGED = "store_changed"  # the note on a saved fit of runs that are not those of today
FAR_DECADES = 1.0  # an extrapolation beyond this is a warning


@dataclass(frozen=True)
class Estimate:
    """A parameter's value and the bounds of its central interval: None without resamples, and
    where all of them have one value."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Prediction(Shown):
    """A predicted target at given inputs; `low`, `high` bound the central `level` of a new run.

    A paper's coefficients come without resamples: then the bounds, level and fit_id are None.
    `quantiles` are of a new run's target, by their shares, where they were asked for. `name` is the
    law's, or that of the procedure that the fit is asked for by.
    """

    fit_id: str | None
    name: str
    group: Mapping[str, Any]
    inputs: Mapping[str, float]
    loss: float
    low: float | None = None
    high: float | None = None
    level: float | None = None
    notes: tuple[Note, ...] = ()
    target: str = "loss"
    quantiles: Mapping[float, float | None] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """The point, the prediction and its bounds."""
        told = {self.target: self.loss, "low": self.low, "high": self.high, "level": self.level}
        told |= {f"q{share:g}": value for share, value in self.quantiles.items()}
        return [{"law": self.name, **self.group, **self.inputs, **told}]

    def to_json(self) -> dict[str, Any]:
        return {
            "fit_id": self.fit_id,
            "law": self.name,
            "group": dict(self.group),
            "inputs": dict(self.inputs),
            "target": self.target,
            "loss": self.loss,
            "low": self.low,
            "high": self.high,
            "level": self.level,
            "quantiles": {f"{share:g}": value for share, value in self.quantiles.items()},
            "warnings": [note.to_json() for note in self.notes],
        }


_SIZES = ("params", "tokens", "flops")  # each tells something of the others


def _read(law: Law, inputs: Mapping[str, float], names: Mapping[str, str]) -> dict[str, float]:
    """Those of the inputs that the prediction rests on."""
    read = {*law.variables, *(names.get(name, name) for name in law.variables)}
    if "flops" in read and "flops" not in inputs:
        read |= {"params", "tokens"}
    return {name: value for name, value in inputs.items() if name in read}


def predict_published(law: Law, published: Published, inputs: Mapping[str, float]) -> Prediction:
    """The target at one point by a paper's coefficients."""
    columns = _inputs(law, inputs)
    loss = float(law.predict(**published.values, **columns)[0])
    group = {"published": published.name}
    notes = tuple(shares.count_notes({name: float(at[0]) for name, at in columns.items()}))
    read = _read(law, inputs, {})
    return Prediction(None, law.id, group, read, loss, notes=notes, target=law.target)


def _inputs(
    law: Law, inputs: Mapping[str, float], names: Mapping[str, str] | None = None
) -> dict[str, Floats]:
    """The law's variables as columns of one row; InputError names what is missing.

    `names` are the columns that they were fitted to: a one-variable law's x has one of its own.
    """
    if law.family == "training curve":  # their columns are of every step of a run
        raise InputError(
            f"law {law.id} reads a run's learning rate at every step",
            "`scalefit curve` and `scalefit schedule` ask it.",
        )
    called = {name: (names or {}).get(name, name) for name in law.variables}
    given = dict(inputs)
    unread = [name for name in given if name not in {*called, *called.values(), *_SIZES}]
    if unread:
        raise InputError(
            f"law {law.id} reads no {' and no '.join(unread)}",
            f"It reads {' and '.join(called.values())}; `scalefit laws` lists what others read.",
        )
    if {"params", "tokens"} <= given.keys():
        given.setdefault("flops", SIX_ND.flops(given["params"], given["tokens"]))
    given |= {name: given[column] for name, column in called.items() if column in given}
    missing = [called[name] for name in law.variables if name not in given]
    if missing:
        asked = [
            f"`{n}=VALUE`" if n in ("params", "tokens") else f"`at=` {n}=VALUE" for n in missing
        ]
        raise InputError(
            f"law {law.id} needs {' and '.join(missing)} for a prediction",
            f"Give {' and '.join(asked)}.",
        )
    point = {name: float(given[name]) for name in law.variables}
    shares.check_point(law, called, point)
    return {name: np.array([value]) for name, value in point.items()}


def columns_along(
    law: Law, column: str, axis: Floats, inputs: Mapping[str, float],
    names: Mapping[str, str] | None = None,
) -> dict[str, Floats]:  # fmt: skip
    """The law's variables [rows] where one column runs along `axis` and the others stand."""
    called = names or {}
    at = dict(inputs) | {column: float(axis[0])}
    rows = {name: np.full(len(axis), value[0]) for name, value in _inputs(law, at, called).items()}
    moved = {n: axis for n in rows if called.get(n, n) == column}
    rows |= moved
    if "flops" in rows and "flops" not in moved and {"params", "tokens"} <= rows.keys():
        rows["flops"] = SIX_ND.flops(rows["params"], rows["tokens"])
    return rows


@dataclass(frozen=True)
class Fit(Shown):
    """A law fitted to the runs of one group.

    `values` and `constants` are on the columns' base units; `draws` [resamples, parameters] are the
    bootstrap's parameters in the law's order. `noise` is the robust standard deviation of the
    residuals, of the logs where the objective takes logs, and `drift` what a prediction's log gains
    per unit of `distance` from the design; `record` is what the same way of fitting missed inside
    the runs, by which every interval of a prediction is widened or narrowed.
    `procedure` says how it was fitted: `robust`, `paper`, or one with a name of its own. `tied`
    is set where parameters are shared with other groups: which, what that costs and what the group
    has untied. `domain` holds the smallest and largest value of each column among the fitted runs,
    `flops` and `tokens_per_param` included. `then` is a link from what the law predicts to a score:
    `curve` and `band` are the score's. `predicted_finals` names the runs that had not ended, with
    the predicted `loss` that each entered by and its relative `spread`. `rests_on` says which runs
    of a store it was made of, None where there was no store. Of the
    parameters in `unknown` the runs say nothing; `explored` is set where they leave a direction
    open to ask in.
    """

    law_id: str
    group: Mapping[str, Any]
    n_observations: int
    n_runs: int
    objective: str
    objective_value: float
    values: Mapping[str, float]
    constants: Mapping[str, float]
    draws: Floats
    level: float
    noise: float
    metrics: Mapping[str, float]
    domain: Mapping[str, tuple[float, float]]
    columns: Mapping[str, str]
    seed: int
    data_digest: str
    version: str
    notes: tuple[Note, ...] = ()
    procedure: str = ROBUST
    drift: float = 0.0
    record: Record | None = None
    tied: Mapping[str, Any] | None = None
    holdout: Mapping[str, float | None] | None = None
    holdout_rows: tuple[Mapping[str, Any], ...] = ()
    then: Fit | None = None
    predicted_finals: tuple[Mapping[str, Any], ...] = ()
    compute: Accounting = SIX_ND
    rests_on: Basis | None = None
    unknown: tuple[str, ...] = ()
    explored: Explored | None = None

    @cached_property
    def law(self) -> Law:
        return get_law(self.law_id).among(self.columns)

    @property
    def log(self) -> bool:
        """Whether the objective, and with it the noise, is one of logs."""
        return self.objective not in OBJECTIVES or OBJECTIVES[self.objective].log

    @property
    def name(self) -> str:
        """What the user asks for it by: its procedure, or else its law."""
        own = self.law.name if self.procedure in PROCEDURES else self.procedure
        return f"{own}+{self.then.name}" if self.then else own

    @property
    def target(self) -> str:
        """The column that is predicted."""
        return self.then.target if self.then else self.columns["target"]

    @cached_property
    def fit_id(self) -> str:
        """Names the fit by what went into it: the same runs and options give the same id."""
        import hashlib
        import json

        key: list[Any] = [
            self.law_id,
            self.procedure,
            finite(self.group),
            self.objective,
            dict(self.values),
        ]
        key += [self.data_digest, self.seed, len(self.draws), self.version]
        key += [self.then.fit_id] if self.then else []
        text = json.dumps(key, sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        return f"{self.name.replace('+', '-')}-{digest}"  # also the name of a file

    @cached_property
    def parameters(self) -> dict[str, Estimate]:
        names = self.law.parameter_names
        if not len(self.draws):
            return {name: Estimate(self.values[name], None, None) for name in names}
        low, high = (self._as_few(ends) for ends in self.interval(self.draws))
        drawn = np.ptp(self.draws, axis=0) > 0  # not what is fixed, or what no run speaks of
        return {
            name: Estimate(self.values[name], *self._inside(name, float(low[i]), float(high[i])))
            if drawn[i] and name not in self.unknown
            else Estimate(self.values[name], None, None)
            for i, name in enumerate(names)
        }

    def _inside(self, name: str, low: float, high: float) -> tuple[float | None, float | None]:
        """The ends of a parameter's interval; one at the end of what the law lets it be is open."""
        if self.law.parameter(name).transform != "logit" or low < 0 or high > 1:
            return low, high
        return (low if low > AT_END else None), (high if high < 1 - AT_END else None)

    def _as_few(self, ends: Floats) -> Floats:
        """Ends of intervals [parameters] as far out as Student's t puts them where few runs are
        left to say what the noise is: by the log of what is above or below zero throughout."""
        if not self.record or self.record.freedom >= FEW:
            return ends
        factor = over_normal(self.level, self.record.freedom)
        found = ends.copy()
        for i, parameter in enumerate(self.law.parameters):
            value, end = self.values[parameter.name], ends[i]
            if parameter.transform in ("log", "negative") and np.sign(value) * np.sign(end) > 0:
                with np.errstate(all="ignore"):
                    found[i] = value * (end / value) ** factor
            elif parameter.transform == "identity":
                found[i] = value + factor * (end - value)
        finite: Floats = np.where(np.isfinite(found), found, ends)
        return finite

    def interval(self, samples: Floats) -> tuple[Floats, Floats]:
        """The central `level` of samples over the leading axis."""
        tail = 50 * (1 - self.level)
        with np.errstate(invalid="ignore"):  # a draw's prediction may be infinite far out
            low, high = np.nanpercentile(samples, [tail, 100 - tail], axis=0)
        return low, high

    def at_level(self, level: float | None) -> Fit:
        """The same fit, its intervals holding another share; its own where that is None."""
        then = self.then.at_level(level) if self.then else None
        return self if level is None else replace(self, level=level, then=then)

    def draw_values(self) -> dict[str, Floats]:
        """The resamples' parameters, each [resamples, 1], with the law's constants."""
        columns = {
            name: self.draws[:, i : i + 1] for i, name in enumerate(self.law.parameter_names)
        }
        return columns | {name: np.full((1, 1), value) for name, value in self.constants.items()}

    def curve(self, columns: Mapping[str, Floats]) -> Floats:
        """Predicted target [rows] for columns [rows]; not finite where the law overflows."""
        with np.errstate(all="ignore"):
            prediction: Floats = self.law.predict(**self.values, **self.constants, **columns)
        return self.then.curve(self.then.link_from(prediction)) if self.then else prediction

    def link_from(self, values: Floats) -> dict[str, Floats]:
        """The one variable of a link, at what the law before it predicts."""
        (name,) = self.law.variables
        return {name: values}

    def band(self, columns: Mapping[str, Floats]) -> tuple[Floats, Floats] | None:
        """Bounds [rows] within which a new run falls with probability `level`; None if unknown, and
        NaN where a row lies beside what the runs explored.

        The resamples give the uncertainty of the law, the residuals that of one run.
        """
        bounds = self._band(columns)
        if bounds and self.explored:
            beside = self.explored.beside(columns)
            return np.where(beside, np.nan, bounds[0]), np.where(beside, np.nan, bounds[1])
        return bounds

    def _band(self, columns: Mapping[str, Floats]) -> tuple[Floats, Floats] | None:
        if not len(self.draws) or (self.then and not len(self.then.draws)):
            return None
        if self.then:
            low, high = self.interval(self._chained(columns))
            return low, high
        with np.errstate(all="ignore"):
            drawn = self.law.predict(**self.draw_values(), **columns)
            drawn = np.log(drawn) if self.log else drawn
        noise = np.hypot(self.noise, self.drift * self.distance(columns))
        low, high = self.interval(spread(drawn, noise))
        with np.errstate(all="ignore"):
            middle = self.law.predict(**self.values, **self.constants, **columns)
            middle = np.log(middle) if self.log else middle
            low, high = (self.stretched(middle, end) for end in (low, high))
        low, high = (np.exp(low), np.exp(high)) if self.log else (low, high)
        return self.possible(low), self.possible(high)

    def _chained(self, columns: Mapping[str, Floats]) -> Floats:
        """Draws [CHAINED, rows] of a new run's score: of the law's parameters and of one run's
        noise, and of the link's at the value that these give, each as its record has it."""
        random = np.random.default_rng(self.seed)

        def draw(fitted: Fit, at: Mapping[str, Floats]) -> Floats:
            chosen = fitted.draws[random.integers(len(fitted.draws), size=CHAINED)]
            names = fitted.law.parameter_names
            values = {name: chosen[:, i : i + 1] for i, name in enumerate(names)}
            drift = fitted.drift * fitted.distance(columns) if fitted.drift else 0.0
            missed = np.hypot(fitted.noise, drift) * random.standard_normal((CHAINED, 1))
            drawn: Floats = fitted.law.predict(**values, **fitted.constants, **at)
            middle: Floats = fitted.law.predict(**fitted.values, **fitted.constants, **at)
            if fitted.log:
                drawn, middle = np.log(drawn), np.log(middle)
            drawn = fitted.stretched(middle, drawn + missed)
            return np.exp(drawn) if fitted.log else drawn

        assert self.then
        with np.errstate(all="ignore"):
            score = draw(self.then, self.then.link_from(draw(self, columns)))
        return self.then.possible(score)

    def possible(self, values: Floats) -> Floats:
        """Values of the target, a share's held between 0 and 1 where runs are not told in per
        cent."""
        percent = any(note.code == "units_doubtful" for note in self.notes)
        return values if percent or not is_share(self.target) else np.clip(values, 0.0, 1.0)

    def stretched(self, middle: Floats, samples: Floats) -> Floats:
        """Samples about a prediction, as far from it as the record puts them."""
        if not self.record:
            return samples
        below, above = self.record.ends(self.level)
        apart = samples - middle
        stretched: Floats = middle + np.where(apart < 0, below, above) * apart
        return stretched

    def distance(self, columns: Mapping[str, Floats]) -> Floats:
        """How far each row lies outside the fitted runs [rows], as `distance_outside`."""
        return distance_outside(self.domain, columns, self.compute)

    def along(self, column: str, axis: Floats, inputs: Mapping[str, float]) -> dict[str, Floats]:
        """The law's variables [rows] where one column runs along `axis` and the others stand."""
        return columns_along(self.law, column, axis, inputs, self.columns)

    def predict(self, inputs: Mapping[str, float], quantiles: Sequence[float] = ()) -> Prediction:
        """The target at one point, with its interval, further `quantiles` of a new run's target by
        their shares, and how far it lies from the data.

        What makes the fit itself doubtful stands beside. InputError where the law gives no finite
        number there.
        """
        columns = _inputs(self.law, inputs, self.columns)
        (center,) = self.curve(columns).tolist()
        if not np.isfinite(center):
            where = ", ".join(f"{name}={value:.3g}" for name, value in inputs.items())
            raise InputError(
                f"{self.name} gives no finite {self.target} at {where}",
                "Ask nearer to the fitted runs, or name a law that compare believes: `law=`.",
            )
        bounds = self.band(columns)
        at = {name: float(values[0]) for name, values in columns.items()}
        beyond: tuple[Note, ...] = ()
        if self.possible(np.array([center]))[0] != center:
            bounds, beyond = None, (diagnostics.no_share(self.name, self.target, center),)
        return Prediction(
            self.fit_id,
            self.name,
            self.group,
            _read(self.law, inputs, self.columns),
            center,
            _known(bounds[0][0]) if bounds else None,
            _known(bounds[1][0]) if bounds else None,
            self.level,
            (*self.distance_notes(at), *self._link_notes(columns), *beyond, *self.severe_at(at)),
            self.target,
            {item: self._quantile(columns, center, item) for item in quantiles},
        )

    def _quantile(self, columns: Mapping[str, Floats], center: float, at: float) -> float | None:
        """Below which a new run's target lies with probability `at`: an end of a central interval,
        so that quantiles and intervals agree."""
        if at == 0.5:
            return center
        bounds = self.at_level(abs(1 - 2 * at)).band(columns)
        return _known(bounds[0 if at < 0.5 else 1][0]) if bounds else None

    @property
    def severe_notes(self) -> tuple[Note, ...]:
        """What every answer by this fit has to say again."""
        return tuple(
            note for note in self.notes if note.severity == "severe" or note.code == STORE_CHANGED
        )

    def severe_at(self, point: Mapping[str, float]) -> tuple[Note, ...]:
        """What an answer at this point has to say again: of a doubt about a direction that the runs
        did not explore, nothing where the point lies on their line."""
        if not self.explored or not set(self.explored.columns) <= point.keys():
            return self.severe_notes
        columns = {name: np.array([point[name]]) for name in self.explored.columns}
        if self.explored.beside(columns)[0]:
            return (self.explored.note(), *self.severe_notes)
        return tuple(note for note in self.severe_notes if note.code not in OF_DIRECTIONS)

    def _link_notes(self, columns: Mapping[str, Floats]) -> tuple[Note, ...]:
        if not self.then:
            return ()
        with np.errstate(all="ignore"):
            between = self.law.predict(**self.values, **self.constants, **columns)
        found = self.then.link_from(between)
        return self.then.distance_notes({name: float(item[0]) for name, item in found.items()})

    def decades_beyond(self, flops: float) -> float | None:
        """Decades of compute past the largest fitted run; None where no run has a compute."""
        if "flops" not in self.domain:
            return None
        return max(0.0, float(np.log10(flops / self.domain["flops"][1])))

    def distance_notes(self, inputs: Mapping[str, float]) -> tuple[Note, ...]:
        """What of a point lies outside the fitted runs, in words.

        Compute speaks for params and tokens; these are named only where it lies inside.
        """
        point = dict(inputs)
        ratios: list[tuple[str, float]] = []
        if {"params", "tokens"} <= point.keys():
            ratios = [("tokens_per_param", point["tokens"] / point["params"])]
            point.setdefault("flops", self.compute.flops(point["params"], point["tokens"]))
        if "flops" in self.domain and "flops" in point:
            beyond = self._outside("flops", point["flops"])
            if beyond:
                return (beyond, *filter(None, (self._outside(*item) for item in ratios)))
        return tuple(filter(None, (self._outside(*item) for item in [*point.items(), *ratios])))

    def _outside(self, name: str, value: float) -> Note | None:
        if name not in self.domain:
            return None
        low, high = self.domain[name]
        if low / OUTSIDE_FACTOR <= value <= high * OUTSIDE_FACTOR:
            return None
        above = value > high
        if low <= 0 or value <= 0:
            message = f"{name} {value:.3g} lies outside the fitted runs ({low:.3g} to {high:.3g})."
            return Note.of("outside_design", message, "warning")
        decades = float(np.log10(value / high if above else low / value))
        side = (
            f"above the largest fitted run ({high:.3g})"
            if above
            else (f"below the smallest fitted run ({low:.3g})")
        )
        codes = {"flops": "extrapolation", "tokens_per_param": "ratio_outside"}
        return Note.of(
            codes.get(name, "outside_design"),
            f"{name} {value:.3g} lies {decades:.2f} decades {side}.",
            "warning" if decades > FAR_DECADES or name == "tokens_per_param" else "info",
        )

    def rows(self) -> list[dict[str, Any]]:
        """Its parameters with their bounds."""
        return [
            {"law": self.name, **self.group, "parameter": name, **vars(estimate)}
            for name, estimate in self.parameters.items()
        ]

    def caption(self) -> str:
        return (
            f"{self.target} = {self.law.formula}: {self.n_runs} runs, {share(self.level)} intervals"
        )

    @property
    def derived(self) -> dict[str, float]:
        """Further coefficients that the law gives, those that are numbers."""
        if not self.law.derived:
            return {}
        try:
            with np.errstate(all="ignore"):
                further = self.law.derived(dict(self.values) | dict(self.constants))
        except ArithmeticError:
            return {}
        return {name: value for name, value in further.items() if np.isfinite(value)}

    @cached_property
    def _rests_on_unknown(self) -> set[str]:
        """Those of `derived` that change with a parameter of which the runs say nothing."""
        values = dict(self.values) | dict(self.constants)
        moved = values | {  # each by a share of its own: of two alike a ratio would stay
            name: (1.1 + 0.03 * i) * values[name] for i, name in enumerate(self.unknown)
        }
        if not self.unknown or not self.law.derived:
            return set()
        try:
            with np.errstate(all="ignore"):
                other = self.law.derived(moved)
        except ArithmeticError:
            return set(self.derived)
        return {name for name, value in self.derived.items() if other.get(name) != value}

    @property
    def further(self) -> dict[str, Estimate]:
        """What `derived` gives, with the intervals that follow from the resamples; without one
        where too few of these give a number, and where what it rests on is not known."""
        found = {name: Estimate(value, None, None) for name, value in self.derived.items()}
        if not len(self.draws) or not self.law.derived or not found:
            return found
        drawn = []
        for row in self.draws:
            values = dict(zip(self.law.parameter_names, map(float, row), strict=True))
            try:
                with np.errstate(all="ignore"):
                    given = self.law.derived(values | dict(self.constants))
            except ArithmeticError:
                given = {}
            drawn.append([given.get(name, np.nan) for name in found])
        samples = np.array(drawn)
        enough = np.mean(np.isfinite(samples), axis=0) >= self.level
        enough &= ~np.array([name in self._rests_on_unknown for name in found])
        if not enough.any():
            return found
        low, high = self.interval(np.where(np.isfinite(samples), samples, np.nan)[:, enough])
        ends = iter(zip(low.tolist(), high.tolist(), strict=True))
        return {
            name: Estimate(item.value, *next(ends)) if known else item
            for (name, item), known in zip(found.items(), enough, strict=True)
        }

    @property
    def prior(self) -> str | None:
        """`language` where what ladders of language models have in common holds the fit."""
        told = any(note.code == "no_prior" for note in self.notes)
        return LANGUAGE if self.procedure == AUTO and not told else None

    @property
    def by_curves(self) -> bool:
        """Whether it rests on the curves of runs, not on their final points alone."""
        return any(note.code == "surface_by_checkpoints" for note in self.notes)

    def to_json(self) -> dict[str, Any]:
        """The contract's `fit` object."""
        return {
            "fit_id": self.fit_id,
            "law": self.name,
            "surface": self.law_id,
            "recipe": self.procedure,
            "prior": self.prior,
            "group": dict(self.group),
            "n_observations": self.n_observations,
            "n_runs": self.n_runs,
            "predicted_finals": [dict(item) for item in self.predicted_finals],
            "status": "ok",
            "objective": {"name": self.objective, "value": self.objective_value},
            "parameters": {
                name: {"value": item.value, "low": item.low, "high": item.high}
                for name, item in self.parameters.items()
            },
            "constants": dict(self.constants),
            "unknown": list(self.unknown),
            "explored": self.explored.to_json() if self.explored else None,
            "derived": self.derived,
            "derived_intervals": {
                name: {"low": item.low, "high": item.high} for name, item in self.further.items()
            },
            "compute": self.compute.to_json(),
            "metrics": dict(self.metrics),
            "noise": self.noise,
            "drift": self.drift,
            "record": self.record.to_json() if self.record else None,
            "level": self.level,
            "resamples": len(self.draws),
            "seed": self.seed,
            "domain": {name: list(bounds) for name, bounds in self.domain.items()},
            "columns": dict(self.columns),
            "tied": dict(self.tied) if self.tied else None,
            "then": self.then.to_json() if self.then else None,
            "holdout": dict(self.holdout) if self.holdout else None,
            "holdout_rows": [dict(row) for row in self.holdout_rows],
            "rests_on": self.rests_on.to_json() if self.rests_on else None,
            "warnings": [note.to_json() for note in self.notes],
        }

    def to_document(self) -> dict[str, Any]:
        """All of the fit, for a file that is read back by `from_document`."""
        from scaling_cli.fitting.document import to_document

        return to_document(self)

    @classmethod
    def from_document(cls, document: Any, where: str = "the document") -> Fit:
        """Read a fit back; InputError says what `where` lacks."""
        from scaling_cli.fitting.document import from_document

        return from_document(document, where)

    def with_holdout(
        self, holdout: Mapping[str, float | None], rows: Sequence[Mapping[str, Any]]
    ) -> Fit:
        return replace(self, holdout=holdout, holdout_rows=tuple(rows))

    def with_notes(self, notes: Sequence[Note]) -> Fit:
        return replace(self, notes=(*self.notes, *notes))


@dataclass(frozen=True)
class FailedFit:
    """A group that the law or procedure of this `name` could not be fitted to, and why."""

    name: str
    group: Mapping[str, Any]
    n_observations: int
    message: str
    notes: tuple[Note, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        note = Note.of("failed", self.message)
        return {
            "fit_id": None,
            "law": self.name,
            "group": dict(self.group),
            "n_observations": self.n_observations,
            "status": "failed",
            "objective": {"name": None, "value": None},
            "parameters": {},
            "metrics": {"r2": None, "rmse": None, "mape": None},
            "holdout": None,
            "warnings": [item.to_json() for item in (note, *self.notes)],
        }


def _known(bound: float) -> float | None:
    return float(bound) if np.isfinite(bound) else None


def distance_outside(
    domain: Mapping[str, tuple[float, float]],
    columns: Mapping[str, Floats],
    compute: Accounting = SIX_ND,
) -> Floats:
    """How far each row lies outside a design [rows]: the root of the summed squares of the log
    distances by which it leaves the range of a column, of the ratio, or the compute above."""
    squares = np.zeros(len(next(iter(columns.values()))))
    for name, values in with_derived(columns, compute).items():
        if name not in domain or domain[name][0] <= 0:
            continue
        low, high = np.log(domain[name])
        with np.errstate(divide="ignore"):  # what is zero is infinitely far
            logs = np.log(values)
        below = 0.0 if name == "flops" else np.maximum(0.0, low - logs)
        squares += (below + np.maximum(0.0, logs - high)) ** 2
    distance: Floats = np.sqrt(squares)
    return distance


def with_derived(columns: Mapping[str, Floats], compute: Accounting = SIX_ND) -> dict[str, Floats]:
    """The columns with the compute and the ratio of params and tokens, where there are both."""
    found = dict(columns)
    if {"params", "tokens"} <= columns.keys():
        found["flops"] = compute.flops(columns["params"], columns["tokens"])
        found["tokens_per_param"] = columns["tokens"] / columns["params"]
    return found


def spread(samples: Floats, deviation: Floats) -> Floats:
    """Samples [batch, rows], each at equally likely points of a normal `deviation` [rows]."""
    from statistics import NormalDist

    normal = NormalDist()
    points = [normal.inv_cdf((i + 0.5) / NOISE_POINTS) for i in range(NOISE_POINTS)]
    steps = np.array(points)[:, None] * deviation
    spread_out: Floats = (samples[:, None, :] + steps).reshape(-1, samples.shape[-1])
    return spread_out
