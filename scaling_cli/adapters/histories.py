"""Rows of a table as the points of runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from scaling_cli.adapters.building import (
    constants_to_config,
    decimal_comma,
    make_run,
    numbers_of,
    whole_steps,
)
from scaling_cli.adapters.tables import Labels, RawTable, config_key, distinct, floats, one_run
from scaling_cli.adapters.wire import Ints
from scaling_cli.counts import names_tokens
from scaling_cli.losses import is_loss, is_measure
from scaling_cli.notes import Note
from scaling_cli.records import Run
from scaling_cli.spelling import spelled, unfiled
from scaling_cli.steps import CALLS, marked_if_called, unrolled

SPLITS = {
    "train", "training", "val", "valid", "validation", "eval", "evaluation", "test", "dev",
}  # fmt: skip
_OF_A_SPLIT = {"step", "epoch", "set", "loop", "iter", "batch", "metrics", "log", "end"}
_SEEDS = {"seed", "random seed", "data seed", "trial", "replicate", "repeat"}


def is_split(texts: Iterable[str]) -> bool:
    """Whether texts name the data that a row is of: training, validation, test."""
    words = [set(spelled(text).split()) - _OF_A_SPLIT for text in texts]
    return all(found and found <= SPLITS for found in words)


def histories(
    table: RawTable, run_id: str | None, ids: Labels, step: str | None, order_by: str | None = None
) -> Iterator[Run]:
    """Rows are points of runs."""
    ids = part_by_group(table, run_id, ids, step)
    if step is not None:
        _part_losses(table, ids, step)
    if step is None:
        steps, has_step = _numbered(ids, table[str(order_by)].values), np.ones(table.rows, bool)
    else:
        has_step = table[step].filled
        numbers = np.where(has_step, table[step].values, 0).astype(np.float64)
        steps = whole_steps(numbers, table.place)
    if not has_step.all():
        steps, has_step = _with_the_row_before(table, ids, steps, has_step, str(step))
    if run_id is None and len(ids.names) == 1 and len(steps):
        steps = _one_counter(table, steps, has_step, str(step or order_by))
    order, bounds = ids.grouped
    columns = {c: table[c] for c in table.arrays if c not in (run_id, step)}
    left_out: dict[str, None] = {}
    commas: dict[Note | None, None] = {}
    runs = []
    for code, identity in enumerate(ids.names):
        rows = order[bounds[code] : bounds[code + 1]]
        rows = rows[has_step[rows]]
        if not len(rows):
            continue
        config: dict[str, Any] = {}
        points = {}
        run_steps = steps[rows]  # one array for all metrics that are always logged
        for column, cells in columns.items():
            held = rows[cells.filled[rows]]
            if not len(held):
                continue
            if cells.kind == "other":
                left_out[column] = None
                continue
            if not cells.numeric or config_key(column) != column:
                if len(set(cells.values[held].tolist())) == 1:
                    config[config_key(column)] = cells.cell(int(held[-1]))
                    continue
                if cells.kind == "text":
                    texts = cells.values[held].tolist()
                    known = numbers_of(set(texts))
                    if known is None:
                        left_out[column] = None
                        commas |= dict.fromkeys([decimal_comma(column, set(texts))])
                        continue
                    values = np.array([known[text] for text in texts], dtype=np.float64)
                    points[column] = steps[held], values
                    continue
            at = run_steps if len(held) == len(rows) else steps[held]
            points[column] = (at, cells.values[held].astype(np.float64, copy=False))
        made = make_run(table.adapter, identity, table.source, config, points)
        made = replace(made, step_name=step or "")
        runs.append(marked_if_called(made) if step in CALLS else made)
    if left_out:
        message = (
            f"{table.source}: text that changes within a run is left out: {', '.join(left_out)}"
        )
        table.notes.append(Note.of("text_left_out", message))
    table.notes += [note.about(table.source) for note in commas if note is not None]
    yield from constants_to_config(runs)


def _part_losses(table: RawTable, ids: Labels, step: str) -> None:
    """Where a column says which data each row is of (`split`: train, val), each has its losses."""
    for name in list(table.arrays):
        column = table[name]
        if column.kind != "text" or not is_split(texts := table.labels(name).names):
            continue
        code = table.labels(name).code
        if len(texts) < 2 or distinct(ids.code, code) == len(ids.names):  # a setting of the run
            continue
        losses = [c for c in table.arrays if (is_loss(c) or is_measure(c)) and table[c].numeric]
        for loss in losses:
            for place, text in enumerate(texts):
                filled = table[loss].filled & (code == place)
                table.add(f"{text}/{loss}", replace(table[loss], filled=filled))
        for done in (name, *losses):
            del table.arrays[done]
        return


def _with_the_row_before(
    table: RawTable, ids: Labels, steps: Ints, has_step: Any, step: str
) -> tuple[Ints, Any]:
    """Rows without a step stand at the step of their run's row before; those with none before
    them are left out."""
    last = np.full(len(ids.names), -1)
    steps, known = steps.copy(), has_step.copy()
    for row, code in enumerate(ids.code.tolist()):
        if has_step[row]:
            last[code] = row
        elif last[code] >= 0:
            steps[row], known[row] = steps[last[code]], True
    joined, lost = int((known & ~has_step).sum()), int((~known).sum())
    told = []
    if joined:
        told.append(f"{joined} rows have no {step} and stand at that of the row before")
    if lost:
        told.append(f"{lost} rows have no {step} and none before them, and are left out")
    message = f"{table.source}: {'; '.join(told)}"
    table.notes.append(Note.of("rows_without_step", message))
    return steps, known


def _one_counter(table: RawTable, steps: Ints, has_step: Any, step: str) -> Ints:
    """The steps of one history; those that begin again with each epoch go on."""
    if not has_step.all() or bool((np.diff(steps) >= 0).all()):
        return steps
    epoch = next((c for c in table.arrays if unfiled(c) == "epoch" and table[c].numeric), None)
    epochs = None if epoch is None else floats(table[epoch])
    seen = next((c for c in table.arrays if names_tokens(c) and table[c].numeric), None)
    tokens = None if seen is None else floats(table[seen])
    joined, notes = unrolled(steps.astype(np.float64), epochs, step, tokens)
    table.notes += [note.about(table.source) for note in notes]
    return steps if joined is None else joined.astype(np.int64)


def part_by_group(table: RawTable, run_id: str | None, ids: Labels, step: str | None) -> Labels:
    """The runs, those of several seeds parted by them, and those that repeat their steps by what
    tells the repeats apart: the group, once for each evaluation of a run."""
    if run_id is None or step is None:
        return ids
    steps = table[step].values
    names = [table.named(("group",)), *(n for n in table.arrays if spelled(n) in _SEEDS)]
    for name in names:
        if name in (None, run_id, step) or not table.has_labels(str(name)):
            continue
        code = table.labels(str(name)).code
        repeats = distinct(ids.code, steps) < table.rows
        parts = repeats and distinct(ids.code, steps, code) == table.rows
        if parts or (name != names[0] and distinct(ids.code, code) > len(ids.names)):
            return _parted(table, ids, str(name))
    return ids


def part_by_seed(table: RawTable, run_id: str, ids: Labels) -> Labels | None:
    """The rows, each a run by its name and its seed; None where seeds do not tell them apart."""
    for name in table.arrays:
        seeds = name != run_id and spelled(name) in _SEEDS and table.has_labels(name)
        if seeds and distinct(ids.code, table.labels(name).code) == table.rows:
            return _parted(table, ids, name)
    return None


def _parted(table: RawTable, ids: Labels, name: str) -> Labels:
    """The runs, parted by the values of a column."""
    values = table.labels(name)
    message = f"{table.source}: runs that repeat their steps in several {name}s are parted by it"
    table.notes.append(Note.of("parted_by_group", message))
    pairs, first, code = np.unique(
        ids.code.astype(np.int64) * len(values.names) + values.code,
        return_index=True,
        return_inverse=True,
    )
    owner = pairs // len(values.names)
    several = np.bincount(owner, minlength=len(ids.names)) > 1
    rank = np.argsort(np.argsort(first))
    names = [""] * len(pairs)
    for pair, identity, place in zip(pairs.tolist(), owner.tolist(), rank.tolist(), strict=True):
        run = ids.names[identity]
        part = values.names[pair % len(values.names)]
        part = part if spelled(name) not in _SEEDS else f"{name}{part}"
        names[place] = f"{run}/{part}" if several[identity] else run
    return Labels(rank[code], names)


def _numbered(ids: Labels, order_by: Any) -> Ints:
    """1, 2, ... within each run in rising order of a column."""
    order = np.lexsort((order_by, ids.code))
    _, bounds = ids.grouped
    steps = np.empty(len(ids), dtype=np.int64)
    steps[order] = np.arange(1, len(ids) + 1) - bounds[ids.code[order]]
    return steps


def long_table(
    table: RawTable, run_id: str | None, step: str, metric: str, value: str
) -> Iterator[Run]:
    """Rows are (run, step, metric, value)."""
    ids = table.labels(run_id) if run_id else one_run(table)
    metrics = table.labels(metric)
    usable = table[step].filled & table[value].filled
    steps = whole_steps(np.where(usable, table[step].values, 0).astype(np.float64), table.place)
    values = table[value].values.astype(np.float64)
    usable &= metrics.code != (metrics.names.index("") if "" in metrics.names else -1)
    rows = np.flatnonzero(usable)
    pair = ids.code[rows].astype(np.int64) * len(metrics.names) + metrics.code[rows]
    order = np.argsort(pair, kind="stable")
    rows, pair = rows[order], pair[order]
    begin = np.flatnonzero(np.append(True, pair[1:] != pair[:-1]))[: len(pair)]
    points: dict[int, dict[str, Any]] = {}
    for number, held in zip(pair[begin].tolist(), np.split(rows, begin[1:]), strict=False):
        code, name = divmod(number, len(metrics.names))
        points.setdefault(code, {})[metrics.names[name]] = (steps[held], values[held])
    config: dict[int, dict[str, Any]] = {}
    for column in table.arrays:
        if column not in (run_id, step, metric, value) and table.has_labels(column):
            for code, cell in _constants(table, column, ids, usable):
                config.setdefault(code, {})[config_key(column)] = cell
    for code in sorted(points):
        identity = ids.names[code]
        yield make_run(table.adapter, identity, table.source, config.get(code, {}), points[code])


def _constants(table: RawTable, column: str, ids: Labels, usable: Any) -> Iterator[tuple[int, Any]]:
    """The runs in which a column holds one value only, and the value."""
    order, _ = ids.grouped
    order = order[(usable & table[column].filled)[order]]
    if not len(order):
        return
    codes, begin = np.unique(ids.code[order], return_index=True)
    label = table.labels(column).code[order]
    same = np.minimum.reduceat(label, begin) == np.maximum.reduceat(label, begin)
    for code, row in zip(codes[same].tolist(), order[begin[same]].tolist(), strict=True):
        yield code, table[column].cell(row)
