"""The protobuf wire format without schemas: one message in Python, or very many in numpy.

Event files and offline W&B runs are millions of small messages. `walk` goes through them side by
side, one field of each a round, so that the work is a few numpy calls a field instead of a few
Python objects a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

PAD = bytes(32)  # what has to follow the last message in a buffer: a varint may read past it
_MIX = np.uint64(0x9E3779B97F4A7C15)


def message(data: bytes) -> dict[int, list[Any]]:
    """Field number -> its values: ints, or bytes. ValueError if it is no message."""
    found: dict[int, list[Any]] = {}
    pos = 0
    while pos < len(data):
        key, pos = _varint(data, pos)
        wire = key & 7
        value: int | bytes
        if wire == 0:
            value, pos = _varint(data, pos)
        else:
            size = {1: 8, 5: 4}.get(wire, -1)
            if wire == 2:
                size, pos = _varint(data, pos)
            if not 0 <= size <= len(data) - pos:
                raise ValueError("a field is cut off")
            value = data[pos : pos + size]
            pos += size
        found.setdefault(key >> 3, []).append(value)
    return found


def text(fields: dict[int, list[Any]], number: int) -> str:
    """The text of a field, or nothing."""
    value = fields.get(number, [b""])[-1]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""


def _varint(data: bytes, pos: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if pos >= len(data):
            break
        byte = data[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, pos
    raise ValueError("a number is cut off")


def walk(data: Bytes, start: Ints, stop: Ints) -> Iterator[tuple[Ints, Ints, Ints, Ints]]:
    """The next field of every message data[start:stop], a round at a time.

    Yields (message, key, at, value): which messages have one more field, its key (number << 3 |
    wire type), where its payload stands, and the number it holds or the payload's length. A
    message that turns out to be broken is left at that field. `data` ends in PAD.
    """
    lane = np.flatnonzero(start < stop)
    pos, end = start[lane], stop[lane]
    while len(lane):
        key, pos = varints(data, pos)
        wire = key & 7
        counted = (wire == 0) | (wire == 2)
        if counted.all():
            value, pos = varints(data, pos)
        else:
            value = np.where(wire == 1, 8, 4)
            value[counted], pos[counted] = varints(data, pos[counted])
        size = np.where(wire == 0, 0, value)
        good = (size >= 0) & (size <= end - pos) & (counted | (wire == 1) | (wire == 5))
        if not good.all():
            lane, end, key, pos, value, size = (
                array[good] for array in (lane, end, key, pos, value, size)
            )
            if not len(lane):
                return
        yield lane, key, pos, value
        pos = pos + size
        more = pos < end
        if not more.all():
            lane, pos, end = lane[more], pos[more], end[more]


def inner(data: Bytes, start: Ints, stop: Ints, *numbers: int) -> list[tuple[Ints, Ints, Ints]]:
    """For each field number, what the messages data[start:stop] hold under it: (owner, start, stop)
    in the order that they stand in."""
    none = np.zeros(0, dtype=np.int64)
    found = [[(none, none, none)] for _ in numbers]
    for lane, key, pos, value in walk(data, start, stop):
        for number, held in zip(numbers, found, strict=True):
            chosen = key == (number << 3 | 2)
            if chosen.all():
                held.append((lane, pos, pos + value))
            elif chosen.any():
                held.append((lane[chosen], pos[chosen], (pos + value)[chosen]))
    sorted_ = []
    for held in found:
        owner, begin, end = (np.concatenate(part) for part in zip(*held, strict=True))
        order = np.argsort(begin, kind="stable")
        sorted_.append((owner[order], begin[order], end[order]))
    return sorted_


def varints(data: Bytes, pos: Ints) -> tuple[Ints, Ints]:
    """The varint at each position, and where the next byte is."""
    byte = data[pos]
    value = (byte & 0x7F).astype(np.int64)
    pos = pos + 1
    more = np.flatnonzero(byte >= 0x80)
    for shift in range(7, 70, 7):
        if not len(more):
            break
        byte = data[pos[more]]
        value[more] |= (byte & 0x7F).astype(np.int64) << shift
        pos[more] += 1
        more = more[byte >= 0x80]
    return value, pos


def at(data: Bytes, kind: str, pos: Ints) -> NDArray[Any]:
    """The numbers of a dtype that stand at the positions, aligned or not."""
    dtype = np.dtype(kind)
    every = np.ndarray((len(data) - dtype.itemsize + 1,), dtype, data, 0, (1,))
    found: NDArray[Any] = every[pos]
    return found


def alike(data: Bytes, start: Ints, size: Ints) -> tuple[NDArray[np.int32], Ints]:
    """Number the byte strings so that equal ones have one number; with the first of each.

    By a 64-bit hash: among 10,000 different strings two would clash once in 4e11 files.
    """
    from scaling_cli.arrow import from_numpy, to_numpy

    hashed = size.astype(np.uint64) * _MIX
    lane = np.flatnonzero(size > 0)
    done = 0
    while len(lane):
        left = np.minimum(size[lane] - done, 8)
        word = at(data, "<u8", start[lane] + done)
        word &= np.uint64(0xFFFFFFFFFFFFFFFF) >> ((8 - left) * 8).astype(np.uint64)
        mixed = (hashed[lane] ^ word) * _MIX
        hashed[lane] = mixed ^ (mixed >> np.uint64(29))
        done += 8
        lane = lane[size[lane] > done]
    codes = to_numpy(from_numpy(hashed).dictionary_encode().indices)
    first = np.zeros(int(codes.max(initial=-1)) + 1, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    return codes, first
