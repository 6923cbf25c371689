"""Batches of arrays [batch, rows]: products whose digits stay, and buffers that are used again."""

from __future__ import annotations

from math import prod

import numpy as np

from scaling_cli.records import Floats

BLOCK = 16  # rows of a product at a time; a multiple of what BLAS kernels take together


class Scratch:
    """Buffers [batch, rows] by name. A new array each time would cost as much as filling it."""

    def __init__(self) -> None:
        self._held: dict[str, Floats] = {}
        self._parts: dict[int, Scratch] = {}

    def __call__(self, name: str, shape: tuple[int, ...]) -> Floats:
        """The buffer's beginning in this shape, holding whatever was left there."""
        size = prod(shape)
        held = self._held.get(name)
        if held is None or len(held) < size:
            held = self._held[name] = np.empty(size)
        return held[:size].reshape(shape)

    def of(self, part: int) -> Scratch:
        """Buffers of its own for a part of the work."""
        return self._parts.setdefault(part, Scratch())


def products(left: Floats, right: Floats, result: Floats | None = None) -> Floats:
    """left [batch, rows] @ right [rows, columns], each row's digits the same in every batch.

    BLAS rounds by the shape of a product, so all are made in blocks of one shape.
    """
    (batch, rows), columns = left.shape, right.shape[1]
    if result is None:
        result = np.empty((batch, columns))
    blocks, rest = divmod(batch, BLOCK)
    whole = blocks * BLOCK
    if blocks:
        out = result[:whole].reshape(blocks, BLOCK, columns)
        np.matmul(left[:whole].reshape(blocks, BLOCK, rows), right, out=out)
    if rest:
        last = np.zeros((1, BLOCK, rows))
        last[0, :rest] = left[whole:]
        result[whole:] = np.matmul(last, right)[0, :rest]
    return result
