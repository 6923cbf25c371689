"""Offline W&B runs: `.wandb` files, read without the wandb client.

A file is a LevelDB log of protobuf records: blocks of 32 KiB hold chunks with a checksum each, and
a record is one chunk or several. Every chunk whose checksum holds counts, whatever is broken
around it.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from scaling_cli.adapters.base import BY_SIGNATURE, Adapter
from scaling_cli.adapters.building import Logged, flattened, make_run, moment
from scaling_cli.adapters.files import Found, reading
from scaling_cli.adapters.wandb_runs import settings
from scaling_cli.adapters.wire import PAD, Bytes, Ints, alike, at, inner, message, text, walk
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.records import Floats, Run, Status
from scaling_cli.steps import Points, in_sessions, join, marked_if_called

NAME = "wandb-offline"

_BLOCK = 1 << 15
_PIECE = _BLOCK << 8  # bytes read at a time
_FILE_HEADER = 7
_CHUNK_HEADER = struct.Struct("<IHB")  # checksum, length, which part of a record
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
# Fields of a Record, and of the records in it
_KINDS = _HISTORY, _SUMMARY, _CONFIG, _METRIC, _RUN, _EXIT = 2, 3, 5, 12, 17, 18
_STEP_METRIC = 4  # of a MetricRecord: what define_metric said of the step
_KEY, _NESTED_KEY, _VALUE = 1, 2, 16
_LONGEST_NUMBER = 32  # characters; JSON of a double takes 24


def recognises(path: Path, head: bytes) -> bool:
    return path.suffix == ".wandb" or head.startswith(b":W&B")


def read_together(files: Sequence[Found], mapping: Mapping) -> Iterator[Run | Note]:
    runs: dict[str, list[_File]] = {}
    for found in files:
        file = _File(found)
        with reading(found.path, found.source) as opened:
            file.load(opened)
        if file.known:
            runs.setdefault(file.run_key, []).append(file)
        else:
            told = f"; {file.damage}" if file.bad else ""
            yield Note.of("unreadable", f"{found.source} holds no run{told}")
    for run_key, parts in runs.items():
        yield _run(run_key, sorted(parts, key=lambda part: (part.began, part.source)))


def apart(files: Sequence[Found]) -> list[list[Found]]:
    """By file name: wandb names the file of every session of a run by the run's id."""
    parts: dict[str, list[Found]] = {}
    for file in files:
        parts.setdefault(file.path.name, []).append(file)
    return list(parts.values())


def _run(run_key: str, parts: Sequence[_File]) -> Run:
    """One run from the files of its sessions, in the order of their starts."""
    config: dict[str, Any] = {}
    notes: list[Note] = []
    for part in parts:
        config |= part.settings()
        notes += part.notes()
    declared = list(dict.fromkeys(name for part in parts for name in part.declared))
    points, joining = in_sessions([part.points() for part in parts], declared)
    notes += joining
    last = parts[-1]
    run = make_run(NAME, last.run_id, last.source, config, points, notes)
    return replace(
        marked_if_called(run, declared),
        run_key=run_key,
        name=last.name or run.name,
        group=last.group or run.group,
        status=last.status,
        tags=tuple(dict.fromkeys(tag for part in parts for tag in part.tags)) or run.tags,
        created_at=moment(parts[0].began) or run.created_at,
    )


class _File:
    """What one `.wandb` file holds."""

    def __init__(self, found: Found) -> None:
        self.source = found.source
        self.run_id = found.path.stem.removeprefix("run-")
        self.entity = self.project = self.name = self.group = ""
        self.tags: list[str] = []
        self.labels: dict[str, str] = {}
        self.began = 0.0
        self.known = False  # whether it holds any record of a run
        self.status: Status = "unfinished"
        self.config: dict[str, Any] = {}
        self.declared: list[str] = []  # metrics that are the step of others, as the run says
        self.summary: dict[tuple[str, ...], bytes] = {}
        self.media: set[tuple[str, ...]] = set()
        self.arrays: dict[tuple[str, ...], list[tuple[Ints, Floats]]] = {}
        self.logged = Logged()
        self.rows = 0
        self.bad: list[int] = []  # where chunks are damaged
        self.size = 0

    @property
    def run_key(self) -> str:
        return f"wandb:{self.entity}/{self.project}/{self.run_id}"

    @property
    def damage(self) -> str:
        count = f"{len(self.bad)} of its parts are" if len(self.bad) > 1 else "a part of it is"
        return f"{count} damaged or cut off, at byte {self.bad[0]} of {self.size}"

    def notes(self) -> list[Note]:
        notes = self.logged.notes()
        if self.bad:
            told = f"{self.source}: {self.damage}; the rest is read"
            notes.append(Note.of("damaged", told))
        if self.media:
            names = ", ".join(sorted(".".join(path) for path in self.media))
            notes.append(Note.of("not_scalars", f"media are left out: {names}"))
        return notes

    def load(self, file: BinaryIO) -> None:
        parts: list[bytes] = []  # of a record that goes on in the next chunk
        while piece := file.read(_PIECE):
            joined: list[bytes] = []
            spans: list[tuple[int, int]] = []
            tail = len(piece)
            for block in range(0, len(piece), _BLOCK):
                end = min(block + _BLOCK, len(piece))
                pos = block if self.size or block else _FILE_HEADER
                while end - pos >= _CHUNK_HEADER.size:
                    checksum, length, kind = _CHUNK_HEADER.unpack_from(piece, pos)
                    start, stop = pos + _CHUNK_HEADER.size, pos + _CHUNK_HEADER.size + length
                    if stop > end or zlib.crc32(piece[start - 1 : stop]) != checksum:
                        parts = []
                        if stop > end or length or kind:  # else room that was never written to
                            self.bad.append(self.size + pos)
                        if stop > end or not length:
                            break
                    elif kind == _WHOLE:
                        spans.append((start, stop))
                    else:
                        if kind == _FIRST:
                            parts = [piece[start:stop]]
                        elif parts:
                            parts.append(piece[start:stop])
                        if kind == _LAST and parts:
                            joined.append(b"".join(parts))
                            spans.append((tail, tail + len(joined[-1])))
                            tail += len(joined[-1])
                            parts = []
                    pos = stop
            self.size += len(piece)
            data = np.frombuffer(b"".join((piece, *joined, PAD)), np.uint8)
            bounds = np.array(spans, dtype=np.int64).reshape(-1, 2)
            self.take(data, bounds[:, 0], bounds[:, 1])
        if parts:
            self.bad.append(self.size)

    def take(self, data: Bytes, start: Ints, stop: Ints) -> None:
        """Read the records data[start:stop]."""
        history, summary, *rare = inner(data, start, stop, *_KINDS)
        self.take_history(data, *history[1:])
        items = _Items(data, *inner(data, *summary[1:], 1)[0])
        last = np.zeros(len(items.paths), dtype=np.int64)
        last[items.code] = np.arange(len(items.code))
        self.summary |= {
            path: items.value(row) for path, row in zip(items.paths, last.tolist(), strict=True)
        }
        found = [
            (begin, kind, data[begin:end].tobytes())
            for kind, (_, begins, ends) in zip(_KINDS[2:], rare, strict=True)
            for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)
        ]
        for _, kind, content in sorted(found):
            try:
                self.take_rare(kind, message(content))
            except (ValueError, TypeError):
                continue  # a record that is none: only a forged checksum leads here

    def take_rare(self, kind: int, record: dict[int, list[Any]]) -> None:
        if kind == _EXIT:
            self.status = "failed" if record.get(1, [0])[-1] else "finished"
        elif kind == _CONFIG:
            self.configure(record)
        elif kind == _METRIC:
            named = text(record, _STEP_METRIC)
            self.declared += [named] if named and named not in self.declared else []
        else:
            self.known = True
            self.run_id = text(record, 1) or self.run_id
            self.entity, self.project = text(record, 2), text(record, 3)
            self.group, self.name = text(record, 6), text(record, 8)
            self.labels = {"job_type": text(record, 7), "sweep": text(record, 12)}
            self.tags = [tag.decode("utf-8", "replace") for tag in record.get(10, [])]
            for config in record.get(4, []):
                self.configure(message(config))
            for time in record.get(17, []):
                fields = message(time)
                self.began = fields.get(1, [0])[-1] + fields.get(2, [0])[-1] / 1e9

    def configure(self, record: dict[int, list[Any]]) -> None:
        for update in map(message, record.get(1, [])):
            self.config[".".join(_path(update))] = _decoded(b"".join(update.get(_VALUE, [])))
        for removed in map(message, record.get(2, [])):
            self.config.pop(".".join(_path(removed)), None)

    def take_history(self, data: Bytes, start: Ints, stop: Ints) -> None:
        """Read the rows data[start:stop]; each tells its step in a field, or as an item."""
        if not len(start):
            return
        self.known = True
        steps = self.rows + np.arange(len(start))
        self.rows += len(start)
        item_spans, (owner, begin, end) = inner(data, start, stop, 1, 2)
        items = _Items(data, *item_spans)
        columns = dict(zip(items.paths, items.rows(), strict=True))
        self.media |= {path[:-1] for path in columns if path[-1] == "_type"}
        if ("_step",) in columns:
            rows = columns.pop(("_step",))
            told = items.numbers(rows)
            if told is not None and bool(np.all(np.abs(told) < 2**62)):
                steps[items.owner[rows]] = told.astype(np.int64)
        steps[owner] = 0
        for lane, key, _, value in walk(data, begin, end):
            steps[owner[lane[key == 8]]] = value[key == 8]
        for path, rows in columns.items():
            if any(path[:depth] in self.media for depth in range(1, len(path))):
                continue
            at_steps, numbers = steps[items.owner[rows]], items.numbers(rows)
            if numbers is not None:
                self.arrays.setdefault(path, []).append((at_steps, numbers))
                continue
            for step, row in zip(at_steps.tolist(), rows.tolist(), strict=True):
                for metric, entry in flattened({".".join(path): _decoded(items.value(row))}):
                    self.logged.add(step, metric, entry)

    def points(self) -> Points:
        found: dict[str, list[tuple[Ints, Floats]]] = {}
        for path, arrays in self.arrays.items():
            found.setdefault(".".join(path), []).extend(arrays)
        for key, points in self.logged.points().items():
            found.setdefault(key, []).append(points)
        return {key: join(arrays) for key, arrays in found.items()}

    def settings(self) -> dict[str, Any]:
        series = {".".join(path) for path in self.arrays}
        summary = (
            item
            for path, content in self.summary.items()
            if not any(path[:depth] in self.media for depth in range(1, len(path)))
            for item in flattened({".".join(path): _decoded(content)})
        )
        return settings(self.logged, series, summary, flattened(self.config), self.labels)


class _Items:
    """The items of many rows: whose, under which of the `paths`, and where their JSON stands."""

    def __init__(self, data: Bytes, owner: Ints, start: Ints, stop: Ints) -> None:
        self.data = data
        names_stop = start.copy()
        where, size = np.zeros(len(start), dtype=np.int64), np.zeros(len(start), dtype=np.int64)
        for lane, key, pos, value in walk(data, start, stop):
            names = (key == (_KEY << 3 | 2)) | (key == (_NESTED_KEY << 3 | 2))
            names_stop[lane[names]] = (pos + value)[names]
            held = key == (_VALUE << 3 | 2)
            where[lane[held]], size[lane[held]] = pos[held], value[held]
        good = (size > 0) & (names_stop > start)
        self.owner, self.where, self.size = owner[good], where[good], size[good]
        start, names_stop = start[good], names_stop[good]
        spelled, first = alike(data, start, names_stop - start)
        paths: dict[tuple[str, ...], int] = {}
        number = np.zeros(len(first), dtype=np.int64)
        for i, row in enumerate(first.tolist()):
            fields = message(data[start[row] : names_stop[row]].tobytes())
            number[i] = paths.setdefault(_path(fields), len(paths))
        self.paths = list(paths)
        self.code = number[spelled]

    def rows(self) -> list[Ints]:
        """The items of each path."""
        order = np.argsort(self.code, kind="stable")
        bounds = np.searchsorted(self.code[order], np.arange(1, len(self.paths)))
        return np.split(order, bounds)

    def value(self, row: int) -> bytes:
        where = self.where[row]
        return self.data[where : where + self.size[row]].tobytes()

    def numbers(self, rows: Ints) -> Floats | None:
        """The items as numbers, if they all are."""
        import pyarrow as pa

        from scaling_cli.arrow import to_numpy

        size = self.size[rows]
        if size.max(initial=0) > _LONGEST_NUMBER:
            return None
        width = np.arange(_LONGEST_NUMBER, dtype=np.uint8)
        texts = at(self.data, f"V{_LONGEST_NUMBER}", self.where[rows])
        packed = texts.view(np.uint8).reshape(len(rows), -1)[width < size[:, None].astype(np.uint8)]
        ends = np.append(0, np.cumsum(size)).astype(np.int32)
        array = pa.StringArray.from_buffers(len(rows), pa.py_buffer(ends), pa.py_buffer(packed))
        try:
            numbers: Floats = to_numpy(array.cast(pa.float64()))
        except pa.ArrowInvalid:
            return None
        return numbers


def _path(item: dict[int, list[Any]]) -> tuple[str, ...]:
    keys = item.get(_NESTED_KEY) or item.get(_KEY) or [b""]
    return tuple(key.decode("utf-8", "replace") for key in keys if isinstance(key, bytes))


def _decoded(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


ADAPTER = Adapter(NAME, recognises, read_together=read_together, apart=apart, order=BY_SIGNATURE)
