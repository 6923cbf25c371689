"""What the store remembers of the files of an ingest: which need not be read, and, where nothing
has changed at all, the answer of the last time. Nothing heavy is imported for that."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from scaling_cli.adapters.files import SourceFiles
from scaling_cli.errors import ScalefitError
from scaling_cli.manifest import (
    Manifest,
    Part,
    Recall,
    SeenRun,
    Whole,
    digest,
    environment,
    manner_of,
    names_of,
    stamp_at,
)
from scaling_cli.mapping import Mapping
from scaling_cli.outcome import Ingest
from scaling_cli.remote import without_secrets
from scaling_cli.sources import Sources
from scaling_cli.store import MOST_MANIFESTS, Store
from scaling_cli.store.log import State


@dataclass(frozen=True)
class Memory:
    """`manner` is how the sources are read this time, `key` names them with it, `roots` are the
    files and folders that they are, and `packages` add readers. What is `distrusted` is read again.
    """

    store: Store
    state: State
    manifest: Manifest
    damaged: Sequence[str]
    sources: Sources
    manner: str
    key: str
    roots: frozenset[str]
    packages: tuple[str, ...]
    environment: str
    holds: Callable[[SeenRun], bool]
    distrusted: bool

    @staticmethod
    def of(
        store: Store,
        mapping: Mapping,
        sources: Sources,
        again: bool = False,
        reread: bool = False,
    ) -> Memory | None:
        """None where what has a say in the reading cannot be told beforehand."""
        if sources.meta is not None and not os.path.isfile(sources.meta):
            return None
        state = store.log.state()
        manifest, damaged = store.remembered(state)
        here = environment()
        packages = _packages(manifest, here)
        # Names of several sources say which lies within which.
        places = sources.places if len(sources.places) > 1 else ()
        meta = None if sources.meta is None else digest(sources.meta)
        named = (sources.as_format, sources.group, meta, places, packages)
        manner = manner_of(mapping.to_json(), mapping.console, *named)
        roots = frozenset(
            name
            for place in sources.places
            for name in (os.path.abspath(place), without_secrets(place).rstrip("/"))
        )
        forgotten: Collection[str] = () if again else state.forgotten

        def holds(run: SeenRun) -> bool:
            place = state.places.get(run.key)
            if place is None:
                return run.key in forgotten
            return bool(run.revision) and place.revision.startswith(run.revision)

        key = names_of([(manner, root) for root in roots])
        whole = (store, state, manifest, damaged, sources, manner, key, roots)
        return Memory(*whole, packages, here, holds, reread)

    def recall(self) -> Recall:
        return Recall(Manifest() if self.distrusted else self.manifest, self.manner, self.holds)

    def unchanged(self) -> Ingest | None:
        """The answer of the last ingest of these sources that went to its end, if all files that
        it found, and no others, are as they were, and the store has all their runs."""
        last = self.manifest.wholes.get(self.key)
        places = self.sources.places
        if last is None or self.distrusted or self.packages or self.sources.select or self.damaged:
            return None
        if any(":" in place or not os.path.isdir(place) for place in places):
            return None
        recall = self.recall()
        names: list[tuple[str, str]] = []
        parts: dict[int, Part] = {}
        real_paths: set[str] = set()
        with SourceFiles() as door:
            try:
                for path, name, real in (f for place in places for f in door.below(Path(place))):
                    if real in real_paths:
                        continue
                    real_paths.add(real)
                    if recall.file(name, stamp_at(path), path, stamp_at) is None:
                        return None
                    names.append(name)
                    part = self.manifest.by_file[name]
                    parts[id(part)] = part
            except ScalefitError:
                return None
        runs = {run.key: run for part in parts.values() for run in part.runs}
        whole = sum(len(part.files) for part in parts.values()) == len(names)
        held = all(key in self.state.places and self.holds(run) for key, run in runs.items())
        if door.unreadable or not whole or not held or names_of(names) != last.names:
            return None
        try:
            answer = Ingest.unchanged_since(last.answer, self.store.location, len(runs))
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        if not all(key in self.state.places for key in answer.vanished):
            return None
        surer = tuple(filter(None, (part.surer(time.time()) for part in parts.values())))
        if surer:
            self.store.remember(surer)
        return answer

    def vanished(
        self, seen: Collection[str], unread: Collection[tuple[str, str]]
    ) -> tuple[str, ...]:
        """After a whole ingest, which has `seen` these runs and could not read these files: keys
        of stored runs that are no more where they were."""
        if self.sources.as_format is not None:  # which leaves other files out
            return ()
        parts = (self.manifest.by_file[name] for name in unread if name in self.manifest.by_file)
        left = {run.key for part in parts for run in part.runs}
        gone = self.manifest.vanished(self.roots, {*seen, *left})
        return tuple(key for key in gone if key in self.state.places)

    def settle(self, answer: Ingest, names: Collection[tuple[str, str]]) -> None:
        """After a whole ingest that found these files, keep its answer, and tidy up."""
        named = names_of(names)
        whole = Whole(named, self.packages, self.environment, answer.to_answer())
        if names and not _same(self.manifest.wholes.get(self.key), whole):
            self.store.remember((), {self.key: whole})
        if self.damaged or len(self.store.log.state().manifests) > MOST_MANIFESTS:
            self.store.tidy_remembered()


def _same(one: Whole | None, other: Whole) -> bool:
    """Whether two say the same, of which one has been JSON."""
    import json

    return one is not None and json.dumps(one) == json.dumps(other)


def _packages(manifest: Manifest, here: str) -> tuple[str, ...]:
    """What other packages add; to ask the registry takes longer than to remember."""
    for whole in manifest.wholes.values():
        if whole.environment == here:
            return whole.packages
    from scaling_cli.adapters.registry import registered

    return registered().versions
