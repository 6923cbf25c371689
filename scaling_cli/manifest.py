"""What an ingest has read, file by file, so that the next one reads only what has changed.

A file is known again by what its file system says of it: bytes, times of the last change of its
content and of its status, inode; or the ETag of an object store. Where the clock leaves room for a
change that shows in none of these, by a digest of its content. Files are read in parts that say
nothing of one another, and a part is passed over only as a whole: the same files, each as it was,
read in the same way, with each of its runs in the store as it came out of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from scaling_cli.documents import open_file
from scaling_cli.version import VERSION

FORMAT = 1
# A file that was changed so shortly before it was looked at may change again within one tick of its
# file system's clock (2 s on FAT, 1 s on many network shares), or that clock may be behind ours.
DOUBTFUL_SECONDS = 10.0
_MOST_BYTES = 64 << 30
_PIECE = 1 << 20
_HEX = 32  # digits of a revision that are kept: 128 bits

Stamp = tuple[Any, ...]  # of a file here: bytes, ns of content, ns of status, inode


class File(NamedTuple):
    """A file that was read: by which name it was found (the folder or file that was named, and the
    path below it), its stamp, the digest of its content where the stamp alone was in doubt, its
    adapter (none where it is of no known format), whether its first bytes may be a table of
    settings (None: not looked at), and of the files beside it that are read with it the names and
    stamps (None: there was none)."""

    root: str
    below: str
    stamp: Stamp
    content: str = ""
    adapter: str = ""
    table: bool | None = None
    beside: tuple[tuple[str, Stamp | None], ...] = ()

    @property
    def name(self) -> tuple[str, str]:
        return self.root, self.below


class SeenRun(NamedTuple):
    """A run that a part gave: its key, its revision in the store (none where it had been forgotten)
    and the digest of its settings and history."""

    key: str
    revision: str
    digest: str


class Part(NamedTuple):
    """Files that are read together, in which way (`manner`), and what came out: runs, notes (code,
    severity and message) and the files of them that are data and no runs."""

    manner: str
    files: tuple[File, ...]
    runs: tuple[SeenRun, ...] = ()
    notes: tuple[tuple[str, str, str], ...] = ()
    data: tuple[str, ...] = ()

    @property
    def roots(self) -> tuple[str, ...]:
        return tuple(sorted({file.root for file in self.files}))

    def surer(self, now: float) -> Part | None:
        """The part without the digests of files that are no more in doubt, if there are such."""
        if not any(file.content and not is_doubtful(file.stamp, now) for file in self.files):
            return None
        files = (f if is_doubtful(f.stamp, now) else f._replace(content="") for f in self.files)
        return self._replace(files=tuple(files))

    def with_revisions(self, revisions: Callable[[str], str]) -> Part:
        return self._replace(
            runs=tuple(run._replace(revision=revisions(run.key)[:_HEX]) for run in self.runs)
        )


class Whole(NamedTuple):
    """An ingest that went to its end: a digest of the names of all files that it found, the
    packages that add readers and a digest of where packages are, and what it answered."""

    names: str
    packages: tuple[str, ...]
    environment: str
    answer: dict[str, Any]


class Manifest:
    """All that is remembered: the parts as they were read last, of each set of roots the keys of
    every run that was ever read there, and of each ingest what it found when it was whole."""

    def __init__(self) -> None:
        self.wholes: dict[str, Whole] = {}
        self.by_file: dict[tuple[str, str], Part] = {}
        self.ever: dict[tuple[str, ...], dict[str, None]] = {}

    def add(self, parts: Iterable[Part]) -> None:
        for part in parts:
            for file in part.files:
                self.by_file[file.name] = part
            self.ever.setdefault(part.roots, {}).update((run.key, None) for run in part.runs)

    @property
    def parts(self) -> list[Part]:
        """Those of which no file has been read again in another part."""
        distinct = {id(part): part for part in self.by_file.values()}.values()
        return [p for p in distinct if all(self.by_file[file.name] is p for file in p.files)]

    def vanished(self, roots: Collection[str], seen: Collection[str]) -> list[str]:
        """Keys of runs that were read once below these roots, which have now been read whole, and
        that are not among those `seen` there."""
        asked = set(roots)
        known = (keys for named, keys in self.ever.items() if asked.issuperset(named))
        return sorted({key for keys in known for key in keys}.difference(seen))

    def to_document(self, stored: Collection[str]) -> dict[str, Any]:
        """One document that says the same; of runs that are no more in a part, those `stored`."""
        parts = self.parts
        document = document_of(parts)
        now = {run.key for part in parts for run in part.runs}
        document["once"] = [
            [list(roots), sorted(key for key in keys if key in stored and key not in now)]
            for roots, keys in self.ever.items()
        ]
        document["wholes"] = self.wholes
        return document

    def add_document(self, document: Any) -> None:
        """Add what a document says; ValueError and its like where it is none."""
        if document["format"] != FORMAT:
            return  # of another version, which knows other things of files
        roots, manners = document["roots"], document["manners"]
        self.add(
            Part(
                manners[manner],
                tuple(_file(roots, *file) for file in files),
                tuple(SeenRun(*run) for run in runs),
                tuple((code, severity, message) for code, severity, message in notes),
                tuple(data),
            )
            for manner, files, runs, notes, data in document["parts"]
        )
        for key, (names, packages, environment, answer) in document["wholes"].items():
            self.wholes[key] = Whole(names, tuple(packages), environment, answer)
        for named, keys in document["once"]:
            self.ever.setdefault(tuple(named), {}).update(dict.fromkeys(keys))


def document_of(parts: Sequence[Part]) -> dict[str, Any]:
    """Parts as JSON; what recurs stands once."""
    roots = {file.root: None for part in parts for file in part.files}
    manners = {part.manner: None for part in parts}
    root_at = {root: place for place, root in enumerate(roots)}
    manner_at = {manner: place for place, manner in enumerate(manners)}
    return {
        "format": FORMAT,
        "roots": list(roots),
        "manners": list(manners),
        "parts": [
            [manner_at[p.manner], [[root_at[f.root], *f[1:]] for f in p.files], *p[2:]]
            for p in parts
        ],
        "once": [],
        "wholes": {},
    }


def _file(
    roots: Sequence[str],
    root: int,
    below: str,
    stamp: Sequence[Any],
    content: str,
    adapter: str,
    table: bool | None,
    beside: Sequence[Any],
) -> File:
    others = tuple((name, None if told is None else tuple(told)) for name, told in beside)
    return File(roots[root], below, tuple(stamp), content, adapter, table, others)


class Recall:
    """What of a manifest holds for one ingest: `manner` is how it reads, and `holds(run)` says
    whether the store has a run as it was read."""

    def __init__(self, manifest: Manifest, manner: str, holds: Callable[[SeenRun], bool]) -> None:
        self.by_file = manifest.by_file
        self.manner, self.holds = manner, holds
        # Whether what lies beside the files of a folder is as it was: looked at once an ingest
        self._same: dict[tuple[str, tuple[tuple[str, Stamp | None], ...]], bool] = {}

    def file(
        self,
        name: tuple[str, str],
        stamp: Stamp | None,
        path: str | Path,
        stamp_at: Callable[[str], Stamp | None],
    ) -> File | None:
        """The file as it was read, if it and what lies beside it are still the same."""
        part = self.by_file.get(name)
        if part is None or stamp is None or part.manner != self.manner:
            return None
        file = next(file for file in part.files if file.name == name)
        if file.stamp != stamp or (file.content and file.content != digest(path)):
            return None
        known = os.path.dirname(path), file.beside
        if known not in self._same:
            beside = ((os.path.join(known[0], other), told) for other, told in file.beside)
            self._same[known] = all(stamp_at(other) == told for other, told in beside)
        return file if self._same[known] else None

    def part(self, files: Sequence[File]) -> Part | None:
        """The part that these files, all as they were, made up; if its runs are in the store."""
        part = self.by_file[files[0].name]
        same = len(part.files) == len(files) and set(part.files) == set(files)
        return part if same and all(map(self.holds, part.runs)) else None


def stamp_of(status: os.stat_result) -> Stamp:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def stamp_at(path: str | Path) -> Stamp | None:
    """The stamp of a file here, None where there is none."""
    try:
        return stamp_of(os.stat(path))
    except OSError:
        return None


def is_doubtful(stamp: Stamp | None, now: float) -> bool:
    """Whether a file may have changed since, or change yet, without another stamp; `now` in seconds
    since 1970. What an object store says of an object has no such doubt."""
    if stamp is None or len(stamp) < 4:
        return False
    return bool(max(stamp[1], stamp[2]) > (now - DOUBTFUL_SECONDS) * 1e9)


def digest(path: str | Path) -> str:
    """A digest of a file's content; none of what cannot be read."""
    found = hashlib.blake2b(digest_size=16)
    try:
        with open_file(path, _MOST_BYTES) as file:
            while piece := file.read(_PIECE):
                found.update(piece)
    except OSError:
        return "unreadable"
    return found.hexdigest()


def names_of(files: Iterable[tuple[str, str]]) -> str:
    """A digest of the names of files."""
    told = json.dumps(sorted(files)).encode()
    return hashlib.blake2b(told, digest_size=16).hexdigest()


def environment() -> str:
    """A digest of where packages lie and when one was last installed there."""
    told = repr([(path, (stamp_at(path) or (0, 0))[1]) for path in sys.path])
    return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()


def manner_of(*what: Any) -> str:
    """A digest of how an ingest reads: this version's readers, and what else has a say."""
    told = json.dumps([VERSION, _readers(), *what], sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()[:_HEX]


@cache
def _readers() -> str:
    """A digest of the code that reads, which may change without a new version: 3 ms."""
    found = hashlib.sha256()
    folder = Path(__file__).parent
    for path in sorted([*folder.glob("*.py"), *folder.glob("adapters/*.py")]):
        found.update(path.read_bytes())
    return found.hexdigest()
