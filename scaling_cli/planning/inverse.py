"""The value of one variable at which a law predicts a loss or a score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling_cli.errors import InputError
from scaling_cli.fitting.result import Fit
from scaling_cli.notes import Note
from scaling_cli.quantities import number
from scaling_cli.records import Floats

REACH = (1e-3, 1e6)  # times the smallest and the largest fitted value: where it is sought
STEPS = 1800  # of the search, equal in the log: .5 to 2 % a step, and interpolated between


@dataclass(frozen=True)
class Solution:
    """`value` of `variable` at which `target` is predicted to be `wanted`, at these `inputs`.

    Within `low` and `high` lie the values at which the interval of a new run holds it; an end is
    None where that is so as far as was looked.
    """

    fit_id: str
    name: str
    group: Mapping[str, Any]
    variable: str
    value: float
    low: float | None
    high: float | None
    target: str
    wanted: float
    level: float
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
    if column not in {fitted.columns.get(name, name) for name in fitted.law.variables}:
        known = " and ".join(fitted.columns.get(name, name) for name in fitted.law.variables)
        raise InputError(f"{fitted.name} reads no {variable}", f"Solve for {known}.")
    if column in inputs:
        raise InputError(
            f"{variable} is given and asked for", "Leave its value out, or solve for another."
        )
    first, last = fitted.domain[column]
    if first <= 0:
        raise InputError(f"{variable} reaches zero, and is sought by its log", "Solve for another.")
    axis = np.geomspace(first * REACH[0], last * REACH[1], STEPS)
    rows = fitted.along(column, axis, inputs)
    curve = fitted.curve(rows)
    middle = float(np.log(first * last) / 2)
    value = _crossing(axis, curve, wanted, middle)
    if value is None:
        known_to = curve[np.isfinite(curve)]
        raise InputError(
            f"{fitted.name} predicts no {fitted.target} of {number(wanted)} for {variable} between"
            f" {number(float(axis[0]))} and {number(float(axis[-1]))}: it goes from"
            f" {number(float(known_to[0]))} to {number(float(known_to[-1]))} there",
            "Its floor, or what the other variables are held at, is in the way.",
        )
    edges = fitted.band(rows) or ()
    crossed = (_crossing(axis, edge, wanted, float(np.log(value))) for edge in edges)
    ends = [end for end in crossed if end is not None]
    at = dict(inputs) | {column: value}
    point = fitted.predict(at)
    return Solution(
        fitted.fit_id, fitted.name, fitted.group, column, value, _on_side(ends, value, -1),
        _on_side(ends, value, 1), fitted.target, wanted, fitted.level, dict(inputs), point.notes,
    )  # fmt: skip


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
