"""Resamples of whole runs: drawn anew or, where these are few, weighed anew."""

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


def weighed(rows: Table, count: int, random: np.random.Generator) -> Floats:
    """How much each row counts [count, rows] when whole runs get weights of mean one, uniform among
    those of a sum: the Bayesian bootstrap (Rubin 1981, doi:10.1214/aos/1176345338).

    It spreads as runs drawn anew do, and leaves none out: of eight runs two thirds of such draws
    hold fewer distinct ones than a law of six parameters needs.
    """
    runs = rows.n_runs
    shares = random.dirichlet(np.ones(runs), size=count)
    drawn: Floats = runs * shares[:, rows.owner_numbers()]
    return drawn


def determined(counts: Floats, free: int) -> Mask:
    """Which resamples [count] hold as many distinct rows as parameters: these are fitted exactly,
    and fewer by any of many surfaces. `counts` [count, rows] say how often each row was drawn."""
    enough: Mask = np.count_nonzero(counts, axis=1) >= free
    return enough
