"""The store: runs, histories and fits in one folder, as Parquet segments under a commit log.

    _log/<n>.json            one commit: its segments, and the revision of each run in them
    runs/<uuid>.parquet      a row a run
    history/<uuid>.parquet   a row a run and metric: step list, value list
    fits/<fit_id>.json       a fit's document

Segments never change. A commit makes its segments visible at once; in the folded log the last
revision of a run counts, so a run is replaced as a whole and an interrupted put leaves no trace.
"""

from __future__ import annotations

import difflib
import json
import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling_cli.errors import InputError, UnreachableError
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.store.files import Files

if TYPE_CHECKING:
    from scaling_cli.records import Run, Series, Status
    from scaling_cli.resolve import Final

FORMAT = 1
SEGMENT_RUNS = 512  # many small files are what makes a store slow to scan
SEGMENT_POINTS = 1 << 24  # list offsets are 32 bits, and a segment is built in memory
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
        return tuple(Note(**note) for note in json.loads(self.notes_json))

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


@dataclass(frozen=True)
class _Place:
    """Where the log says that a run's current revision is."""

    revision: str
    runs: str
    history: str | None


def open_store(location: str | Path, create: bool = False) -> Store:
    """The store in a folder. With `create` it need not be there: the first put makes it."""
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", str(location)):
        raise UnreachableError(f"{location}: a store is a local folder so far", "Give a path.")
    store = Store(Files(Path(location)))
    if store.files.root.exists() and not store.files.root.is_dir():
        raise UnreachableError(f"{location} is a file, not a store", "Give a folder by --store.")
    if not create and not store.files.exists("_log"):
        raise UnreachableError(
            f"There is no store at {location}",
            "Make one with `scalefit ingest SOURCE`, or name another by --store.",
        )
    return store


class Store:
    """Runs, histories and fits. Several processes may read and put at the same time."""

    def __init__(self, files: Files) -> None:
        self.files = files

    @property
    def location(self) -> str:
        return str(self.files.root)

    # Runs

    def put(
        self, runs: Sequence[Run], finals: Sequence[Final], mapping: Mapping | None = None
    ) -> PutSummary:
        """Store runs, each with its final point as read by `mapping`, in one commit.

        A run that is stored already is replaced whole, or left alone if nothing in it changed.
        """
        from scaling_cli.store import segments

        mapping_json = json.dumps((mapping or Mapping()).to_json(), sort_keys=True)
        known = self._places()
        changed: dict[str, tuple[Run, Final, str]] = {}
        unchanged = 0
        for run, final in zip(runs, finals, strict=True):
            revision = segments.revision(run, final, mapping_json)
            if run.run_key in known and known[run.run_key].revision == revision:
                unchanged += 1
            else:
                changed[run.run_key] = (run, final, revision)
        if changed:
            written: list[str] = []
            try:
                entry = self._write_segments(list(changed.values()), mapping_json, written)
                self._commit({"format": FORMAT, "segments": entry})
            except BaseException:
                for name in written:
                    self.files.remove(name)
                raise
        replaced = sum(key in known for key in changed)
        return PutSummary(len(changed) - replaced, replaced, unchanged)

    def _write_segments(
        self, rows: list[tuple[Run, Final, str]], mapping_json: str, written: list[str]
    ) -> list[dict[str, Any]]:
        from scaling_cli.store import segments

        entry = []
        rows.sort(key=lambda row: row[0].run_key)
        for batch in segments.batches(rows, SEGMENT_RUNS, SEGMENT_POINTS):
            name = uuid.uuid4().hex
            history = None
            if any(run.series for run, _, _ in batch):
                history = f"history/{name}.parquet"
                written.append(history)
                table = segments.history_table([run for run, _, _ in batch])
                self.files.write(history, partial(segments.write, table))
            runs = f"runs/{name}.parquet"
            written.append(runs)
            table = segments.runs_table(batch, mapping_json)
            self.files.write(runs, partial(segments.write, table))
            revisions = {run.run_key: revision for run, _, revision in batch}
            entry.append({"runs": runs, "history": history, "revisions": revisions})
        return entry

    def _commit(self, entry: dict[str, Any]) -> None:
        self.files.append_json("_log", entry)

    def _places(self) -> dict[str, _Place]:
        """The log folded: where the current revision of each run is, by run_key."""
        places: dict[str, _Place] = {}
        for name in self.files.names("_log", ".json"):
            entry = self.files.read_json(f"_log/{name}")
            if not isinstance(entry, dict) or not isinstance(entry.get("format"), int):
                raise UnreachableError(
                    f"{self.files.path('_log')}/{name} is no commit of a store",
                    "Name a scalefit store by --store.",
                )
            if entry["format"] > FORMAT:
                raise UnreachableError(
                    f"The store at {self.location} has format {entry['format']}, newer than"
                    f" {FORMAT}, the newest that this version reads",
                    "Update scalefit.",
                )
            with self._reading(f"_log/{name}"):
                for segment in entry["segments"]:
                    for key, revision in segment["revisions"].items():
                        places[key] = _Place(revision, segment["runs"], segment["history"])
        return places

    def runs(self) -> list[RunRecord]:
        """Every stored run in the order of its run_key."""
        from scaling_cli.store import segments

        files: dict[str, set[str]] = {}
        for key, place in self._places().items():
            files.setdefault(place.runs, set()).add(key)
        records: list[RunRecord] = []
        for name, keys in files.items():
            with self._reading(name):
                rows = segments.read_runs(self.files.path(name))
            records += [RunRecord(**row) for row in rows if row["run_key"] in keys]
        return sorted(records, key=lambda record: record.run_key)

    def series(
        self, run_keys: Iterable[str] | None = None, metrics: Iterable[str] | None = None
    ) -> dict[str, dict[str, Series]]:
        """Histories by run_key and metric: of all runs and metrics, or of those named."""
        from scaling_cli.store import segments

        places = self._places()
        wanted = set(places) if run_keys is None else set(run_keys)
        files: dict[str, set[str]] = {}
        found: dict[str, dict[str, Series]] = {key: {} for key in sorted(wanted & set(places))}
        for key in found:
            history = places[key].history
            if history is not None:
                files.setdefault(history, set()).add(key)
        names = None if metrics is None else sorted(set(metrics))
        for name, keys in files.items():
            with self._reading(name):
                segments.read_history(self.files.path(name), keys, names, found)
        return found

    def _reading(self, name: str) -> _Reading:
        return _Reading(self.files.path(name))

    # Fits

    def save_fit(self, document: dict[str, Any]) -> None:
        """Keep a fit's document under its `fit_id`; one of the same id is replaced."""
        fit_id = str(document.get("fit_id", ""))
        if not _FIT_ID.fullmatch(fit_id):
            raise InputError(
                f"{fit_id!r} is not a fit id", "Use letters, digits and . _ - in a fit id."
            )
        numbers = [number for number, _ in self._fits()]
        entry = {"format": FORMAT, "number": max(numbers, default=0) + 1, "fit": document}
        self.files.write_json(f"fits/{fit_id}.json", entry)

    def _fits(self) -> list[tuple[int, dict[str, Any]]]:
        found = []
        for name in self.files.names("fits", ".json"):
            with self._reading(f"fits/{name}"):
                entry = self.files.read_json(f"fits/{name}")
                found.append((entry["number"], entry["fit"]))
        return found

    def fits(self) -> list[dict[str, Any]]:
        """Fit documents, the one saved last first."""
        ordered = sorted(self._fits(), key=lambda fit: (-fit[0], str(fit[1]["fit_id"])))
        return [document for _, document in ordered]

    def load_fit(self, fit_id: str) -> dict[str, Any]:
        known = [name.removesuffix(".json") for name in self.files.names("fits", ".json")]
        if fit_id not in known:
            close = difflib.get_close_matches(fit_id, known, 3)
            raise InputError(
                f"There is no fit {fit_id!r} in the store at {self.location}",
                f"Near ids: {', '.join(close)}." if close else "Fit a law first: `scalefit fit`.",
            )
        document: dict[str, Any] = self.files.read_json(f"fits/{fit_id}.json")["fit"]
        return document


class _Reading:
    """Says of a segment that cannot be read which file it is."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(
            error, (OSError, ValueError, KeyError, TypeError)
        ):  # pyarrow's errors are among these
            raise UnreachableError(
                f"{self.path} cannot be read: {error}",
                "Restore it from a copy, or ingest the runs into a new store.",
            ) from error
