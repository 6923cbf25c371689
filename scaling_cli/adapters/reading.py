"""Sources into runs, part by part."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from scaling_cli.adapters.files import Found, SourceFiles, read_head
from scaling_cli.adapters.joining import (
    Passed,
    _digest,
    _join_meta,
    _join_run_tables,
    _unique,
    tells_of_training,
)
from scaling_cli.adapters.registry import (
    Adapter,
    FileAdapter,
    FolderAdapter,
    _adapter,
    _recognised,
    _service,
    adapters,
    said_of,
)
from scaling_cli.adapters.service import Request, Unchanged
from scaling_cli.adapters.unknown import hint, not_known
from scaling_cli.errors import InputError, UnreachableError
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note, gather
from scaling_cli.progress import Progress
from scaling_cli.quantities import counted
from scaling_cli.records import Run
from scaling_cli.remote import without_secrets
from scaling_cli.selection import Selection
from scaling_cli.steps import on_own_step

# Bytes of files that are read before their runs are handed on: 1 to 2 s of CSV or event files.
PIECE_BYTES = 1 << 25


_PROBE_BYTES = 1 << 14  # what tells a history from a table: some 100 rows, in 1 to 2 ms


_LOOKED_AT = 1 << 12  # bytes of a file that no adapter knows
_TABLES = ("csv:", "jsonl:", "parquet:")  # what may hold anything


Part = dict[str, list[Found]]  # files by the name of their adapter


Cursors = dict[str, str]  # run_key -> what its service said of its state


@dataclass(frozen=True)
class Ingested:
    """What the sources hold: runs by run_key, and what was found amiss; `unchanged` counts runs
    that the store has already and that were not read."""

    runs: tuple[Run, ...]
    notes: tuple[Note, ...] = ()
    unchanged: int = 0


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
    """What the sources hold, piece by piece as it is read: some files at a time, and each run of a
    service as it arrives. `known` are the cursors of the stored runs."""
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
                "Filter what is in the store instead: `scalefit runs` takes `where=`.",
            )
        for piece in _read_pieces(files, as_format, asked.mapping, group, meta):
            progress.arrived(len(piece.runs), sum(map(_rows, piece.runs)))
            yield piece
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
                run = on_own_step(item, mapped_step(asked.mapping))
                yield Ingested((run if group is None else replace(run, group=group),))
    if noted:
        yield Ingested((), gather(noted))


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
    pieces = list(_read_pieces(paths, as_format, mapping or Mapping(), group, meta))
    runs = sorted((run for piece in pieces for run in piece.runs), key=lambda run: run.run_key)
    return Ingested(tuple(runs), tuple(note for piece in pieces for note in piece.notes))


def _read_pieces(
    paths: Iterable[str | Path],
    as_format: str | None,
    mapping: Mapping,
    group: str | None,
    meta: str | None,
) -> Iterator[Ingested]:
    """The runs, some files at a time, and the notes on all of them at the end."""
    forced = _adapter(as_format) if as_format else None
    notes: list[Note] = []
    lost: list[Note] = []
    joining: list[Note] = []
    noted: list[tuple[str, str, Note]] = []  # with the run's key, for their order
    undescribed: list[str] = []
    passed: Passed = {}
    data: dict[str, None] = {}  # files in folders that hold tables and no runs
    walked: set[str] = set()
    named = [str(path) for path in paths]
    rows = None if meta is None else _meta_rows(meta, mapping)
    with SourceFiles() as door:
        files = _by_adapter(door.find(named), forced, mapping, notes)
        if door.stores:
            notes.append(_own_stores(door.stores))
        lost += [Note.of("unreadable", f"{what} (left out)") for what in door.unreadable]
        walked |= {f.source for found_files in files.values() for f in found_files if f.walked}
        door.fetch(file for found_files in files.values() for file in found_files)
        for piece in _pieces(_parts(files, mapping)):
            for key, (source, run) in passed.items():
                if isinstance(run, Run):  # of the piece before, whose points can go
                    passed[key] = source, _digest(run)
            read = []
            for part in piece:
                in_part, lost_in_part = _read(part, mapping)
                read += in_part
                lost += lost_in_part
            joined = _join_run_tables(read, joining)
            joined = _without_data(joined, walked, mapping, data)
            if rows is not None:
                joined = _join_meta(joined, rows, undescribed)
            found = sorted(_unique(joined, passed), key=lambda run: run.run_key)
            found = found if group is None else [replace(run, group=group) for run in found]
            # A note on a whole file hangs on its first run, and names the file itself.
            noted += [
                (run.run_key, "" if note.message.startswith(run.source) else run.run_id, note)
                for run in found
                for note in run.notes
            ]
            yield Ingested(tuple(found))
    notes += (*gather(("", note) for note in lost), *joining)
    if data:
        notes.append(_passed_as_data(list(data)))
    if not passed:
        told = "".join(f"; {note.message}" for note in notes)
        raise InputError(
            f"{', '.join(map(without_secrets, named)) or 'no source'}: there are no runs to"
            f" read{told}",
            "Give files of run logs, or a folder of them.",
        )
    if undescribed:
        more = ", ..." * (len(undescribed) > 5)
        message = f"{meta} describes no run {', '.join(sorted(undescribed)[:5])}{more}"
        notes.append(Note.of("run_not_described", message))
    noted.sort(key=lambda item: item[0])
    yield Ingested((), (*notes, *gather((run_id, note) for _, run_id, note in noted)))


def _pieces(parts: Iterable[Part]) -> Iterator[list[Part]]:
    """Parts as many at a time as make PIECE_BYTES."""
    piece: list[Part] = []
    size = 0
    for part in parts:
        piece.append(part)
        size += _size(part)
        if size >= PIECE_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def _size(files: Part) -> int:
    paths = (file.path for found in files.values() for file in found)
    return sum(path.stat().st_size for path in paths if path.exists())


def _parts(files: Part, mapping: Mapping) -> list[Part]:
    """The files in parts that say nothing of one another: the last holds all that lie in or below
    a folder with what may be a table of their settings. Few files are one part."""
    if _size(files) <= PIECE_BYTES:
        return [files]
    apart: list[tuple[str, list[Found]]] = []
    described: set[PurePath] = set()
    with tempfile.TemporaryDirectory(prefix="scalefit-") as folder:
        for name, found in files.items():
            adapter = adapters()[name]
            if not isinstance(adapter, FolderAdapter):
                apart += [(name, [file]) for file in found]
                tables = [file for file in found if _may_be_table(adapter, file, mapping, folder)]
            elif hasattr(adapter, "apart"):
                apart += [(name, part) for part in adapter.apart(found)]
                tables = []
            else:
                apart.append((name, found))
                tables = found
            described.update(PurePath(file.source).parent for file in tables)
    together: Part = {}
    alone: list[Part] = []
    for name, part in apart:
        if any(not described.isdisjoint(PurePath(file.source).parents) for file in part):
            together.setdefault(name, []).extend(part)
        else:
            alone.append({name: part})
    return [*alone, together] if together else alone


def _may_be_table(adapter: FileAdapter, file: Found, mapping: Mapping, folder: str) -> bool:
    """Whether the first bytes of a file show runs of one row only, or cannot be told."""
    head = read_head(file.path, file.source)[:_PROBE_BYTES]
    whole = len(head) < _PROBE_BYTES
    if getattr(adapter, "only_histories", False):
        return False
    if b"\0" in head:
        return True
    copy = Path(folder, file.path.name)
    copy.write_bytes(head if whole else head[: head.rfind(b"\n") + 1])
    try:
        return not any(run.series for run in adapter.read(copy, file.source, mapping))
    except Exception as error:  # others' adapters may say it otherwise that a file is cut off
        # What is broken as a whole describes no run.
        return not isinstance(error, InputError) or not whole
    finally:
        copy.unlink()


def _by_adapter(
    found: Iterable[tuple[Found, bytes]],
    forced: Adapter | None,
    mapping: Mapping,
    notes: list[Note],
) -> dict[str, list[Found]]:
    """The files that adapters know, each once, by the adapter's name."""
    files: dict[str, list[Found]] = {}
    seen: set[str] = set()
    unknown: list[tuple[Found, bytes]] = []
    for file, head in found:
        real = os.path.realpath(file.path)
        if real in seen:
            continue
        seen.add(real)
        adapter = _recognised(file, head, forced, mapping, notes)
        if not head and not (file.walked and isinstance(adapter, FolderAdapter)):
            if not file.walked:
                raise InputError(f"{file.source} is empty", "Give a file that holds runs.")
            message = f"{file.source} is empty and passed over"
            notes.append(Note.of("empty_file", message))
        elif adapter is not None:
            files.setdefault(adapter.name, []).append(file)
        elif not file.walked:
            known = f"There are {', '.join(adapters())}; say which by `as_format=csv`, for example."
            raise InputError(
                f"{file.source} is in no format that is known",
                f"{hint(file.path, head)} {known}".strip(),
            )
        else:
            unknown.append((file, head[:_LOOKED_AT]))
    notes += not_known(unknown)
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
                    run = on_own_step(item, mapped_step(mapping))
                    together.setdefault(run.source, []).append(run)
            read += [(PurePath(source), source, runs) for source, runs in together.items()]
        else:
            for file in found_files:
                try:
                    runs = [
                        on_own_step(run, mapped_step(mapping))
                        for run in adapter.read(file.path, file.source, mapping)
                    ]
                except Exception as caught:
                    if isinstance(caught, UnreachableError) and not file.walked:
                        raise
                    error = said_of(adapter, file.source, caught)
                    if not file.walked:
                        raise error from (None if error is caught else caught)
                    # One bad file of a folder does not keep the others out.
                    lost.append(Note.of("unreadable", f"{error.what} (left out)"))
                else:
                    read.append((PurePath(file.source), file.source, runs))
    return read, lost


def mapped_step(mapping: Mapping) -> str | None:
    return mapping.columns.get("step")


def _without_data(
    joined: Sequence[tuple[str, Run]], walked: set[str], mapping: Mapping, data: dict[str, None]
) -> list[tuple[str, Run]]:
    """The runs without those of files in a folder that tell of no training: tables of other data.
    Their files are added to `data`."""
    names = {*mapping.columns, *mapping.columns.values(), mapping.id}
    telling = {source for source, run in joined if tells_of_training(run, names)}
    kept = []
    for source, run in joined:
        if source in telling or source not in walked or not run.run_key.startswith(_TABLES):
            kept.append((source, run))
        else:
            data[source] = None
    return kept


def _passed_as_data(files: list[str]) -> Note:
    shown = ", ".join(files[:3]) + (", ..." if len(files) > 3 else "")
    message = (
        f"{counted(len(files), 'file')} with no loss, no params, no tokens and no step"
        f" {'is' if len(files) == 1 else 'are'} data and passed over: {shown}"
    )
    return Note.of("not_runs", message)


def _own_stores(folders: list[str]) -> Note:
    shown = ", ".join(folders[:3]) + (", ..." if len(folders) > 3 else "")
    return Note.of("own_store", f"passed over, since it is a store of scalefit: {shown}")


def _meta_rows(meta: str, mapping: Mapping) -> dict[str, Run]:
    rows: dict[str, Run] = {}
    for row in read_sources([meta], mapping=mapping).runs:
        for key in {row.run_id, row.name}:
            if rows.setdefault(key, row) is not row:
                raise InputError(
                    f"{row.source}: two rows are named {key!r}",
                    "Two runs need two names: rename one, or keep its row alone.",
                )
    return rows
