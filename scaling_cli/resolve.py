"""Find the canonical columns of a run: by the mapping, else by the names that loggers use."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_cli.architecture import PER_TOKEN, Architecture
from scaling_cli.columns import COLUMNS, FAMILIES, names_score
from scaling_cli.compute import SIX_ND
from scaling_cli.ending import ENDED, PLANNED, ending, planned_steps
from scaling_cli.errors import InputError
from scaling_cli.expressions import as_number, parse
from scaling_cli.losses import (
    is_held_out,
    is_held_out_measure,
    is_loss,
    loss_from,
    of_parts,
    of_the_whole,
    of_training,
)
from scaling_cli.mapping import Mapping, questioned
from scaling_cli.names import OwnNames
from scaling_cli.notes import Note, gather
from scaling_cli.records import Floats, Run, Series
from scaling_cli.spelling import near, spelled, unfiled
from scaling_cli.steps import (
    AS_CALLED,
    CALLS,
    STEP_IS,
    calls_beside,
    on_own_step,
    own_rank,
    unmarked,
)

# Config keys that may stand for these deep in a nested config (`model.n_params`); for the others
# a key such as `data.tokens` or `log.step` more often means something else.
_NESTED = frozenset(COLUMNS) - {"step", "loss", "tokens", "flops", "lr"}
_DERIVED = {"step", "tokens", "flops"}  # found also where nothing is called so
_MEANS = {name: column.name for column in COLUMNS.values() for name in column.names}
# The same in one spelling; a single letter is a name only as it is written.
_SPELLED = {
    spelled(name): column.name
    for column in reversed(COLUMNS.values())
    for name in column.names
    if len(name) > 1
}
_FORMS = {
    column.name: tuple(dict.fromkeys(spelled(name) for name in column.names if len(name) > 1))
    for column in COLUMNS.values()
}
# Between two logged points these grow in proportion to the step.
_LINEAR = {*COLUMNS["tokens"].names, *COLUMNS["flops"].names}
_LINEAR_FORMS = {spelled(name) for name in _LINEAR if len(name) > 1} | {"consumed samples"}
_BATCH = ("global_train_batch_size", "global_batch_size", "train_batch_size", "batch_size")
_LENGTH = (
    "max_sequence_length",
    "seq_len",
    "seq_length",
    "sequence_length",
    "max_seq_len",
    "context_length",
    "block_size",
)
_FIGURES = re.compile(r"\s*[+-]?[.,]?\d")  # how a text begins that is meant as a number
_ACCUMULATION = ("gradient_accumulation_steps", "grad_accum", "accumulate_grad_batches")
_DEVICES = ("world_size", "num_devices", "n_gpus", "num_gpus")
# The batch that one device takes in one pass, and the sizes of batches that are logged.
_MICRO = ("per_device_train_batch_size", "micro_batch_size", "device_batch_size")
_LOGGED_BATCH = {"global batch size", "batch size"}
_SAMPLES = {"consumed samples", "consumed train samples", "samples seen", "consumed sequences"}
_RISING = ("tokens", "flops")  # what is seen so far: it never falls while a run trains
_NEAR_PLAN = 0.01  # of the plan: calls that end so near to it were one a step
_HISTORY = 3  # points from which on a counter that does not rise is none


@dataclass(frozen=True)
class Column:
    """Where a column of one run comes from, and its points: a series, or one value for all."""

    origin: str
    values: Any  # Series, or a scalar

    @property
    def negative(self) -> bool:
        """Whether any value is below zero."""
        if isinstance(self.values, Series):
            return bool((self.values.values < 0).any())
        return (as_number(self.values) or 0.0) < 0

    def at(self, steps: Sequence[int] | NDArray[np.int64], linear: bool = False) -> Floats:
        """Values at `steps`: as logged, else in between (`linear`), else the last one before."""
        if isinstance(self.values, Series):
            return sample(self.values, np.asarray(steps, dtype=np.int64), linear)
        number = as_number(self.values)
        return np.full(len(steps), np.nan if number is None else number)


@dataclass(frozen=True)
class Resolved:
    """The columns found in a run; `unknown` tells which names a mapped column lacked."""

    columns: dict[str, Column]
    unknown: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    refused: frozenset[tuple[str, str]] = frozenset()

    @property
    def origins(self) -> dict[str, str]:
        return {name: column.origin for name, column in self.columns.items()}


@dataclass(frozen=True)
class Final:
    """A run in one row: canonical values at its final point, and where each comes from.

    `values` also holds `steps`, the last step that the run reached. `summary` is every logged
    metric at the final point.
    """

    values: dict[str, float]
    mapped: dict[str, str]
    summary: dict[str, float] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Finals:
    """One `Final` a run. `mapped` counts, for each column, the runs that have it from an origin."""

    rows: tuple[Final, ...]
    mapped: dict[str, dict[str, int]]
    notes: tuple[Note, ...]


def sample(series: Series, at: Any, linear: bool) -> Floats:
    steps, values = series.steps, series.values
    before = np.searchsorted(steps, at, side="right") - 1
    held = np.where(before >= 0, values[np.maximum(before, 0)], np.nan)
    if not linear:
        return held
    exact = (before >= 0) & (steps[np.maximum(before, 0)] == at)
    inside = ~exact & (before >= 0) & (before < len(steps) - 1)
    if not inside.any():  # as at the last step of most runs
        return held
    return np.where(inside, np.interp(at, steps, values), held)


def on_mapped_step(run: Run, mapping: Mapping) -> Run:
    """The run on the step that the mapping names, where that is a metric of it."""
    named = mapping.columns.get("step")
    if named in CALLS and named not in run.series:
        return unmarked(run)
    return run if named is None or named not in run.series else on_own_step(run, named)


def _is_linear(name: str) -> bool:
    return name in _LINEAR or unfiled(name) in _LINEAR_FORMS


def resolve(
    run: Run, mapping: Mapping | None = None, refused: Collection[tuple[str, str]] = ()
) -> Resolved:
    """Every canonical and mapped column that `run` has, with its origin.

    `refused` are (column, origin) pairs that are known to be wrong and are not to be read.
    """
    return _Resolver(run, mapping or Mapping(), refused).resolve()


class _Missing(Exception):
    def __init__(self, *names: str) -> None:
        self.names = names


class _Resolver:
    def __init__(
        self, run: Run, mapping: Mapping, refused: Collection[tuple[str, str]] = ()
    ) -> None:
        self.run, self.mapping = on_mapped_step(run, mapping), mapping
        self.refused = set(refused)
        self.done: dict[str, Column | None] = {}
        self.unknown: dict[str, tuple[str, ...]] = {}
        self.notes: list[Note] = []
        self.doubts: dict[str, Note] = {}

    def resolve(self) -> Resolved:
        # Most runs have 5 to 10 of all columns, and each would be sought by all its names.
        present = {*self.run.series, *self.slashed, *self.run.config, *self.own.endings}
        sought = {_MEANS[name] for name in present & _MEANS.keys()} | _DERIVED
        forms = {*map(unfiled, self.run.series), *self.forms, *map(spelled, self.run.config)}
        sought |= {_SPELLED[form] for form in forms & _SPELLED.keys()}
        if any(map(is_loss, (*self.run.series, *self.run.config))):
            sought.add("loss")
        sought.update(self.mapping.columns)
        if "lr" in sought:
            sought.add("peak_lr")
        members = [name for name in present if name.startswith(tuple(FAMILIES))]
        sought.update(members)
        names = dict.fromkeys([*COLUMNS, *self.mapping.columns, *sorted(members)])
        found = {name: self.column(name) for name in names if name in sought}
        columns = {name: column for name, column in found.items() if column is not None}
        asked = questioned(tuple(self.mapping.columns))
        notes = (*asked, *self.notes, *self.doubts.values(), *self.choices(columns))
        return Resolved(columns, self.unknown, notes, frozenset(self.refused))

    def column(self, name: str) -> Column | None:
        if name not in self.done:
            self.done[name] = None  # while it is being found, its own name is the raw one
            text = self.mapping.columns.get(name)
            self.done[name] = self.default(name) if text is None else self.mapped(name, text)
        return self.done[name]

    def mapped(self, name: str, text: str) -> Column | None:
        exact = self.logged(text)
        if exact is not None:
            return self.number(name, text, exact)
        try:
            expression = parse(text)
        except InputError as error:
            if self.known_elsewhere(text):
                self.unknown[name] = (text,)
                return None
            raise InputError(
                f"{self.place(name, text)} is no logged name and no expression. {error.what}",
                error.mend,
            ) from error
        if "step" in expression.names and not self.steps_are_steps:
            self.doubt_of_calls(f"{name} is computed from it, as the mapping says")
        try:
            return self.number(name, text, self.computed(text, expression.names))
        except _Missing as missing:
            self.unknown[name] = missing.names
        except InputError as error:
            raise InputError(
                f"{self.place(name, text)} of run {self.run.run_id}: {error.what}", error.mend
            ) from error
        return None

    def known_elsewhere(self, text: str) -> bool:
        # A logged name such as `lm loss` need not parse; another run of the ingest may have it.
        return not any(character in text for character in "`()*+\"'^=<>")

    def place(self, name: str, text: str) -> str:
        return f'{self.mapping.path or "mapping"}: [columns] {name} = "{text}"'

    def number(self, name: str, text: str, column: Column) -> Column:
        if not isinstance(column.values, Series) and as_number(column.values) is None:
            raise InputError(
                f"{self.place(name, text)} is the text {column.values!r} in run {self.run.run_id}",
                "A column holds numbers; texts serve in [run] group and in filters.",
            )
        return column

    def computed(self, text: str, names: Iterable[str]) -> Column:
        columns: dict[str, Column] = {}
        missing = []
        for name in names:
            column = self.look_up(name)
            if column is None:
                missing.append(name)
            else:
                columns[name] = column
        if missing:
            raise _Missing(*missing)
        series = [c.values for c in columns.values() if isinstance(c.values, Series)]
        if not series:
            value = parse(text).evaluate(lambda name: columns[name].values)
            return Column(text, np.asarray(value).item())
        steps = min(series, key=lambda s: len(s.steps)).steps
        inputs = {
            name: sample(c.values, steps, _is_linear(name))
            if isinstance(c.values, Series)
            else c.values
            for name, c in columns.items()
        }
        values = np.asarray(parse(text).evaluate(inputs.__getitem__), dtype=np.float64)
        return Column(text, Series(steps, np.broadcast_to(values, steps.shape).copy()))

    def look_up(self, name: str) -> Column | None:
        """A name of an expression: canonical column, logged metric, config key."""
        if name in COLUMNS or name in self.mapping.columns:
            column = self.column(name)
            if column is not None:
                return column
        found = self.logged(name) or self.raw(name, nested=True)
        if found is None and name == PER_TOKEN:
            return Column(name, Architecture.of_config(self.run.config).flops_per_token())
        return found

    def logged(self, name: str) -> Column | None:
        if name not in self.run.series and self.is_step(name) and self.run.series:
            return Column("step", self.axis)
        return self.raw(name)

    def raw(self, name: str, nested: bool = False) -> Column | None:
        """What the run itself calls so: a metric, else a setting."""
        place = self.own.place(name, nested)
        if place is None:
            return None
        shadowed = self.run.config.get(place.shadowed) if place.shadowed else None
        if as_number(shadowed) is not None:
            self.doubts[name] = Note.of("ambiguous_name", place.doubt(name))
        held = self.run.series if place.metric else self.run.config
        return Column(place.origin, held[place.key])

    @cached_property
    def own(self) -> OwnNames:
        return OwnNames(self.run.series, self.run.config)

    @cached_property
    def step_names(self) -> set[str | None]:
        """What the source may have called the steps that its series now stand at."""
        return {*COLUMNS["step"].names, self.mapping.columns.get("step")}

    def is_step(self, name: str) -> bool:
        """Whether a name that no metric has is what the source called its steps."""
        return name in self.step_names or own_rank(name) is not None

    @cached_property
    def axis(self) -> Series:
        steps, *others = (series.steps for series in self.run.series.values())
        if any(other is not steps for other in others):
            steps = np.unique(np.concatenate([steps, *others]))
        return Series(steps, steps.astype(np.float64))

    @cached_property
    def slashed(self) -> dict[str, str]:
        return {name.replace(".", "/"): name for name in self.run.series}

    @cached_property
    def forms(self) -> dict[str, str]:
        """The metrics by their spelling, and by that without a trainer's folder."""
        known = {unfiled(name): name for name in reversed(self.run.series)}
        return known | {spelled(name): name for name in reversed(self.run.series)}

    @cached_property
    def settings(self) -> dict[str, str]:
        return {spelled(key): key for key in reversed(self.run.config)}

    def member(self, name: str) -> Column | None:
        """A number logged under the full name of a member of a family, such as mixture.web."""
        held = self.logged(name) if name.startswith(tuple(FAMILIES)) else None
        if held is None or isinstance(held.values, Series):
            return held
        return held if as_number(held.values) is not None else None

    def default(self, name: str) -> Column | None:
        if name not in COLUMNS:
            return self.member(name)
        if name == "step" and self.run.series:
            return Column("step", self.axis)
        names = COLUMNS[name].names
        candidates = self.losses(names) if name == "loss" else self.candidates(name, names)
        for column in candidates:
            if not self.refuses(name, column):
                return column
        self.notes += self.unread(name, names)
        if name == "peak_lr":
            return self.peak()
        if name == "tokens":
            return self.tokens()
        if name == "flops" and self.column("tokens"):
            size = next((n for n in ("params_active", "params") if self.column(n)), None)
            if size is not None:
                formula = SIX_ND.formula.replace("params", size)
                return self.computed(formula, (size, "tokens"))
        return None

    def peak(self) -> Column | None:
        """The learning rate that was set: the highest that was logged. A rate that was logged once
        is that of some step, and a setting of the run says more."""
        rate = self.column("lr")
        if rate is None or not isinstance(rate.values, Series):
            return rate
        known = rate.values.values[np.isfinite(rate.values.values)]
        if len(known) < 2:
            for setting in self.candidates("lr", COLUMNS["lr"].names):
                if not isinstance(setting.values, Series):
                    return setting
        return Column(f"peak of {rate.origin}", float(known.max())) if len(known) else None

    def losses(self, names: tuple[str, ...]) -> Iterator[Column]:
        """A held-out loss before the training loss, whatever loggers call them; of metrics, then
        of settings."""
        numbers = [key for key in self.run.config if self.numeric_key(key)]
        for held, prefix in ((self.run.series, ""), (dict.fromkeys(numbers), "config.")):
            named = [name for name in names if name in held]
            named += [self.slashed[n] for n in names if n in self.slashed and not prefix]
            judged = [name for name in named if is_held_out(name)]
            parts = of_parts(held)
            for key in dict.fromkeys(
                [
                    *judged,
                    *of_the_whole(held),
                    *(parts if len(parts) == 1 and not prefix else ()),
                    *named,
                    *(of_training(held) if not prefix else ()),
                ]
            ):
                values = self.run.config[key] if prefix else self.run.series[key]
                if prefix or self.has_numbers(key):
                    yield Column(prefix + key, values)
            for key in named:  # all NaN: it diverged at once, or was never evaluated
                yield Column(prefix + key, self.run.config[key] if prefix else self.run.series[key])

    def has_numbers(self, metric: str) -> bool:
        return bool(np.isfinite(self.run.series[metric].values).any())

    def choices(self, columns: dict[str, Column]) -> Iterator[Note]:
        """What was taken for a column where more than one name could have been meant."""
        loss = columns.get("loss")
        if loss is not None and "loss" not in self.mapping.columns:
            yield from self.other_losses(loss)
        size, active = columns.get("params"), columns.get("params_active")
        if size is not None and active is not None and "params" not in self.mapping.columns:
            message = (
                f"N is {size.origin}, all parameters; {active.origin}, those that a token passes"
                f" through, are kept as params_active and counted for compute. To fit them as N:"
                f' [columns] params = "{active.origin}"'
            )
            yield Note.of("params_active", message)
        rest = columns.get("params_non_embedding")
        if size is not None and rest is not None and "params" not in self.mapping.columns:
            message = (
                f"N is {size.origin}; {rest.origin}, without embeddings, is kept beside it. To fit"
                f' it as N: [columns] params = "{rest.origin}"'
            )
            yield Note.of("params_chosen", message)

    def other_losses(self, loss: Column) -> Iterator[Note]:
        if not isinstance(loss.values, Series):
            return
        others = [n for n in self.run.series if n != loss.origin and is_loss(n)]
        parts = [name for name in others if is_held_out(name)]
        if is_held_out(loss.origin):
            if others:
                message = (
                    f"the loss is {loss.origin}, held out; also logged: {_listed(others, 4)}. To"
                    f' take another: [columns] loss = "{others[0]}"'
                )
                yield Note.of("loss_chosen", message)
        elif (other := next(filter(is_held_out_measure, self.run.series), None)) and not parts:
            message = (
                f"the loss is {loss.origin}, of the training data, though {other} is there, of data"
                f" held out. To take it:"
                f' [columns] loss = "{loss_from(other)}"'
            )
            yield Note.of("loss_of_training", message)
        elif parts:
            message = (
                f"the loss is {loss.origin}, of the training data, though held-out losses are"
                f' there: {_listed(parts, 4)}. To take one: [columns] loss = "{parts[0]}"'
            )
            yield Note.of("loss_of_training", message)

    def candidates(self, name: str, names: tuple[str, ...]) -> Iterator[Column]:
        for alias in names:
            metric = alias if alias in self.run.series else self.slashed.get(alias)
            if metric is not None:
                yield Column(metric, self.run.series[metric])
        for form in _FORMS[name]:
            if form in self.forms and self.forms[form] not in names:
                metric = self.forms[form]
                yield Column(metric, self.run.series[metric])
        for alias in names:
            if alias in self.run.config and as_number(self.run.config[alias]) is not None:
                yield Column(f"config.{alias}", self.run.config[alias])
        for form in _FORMS[name]:
            key = self.settings.get(form)
            if key is not None and key not in names and self.numeric_key(key):
                yield Column(f"config.{key}", self.run.config[key])
        if name in _NESTED:
            column = self.nested_key([alias for alias in names if len(alias) > 2])
            if column is not None and as_number(column.values) is not None:
                yield column

    def unread(self, name: str, names: Iterable[str]) -> Iterator[Note]:
        """A note on a config key of the right name whose text only looks like a number."""
        for alias in names:
            text = self.run.config.get(alias)
            if isinstance(text, str) and _FIGURES.match(text) and as_number(text) is None:
                message = (
                    f"config.{alias} is the text {text!r}, which is no plain number, so it is not"
                    f" read as {name}"
                )
                yield Note.of(f"{name}_no_number", message)

    def nested_key(self, names: Iterable[str]) -> Column | None:
        """The one config key that ends in a name, after a dot or a slash."""
        for name in names:
            key = self.own.nested_key(name)
            if key is not None:
                return Column(f"config.{key}", self.run.config[key])
        return None

    def refuses(self, name: str, column: Column) -> bool:
        known = (name, column.origin) in self.refused
        if not known and not (COLUMNS[name].unit in ("count", "FLOPs") and column.negative):
            return name in _RISING and self.does_not_rise(name, column)
        self.refused.add((name, column.origin))
        message = f"{column.origin} has negative values in its source, so it is not read as {name}"
        self.notes.append(Note.of(f"negative_{name}", message))
        return True

    def does_not_rise(self, name: str, column: Column) -> bool:
        """Whether it counts what one step takes, rather than what was seen so far."""
        if not isinstance(column.values, Series) or len(column.values.values) < _HISTORY:
            return False
        values = column.values.values[np.isfinite(column.values.values)]
        fallen = values[1:] < values[:-1]
        begins_again = (
            values[-1:] < values.max(initial=0.0) or (values[1:][fallen] <= values[0]).any()
        )
        if not len(values) or (values[-1] > values[0] and not begins_again):
            return False
        how = "begins again within" if values[-1] > values[0] else "does not rise over"
        message = f"{column.origin} {how} the run, so it is not read as {name}"
        self.notes.append(Note.of("not_rising", message))
        return True

    def tokens(self) -> Column | None:
        """Tokens from what was consumed, or from the step and the batch, where no name says them.

        No product with a count of epochs or of rows: those are no steps.
        """
        if self.column("step") is None:
            return None
        length = next(filter(self.numeric_key, _LENGTH), None)
        consumed = next((self.forms[form] for form in _SAMPLES if form in self.forms), None)
        if length is not None and consumed is not None:
            text = f"{_quoted(consumed)} * config.{length}"
            return self.computed(text, parse(text).names)
        if self.run.config.get(STEP_IS, AS_CALLED) != AS_CALLED:
            return None
        if any(note.code == "step_counts_rows" for note in self.run.notes):
            return None
        found = self.by_step(length)
        if found is not None and not self.steps_are_steps:
            self.doubt_of_calls(f"tokens are not computed as {found.origin}")
            return None
        return found

    def by_step(self, length: str | None) -> Column | None:
        """Tokens from the step and what it takes."""
        if self.column("batch_tokens") is not None:
            batch = self.done["batch_tokens"]
            assert batch is not None
            if isinstance(batch.values, Series) and np.ptp(batch.values.values):
                return self.summed(batch, 1.0, "")
            column = self.computed("step * batch_tokens", ("step", "batch_tokens"))
            return Column(f"step * {_quoted(batch.origin)}", column.values)
        if length is None:
            return None
        logged = next((self.forms[form] for form in _LOGGED_BATCH if form in self.forms), None)
        if logged is not None and self.has_numbers(logged):
            times = as_number(self.run.config[length]) or 0.0
            column = Column(logged, self.run.series[logged])
            return self.summed(column, times, f" * config.{length}")
        batch_name = next(filter(self.numeric_key, (*_BATCH, *_MICRO)), None)
        return None if batch_name is None else self.from_batch(batch_name, length)

    @cached_property
    def steps_are_steps(self) -> bool:
        """Whether the steps are a trainer's: a logger's count of its calls may be another, unless
        it ends where the config plans the last step."""
        if self.run.config.get(STEP_IS) != AS_CALLED:
            return True
        plan = planned_steps(self.run.config)
        return plan is not None and abs(self.calls - plan[0]) <= max(1.0, _NEAR_PLAN * plan[0])

    @property
    def calls(self) -> int:
        return int(self.axis.steps[-1]) + 1

    def doubt_of_calls(self, what: str) -> None:
        """A note that the steps are a logger's count of its calls, and what speaks against them."""
        plan = planned_steps(self.run.config)
        beside, metric = calls_beside(self.run)
        against = "nothing says that each was a step"
        if plan is not None:
            against = f"config.{plan[1]} plans {plan[0]:,.0f} steps"
        elif beside:
            against = f"{beside:,} of them log no {metric}, as evaluations between steps do"
        message = (
            f"the step is the logger's count of its calls, {self.calls:,}, and {against}: {what}."
            ' If each step was one call: [columns] step = "_step"; else name the step'
        )
        self.notes.append(Note.of("step_counts_calls", message))

    def summed(self, batch: Column, times: float, factor: str) -> Column:
        """Tokens where the batch was logged and may have changed: the sum over the steps."""
        series = batch.values
        between = np.diff(series.steps, prepend=0)
        seen = np.cumsum(between * np.nan_to_num(series.values)) * times
        return Column(
            f"sum over steps of {_quoted(batch.origin)}{factor}", Series(series.steps, seen)
        )

    def from_batch(self, batch: str, length: str) -> Column:
        """Tokens from the step and a configured batch, which may be that of one device or pass."""
        text = f"step * config.{batch} * config.{length}"
        ramp = [key for key in self.run.config if "rampup" in key and self.run.config[key]]
        if not batch.startswith("global"):
            several = [self.factor(names) for names in (_ACCUMULATION, _DEVICES)]
            counted = [name for name in several if name is not None]
            text += "".join(f" * config.{name}" for name in counted)
            if batch in _MICRO and several[1] is None:
                counted.append("a number of devices that is not logged")
            if counted:
                message = (
                    f"tokens = {text}: see whether {batch} is the whole batch or that of one pass"
                    f" on one device, as {', '.join(counted)} suggest; if it is the whole, map"
                    f' tokens: [columns] tokens = "step * config.{batch} * config.{length}"'
                )
                self.notes.append(Note.of("tokens_batch_unclear", message))
        if ramp:
            message = (
                f"tokens = {text} knows nothing of {ramp[0]}, by which the batch grew at first"
            )
            self.notes.append(Note.of("tokens_batch_unclear", message))
        return self.computed(text, parse(text).names)

    def factor(self, names: Sequence[str]) -> str | None:
        """The first of the settings that multiplies a batch."""
        values = ((name, as_number(self.run.config.get(name))) for name in names)
        return next((name for name, value in values if value is not None and value != 1.0), None)

    def numeric_key(self, key: str) -> bool:
        return as_number(self.run.config.get(key)) is not None


def _quoted(origin: str) -> str:
    return origin if origin.startswith("config.") or origin.isidentifier() else f"`{origin}`"


def finals(runs: Sequence[Run], mapping: Mapping | None = None, strict: bool = True) -> Finals:
    """Each run at its final point, and what was mapped from where.

    If `strict`, an InputError tells of a mapped column whose names no run has, and of runs without
    any loss; else each such run has a note, as where only some runs are without.
    """
    mapping = mapping or Mapping()
    runs = [on_mapped_step(run, mapping) for run in runs]
    resolved = _resolve_all(runs, mapping)
    if strict:
        _check(runs, mapping, resolved)
    notes = [tuple(_lacking(columns)) for columns in resolved]
    rows = tuple(
        _final(run, columns, mapping.final, (*columns.notes, *notes[i]))
        for i, (run, columns) in enumerate(zip(runs, resolved, strict=True))
    )
    return together([run.run_id for run in runs], rows)


def together(run_ids: Sequence[str], rows: Sequence[Final]) -> Finals:
    """The rows of these runs with what was mapped from where in all of them."""
    mapped: dict[str, dict[str, int]] = {}
    for row in rows:
        for name, origin in row.mapped.items():
            origins = mapped.setdefault(name, {})
            origins[origin] = origins.get(origin, 0) + 1
    pairs = [
        (run_id, note) for run_id, row in zip(run_ids, rows, strict=True) for note in row.notes
    ]
    return Finals(tuple(rows), mapped, (*_mixtures(mapped), *gather(pairs)))


def points(run: Run, mapping: Mapping | None = None) -> dict[str, Floats]:
    """Every column at each step at which the loss was logged; one row for a run without history."""
    columns = resolve(run, mapping).columns
    loss = columns.get("loss")
    if loss is None or not isinstance(loss.values, Series):
        return {name: column.at([0]) for name, column in columns.items()}
    steps = loss.values.steps
    return {name: column.at(steps, _is_linear(name)) for name, column in columns.items()}


def _mixtures(mapped: dict[str, dict[str, int]]) -> Iterator[Note]:
    """Runs whose loss or size was read from different names may not compare."""
    for name in ("loss", "params"):
        origins = mapped.get(name, {})
        if len(origins) > 1:
            told = ", ".join(f"{origin} in {count} runs" for origin, count in origins.items())
            message = f"{name} is read from different names: {told}; map it if they differ"
            yield Note.of("mixed_origins", message)


def _resolve_all(runs: Sequence[Run], mapping: Mapping) -> list[Resolved]:
    """A column that is negative in one run of a file (a count past 63 bits wraps around) is wrong
    in its other runs too, even where it looks right."""
    resolved = [resolve(run, mapping) for run in runs]
    refused: dict[str, set[tuple[str, str]]] = {}
    for run, columns in zip(runs, resolved, strict=True):
        if columns.refused:
            refused.setdefault(run.source, set()).update(columns.refused)
    return [
        resolve(run, mapping, refused[run.source])
        if not refused.get(run.source, set()) <= columns.refused
        else columns
        for run, columns in zip(runs, resolved, strict=True)
    ]


# What makes the rows of a table runs.
_SIZED = {"params", "params_non_embedding", "params_active", "tokens", "flops"}


def _check(runs: Sequence[Run], mapping: Mapping, resolved: Sequence[Resolved]) -> None:
    if not runs:
        return
    for name, text in mapping.columns.items():
        lacking = [columns.unknown[name] for columns in resolved if name in columns.unknown]
        if len(lacking) == len(runs):
            raise _unknown_name(runs, mapping, name, text, lacking[0])
    if not any("loss" in columns.columns for columns in resolved):
        for run, columns in zip(runs, resolved, strict=True):
            for note in columns.notes:
                if note.code == "loss_no_number":
                    raise InputError(f"{run.source}: {note.message}", "Write it as 3.21.")
        for run in runs:
            for note in run.notes:
                if note.code == "decimal_comma":
                    raise InputError(note.message, "Write the numbers with a decimal point.")
        names = sorted({name for run in runs for name in _logged_names(run)})
        known = [set(columns.columns) for columns in resolved]
        sized = any(not _SIZED.isdisjoint(found) for found in known)
        # Rows of a table are runs, whatever their size is called.
        rows = len(runs) > 1 and len(names) > 1 and not any(run.series for run in runs)
        if any(map(names_score, names)) and (sized or rows):
            return  # runs of another target: it keeps its own name, and is no loss
        measure = next(filter(is_held_out_measure, names), None)
        given = "..." if measure is None else loss_from(measure)
        sources = list(dict.fromkeys(run.source for run in runs))
        where = sources[0] + (f" and {len(sources) - 1} more files" if len(sources) > 1 else "")
        raise InputError(
            f"{where}: no run has a loss among its {len(names)} columns ({_listed(names)})",
            f'{near("loss", names)} Name it in scalefit.toml: [columns] loss = "{given}"'.strip(),
        )


def _lacking(columns: Resolved) -> Iterator[Note]:
    for name, names in columns.unknown.items():
        told = f"[columns] {name}: no {' and no '.join(names)}"
        yield Note.of("mapped_name_missing", told)
    if "loss" not in columns.columns and "loss" not in columns.unknown:
        message = "no column is known as the loss; a score is fitted by its own name: `y=NAME`"
        yield Note.of("no_loss", message)


def _unknown_name(
    runs: Sequence[Run], mapping: Mapping, column: str, text: str, names: tuple[str, ...]
) -> InputError:
    logged = sorted({name for run in runs for name in _logged_names(run)})
    known = [*logged, *(name for name in COLUMNS if name not in logged)]
    bare = re.fullmatch(r"[\w./-]+", text) is not None  # a name, whatever else it may be read as
    names = (text,) if bare else names
    hint = " ".join(filter(None, (near(name, known) for name in names)))
    if not hint:
        hint = f"Logged are {_listed(logged)}."
    parts = set(re.findall(r"[\w./-]+", text))
    slashed = next((n for n in logged if "/" in n and n in parts and f"`{n}`" not in text), None)
    if slashed is not None:
        hint += f" Inside an expression write `{slashed}` in backticks."
    return InputError(
        f'{mapping.path or "mapping"}: [columns] {column} = "{text}": no run has'
        f" {' and no '.join(map(repr, names))}",
        hint,
    )


def _logged_names(run: Run) -> Iterator[str]:
    yield from run.series
    for key in run.config:
        yield f"config.{key}"


def _listed(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _final(run: Run, resolved: Resolved, rule: str, notes: tuple[Note, ...]) -> Final:
    columns = resolved.columns
    loss = columns.get("loss")
    last = max((int(s.steps[-1]) for s in run.series.values() if len(s.steps)), default=0)
    step, target = last, None
    if loss is not None and isinstance(loss.values, Series) and len(loss.values.steps):
        step, target = _final_point(loss.values, rule)
    values = {n: float(column.at([step], _is_linear(n))[0]) for n, column in columns.items()}
    if target is not None:
        values["loss"] = target
    if run.series:
        values["steps"] = float(last)
    elif "step" in values:
        values["steps"] = values["step"]
    summary = {
        name: float(sample(series, np.array([step]), _is_linear(name))[0])
        for name, series in run.series.items()
        if len(series.steps)
    }
    end, plan = ending(run, columns, values.get("steps"))
    origins = {**resolved.origins, **({PLANNED: plan} if plan else {}), ENDED: end.origin}
    if end.planned is not None:
        values[PLANNED] = end.planned
    if end.ended is not None:
        values[ENDED] = float(end.ended)
    return Final(values, origins, summary, (*notes, *end.notes(run.status)))


def _final_point(loss: Series, rule: str) -> tuple[int, float]:
    """The step that counts and the loss there: the last, the lowest, or a mean of the last K."""
    if rule == "min" and not np.all(np.isnan(loss.values)):
        lowest = int(np.nanargmin(loss.values))
        return int(loss.steps[lowest]), float(loss.values[lowest])
    if rule.startswith("mean:"):
        k = int(rule.removeprefix("mean:"))
        return int(loss.steps[-1]), float(np.mean(loss.values[-k:]))
    return int(loss.steps[-1]), float(loss.values[-1])
