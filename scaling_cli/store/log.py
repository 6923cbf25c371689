"""The commit log: numbered entries, each put in place only if its number is free.

An entry is written by a process that has read all before it, so entries have one order that no
clock decides, and what an entry says holds for the store as it is at that number.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from scaling_cli.errors import UnreachableError
from scaling_cli.store.files import Files, GoneError

# 1 had lists of numbers in its histories; 2 has their bytes
FORMAT = 2
FOLDER, CHECKPOINTS = "_log", "_checkpoints"
# Opening reads one checkpoint and fewer entries than this: about 10 ms on a local disk.
CHECKPOINT_EVERY = 64

Entry = dict[str, Any]


class DamagedError(UnreachableError):
    """A file of the store that holds something else than was written."""

    def __init__(self, path: str, error: object) -> None:
        super().__init__(
            f"{path} is damaged: {error}",
            "Restore it from a copy, or ingest the runs into a new store.",
        )


class Place(NamedTuple):
    """Where a run's current revision is: a file of runs, and one of histories."""

    revision: str
    runs: str
    history: str | None


@dataclass
class State:
    """The log folded up to entry `number`.

    `retired` are the segments whose last run another entry replaced, and which; `removed` are
    segments that were thrown away before any entry named them, and that none may name later.
    Segments go by the name of their file without folder and suffix.
    """

    number: int = 0
    places: dict[str, Place] = field(default_factory=dict)
    retired: dict[str, int] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    live: Counter[str] = field(default_factory=Counter)

    def add(self, number: int, entry: Entry) -> None:
        self.number = number
        for segment in entry["segments"]:
            runs, history, revisions = segment["runs"], segment["history"], segment["revisions"]
            for key in self.places.keys() & revisions.keys():
                self._leave(stem(self.places[key].runs), number)
            for key, revision in revisions.items():
                self.places[key] = Place(revision, runs, history)
            self.live[stem(runs)] += len(revisions)
        self.retired.update(entry.get("retired", {}))
        for name in entry.get("removed", ()):
            self.retired.pop(name, None)
            self.removed.add(name)

    def _leave(self, segment: str, number: int) -> None:
        self.live[segment] -= 1
        if not self.live[segment]:
            del self.live[segment]
            self.retired[segment] = number

    def to_entry(self) -> Entry:
        """One entry that says what all up to `number` say together."""
        segments: dict[str, Entry] = {}
        for key, place in self.places.items():
            made: Entry = {"runs": place.runs, "history": place.history, "revisions": {}}
            segments.setdefault(place.runs, made)["revisions"][key] = place.revision
        return {
            "format": FORMAT,
            "number": self.number,
            "segments": list(segments.values()),
            "retired": self.retired,
            "removed": sorted(self.removed),
        }


def stem(name: str) -> str:
    return name.rpartition("/")[2].partition(".")[0]


class Log:
    """The entries of a store."""

    def __init__(self, files: Files) -> None:
        self.files = files

    def state(self) -> State:
        """All entries folded, from the newest checkpoint that can be read."""
        state = State()
        for number in reversed(self.checkpoints()):
            try:
                entry = self.checkpoint(number)
            except (DamagedError, GoneError):
                continue  # the entries say the same, slower
            state.add(number, entry)
            break
        return self.after(state)

    def after(self, state: State) -> State:
        """The state with the entries that have come since."""
        state = State(
            state.number,
            dict(state.places),
            dict(state.retired),
            set(state.removed),
            copy(state.live),
        )
        new = [number for number in self.numbers() if number > state.number]
        for number, entry in zip(new, self.entries(new), strict=True):
            with _understood(self.files.path(_name(number))):
                state.add(number, entry)
        return state

    def numbers(self) -> list[int]:
        return _numbers(self.files.names(FOLDER, ".json"))

    def checkpoints(self) -> list[int]:
        return _numbers(self.files.names(CHECKPOINTS, ".json"))

    def entries(self, numbers: list[int]) -> list[Entry]:
        names = [_name(number) for number in numbers]
        return [self._entry(*item) for item in zip(names, self.files.read(names), strict=True)]

    def checkpoint(self, number: int) -> Entry:
        name = _name(number, CHECKPOINTS)
        return self._entry(name, self.files.read([name])[0])

    def _entry(self, name: str, content: bytes) -> Entry:
        path = self.files.path(name)
        try:
            entry = json.loads(content)
        except ValueError as error:
            raise DamagedError(path, error) from error
        if not isinstance(entry, dict) or not isinstance(entry.get("format"), int):
            raise UnreachableError(
                f"{path} is no commit of a store", "Name a scalefit store by --store."
            )
        if entry["format"] > FORMAT:
            raise UnreachableError(
                f"The store at {self.files.location} has format {entry['format']}, newer than"
                f" {FORMAT}, the newest that this version reads",
                "Update scalefit.",
            )
        return entry

    def commit(self, state: State, make: Callable[[State], Entry | None]) -> bool:
        """Append the entry that `make` gives for the state of the store.

        If another process was first, `make` is asked again, knowing its entry. Where it gives None
        nothing is committed, and the answer is False.
        """
        while (entry := make(state)) is not None:
            name = _name(state.number + 1)
            content = json.dumps({"format": FORMAT} | entry).encode()
            # A put that was repeated because its answer was lost finds its own entry.
            if self.files.create(name, content) or self.files.read([name])[0] == content:
                if (state.number + 1) % CHECKPOINT_EVERY == 0:
                    self._write_checkpoint(state)
                return True
            state = self.after(state)
        return False

    def _write_checkpoint(self, state: State) -> None:
        """Fold the log for later readers. The commit stands whether this succeeds or not."""
        try:
            state = self.after(state)
            content = json.dumps(state.to_entry()).encode()
            self.files.create(_name(state.number, CHECKPOINTS), content)
            for old in self.checkpoints()[:-2]:  # a slow reader may be at the last but one
                self.files.remove(_name(old, CHECKPOINTS))
        except UnreachableError:
            return


class _understood:
    """Says of an entry that lacks a part which one it is."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, (KeyError, TypeError, AttributeError)):
            raise DamagedError(self.path, f"{type(error).__name__} {error}") from error


def _name(number: int, folder: str = FOLDER) -> str:
    return f"{folder}/{number:012}.json"


def _numbers(names: list[str]) -> list[int]:
    return sorted(int(number) for name in names if (number := stem(name)).isdigit())
