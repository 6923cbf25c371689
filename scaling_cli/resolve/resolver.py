"""The canonical columns of a run: by the mapping, else by the names that loggers use."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np

from scaling_cli.architecture import PER_TOKEN, Architecture
from scaling_cli.columns import COLUMNS, FAMILIES
from scaling_cli.compute import SIX_ND
from scaling_cli.counts import (
    is_of_a_part,
    is_of_all,
    names_active_params,
    names_params,
    names_tokens,
)
from scaling_cli.errors import InputError
from scaling_cli.expressions import as_number, parse
from scaling_cli.losses import is_loss
from scaling_cli.mapping import Mapping, questioned
from scaling_cli.names import OwnNames
from scaling_cli.notes import Note
from scaling_cli.quantities import count, has_one_comma
from scaling_cli.records import Run, Series
from scaling_cli.resolve.choices import choices, has_numbers, losses
from scaling_cli.resolve.column import Column, Resolved, is_linear, sample
from scaling_cli.resolve.offers import offers
from scaling_cli.resolve.seen import TokensSeen
from scaling_cli.spelling import last_part, quoted, spelled, unfiled
from scaling_cli.steps import CALLS, on_own_step, own_rank, unmarked

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
_FIGURES = re.compile(r"\s*[+-]?[.,]?\d")  # how a text begins that is meant as a number
# `lr-AdamW`, `lr-DecoupledAdamW/group0`: Lightning's and Composer's monitors; the first group's.
_RATE_OF = re.compile(r"(?:\w+/)?lr-[A-Za-z]\w*(?:/(?:pg1|group_?0))?")
_WORDS: dict[str, Callable[[str, bool], bool]] = {
    "lr": lambda name, logged: logged and _RATE_OF.fullmatch(name) is not None,
    "tokens": names_tokens,
    "params": lambda name, logged: names_params(name),
    "params_active": lambda name, logged: names_active_params(name),
}
_BARE = re.compile(r"[A-Za-z_][\w./-]*")
_SAME = 0.001  # of a count: what two loggers round apart is one count
_RISING = ("tokens", "flops")  # what is seen so far: it never falls while a run trains
_HISTORY = 3  # points from which on a counter that does not rise is none


def on_mapped_step(run: Run, mapping: Mapping) -> Run:
    """The run on the step that the mapping names, where that is a metric of it."""
    named = mapping.columns.get("step")
    if named in CALLS and named not in run.series:
        return unmarked(run)
    return run if named is None or named not in run.series else on_own_step(run, named)


def resolve(
    run: Run, mapping: Mapping | None = None, refused: Collection[tuple[str, str]] = ()
) -> Resolved:
    """Every canonical and mapped column that `run` has, with its origin.

    `refused` are (column, origin) pairs that are known to be wrong and are not to be read.
    """
    return Resolver(run, mapping or Mapping(), refused).resolve()


class _Missing(Exception):
    def __init__(self, *names: str) -> None:
        self.names = names


class Resolver:
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
        everything = (*self.run.series, *self.run.config)
        if any(map(is_loss, everything)):
            sought.add("loss")
        sought |= {c for c in _WORDS if any(_WORDS[c](n, n in self.run.series) for n in everything)}
        sought.update(self.mapping.columns)
        if "lr" in sought:
            sought.add("peak_lr")
        members = [name for name in present if name.startswith(tuple(FAMILIES))]
        sought.update(members)
        names = dict.fromkeys([*COLUMNS, *self.mapping.columns, *sorted(members)])
        found = {name: self.column(name) for name in names if name in sought}
        columns = {name: column for name, column in found.items() if column is not None}
        asked = questioned(tuple(self.mapping.columns))
        chosen = choices(self.run, columns, self.mapping.columns)
        offered = offers(self.run, columns)
        notes = (*asked, *self.notes, *self.doubts.values(), *chosen, *offered)
        return Resolved(columns, self.unknown, notes, frozenset(self.refused))

    def column(self, name: str) -> Column | None:
        if name not in self.done:
            self.done[name] = None  # while it is being found, its own name is the raw one
            text = self.mapping.columns.get(name)
            self.done[name] = self.default(name) if text is None else self.mapped(name, text)
        return self.done[name]

    def mapped(self, name: str, text: str) -> Column | None:
        if name == "step" and self.steps_are_called_otherwise(text):
            self.unknown[name] = (text,)
            return self.default(name)
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
        if "step" in expression.names and not self.seen.steps_are_steps:
            self.seen.doubt_of_calls(f"{name} is computed from it, as the mapping says")
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
            mend = "A column holds numbers; texts serve in [run] group and in filters."
            if isinstance(column.values, str) and has_one_comma(column.values):
                mend = f"Decimal commas are not read: write {column.values.replace(',', '.')}."
            raise InputError(
                f"{self.place(name, text)} is the text {column.values!r} in run {self.run.run_id}",
                mend,
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
        series = {n: c.values for n, c in columns.items() if isinstance(c.values, Series)}
        if not series:
            value = parse(text).evaluate(lambda name: columns[name].values)
            return Column(text, np.asarray(value).item())
        lasting = [name for name, logged in series.items() if self.lasts(name, logged)]
        if len(lasting) < len(series):
            for name in lasting:
                columns[name] = Column(name, float(series.pop(name).values[0]))
        steps = min(series.values(), key=lambda s: len(s.steps)).steps
        inputs = {
            name: sample(c.values, steps, is_linear(name))
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

    def lasts(self, name: str, series: Series) -> bool:
        """Whether what was logged once holds of the whole run, not of that step alone: a size, or
        what was logged as the run began."""
        if len(series.steps) != 1 or is_linear(name):
            return False
        sized = names_params(name) or names_active_params(name)
        return sized or bool(series.steps[0] == self.axis.steps[0])

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

    def steps_are_called_otherwise(self, name: str) -> bool:
        """Whether a name that may be a step's is none of this run, whose source has another."""
        if not self.run.series or name in ("step", *CALLS) or not _BARE.fullmatch(name):
            return False
        return self.run.step_name not in ("", name) and self.raw(name) is None

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
        if name == "tokens":
            return self.tokens()
        for column in self.losses() if name == "loss" else self.candidates(name):
            if not self.refuses(name, column):
                return self.seen.spread(column) if name == "flops" else column
        self.notes += self.unread(name)
        if name == "peak_lr":
            return self.peak()
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
            for setting in self.candidates("lr"):
                if not isinstance(setting.values, Series):
                    return setting
        return Column(f"peak of {rate.origin}", float(known.max())) if len(known) else None

    def losses(self) -> Iterator[Column]:
        settings = {k: v for k, v in self.run.config.items() if self.numeric_key(k)}
        return losses(self.run, settings, COLUMNS["loss"].names, self.slashed)

    def has_numbers(self, metric: str) -> bool:
        return has_numbers(self.run, metric)

    def tokens(self) -> Column | None:
        """Tokens seen: as logged, else as told of the whole run, else from the step and the
        batch."""
        candidates = list(self.candidates("tokens"))
        logged = [c for c in candidates if isinstance(c.values, Series)]
        kept = [c for c in logged if not self.refuses("tokens", c) and not self.too_few(c)]
        if kept:
            return self.of_all(kept)
        for column in candidates:
            if not isinstance(column.values, Series) and not self.refuses("tokens", column):
                return self.seen.spread(column)
        self.notes += self.unread("tokens")
        return self.seen.column()

    @cached_property
    def seen(self) -> TokensSeen:
        return TokensSeen(self)

    def too_few(self, column: Column) -> bool:
        """Whether a count of tokens ends below that of the steps: its unit is another."""
        last, steps = float(column.values.values[-1]), float(column.values.steps[-1])
        if not last < steps:
            return False
        message = (
            f"{column.origin} ends at {last:g} after {steps:,.0f} steps: fewer than one a step are"
            f" no tokens. If they are billions: [columns] tokens ="
            f' "{quoted(column.origin)} * 1e9"'
        )
        self.notes.append(Note.of("units_unlikely", message))
        return True

    def of_all(self, counts: Sequence[Column]) -> Column:
        """Of several counts of tokens the one of all devices and kinds, by name, if it is the
        larger; else the likeliest. What they differ in is said."""
        ends = {column.origin: float(column.values.values[-1]) for column in counts}
        taken = counts[0]
        for column in counts[1:]:
            larger = ends[column.origin] > ends[taken.origin]
            if larger and is_of_all(column.origin) and not is_of_all(taken.origin):
                taken = column
        others = [
            origin
            for origin, end in ends.items()
            if abs(end - ends[taken.origin]) > _SAME * abs(ends[taken.origin])
        ]
        if others:
            message = (
                f"tokens are {taken.origin}, up to {count(ends[taken.origin])}; also logged:"
                f" {', '.join(f'{o}, up to {count(ends[o])}' for o in others[:4])}. To take"
                f' another: [columns] tokens = "{others[0]}"'
            )
            self.notes.append(Note.of("tokens_chosen", message))
        return taken

    def candidates(self, name: str) -> Iterator[Column]:
        """What may be a column by its name, the likeliest first: metrics, then settings."""
        names = COLUMNS[name].names
        for alias in names:
            metric = alias if alias in self.run.series else self.slashed.get(alias)
            if metric is not None:
                yield Column(metric, self.run.series[metric])
        for form in _FORMS[name]:
            if form in self.forms and self.forms[form] not in names:
                metric = self.forms[form]
                yield Column(metric, self.run.series[metric])
        for metric in self.by_words(name, self.run.series, logged=True):
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
        if name not in _WORDS:
            return
        # A nested key by its last part, where it is the only one that ends so.
        ends = self.numeric_ends
        meant = set(self.by_words(name, ends.values(), logged=False))
        nested = [key for key, end in ends.items() if end in meant and end != key]
        for key in [*(key for key in ends if key in meant), *nested * (len(nested) == 1)]:
            yield Column(f"config.{key}", self.run.config[key])

    @cached_property
    def numeric_ends(self) -> dict[str, str]:
        """The last part of each setting that is a number."""
        return {key: last_part(key) for key in filter(self.numeric_key, self.run.config)}

    def by_words(self, name: str, held: Iterable[str], logged: bool) -> list[str]:
        """Those of the names whose words alone say that they are the column, beyond known names;
        what may be of a part last."""
        if name not in _WORDS:
            return []
        known, forms = COLUMNS[name].names, _FORMS[name]
        names = [
            each
            for each in held
            if _WORDS[name](each, logged) and each not in known and spelled(each) not in forms
        ]
        return sorted(names, key=is_of_a_part)

    def unread(self, name: str) -> Iterator[Note]:
        """A note on a config key of the right name whose text only looks like a number."""
        for alias in COLUMNS[name].names:
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

    def numeric_key(self, key: str) -> bool:
        return as_number(self.run.config.get(key)) is not None
