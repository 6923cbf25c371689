"""Resamples of whole runs."""

from __future__ import annotations

import numpy as np

from scaling_cli.records import Floats
from scaling_cli.table import Mask, Table


def resampled(rows: Table, count: int, random: np.random.Generator) -> Floats:
    """How often each row is drawn [count, rows] when whole runs are drawn anew.

    The rows of one run are not independent.
    """
    runs = rows.n_runs
    counts = random.multinomial(runs, np.full(runs, 1.0 / runs), size=count)
    drawn: Floats = counts[:, rows.owner_numbers()].astype(float)
    return drawn


def determined(counts: Floats, free: int) -> Mask:
    """Which resamples [count] hold as many distinct rows as parameters: these are fitted exactly,
    and fewer by any of many surfaces. `counts` [count, rows] say how often each row was drawn."""
    enough: Mask = np.count_nonzero(counts, axis=1) >= free
    return enough
