"""The store's door: put runs, read them back, save fits; several processes at the same time."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from scaling_cli.errors import UnreachableError
from scaling_cli.mapping import Mapping
from scaling_cli.store.digests import fingerprint
from scaling_cli.store.files import Files, GoneError, files_at
from scaling_cli.store.log import FOLDER, DamagedError, Entry, Log, State, stem
from scaling_cli.store.records import PutSummary, RunRecord
from scaling_cli.store.saved import SavedFits

if TYPE_CHECKING:
    import pyarrow as pa

    from scaling_cli.manifest import Manifest, Part, Whole
    from scaling_cli.records import Run, Series
    from scaling_cli.resolve import Final
    from scaling_cli.store.upkeep import Compacted, Verified

T = TypeVar("T")

MOST_MANIFESTS = 8  # documents of what was read that are read one by one before they become one
SEGMENT_RUNS = 512  # many small files are what makes a store slow to scan
SEGMENT_POINTS = 1 << 22  # a segment is built in memory: 64 MB, and as much again to write it


def open_store(location: str | Path, create: bool = False) -> Store:
    """The store in a folder or at a URL. With `create` it need not be there: the first put makes
    it."""
    store = Store(files_at(location))
    if not create and not store.files.exists(FOLDER) and not store.log.has_begun():
        raise UnreachableError(
            f"There is no store at {store.location}",
            "Make one with `scalefit ingest SOURCE`, or name another by `store=`.",
        )
    return store


class Store:
    """Runs, histories and fits. Several processes may read and put at the same time."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.log = Log(files)
        self.fits = SavedFits(self)
        self._folded: State | None = None  # as of the last put

    @property
    def location(self) -> str:
        return self.files.location

    # Runs

    def put(
        self,
        runs: Sequence[Run],
        finals: Sequence[Final],
        mapping: Mapping | None = None,
        again: bool = False,
        parts: Sequence[Part] = (),
    ) -> PutSummary:
        """Store runs, each with its final point as read by `mapping`, in one commit.

        A run that is stored already is replaced whole, or left alone if nothing in it changed. One
        that was forgotten is left out, unless it is to be put `again`. `parts` are the files that
        the runs came from, to be remembered.
        """
        from scaling_cli.store import manifests, segments

        mapping_json = json.dumps((mapping or Mapping()).to_json(), sort_keys=True)
        # An ingest puts often, and to fold the log anew takes longer the more runs there are
        state = self.log.state() if self._folded is None else self.log.after(self._folded)
        self._folded = state
        known = state.places
        left_out: Collection[str] = () if again else state.forgotten
        changed: dict[str, tuple[Run, Final, str]] = {}
        revisions: dict[str, str] = {}
        unchanged = 0
        for run, final in zip(runs, finals, strict=True):
            if run.run_key in left_out:
                continue
            revision = revisions[run.run_key] = segments.revision(run, final, mapping_json)
            if run.run_key in known and known[run.run_key].revision == revision:
                unchanged += 1
            else:
                changed[run.run_key] = (run, final, revision)
        if changed or parts:
            rows = sorted(changed.values(), key=lambda row: row[0].run_key)

            def revision_of(key: str) -> str:
                return revisions.get(key) or (known[key].revision if key in known else "")

            def write(written: list[str]) -> tuple[list[Entry], list[Entry]]:
                told = manifests.written_parts(self, parts, revision_of, written)
                return list(self._write_rows(rows, mapping_json, written)), told

            def entry(found: tuple[list[Entry], list[Entry]], state: State) -> Entry:
                made = found[0] if again else _unforgotten(found[0], state)
                return {"segments": made} | ({"manifests": found[1]} if found[1] else {})

            self.commit(state, write, entry)
        replaced = sum(key in known for key in changed)
        forgotten = tuple(run.run_key for run in runs if run.run_key in left_out)
        return PutSummary(len(changed) - replaced, replaced, unchanged, forgotten)

    def forget(self, run_keys: Iterable[str]) -> int:
        """Take runs out of the store, and leave them out of later puts. Gives how many there were.

        A compaction removes the files of segments with no other run.
        """
        keys = set(run_keys)
        count = 0

        def entry(state: State) -> Entry | None:
            nonlocal count
            found = sorted(keys & state.places.keys())
            count = len(found)
            return {"segments": [], "forgotten": found} if found else None

        self.log.commit(self.log.state(), entry)
        return count

    def _write_rows(
        self, rows: list[tuple[Run, Final, str]], mapping_json: str, written: list[str]
    ) -> Iterator[Entry]:
        from scaling_cli.store import segments

        for batch in segments.batches(rows, SEGMENT_RUNS, SEGMENT_POINTS):
            has_history = any(run.series for run, _, _ in batch)
            yield self.write_segment(
                segments.runs_table(batch, mapping_json),
                segments.history_table([run for run, _, _ in batch]) if has_history else None,
                {run.run_key: revision for run, _, revision in batch},
                written,
            )

    def write_segment(
        self,
        runs: pa.Table,
        history: pa.Table | None,
        revisions: dict[str, str],
        written: list[str],
    ) -> Entry:
        """Write the two files of a segment and give what a commit says of it. The names are added
        to `written`, so that whoever does not commit can remove the files."""
        from scaling_cli.store import segments

        name = uuid.uuid4().hex
        digests: dict[str, str] = {}
        entry = {"runs": f"runs/{name}.parquet", "history": None, "revisions": revisions}
        if history is not None:
            entry["history"] = f"history/{name}.parquet"
            content = segments.history_content(history)
            digests[f"history/{name}.parquet"] = self._write(
                f"history/{name}.parquet", content, written
            )
        content = segments.runs_content(runs)
        digests[f"runs/{name}.parquet"] = self._write(f"runs/{name}.parquet", content, written)
        return entry | {"digests": digests}

    def _write(self, name: str, content: pa.Buffer, written: list[str]) -> str:
        written.append(name)
        self.files.write(name, lambda file: file.write(content))
        return fingerprint([content])

    def commit(
        self,
        state: State,
        write: Callable[[list[str]], T],
        entry: Callable[[T, State], Entry],
    ) -> None:
        """Commit as `entry` the files that `write` writes, written again if they were cleared away
        as leftovers of a writer that had died."""
        written: list[str] = []
        self.log.may_stand = False
        try:
            found = write(written)

            def made(state: State) -> Entry:
                nonlocal found
                if any(stem(name) in state.removed for name in written):
                    written.clear()
                    found = write(written)
                return entry(found, state)

            self.log.commit(state, made)
        except BaseException:
            if not self.log.may_stand:
                for name in written:
                    self.files.remove(name)
            raise

    def runs(self) -> list[RunRecord]:
        """Every stored run in the order of its run_key."""
        from scaling_cli.store import segments

        names = [field.name for field in fields(RunRecord)]  # the first is run_key

        def found_in(state: State) -> list[RunRecord]:
            files = defaultdict[str, set[str]](set)
            for key, place in state.places.items():
                files[place.runs].add(key)
            records: list[RunRecord] = []
            for name, keys in files.items():
                with self.reading(name, state) as file:
                    columns = segments.read_runs(file)
                rows = zip(*(columns[name] for name in names), strict=True)
                records += [RunRecord(*row) for row in rows if row[0] in keys]
            return sorted(records, key=lambda record: record.run_key)

        return self.read(found_in)

    def read(self, read: Callable[[State], T]) -> T:
        """What `read` reads of the store; begun again where a compaction cleared away meanwhile
        what it was at."""
        state = self.log.state()
        while True:
            try:
                return read(state)
            except GoneError:
                later = self.log.after(state)
                if later.number == state.number:
                    raise
                state = later

    def series(
        self, run_keys: Iterable[str] | None = None, metrics: Iterable[str] | None = None
    ) -> dict[str, dict[str, Series]]:
        """Histories by run_key and metric: of all runs and metrics, or of those named."""
        from scaling_cli.store import segments

        keys = None if run_keys is None else set(run_keys)
        names = None if metrics is None else sorted(set(metrics))

        def found_in(state: State) -> dict[str, dict[str, Series]]:
            wanted = state.places.keys() if keys is None else state.places.keys() & keys
            found: dict[str, dict[str, Series]] = {key: {} for key in sorted(wanted)}
            files = defaultdict[str, set[str]](set)
            for key in found:
                history = state.places[key].history
                if history is not None:
                    files[history].add(key)
            for name, chosen in files.items():
                with self.reading(name, state) as file:
                    segments.read_history(file, chosen, names, found)
            return found

        return self.read(found_in)

    @contextmanager
    def reading(self, name: str, state: State) -> Iterator[Any]:
        """A segment to read, which is what its commit says was written: else, or where it cannot be
        read, DamagedError names its file."""
        from scaling_cli.store import segments

        path, expected = self.files.path(name), state.digests.get(name)
        try:
            with self.files.open(name) as file:
                if expected is None:
                    segments.check_pages(file)  # all that a commit of an older format lets us do
                    yield file
                else:
                    with segments.fingerprinted(file) as (found, readable):
                        if found != expected:
                            raise DamagedError(path, "its content is not what its commit says")
                        yield readable
        except UnreachableError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:  # pyarrow's are among these
            raise DamagedError(path, error) from error

    # What was read

    def remembered(self, state: State) -> tuple[Manifest, list[str]]:
        """What is remembered of the files that were read, and the documents that are damaged."""
        from scaling_cli.store import manifests

        return manifests.load(self, state)

    def remember(self, parts: Sequence[Part], wholes: dict[str, Whole] | None = None) -> None:
        """Keep what is known of files, and what ingests found and answered that came to their
        end."""
        from scaling_cli.store import manifests

        manifests.keep(self, parts, wholes or {})

    def tidy_remembered(self) -> None:
        """Make one document of many; see `scaling_cli.store.manifests.tidy`."""
        from scaling_cli.store import manifests

        manifests.tidy(self)

    # Upkeep

    def verify(self) -> Verified:
        """Read everything; see `scaling_cli.store.upkeep.verify`."""
        from scaling_cli.store.upkeep import verify

        return verify(self)

    def compact(self, older_than: float) -> Compacted:
        """Merge small segments and clear away what is `older_than` seconds out of use."""
        from scaling_cli.store.upkeep import compact

        return compact(self, older_than)

    def export(
        self,
        path: str | Path,
        shape: str = "long",
        records: Sequence[RunRecord] | None = None,
        metrics: Iterable[str] | None = None,
        steps: tuple[int | None, int | None] = (None, None),
    ) -> int:
        """Write one table, `long`, `wide` or `runs`; see `scaling_cli.store.export.export`."""
        from scaling_cli.store.export import Cut, export

        names = None if metrics is None else frozenset(metrics)
        return export(self, path, shape, records, Cut(names, *steps))

    def scan(
        self,
        records: Sequence[RunRecord] | None = None,
        metrics: Iterable[str] | None = None,
        steps: tuple[int | None, int | None] = (None, None),
    ) -> Iterator[Any]:
        """The logged values as Arrow tables, one after the other: of all runs or `records`, of all
        `metrics` or those named, of all `steps` or those from the first to the last. Memory holds
        one table and what it was read from, however many there are."""
        from scaling_cli.store.export import Cut, scan

        names = None if metrics is None else frozenset(metrics)
        return scan(self, records, Cut(names, *steps))

    def contents(self) -> str:
        """A hash of which runs there are, each in which revision."""
        return self.log.state().contents()


def _unforgotten(segments: list[Entry], state: State) -> list[Entry]:
    """The segments without the runs that another process has forgotten meanwhile."""
    if not state.forgotten:
        return segments
    return [
        segment
        | {
            "revisions": {
                key: revision
                for key, revision in segment["revisions"].items()
                if key not in state.forgotten
            }
        }
        for segment in segments
    ]
