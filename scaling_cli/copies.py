"""Runs that a table holds twice, to the digits in which they were written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import numpy as np

from scaling_cli.notes import Note
from scaling_cli.records import Floats
from scaling_cli.table import Table

COUNTS = ("params", "params_non_embedding", "params_active", "tokens", "unique_tokens", "flops")
SAME_COUNT = 1e-3  # two loggers round a count, or take in a last batch
SAME_COMPUTE = 3 * SAME_COUNT  # of a product of counts
SAME_NUMBER = 1e-6  # event files hold 24 bits of a number
ROUNDED = 5e-4  # a target of three digits: one that ends in zeros may have more
PRINTED = 1e-4  # the last digit of a loss that most consoles print
SEED_SPREAD = 2e-3  # of the target: how far seeds part where no two runs of a table show it
BY_CHANCE = 3.0  # standard deviations
MOST = 20_000  # rows: of more, only those that agree in every digit are looked for

Pairs = tuple[np.ndarray[tuple[int], np.dtype[np.intp]], np.ndarray[tuple[int], np.dtype[np.intp]]]
NONE = np.empty(0, dtype=np.intp)


def copies(rows: Table, target: str, read: Iterable[str] = ()) -> Pairs:
    """Pairs of runs, an earlier and a later row, all of whose numbers are the same to the digits
    given: their columns, the `target`, and what else is `read` of them.

    Seeds of one place part by chance, and where a target is written in few digits some of them
    agree by chance: these are no copies.
    """
    names = [name for name in dict.fromkeys([*rows.columns, *read, "seed"]) if rows.has(name)]
    if target not in names:
        return NONE, NONE
    values = {name: rows.numbers(name) for name in names}
    first, second = _exact(values) if len(rows) > MOST else _together(values, target)
    apart = np.array([rows.owners[a] != rows.owners[b] for a, b in zip(first, second, strict=True)])
    if not apart.any():
        return NONE, NONE
    first, second = first[apart], second[apart]
    y = values[target]
    away, middle = np.abs(y[first] - y[second]), np.abs(y[first] + y[second]) / 2
    digits = {row: _last_digit(float(y[row])) for row in np.unique(np.r_[first, second]).tolist()}
    unit = np.array([max(digits[a], digits[b]) for a, b in zip(first, second, strict=True)])
    reach = np.clip(0.501 * unit, SAME_NUMBER * middle, ROUNDED * middle)
    same = away <= reach
    if np.sum(same) <= _expected(away, same, reach, middle):
        return NONE, NONE
    return first[same], second[same]


def duplicates(rows: Table, pairs: Pairs) -> list[Note]:
    """A note on the runs that `copies` found."""
    first, second = pairs
    if not len(second):
        return []
    at = np.lexsort((first, second))[0]
    one, other = rows.run_ids[second[at]], rows.owners[first[at]]
    message = (
        f"{len(np.unique(second))} of {len(rows)} runs have the numbers of another ({one} those of"
        f" {other}), to the digits that both are written in: for the intervals such runs count as"
        " one, but the fit goes through each as often as it is there. Leave copies out by `where=`;"
        " if they are seeds, log the `seed`."
    )
    return [Note.of("duplicate_runs", message)]


def same_run_twice(rows: Table) -> list[Note]:
    """A note on runs of two loggers with one id, below whatever folder, and one loss, params and
    tokens at the end."""
    pairs, sources = _twins(rows), rows.labels.find("source")
    if not pairs or sources is None:
        return []
    one, other = pairs[0]
    more = f", and {len(pairs) - 1} more such pairs" if len(pairs) > 1 else ""
    message = (
        f"{rows.owners[one]} (from {sources[one]}) and {rows.owners[other]} (from {sources[other]})"
        f" look like one run that counts twice{more}. Count each once by `once=`, leave one out by"
        f" `where=` 'source != \"{sources[other]}\"',"
        " or ingest what one logger wrote into a store of its own."
    )
    return [Note.of("same_run_twice", message)]


def counted_once(rows: Table) -> Table:
    """The rows without the second of two that look like one run which two loggers wrote; a note
    names them."""
    again = {other for _, other in _twins(rows)}
    if not again:
        return rows
    keys = [rows.owners[row] for row in sorted(again)]
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    message = f"of runs that two loggers wrote one counts; left out: {', '.join(keys[:3])}{more}."
    kept = np.array([row not in again for row in range(len(rows))], dtype=bool)
    return rows.select(kept).with_notes([Note.of("counted_once", message)])


def as_one(rows: Table, pairs: Pairs) -> Table:
    """The rows, copies owned by the first of their kind: resamples draw them together, and they
    count as one run."""
    if not len(pairs[1]):
        return rows
    owners = list(rows.owners)
    for first, second in sorted(zip(*(numbers.tolist() for numbers in pairs), strict=True)):
        owners[second] = owners[first]
    return replace(rows, owners=tuple(owners))


def _expected(away: Floats, same: np.ndarray, reach: Floats, middle: Floats) -> float:
    """How many of the pairs [pairs], as far `away` from each other as given, would seeds make agree
    within `reach` at most."""
    others = away[~same]
    spread = float(np.median(others)) if len(others) else SEED_SPREAD * float(np.median(middle))
    step = float(np.min(others)) / 2 if len(others) >= 5 else 0.0
    # Two draws of one normal lie within r of each other with probability erf(r / 2s), s being
    # their deviation; the median distance is .95 s.
    chance = np.minimum(1.0, np.maximum(reach, step) / spread * 0.54)
    mean = float(np.sum(chance))
    return mean + BY_CHANCE * float(np.sqrt(np.sum(chance * (1 - chance))))


def _last_digit(value: float) -> float:
    """The unit of the last decimal that a number is written with: .01 of 3.21."""
    exponent = Decimal(repr(value)).as_tuple().exponent
    return float(10.0**exponent) if isinstance(exponent, int) and exponent < 0 else 0.0


def _exact(values: dict[str, Floats]) -> Pairs:
    """Pairs of rows, an earlier and a later one, all of whose values are the same."""
    first: dict[bytes, int] = {}
    table = np.column_stack(list(values.values()))
    pairs = [(first.setdefault(row.tobytes(), i), i) for i, row in enumerate(table)]
    pairs = [(a, b) for a, b in pairs if a != b]
    found = np.array(pairs, dtype=np.intp).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _together(values: dict[str, Floats], target: str) -> Pairs:
    """Pairs of rows, an earlier and a later one, that agree in all but the target: counts as two
    loggers round them, other numbers to the digits given, what one of them lacks not at all."""
    others = {name: column for name, column in values.items() if name != target}
    if not others:
        return _exact(values)
    lead = max(others, key=lambda name: len(np.unique(others[name])))
    order = np.argsort(others[lead], kind="stable")
    sorted_lead = others[lead][order]
    width = _tolerance(lead)
    ends = np.searchsorted(sorted_lead, sorted_lead + 2 * width * np.abs(sorted_lead), "right")
    first, second = [np.empty(0, np.intp)], [np.empty(0, np.intp)]
    for i, end in enumerate(ends.tolist()):
        if end <= i + 1:
            continue
        rows = order[i + 1 : end]
        near = np.ones(len(rows), dtype=bool)
        for name, column in others.items():
            here, there = column[order[i]], column[rows]
            near &= ~(np.abs(there - here) > _tolerance(name) * np.abs(here))
        first.append(np.minimum(rows[near], order[i]))
        second.append(np.maximum(rows[near], order[i]))
    return np.concatenate(first), np.concatenate(second)


def _tolerance(name: str) -> float:
    """How far, of its size, a column may differ between two logs of one run."""
    if name == "flops":
        return SAME_COMPUTE
    return SAME_COUNT if name in COUNTS else SAME_NUMBER


def _twins(rows: Table) -> list[tuple[int, int]]:
    """Pairs of rows of two loggers with one id and one loss, params and tokens at the end, to the
    digits that both are written in; the one with fewer is the second."""
    ids = [run_id.rpartition("/")[2] for run_id in rows.run_ids]
    loggers = [_logger(owner) for owner in rows.owners]
    if len(set(ids)) == len(ids) or len(set(loggers)) < 2:
        return []
    final = np.column_stack([rows.numbers(name) for name in ("loss", "params", "tokens")])
    order = sorted(range(len(rows)), key=lambda row: (ids[row], final[row, 0]))
    pairs: dict[tuple[str, str], tuple[int, int]] = {}
    for a, b in pairwise(order):
        if ids[a] != ids[b] or loggers[a] == loggers[b] or not np.isfinite(final[[a, b], 0]).all():
            continue
        loss, other = final[[a, b], 0].tolist()
        units = _last_digit(loss), _last_digit(other)
        unit = max(units) if max(units) < 0.1 else PRINTED  # 3.0000 is 3.0 when it is read
        reach = min(max(0.501 * unit, SAME_NUMBER * abs(loss)), ROUNDED * abs(loss))
        counts = np.allclose(final[a, 1:], final[b, 1:], rtol=SAME_COUNT, atol=0, equal_nan=True)
        if abs(loss - other) <= reach and counts:
            pairs[rows.owners[a], rows.owners[b]] = (a, b) if units[0] <= units[1] else (b, a)
    return list(pairs.values())


def _logger(owner: str) -> str:
    logger, colon, _ = owner.partition(":")
    return logger if colon else ""
