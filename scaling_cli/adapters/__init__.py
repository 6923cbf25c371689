"""Sources to runs. An adapter is a module or object with `name`, `recognises` and `read`, or with
`read_together` where a run may lie in several files, or with `claims` and `fetch` where the source
is a service.

Third parties add theirs under the entry point group "scalefit.adapters".
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path, PurePath
from typing import Protocol, cast, runtime_checkable

import numpy as np

from scaling_cli.adapters.files import Files, Found
from scaling_cli.adapters.service import Request, Service, Unchanged
from scaling_cli.errors import InputError
from scaling_cli.mapping import Mapping, near
from scaling_cli.notes import Note, gather
from scaling_cli.progress import Progress
from scaling_cli.records import Run
from scaling_cli.remote import without_secrets
from scaling_cli.selection import Selection

ENTRY_POINTS = "scalefit.adapters"


class _Named(Protocol):
    """`recognises` judges by the name and the first bytes."""

    @property
    def name(self) -> str: ...

    def recognises(self, path: Path, head: bytes) -> bool: ...


class FileAdapter(_Named, Protocol):
    """`read` yields every run of a file, with `source` as what to call the file in runs and
    messages."""

    def read(self, path: Path, source: str, mapping: Mapping) -> Iterator[Run]: ...


@runtime_checkable
class FolderAdapter(_Named, Protocol):
    """`read_together` is given all its files at once, for runs that lie in several. It yields runs,
    whose source is a path, and notes on what holds none."""

    def read_together(self, files: Sequence[Found], mapping: Mapping) -> Iterator[Run | Note]: ...


Adapter = FileAdapter | FolderAdapter
Cursors = dict[str, str]  # run_key -> what its service said of its state


@dataclass(frozen=True)
class Ingested:
    """What the sources hold: runs by run_key, and what was found amiss; `unchanged` counts runs
    that the store has already and that were not read."""

    runs: tuple[Run, ...]
    notes: tuple[Note, ...] = ()
    unchanged: int = 0


@cache
def adapters() -> dict[str, Adapter]:
    """Every adapter of files by name, those that are surest of their files first."""
    found = [
        _own(module)
        for module in (
            "tensorboard",
            "wandb_offline",
            "trainer_state",
            "mlflow",
            "trackio",
            "parquet",
        )
    ]
    found += [cast(Adapter, item) for item in _from_others() if not isinstance(item, Service)]
    found += [_own(module) for module in ("jsonl", "console", "delimited")]
    return {adapter.name: adapter for adapter in found}


@cache
def services() -> tuple[Service, ...]:
    """Every adapter of a service."""
    own = ("wandb_online", "mlflow_server")
    found = [cast(Service, import_module(f"{__name__}.{module}")) for module in own]
    return (*found, *(item for item in _from_others() if isinstance(item, Service)))


def _own(module: str) -> Adapter:
    return cast(Adapter, import_module(f"{__name__}.{module}"))


def _from_others() -> list[object]:
    from importlib.metadata import entry_points

    return [point.load() for point in entry_points(group=ENTRY_POINTS)]


def stream(
    sources: Sequence[str],
    as_format: str | None = None,
    mapping: Mapping | None = None,
    group: str | None = None,
    select: Selection | None = None,
    known: Cursors | None = None,
    progress: Progress | None = None,
    meta: str | None = None,
) -> Iterator[Ingested]:
    """What the sources hold, piece by piece as it is read: files together, as they may describe one
    another, and each run of a service as it arrives. `known` are the cursors of the stored runs."""
    progress = progress or Progress()
    asked = Request(
        mapping or Mapping(), select or Selection(), known or {}, expect=progress.expect
    )
    claimed = {source: service for source in sources if (service := _service(source)) is not None}
    files = [source for source in sources if source not in claimed]
    if files or not claimed:
        if asked.select:
            raise InputError(
                f"{', '.join(map(without_secrets, files))}: files cannot be filtered as they are"
                " read",
                "Filter what is in the store instead: scalefit runs --where.",
            )
        found = read_sources(files, as_format, mapping, group, meta)
        progress.arrived(len(found.runs), sum(map(_rows, found.runs)))
        yield found
    noted: list[tuple[str, Note]] = []
    for source, service in claimed.items():
        for item in service.fetch(source, asked):
            if isinstance(item, Note):
                noted.append(("", item))
            elif isinstance(item, Unchanged):
                progress.arrived(1, 0)
                yield Ingested((), unchanged=1)
            else:
                noted += [(item.run_id, note) for note in item.notes]
                progress.arrived(1, _rows(item))
                yield Ingested((item if group is None else replace(item, group=group),))
    if noted:
        yield Ingested((), gather(noted))


def _service(source: str) -> Service | None:
    return next((service for service in services() if service.claims(source)), None)


def _rows(run: Run) -> int:
    return max((len(series.steps) for series in run.series.values()), default=0)


def read_sources(
    paths: Iterable[str | Path],
    as_format: str | None = None,
    mapping: Mapping | None = None,
    group: str | None = None,
    meta: str | None = None,
) -> Ingested:
    """The runs of files and folders. A folder is walked; what no adapter knows in it is passed
    over, but a file that was named has to be readable. `meta` is a table with a row for each run,
    by id or by name, that holds their settings."""
    mapping = mapping or Mapping()
    forced = _adapter(as_format) if as_format else None
    notes: list[Note] = []
    named = [str(path) for path in paths]
    with Files() as door:
        files = _by_adapter(door.find(named), forced, notes)
        door.fetch(file for found_files in files.values() for file in found_files)
        read, lost = _read(files, mapping)
    notes += gather(("", note) for note in lost)
    joined = _join_run_tables(read, notes)
    if meta is not None:
        joined = _join_meta(joined, meta, mapping, notes)
    found = _unique(joined)
    if not found:
        told = "".join(f"; {note.message}" for note in notes)
        raise InputError(
            f"{', '.join(map(without_secrets, named)) or 'no source'}: there are no runs to"
            f" read{told}",
            "Give files of run logs, or a folder of them.",
        )
    if group is not None:
        found = [replace(run, group=group) for run in found]
    found.sort(key=lambda run: run.run_key)
    # A note on a whole file hangs on its first run, and names the file itself.
    notes += gather(
        ("" if note.message.startswith(run.source) else run.run_id, note)
        for run in found
        for note in run.notes
    )
    return Ingested(tuple(found), tuple(notes))


def _by_adapter(
    found: Iterable[tuple[Found, bytes]], forced: Adapter | None, notes: list[Note]
) -> dict[str, list[Found]]:
    """The files that adapters know, each once, by the adapter's name."""
    files: dict[str, list[Found]] = {}
    seen: set[str] = set()
    for file, head in found:
        real = os.path.realpath(file.path)
        if real in seen:
            continue
        seen.add(real)
        adapter = _recognised(file, head, forced)
        if not head and not (file.walked and isinstance(adapter, FolderAdapter)):
            if not file.walked:
                raise InputError(f"{file.source} is empty", "Give a file that holds runs.")
            message = f"{file.source} is empty and passed over"
            notes.append(Note("empty_file", "warning", message))
        elif adapter is not None:
            files.setdefault(adapter.name, []).append(file)
        elif not file.walked:
            raise InputError(
                f"{file.source} is in no format that is known",
                f"There are {', '.join(adapters())}; say which by --as csv, for example.",
            )
    return files


def _read(
    files: dict[str, list[Found]], mapping: Mapping
) -> tuple[list[tuple[PurePath, str, list[Run]]], list[Note]]:
    """What the files hold: where and what it is called, and the runs; and notes on files that hold
    none."""
    read: list[tuple[PurePath, str, list[Run]]] = []
    lost: list[Note] = []
    for name, found_files in files.items():
        adapter = adapters()[name]
        if isinstance(adapter, FolderAdapter):
            together: dict[str, list[Run]] = {}
            for item in adapter.read_together(found_files, mapping):
                if isinstance(item, Note):
                    lost.append(item)
                else:
                    together.setdefault(item.source, []).append(item)
            read += [(PurePath(source), source, runs) for source, runs in together.items()]
        else:
            for file in found_files:
                try:
                    runs = list(adapter.read(file.path, file.source, mapping))
                except InputError as error:
                    if not file.walked:
                        raise
                    # One bad file of a folder does not keep the others out.
                    lost.append(Note("unreadable", "warning", f"{error.what} (left out)"))
                else:
                    read.append((PurePath(file.source), file.source, runs))
    return read, lost


def _adapter(name: str) -> Adapter:
    if name not in adapters():
        known = f"There are {', '.join(adapters())}."
        raise InputError(f"--as {name}: no such format", near(name, adapters()) or known)
    return adapters()[name]


def _recognised(file: Found, head: bytes, forced: Adapter | None) -> Adapter | None:
    if forced is not None and (not file.walked or forced.recognises(file.path, head)):
        return forced
    known = adapters().values() if forced is None else ()
    return next((adapter for adapter in known if adapter.recognises(file.path, head)), None)


def _join_run_tables(
    read: Sequence[tuple[PurePath, str, list[Run]]], notes: list[Note]
) -> list[tuple[str, Run]]:
    """A table with one row a run, in the folder of these runs' histories or above it, is their
    config and holds no runs of its own."""
    below: dict[PurePath, set[str]] = {}
    for path, _, runs in read:
        ids = {run.run_id for run in runs if run.series}
        for folder in path.parents:
            below.setdefault(folder, set()).update(ids)
    rows: dict[tuple[PurePath, str], Run] = {}
    tables = set()
    for path, source, runs in read:
        described = below[path.parent]
        keys = [run.run_id if run.run_id in described else run.name for run in runs]
        if any(run.series for run in runs) or not described.intersection(keys):
            continue
        tables.add(path)
        for key, run in zip(keys, runs, strict=True):
            if key in described:
                rows[path.parent, key] = run
            else:
                message = f"{source} describes run {run.run_id}, which has no history beside it"
                notes.append(Note("run_without_history", "warning", message))
    joined = []
    for path, source, runs in read:
        if path not in tables:
            for run in runs:
                found = (rows.get((folder, run.run_id)) for folder in path.parents)
                joined.append((source, _described(run, next(filter(None, found), None))))
    return joined


def _join_meta(
    joined: Sequence[tuple[str, Run]], meta: str, mapping: Mapping, notes: list[Note]
) -> list[tuple[str, Run]]:
    table = read_sources([meta], mapping=mapping).runs
    rows: dict[str, Run] = {}
    for row in table:
        for key in {row.run_id, row.name}:
            if rows.setdefault(key, row) is not row:
                raise InputError(
                    f"{row.source}: two rows are named {key!r}",
                    "Names tell runs apart only if they differ: rename one, or keep its row alone.",
                )
    found = [(source, run, rows.get(run.run_id) or rows.get(run.name)) for source, run in joined]
    lacking = [run.run_id for _, run, row in found if row is None]
    if lacking:
        message = f"{meta} describes no run {', '.join(lacking[:5])}" + ", ..." * (len(lacking) > 5)
        notes.append(Note("run_not_described", "warning", message))
    return [(source, _described(run, row)) for source, run, row in found]


def _described(run: Run, row: Run | None) -> Run:
    if row is None:
        return run
    return replace(
        run,
        config=row.config | run.config,
        name=row.name if run.name == run.run_id else run.name,
        group=run.group or row.group,
        status=row.status if run.status == "finished" else run.status,
        tags=run.tags or row.tags,
        created_at=run.created_at or row.created_at,
        notes=(*run.notes, *row.notes),
    )


def _unique(found: Iterable[tuple[str, Run]]) -> list[Run]:
    kept: dict[str, tuple[str, Run]] = {}
    for source, run in found:
        other_source, other = kept.setdefault(run.run_key, (source, run))
        if other is not run and not _same(run, other):
            raise InputError(
                f"{source} and {other_source} both hold a run {run.run_id!r}, and they differ",
                "Give the runs different ids, or ingest only one of the files.",
            )
    return [run for _, run in kept.values()]


def _same(a: Run, b: Run) -> bool:
    return (
        repr(a.config) == repr(b.config)
        and a.series.keys() == b.series.keys()
        and all(
            np.array_equal(s.steps, b.series[n].steps)
            and np.array_equal(s.values, b.series[n].values, equal_nan=True)
            for n, s in a.series.items()
        )
    )
