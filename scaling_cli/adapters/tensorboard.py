"""TensorBoard event files: the scalars and hyperparameters of each folder below the log folder.

A run is a folder. Its files are in the order of the times in their names, and what a restart
logged again replaces what was logged before. A file that has grown is read from where the last read
of this process ended.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from scaling_cli.adapters.base import BY_SIGNATURE, Adapter
from scaling_cli.adapters.building import first_text, make_run, moment, plain_number
from scaling_cli.adapters.crc32c import FRONT, crc32c, masked
from scaling_cli.adapters.files import Found, reading, run_folder
from scaling_cli.adapters.settings import settings_in
from scaling_cli.adapters.wire import (
    PAD,
    Bytes,
    Ints,
    alike,
    at,
    inner,
    message,
    text,
    varints,
    walk,
)
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.records import Floats, Run, Status
from scaling_cli.spelling import spelled
from scaling_cli.steps import Points, drop_from, join

NAME = "tensorboard"

_PIECE = 1 << 23  # bytes read at a time: about 150,000 scalars
_COMPARED = 1 << 18  # bytes compared at a time: they stay in the processor's cache
_HELD_BYTES = 1 << 27  # what is held of files that may grow: up to eight million points
_POINT_BYTES, _ENTRY_BYTES = 16, 500  # a step and a value; a tag, or the arrays of its points
_HPARAMS = "_hparams_/"
_TIME = re.compile(r"tfevents\.(\d+)")
_STRINGS = 8  # of a TensorProto: string_val
_LONGEST_TEXT = 1 << 20
_SAMPLES = " vs samples"  # how Megatron calls what it logs a second time over its samples
_FAILURE = 2  # of the hparams plugin's Status
_START = 1  # of SessionLog.SessionStatus
# TensorFlow's DataType -> how tensor_content holds it
_DTYPES = {
    1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "u1", 14: "<u2",
    17: "<u2", 19: "<f2", 22: "<u4", 23: "<u8",
}  # fmt: skip
_BFLOAT16, _HALF = 14, 19


def recognises(path: Path, head: bytes) -> bool:
    return ".tfevents." in path.name or b"brain.Event:" in head[:64]


def read_together(files: Sequence[Found], mapping: Mapping) -> Iterator[Run | Note]:
    folders: dict[Path, list[Found]] = {}
    for file in files:
        folders.setdefault(file.path.parent, []).append(file)
    logs = {folder: _Log(sorted(found, key=_order)) for folder, found in folders.items()}
    for folder in sorted(logs, key=lambda folder: len(folder.parts), reverse=True):
        parent = logs.get(folder.parent)
        if parent is not None and parent.points and logs[folder].is_hparams_of_parent:
            parent.adopt(logs.pop(folder))
    for folder, log in logs.items():
        yield log.run(folder)


def apart(files: Sequence[Found]) -> list[list[Found]]:
    """By folder; one below another is its part, since it may hold the hparams of that run."""
    folders = {file.path.parent for file in files}
    parts: dict[Path, list[Found]] = {}
    for file in files:
        folder = file.path.parent
        while folder.parent in folders and folder.parent != folder:
            folder = folder.parent
        parts.setdefault(folder, []).append(file)
    return list(parts.values())


def _order(file: Found) -> tuple[int, str]:
    found = _TIME.search(file.path.name)
    return (int(found[1]) if found else 0, file.path.name)


class _Log:
    """The files of one folder, folded into one history."""

    def __init__(self, files: Sequence[Found]) -> None:
        self.root, self.source = files[0].root, files[0].folder
        self.points: Points = {}
        self.config: dict[str, Any] = {}
        self.notes: list[Note] = []
        self.failed = self.cut = False
        self.began = 0.0
        others: dict[str, None] = {}
        again = 0
        for found in files:
            file = _HELD.take(found.source)
            with reading(found.path, found.source) as opened:
                if not file.begins(opened):
                    file = _File()
                    opened.seek(0)
                damage = file.load(opened)
            firsts = dict[str, int]()
            for segment in file.segments:
                if segment.purge is not None:
                    again += drop_from(self.points, dict.fromkeys(self.points, segment.purge))
                parts = segment.points
                points = {tag: join(parts[tag]) for tag in file.tags if tag in parts}
                new = {tag: int(p[0].min()) for tag, p in points.items() if tag not in firsts}
                again += drop_from(self.points, new)
                firsts |= new
                for tag, found_points in points.items():
                    held = self.points.get(tag)
                    self.points[tag] = join([held, found_points]) if held else found_points
            self.config |= deepcopy(file.config)  # the file is held, and runs are the caller's
            self.failed |= file.failed
            self.began = self.began or file.began
            self.cut = damage is not None if file.events or damage else self.cut
            others |= dict.fromkeys(tag for tag, read in file.tags.items() if not read)
            if damage is not None:
                message = f"{found.source}: {damage}; what stands before it is read"
                self.notes.append(Note.of("damaged", message))
            _HELD.put(found.source, file)
        if again:
            message = f"{again} points from before a restart were logged again and are replaced"
            self.notes.append(Note.of("restarted", message))
        if others:
            shown = ", ".join(list(others)[:5]) + (", ..." if len(others) > 5 else "")
            message = f"{len(others)} tags hold no scalars and are left out: {shown}"
            self.notes.append(Note.of("not_scalars", message))

    @property
    def is_hparams_of_parent(self) -> bool:
        """Whether this is the folder that `add_hparams` makes below a run: settings, and each
        metric of the run once."""
        return bool(self.config) and all(len(steps) == 1 for steps, _ in self.points.values())

    def adopt(self, child: _Log) -> None:
        self.config |= child.config
        self.points = child.points | self.points
        self.notes += child.notes
        self.failed |= child.failed

    def without_samples(self) -> None:
        """Megatron logs each metric over steps and once more over samples: the second gives the
        samples that were consumed at each step."""
        tags = {spelled(tag): tag for tag in self.points}  # writers put `_` for a space
        for name in [name for name in tags if name.endswith(_SAMPLES)]:
            tag = tags[name]
            plain = self.points.get(tags.get(name.removesuffix(_SAMPLES), ""))
            if plain is None:
                continue
            samples, values = self.points.pop(tag)
            if np.array_equal(plain[1], values) and "consumed samples" not in self.points:
                self.points["consumed samples"] = plain[0], samples.astype(np.float64)

    def run(self, folder: Path) -> Run | Note:
        self.without_samples()
        if not self.points and not self.config:
            told = "".join(f"; {note.message}" for note in self.notes)
            return Note.of("no_points", f"{self.source} holds no scalars{told}")
        run = make_run(
            NAME, run_folder(folder, self.root), self.source, self.config, self.points, self.notes
        )
        called = run.name if run.name != run.run_id else first_text(self.config, ("run_id",))
        status: Status = "failed" if self.failed else "unfinished" if self.cut else run.status
        began = run.created_at or moment(self.began)
        return replace(run, name=called or run.run_id, created_at=began, status=status)


@dataclass
class _Segment:
    """Points up to a session's start, at which what was logged at `purge` and later is void."""

    purge: int | None = None
    points: dict[str, list[tuple[Ints, Floats]]] = field(default_factory=dict)


class _File:
    """What one event file holds, as far as it is read: the same in whatever pieces that was."""

    def __init__(self) -> None:
        self.offset = 0  # of the first record that is not read
        self.checksum = 0  # of all bytes before it
        self.segments = [_Segment()]
        self.config: dict[str, Any] = {}
        self.settings: set[str] = set()  # tags of texts that hold settings
        self.tags: dict[str, bool] = {}  # tag -> whether it was read
        self.plugins: dict[str, str] = {}
        self.failed = False
        self.began = 0.0
        self.events = 0

    def begins(self, file: BinaryIO) -> bool:
        """Whether a file begins with the bytes that were read; if so it stands behind them.

        All of them are compared, which takes a fiftieth of the time of reading them: a file that
        was replaced may have the same head. Another file passes once in 4e9.
        """
        left, found = self.offset, 0
        while left and (piece := file.read(min(left, _COMPARED))):
            found = crc32(piece, found)
            left -= len(piece)
        return not left and found == self.checksum

    def load(self, file: BinaryIO) -> str | None:
        """Read on, up to the first record that is damaged; says what that is."""
        rest = b""
        unpack = struct.Struct("<Q").unpack_from
        while True:
            piece = file.read(_PIECE)
            buffer = b"".join((FRONT, rest, piece, PAD))
            pos, end = len(FRONT), len(buffer) - len(PAD)
            starts = []
            while pos + 16 <= end:
                starts.append(pos)
                pos += 16 + unpack(buffer, pos)[0]
                if pos > end:
                    pos = starts.pop()
                    break
            data = np.frombuffer(buffer, np.uint8)
            start = np.array(starts, dtype=np.int64)
            stop = np.append(start[1:], pos)
            good = _whole(data, start, stop)
            with np.errstate(all="ignore"):  # of a NaN whose bits say "signal me"
                self.take(data, start[:good] + 12, stop[:good] - 4)
            read = int(start[good]) if good < len(start) else pos
            self.offset += read - len(FRONT)
            self.checksum = crc32(memoryview(buffer)[len(FRONT) : read], self.checksum)
            if good < len(start):
                return f"the record at byte {self.offset} is damaged"
            rest = buffer[pos:end]
            # A length that is damaged would have the rest of the file read as one record.
            broken = len(rest) >= 12 and not _good_lengths(data, np.array([pos]))[0]
            if broken or (rest and not piece):
                return f"the record at byte {self.offset} is {'damaged' if broken else 'cut off'}"
            if not piece:
                return None

    def take(self, data: Bytes, start: Ints, stop: Ints) -> None:
        """Read the events data[start:stop]."""
        step, begin, end = (np.zeros(len(start), dtype=np.int64) for _ in range(3))
        sessions: list[tuple[int, bytes]] = []
        for event, key, pos, value in walk(data, start, stop):
            if not (self.events or event[0] or self.began) and key[0] == 1 << 3 | 1:
                self.began = float(at(data, "<f8", pos[:1])[0])
            _put(step, event, value, key == 2 << 3)
            _put(begin, event, pos, key == 5 << 3 | 2)
            _put(end, event, pos + value, key == 5 << 3 | 2)
            sessions += [
                (int(event[i]), data[pos[i] : pos[i] + value[i]].tobytes())
                for i in np.flatnonzero(key == 7 << 3 | 2).tolist()
            ]
        self.events += len(start)
        [(event, begin, end)] = inner(data, begin, end, 1)
        tags, code, numbers, scalar = self.values(data, begin, end)
        code, event, numbers = code[scalar], event[scalar], numbers[scalar]
        done = 0
        for number, session in sorted(sessions):
            if _fields(session).get(1, [0])[-1] == _START:
                until = int(np.searchsorted(event, number))
                self.keep(tags, code[done:until], step[event[done:until]], numbers[done:until])
                self.segments.append(_Segment(purge=int(step[number])))
                done = until
        self.keep(tags, code[done:], step[event[done:]], numbers[done:])

    def values(
        self, data: Bytes, start: Ints, stop: Ints
    ) -> tuple[list[str], NDArray[np.int32], Floats, NDArray[np.bool_]]:
        """Summary values as (tags, number of each value's tag, value, whether it is a scalar)."""
        tag_at, tag_size, simple, tensor_at, tensor_size, meta_at, meta_size = (
            np.zeros(len(start), dtype=np.int64) for _ in range(7)
        )
        for lane, key, pos, size in walk(data, start, stop):
            for number, where, length in (
                (1, tag_at, tag_size),
                (8, tensor_at, tensor_size),
                (9, meta_at, meta_size),
            ):
                _put(where, lane, pos, key == number << 3 | 2)
                _put(length, lane, size, key == number << 3 | 2)
            _put(simple, lane, pos, key == 2 << 3 | 5)
        code, first = alike(data, tag_at, tag_size)
        tags = [
            data[tag_at[i] : tag_at[i] + tag_size[i]].tobytes().decode("utf-8", "replace")
            for i in first.tolist()
        ]
        numbers = {tag: number for number, tag in enumerate(dict.fromkeys(tags))}
        if len(numbers) < len(tags):  # bytes that are no UTF-8 all read the same
            code = np.array([numbers[tag] for tag in tags], dtype=np.int32)[code]
            tags = list(numbers)
        # Metadata stand with the first value of a tag only, or with every one; the first count.
        since = np.array([0 if tag in self.plugins else len(start) for tag in tags], dtype=np.int64)
        described = np.flatnonzero(meta_size)
        for i in described[np.unique(code[described], return_index=True)[1]].tolist():
            if since[code[i]]:
                since[code[i]] = i
                self.describe(tags[code[i]], data[meta_at[i] : meta_at[i] + meta_size[i]].tobytes())
            if self.plugins.get(tags[code[i]]) == "text" and tags[code[i]] not in self.tags:
                tensor = data[tensor_at[i] : tensor_at[i] + tensor_size[i]].tobytes()
                self.take_text(tags[code[i]], tensor)
        plain = np.array([self.plugins.get(tag) == "scalars" for tag in tags], dtype=bool)
        value = np.full(len(start), np.nan)
        rows = np.flatnonzero(simple)
        value[rows] = at(data, "<f4", simple[rows])
        scalar = simple > 0
        rows = np.flatnonzero(
            (tensor_size > 0) & plain[code] & (np.arange(len(code)) >= since[code])
        )
        if len(rows):
            value[rows], scalar[rows] = _tensors(data, tensor_at[rows], tensor_size[rows])
        read = np.zeros(len(tags), dtype=bool)
        read[code[scalar]] = True
        for tag, is_read in zip(tags, read.tolist(), strict=True):
            is_known = is_read or tag.startswith(_HPARAMS) or tag in self.settings
            self.tags[tag] = self.tags.get(tag, False) or is_known
        return tags, code, value, scalar

    def describe(self, tag: str, metadata: bytes) -> None:
        """Take in a SummaryMetadata: which plugin the tag is for; and the hyperparameters."""
        plugin = _fields(b"".join(_fields(metadata).get(1, [])))
        self.plugins[tag] = text(plugin, 1)
        if self.plugins[tag] == "hparams":
            content = _fields(b"".join(plugin.get(2, [])))
            for started in content.get(3, []):
                for pair in map(_fields, _fields(started).get(1, [])):
                    self.config[text(pair, 1)] = _setting(b"".join(pair.get(2, [])))
            ended = [_fields(part).get(1, [0])[-1] for part in content.get(4, [])]
            self.failed |= _FAILURE in ended

    def take_text(self, tag: str, tensor: bytes) -> None:
        """Take in a text that holds settings: JSON or YAML, or one value under its name."""
        parts = _fields(tensor).get(_STRINGS, [])
        told = b"".join(part for part in parts if isinstance(part, bytes))
        named = tag.removesuffix("/text_summary")  # which writers put behind the tag
        found = settings_in(named, told[:_LONGEST_TEXT].decode("utf-8", "replace"))
        if found:
            self.settings.add(tag)
            self.config = found | self.config

    def keep(self, tags: list[str], code: NDArray[np.int32], step: Ints, value: Floats) -> None:
        """Add points to the last segment, by tag."""
        small = code.astype(np.int16) if len(tags) < 1 << 15 else code  # a radix sort, 5 times
        order = np.argsort(small, kind="stable")
        bounds = np.searchsorted(code[order], np.arange(len(tags) + 1))
        step, value = step[order], value[order]
        for tag, low, high in zip(tags, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            if low < high:
                held = self.segments[-1].points.setdefault(tag, [])
                held.append((step[low:high], value[low:high]))

    def compact(self) -> int:
        """Join what was read in pieces; about how many bytes of memory all of it takes."""
        entries, points = 4 + len(self.tags), 0
        for segment in self.segments:
            for parts in segment.points.values():
                if len(parts) > 1:
                    parts[:] = [join(parts)]
                points += len(parts[0][0])
            entries += 1 + len(segment.points)
        return _ENTRY_BYTES * entries + _POINT_BYTES * points


class _Held:
    """Files as far as they have been read, by what they are called, for the next read of the same.

    `watch` reads a source at each poll, and a notebook ingests again: what has grown by a hundredth
    is not parsed as a whole. The files that were read last are held, _HELD_BYTES of them.
    """

    def __init__(self) -> None:
        self.files: dict[str, tuple[_File, int]] = {}
        self.size = 0
        self.lock = Lock()

    def take(self, source: str) -> _File:
        """The file, for one reader alone until it is put back; an empty one if it is not held."""
        with self.lock:
            file, size = self.files.pop(source, (None, 0))
            self.size -= size
        return file or _File()

    def put(self, source: str, file: _File) -> None:
        size = file.compact()
        with self.lock:
            self.size += size - self.files.pop(source, (None, 0))[1]
            self.files[source] = file, size
            while self.size > _HELD_BYTES:
                self.size -= self.files.pop(next(iter(self.files)))[1]


_HELD = _Held()


def _whole(data: Bytes, start: Ints, stop: Ints) -> int:
    """How many of the records are whole, up to the first whose checksums do not hold."""
    good = _good_lengths(data, start)
    good &= masked(crc32c(data, start + 12, stop - start - 16)) == at(data, "<u4", stop - 4)
    return len(good) if good.all() else int(np.argmin(good))


def _good_lengths(data: Bytes, start: Ints) -> NDArray[np.bool_]:
    sums = masked(crc32c(data, start, np.full(len(start), 8)))
    return np.asarray(sums == at(data, "<u4", start + 8))


def _put(into: Ints, lane: Ints, value: Ints, chosen: NDArray[np.bool_]) -> None:
    if chosen.all():
        into[lane] = value
    elif chosen.any():
        into[lane[chosen]] = value[chosen]


def _fields(data: Any) -> dict[int, list[Any]]:
    """A message that may be anything else."""
    try:
        return message(data)
    except (ValueError, TypeError):
        return {}


def _setting(value: bytes, depth: int = 4) -> Any:
    """A google.protobuf.Value, whole doubles as ints."""
    fields = _fields(value)
    if 2 in fields and isinstance(fields[2][-1], bytes):
        return plain_number(struct.unpack("<d", fields[2][-1])[0])
    if 4 in fields:
        return bool(fields[4][-1])
    if 6 in fields and depth:
        items = [item for part in fields[6] for item in _fields(part).get(1, [])]
        return [_setting(item, depth - 1) for item in items]
    return text(fields, 3) if 3 in fields else None


def _tensors(data: Bytes, start: Ints, size: Ints) -> tuple[Floats, NDArray[np.bool_]]:
    """TensorProtos of one element as (value, whether it is a number)."""
    dtype, content, length = (np.zeros(len(start), dtype=np.int64) for _ in range(3))
    value = np.zeros(len(start))  # what is left out in a tensor is zero
    for lane, key, pos, number in walk(data, start, start + size):
        wire, field_number = key & 7, key >> 3
        _put(dtype, lane, number, key == 1 << 3)
        _put(content, lane, pos, key == 4 << 3 | 2)
        _put(length, lane, number, key == 4 << 3 | 2)
        for fixed, kind, bits in ((5, "<f4", 5), (6, "<f8", 1)):
            whole = (wire == bits) | ((wire == 2) & (number >= np.dtype(kind).itemsize))
            chosen = (field_number == fixed) & whole
            value[lane[chosen]] = at(data, kind, pos[chosen])
        chosen = np.isin(field_number, (7, 10, 11, 13, 16, 17)) & ((wire == 0) | (number > 0))
        chosen &= (wire == 0) | (wire == 2)
        if chosen.any():
            packed = wire[chosen] == 2
            counted = np.where(packed, varints(data, pos[chosen])[0], number[chosen])
            value[lane[chosen]] = _integers(counted, dtype[lane[chosen]])
    known = np.isin(dtype, list(_DTYPES))
    for kind in np.unique(dtype[known & (length > 0)]).tolist():
        rows = np.flatnonzero((dtype == kind) & (length > 0))
        known[rows] = length[rows] == np.dtype(_DTYPES[kind]).itemsize
        rows = rows[known[rows]]
        raw = at(data, _DTYPES[kind], content[rows])
        value[rows] = _integers(raw.astype(np.int64), dtype[rows]) if kind == _BFLOAT16 else raw
    return value, known


def _integers(value: Ints, dtype: Ints) -> Floats:
    """Integers as numbers; those that hold the bits of a short float as that float."""
    found = value.astype(np.float64)
    bits = (value & 0xFFFF).astype(np.uint32)
    found = np.where(dtype == _BFLOAT16, (bits << 16).view(np.float32), found)
    return np.where(dtype == _HALF, bits.astype(np.uint16).view(np.float16), found)


ADAPTER = Adapter(NAME, recognises, read_together=read_together, apart=apart, order=BY_SIGNATURE)
