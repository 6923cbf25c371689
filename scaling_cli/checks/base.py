"""What a rule is, what it sees of a run, and what it finds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scaling_cli.columns import COLUMNS
from scaling_cli.ending import ending
from scaling_cli.errors import InputError
from scaling_cli.expressions import as_number, parse
from scaling_cli.mapping import Mapping
from scaling_cli.observe import Runs
from scaling_cli.quantities import parse_quantity
from scaling_cli.records import Floats, Run, Series
from scaling_cli.resolve import Resolved, resolve, sample
from scaling_cli.spelling import near
from scaling_cli.store import RunRecord, Store
from scaling_cli.table import Table

if TYPE_CHECKING:
    from scaling_cli.fitting.result import Fit
    from scaling_cli.training.assessed import Assessed

Status = Literal["pass", "fail", "skip"]
Kind = Literal["number", "text", "texts", "runs", "expression"]
Settings = Dict[str, Any]

REQUIRED = object()


class Undecided(Exception):
    """A rule cannot judge this run; the message says what it lacks. It is a skip, never a pass."""


class Unjudged(Exception):
    """What a rule would judge by is damaged; the message says how. A gate that cannot judge does
    not let through: it is a fail."""


@dataclass(frozen=True)
class Setting:
    """What a [[check]] table may say to a rule. A number may be written as `2T`; an `expression`
    is a number, or one over the run's columns and config; `texts` is one text or a list, and `runs`
    the same of runs, which the store has to hold. A number lies within `low` to `high`, where no
    setting lets everything pass, and is `whole` where it counts."""

    name: str
    kind: Kind
    meaning: str
    default: Any = None
    low: float = -math.inf
    high: float = math.inf
    whole: bool = False


@dataclass(frozen=True)
class Finding:
    """What a rule says of a run. `step` is where, `details` further numbers for programs."""

    status: Status
    message: str
    observed: float | str | None = None
    expected: float | str | None = None
    step: int | None = None
    details: Dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """One rule: `judge` gives a finding on a run, or raises Undecided.

    `always` marks the rules that need no settings: they serve where no [[check]] is written. Of
    `one_of`, at least one setting has to be given.
    """

    name: str
    title: str
    judge: Callable[[Subject, Settings], Finding]
    settings: tuple[Setting, ...] = ()
    always: bool = False
    one_of: tuple[str, ...] = ()

    def read(self, given: Dict[str, Any], where: str) -> dict[str, Any]:
        """The settings with their defaults; InputError names an unknown or unusable one."""
        known = {setting.name: setting for setting in self.settings}
        for name in given:
            if name not in known:
                raise InputError(
                    f"{where}: rule {self.name} has no setting {name!r}",
                    near(name, known) or f"It has {', '.join(known) or 'none'}.",
                )
        if self.one_of and not set(self.one_of) & given.keys():
            raise InputError(
                f"{where}: rule {self.name} needs one of {', '.join(self.one_of)}",
                f"{self.one_of[0]}: {known[self.one_of[0]].meaning}.",
            )
        settings = {}
        for name, setting in known.items():
            value = given.get(name, setting.default)
            if value is REQUIRED:
                raise InputError(
                    f"{where}: rule {self.name} needs {name}", f"{name}: {setting.meaning}."
                )
            settings[name] = value if name not in given else _read(setting, value, where)
        return settings


def _read(setting: Setting, value: Any, where: str) -> Any:
    place = f"{where}: {setting.name}"
    if setting.kind in ("texts", "runs"):
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(item, str) for item in values):
            raise InputError(f"{place} is neither a text nor a list of texts", setting.meaning)
        if not values or not all(item.strip() for item in values):
            raise InputError(f"{place} names nothing", f"{setting.name}: {setting.meaning}.")
        return values
    if isinstance(value, str):
        if setting.kind == "expression":
            parse(value)
            return value
        if setting.kind == "number":
            return _within(setting, parse_quantity(value, place), place)
        if not value.strip():
            raise InputError(f"{place} names nothing", f"{setting.name}: {setting.meaning}.")
        return value
    number = None if isinstance(value, bool) else as_number(value)
    if setting.kind == "text" or number is None or not math.isfinite(number):
        kind = "text" if setting.kind == "text" else "number"
        raise InputError(f"{place} = {value!r} is no {kind}", f"{setting.name}: {setting.meaning}.")
    return _within(setting, number, place)


def _within(setting: Setting, number: float, place: str) -> float:
    if setting.low <= number <= setting.high and (number == int(number) or not setting.whole):
        return number
    kind = "a whole number" if setting.whole else "a number"
    ends = [f"from {setting.low:g}"] if math.isfinite(setting.low) else []
    ends += [f"to {setting.high:g}"] if math.isfinite(setting.high) else []
    raise InputError(
        f"{place} = {number:g} is not {' '.join([kind, *ends])}",
        f"{setting.name}: {setting.meaning}.",
    )


@dataclass(frozen=True)
class Subject:
    """A run under check: its record, its history, and the bench that has the other runs."""

    record: RunRecord
    run: Run
    columns: Resolved
    row: Table  # the run alone, at its final point
    bench: Bench

    @property
    def step(self) -> int:
        """The last step that any metric was logged at."""
        return int(self.record.final.get("steps", 0))

    def series(self, name: str) -> Series:
        """The history of a column, or of a metric under its logged name, with at least a point."""
        column = self.columns.columns.get(name)
        values = self.run.series.get(name) if column is None else column.values
        if not isinstance(values, Series) or not len(values.steps):
            what = "no history" if not self.run.series else f"no history of {name}"
            raise Undecided(f"the run has {what}")
        return values

    def at(self, name: str, steps: Any) -> Floats:
        """A column's values at steps [n], by a straight line between logged points."""
        return sample(self.series(name), np.asarray(steps), linear=True)

    def number(self, expression: float | str) -> float:
        """A number, or an expression over the run's columns at its final point and its config."""
        if not isinstance(expression, str):
            return float(expression)
        try:
            value = parse(expression).evaluate(self._look_up)
        except InputError as error:
            for name in parse(expression).names:
                if name != "steps":
                    self.bench.rows.look_up(name)  # an InputError where no run at all has it
            raise Undecided(f"`{expression}`: {error.what}") from None
        number = as_number(np.broadcast_to(value, 1).tolist()[0])
        if number is None or not math.isfinite(number):
            if number is not None and self._is_damaged(expression, number):
                raise Unjudged(f"`{expression}` is no finite number at the run's end")
            raise Undecided(f"`{expression}` is no number in this run")
        return number

    def plan(self, expression: float | str, of: str) -> float:
        """What was planned of a quantity, above zero; Unjudged for a plan of none."""
        planned = self.number(expression)
        if not planned > 0:
            raise Unjudged(f"the plan is {planned:g} {of}")
        return planned

    def _is_damaged(self, expression: str, number: float) -> bool:
        """Whether it is no finite number though the run lacks nothing of it: something in it was
        logged and is none at the final point, or all are numbers and none comes of them."""
        names = parse(expression).names
        logged = [self.record.final.get(name, 0.0) for name in names]
        if math.isinf(number) or not all(map(math.isfinite, logged)):
            return True
        values = [as_number(np.broadcast_to(self._look_up(n), 1).tolist()[0]) for n in names]
        return all(value is not None and math.isfinite(value) for value in values)

    def _look_up(self, name: str) -> Any:
        return float(self.step) if name == "steps" else self.row.look_up(name)

    @property
    def planned_steps(self) -> int | None:
        """The steps that the run was to take, by its config or the mapping."""
        state = ending(self.run, self.columns.columns, float(self.step))[0].planned
        return None if state is None else round(state)

    @property
    def running(self) -> bool:
        """Whether the source says that the run goes on."""
        return self.record.status == "unfinished"

    @cached_property
    def losses(self) -> tuple[str, ...]:
        """The loss column, and every other series that goes by a name of a loss."""
        column = self.columns.columns.get("loss")
        origin = column.origin if column else ""
        others = [n for n in COLUMNS["loss"].aliases if n in self.run.series and n != origin]
        return ("loss", *others)


@dataclass(frozen=True)
class Bench:
    """All runs of a store at their final points, and where their histories and fits come from.

    `fits` gives the fits of an id or a file, or the newest ones for None; `curve_fit` the curve fit
    of a file.
    """

    runs: Runs
    store: Store
    mapping: Mapping | None
    fits: Callable[[str | None], Sequence[Fit]]
    curve_fit: Callable[[str], Assessed]

    @property
    def rows(self) -> Table:
        return self.runs.table

    def subjects(self, chosen: Sequence[int]) -> list[Subject]:
        """The runs of these rows with their histories, in that order."""
        records = [self.runs.records[i] for i in chosen]
        series = self.store.series(record.run_key for record in records if record.has_history)
        judged = []
        for i, record in zip(chosen, records, strict=True):
            run = record.to_run(series.get(record.run_key, {}))
            alone = self.rows.select(np.arange(len(self.rows)) == i)
            columns = resolve(run, self.mapping or record.mapping)
            judged.append(Subject(record, run, columns, alone, self))
        return judged

    def other(self, name: str) -> Subject:
        """The one run of this name, whichever run is under check."""
        return self.subjects([self.runs.one_called(name)])[0]


METRIC = Setting("metric", "texts", "the metrics judged; without it, every logged loss")


def judge_each(
    run: Subject, metrics: Sequence[str] | None, judge: Callable[[str], Finding]
) -> Finding:
    """One finding for several metrics: the first failure, else the first pass.

    Undecided only if no metric could be judged; InputError for one that no run in the store has, or
    a misspelt name would let everything pass.
    """
    findings: list[Finding] = []
    unable: list[Undecided] = []
    for name in metrics or run.losses:
        try:
            findings.append(judge(name))
        except Unjudged as error:
            raise Unjudged(f"{name}: {error}") from None
        except Undecided as error:
            if metrics:
                run.bench.rows.look_up(name)
            unable.append(error)
    if not findings:
        raise unable[0]
    return next((item for item in findings if item.status == "fail"), findings[0])


def finite(series: Series) -> Series:
    """The series without the points that are no number; Unjudged where none is one."""
    kept = np.isfinite(series.values)
    if len(kept) and not kept.any():
        raise Unjudged("no logged value is a finite number")
    return series if kept.all() else Series(series.steps[kept], series.values[kept])
