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
from scaling_cli.notes import Note
from scaling_cli.store import SEGMENT_RUNS, segments
from scaling_cli.store.files import GoneError
from scaling_cli.store.log import FOLDER, DamagedError, Entry, Place, State, stem

if TYPE_CHECKING:
    from scaling_cli.store import Store

DAY = 86_400.0
# A segment with fewer live runs is merged with others, unless its histories are as large as this.
FEW_RUNS = SEGMENT_RUNS // 2
LARGE_BYTES = 64 << 20
SEGMENT_FOLDERS = ("runs", "history")


@dataclass(frozen=True)
class Verified:
    """What a store holds, and each thing that is wrong with it."""

    store: str
    commits: int
    segments: int
    runs: int
    points: int
    fits: int
    problems: tuple[Note, ...]

    def to_json(self) -> dict[str, Any]:
        names = ("store", "commits", "segments", "runs", "points", "fits")
        return (
            {"ok": not self.problems}
            | {name: getattr(self, name) for name in names}
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
    """Read the whole log and every page of every segment that it names, against its checksums."""
    check = _Check(store)
    state = check.log()
    points = check.segments(state)
    fits = check.fits()
    return Verified(
        store=store.location,
        commits=len(store.log.numbers()),
        segments=len({place.runs for place in state.places.values()}),
        runs=len(state.places),
        points=points,
        fits=fits,
        problems=tuple(check.problems),
    )


class _Check:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.problems: list[Note] = []

    def problem(self, code: str, message: str) -> None:
        self.problems.append(Note(code, "severe", message))

    def log(self) -> State:
        """The log folded without the help of checkpoints, which have to say the same."""
        log = self.store.log
        state = State()
        folded: dict[int, dict[str, Place]] = {}
        checkpoints = log.checkpoints()
        for number in log.numbers():
            if number != state.number + 1:
                self.problem("commit_missing", f"{FOLDER} lacks commit {state.number + 1}")
            try:
                state.add(number, log.entries([number])[0])
            except DamagedError as error:
                self.problem("commit_damaged", error.what)
                state.number = number
            except (KeyError, TypeError, AttributeError) as error:
                self.problem("commit_damaged", f"commit {number} lacks {error}")
                state.number = number
            if number in checkpoints:
                folded[number] = dict(state.places)
        for number in checkpoints:
            made = State()
            try:
                made.add(number, log.checkpoint(number))
            except DamagedError as error:
                self.problem("checkpoint_damaged", error.what)
                continue
            if number in folded and made.places != folded[number]:
                self.problem("checkpoint_differs", f"checkpoint {number} is not what its log says")
        return state

    def segments(self, state: State) -> int:
        """Check every segment; counts the points of the runs that are current."""
        by_file: dict[str, dict[str, Place]] = {}
        for key, place in state.places.items():
            by_file.setdefault(place.runs, {})[key] = place
        points = 0
        for name, places in by_file.items():
            try:
                with_history = self._runs(name, places)
                history = next(iter(places.values())).history
                if history is not None:
                    points += self._history(history, with_history)
                elif with_history:
                    self.problem("history_missing", f"{name}: no histories of {len(with_history)}")
            except UnreachableError as error:
                self.problem("segment_damaged", error.what)
        return points

    def _runs(self, name: str, places: dict[str, Place]) -> set[str]:
        with self.store.reading(name) as file:
            table = pq.read_table(file, page_checksum_verification=True)
            rows = segments.conformed_runs(table).select(["run_key", "revision", "has_history"])
        found = {row["run_key"]: row for row in rows.to_pylist()}
        lost = [k for k, p in places.items() if found.get(k, {}).get("revision") != p.revision]
        if lost:
            self.problem("runs_missing", f"{name} lacks {len(lost)} runs, {lost[0]} among them")
        return {key for key in places if key in found and found[key]["has_history"]}

    def _history(self, name: str, expected: set[str]) -> int:
        points, seen = 0, set[str]()
        with self.store.reading(name) as file:
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

    def fits(self) -> int:
        names = self.store.files.names("fits", ".json")
        for name in names:
            try:
                self.store.load_fit(name.removesuffix(".json"))
            except UnreachableError as error:
                self.problem("fit_damaged", error.what)
        return len(names)


def compact(store: Store, older_than: float = DAY) -> Compacted:
    """Merge small segments, and remove files that no commit has named for `older_than` seconds.

    Safe beside writers: a merge takes over only the runs whose revision is still the one that it
    read, and the log says which leftovers are removed before they are, so that a writer who meant
    to commit one writes it again. The age spares readers and writers that trouble, no more.
    """
    state = store.log.state()
    before = len(state.live)
    for batch in _batches(store, state):
        try:
            _merge(store, state, batch)
        except GoneError:  # another process merges the same segments, and has cleared them away
            if store.log.after(state).number == state.number:
                raise
    state = store.log.after(state)
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
        with store.reading(name) as file:
            runs.append(segments.conformed_runs(pq.read_table(file, filters=wanted)))
        history = places[chosen[0]].history
        if history is not None:
            with store.reading(history) as file:
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


def _clear(store: Store, state: State, older_than: float) -> tuple[int, int]:
    """Remove the files of segments that no run needs. Gives how many, and their bytes."""
    committed = store.files.ages(FOLDER)
    ages: dict[str, float] = {}
    unfinished = []
    for folder in SEGMENT_FOLDERS:
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
        old.difference_update(state.live)
        return {"segments": [], "removed": sorted(old)} if old - state.removed else None

    store.log.commit(state, entry)
    count = size = 0
    for folder in SEGMENT_FOLDERS:
        for name, bytes_ in store.files.sizes(folder).items():
            if stem(name) in old:
                store.files.remove(f"{folder}/{name}")
                count, size = count + 1, size + bytes_
    for name in unfinished:
        store.files.remove(name)
    return count + len(unfinished), size
