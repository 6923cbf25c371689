"""Keep a store whole and quick: verify every file, merge small segments, clear away what no commit
names any more. All of it may run beside writers and readers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scaling_cli.errors import UnreachableError
from scaling_cli.manifest import Manifest
from scaling_cli.notes import Note
from scaling_cli.store import manifests, segments
from scaling_cli.store.digests import digest_of
from scaling_cli.store.files import GoneError
from scaling_cli.store.log import (
    BEGUN,
    CHECKPOINTS,
    FOLDER,
    HEAD,
    MANIFESTS,
    DamagedError,
    Entry,
    Place,
    State,
    stem,
)
from scaling_cli.store.saved import FITS
from scaling_cli.store.store import SEGMENT_RUNS

if TYPE_CHECKING:
    from scaling_cli.store.store import Store

DAY = 86_400.0
# A segment with fewer live runs is merged with others, unless its histories are as large as this.
FEW_RUNS = SEGMENT_RUNS // 2
LARGE_BYTES = 64 << 20
SEGMENT_FOLDERS = ("runs", "history")
FOLDERS = (*SEGMENT_FOLDERS, FITS, MANIFESTS)


@dataclass(frozen=True)
class Verified:
    """What a store holds, and each thing that is wrong with it. `unnamed` are files that no commit
    names: a writer was killed before its commit, or the commit is lost."""

    store: str
    commits: int
    segments: int
    runs: int
    points: int
    fits: int
    problems: tuple[Note, ...]
    unnamed: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        names = ("store", "commits", "segments", "runs", "points", "fits")
        return (
            {"ok": not self.problems}
            | {name: getattr(self, name) for name in names}
            | {"unnamed": list(self.unnamed)}
            | {"problems": [problem.to_json() for problem in self.problems]}
        )


@dataclass(frozen=True)
class Compacted:
    """What a compaction did: segments before and after, files cleared away and their bytes."""

    store: str
    segments_before: int
    segments_after: int
    files_removed: int
    bytes_removed: int

    def to_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


def verify(store: Store) -> Verified:
    """Read the whole log and every file that it names, against its digests, those of its commits
    and the checksums of its pages."""
    check = _Check(store)
    state = check.log()
    points = check.segments(state)
    fits = check.fits(state)
    check.manifests(state)
    return Verified(
        store=store.location,
        commits=len(store.log.numbers()),
        segments=len({place.runs for place in state.places.values()}),
        runs=len(state.places),
        points=points,
        fits=fits,
        problems=tuple(check.problems),
        unnamed=tuple(_unnamed(store, state)),
    )


def _unnamed(store: Store, state: State) -> Iterator[str]:
    """Files of segments and fits that the log neither names nor has named."""
    named = state.live.keys() | state.retired.keys() | state.removed
    for folder in SEGMENT_FOLDERS:
        for name in store.files.names(folder):
            if stem(name) not in named:
                yield f"{folder}/{name}"
    for name in store.files.names(MANIFESTS):
        if f"{MANIFESTS}/{name}" not in state.manifests and stem(name) not in named:
            yield f"{MANIFESTS}/{name}"
    fits = {line["file"] for lines in state.fits.values() for line in lines}
    for name in store.files.names(FITS) if state.adopted else ():
        if f"{FITS}/{name}" not in fits and stem(name) not in named:
            yield f"{FITS}/{name}"


class _Check:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.problems: list[Note] = []

    def problem(self, code: str, message: str) -> None:
        note = Note.of(code, message, "severe")
        if note not in self.problems:  # as two heads may say it
            self.problems.append(note)

    def log(self) -> State:
        """The log folded without the help of checkpoints, which have to say the same."""
        log = self.store.log
        self._reachable(CHECKPOINTS)
        heads = {  # before the entries: a head never goes beyond them
            folder: log.heads(folder) for folder in (FOLDER, CHECKPOINTS)
        }
        checkpoints = log.checkpoints()
        state = State()
        folded: dict[int, State] = {}
        digests: dict[int, str] = {}
        for number, content in self._entries():
            if number != state.number + 1:
                self.problem("commit_missing", f"{FOLDER} lacks commit {state.number + 1}")
                state.number, state.digest = number - 1, None
            digests[number] = digest_of(content)
            try:
                log.append(state, number, content)
            except DamagedError as error:
                self.problem("commit_damaged", error.what)
                state.number, state.digest = number, digests[number]
            if number in checkpoints:
                folded[number] = state.copied()
        self._beginning(state.number or max(heads[FOLDER], default=0))
        for folder, named in heads.items():
            for number, digest in named.items():
                self._head(folder, number, digest, digests, state.number)
        for number in checkpoints:
            self._checkpoint(number, folded.get(number))
        return state

    def _reachable(self, folder: str) -> None:
        try:
            self.store.files.names(folder)
        except UnreachableError as error:
            self.problem("checkpoint_damaged", error.what)

    def _beginning(self, last: int) -> None:
        if not self.store.log.has_begun():
            return  # an older version, or the first writer died before it
        if not last:
            self.problem("commit_missing", f"{FOLDER} has no commit")
        try:
            if not self.store.log.beginning_holds():
                self.problem("commit_damaged", f"{BEGUN} does not hold what was written")
        except UnreachableError as error:
            self.problem("commit_damaged", error.what)

    def _entries(self) -> Iterator[tuple[int, bytes]]:
        for number in self.store.log.numbers():
            try:
                yield number, self.store.log.contents([number])[0]
            except UnreachableError as error:
                self.problem("commit_damaged", error.what)

    def _head(
        self, folder: str, number: int, digest: str, digests: dict[int, str], last: int
    ) -> None:
        name = f"{folder}/{number:012}.{digest}{HEAD}"
        if number > last:
            message = f"{FOLDER} ends at commit {last}, and a head says that there are {number}"
            self.problem("commit_missing", message)
        elif digests.get(number) != digest:
            self.problem("commit_damaged", f"commit {number} is not the one that its head names")
        try:
            if self.store.files.read([name])[0] != f"{digest}\n".encode():
                self.problem("commit_damaged", f"{name} does not hold what its name says")
        except GoneError:
            return  # a later head took its place

    def _checkpoint(self, number: int, folded: State | None) -> None:
        made = State()
        try:
            entry = self.store.log.checkpoint(number)
            made.add(number, entry)
        except GoneError:
            return  # removed by a writer
        except UnreachableError as error:
            self.problem("checkpoint_damaged", error.what)
            return
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            self.problem("checkpoint_damaged", f"checkpoint {number} lacks {error}")
            return
        if folded is None:
            return
        said = ("places", "digests", "forgotten", "fits", "fit_names")
        if any(getattr(made, name) != getattr(folded, name) for name in said):
            self.problem("checkpoint_differs", f"checkpoint {number} is not what its log says")

    def segments(self, state: State) -> int:
        """Check every segment; counts the points of the runs that are current."""
        by_file: dict[str, dict[str, Place]] = {}
        for key, place in state.places.items():
            by_file.setdefault(place.runs, {})[key] = place
        points = 0
        for name, places in by_file.items():
            try:
                with_history = self._runs(name, places, state)
                history = next(iter(places.values())).history
                if history is not None:
                    points += self._history(history, with_history, state)
                elif with_history:
                    self.problem("history_missing", f"{name}: no histories of {len(with_history)}")
            except UnreachableError as error:
                self.problem("segment_damaged", error.what)
        return points

    def _runs(self, name: str, places: dict[str, Place], state: State) -> set[str]:
        with self.store.reading(name, state) as file:
            table = pq.read_table(file, page_checksum_verification=True)
            rows = segments.conformed_runs(table).select(["run_key", "revision", "has_history"])
        found = {row["run_key"]: row for row in rows.to_pylist()}
        lost = [k for k, p in places.items() if found.get(k, {}).get("revision") != p.revision]
        if lost:
            self.problem("runs_missing", f"{name} lacks {len(lost)} runs, {lost[0]} among them")
        return {key for key in places if key in found and found[key]["has_history"]}

    def _history(self, name: str, expected: set[str], state: State) -> int:
        points, seen = 0, set[str]()
        with self.store.reading(name, state) as file:
            for table in segments.row_groups(file, verified=True):
                for key, metric, series in segments.each_series(table):
                    seen.add(key)
                    if not np.all(series.steps[1:] > series.steps[:-1]):
                        message = f"{name}: the steps of {metric} of {key} do not rise"
                        self.problem("series_damaged", message)
                    points += len(series.values) if key in expected else 0
        if expected - seen:
            lost = sorted(expected - seen)
            message = f"{name} lacks {len(lost)} histories, that of {lost[0]} among them"
            self.problem("history_missing", message)
        return points

    def manifests(self, state: State) -> None:
        """Check what is remembered of the files that were read."""
        for name in state.manifests:
            try:
                manifests.read_into(self.store, name, state, Manifest())
            except UnreachableError as error:
                self.problem("manifest_damaged", error.what)

    def fits(self, state: State) -> int:
        """Check every fit that the log names, or that lies beside a log of an older format."""
        fits = self.store.fits
        if state.adopted:
            listed = fits.of(state)
        else:
            try:
                listed = fits.listed()
            except DamagedError as error:
                self.problem("fit_damaged", error.what)
                return len(self.store.files.names(FITS, ".json"))
        for fit in listed:
            try:
                fits.load([fit])
            except UnreachableError as error:
                self.problem("fit_damaged", error.what)
        return len(listed)


def compact(store: Store, older_than: float = DAY) -> Compacted:
    """Merge small segments, and remove files that no commit has named for `older_than` seconds.

    Safe beside writers: a merge takes over only the runs whose revision is still the one that it
    read, and the log says which leftovers are removed before they are, so that a writer who meant
    to commit one writes it again. The age spares readers and writers that trouble, no more.
    """
    store.fits.adopt()
    state = store.log.state()
    before = len(state.live)
    for batch in _batches(store, state):
        try:
            _merge(store, state, batch)
        except GoneError:  # another process merges the same segments, and has cleared them away
            if store.log.after(state).number == state.number:
                raise
    _digest(store)
    state = store.log.state()
    files_removed, bytes_removed = _clear(store, state, older_than)
    return Compacted(store.location, before, len(state.live), files_removed, bytes_removed)


def _batches(store: Store, state: State) -> Iterator[list[str]]:
    """Keys of runs in small segments, by run_key, in portions that make a segment each."""
    sizes = store.files.sizes("history")
    size_of = {stem(name): size for name, size in sizes.items()}
    small = {
        segment: size_of.get(segment, 0) / live
        for segment, live in state.live.items()
        if live < FEW_RUNS and size_of.get(segment, 0) < LARGE_BYTES
    }
    if len(small) < 2:
        return
    batch: list[str] = []
    size = 0.0
    for key, place in sorted(state.places.items()):
        run_size = small.get(stem(place.runs))
        if run_size is None:
            continue
        if batch and (len(batch) == SEGMENT_RUNS or size + run_size > LARGE_BYTES):
            yield batch
            batch, size = [], 0.0
        batch.append(key)
        size += run_size
    yield batch


def _merge(store: Store, state: State, keys: Sequence[str]) -> None:
    places = {key: state.places[key] for key in keys}
    runs, histories = [], []
    by_file: dict[str, list[str]] = {}
    for key, place in places.items():
        by_file.setdefault(place.runs, []).append(key)
    for name, chosen in by_file.items():
        wanted = [("run_key", "in", chosen)]
        with store.reading(name, state) as file:
            runs.append(segments.conformed_runs(pq.read_table(file, filters=wanted)))
        history = places[chosen[0]].history
        if history is not None:
            with store.reading(history, state) as file:
                table = pq.read_table(file, filters=wanted)
                histories.append(segments.conformed_history(table))
    written: list[str] = []
    try:
        entry = store.write_segment(
            pa.concat_tables(runs).sort_by("run_key"),
            _sorted(pa.concat_tables(histories)) if histories else None,
            {key: place.revision for key, place in places.items()},
            written,
        )
        if store.log.commit(state, lambda state: _still(state, entry, places, written)):
            written.clear()
    finally:
        for name in written:
            store.files.remove(name)


def _sorted(histories: pa.Table) -> pa.Table:
    order = pc.sort_indices(
        histories.select(["run_key", "metric"]),
        sort_keys=[("run_key", "ascending"), ("metric", "ascending")],
    )
    return histories.take(order)


def _still(
    state: State, entry: Entry, places: dict[str, Place], written: list[str]
) -> Entry | None:
    """The entry without the runs that another commit has replaced since they were read."""
    same = {key: place.revision for key, place in places.items() if state.places.get(key) == place}
    if not same or any(stem(name) in state.removed for name in written):
        return None
    return {"segments": [entry | {"revisions": same}]}


def _digest(store: Store) -> None:
    """Let the log say the digests of segments that an older format had none of."""
    state = store.log.state()
    files = {name for place in state.places.values() for name in (place.runs, place.history)}
    without = sorted(name for name in files if name is not None and name not in state.digests)
    found = {}
    for name in without:
        with store.reading(name, state) as file, segments.fingerprinted(file) as (digest, _):
            found[name] = digest

    def entry(state: State) -> Entry | None:
        live = {name: found[name] for name in found if stem(name) in state.live}
        return {"segments": [], "digests": live} if live else None

    store.log.commit(state, entry)


def _clear(store: Store, state: State, older_than: float) -> tuple[int, int]:
    """Remove the files of segments and fits that nothing needs. Gives how many, and their bytes."""
    committed = store.files.ages(FOLDER)
    ages: dict[str, float] = {}
    unfinished = []
    for folder in FOLDERS:
        for name, age in store.files.ages(folder).items():
            if name.startswith("."):
                unfinished += [f"{folder}/{name}"] if age >= older_than else []
            else:
                ages[stem(name)] = min(age, ages.get(stem(name), age))
    for segment, number in state.retired.items():
        if segment in ages:  # a reader may have begun just before it was replaced
            ages[segment] = min(ages[segment], committed.get(f"{number:012}.json", 0.0))
    old = {segment for segment, age in ages.items() if age >= older_than}

    def entry(state: State) -> Entry | None:
        old.difference_update(state.live, state.fit_stems(), map(stem, state.manifests))
        return {"segments": [], "removed": sorted(old)} if old - state.removed else None

    store.log.commit(state, entry)
    count = size = 0
    for folder in FOLDERS:
        for name, bytes_ in store.files.sizes(folder).items():
            if stem(name) in old:
                store.files.remove(f"{folder}/{name}")
                count, size = count + 1, size + bytes_
    for name in unfinished:
        store.files.remove(name)
    return count + len(unfinished), size
