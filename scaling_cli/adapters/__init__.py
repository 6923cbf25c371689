"""Sources to runs. An adapter is a module or object with `name`, `recognises` and `read`.

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
from typing import Protocol, cast

import numpy as np

from scaling_cli.adapters.building import read_head
from scaling_cli.adapters.later import Unread, tensorboard, wandb_offline
from scaling_cli.errors import InputError, UnreachableError
from scaling_cli.mapping import Mapping, near
from scaling_cli.notes import Note, gather
from scaling_cli.records import Run

ENTRY_POINTS = "scalefit.adapters"
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:")


class Adapter(Protocol):
    """`recognises` judges by the name and the first bytes; `read` yields every run of a file,
    with `source` as what to call the file in runs and messages."""

    @property
    def name(self) -> str: ...

    def recognises(self, path: Path, head: bytes) -> bool: ...

    def read(self, path: Path, source: str, mapping: Mapping) -> Iterator[Run]: ...


@dataclass(frozen=True)
class Ingested:
    """What the sources hold: runs by run_key, and what was found amiss."""

    runs: tuple[Run, ...]
    notes: tuple[Note, ...]


@cache
def adapters() -> dict[str, Adapter]:
    """Every adapter by name, those that are surest of their files first."""
    from importlib.metadata import entry_points

    found: list[Adapter] = [tensorboard, wandb_offline]
    found += [cast(Adapter, point.load()) for point in entry_points(group=ENTRY_POINTS)]
    found += [cast(Adapter, import_module(f"{__name__}.{module}")) for module in ("jsonl", "table")]
    return {adapter.name: adapter for adapter in found}


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
    unread: dict[str, int] = {}
    notes: list[Note] = []
    read: list[tuple[Path, str, list[Run]]] = []
    seen: set[str] = set()
    named = [str(path) for path in paths]
    for path, source, walked in _files(named):
        real = os.path.realpath(path)
        if real in seen:
            continue
        seen.add(real)
        head = read_head(path)
        if not head:
            if not walked:
                raise InputError(f"{source} is empty", "Give a file that holds runs.")
            notes.append(Note("empty_file", "warning", f"{source} is empty and passed over"))
            continue
        adapter = _recognised(path, head, forced, walked)
        if adapter is None:
            if not walked:
                raise InputError(
                    f"{source} is in no format that is known",
                    "Give CSV, TSV or JSON lines, or say which by --as csv or --as jsonl.",
                )
            continue
        if isinstance(adapter, Unread):
            unread[adapter.title] = unread.get(adapter.title, 0) + 1
            continue
        read.append((path, source, list(adapter.read(path, source, mapping))))
    for title, count in unread.items():
        message = f"{count} {title} passed over: this format is not read yet"
        notes.append(Note("format_not_yet_read", "info", message))
    found = _unique(_join_run_tables(read, notes))
    if not found:
        told = "".join(f"; {note.message}" for note in notes)
        raise InputError(
            f"{', '.join(named) or 'no source'}: there are no runs to read{told}",
            "Give CSV or JSON lines files, or a folder of them.",
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
    readable = {n: a for n, a in adapters().items() if not isinstance(a, Unread)}
    if name not in readable:
        known = f"There are {', '.join(readable)}."
        raise InputError(f"--as {name}: no such format", near(name, readable) or known)
    return readable[name]


def _recognised(path: Path, head: bytes, forced: Adapter | None, walked: bool) -> Adapter | None:
    if forced is not None and (not walked or forced.recognises(path, head)):
        return forced
    known = adapters().values() if forced is None else ()
    return next((adapter for adapter in known if adapter.recognises(path, head)), None)


def _files(sources: Sequence[str]) -> Iterator[tuple[Path, str, bool]]:
    """(path, what to call it, whether it was found by walking) in sorted order."""
    for source in sources:
        path = Path(source)
        if path.is_dir():
            for found in _walk(path, set()):
                yield found, found.as_posix(), True
        elif path.exists():
            yield path, path.as_posix(), False
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
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UnreachableError(f"{folder} cannot be read: {error.strerror}") from error
    for entry in entries:
        if entry.name.startswith("."):
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
