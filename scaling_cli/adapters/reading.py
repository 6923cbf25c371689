"""Sources into runs, part by part."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain, islice
from pathlib import Path, PurePath
from typing import TypeVar

from scaling_cli.adapters.base import Adapter, Request, Service, Unchanged
from scaling_cli.adapters.files import Found, SourceFiles, is_generic, read_head, uncompressed
from scaling_cli.adapters.joining import (
    Passed,
    Stems,
    _digest,
    _join_meta,
    _join_parts,
    _join_run_tables,
    _unique,
    join_settings,
    stems_of,
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
from scaling_cli.adapters.sessions import join_sessions, session_key, unnumbered
from scaling_cli.adapters.unknown import hint, not_known
from scaling_cli.errors import InputError, UnreachableError
from scaling_cli.manifest import File, Recall, SeenRun, Stamp, digest, is_doubtful, stamp_at
from scaling_cli.manifest import Part as Seen
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note, gather
from scaling_cli.progress import Progress
from scaling_cli.quantities import counted
from scaling_cli.records import Run
from scaling_cli.remote import without_secrets
from scaling_cli.sources import Place, Sources
from scaling_cli.steps import on_own_step
from scaling_cli.workers import Mapper

# Bytes of files that are read before their runs are handed on: 1 to 2 s of CSV or event files.
PIECE_BYTES = 1 << 25
# Bytes that a worker reads at a time, and of which two wait for each: 0.1 to 0.3 s.
_BATCH_BYTES = 1 << 22


# What tells a history from a table: mostly some 15 rows, else 100 and more.
_PROBE_BYTES = (1 << 11, 1 << 14)


_LARGE = 1 << 20  # bytes of a file that is looked into before it is read whole


_LOOKED_AT = 1 << 12  # bytes of a file that no adapter knows
_NOTE = ("code", "severity", "message")
_TABLES = ("csv:", "jsonl:", "parquet:")  # what may hold anything
_IN_LINES = ("csv", "jsonl")  # those of them whose first lines can be read alone


T = TypeVar("T")


Part = dict[str, list[Found]]  # files by the name of their adapter


Held = tuple[PurePath, str, list[Run]]  # where runs were read, what that is called, and the runs


Contents = tuple[list[Held], list[Note]]  # of a part: what its files hold, what holds nothing


Crew = Callable[[], AbstractContextManager[Mapper]]  # workers, who come when they are called


Rows = dict[str, Run]  # of a table of settings, by the run's id and by its name


Cursors = dict[str, str]  # run_key -> what its service said of its state


@dataclass(frozen=True)
class Ingested:
    """What the sources hold: runs by run_key, and what was found amiss; `unchanged` counts runs
    that the store has already and that were not read.

    Of files: `parts` are what was read, to be remembered, and `known` what was not read again,
    since it is as it was. `lost` are the names of files that could not be read. `names` are those
    of all files that were found, when all has been read.
    """

    runs: tuple[Run, ...]
    notes: tuple[Note, ...] = ()
    unchanged: int = 0
    parts: tuple[Seen, ...] = ()
    known: tuple[Seen, ...] = ()
    lost: tuple[tuple[str, str], ...] = ()
    names: frozenset[tuple[str, str]] = frozenset()


def stream(
    sources: Sources,
    mapping: Mapping | None = None,
    known: Callable[[], Cursors] = dict,
    progress: Progress | None = None,
    recall: Recall | None = None,
    crew: Crew | None = None,
) -> Generator[Ingested, None, None]:
    """What the sources hold, piece by piece as it is read: some files at a time, and each run of a
    service as it arrives. `known` gives the cursors of the stored runs, and `recall` says of files
    what was read before. A `crew` of workers reads the files, where they are many."""
    progress = progress or Progress()
    mapping = mapping or Mapping()
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
        for piece in _read_pieces(replace(sources, places=files), mapping, progress, recall, crew):
            progress.arrived(
                len(piece.runs) + sum(len(p.runs) for p in piece.known), sum(map(_rows, piece.runs))
            )
            yield piece
    if not claimed:
        return
    asked = Request(mapping, sources.select, known(), expect=progress.expect)
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
    pieces = list(_read_pieces(Sources.of(sources), mapping or Mapping(), Progress()))
    runs = sorted((run for piece in pieces for run in piece.runs), key=lambda run: run.run_key)
    return Ingested(tuple(runs), tuple(note for piece in pieces for note in piece.notes))


def _read_pieces(
    sources: Sources,
    mapping: Mapping,
    progress: Progress,
    recall: Recall | None = None,
    crew: Crew | None = None,
) -> Iterator[Ingested]:
    """The runs, some files at a time, and the notes on all of them at the end."""
    forced = None if sources.as_format is None else adapter_called(sources.as_format)
    rows = None if sources.meta is None else _meta_rows(sources.meta, mapping)
    reader = _Reader(sources, mapping, rows, recall)
    with SourceFiles(recall) as door:
        reader.stamp = door.stamp
        others: list[Found] = []  # of no known format, or empty
        files = _by_adapter(door.find(sources.places), forced, mapping, reader.notes, others)
        reader.walked |= {f.source for found in files.values() for f in found if f.walked}
        if door.stores:
            reader.notes.append(_own_stores(door.stores))
        reader.lost += [Note.of("unreadable", f"{what} (left out)") for what in door.unreadable]
        door.fetch(file for found in files.values() for file in found if not file.seen)
        names = frozenset(f.name for f in chain(others, *files.values()))
        parts, known = _told_known(_parts(files, mapping, reader.tables, reader.notes), recall)
        if known:
            yield reader.pass_over(known)
        door.fetch(file for part in parts for file in _files_of(part))
        progress.to_read(sum(map(_count, parts)), sum(map(_size, parts)))
        for piece, held in _read_parts(parts, mapping, crew):
            yield reader.read(piece, held)
            progress.was_read(sum(map(_count, piece)), sum(map(_size, piece)))
    # What could not be looked at may be there the next time.
    names = frozenset() if door.unreadable else names
    yield Ingested((), reader.all_notes(), parts=reader.strangers(others), names=names)


class _Reader:
    """Files into runs, piece by piece; what is known of all pieces together."""

    def __init__(
        self, sources: Sources, mapping: Mapping, rows: Rows | None, recall: Recall | None
    ) -> None:
        self.sources, self.mapping, self.rows, self.recall = sources, mapping, rows, recall
        self.notes: list[Note] = []
        self.lost: list[Note] = []
        self.joining: list[Note] = []
        self.noted: list[tuple[str, str, Note]] = []  # with the run's key, for their order
        self.undescribed: list[str] = []
        self.passed: Passed = {}
        self.data: dict[str, None] = {}  # files in folders that hold tables and no runs
        self.walked: set[str] = set()
        self.tables: dict[Path, bool] = {}  # files that were looked into: may they be tables?
        self.began = time.time()
        self.stamp: Callable[[Path], Stamp | None] = stamp_at

    @cached_property
    def stems(self) -> Stems:
        """Once for all parts, each of which asks."""
        return stems_of(self.walked)

    def pass_over(self, known: Sequence[tuple[str, Seen]]) -> Ingested:
        """Parts that are as they were, each with the name of a file of it."""
        for source, part in known:
            for run in part.runs:
                self.passed.setdefault(run.key, (source, bytes.fromhex(run.digest)))
            self.joining += [Note.from_json(dict(zip(_NOTE, n, strict=True))) for n in part.notes]
            self.data |= dict.fromkeys(part.data)
        surer = tuple(filter(None, (part.surer(self.began) for _, part in known)))
        return Ingested((), parts=surer, known=tuple(part for _, part in known))

    def _is_doubtful(self, stamp: Stamp | None) -> bool:
        return is_doubtful(stamp, self.began)

    def read(self, piece: Sequence[Part], held: Iterable[Contents]) -> Ingested:
        """The runs of a piece, of whose parts this is what they `held`."""
        joined: list[tuple[str, Run]] = []
        parts: list[Seen] = []
        failed: list[tuple[str, str]] = []
        files = [self._seen_files(part) for part in piece]
        for number, (read, lost) in enumerate(held):
            self.lost += lost
            if lost:
                failed += [file.name for file in _files_of(piece[number])]
            runs, seen = self._join(read)
            joined += runs
            if self.recall is not None and files[number] and not lost:
                parts.append(seen._replace(manner=self.recall.manner, files=files[number]))
        if self.rows is not None:
            joined = _join_meta(joined, self.rows, self.undescribed)
        found = sorted(_unique(joined, self.passed), key=lambda run: run.run_key)
        found = [_grouped(run, self.sources.group) for run in found]
        # A note on a whole file hangs on its first run, and names the file itself.
        self.noted += [
            (run.run_key, "" if note.message.startswith(run.source) else run.run_id, note)
            for run in found
            for note in run.notes
        ]
        for run in found:  # their points can go
            self.passed[run.run_key] = self.passed[run.run_key][0], _digest(run)
        remembered = (
            part._replace(runs=tuple(self._seen_run(run.key) for run in part.runs))
            for part in parts
        )
        return Ingested(tuple(found), parts=tuple(remembered), lost=tuple(failed))

    def _join(self, read: list[Held]) -> tuple[list[tuple[str, Run]], Seen]:
        """The runs of a part, and what is to be remembered of it."""
        notes: list[Note] = []
        data: dict[str, None] = {}
        joined = _join_parts(_join_run_tables(read, notes), notes)
        joined = join_settings(join_sessions(joined, notes), self.stems, notes)
        joined = _without_data(joined, self.walked, self.mapping, data)
        self.joining += notes
        self.data |= data
        keys = dict.fromkeys(run.run_key for _, run in joined)
        told = tuple((note.code, note.severity, note.message) for note in notes)
        return joined, Seen("", (), tuple(SeenRun(key, "", "") for key in keys), told, tuple(data))

    def _seen_run(self, key: str) -> SeenRun:
        told = self.passed[key][1]
        return SeenRun(key, "", (told if isinstance(told, bytes) else _digest(told)).hex())

    def _seen_files(self, part: Part) -> tuple[File, ...]:
        """The files of a part as a manifest says them; none where it cannot."""
        seen = []
        for name, found in part.items():
            adapter = adapters()[name]
            if self.recall is None or not (is_own(adapter) or adapter.beside is not None):
                return ()
            for file in found:
                if file.stamp is None:
                    return ()
                content = digest(file.path) if self._is_doubtful(file.stamp) else ""
                others = adapter.beside(file.path) if adapter.beside is not None else ()
                beside = tuple((path.name, self.stamp(path)) for path in others)
                table = self.tables.get(file.path, file.seen.table if file.seen else None)
                seen.append(File(*file.name, file.stamp, content, name, table, beside))
        return tuple(seen)

    def strangers(self, files: Sequence[Found]) -> tuple[Seen, ...]:
        """Files of which there is nothing to read, each as a part."""
        if self.recall is None:
            return ()
        by_file, manner = self.recall.by_file, self.recall.manner
        new = []
        for found in files:
            if found.stamp is not None:
                content = digest(found.path) if self._is_doubtful(found.stamp) else ""
                part = Seen(manner, (File(*found.name, found.stamp, content),))
                if by_file.get(found.name) != part:
                    new.append(part)
        return tuple(new)

    def all_notes(self) -> tuple[Note, ...]:
        """The notes on all that was read; InputError where that was nothing."""
        notes = self.notes
        notes += (*registered().notes, *gather(("", note) for note in self.lost), *self.joining)
        if self.data:
            notes.append(_passed_as_data(list(self.data)))
        if self.mapping.id is not None and not any(key.startswith(_TABLES) for key in self.passed):
            message = f"[run] id = {self.mapping.id!r} names a column of a table; none was read"
            notes.append(Note.of("no_id_column", message))
        if not self.passed:
            told = "".join(f"; {note.message}" for note in notes)
            named = ", ".join(map(without_secrets, self.sources.places)) or "no source"
            raise InputError(
                f"{named}: there are no runs to read{told}",
                "Give files of run logs, or a folder of them.",
            )
        if self.undescribed:
            more = ", ..." * (len(self.undescribed) > 5)
            told = f"{', '.join(sorted(self.undescribed)[:5])}{more}"
            message = f"{self.sources.meta} describes no run {told}"
            notes.append(Note.of("run_not_described", message))
        self.noted.sort(key=lambda item: item[0])
        return (*notes, *gather((run_id, note) for _, run_id, note in self.noted))


def _told_known(
    parts: list[Part], recall: Recall | None
) -> tuple[list[Part], list[tuple[str, Seen]]]:
    """The parts that are to be read, and those that are as they were, each with the name of a
    file of it."""
    to_read, known = [], []
    for part in parts:
        seen = [file.seen for file in _files_of(part)]
        whole = [file for file in seen if file is not None]
        as_it_was = None
        if recall is not None and whole and len(whole) == len(seen):
            as_it_was = recall.part(whole)
        if as_it_was is None:
            to_read.append(part)
        else:
            known.append((next(_files_of(part)).source, as_it_was))
    return to_read, known


def _files_of(part: Part) -> Iterator[Found]:
    return chain.from_iterable(part.values())


def _count(part: Part) -> int:
    return sum(map(len, part.values()))


def _pieces(parts: Iterable[Part], most: int) -> Iterator[list[Part]]:
    """Parts as many at a time as make `most` bytes."""
    piece: list[Part] = []
    size = 0
    for part in parts:
        piece.append(part)
        size += _size(part)
        if size >= most:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def _size(files: Part) -> int:
    return sum(_bytes(file) for file in _files_of(files))


def _bytes(file: Found) -> int:
    if file.stamp is not None:
        return int(file.stamp[0] or 0)
    return file.path.stat().st_size if file.path.exists() else 0


def _parts(
    files: Part, mapping: Mapping, tables: dict[Path, bool], notes: list[Note]
) -> list[Part]:
    """The files in parts that say nothing of one another: the last holds all that lie in or below
    a folder with what may be a table of their settings. Few files are one part. Which files may be
    tables is added to `tables`, and what another's adapter failed at to `notes`."""
    if _size(files) <= PIECE_BYTES:
        return [files]
    apart: list[tuple[str, list[Found]]] = []
    described: set[PurePath] = set()
    with tempfile.TemporaryDirectory(prefix="scalefit-") as folder:
        for name, found in files.items():
            adapter = adapters()[name]
            if adapter.read_together is None:
                apart += [(name, part) for part in _by_run(found)]
                for file in found:
                    known = file.seen.table if file.seen else None
                    may_be = (
                        _may_be_table(adapter, file, mapping, folder, notes)
                        if known is None
                        else known
                    )
                    tables[file.path] = may_be
                described.update(PurePath(f.source).parent for f in found if tables[f.path])
            elif adapter.apart is not None:
                apart += [(name, part) for part in _told_apart(adapter, found, notes)]
            else:
                apart.append((name, found))
                described.update(PurePath(file.source).parent for file in found)
    if not described:
        return [{name: part} for name, part in apart]
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
        generic = is_generic(unnumbered(file.path))
        key = file.folder if generic else session_key(PurePath(file.source))
        parts.setdefault(key, []).append(file)
    return list(parts.values())


def _looked(
    adapter: Adapter, source: str, notes: list[Note], look: Callable[[], T], otherwise: T
) -> T:
    """What an adapter finds at a look; `otherwise` where another's fails, which is said once."""
    try:
        return look()
    except Exception as caught:
        note = Note.of("adapter_failed", failure(adapter, source, caught).what)
        if not any(known.code == note.code and adapter.name in known.message for known in notes):
            notes.append(note)
        return otherwise


def _told_apart(adapter: Adapter, found: list[Found], notes: list[Note]) -> list[list[Found]]:
    """The files in parts; in one where another's adapter fails to part them."""
    apart = adapter.apart
    if apart is None:
        return [found]
    return _looked(adapter, found[0].source, notes, lambda: apart(found), [found])


def _may_be_table(
    adapter: Adapter, file: Found, mapping: Mapping, folder: str, notes: list[Note]
) -> bool:
    """Whether the first bytes of a file show runs of one row only, or cannot be told."""
    if adapter.only_histories or adapter.read is None:
        return False
    head = read_head(file.path, file.source, _PROBE_BYTES[-1])
    if b"\0" in head:
        return True
    shows = adapter.shows_history
    if shows is not None and _looked(
        adapter, file.source, notes, lambda: shows(head, mapping), False
    ):
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
    found: Iterable[tuple[Found, bytes | None]],
    forced: Adapter | None,
    mapping: Mapping,
    notes: list[Note],
    others: list[Found],
) -> Part:
    """The files that adapters know, each once, by the adapter's name. Those of a folder that none
    knows, and empty ones, are added to `others`."""
    files: Part = {}
    seen: set[str] = set()
    unknown: list[tuple[Found, bytes]] = []
    for file, head in found:
        real = file.real or os.path.realpath(file.path)
        if real in seen:
            continue
        seen.add(real)
        if head is None:
            assert file.seen is not None
            files.setdefault(file.seen.adapter, []).append(file)
            continue
        adapter = recognised(file, head, forced, mapping, notes)
        if not head and not (
            file.walked and adapter is not None and adapter.read_together is not None
        ):
            if not file.walked:
                raise InputError(f"{file.source} is empty", "Give a file that holds runs.")
            message = f"{file.source} is empty and passed over"
            notes.append(Note.of("empty_file", message))
            others.append(file)
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
            others.append(file)
    notes += not_known(unknown)
    return files


def _read_parts(
    parts: Sequence[Part], mapping: Mapping, crew: Crew | None
) -> Iterator[tuple[list[Part], Iterable[Contents]]]:
    """Pieces of the parts, each with what its parts hold."""
    names = {name for part in parts for name in part}
    apart = all(is_own(adapters()[name]) and adapters()[name].read is not None for name in names)
    if crew is None or not apart or sum(map(_size, parts)) < PIECE_BYTES:
        for piece in _pieces(parts, PIECE_BYTES):
            yield piece, _read_piece(piece, mapping)
        return
    with crew() as spread:
        held = chain.from_iterable(
            spread(partial(_read_batch, mapping=mapping), _pieces(parts, _BATCH_BYTES))
        )
        for piece in _pieces(parts, _BATCH_BYTES):
            yield piece, list(islice(held, len(piece)))


def _read_batch(batch: Sequence[Part], mapping: Mapping) -> list[Contents]:
    return [_read(part, mapping) for part in batch]


def _read_piece(piece: Sequence[Part], mapping: Mapping) -> Iterator[Contents]:
    """What each part holds. Two are read at a time where all are files of our own formats: Arrow
    parses one while the other's columns become runs."""
    names = {name for part in piece for name in part}
    apart = all(is_own(adapters()[name]) and adapters()[name].read is not None for name in names)
    if len(piece) < 2 or not apart:
        yield from (_read(part, mapping) for part in piece)
        return
    with ThreadPoolExecutor(2) as pool:
        yield from pool.map(lambda part: _read(part, mapping), piece)


def _read(files: Part, mapping: Mapping) -> Contents:
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
        parts = _told_apart(adapter, files, [])  # what failed there was said when it was parted
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
        f"{counted(len(files), 'file')} with no loss, no step and no sizes of runs"
        f" {'is' if len(files) == 1 else 'are'} data and passed over: {shown}"
    )
    return Note.of("not_runs", message)


def _own_stores(folders: list[str]) -> Note:
    shown = ", ".join(folders[:3]) + (", ..." if len(folders) > 3 else "")
    return Note.of("own_store", f"passed over, since it is a store of scalefit: {shown}")


def _meta_rows(meta: str, mapping: Mapping) -> Rows:
    rows: Rows = {}
    for row in read_sources(meta, mapping).runs:
        for key in {row.run_id, row.name}:
            if rows.setdefault(key, row) is not row:
                raise InputError(
                    f"{row.source}: two rows are named {key!r}",
                    "Two runs need two names: rename one, or keep its row alone.",
                )
    return rows
