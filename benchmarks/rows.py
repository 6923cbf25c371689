"""What the benchmarks share: the public rows, surfaces, and a stopwatch."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from scaling_cli.fitting.objective import get_objective
from scaling_cli.fitting.surface import Surface, on_scale
from scaling_cli.laws import get_law
from scaling_cli.records import Floats

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("SCALEFIT_PUBLIC_DATA", ROOT.parent / "shared" / "data"))
TABLE = DATA / "chinchilla_epoch" / "chinchilla.csv"


def chinchilla_rows() -> tuple[Floats, Floats, Floats] | None:
    """Params, tokens and loss of the 240 public rows [rows]; None where the table is absent."""
    if not TABLE.is_file():
        return None
    with TABLE.open() as file:
        rows = [row for row in csv.DictReader(file) if row["in_epoch_fit"] == "1"]
    params, tokens, loss = (
        np.array([float(row[name]) for row in rows]) for name in ("params", "tokens", "loss")
    )
    return params, tokens, loss


def surface_on(
    law_id: str, params: Floats, tokens: Floats, loss: Floats
) -> tuple[Surface, Mapping[str, float]]:
    """The default objective's surface and the scales of its columns."""
    law = get_law(law_id)
    scales, scaled, constants = on_scale(law, {"params": params, "tokens": tokens})
    return Surface(law, scaled, loss, get_objective("huber_log"), constants), scales


def seconds(*work: Callable[[], object], rounds: int = 3) -> list[float]:
    """Processor seconds of a call of each, summed over rounds in turn, over `rounds`.

    Processor time leaves other programs' share out; turns spread what they do to the caches.
    """
    spent = [0.0] * len(work)
    for _ in range(rounds):
        for i, item in enumerate(work):
            start = time.process_time()
            item()
            spent[i] += time.process_time() - start
    return [total / rounds for total in spent]
