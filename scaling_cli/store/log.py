"""The commit log: numbered entries, each put in place only if its number is free.

An entry is written by a process that has read all before it, so entries have one order that no
clock decides, and what an entry says holds for the store as it is at that number.

The log can show that it is whole. Every entry ends with a digest of itself, names the digest of the
entry before it, and says its own number: none can be changed, left out or exchanged. The name of
the head, `<n>.<digest of entry n>.head`, says how long the log is at least: it is written after
entry n, so a writer that dies in between leaves it one behind, and never ahead. A second one stands
in the folder of the checkpoints, so that who loses the end of the log with its head is found out.
That there is a log at all is said beside it: BEGUN is written after the first entry.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from scaling_cli.errors import UnreachableError
from scaling_cli.store.digests import digest_of, is_sealed, seal, seal_holds
from scaling_cli.store.files import Files, GoneError
from scaling_cli.version import VERSION

# 1 had lists of numbers in its histories; 2 has their bytes; 3 has digests, and fits in the log
FORMAT = 3
SEALED = 3  # the first format whose entries have digests
FOLDER, CHECKPOINTS, MANIFESTS = "_log", "_checkpoints", "manifests"
HEAD = ".head"
BEGUN = "store.json"
_BEGINS = f"{BEGUN} says that the log begins with it"
_NUMBER = re.compile(r"[0-9]{12}")
# Opening reads one checkpoint and fewer entries than this: about 10 ms on a local disk.
CHECKPOINT_EVERY = 64
# What an entry may name, and so what is read: nothing outside the store's own folders.
_SEGMENT = re.compile(r"(runs|history)/[A-Za-z0-9_-]+\.parquet")
_FIT = re.compile(r"fits/[A-Za-z0-9][A-Za-z0-9._-]*\.json")
_MANIFEST = re.compile(r"manifests/[A-Za-z0-9_-]+\.json")

Entry = dict[str, Any]


class DamagedError(UnreachableError):
    """A file of the store that holds something else than was written, or that is lost."""

    def __init__(self, path: str, error: object, what: str = "is damaged") -> None:
        super().__init__(
            f"{path} {what}: {error}",
            "Restore it from a copy, or ingest the runs into a new store.",
        )


class Place(NamedTuple):
    """Where a run's current revision is: a file of runs, and one of histories."""

    revision: str
    runs: str
    history: str | None


@dataclass
class State:
    """The log folded up to entry `number`, whose digest is `digest` (None where it is not known)
    and whose format `format`.

    `digests` are those of the segments' files. `retired` are the segments whose last run another
    entry replaced, and the fits that one replaced or forgot, and which entry; `removed` are files
    that were thrown away before any entry named them, and that none may name later. Both go by the
    name of their file without folder and suffix. `forgotten` are keys of runs that a put leaves
    out unless it is told otherwise.

    `fits` are the saved fits, oldest set first: set number -> what the log says of each (`id`,
    `file`, `digest`, `about`); `fit_names` -> the files of the fits of that name. `adopted` is
    False where fits of format 2 lie beside the log, unnamed by it. `manifests` are the documents
    of what ingests have read, each with its digest.
    """

    number: int = 0
    digest: str | None = None
    format: int = 0
    places: dict[str, Place] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    retired: dict[str, int] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    live: Counter[str] = field(default_factory=Counter)
    forgotten: set[str] = field(default_factory=set)
    fits: dict[int, list[Entry]] = field(default_factory=dict)
    fit_names: dict[str, list[str]] = field(default_factory=dict)
    adopted: bool = True
    manifests: dict[str, str] = field(default_factory=dict)

    def copied(self) -> State:
        """The same, apart; what is within is never written to in place."""
        return State(**{name: copy(value) for name, value in self.__dict__.items()})

    def add(self, number: int, entry: Entry) -> None:
        """Fold one more entry in; ValueError and its like for one that no version wrote."""
        if entry["format"] < SEALED or entry.get("unadopted"):
            self.adopted = False
        self.number, self.format = number, entry["format"]
        for segment in entry["segments"]:
            self._add_segment(number, segment)
        for key in entry.get("forgotten", ()):
            self._forget(key, number)
        self.digests.update(entry.get("digests", {}))
        self.retired.update(entry.get("retired", {}))
        for name in entry.get("removed", ()):
            self.retired.pop(name, None)
            self.removed.add(name)
        self._add_fits(number, entry)
        self._add_manifests(number, entry)

    def _add_manifests(self, number: int, entry: Entry) -> None:
        for name in entry.get("manifests_dropped", ()):
            if self.manifests.pop(name, None) is not None:
                self.retired[stem(name)] = number
        for made in entry.get("manifests", ()):
            _check_name(_MANIFEST, made["file"])
            self.manifests[made["file"]] = made["digest"]

    def _add_segment(self, number: int, segment: Entry) -> None:
        runs, history, revisions = segment["runs"], segment["history"], segment["revisions"]
        for name in filter(None, (runs, history)):
            _check_name(_SEGMENT, name)
        for key in self.places.keys() & revisions.keys():
            self._leave(self.places[key], number)
        for key, revision in revisions.items():
            self.places[key] = Place(revision, runs, history)
        self.forgotten.difference_update(revisions)
        self.live[stem(runs)] += len(revisions)
        self.digests.update(segment.get("digests", {}))

    def contents(self) -> str:
        """A hash of which runs there are, each in which revision."""
        runs = sorted((key, place.revision) for key, place in self.places.items())
        return digest_of(json.dumps(runs).encode())[:16]

    def fit_stems(self) -> set[str]:
        """The stems of the files of the saved fits."""
        return {stem(line["file"]) for lines in self.fits.values() for line in lines}

    def _forget(self, key: str, number: int) -> None:
        place = self.places.pop(key, None)
        if place is not None:
            self._leave(place, number)
        self.forgotten.add(key)

    def _leave(self, place: Place, number: int) -> None:
        segment = stem(place.runs)
        self.live[segment] -= 1
        if not self.live[segment]:
            del self.live[segment]
            self.retired[segment] = number
            for name in filter(None, (place.runs, place.history)):
                self.digests.pop(name, None)

    def _add_fits(self, number: int, entry: Entry) -> None:
        if "adopted" in entry:
            self.adopted = True
        found = {int(old): fits for old, fits in entry.get("adopted", {}).items()}
        if entry.get("fits"):
            found[number] = entry["fits"]
        for file in (fit["file"] for fits in found.values() for fit in fits):
            _check_name(_FIT, file)
        for name, files in entry.get("fit_names", {}).items():
            self.fit_names[name] = list(files)
        before = self.fit_stems() if entry.get("fits") or entry.get("fits_forgotten") else set()
        if entry.get("fits"):
            self._supersede({fit["id"] for fit in entry["fits"]})
        self.fits |= found
        if entry.get("fits_forgotten"):
            self._forget_fits(set(entry["fits_forgotten"]))
        for name in before - self.fit_stems():
            self.retired[name] = number

    def _supersede(self, ids: set[str]) -> None:
        """Leave out the sets of which each fit is saved again, unless it has a name."""
        if not any(fit["id"] in ids for fits in self.fits.values() for fit in fits):
            return  # nearly always, and a log of a thousand saves is folded at every start
        named = {file for files in self.fit_names.values() for file in files}
        self.fits = {
            old: fits
            for old, fits in self.fits.items()
            if any(fit["id"] not in ids or fit["file"] in named for fit in fits)
        }

    def _forget_fits(self, gone: set[str]) -> None:
        kept = {
            old: [fit for fit in fits if fit["file"] not in gone] for old, fits in self.fits.items()
        }
        self.fits = {old: fits for old, fits in kept.items() if fits}
        names = {
            name: [file for file in files if file not in gone]
            for name, files in self.fit_names.items()
        }
        self.fit_names = {name: files for name, files in names.items() if files}

    def to_entry(self) -> Entry:
        """One entry that says what all up to `number` say together."""
        segments: dict[str, Entry] = {}
        for key, place in self.places.items():
            if place.runs not in segments:
                files = [name for name in (place.runs, place.history) if name in self.digests]
                segments[place.runs] = {
                    "runs": place.runs,
                    "history": place.history,
                    "revisions": {},
                    "digests": {name: self.digests[name] for name in files},
                }
            segments[place.runs]["revisions"][key] = place.revision
        entry: Entry = {
            "format": FORMAT,
            "number": self.number,
            "last": self.digest,
            "segments": list(segments.values()),
            "retired": self.retired,
            "removed": sorted(self.removed),
            "forgotten": sorted(self.forgotten),
            "fit_names": self.fit_names,
            "manifests": [{"file": n, "digest": told} for n, told in self.manifests.items()],
        }
        return entry | ({"adopted": self.fits} if self.adopted else {"unadopted": True})


def _check_name(form: re.Pattern[str], name: str) -> None:
    if not form.fullmatch(name):
        raise ValueError(f"{name!r} is no file of a store")


def stem(name: str) -> str:
    return name.rpartition("/")[2].partition(".")[0]


class Log:
    """The entries of a store.

    `may_stand` says, when `commit` was broken off, whether its entry may be in the log all the
    same: then what it names has to stay.
    """

    def __init__(self, files: Files) -> None:
        self.files = files
        self.may_stand = False

    def state(self) -> State:
        """All entries folded, from the newest checkpoint that can be read."""
        state = State()
        names = self._beside()  # before the entries: a head never goes beyond them
        for number in reversed(_numbers([name for name in names if name.endswith(".json")])):
            try:
                entry = self.checkpoint(number)
                with _understood(self.files.path(_name(number, CHECKPOINTS))):
                    state.add(number, entry)
                    state.digest = entry.get("last")
            except UnreachableError:
                state = State()
                continue  # the entries say the same, slower
            break
        state = self.after(state)
        self._check_end(state, _heads([name for name in names if name.endswith(HEAD)]))
        return state

    def _check_end(self, state: State, heads: dict[int, str]) -> None:
        """DamagedError where the log ends before a head that stands beside its checkpoints."""
        number = max(heads, default=0)
        if number > state.number:
            error = f"a head in {CHECKPOINTS} says that there are {number}"
            raise DamagedError(self.files.path(_name(state.number + 1)), error, "is lost")
        if number == state.number and state.digest not in (None, heads.get(number)):
            path = self.files.path(_name(number))
            raise DamagedError(path, f"it is not the commit that the head in {CHECKPOINTS} names")

    def after(self, state: State) -> State:
        """The state with the entries that have come since."""
        state = state.copied()
        numbers, heads = self._listed()
        new = [number for number in numbers if number > state.number]
        for number, content in zip(new, self.contents(new), strict=True):
            self.append(state, number, content)
            self._check_head(heads.get(number), number, content)
        return state

    def append(self, state: State, number: int, content: bytes) -> None:
        """Add the entry of a file to the state; DamagedError where it is not the next one."""
        path = self.files.path(_name(number))
        entry = self._entry(path, content)
        if number != state.number + 1:
            lost = self.files.path(_name(state.number + 1))
            raise DamagedError(lost, f"the log goes on with commit {number}", "is lost")
        if entry["format"] >= SEALED:
            if entry.get("number") != number:
                raise DamagedError(path, f"it is commit {entry.get('number')}, not {number}")
            if state.digest is not None and entry.get("previous") != state.digest:
                raise DamagedError(
                    path, f"it does not follow commit {number - 1}", "is no part of the log"
                )
        elif state.format >= SEALED:
            raise DamagedError(path, "it is of an older format than the commit before it")
        with _understood(path):
            state.add(number, entry)
        state.digest = digest_of(content)

    def numbers(self) -> list[int]:
        return _numbers(self.files.names(FOLDER, ".json"))

    def heads(self, folder: str = FOLDER) -> dict[int, str]:
        """Number -> digest of that entry, as the names of the heads say."""
        names = self._beside() if folder == CHECKPOINTS else self.files.names(folder)
        return _heads([name for name in names if name.endswith(HEAD)])

    def _listed(self) -> tuple[list[int], dict[int, str]]:
        """The numbers of the entries, and the heads; DamagedError where a head goes beyond."""
        for again in (False, True):
            names = self.files.names(FOLDER)
            numbers = _numbers([name for name in names if name.endswith(".json")])
            heads = _heads([name for name in names if name.endswith(HEAD)])
            least = max(heads, default=int(not numbers and self.has_begun()))
            if least <= max(numbers, default=0):
                break
            if again:  # the first listing may be of a moment before what says so
                error = f"the log's head says that there are {least}" if heads else _BEGINS
                raise DamagedError(self.files.path(_name(least)), error, "is lost")
        return numbers, heads

    def has_begun(self) -> bool:
        """Whether there has been a commit, as a file beside the log says."""
        return self.files.exists(BEGUN)

    def beginning_holds(self) -> bool:
        """Whether what that file says is whole."""
        return seal_holds(self.files.read([BEGUN])[0])

    def _check_head(self, digest: str | None, number: int, content: bytes) -> None:
        if digest is not None and digest != digest_of(content):
            path = self.files.path(_name(number))
            raise DamagedError(path, "it is not the commit that the log's head names")

    def checkpoints(self) -> list[int]:
        return _numbers([name for name in self._beside() if name.endswith(".json")])

    def _beside(self) -> list[str]:
        """What lies beside the log; nothing where that is no folder: the entries say the same."""
        try:
            return self.files.names(CHECKPOINTS)
        except UnreachableError:
            return []

    def contents(self, numbers: Sequence[int]) -> list[bytes]:
        return self.files.read([_name(number) for number in numbers])

    def checkpoint(self, number: int) -> Entry:
        name = _name(number, CHECKPOINTS)
        entry = self._entry(self.files.path(name), self.files.read([name])[0])
        if entry["format"] >= SEALED and entry.get("number") != number:
            raise DamagedError(self.files.path(name), f"it is that of commit {entry.get('number')}")
        return entry

    def _entry(self, path: str, content: bytes) -> Entry:
        try:
            entry = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise DamagedError(path, error) from error
        if not isinstance(entry, dict) or not isinstance(entry.get("format"), int):
            raise UnreachableError(
                f"{path} is no commit of a store", "Name a scalefit store by `store=`."
            )
        if entry["format"] > FORMAT and (seal_holds(content) or not is_sealed(content)):
            raise UnreachableError(
                f"The store at {self.files.location} has format {entry['format']}, newer than"
                f" {FORMAT}, the newest that this version reads",
                "Update scalefit.",
            )
        if (entry["format"] >= SEALED or "digest" in entry) and not seal_holds(content):
            raise DamagedError(path, "its content is not what its digest says")
        return entry

    def commit(self, state: State, make: Callable[[State], Entry | None]) -> bool:
        """Append the entry that `make` gives for the state of the store.

        If another process was first, `make` is asked again, knowing its entry. Where it gives None
        nothing is committed, and the answer is False.
        """
        self.may_stand = False
        while (entry := make(state)) is not None:
            number = state.number + 1
            head = {
                "format": FORMAT,
                "number": number,
                "previous": self._last(state),
                "made": datetime.now(UTC).isoformat(),
                "version": VERSION,
            }
            content = seal(head | entry)
            if self._create(_name(number), content):
                self._vouch(number, content)
                if number % CHECKPOINT_EVERY == 0:
                    self._write_checkpoint(state)
                return True
            state = self.after(state)
        return False

    def _last(self, state: State) -> str | None:
        """The digest of the last entry, which a checkpoint of format 2 does not say."""
        if state.digest is None and state.number:
            return digest_of(self.contents([state.number])[0])
        return state.digest

    def _create(self, name: str, content: bytes) -> bool:
        """Put an entry in place; False where another has its number.

        A put whose answer was lost, or that failed after it had succeeded, finds its own entry.
        """
        self.may_stand = True  # from here on, whatever the answer, or if Ctrl-C comes before it
        try:
            if self.files.create(name, content):
                return True
        except BaseException as error:
            stands = self._stands(name, content)
            self.may_stand = stands is not False
            if stands and isinstance(error, UnreachableError):
                return True
            raise
        stands = self._stands(name, content)
        self.may_stand = stands is not False
        return stands is True

    def _stands(self, name: str, content: bytes) -> bool | None:
        """Whether the entry of this name is this one; None where that cannot be told."""
        try:
            return self.files.read([name])[0] == content
        except GoneError:
            return None if self.files.may_come_late else False
        except UnreachableError:
            return None

    def _vouch(self, number: int, content: bytes) -> None:
        """Say that there is a log, and how long. The commit stands whether this succeeds or not."""
        try:
            if number == 1:
                self.files.create(BEGUN, seal({"format": FORMAT}))
            digest = digest_of(content)
            for folder in (FOLDER, CHECKPOINTS):
                before = self.files.names(folder, HEAD)
                self.files.create(f"{folder}/{number:012}.{digest}{HEAD}", f"{digest}\n".encode())
                for name in before:
                    if int(stem(name)) < number:
                        self.files.remove(f"{folder}/{name}")
        except UnreachableError:
            return

    def _write_checkpoint(self, state: State) -> None:
        """Fold the log for later readers. The commit stands whether this succeeds or not."""
        try:
            state = self.after(state)
            self.files.create(_name(state.number, CHECKPOINTS), seal(state.to_entry()))
            for old in self.checkpoints()[:-2]:  # a slow reader may be at the last but one
                self.files.remove(_name(old, CHECKPOINTS))
        except UnreachableError:
            return


@contextmanager
def _understood(path: str) -> Iterator[None]:
    """Says of an entry that lacks a part, or has an odd one, which it is."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DamagedError(path, f"{type(error).__name__} {error}") from error


def _name(number: int, folder: str = FOLDER) -> str:
    return f"{folder}/{number:012}.json"


def _numbers(names: list[str]) -> list[int]:
    return sorted(int(number) for name in names if _NUMBER.fullmatch(number := stem(name)))


def _heads(names: list[str]) -> dict[int, str]:
    parts = [name.split(".") for name in names]
    return {
        int(part[0]): part[1] for part in parts if len(part) == 3 and _NUMBER.fullmatch(part[0])
    }
