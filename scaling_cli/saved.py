"""The fits that a project's store keeps, and which of them answers."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling_cli.errors import InputError
from scaling_cli.fitting.basis import Basis
from scaling_cli.fitting.document import DOCUMENT, read_fits
from scaling_cli.fitting.procedures import AUTO
from scaling_cli.fitting.result import STORE_CHANGED, FailedFit, Fit
from scaling_cli.notes import Note
from scaling_cli.spelling import near
from scaling_cli.store.saved import SavedFit

ALL_RUNS = "all runs"  # what a fit without groups is shown as

if TYPE_CHECKING:
    from scaling_cli.mapping import Mapping
    from scaling_cli.store import Store
    from scaling_cli.table import Table

LOSS = "loss"  # the target that is asked for where none is named
SPLIT = "params"  # the target of laws that say how large the best model of a budget is


class Saved:
    """The saved fits of a store, as fits. It is opened where it is needed: a file needs none."""

    def __init__(self, opened: Callable[[], Store]) -> None:
        self._opened = opened

    @cached_property
    def store(self) -> Store:
        return self._opened()

    def save(self, fits: Sequence[Fit], name: str | None = None) -> None:
        """Keep the fits as one set, which answers from now on for its target."""
        self.store.fits.save([fit.to_document() for fit in fits], name)

    def load(self, saved: Sequence[SavedFit]) -> list[Fit]:
        """Fits of one set, which say so where the store has other runs by now."""
        documents = zip(saved, self.store.fits.load(saved), strict=True)
        fits = [Fit.from_document(document, item.fit_id) for item, document in documents]
        contents = self.store.contents()
        if all(item.about["contents"] in (None, contents) for item in saved):
            return fits
        message = (
            "The runs in the store are not those of when this fit was made. Fit again, if it is to"
            " count them as they are."
        )
        return [fit.with_notes([Note.of(STORE_CHANGED, message)]) for fit in fits]

    def named(self, text: str) -> list[Fit]:
        """The fits that `fit=` names: those of a file, of a name, or the one of an id."""
        return load_fits(Path(text)) if is_file(text) else self.load(self.store.fits.find(text))

    def newest(
        self, law: str | None = None, target: str | None = None, splits: bool = False
    ) -> list[Fit]:
        """The newest set that predicts the target, or the newest of a law.

        Without either the target is the loss, or what the newest set predicts where none predicts
        that: a fit of something else changes no answer about the loss. Where a split is asked for,
        `splits`, a fit of the best params of a budget answers too.
        """
        wanted = (LOSS, None, SPLIT) if splits else (LOSS, None)
        known = self.store.fits.listed()
        candidates = [item for item in known if law in (None, item.about["law"])]
        if target is not None:
            candidates = [item for item in candidates if item.about["target"] == target]
        elif law is None:
            candidates = [
                item for item in candidates if item.about["target"] in wanted
            ] or candidates
        if not candidates:
            raise self._none(known, law, target)
        return self.load([item for item in candidates if item.set == candidates[0].set])

    def _none(self, known: Sequence[SavedFit], law: str | None, target: str | None) -> InputError:
        of = [f"law {law}"] if law else []
        what = " ".join(
            [f"no fit of {of[0]}" if of else "no fit", *([f"of {target}"] if target else [])]
        )
        asked = (f" `law=` {law}" if law else "") + (f" `y=` {target}" if target else "")
        there = near(target, {str(item.about["target"]) for item in known}) if target else ""
        return InputError(
            f"{what} is saved in the store {self.store.location}",
            there or f"Run `scalefit fit`{asked} first, or give `published=NAME`.",
        )

    def answering(
        self,
        fit: str | None = None,
        law: str | None = None,
        target: str | None = None,
        splits: bool = False,
    ) -> list[Fit]:
        """The fits that answer for the future: those that are named, or of the newest set those of
        `auto`, if it has any."""
        if fit is not None:
            return self.named(fit)
        fits = self.newest(law, target, splits)
        return [item for item in fits if item.name == AUTO and law is None] or fits

    def answering_files(self, saved: Sequence[SavedFit]) -> set[str]:
        """The files of those that answer for their targets."""
        newest: dict[Any, int] = {}
        for item in saved:  # the newest first
            newest.setdefault(item.about["target"], item.set)
        newest_set = [item for item in saved if item.set == newest[item.about["target"]]]
        auto = {item.set for item in newest_set if item.about["law"] == AUTO}
        return {i.file for i in newest_set if i.set not in auto or i.about["law"] == AUTO}

    def of_group(
        self, name: str, law: str | None = None, target: str | None = None, fit: str | None = None
    ) -> Fit:
        """The one fit that `name` means: of a file, a name, an id, or a value of a group of the
        fits that answer."""
        if is_file(name):
            return one_of(self.named(name), name)
        fits = self.answering(fit, law, target) if fit or self.store.fits.listed() else []
        if fit is not None and not any(_is_called(item, name) for item in fits):
            groups = ", ".join(_groups(fits))
            raise InputError(f"{fit} has no group {name}", f"Groups are {groups or 'none'}.")
        matching = [item for item in fits if _is_called(item, name)]
        if not matching:
            saved = [
                item
                for item in self.store.fits.listed()
                if (name == item.fit_id or name in item.names) and law in (None, item.about["law"])
            ]
            ids = dict.fromkeys(item.fit_id for item in saved)
            matching = (
                self.load([item for item in saved if item.set == saved[0].set]) if ids else []
            )
        if len(matching) == 1:
            return matching[0]
        groups = ", ".join(_groups(fits))
        if matching:
            laws = ", ".join(dict.fromkeys(item.name for item in matching))
            raise InputError(
                f"{name} is fitted by {laws}", f"Say which: `law=` {matching[0].name}."
            )
        raise InputError(
            f"{name} is no fit: neither an id, nor a name, nor a file, nor a group of the newest"
            " fits",
            f"Groups are {groups}." if groups else "Fit the recipes first, with `by=KEY`.",
        )


def _groups(fits: Sequence[Fit]) -> list[str]:
    """What the groups of these fits are called."""
    return [str(value) for item in fits for value in item.group.values() or (ALL_RUNS,)]


def _is_called(fit: Fit, name: str) -> bool:
    """Whether `name` is a value of the fit's group, or what a fit of all runs is shown as."""
    return name in map(str, fit.group.values()) or (not fit.group and name == ALL_RUNS)


def one_of(fits: Sequence[Fit], name: str) -> Fit:
    """The only one of them."""
    if len(fits) != 1:
        ids = ", ".join(item.fit_id for item in fits)
        raise InputError(
            f"{name} holds {len(fits)} fits ({ids})", "Give `fit=FILE`, and name a group of it."
        )
    return fits[0]


def is_file(fit: str) -> bool:
    return fit.endswith(".json") or os.path.isfile(fit)


def load_fits(path: Path) -> list[Fit]:
    """The fits of a file that `fit -o` wrote: one for each group and law."""
    return read_fits(DOCUMENT.read(path), str(path))


def resting(
    results: Sequence[Fit | FailedFit],
    groups: dict[str, Table],
    store: Store,
    mapping: Mapping | None,
    asked: dict[str, Any],
) -> list[Fit | FailedFit]:
    """The fits, each with what it rests on: `groups` holds the rows of each by the repr of its
    group, `asked` the filter, groups, held-out runs and command of the request."""
    state = store.log.state()
    contents, made = state.contents(), datetime.now(UTC).isoformat(timespec="seconds")
    chart = None if mapping is None else _hash(mapping.to_json())

    def with_basis(fit: Fit | FailedFit) -> Fit | FailedFit:
        if isinstance(fit, FailedFit):
            return fit
        rows = groups[repr(dict(fit.group))]
        runs = sorted(dict.fromkeys(zip(rows.owners, rows.run_ids, strict=True)))
        revisions = [
            (str(key), state.places[key].revision if key in state.places else "") for key, _ in runs
        ]
        ids = tuple(str(run_id) for _, run_id in runs)
        return replace(
            fit,
            rests_on=Basis(ids, _hash(revisions), contents, made, mapping=chart, **asked),
        )

    return [with_basis(fit) for fit in results]


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
