"""Find the canonical columns of a run: by the mapping, else by the names that loggers use."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_cli.columns import COLUMNS
from scaling_cli.compute import SIX_ND
from scaling_cli.ending import ENDED, PLANNED, ending
from scaling_cli.errors import InputError
from scaling_cli.expressions import as_number, parse
from scaling_cli.mapping import Mapping, questioned
from scaling_cli.names import OwnNames
from scaling_cli.notes import Note, gather
from scaling_cli.records import Floats, Run, Series
from scaling_cli.spelling import near

# Config keys that may stand for these deep in a nested config (`model.n_params`); for the others
# a key such as `data.tokens` or `log.step` more often means something else.
_NESTED = frozenset(COLUMNS) - {"step", "loss", "tokens", "flops", "lr"}
_DERIVED = {"step", "tokens", "flops"}  # found also where nothing is called so
_MEANS = {name: column.name for column in COLUMNS.values() for name in column.names}
# Between two logged points these grow in proportion to the step.
_LINEAR = {*COLUMNS["tokens"].names, *COLUMNS["flops"].names}
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
_MULTIPLIERS = ("gradient_accumulation_steps", "grad_accum", "world_size", "num_devices")


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
    return np.where(inside, np.interp(at, steps, values), held)


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
        self.run, self.mapping = run, mapping
        self.refused = set(refused)
        self.done: dict[str, Column | None] = {}
        self.unknown: dict[str, tuple[str, ...]] = {}
        self.notes: list[Note] = []
        self.doubts: dict[str, Note] = {}

    def resolve(self) -> Resolved:
        # Most runs have 5 to 10 of all columns, and each would be sought by all its names.
        present = {*self.run.series, *self.slashed, *self.run.config, *self.own.endings}
        sought = {_MEANS[name] for name in present & _MEANS.keys()} | _DERIVED
        sought.update(self.mapping.columns)
        names = dict.fromkeys([*COLUMNS, *self.mapping.columns])
        found = {name: self.column(name) for name in names if name in sought}
        columns = {name: column for name, column in found.items() if column is not None}
        notes = (*questioned(tuple(self.mapping.columns)), *self.notes, *self.doubts.values())
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
            name: sample(c.values, steps, name in _LINEAR)
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
        return self.logged(name) or self.raw(name, nested=True)

    def logged(self, name: str) -> Column | None:
        if name not in self.run.series and name in self.step_names and self.run.series:
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

    @cached_property
    def axis(self) -> Series:
        steps, *others = (series.steps for series in self.run.series.values())
        if any(other is not steps for other in others):
            steps = np.unique(np.concatenate([steps, *others]))
        return Series(steps, steps.astype(np.float64))

    @cached_property
    def slashed(self) -> dict[str, str]:
        return {name.replace(".", "/"): name for name in self.run.series}

    def default(self, name: str) -> Column | None:
        if name not in COLUMNS:
            return None
        if name == "step" and self.run.series:
            return Column("step", self.axis)
        names = COLUMNS[name].names
        for column in self.candidates(name, names):
            if not self.refuses(name, column):
                return column
        self.notes += self.unread(name, names)
        if name == "tokens":
            return self.tokens()
        if name == "flops" and self.column("params") and self.column("tokens"):
            return self.computed(SIX_ND.formula, ("params", "tokens"))
        return None

    def candidates(self, name: str, names: tuple[str, ...]) -> Iterator[Column]:
        for alias in names:
            metric = alias if alias in self.run.series else self.slashed.get(alias)
            if metric is not None:
                yield Column(metric, self.run.series[metric])
        for alias in names:
            if alias in self.run.config and as_number(self.run.config[alias]) is not None:
                yield Column(f"config.{alias}", self.run.config[alias])
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
                yield Note(f"{name}_no_number", "warning", message)

    def nested_key(self, names: Iterable[str]) -> Column | None:
        """The one config key that ends in a name, after a dot or a slash."""
        for name in names:
            key = self.own.nested_key(name)
            if key is not None:
                return Column(f"config.{key}", self.run.config[key])
        return None

    def refuses(self, name: str, column: Column) -> bool:
        if (name, column.origin) not in self.refused:
            if COLUMNS[name].unit not in ("count", "FLOPs"):
                return False
            if not column.negative:
                return False
            self.refused.add((name, column.origin))
        message = f"{column.origin} has negative values in its source, so it is not read as {name}"
        self.notes.append(Note(f"negative_{name}", "warning", message))
        return True

    def tokens(self) -> Column | None:
        """Tokens from the step and the batch, where no name says them."""
        if self.column("step") is None:
            return None
        if self.column("batch_tokens") is not None:
            batch = self.done["batch_tokens"]
            assert batch is not None
            column = self.computed("step * batch_tokens", ("step", "batch_tokens"))
            return Column(f"step * {_quoted(batch.origin)}", column.values)
        pair = [next(filter(self.numeric_key, names), None) for names in (_BATCH, _LENGTH)]
        if pair[0] is None or pair[1] is None:
            return None
        text = f"step * config.{pair[0]} * config.{pair[1]}"
        left_out = [
            key for key in _MULTIPLIERS if (as_number(self.run.config.get(key)) or 1.0) != 1.0
        ]
        if left_out and not pair[0].startswith("global"):
            message = (
                f"tokens = {text} leaves out {', '.join(left_out)}; map tokens if it should not"
            )
            self.notes.append(Note("tokens_batch_unclear", "warning", message))
        return self.computed(text, parse(text).names)

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
    return {name: column.at(steps, name in _LINEAR) for name, column in columns.items()}


def _mixtures(mapped: dict[str, dict[str, int]]) -> Iterator[Note]:
    """Runs whose loss or size was read from different names may not compare."""
    for name in ("loss", "params"):
        origins = mapped.get(name, {})
        if len(origins) > 1:
            told = ", ".join(f"{origin} in {count} runs" for origin, count in origins.items())
            message = f"{name} is read from different names: {told}; map it if they differ"
            yield Note("mixed_origins", "warning", message)


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
        names = sorted({name for run in runs for name in _logged_names(run)})
        sources = list(dict.fromkeys(run.source for run in runs))
        where = sources[0] + (f" and {len(sources) - 1} more files" if len(sources) > 1 else "")
        raise InputError(
            f"{where}: no run has a loss among its {len(names)} columns ({_listed(names)})",
            (near("loss", names) + ' Name it in scalefit.toml: [columns] loss = "..."').strip(),
        )


def _lacking(columns: Resolved) -> Iterator[Note]:
    for name, names in columns.unknown.items():
        told = f"[columns] {name}: no {' and no '.join(names)}"
        yield Note("mapped_name_missing", "warning", told)
    if "loss" not in columns.columns and "loss" not in columns.unknown:
        yield Note("no_loss", "warning", "no column is known as the loss")


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
    values = {n: float(column.at([step], n in _LINEAR)[0]) for n, column in columns.items()}
    if target is not None:
        values["loss"] = target
    if run.series:
        values["steps"] = float(last)
    elif "step" in values:
        values["steps"] = values["step"]
    summary = {
        name: float(sample(series, np.array([step]), name in _LINEAR)[0])
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
