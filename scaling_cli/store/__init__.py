"""The store: runs, histories and fits in one folder, as Parquet segments under a commit log.

    _log/<n>.json            one commit: its segments, and the revision of each run in them
    _checkpoints/<n>.json    the commits up to n as one
    runs/<uuid>.parquet      a row a run
    history/<uuid>.parquet   a row a run and metric: its steps and values as bytes
    fits/<fit_id>.json       a fit's document

Segments never change. A commit makes its segments visible at once; in the folded log the last
revision of a run counts, so a run is replaced as a whole and an interrupted put leaves no trace.
"""

from __future__ import annotations

import json
import re
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from scaling_cli.errors import InputError, UnreachableError
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.spelling import near
from scaling_cli.store.files import Files, GoneError, files_at
from scaling_cli.store.log import FOLDER, FORMAT, DamagedError, Entry, Log, State, stem

if TYPE_CHECKING:
    import pyarrow as pa

    from scaling_cli.records import Run, Series, Status
    from scaling_cli.resolve import Final
    from scaling_cli.store.upkeep import Compacted, Verified

T = TypeVar("T")

SEGMENT_RUNS = 512  # many small files are what makes a store slow to scan
SEGMENT_POINTS = 1 << 22  # a segment is built in memory: 64 MB, and as much again to write it
_FIT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class PutSummary:
    """How many runs a put added, replaced and found as they were."""

    new: int
    replaced: int
    unchanged: int


@dataclass(frozen=True)
class RunRecord:
    """A stored run without its history. `final` holds the canonical values at its final point, as
    computed when it was ingested under `mapping`; `steps` in it is the last step reached."""

    run_key: str
    run_id: str
    name: str
    source: str
    group: str
    status: Status
    tags: tuple[str, ...]
    created_at: str
    revision: str
    final: dict[str, float]
    has_history: bool
    config_json: str
    summary_json: str
    mapped_json: str
    notes_json: str
    mapping_json: str
    cursor: str = ""

    @cached_property
    def config(self) -> dict[str, Any]:
        return _decoded(self.config_json)

    @cached_property
    def summary(self) -> dict[str, float]:
        """Every logged metric at the final point."""
        return _decoded(self.summary_json)

    @cached_property
    def mapped(self) -> dict[str, str]:
        """Canonical column -> where it was read from."""
        return _decoded(self.mapped_json)

    @cached_property
    def notes(self) -> tuple[Note, ...]:
        if self.notes_json == "[]":  # of nearly every run
            return ()
        return tuple(Note.from_json(note) for note in json.loads(self.notes_json))

    @property
    def mapping(self) -> Mapping:
        return _mapping(self.mapping_json)

    def to_run(self, series: dict[str, Series]) -> Run:
        from scaling_cli.records import Run

        return Run(
            run_key=self.run_key,
            run_id=self.run_id,
            source=self.source,
            name=self.name,
            group=self.group,
            status=self.status,
            config=self.config,
            series=series,
            tags=self.tags,
            created_at=self.created_at,
            cursor=self.cursor,
        )


def _decoded(text: str) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(text)
    return decoded


@lru_cache(maxsize=64)
def _mapping(text: str) -> Mapping:
    return Mapping.from_json(json.loads(text))


def open_store(location: str | Path, create: bool = False) -> Store:
    """The store in a folder or at a URL. With `create` it need not be there: the first put makes
    it."""
    store = Store(files_at(location))
    if not create and not store.files.exists(FOLDER):
        raise UnreachableError(
            f"There is no store at {store.location}",
            "Make one with `scalefit ingest SOURCE`, or name another by --store.",
        )
    return store


class Store:
    """Runs, histories and fits. Several processes may read and put at the same time."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.log = Log(files)

    @property
    def location(self) -> str:
        return self.files.location

    # Runs

    def put(
        self, runs: Sequence[Run], finals: Sequence[Final], mapping: Mapping | None = None
    ) -> PutSummary:
        """Store runs, each with its final point as read by `mapping`, in one commit.

        A run that is stored already is replaced whole, or left alone if nothing in it changed.
        """
        from scaling_cli.store import segments

        mapping_json = json.dumps((mapping or Mapping()).to_json(), sort_keys=True)
        state = self.log.state()
        known = state.places
        changed: dict[str, tuple[Run, Final, str]] = {}
        unchanged = 0
        for run, final in zip(runs, finals, strict=True):
            revision = segments.revision(run, final, mapping_json)
            if run.run_key in known and known[run.run_key].revision == revision:
                unchanged += 1
            else:
                changed[run.run_key] = (run, final, revision)
        if changed:
            rows = sorted(changed.values(), key=lambda row: row[0].run_key)
            self._commit(state, lambda written: self._write_rows(rows, mapping_json, written))
        replaced = sum(key in known for key in changed)
        return PutSummary(len(changed) - replaced, replaced, unchanged)

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
        entry = {"runs": f"runs/{name}.parquet", "history": None, "revisions": revisions}
        if history is not None:
            entry["history"] = f"history/{name}.parquet"
            written.append(f"history/{name}.parquet")
            self.files.write(f"history/{name}.parquet", partial(segments.write_history, history))
        written.append(f"runs/{name}.parquet")
        self.files.write(f"runs/{name}.parquet", partial(segments.write_runs, runs))
        return entry

    def _commit(self, state: State, write: Callable[[list[str]], Iterable[Entry]]) -> None:
        """Commit the segments that `write` writes, written again if they were cleared away as
        leftovers of a writer that had died."""
        written: list[str] = []
        try:
            found = list(write(written))

            def entry(state: State) -> Entry:
                nonlocal found
                if any(stem(name) in state.removed for name in written):
                    written.clear()
                    found = list(write(written))
                return {"segments": found}

            self.log.commit(state, entry)
        except BaseException:
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
                with self.reading(name) as file:
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
                with self.reading(name) as file:
                    segments.read_history(file, chosen, names, found)
            return found

        return self.read(found_in)

    @contextmanager
    def reading(self, name: str) -> Iterator[Any]:
        """A segment to read; what cannot be read is said with the name of its file."""
        try:
            with self.files.open(name) as file:
                yield file
        except UnreachableError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:  # pyarrow's are among these
            raise DamagedError(self.files.path(name), error) from error

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
        self, path: str | Path, shape: str = "long", records: Sequence[RunRecord] | None = None
    ) -> int:
        """Write one table, `long`, `wide` or `runs`; see `scaling_cli.store.export.export`."""
        from scaling_cli.store.export import export

        return export(self, path, shape, records)

    # Fits

    def contents(self) -> str:
        """A hash of which runs there are, each in which revision."""
        import hashlib

        places = self.log.state().places
        runs = sorted((key, place.revision) for key, place in places.items())
        return hashlib.sha256(json.dumps(runs).encode()).hexdigest()[:16]

    def save_fits(self, documents: Sequence[dict[str, Any]]) -> None:
        """Keep fits' documents, each under its `fit_id`, as one set, with the `contents` of the
        store; those of the same ids are replaced."""
        for document in documents:
            fit_id = str(document.get("fit_id", ""))
            if not _FIT_ID.fullmatch(fit_id):
                raise InputError(
                    f"{fit_id!r} is not a fit id", "Use letters, digits and . _ - in a fit id."
                )
        number = 1 + max((entry["number"] for entry in self._fits()), default=0)
        head = {"format": FORMAT, "number": number, "contents": self.contents()}
        for place, document in enumerate(documents):
            self._save_fit(head | {"place": place, "fit": document})

    def _save_fit(self, entry: dict[str, Any]) -> None:
        content = json.dumps(entry).encode()
        self.files.write(f"fits/{entry['fit']['fit_id']}.json", lambda file: file.write(content))

    def _fits(self) -> list[dict[str, Any]]:
        """Of each fit its document, the number of its set, its place in that, and the contents."""
        names = [f"fits/{name}" for name in self.files.names("fits", ".json")]
        return [self._saved_fit(*item) for item in zip(names, self.files.read(names), strict=True)]

    def _saved_fit(self, name: str, content: bytes) -> dict[str, Any]:
        try:
            entry = {"place": 0, "contents": None, **json.loads(content)}
            return {key: entry[key] for key in ("number", "place", "contents", "fit")}
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedError(self.files.path(name), error) from error

    def fits(self) -> list[dict[str, Any]]:
        """Fit documents, the set that was saved last first; `set` numbers each one's, `contents` is
        that of the store when it was saved."""
        found = sorted(
            self._fits(), key=lambda e: (-e["number"], e["place"], str(e["fit"]["fit_id"]))
        )
        return [e["fit"] | {"set": e["number"], "contents": e["contents"]} for e in found]

    def load_fit(self, fit_id: str) -> dict[str, Any]:
        known = [name.removesuffix(".json") for name in self.files.names("fits", ".json")]
        if fit_id not in known:
            raise InputError(
                f"There is no fit {fit_id!r} in the store at {self.location}",
                near(fit_id, known, "Near ids") or "Fit a law first: `scalefit fit`.",
            )
        name = f"fits/{fit_id}.json"
        document: dict[str, Any] = self._saved_fit(name, self.files.read([name])[0])["fit"]
        return document
