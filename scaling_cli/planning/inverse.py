"""The value of one variable at which a law predicts a loss or a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling_cli.columns import about
from scaling_cli.errors import InputError
from scaling_cli.fitting.result import Fit, columns_along, predict_published
from scaling_cli.laws import Law, Published
from scaling_cli.notes import Note
from scaling_cli.planning.hyperparameters import beyond
from scaling_cli.quantities import number
from scaling_cli.records import Floats

REACH = (1e-3, 1e6)  # times the smallest and the largest fitted value: where it is sought
ANYWHERE = (1.0, 1e12)  # of a column that nothing is known of
STEPS = 1800  # of the search, equal in the log: .5 to 2 % a step, and interpolated between


@dataclass(frozen=True)
class Solution:
    """`value` of `variable` at which `target` is predicted to be `wanted`, at these `inputs`.

    Within `low` and `high` lie the values at which the interval of a new run holds it; an end is
    None where that is so as far as was looked. A paper's coefficients come without resamples: then
    both, the level and the fit_id are None.
    """

    fit_id: str | None
    name: str
    group: Mapping[str, Any]
    variable: str
    value: float
    low: float | None
    high: float | None
    target: str
    wanted: float
    level: float | None
    inputs: Mapping[str, float]
    notes: tuple[Note, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "fit_id": self.fit_id,
            "law": self.name,
            "group": dict(self.group),
            "variable": self.variable,
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "target": self.target,
            "loss": self.wanted,
            "level": self.level,
            "inputs": dict(self.inputs),
            "warnings": [note.to_json() for note in self.notes],
        }


def solve(fitted: Fit, variable: str, wanted: float, inputs: Mapping[str, float]) -> Solution:
    """Where the prediction is `wanted` along `variable`, the others as in `inputs`.

    Of several such places the one nearest to the fitted runs. InputError where there is none.
    """
    column = fitted.columns.get(variable, variable)
    names = [fitted.columns.get(name, name) for name in fitted.law.variables]
    _check_asked(fitted.name, names, variable, column, inputs)
    axis, middle = _axis(variable, *fitted.domain[column])
    rows = fitted.along(column, axis, inputs)
    curve = fitted.curve(rows)
    value = _crossing(axis, curve, wanted, middle)
    if value is None:
        raise _out_of_reach(fitted.name, fitted.target, variable, wanted, axis, curve)
    edges = fitted.band(rows) or ()
    crossed = (_crossing(axis, edge, wanted, float(np.log(value))) for edge in edges)
    ends = [end for end in crossed if end is not None]
    at = dict(inputs) | {column: value}
    point = fitted.predict(at)
    return Solution(
        fitted.fit_id, fitted.name, fitted.group, column, value, _on_side(ends, value, -1),
        _on_side(ends, value, 1), fitted.target, wanted, fitted.level, dict(inputs), point.notes,
    )  # fmt: skip


def solve_published(
    law: Law, entry: Published, variable: str, wanted: float, inputs: Mapping[str, float]
) -> Solution:
    """The same by a paper's coefficients, around the runs behind them as far as these are known.

    A point value alone: papers print no resamples.
    """
    _check_asked(law.id, law.variables, variable, variable, inputs)
    column = about(variable)
    known = entry.ranges.get(variable) or law.domain.get(variable)
    axis, middle = _axis(variable, *(known or (column.typical if column else ANYWHERE)))
    rows = columns_along(law, variable, axis, inputs)
    with np.errstate(all="ignore"):
        curve: Floats = law.predict(**entry.values, **rows)
    value = _crossing(axis, curve, wanted, middle)
    if value is None:
        raise _out_of_reach(law.id, law.target, variable, wanted, axis, curve)
    at = dict(inputs) | {variable: value}
    point = predict_published(law, entry, at)
    alone = Note.of("point_alone", "They come without resamples: a value, and no interval.")
    return Solution(
        None, law.id, point.group, variable, value, None, None, law.target, wanted, None,
        dict(inputs), (*point.notes, *beyond(law, entry, at), alone),
    )  # fmt: skip


def _check_asked(
    name: str, names: Sequence[str], variable: str, column: str, inputs: Mapping[str, float]
) -> None:
    if column not in names:
        raise InputError(f"{name} reads no {variable}", f"Solve for {' and '.join(names)}.")
    if column in inputs:
        raise InputError(
            f"{variable} is given and asked for", "Leave its value out, or solve for another."
        )


def _axis(variable: str, first: float, last: float) -> tuple[Floats, float]:
    """Where to look around runs from `first` to `last`, and the log of their middle."""
    if first <= 0:
        raise InputError(f"{variable} reaches zero, and is sought by its log", "Solve for another.")
    axis = np.geomspace(first * REACH[0], last * REACH[1], STEPS)
    return axis, float(np.log(first * last) / 2)


def _out_of_reach(
    name: str, target: str, variable: str, wanted: float, axis: Floats, curve: Floats
) -> InputError:
    known_to = curve[np.isfinite(curve)]
    goes = (
        f": it goes from {number(float(known_to[0]))} to {number(float(known_to[-1]))} there"
        if len(known_to)
        else ""
    )
    return InputError(
        f"{name} predicts no {target} of {number(wanted)} for {variable} between"
        f" {number(float(axis[0]))} and {number(float(axis[-1]))}{goes}",
        "Its floor, or what the other variables are held at, is in the way.",
    )


def _on_side(ends: list[float], value: float, side: int) -> float | None:
    """The end below (-1) or above (1) the value; None where there is none."""
    return next((end for end in ends if side * (end - value) > 0), None)


def _crossing(axis: Floats, curve: Floats, wanted: float, near: float) -> float | None:
    """Where `curve` over `axis` takes the wanted value, nearest to exp(near)."""
    with np.errstate(invalid="ignore"):
        apart = curve - wanted
        turns = np.flatnonzero(np.isfinite(apart[:-1] * apart[1:]) & (apart[:-1] * apart[1:] <= 0))
    turns = turns[apart[turns] != apart[turns + 1]]
    if not len(turns):
        return None
    logs = np.log(axis)
    share = apart[turns] / (apart[turns] - apart[turns + 1])
    places = logs[turns] + share * (logs[turns + 1] - logs[turns])
    return float(np.exp(places[np.argmin(np.abs(places - near))]))
