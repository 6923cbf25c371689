"""Sources into runs, part by part."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from scaling_cli.adapters.base import Adapter, Request, Service, Unchanged
from scaling_cli.adapters.files import Found, SourceFiles, is_generic, read_head, uncompressed
from scaling_cli.adapters.joining import (
    Passed,
    _digest,
    _join_meta,
    _join_parts,
    _join_run_tables,
    _unique,
    tells_of_training,
)
from scaling_cli.adapters.registry import (
    adapter_called,
    adapters,
    failure,
    is_own,
    recognised,
    registered,
    service_of,
)
from scaling_cli.adapters.sessions import join_sessions, session_key
from scaling_cli.adapters.unknown import hint, not_known
from scaling_cli.errors import InputError, UnreachableError
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note, gather
from scaling_cli.progress import Progress
from scaling_cli.quantities import counted
from scaling_cli.records import Run
from scaling_cli.remote import without_secrets
from scaling_cli.sources import Place, Sources
from scaling_cli.steps import on_own_step

# Bytes of files that are read before their runs are handed on: 1 to 2 s of CSV or event files.
PIECE_BYTES = 1 << 25


# What tells a history from a table: mostly some 15 rows, else 100 and more.
_PROBE_BYTES = (1 << 11, 1 << 14)


_LARGE = 1 << 20  # bytes of a file that is looked into before it is read whole


_LOOKED_AT = 1 << 12  # bytes of a file that no adapter knows
_TABLES = ("csv:", "jsonl:", "parquet:")  # what may hold anything
_IN_LINES = ("csv", "jsonl")  # those of them whose first lines can be read alone


Part = dict[str, list[Found]]  # files by the name of their adapter


Held = tuple[PurePath, str, list[Run]]  # where runs were read, what that is called, and the runs


Cursors = dict[str, str]  # run_key -> what its service said of its state


@dataclass(frozen=True)
class Ingested:
    """What the sources hold: runs by run_key, and what was found amiss; `unchanged` counts runs
    that the store has already and that were not read."""

    runs: tuple[Run, ...]
    notes: tuple[Note, ...] = ()
    unchanged: int = 0


def stream(
    sources: Sources,
    mapping: Mapping | None = None,
    known: Cursors | None = None,
    progress: Progress | None = None,
) -> Iterator[Ingested]:
    """What the sources hold, piece by piece as it is read: some files at a time, and each run of a
    service as it arrives. `known` are the cursors of the stored runs."""
    progress = progress or Progress()
    asked = Request(mapping or Mapping(), sources.select, known or {}, expect=progress.expect)
    claimed = {
        place: service for place in sources.places if (service := service_of(place)) is not None
    }
    files = tuple(place for place in sources.places if place not in claimed)
    if files or not claimed:
        if sources.select:
            raise InputError(
                f"{', '.join(map(without_secrets, files))}: files cannot be filtered as they are"
                " read",
                "Filter what is in the store instead: `scalefit runs` takes `where=`.",
            )
        for piece in _read_pieces(replace(sources, places=files), asked.mapping):
            progress.arrived(len(piece.runs), sum(map(_rows, piece.runs)))
            yield piece
    noted: list[tuple[str, Note]] = []
    for place, service in claimed.items():
        for item in _fetched(service, place, asked):
            if isinstance(item, Note):
                noted.append(("", item))
            elif isinstance(item, Unchanged):
                progress.arrived(1, 0)
                yield Ingested((), unchanged=1)
            else:
                noted += [(item.run_id, note) for note in item.notes]
                progress.arrived(1, _rows(item))
                run = on_own_step(item, mapped_step(asked.mapping))
                yield Ingested((_grouped(run, sources.group),))
    if noted:
        yield Ingested((), gather(noted))


def _fetched(service: Service, place: str, asked: Request) -> Iterator[Run | Unchanged | Note]:
    try:
        yield from service.fetch(place, asked)
    except UnreachableError:
        raise
    except Exception as caught:
        error = failure(service, without_secrets(place), caught)
        raise error from (None if error is caught else caught)


def _grouped(run: Run, group: str | None) -> Run:
    return run if group is None else replace(run, group=group)


def _rows(run: Run) -> int:
    return max((len(series.steps) for series in run.series.values()), default=0)


def read_sources(
    sources: Sources | Place | Iterable[Place],
    mapping: Mapping | None = None,
) -> Ingested:
    """The runs of files and folders. A folder is walked; what no adapter knows in it is passed
    over, but a file that was named has to be readable."""
    pieces = list(_read_pieces(Sources.of(sources), mapping or Mapping()))
    runs = sorted((run for piece in pieces for run in piece.runs), key=lambda run: run.run_key)
    return Ingested(tuple(runs), tuple(note for piece in pieces for note in piece.notes))


def _read_pieces(sources: Sources, mapping: Mapping) -> Iterator[Ingested]:
    """The runs, some files at a time, and the notes on all of them at the end."""
    forced = None if sources.as_format is None else adapter_called(sources.as_format)
    meta = sources.meta
    notes: list[Note] = []
    lost: list[Note] = []
    joining: list[Note] = []
    noted: list[tuple[str, str, Note]] = []  # with the run's key, for their order
    undescribed: list[str] = []
    passed: Passed = {}
    data: dict[str, None] = {}  # files in folders that hold tables and no runs
    walked: set[str] = set()
    rows = None if meta is None else _meta_rows(meta, mapping)
    with SourceFiles() as door:
        files = _by_adapter(door.find(sources.places), forced, mapping, notes)
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
            for in_part, lost_in_part in _read_piece(piece, mapping):
                read += in_part
                lost += lost_in_part
            joined = _join_run_tables(read, joining)
            joined = _join_parts(joined, joining)
            joined = join_sessions(joined, joining)
            joined = _without_data(joined, walked, mapping, data)
            if rows is not None:
                joined = _join_meta(joined, rows, undescribed)
            found = sorted(_unique(joined, passed), key=lambda run: run.run_key)
            found = [_grouped(run, sources.group) for run in found]
            # A note on a whole file hangs on its first run, and names the file itself.
            noted += [
                (run.run_key, "" if note.message.startswith(run.source) else run.run_id, note)
                for run in found
                for note in run.notes
            ]
            yield Ingested(tuple(found))
    notes += (*registered().notes, *gather(("", note) for note in lost), *joining)
    if data:
        notes.append(_passed_as_data(list(data)))
    if not passed:
        told = "".join(f"; {note.message}" for note in notes)
        named = ", ".join(map(without_secrets, sources.places)) or "no source"
        raise InputError(
            f"{named}: there are no runs to read{told}",
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
            if adapter.read_together is None:
                apart += [(name, part) for part in _by_run(found)]
                tables = [file for file in found if _may_be_table(adapter, file, mapping, folder)]
            elif adapter.apart is not None:
                apart += [(name, part) for part in _told_apart(adapter, found)]
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


def _by_run(found: list[Found]) -> list[list[Found]]:
    """The files one by one, but those whose names say what is in them by their folder."""
    parts: dict[str, list[Found]] = {}
    for file in found:
        generic = is_generic(file.path)
        key = file.folder if generic else session_key(PurePath(file.source))
        parts.setdefault(key, []).append(file)
    return list(parts.values())


def _told_apart(adapter: Adapter, found: list[Found]) -> list[list[Found]]:
    """The files in parts; in one where another's adapter fails to part them."""
    try:
        return [found] if adapter.apart is None else adapter.apart(found)
    except Exception:
        if is_own(adapter):
            raise
        return [found]


def _may_be_table(adapter: Adapter, file: Found, mapping: Mapping, folder: str) -> bool:
    """Whether the first bytes of a file show runs of one row only, or cannot be told."""
    if adapter.only_histories or adapter.read is None:
        return False
    head = read_head(file.path, file.source, _PROBE_BYTES[-1])
    if b"\0" in head:
        return True
    if adapter.shows_history is not None and adapter.shows_history(head, mapping):
        return False
    return all(_shows_no_history(adapter, file, mapping, folder, head, n) for n in _PROBE_BYTES)


def _shows_no_history(
    adapter: Adapter, file: Found, mapping: Mapping, folder: str, head: bytes, size: int
) -> bool:
    whole = len(head) < size
    copy = Path(folder, file.path.name)
    copy.write_bytes(head if whole else head[: head.rfind(b"\n", 0, size) + 1])
    assert adapter.read is not None
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
        adapter = recognised(file, head, forced, mapping, notes)
        if not head and not (
            file.walked and adapter is not None and adapter.read_together is not None
        ):
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


def _read_piece(piece: Sequence[Part], mapping: Mapping) -> Iterator[tuple[list[Held], list[Note]]]:
    """What each part holds. Two are read at a time where all are files of our own formats: Arrow
    parses one while the other's columns become runs."""
    names = {name for part in piece for name in part}
    apart = all(is_own(adapters()[name]) and adapters()[name].read is not None for name in names)
    if len(piece) < 2 or not apart:
        yield from (_read(part, mapping) for part in piece)
        return
    with ThreadPoolExecutor(2) as pool:
        yield from pool.map(lambda part: _read(part, mapping), piece)


def _read(files: Part, mapping: Mapping) -> tuple[list[Held], list[Note]]:
    """What the files hold, and notes on files that hold none."""
    read: list[Held] = []
    lost: list[Note] = []
    for name, found in files.items():
        if adapters()[name].read_together is None:
            read += _read_each(adapters()[name], found, mapping, lost)
        else:
            read += _read_together(adapters()[name], found, mapping, lost)
    return read, lost


def _read_each(
    adapter: Adapter, files: list[Found], mapping: Mapping, lost: list[Note]
) -> Iterator[Held]:
    """The runs of each file; one bad file of a folder does not keep the others out."""
    assert adapter.read is not None
    for file in files:
        try:
            runs = _of_data(adapter, file, mapping)
            if not runs:
                runs = [
                    on_own_step(run, mapped_step(mapping))
                    for run in adapter.read(file.path, file.source, mapping)
                ]
        except Exception as caught:
            if isinstance(caught, UnreachableError) and not file.walked:
                raise
            lost.append(_left_out(adapter, [file], caught))
        else:
            yield PurePath(file.source), file.source, runs


def _of_data(adapter: Adapter, file: Found, mapping: Mapping) -> list[Run]:
    """Of a large file in a folder whose first lines tell of no training, what these say: it need
    not be read whole to be passed over."""
    large = file.walked and file.path.stat().st_size > _LARGE
    if adapter.read is None or not large or adapter.name not in _IN_LINES:
        return []
    with tempfile.TemporaryDirectory(prefix="scalefit-") as folder:
        head = read_head(file.path, file.source)
        copy = Path(folder, uncompressed(file.path).name)
        copy.write_bytes(head[: head.rfind(b"\n") + 1])
        try:
            runs = list(adapter.read(copy, file.source, mapping))
        except InputError:
            return []
    names = {*mapping.columns, *mapping.columns.values(), mapping.id}
    return [] if any(tells_of_training(run, names) for run in runs) else runs


def _read_together(
    adapter: Adapter, files: list[Found], mapping: Mapping, lost: list[Note]
) -> list[Held]:
    """The runs of files that are read at once. Where that fails, their parts are read one by one,
    and those that it fails on are left out."""
    assert adapter.read_together is not None
    together: dict[str, list[Run]] = {}
    notes = []
    try:
        for item in adapter.read_together(files, mapping):
            if isinstance(item, Note):
                notes.append(item)
            else:
                run = on_own_step(item, mapped_step(mapping))
                together.setdefault(run.source, []).append(run)
    except Exception as caught:
        failure(adapter, files[0].source, caught)  # raises what is a fault of our own
        parts = _told_apart(adapter, files)
        if len(parts) > 1:
            return [h for part in parts for h in _read_together(adapter, part, mapping, lost)]
        lost.append(_left_out(adapter, files, caught))
        return []
    lost += notes
    return [(PurePath(source), source, runs) for source, runs in together.items()]


def _left_out(adapter: Adapter, files: list[Found], caught: Exception) -> Note:
    """A note on files of a folder that cannot be read; an error where one was named."""
    more = f" and {counted(len(files) - 1, 'more file')}" if len(files) > 1 else ""
    error = failure(adapter, f"{files[0].source}{more}", caught)
    if not all(file.walked for file in files):
        raise error from (None if error is caught else caught)
    code = "unreadable" if error is caught else "adapter_failed"
    return Note.of(code, f"{error.what} (left out)")


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
        f"{counted(len(files), 'file')} with no step, no loss and no sizes of runs"
        f" {'is' if len(files) == 1 else 'are'} data and passed over: {shown}"
    )
    return Note.of("not_runs", message)


def _own_stores(folders: list[str]) -> Note:
    shown = ", ".join(folders[:3]) + (", ..." if len(folders) > 3 else "")
    return Note.of("own_store", f"passed over, since it is a store of scalefit: {shown}")


def _meta_rows(meta: str, mapping: Mapping) -> dict[str, Run]:
    rows: dict[str, Run] = {}
    for row in read_sources(meta, mapping).runs:
        for key in {row.run_id, row.name}:
            if rows.setdefault(key, row) is not row:
                raise InputError(
                    f"{row.source}: two rows are named {key!r}",
                    "Two runs need two names: rename one, or keep its row alone.",
                )
    return rows
