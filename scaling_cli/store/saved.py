"""Saved fits, under the store's log: sets that are there whole or not at all.

A save is one commit. It names the files of its fits with their digests, and says of each what a
list shows, so that a list opens no fit and a store of a thousand is as quick as one of ten. Fits of
stores of format 2, which lay beside the log, are read as they are until the next change of the
fits takes them into it.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaling_cli.errors import InputError
from scaling_cli.notes import Note
from scaling_cli.spelling import near
from scaling_cli.store.digests import digest_of
from scaling_cli.store.files import GoneError
from scaling_cli.store.log import DamagedError, Entry, State

if TYPE_CHECKING:
    from scaling_cli.store.store import Store

FITS = "fits"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_OWN = re.compile(r"[0-9a-f]{32}\.json")  # a file of this version; older ones had the fit's id


@dataclass(frozen=True)
class SavedFit:
    """What the log says of a saved fit: `set` is the commit that saved it with others, `names` are
    those that people gave it, `about` is as by `described`."""

    fit_id: str
    set: int
    file: str
    digest: str
    about: dict[str, Any]
    names: tuple[str, ...] = ()


def described(document: dict[str, Any]) -> dict[str, Any]:
    """What the log says of a fit, from its document: what a list shows and an answer chooses by."""
    basis = document.get("rests_on") or {}
    last = document
    while last.get("then"):
        last = last["then"]
    return {
        "law": document.get("law"),
        "target": document.get("target") or last.get("columns", {}).get("target"),
        "group": document.get("group") or {},
        "runs": document.get("n_runs"),
        "where": basis.get("where"),
        "saved": basis.get("made"),
        "contents": basis.get("contents"),
        "mape": (document.get("holdout") or {}).get("mape"),
    }


class SavedFits:
    """The saved fits of a store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def listed(self) -> list[SavedFit]:
        """Every saved fit, the set that was saved last first. One id may stand in several sets."""
        return self.of(self.store.log.state())

    def of(self, state: State) -> list[SavedFit]:
        sets = state.fits if state.adopted else _by_set(self._beside())
        names: dict[str, list[str]] = {}
        for name, files in state.fit_names.items():
            for file in files:
                names.setdefault(file, []).append(name)
        found: list[SavedFit] = []
        for number in sorted(sets, reverse=True):
            for line in sets[number]:
                given = tuple(names.get(line["file"], ()))
                parts = (line["id"], number, line["file"], line["digest"], line["about"])
                found.append(SavedFit(*parts, given))
        return found

    def lost(self, fits: Sequence[SavedFit]) -> list[Note]:
        """A note of each fit whose file is not there; whether it holds what was saved is seen when
        it is read."""
        there = self.store.files.sizes(FITS)
        return [
            Note.of("fit_damaged", f"{fit.fit_id}: {self.store.files.path(fit.file)} is not there.")
            for fit in fits
            if fit.file.rpartition("/")[2] not in there
        ]

    def find(self, text: str) -> list[SavedFit]:
        """The fits of this name, or the one of this id."""
        known = self.listed()
        found = [fit for fit in known if text in fit.names]
        found = found or [fit for fit in known if fit.fit_id == text][:1]
        if not found:
            names = [name for fit in known for name in fit.names] + [fit.fit_id for fit in known]
            raise InputError(
                f"There is no fit {text!r} in the store at {self.store.location}",
                near(text, dict.fromkeys(names), "Near ids") or "See `scalefit fits`.",
            )
        return found

    def load(self, fits: Sequence[SavedFit]) -> list[dict[str, Any]]:
        """Their documents; DamagedError where one is not what was saved."""
        try:
            contents = self.store.files.read([fit.file for fit in fits])
        except GoneError:  # saved again meanwhile, and the older files cleared away
            newest = {fit.fit_id: fit for fit in reversed(self.listed())}
            if any(fit.fit_id not in newest for fit in fits):
                raise
            fits = [newest[fit.fit_id] for fit in fits]
            contents = self.store.files.read([fit.file for fit in fits])
        return [self._document(*pair) for pair in zip(fits, contents, strict=True)]

    def _document(self, fit: SavedFit, content: bytes) -> dict[str, Any]:
        path = self.store.files.path(fit.file)
        if digest_of(content) != fit.digest:
            raise DamagedError(path, "its content is not what its commit says")
        try:
            document = json.loads(content)
            if not _OWN.fullmatch(fit.file.rpartition("/")[2]):  # within what format 2 put around
                document = document["fit"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DamagedError(path, error) from error
        if not isinstance(document, dict):
            raise DamagedError(path, "it holds no document")
        return document

    def save(self, documents: Sequence[dict[str, Any]], name: str | None = None) -> None:
        """Keep fits' documents, each under its `fit_id`, as one set; with a name that finds it."""
        for document in documents:
            _check_id(document.get("fit_id"))
        if name is not None:
            self.check_name(name)

        def write(written: list[str]) -> list[Entry]:
            return [self._write(document, written) for document in documents]

        def entry(lines: list[Entry], state: State) -> Entry:
            contents = state.contents()
            for line in lines:  # of runs that its document does not name
                line["about"]["contents"] = line["about"]["contents"] or contents
            named = {} if name is None else {name: [line["file"] for line in lines]}
            return self._adopting(state) | {"segments": [], "fits": lines, "fit_names": named}

        self.store.commit(self.store.log.state(), write, entry)

    def _write(self, document: dict[str, Any], written: list[str]) -> Entry:
        file = f"{FITS}/{uuid.uuid4().hex}.json"
        content = json.dumps(document).encode()
        written.append(file)
        self.store.files.write(file, lambda out: out.write(content))
        return {
            "id": document["fit_id"],
            "file": file,
            "digest": digest_of(content),
            "about": described(document),
        }

    def give_name(self, fits: Sequence[SavedFit], name: str) -> None:
        """Let a name find these fits; others that had it lose it."""
        self.check_name(name)
        self._change(lambda state: {"fit_names": {name: [fit.file for fit in fits]}})

    def forget(self, fits: Sequence[SavedFit]) -> None:
        """Take fits out of the store; a compaction removes their files."""
        self._change(lambda state: {"fits_forgotten": [fit.file for fit in fits]})

    def _change(self, entry: Callable[[State], Entry]) -> None:
        log = self.store.log
        log.commit(
            log.state(), lambda state: self._adopting(state) | {"segments": []} | entry(state)
        )

    def check_name(self, name: str) -> None:
        """InputError where a name is none for a fit."""
        ids = {fit.fit_id for fit in self.listed()}
        if not _NAME.fullmatch(name) or name.endswith(".json") or name in ids:
            raise InputError(
                f"{name!r} is not a name for a fit",
                "Use letters, digits and . _ -, and neither a fit's id nor the ending .json.",
            )

    # Fits of format 2

    def _adopting(self, state: State) -> Entry:
        return {} if state.adopted else {"adopted": _by_set(self._beside())}

    def adopt(self) -> None:
        """Take the fits that lie beside the log into it."""
        log = self.store.log
        log.commit(
            log.state(),
            lambda state: (
                None if state.adopted else {"segments": [], "adopted": _by_set(self._beside())}
            ),
        )

    def _beside(self) -> list[tuple[int, int, Entry]]:
        """Of each fit the number of its set, its place in that, and what the log says of it."""
        files = self.store.files
        names = [n for n in files.names(FITS, ".json") if not _OWN.fullmatch(n)]
        paths = [f"{FITS}/{name}" for name in names]
        return [self._line(*pair) for pair in zip(paths, files.read(paths), strict=True)]

    def _line(self, file: str, content: bytes) -> tuple[int, int, Entry]:
        try:
            entry = {"place": 0, "contents": None, **json.loads(content)}
            about = described(entry["fit"]) | {"contents": entry["contents"]}
            fit_id = file.rpartition("/")[2].removesuffix(".json")
            line = {"id": fit_id, "file": file, "digest": digest_of(content), "about": about}
            return int(entry["number"]), int(entry["place"]), line
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DamagedError(self.store.files.path(file), error) from error


def _by_set(found: list[tuple[int, int, Entry]]) -> dict[int, list[Entry]]:
    """Set number -> lines; the numbers lie below those of commits."""
    last = max((number for number, *_ in found), default=0)
    sets: dict[int, list[Entry]] = {}
    for number, _, line in sorted(found, key=lambda item: (item[0], item[1], item[2]["id"])):
        sets.setdefault(number - last - 1, []).append(line)
    return sets


def _check_id(fit_id: Any) -> None:
    if not isinstance(fit_id, str) or not _NAME.fullmatch(fit_id):
        raise InputError(f"{fit_id!r} is not a fit id", "Use letters, digits and . _ - in it.")
