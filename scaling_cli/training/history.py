"""What a curve law reads of a schedule: sums of rates, annealing, and the changes of the rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scaling_cli.laws import Law
from scaling_cli.laws.curve import RateDrops
from scaling_cli.records import Floats, Steps

BLOCK = 64  # steps that the annealing's recursion takes at once, as one product of matrices
NEAREST = 16  # steps behind a row in the first stretch of changes; 1 is no closer to the full sum
NO_CHANGE = 1e-12  # of the highest rate: rounding in the differences of sums


def annealing(rates: Floats, decay: float, start: int = 0) -> Floats:
    """S2 [steps + 1] of Tissue et al. 2024: the sum of m_i = decay m_(i-1) + rate_(i-1) - rate_i.

    Changes of the rate up to `start` do not count: the end of the warmup, to leave it out.
    """
    falls = -np.diff(rates, prepend=rates[0])
    falls[: start + 1] = 0.0
    padded = np.zeros(-(-len(falls) // BLOCK) * BLOCK)
    padded[: len(falls)] = falls
    age = np.subtract.outer(np.arange(BLOCK), np.arange(BLOCK))
    kernel = np.where(age >= 0, decay ** np.maximum(age, 0), 0.0)
    inside = padded.reshape(-1, BLOCK) @ kernel.T
    fading = decay ** np.arange(1, BLOCK + 1)
    carried = 0.0
    for block in inside:
        block += carried * fading
        carried = block[-1]
    momentum: Floats = inside.ravel()[: len(falls)]
    return np.cumsum(momentum)


def rate_drops(rates: Floats, sums: Floats, steps: Sequence[int] | Steps) -> RateDrops:
    """The changes of the rate behind each of `steps`, for the multi-power law.

    `rates` and `sums` are [total + 1]. Seen from a row, changes are taken together over stretches
    that double backwards, each as two points with the mean and the spread of its changes: what a
    change still has to give falls with a power of its distance. Rises and falls are kept apart.
    """
    at = np.asarray(steps, dtype=np.int64)
    falls = -np.diff(rates, prepend=rates[0])
    falls[rates <= 0.0] = 0.0  # a rate of zero teaches nothing, and has no power
    before = sums - rates
    taught = np.maximum.accumulate(np.where(rates > 0.0, np.arange(len(rates)), 0))
    log_rates = np.log(np.maximum(rates, 1e-300))
    longest = max(int(at.max()).bit_length() + 1, NEAREST.bit_length())
    back = np.append(0, 2 ** np.arange(NEAREST.bit_length() - 1, longest))
    newest, oldest = at[:, None] - back[:-1], np.maximum(at[:, None] - back[1:], -1)
    row = np.broadcast_to(np.arange(len(at))[:, None], newest.shape)[newest > oldest]
    newest, oldest = newest[newest > oldest], oldest[newest > oldest]  # steps (oldest, newest]
    parts = [(np.arange(len(at)), *np.zeros((4, len(at))))]
    for part in (np.maximum(falls, 0.0), np.minimum(falls, 0.0)):
        moments = [np.append(0.0, np.cumsum(part * before**power)) for power in range(3)]
        drop, first, second = (m[newest + 1] - m[oldest + 1] for m in moments)
        kept = np.abs(drop) > NO_CHANGE * rates.max()
        at_row, drop = row[kept], drop[kept]
        middle = first[kept] / drop
        spread = np.sqrt(np.maximum(second[kept] / drop - middle**2, 0.0))
        low, high = before[oldest[kept] + 1], before[taught[newest[kept]]]
        for place in (middle - spread, middle + spread):
            place = np.clip(place, low, high)
            logs = np.interp(place, before, log_rates)
            ahead, behind = np.log(sums[at[at_row]] - place), np.log(np.maximum(place, 1e-300))
            parts.append((at_row, drop / 2, logs, ahead, behind))
    rows, *columns = (np.concatenate(items) for items in zip(*parts, strict=True))
    order = np.argsort(rows, kind="stable")
    drop, log_rate, log_sum, log_before = (column[order] for column in columns)
    first_of = np.searchsorted(rows[order], np.arange(len(at)))
    return RateDrops(drop, log_rate, log_sum, log_before, first_of)


DECAY = 0.999  # Tissue et al.'s default


def curve_columns(
    law: Law,
    rates: Floats,
    steps: Sequence[int] | Steps,
    params: float | None = None,
    decay: float = DECAY,
    start: int = 0,
) -> dict[str, Any]:
    """The columns [rows] that a curve law reads at `steps` of a run with these `rates` [total + 1].

    `decay` is the memory of `lr_anneal`, and `start` the step from which annealing counts.
    """
    at = np.asarray(steps, dtype=np.int64)
    sums = np.cumsum(rates)
    made: dict[str, Any] = {}
    for name in law.variables:
        if name == "rate_sum":
            made[name] = sums[at]
        elif name == "annealing":
            made[name] = annealing(rates, decay, start)[at]
        elif name == "rate_drops":
            made[name] = rate_drops(rates, sums, at)
        elif name == "params":
            made[name] = np.full(len(at), np.nan if params is None else params)
    return made


def stacked(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The columns of several runs as those of one table, rows after rows."""
    made: dict[str, Any] = {}
    for name in parts[0]:
        values = [part[name] for part in parts]
        made[name] = (
            RateDrops.stacked(values)
            if isinstance(values[0], RateDrops)
            else np.concatenate(values)
        )
    return made
