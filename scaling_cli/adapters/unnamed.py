"""Tables that name no run: whether their rows are the points of one history, and at which steps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as Dict
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from scaling_cli.adapters.histories import histories, is_split
from scaling_cli.adapters.tables import Column, Labels, RawTable, distinct, floats, one_run
from scaling_cli.columns import COLUMNS
from scaling_cli.errors import InputError
from scaling_cli.losses import is_loss
from scaling_cli.notes import Note
from scaling_cli.records import Run
from scaling_cli.spelling import spelled, unfiled
from scaling_cli.steps import (
    STEP_IS,
    begun_again,
    counters,
    epoch_column,
    from_names,
    is_counter,
    is_even,
    passing,
    rising,
    saved_steps,
    settings_differ,
    unrolled,
)

TIME = re.compile(r"^\s*(\d+ days?,? )?[\dT:.,+Z\s/-]*\s*$")
_TELEMETRY = {
    "norm", "time", "mfu", "throughput", "memory", "mem", "tps", "wps", "dt", "ms", "seconds",
}  # fmt: skip
_LEAST_ROWS = 3  # of a history, on average
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
    again = epoch_of(table)
    if again is not None and is_counter(numbers[again]):
        message = f"{table.source}: {again} begins again, so its points are numbered in order"
        table.notes.append(Note.of("no_step_column", message))
        return _marked(_numbered_rows(table), "rows")
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


def step_in_names(table: RawTable) -> str | None:
    """A column for the steps in the names of checkpoints, which is added where there is none."""
    for name in table.arrays:
        cells = table[name]
        texts = cells.values.tolist() if cells.kind == "text" and cells.filled.all() else []
        steps = saved_steps(name, texts)
        if steps is not None and "step" not in table.arrays:
            table.add("step", Column("int", np.array(steps), np.ones(table.rows, bool)))
            table.notes.append(from_names(table.source, name, texts[-1]))
            return "step"
    return None


def epoch_of(table: RawTable) -> str | None:
    """The column of epochs, where all rows have one."""
    for name in table.arrays:
        if unfiled(name) == "epoch" and table[name].numeric and table[name].filled.all():
            return name
    return None


def several_by_epoch(table: RawTable) -> Iterator[Run] | None:
    """The rows of a table without steps as several histories, which their epochs count; None where
    they are none."""
    epoch = epoch_of(table)
    several = epoch and (runs_in(table, epoch) or begun_again_in(table, epoch))
    return _marked(histories(table, None, several, epoch), "epoch") if several else None


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
    if unrolled(told, epochs, step)[0] is not None:  # it begins again with each epoch
        return True
    # Rows that nothing tells apart are no runs where their step rises, if it begins again or not.
    numbers = {name: floats(table[name]) for name in table.arrays if table[name].numeric}
    known = _tells_of_training(table) and not _names_its_rows(table)
    falls = int((np.diff(told) < 0).sum())
    rises = is_counter(told) and len(told) >= _LEAST_ROWS * (falls + 1)
    return known and rises and not settings_differ(numbers)


def runs_in(table: RawTable, step: str) -> Labels | None:
    """The rows of a table without run ids as several histories, told apart by settings that each
    keeps throughout (`params`, `model`, the rate of a sweep); None where they are none."""
    column = table[step]
    if not column.filled.all() or not _tells_of_training(table):
        return None
    steps = column.values.astype(np.float64)
    stretch = np.cumsum(np.append(False, np.diff(steps) < 0))
    names = [name for name in table.arrays if name != step and _parts(table, name, stretch, steps)]
    if not names:
        return None
    texts = [table.labels(name).texts() for name in names]
    rows = zip(*texts, strict=True)
    told = [" ".join(_shown(n, v) for n, v in zip(names, row, strict=True)) for row in rows]
    order = {text: place for place, text in enumerate(dict.fromkeys(told))}
    code = np.array([order[text] for text in told])
    parts = [steps[code == place] for place in range(len(order))]
    if len(parts) < 2 or not all(is_counter(part) and is_even(part) for part in parts):
        return None
    message = (
        f"{table.source}: rows of one {' and '.join(names)} are the history of a run, since"
        f" {step} rises within them"
    )
    table.notes.append(Note.of("parted_by_settings", message))
    return Labels(code, [f"{table.stem}/{text}" for text in order])


def _shown(name: str, value: str) -> str:
    return value if re.search(r"[A-Za-z]", value) else f"{name}={value}"


def _parts(
    table: RawTable, name: str, stretch: NDArray[np.signedinteger], steps: NDArray[np.float64]
) -> bool:
    """Whether a column tells histories apart: a known setting, or what never changes while the
    step rises and then does."""
    if not table.has_labels(name) or is_loss(name) or unfiled(name) == "epoch":
        return False
    numeric = table[name].numeric
    setting = numeric and settings_differ({name: floats(table[name])})
    if not setting and bool((steps[1:] > steps[:-1]).all()):  # neither side by side nor below
        return False
    labels = table.labels(name)
    if not 2 <= len(labels.names) <= table.rows // _LEAST_ROWS or "" in labels.names:
        return False
    if not numeric and (is_split(labels.names) or all(map(TIME.fullmatch, labels.names))):
        return False
    if setting:
        return True
    if not stretch[-1]:  # side by side, if not one below the other
        return distinct(steps) < table.rows == distinct(labels.code, steps)
    starts = np.flatnonzero(np.append(True, np.diff(stretch) > 0))
    whole = distinct(stretch, labels.code) == len(starts)
    return whole and bool((steps[starts] == steps[0]).all())


def begun_again_in(table: RawTable, step: str) -> Labels | None:
    """The rows of a table that nothing tells apart as several histories, where step and loss both
    begin again; None where they do not."""
    column = table[step]
    loss = next((n for n in table.arrays if is_loss(n) and table[n].numeric), None)
    if loss is None or not column.filled.all():
        return None
    starts = begun_again(column.values.astype(np.float64), floats(table[loss]))
    if not starts:
        return None
    message = (
        f"{table.source}: {step} and {loss} begin again in row"
        f" {', '.join(str(start + table.first_row) for start in starts[:4])}, so it holds"
        f" {len(starts) + 1} runs, one behind the other"
    )
    table.notes.append(Note.of("several_runs", message))
    code = np.searchsorted(starts, np.arange(table.rows), side="right")
    return Labels(code, [f"{table.stem}-{place + 1}" for place in range(len(starts) + 1)])
