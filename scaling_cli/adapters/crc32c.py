"""CRC32C of very many byte strings at once, in numpy."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from scaling_cli.adapters.wire import Bytes, Ints

# A string is cut into blocks whose sums are taken side by side and then joined. 64 bytes hold most
# scalars whole; for long strings, joining costs more than summing.
_BLOCK, _LONG_BLOCK = 64, 4096
FRONT = bytes(_LONG_BLOCK)  # what has to precede the first string in a buffer
_SIDE_BY_SIDE = 4096  # blocks summed at a time: 1 MB of words stays in the cache
_POLYNOMIAL = 0x82F63B78


def crc32c(data: Bytes, start: Ints, size: Ints) -> Ints:
    """The checksum of each data[start:start + size]; `data` begins with FRONT."""
    found = np.zeros(len(start), dtype=np.int64)
    long = size > 32 * _BLOCK
    for block, chosen in ((_BLOCK, ~long), (_LONG_BLOCK, long)):
        if chosen.any():
            found[chosen] = _sums(data, start[chosen], size[chosen], block)
    return found


def masked(crc: Ints) -> Ints:
    """A checksum as TensorFlow's record files store it."""
    rotated = ((crc >> 15) | (crc << 17)) & 0xFFFFFFFF
    return np.asarray((rotated + 0xA282EAD8) & 0xFFFFFFFF, dtype=np.int64)


def _sums(data: Bytes, start: Ints, size: Ints, block: int) -> Ints:
    count = np.maximum(1, -(-size // block))
    first = size - (count - 1) * block  # bytes of the first block; the others are whole
    begin = np.cumsum(count) - count
    owner = np.repeat(np.arange(len(count)), count)
    number = np.arange(len(owner)) - begin[owner]
    stop = start[owner] + first[owner] + number * block
    parts = _block_sums(data, stop, np.where(number == 0, first[owner], block), block)
    initial, low, high = _operators(block)
    crc = parts[begin] ^ initial[first]
    for k in range(1, int(count.max())):
        rows = np.flatnonzero(count > k)
        old = crc[rows]
        crc[rows] = low[old & 0xFFFF] ^ high[old >> 16] ^ parts[begin[rows] + k]
    return np.asarray(crc ^ 0xFFFFFFFF, dtype=np.int64)


def _block_sums(data: Bytes, stop: Ints, used: Ints, block: int) -> Ints:
    """The sum from state 0 of the `used` bytes before each `stop`: zeros in front leave it 0."""
    table, column = _table(), np.arange(block, dtype=np.int16)
    every = np.ndarray((len(data) - block + 1,), f"V{block}", data, 0, (1,))
    found = np.empty(len(stop), dtype=np.int64)
    for low in range(0, len(stop), _SIDE_BY_SIDE * _BLOCK // block):
        chunk = slice(low, low + _SIDE_BY_SIDE * _BLOCK // block)
        rows = every[stop[chunk] - block].view(np.uint8).reshape(-1, block)
        rows *= column >= (block - used[chunk]).astype(np.int16)[:, None]
        words = rows.view("<u2").T[(block - int(used[chunk].max())) // 2 :].astype(np.int64)
        state = np.zeros(len(rows), dtype=np.int64)
        for word in words:
            word ^= state
            word &= 0xFFFF
            state >>= 16
            state ^= table[word]
        found[chunk] = state
    return found


@cache
def _table() -> Ints:
    """What two bytes in the low half of the state become after they are shifted out."""
    state = np.arange(1 << 16, dtype=np.int64)
    for _ in range(16):
        state = (state >> 1) ^ np.where(state & 1, _POLYNOMIAL, 0)
    return state


@cache
def _operators(block: int) -> tuple[Ints, Ints, Ints]:
    """The initial state after 0..block zero bytes; and what a whole block of zeros makes of the
    low and of the high half of a state."""
    table = _table()
    initial = np.empty(block + 1, dtype=np.int64)
    initial[0] = 0xFFFFFFFF
    for i in range(block):
        old = int(initial[i])
        initial[i + 1] = int(table[(old & 0xFF) << 8]) ^ (old >> 8)
    halves: list[NDArray[np.int64]] = []
    for shift in (0, 16):
        state = np.arange(1 << 16, dtype=np.int64) << shift
        bits = np.int64(1) << (np.arange(16, dtype=np.int64) + shift)
        for _ in range(block // 2):
            bits = table[bits & 0xFFFF] ^ (bits >> 16)
        state[:] = 0
        for bit in range(16):
            state[1 << bit : 2 << bit] = state[: 1 << bit] ^ bits[bit]
        halves.append(state)
    return initial, halves[0], halves[1]
