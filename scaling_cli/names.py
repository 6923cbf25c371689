"""What the runs of a project call things: the one place where a name becomes a value.

A name means, in this order:

1. a column of the table, canonical or of the mapping (`params`, `loss`, `bpb`);
2. a field of the run: `run_id`, `name`, `group`, `status`, `ended`, `source`, `tags`;
3. a metric that the run logged, at its final point (`eval/loss`);
4. a key of the run's config: written in full with or without `config.`, or by its end where one
   key alone of that run ends so (`n_layers` for `config.model.n_layers`).

What a name means is settled in each run by itself: its loggers may nest their settings otherwise.
The mapping, filters, groups, the columns that options name, formulas and checks all ask here.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scaling_cli.expressions import objects
from scaling_cli.notes import Note
from scaling_cli.quantities import counted

CONFIG = "config."
RUN_FIELDS = ("run_id", "name", "group", "status", "ended", "source", "tags")


class Place(NamedTuple):
    """Where a run has a name: the metric or the config key `key`; `shadowed` is the config key of
    that very name which stands behind a metric."""

    key: str
    metric: bool
    shadowed: str | None = None

    @property
    def origin(self) -> str:
        """As `ingest` tells it: the name of a metric, `config.KEY` of a setting."""
        return self.key if self.metric else CONFIG + self.key

    def doubt(self, name: str) -> str:
        """What a reader has to know where the name could have meant the shadowed setting."""
        return (
            f"{name} is a logged metric and the setting {CONFIG}{self.shadowed}, and the metric is"
            f" read; write {CONFIG}{self.shadowed} for the setting"
        )


class OwnNames:
    """The names of one run: its logged metrics, then the keys of its config that have a value."""

    def __init__(self, metrics: Collection[str], config: Mapping[str, Any]) -> None:
        self.metrics, self.config = metrics, config

    def place(self, name: str, nested: bool = True) -> Place | None:
        """Where the run has the name, with `nested` also by the end of a config key alone."""
        setting = self._whole_key(name)
        if name in self.metrics:
            return Place(name, True, setting)
        if setting is None and nested:
            setting = self.nested_key(name.removeprefix(CONFIG))
        return None if setting is None else Place(setting, False)

    def nested_key(self, name: str) -> str | None:
        """The one config key that ends in the name, after a dot or a slash."""
        keys = self.endings.get(name, [])
        return keys[0] if len(keys) == 1 else None

    def _whole_key(self, name: str) -> str | None:
        for key in (name, name.removeprefix(CONFIG)):
            if self.config.get(key) is not None:
                return key
        return None

    @cached_property
    def endings(self) -> dict[str, list[str]]:
        """What follows a dot or a slash of a config key -> the keys that end so."""
        by_ending: dict[str, list[str]] = {}
        for key, value in self.config.items():
            if value is not None:
                for ending in _endings(key):
                    by_ending.setdefault(ending, []).append(key)
        return by_ending


@lru_cache(maxsize=1 << 14)  # the runs of a project share their keys
def _endings(key: str) -> tuple[str, ...]:
    return tuple(key[separator.end() :] for separator in re.finditer(r"[./]", key))


class Document:
    """A JSON object as text, decoded when it is first looked into."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def values(self) -> dict[str, Any]:
        decoded: dict[str, Any] = {} if self.text == "{}" else json.loads(self.text)
        return decoded

    def __reduce__(self) -> tuple[Any, ...]:
        return Document, (self.text,)


class Status(str):
    """A run's status that also equals the source's own word for it (`crashed` for `failed`)."""

    word: str

    def __new__(cls, status: str, word: str) -> Status:
        made = super().__new__(cls, status)
        made.word = word
        return made

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other) is True or self.word == other

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


class RunNames:
    """The fields, config keys and logged metrics of the runs behind the rows of a table.

    `fields` holds an array [runs] of objects for each of RUN_FIELDS; `config` and `metrics` a
    Document a run; `owner` [rows] the place of the run of each row.
    """

    def __init__(
        self,
        fields: Mapping[str, Any],
        config: Any,
        metrics: Any,
        owner: NDArray[np.intp] | None = None,
    ) -> None:
        self.fields, self.config, self.metrics = fields, config, metrics
        self.owner = np.arange(len(config)) if owner is None else owner
        self._found: dict[str, Any] = {}
        self._places: dict[str, list[Place | None]] = {}

    def take(self, rows: NDArray[np.intp]) -> RunNames:
        """Those of these rows, which may repeat; only their runs count as known."""
        used, owner = np.unique(self.owner[rows], return_inverse=True)
        fields = {name: values[used] for name, values in self.fields.items()}
        return RunNames(fields, self.config[used], self.metrics[used], owner)

    def find(self, name: str) -> Any | None:
        """The value of a name in each row [rows]; None where no run has it."""
        if name not in self._found:
            values = self._in_runs(name)
            self._found[name] = None if values is None else values[self.owner]
        return self._found[name]

    def known(self) -> list[str]:
        """Every name that some run has: fields, config keys, metrics."""
        return list(dict.fromkeys([*RUN_FIELDS, *sorted(self._keys), *sorted(self._metric_names)]))

    def origin(self, name: str) -> str:
        """Where most runs have a name: `eval/loss`, `config.model.depth`."""
        origins = Counter(place.origin for place in self._place_in_runs(name) if place)
        return origins.most_common(1)[0][0] if origins else name

    def remarks(self, names: Iterable[str]) -> list[Note]:
        """A note on each of the names that means more than one thing in these runs."""
        notes = []
        for name in dict.fromkeys(names):
            if name in RUN_FIELDS:
                continue
            places = self._place_in_runs(name)
            shadowed = [place for place in places if place and place.shadowed]
            if shadowed:
                notes.append(f"{shadowed[0].doubt(name)} (so in {counted(len(shadowed), 'run')})")
            keys = Counter(place.key for place in places if place and not place.metric)
            if len(keys) > 1:
                counts = [(CONFIG + key, counted(n, "run")) for key, n in keys.most_common(4)]
                amounts = ", ".join(f"{key} in {runs}" for key, runs in counts)
                notes.append(f"{name} is read from settings that are nested differently: {amounts}")
        return [Note.of("ambiguous_name", f"{message}.") for message in notes]

    def _in_runs(self, name: str) -> Any | None:
        if name in RUN_FIELDS:
            return objects(self._field(name))
        places = self._place_in_runs(name)
        if not any(places):
            return self._empty_setting(name)
        columns = [
            None if place is None else (metrics if place.metric else config).values[place.key]
            for place, metrics, config in zip(places, self.metrics, self.config, strict=True)
        ]
        if all(place is None or place.metric for place in places):
            return np.array([np.nan if value is None else value for value in columns], np.float64)
        return objects(columns)

    def _place_in_runs(self, name: str) -> list[Place | None]:
        if name not in self._places:
            self._places[name] = [run.place(name) for run in self._runs]
        return self._places[name]

    def _empty_setting(self, name: str) -> Any | None:
        """A setting that is there, and that no run has a value of."""
        keys = {name, name.removeprefix(CONFIG)}
        return objects([None] * len(self.config)) if keys & self._keys else None

    def _field(self, name: str) -> Sequence[Any]:
        values: Sequence[Any] = self.fields[name]
        if name == "status":
            return [_status(v, run.values) for v, run in zip(values, self.config, strict=True)]
        if name == "source":  # a table's own column says more than the name of its file
            pairs = zip(values, self.config, strict=True)
            return [run.values.get("source", source) for source, run in pairs]
        return values

    @cached_property
    def _runs(self) -> list[OwnNames]:
        pairs = zip(self.metrics, self.config, strict=True)
        return [OwnNames(metrics.values, config.values) for metrics, config in pairs]

    @cached_property
    def _keys(self) -> set[str]:
        return {key for run in self.config for key in run.values}

    @cached_property
    def _metric_names(self) -> set[str]:
        return {name for run in self.metrics for name in run.values}

    def __getstate__(self) -> dict[str, Any]:
        kept = ("fields", "config", "metrics", "owner")
        return {name: self.__dict__[name] for name in kept} | {"_found": {}, "_places": {}}


def _status(status: str, config: Mapping[str, Any]) -> Status:
    words = (config.get(key) for key in ("status", "state", "State", "Status"))
    return Status(status, next((word for word in words if isinstance(word, str)), status))
