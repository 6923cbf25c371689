"""The sessions that one console log holds: a resumed run, its epochs, or several runs in turn."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaling_cli.notes import Note
from scaling_cli.quantities import counted
from scaling_cli.records import Floats

Steps = NDArray[np.int64]
Setting = tuple[int, str, int | float | str]  # line number, name, value


@dataclass(frozen=True)
class Session:
    """The lines `first` to `end` of a run, the line numbers `at` of its steps, and its plan."""

    first: int
    end: int
    at: NDArray[np.intp]
    steps: Steps
    total: int | None
    notes: tuple[Note, ...] = ()


@dataclass
class _Stretch:
    """Steps that rise: rows `start` to `end`."""

    start: int
    end: int
    steps: Steps
    total: float
    epoch: float


def sessions(
    at: NDArray[np.intp],
    steps: Steps,
    totals: Floats,
    epochs: Floats,
    settings: Sequence[Setting],
) -> list[Session]:
    """The runs of a log, from its steps in the order of its lines.

    A counter that falls is a restart of the same run. It is the next epoch of one that counts
    within its epochs, and another run if the one before had reached its planned end, or if the plan
    or the count of parameters is another.
    """
    falls = np.flatnonzero(np.diff(steps) < 0) + 1
    bounds = [0, *falls.tolist(), len(steps)]
    stretches = [
        _Stretch(a, b, steps[a:b], _last(totals[a:b]), _last(epochs[a:b]))
        for a, b in itertools.pairwise(bounds)
    ]
    runs: list[list[_Stretch]] = [stretches[:1]]
    for stretch in stretches[1:]:
        before = runs[-1][-1]
        if _another(runs[-1], before, stretch, at, settings):
            runs.append([stretch])
        else:
            runs[-1].append(stretch)
    found = []
    for place, parts in enumerate(runs):
        first = 0 if place == 0 else int(at[runs[place - 1][-1].end - 1]) + 1
        end = 1 << 62 if place == len(runs) - 1 else int(at[parts[-1].end - 1]) + 1
        found.append(_session(first, end, parts, at, several=len(runs) > 1))
    return found


def _last(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known[-1]) if len(known) else float("nan")


def _restarts_by_epoch(before: _Stretch, after: _Stretch) -> bool:
    return after.epoch > before.epoch and after.steps[0] <= before.steps[0] + 1


def _another(
    run: list[_Stretch],
    before: _Stretch,
    after: _Stretch,
    at: NDArray[np.intp],
    settings: Sequence[Setting],
) -> bool:
    """Whether steps that begin again are another run's."""
    if after.steps[0] > run[0].steps[0] or _restarts_by_epoch(before, after):
        return False
    if before.total != after.total and not np.isnan([before.total, after.total]).any():
        return True
    for key in ("params", "total_steps"):
        values = {
            part: [v for number, k, v in settings if k == key and low <= number < high]
            for part, low, high in (
                ("before", int(at[before.start - 1]) if before.start else 0, int(at[before.start])),
                ("after", int(at[after.start - 1]), int(at[after.start])),
            )
        }
        if values["before"] and values["after"] and values["before"][-1] != values["after"][-1]:
            return True
    ended = before.total if np.isfinite(before.total) else float(after.steps[-1])
    whole = before.steps[-1] >= ended - 1  # some count from 0
    return bool(whole and len(before.steps) > 1)


def _session(
    first: int, end: int, parts: list[_Stretch], at: NDArray[np.intp], several: bool
) -> Session:
    notes = []
    total: float = parts[-1].total
    steps = [parts[0].steps]
    by_epoch = 0
    for before, after in itertools.pairwise(parts):
        if _restarts_by_epoch(before, after):
            by_epoch += 1
            offset = before.total if np.isfinite(before.total) else float(steps[-1][-1])
            base = int(steps[-1][0] - before.steps[0]) + int(
                offset if np.isfinite(before.total) else before.steps[-1]
            )
            steps.append(
                after.steps + base + (after.steps[0] == 0 and not np.isfinite(before.total))
            )
        else:
            steps.append(after.steps)
    if by_epoch:
        message = (
            f"the step begins again with each of {counted(by_epoch + 1, 'epoch')}; it is counted on"
        )
        notes.append(Note.of("sessions_joined", message))
        total = float("nan")
    if len(parts) - 1 > by_epoch:
        told = ", then ".join(f"{part[0]} to {part[-1]}" for part in steps[:6])
        more = ", ..." if len(steps) > 6 else ""
        message = (
            f"{counted(len(parts), 'session')} of one run in a file are joined: steps {told}{more};"
            " where two hold a step, the later counts"
        )
        notes.append(Note.of("sessions_joined", message))
    if several:
        message = "the file holds more than one run, each from its first step to its planned end"
        notes.append(Note.of("several_runs", message))
    return Session(
        first,
        end,
        at[parts[0].start : parts[-1].end],
        np.concatenate(steps),
        int(total) if np.isfinite(total) else None,
        tuple(notes),
    )
