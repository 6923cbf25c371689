"""A training curve: the losses that a run logged, and the learning rate of each of its steps."""

from __future__ import annotations

from collections.abc import Mapping as Config
from dataclasses import dataclass, replace
from functools import cached_property
from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling_cli.ending import ending
from scaling_cli.errors import InputError
from scaling_cli.fitting.objective import MAD
from scaling_cli.notes import Note
from scaling_cli.records import Floats, Series, Steps
from scaling_cli.resolve import resolve
from scaling_cli.training.schedule import Schedule, logged_schedule, parse_schedule

if TYPE_CHECKING:
    from scaling_cli.mapping import Mapping
    from scaling_cli.records import Run

# Rows that a long log is averaged to: what the bend of the curve inside a row's stretch moves it by
# is then 5e-4 of the loss at most (4e-6 in the median), far below the noise of a row.
ROWS = 120


@dataclass(frozen=True)
class Curve:
    """`loss` [n] at increasing `steps` [n] of one run, and its schedule to the end that is planned.

    `params` is NaN where unknown. `notes` say what was assumed.
    """

    run_id: str
    steps: Steps
    loss: Floats
    schedule: Schedule
    params: float = nan
    notes: tuple[Note, ...] = ()

    @property
    def total(self) -> int:
        """The last step that is planned."""
        return self.schedule.total

    @property
    def finished(self) -> bool:
        """Whether the last logged loss stands within one logging interval of the planned end."""
        interval = np.median(np.diff(self.steps)) if len(self.steps) > 1 else 0
        return bool(len(self.steps) and self.steps[-1] + interval >= self.total)

    @cached_property
    def sums(self) -> Floats:
        """Sums of the learning rates up to each step [total + 1]."""
        return np.cumsum(self.schedule.rates)

    def until(self, step: int) -> Curve:
        """The same run as it was when `step` was its last: later losses are not known."""
        known = self.steps <= step
        return replace(self, steps=self.steps[known], loss=self.loss[known])

    def thinned(self, rows: int = ROWS) -> Curve:
        """At most `rows` points, each the mean of neighbours at their mean step.

        The stretches are equal in half the rate sum and half its log, as the curve bends most at
        its beginning and where the rate falls late; what lies six robust deviations from a
        stretch's median is left out, as a spike says nothing about where the curve is.
        """
        if len(self.steps) <= rows:
            return self
        at = self.sums[self.steps]
        done = (at - at[0]) / (at[-1] - at[0]) + np.log(at / at[0]) / np.log(at[-1] / at[0])
        part = np.minimum((0.5 * done * rows).astype(int), rows - 1)
        first = np.flatnonzero(np.diff(part, prepend=-1))
        steps, loss = [], []
        for some, values in zip(
            np.split(self.steps, first[1:]), np.split(self.loss, first[1:]), strict=True
        ):
            off = np.abs(values - np.median(values))
            kept = off <= 6 * MAD * np.median(off) + 1e-12
            steps.append(int(np.round(np.mean(some[kept]))))
            loss.append(float(np.mean(values[kept])))
        return replace(self, steps=np.array(steps, dtype=np.int64), loss=np.array(loss))


def curve_of(
    run: Run,
    mapping: Mapping | None = None,
    spec: str | None = None,
    total: int | None = None,
) -> Curve:
    """The curve of a run: its mapped loss and learning rate.

    `spec` is a schedule in place of the logged one; `total` the planned number of steps, else that
    of the config, else the last logged step. InputError says what the run lacks.
    """
    columns = resolve(run, mapping).columns
    loss = columns.get("loss")
    if loss is None or not isinstance(loss.values, Series):
        raise InputError(
            f"run {run.run_id} has no history of a loss", 'Map it: [columns] loss = "...".'
        )
    good = np.isfinite(loss.values.values) & (loss.values.values > 0) & (loss.values.steps >= 0)
    steps, values = loss.values.steps[good], loss.values.values[good]
    notes = []
    if not good.all():
        notes.append(
            Note.of(
                "no_number",
                f"{int(np.sum(~good))} of {len(good)} losses are no positive number and are left"
                " out.",
            )
        )
    last = int(steps[-1]) if len(steps) else 0
    planned = total if total is not None else max(_planned(run, columns, last), last)
    if spec is not None:
        schedule = parse_schedule(spec, total)
    else:
        rate = columns.get("lr")
        if rate is None:
            raise InputError(
                f"run {run.run_id} has no learning rate",
                'Map it ([columns] lr = "...") or give `schedule=`.',
            )
        logged = (
            rate.values
            if isinstance(rate.values, Series)
            else Series(np.array([0], dtype=np.int64), np.array([float(rate.values)]))
        )
        if planned < 1:
            raise InputError(f"run {run.run_id} has no step with a loss", "Ingest it again later.")
        schedule = logged_schedule(logged.steps, logged.values, planned, run.config)
    known = steps <= schedule.total
    params = columns.get("params")
    return Curve(
        run.run_id,
        steps[known],
        values[known],
        schedule,
        float(params.at([last])[0]) if params is not None else nan,
        (*notes, *schedule.notes),
    )


def _planned(run: Run, columns: Config[str, Any], last: int) -> int:
    """The steps that the run is to take, or 0 where nothing says."""
    state = ending(run, columns, float(last))[0]
    return 0 if state.planned is None else round(state.planned)
