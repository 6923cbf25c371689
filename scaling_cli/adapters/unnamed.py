"""Tables that name no run: whether their rows are the points of one history, and at which steps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as Dict
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from scaling_cli.adapters.histories import histories
from scaling_cli.adapters.tables import Column, RawTable, floats, one_run
from scaling_cli.columns import COLUMNS
from scaling_cli.errors import InputError
from scaling_cli.losses import is_loss
from scaling_cli.notes import Note
from scaling_cli.records import Run
from scaling_cli.spelling import spelled, unfiled
from scaling_cli.steps import (
    STEP_IS,
    counters,
    epoch_column,
    passing,
    rising,
    settings_differ,
    unrolled,
)

TIME = re.compile(r"^\s*(\d+ days?,? )?[\dT:.,+Z\s/-]*\s*$")
_TELEMETRY = {
    "norm", "time", "mfu", "throughput", "memory", "mem", "tps", "wps", "dt", "ms", "seconds",
}  # fmt: skip
_SWEPT = 0.18  # of the logarithm: rates of a sweep lie a fifth or more apart
_TOKENS = {unfiled(name) for name in COLUMNS["tokens"].names}


def unnamed_history(table: RawTable) -> Iterator[Run] | None:
    """The rows as one history, where a column that rises says so and no setting differs; None if
    they are runs."""
    if table.rows < 2 or not _tells_of_training(table):
        return None
    numbers = {c: floats(table[c]) for c in table.arrays if table[c].numeric}
    if settings_differ(numbers) or _names_its_rows(table):
        return None
    found = counters(numbers)
    if len(found) > 1:
        raise InputError(
            f"{table.source}: its rows are points of a history, and more than one column may be"
            f" their step: {', '.join(found)}",
            f'Name it in scalefit.toml: [columns] step = "{found[0]}"',
        )
    if found:
        table.notes.append(_step_by_name(table.source, found[0]))
        return histories(table, None, one_run(table), found[0])
    epoch = epoch_column(numbers)
    if epoch is not None:
        table.notes.append(_step_by_epoch(table.source, epoch))
        return _marked(histories(table, None, one_run(table), epoch), "epoch")
    tokens = rising(numbers, COLUMNS["tokens"].names)
    if tokens is not None:
        message = f"{table.source}: it has no step column, so the points are numbered by {tokens}"
        table.notes.append(Note.of("no_step_column", message))
        return _marked(histories(table, None, one_run(table), None, tokens), "rows")
    clock = passing(numbers)
    if clock is not None:
        message = f"{table.source}: it has no step column, so the points are numbered by {clock}"
        table.notes.append(Note.of("no_step_column", message))
        return _marked(histories(table, None, one_run(table), None, clock), "rows")
    if _is_of_one_run(numbers, table.arrays):
        message = f"{table.source}: it has no step column, so its points are numbered in order"
        table.notes.append(Note.of("no_step_column", message))
        return _marked(_numbered_rows(table), "rows")
    return None


def _is_of_one_run(numbers: Dict[str, NDArray[np.float64]], names: Iterable[str]) -> bool:
    """Whether rows say nothing but what a trainer logs of each step: a loss, a rate that changes
    little from row to row, times and norms."""
    rate = None
    for name in names:
        words = set(spelled(name).split())
        if name not in numbers:
            return False
        if words & {"lr"} or {"learning", "rate"} <= words:
            rate = numbers[name]
        elif not is_loss(name) and not words & _TELEMETRY:
            return False
    if rate is None or len(rate) < 2:
        return rate is None
    ratios = rate[1:] / np.where(rate[:-1] == 0, np.nan, rate[:-1])
    return bool(np.mean(np.abs(np.log(np.maximum(np.abs(ratios), 1e-9))) > _SWEPT) < 0.5)


def _numbered_rows(table: RawTable) -> Iterator[Run]:
    table.add("\0row", Column("int", np.arange(1, table.rows + 1), np.ones(table.rows, bool)))
    return histories(table, None, one_run(table), "\0row")


def _marked(runs: Iterable[Run], counts: str) -> Iterator[Run]:
    """The runs, with the setting that says that their steps are none of the trainer's."""
    for run in runs:
        yield replace(run, config=run.config | {STEP_IS: counts})


def _step_by_name(source: str, name: str) -> Note:
    message = (
        f"{source}: {name} rises from row to row and no setting differs, so it is taken for the"
        f' step of one history; if it is not, name the step: [columns] step = "..."'
    )
    return Note.of("step_by_order", message)


def _step_by_epoch(source: str, name: str) -> Note:
    message = f"{source}: it has no step column, so its points stand at their {name}"
    return Note.of("no_step_column", message)


def _tells_of_training(table: RawTable) -> bool:
    """Whether a column is known as a loss or as tokens."""
    return any(is_loss(name) or unfiled(name) in _TOKENS for name in table.arrays)


def _names_its_rows(table: RawTable) -> bool:
    """Whether a column of texts differs in each row and is no time: names of runs."""
    for name in table.arrays:
        cells = table[name]
        if cells.kind != "text" or not cells.filled.all():
            continue
        texts = set(cells.values.tolist())
        if len(texts) == table.rows and not all(map(TIME.match, texts)):
            return True
    return False


def is_history(table: RawTable, step: str) -> bool:
    """Whether the rows of a table without run ids are the points of one run."""
    for size in COLUMNS["params"].names:
        if size in table.arrays and len(table.labels(size).names) > 1:
            return False
    column = table[step]
    told = column.values[column.filled].astype(np.float64)
    if len(np.unique(told)) * 2 > len(told):
        return True
    losses = [table[name] for name in table.arrays if is_loss(name) and table[name].numeric]
    held = [column.values[cells.filled & column.filled] for cells in losses]
    if held and all(len(np.unique(at)) * 2 > len(at) for at in held):
        return True  # training and validation stand in rows of their own
    epoch = next((c for c in table.arrays if unfiled(c) == "epoch" and table[c].numeric), None)
    epochs = None if epoch is None else floats(table[epoch])[column.filled]
    return unrolled(told, epochs, step)[0] is not None  # it begins again with each epoch
