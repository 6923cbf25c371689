"""A rule for the learning rate or the batch from one's own sweeps.

A run tells the rate that it was given, not the best one. So the runs of each place (params, tokens)
that differ in the setting are a sweep; its best value is the lowest point of a parabola of the
log loss in the log setting, and the rule is fitted to these optima. Where the lowest loss stands at
an end of a sweep the best value lies there or beyond, and where nothing was swept there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling_cli.compute import SIX_ND
from scaling_cli.errors import FitError
from scaling_cli.fitting import accepts, engine, problem
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.result import Fit
from scaling_cli.laws import Law
from scaling_cli.laws.hyperparameters import CALLED
from scaling_cli.notes import Note
from scaling_cli.quantities import count, counted, number
from scaling_cli.records import Floats
from scaling_cli.table import Rows, Table

SET = {"lr": "peak_lr"}  # the column that holds what was set, where a run's last value is another
OTHER = {"lr": "batch_tokens", "batch_tokens": "peak_lr"}  # what is often swept with it
SAME_PLACE = 1.05  # runs of one place stop at steps that round their tokens by a few per cent
SAME_SETTING = 1.02
LEAST_SWEPT = 3  # a parabola has three coefficients
# The parabola goes through the values about the lowest loss, as far as the loss has risen by this
# share: beyond, where training diverges, the loss is no parabola.
RISEN = 0.02
LISTED = 12


@dataclass(frozen=True)
class Sweep:
    """The runs of one place: `settings` [values] ascending, and the lowest loss at each."""

    params: float
    tokens: float
    settings: Floats
    loss: Floats

    @property
    def name(self) -> str:
        return f"{count(self.params)} params and {count(self.tokens)} tokens"

    @property
    def end(self) -> int:
        """-1 or 1 where the lowest loss stands at the smallest or largest setting, else 0."""
        lowest = int(np.argmin(self.loss))
        return -1 if lowest == 0 else int(lowest == len(self.loss) - 1)

    def best(self) -> float:
        """The setting of the parabola's lowest point, between the neighbours of the lowest loss."""
        x, y = np.log(self.settings), np.log(self.loss)
        lowest = int(np.argmin(y))
        near = y - y[lowest] <= RISEN
        near[lowest - 1 : lowest + 2] = True
        first = lowest - int(np.argmin(np.append(near[lowest::-1], False))) + 1
        last = lowest + int(np.argmin(np.append(near[lowest:], False)))
        bend, slope, _ = np.polyfit(x[first:last] - x[lowest], y[first:last], 2)
        vertex = -slope / (2 * bend) if bend > 0 else 0.0
        ends = x[lowest - 1] - x[lowest], x[lowest + 1] - x[lowest]
        return float(np.exp(x[lowest] + np.clip(vertex, *ends)))


def fit(
    law: Law,
    observations: Table,
    options: FitOptions | None = None,
    group: Mapping[str, Any] | None = None,
) -> Fit:
    """The rule `law` through the best settings of the places that were swept.

    Raises FitError where none was, or fewer than the rule has free parameters.
    """
    options = options or FitOptions()
    accepts.check("best", law.id, options)
    if any(note.code in ("smoothed", "near_best") for note in observations.notes):
        return engine.fit(law, observations, options, group)  # each row is an optimum already
    what = CALLED[law.target]
    rows, notes = _rows(law, observations)
    places = sweeps(rows, law.target)
    swept = [item for item in places if len(item.settings) >= LEAST_SWEPT]
    if not swept:
        raise _habit(rows, places, law.target)
    inside = [item for item in swept if not item.end]
    optima = [item.best() for item in inside]
    opened = [_open(item, what) for item in swept if item.end]
    known = "; ".join(
        f"{item.name}: {number(best)}" for item, best in zip(inside, optima, strict=True)
    )
    free = len(law.parameters) - len(options.fixed)
    if len(inside) < free:
        said = f" It is known at {known}." if known else ""
        rest = f" So it is at {len(opened) - 1} other places." if len(opened) > 1 else ""
        raise FitError(
            f"the best {what} is known at {counted(len(inside), 'place')}, and {law.id} has"
            f" {counted(free, 'free parameter')}.{said} {''.join(opened[:1])}{rest}".strip(),
            f"Sweep the {what} at other sizes and amounts of data, or fit a rule with fewer"
            " parameters.",
        )
    notes += [Note.of("sweep_open", text) for text in opened]
    single = len(places) - len(swept)
    if single:
        notes.append(
            Note.of(
                "not_swept",
                f"{counted(single, 'place')} of {len(places)} were trained at fewer than"
                f" {LEAST_SWEPT} values of the {what} and are left out.",
            )
        )
    more = f" and {len(inside) - LISTED} more" if len(inside) > LISTED else ""
    listed = "; ".join(known.split("; ")[:LISTED])
    notes.append(Note.of("optima", f"Best {what} by parabolas through the sweeps: {listed}{more}."))
    return engine.fit(law, _optima(law, inside, optima), options, group).with_notes(notes)


def sweeps(rows: Table, target: str) -> list[Sweep]:
    """The runs by place. Runs that differ in nothing are seeds, of which the median counts; of
    those that differ in another setting the best does."""
    params, tokens = rows.columns["params"], rows.columns["tokens"]
    other = rows.numbers(OTHER[target])
    found = []
    for of_size in clusters(params, np.arange(len(rows)), SAME_PLACE):
        for place in clusters(tokens, of_size, SAME_PLACE):
            settings, lowest = [], []
            for same in clusters(rows.columns[target], place, SAME_SETTING):
                settings.append(middle(rows.columns[target][same]))
                loss, rest = rows.columns["loss"][same], other[same]
                alike = [loss[rest == one] for one in np.unique(rest[np.isfinite(rest)])]
                alike += [loss[~np.isfinite(rest)]] if not np.isfinite(rest).all() else []
                lowest.append(min(float(np.median(values)) for values in alike))
            found.append(
                Sweep(
                    middle(params[place]), middle(tokens[place]), np.array(settings),
                    np.array(lowest),
                )
            )  # fmt: skip
    return found


def _rows(law: Law, observations: Table) -> tuple[Table, list[Note]]:
    """The runs with a place, a loss and the setting, as it was set, under the rule's own name."""
    column = SET.get(law.target, law.target)
    if not observations.has(column):
        column = law.target
        # A stored run's own `lr` is that of its last step.
        if law.target in SET and observations.labels.find("source") is not None:
            raise FitError(
                f"none of the {len(observations)} runs has the {CALLED[law.target]} that was set",
                f'Say in the mapping where it is: [columns] {SET[law.target]} = "...", and ingest'
                " again.",
            )
    names = {name: name for name in ("params", "tokens", "loss")} | {law.target: column}
    rows, notes = problem.usable(law, observations, names, True, least=1)
    return rows.with_columns(**{law.target: rows.numbers(column)}), notes


def clusters(values: Floats, rows: Rows, factor: float) -> list[Rows]:
    """The rows whose values lie within a factor of the first of theirs, in ascending order."""
    order = rows[np.argsort(values[rows], kind="stable")]
    found, first = [], 0
    while first < len(order):
        end = values[order[first]] * factor
        last = first + int(np.searchsorted(values[order[first:]], end, side="right"))
        found.append(order[first:last])
        first = last
    return found


def middle(values: Floats) -> float:
    """Geometric mean."""
    return float(np.exp(np.mean(np.log(values))))


def _optima(law: Law, inside: Sequence[Sweep], best: Sequence[float]) -> Table:
    params = np.array([item.params for item in inside])
    tokens = np.array([item.tokens for item in inside])
    columns = {
        "params": params,
        "tokens": tokens,
        "flops": SIX_ND.flops(params, tokens),
        law.target: np.array(best),
    }
    return Table.from_columns(columns, [item.name for item in inside])


def _open(item: Sweep, what: str) -> str:
    side, at = ("smallest", 0) if item.end < 0 else ("largest", -1)
    beyond = item.settings[at] * 2.0 ** (item.end * np.array([1, 2]))
    to = "below" if item.end < 0 else "above"
    return (
        f"At {item.name} the lowest loss is that of the {side} {what} swept,"
        f" {number(float(item.settings[at]))}: the best is there or {to}, and this place is left"
        f" out. Train {' and '.join(number(float(value)) for value in beyond)} too."
    )


def _habit(rows: Table, places: Sequence[Sweep], target: str) -> FitError:
    what = CALLED[target]
    largest = max(places, key=lambda item: item.params * item.tokens)
    around = middle(largest.settings) * 2.0 ** np.arange(-2, 3)
    values = ", ".join(number(float(value)) for value in around)
    most = max(len(item.settings) for item in places)
    return FitError(
        f"no size and amount of data of these {counted(len(rows), 'run')} was trained at"
        f" {LEAST_SWEPT} values of the {what} or more ({most} at most): that is your habit, not the"
        f" best {what}",
        f"Sweep it: train {largest.name} at {values}, and so two smaller sizes or more. For what"
        " papers found: `scalefit hparams`.",
    )
