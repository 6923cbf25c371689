"""What the runs of a project call things: a name -> its value in each run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_cli.expressions import objects

RUN_FIELDS = ("run_id", "name", "group", "status", "source", "tags")


class Document:
    """A JSON object as text, decoded when it is first looked into."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def values(self) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(self.text)
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

    `fields` holds a sequence [runs] for each of RUN_FIELDS; `config` and `metrics` a document a
    run; `owner` [rows] the place of the run of each row.
    """

    def __init__(
        self,
        fields: Mapping[str, Sequence[Any]],
        config: Sequence[Document],
        metrics: Sequence[Document],
        owner: NDArray[np.intp] | None = None,
    ) -> None:
        self.fields, self.config, self.metrics = fields, config, metrics
        self.owner = np.arange(len(config)) if owner is None else owner
        self._found: dict[str, Any] = {}

    def take(self, rows: NDArray[np.intp]) -> RunNames:
        """Those of these rows, which may repeat; only their runs count as known."""
        used, owner = np.unique(self.owner[rows], return_inverse=True)
        places = used.tolist()
        return RunNames(
            {name: [values[i] for i in places] for name, values in self.fields.items()},
            [self.config[i] for i in places],
            [self.metrics[i] for i in places],
            owner,
        )

    def find(self, name: str) -> Any | None:
        """The value of a name in each row [rows]; None where no run has it."""
        if name not in self._found:
            values = self._in_runs(name)
            self._found[name] = None if values is None else values[self.owner]
        return self._found[name]

    def known(self) -> list[str]:
        """Every name that some run has: fields, config keys, metrics."""
        return list(dict.fromkeys([*RUN_FIELDS, *sorted(self._keys), *sorted(self._metric_names)]))

    def _in_runs(self, name: str) -> Any | None:
        if name in RUN_FIELDS:
            return objects(self._field(name))
        for key in dict.fromkeys((name, name.removeprefix("config."))):
            if key in self._keys:
                return self._setting(key)
            ending = [k for k in self._keys if k.endswith((f".{key}", f"/{key}"))]
            if len(ending) == 1:
                return self._setting(ending[0])
        if name in self._metric_names:
            return np.array([run.values.get(name, np.nan) for run in self.metrics])
        return None

    def _field(self, name: str) -> Sequence[Any]:
        values = self.fields[name]
        if name == "status":
            return [_status(v, run.values) for v, run in zip(values, self.config, strict=True)]
        if name == "source":  # a table's own column says more than the name of its file
            found = zip(values, self.config, strict=True)
            return [run.values.get("source", source) for source, run in found]
        return values

    def _setting(self, key: str) -> Any:
        return objects([run.values.get(key) for run in self.config])

    @cached_property
    def _keys(self) -> set[str]:
        return {key for run in self.config for key in run.values}

    @cached_property
    def _metric_names(self) -> set[str]:
        return {name for run in self.metrics for name in run.values}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_found": {}}


def _status(status: str, config: Mapping[str, Any]) -> Status:
    words = (config.get(key) for key in ("status", "state", "State", "Status"))
    return Status(status, next((word for word in words if isinstance(word, str)), status))
