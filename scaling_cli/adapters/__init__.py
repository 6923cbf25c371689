"""Sources to runs. An adapter is a module or object with `name`, `recognises` and `read`, or with
`read_together` where a run may lie in several files.

Third parties add theirs under the entry point group "scalefit.adapters".
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

import numpy as np

from scaling_cli.adapters.building import Found, read_head
from scaling_cli.errors import InputError, UnreachableError
from scaling_cli.mapping import Mapping, near
from scaling_cli.notes import Note, gather
from scaling_cli.records import Run

ENTRY_POINTS = "scalefit.adapters"
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:")


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


@dataclass(frozen=True)
class Ingested:
    """What the sources hold: runs by run_key, and what was found amiss."""

    runs: tuple[Run, ...]
    notes: tuple[Note, ...]


@cache
def adapters() -> dict[str, Adapter]:
    """Every adapter by name, those that are surest of their files first."""
    from importlib.metadata import entry_points

    found = [
        _own(module) for module in ("tensorboard", "wandb_offline", "trainer_state", "trackio")
    ]
    found += [cast(Adapter, point.load()) for point in entry_points(group=ENTRY_POINTS)]
    found += [_own(module) for module in ("jsonl", "table")]
    return {adapter.name: adapter for adapter in found}


def _own(module: str) -> Adapter:
    return cast(Adapter, import_module(f"{__name__}.{module}"))


def read_sources(
    paths: Iterable[str | Path],
    as_format: str | None = None,
    mapping: Mapping | None = None,
    group: str | None = None,
) -> Ingested:
    """The runs of files and folders. A folder is walked; what no adapter knows in it is passed
    over, but a file that was named has to be readable."""
    mapping = mapping or Mapping()
    forced = _adapter(as_format) if as_format else None
    notes: list[Note] = []
    files: dict[str, list[Found]] = {}
    seen: set[str] = set()
    named = [str(path) for path in paths]
    for file in _files(named):
        real = os.path.realpath(file.path)
        if real in seen:
            continue
        seen.add(real)
        head = read_head(file.path)
        if not head:
            if not file.walked:
                raise InputError(f"{file.source} is empty", "Give a file that holds runs.")
            message = f"{file.source} is empty and passed over"
            notes.append(Note("empty_file", "warning", message))
            continue
        adapter = _recognised(file, head, forced)
        if adapter is not None:
            files.setdefault(adapter.name, []).append(file)
        elif not file.walked:
            raise InputError(
                f"{file.source} is in no format that is known",
                f"There are {', '.join(adapters())}; say which by --as csv, for example.",
            )
    read: list[tuple[Path, str, list[Run]]] = []
    lost: list[Note] = []  # on files that hold no runs
    for name, found_files in files.items():
        adapter = adapters()[name]
        if isinstance(adapter, FolderAdapter):
            for item in adapter.read_together(found_files, mapping):
                if isinstance(item, Note):
                    lost.append(item)
                else:
                    read.append((Path(item.source), item.source, [item]))
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
                    read.append((file.path, file.source, runs))
    notes += gather(("", note) for note in lost)
    found = _unique(_join_run_tables(read, notes))
    if not found:
        told = "".join(f"; {note.message}" for note in notes)
        raise InputError(
            f"{', '.join(named) or 'no source'}: there are no runs to read{told}",
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


def _files(sources: Sequence[str]) -> Iterator[Found]:
    """Every file that is named or lies in a folder that is, in sorted order."""
    for source in sources:
        path = Path(source)
        if path.is_dir():
            for found in _walk(path, set()):
                yield Found(found, found.as_posix(), path)
        elif path.exists():
            yield Found(path, path.as_posix(), path)
        elif _URL.match(source) and not os.path.splitdrive(source)[0]:
            raise InputError(
                f"{source} cannot be read yet", "Export the runs to CSV or JSON lines files."
            )
        else:
            raise InputError(f"{source} does not exist", "Give the path of a file or folder.")


def _walk(folder: Path, visited: set[str]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in visited:
        return
    visited.add(real)
    try:
        # Links last: W&B's `latest-run` names a folder that stands beside it.
        entries = sorted(os.scandir(folder), key=lambda entry: (entry.is_symlink(), entry.name))
    except OSError as error:
        raise UnreachableError(f"{folder} cannot be read: {error.strerror}") from error
    passed_over = {"debug.log", "debug-internal.log"}  # the W&B client's own, in JSON lines
    if any(entry.name.endswith(".wandb") for entry in entries):
        passed_over |= {"files", "logs", "tmp"}
    for entry in entries:
        if entry.name.startswith(".") or entry.name in passed_over:
            continue
        if entry.is_dir():
            yield from _walk(Path(entry.path), visited)
        elif entry.is_file():
            yield Path(entry.path)


def _join_run_tables(
    read: Sequence[tuple[Path, str, list[Run]]], notes: list[Note]
) -> list[tuple[str, Run]]:
    """A table with one row a run, in the folder of these runs' histories or above it, is their
    config and holds no runs of its own."""
    below: dict[Path, set[str]] = {}
    for path, _, runs in read:
        ids = {run.run_id for run in runs if run.series}
        for folder in path.parents:
            below.setdefault(folder, set()).update(ids)
    rows: dict[tuple[Path, str], Run] = {}
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
