"""Where a column of a run comes from, and its values at steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_cli.columns import COLUMNS
from scaling_cli.expressions import as_number
from scaling_cli.notes import Note
from scaling_cli.records import Floats, Series
from scaling_cli.spelling import spelled, unfiled

# Between two logged points these grow in proportion to the step.
_LINEAR = {*COLUMNS["tokens"].names, *COLUMNS["flops"].names}
_LINEAR_FORMS = {spelled(name) for name in _LINEAR if len(name) > 1} | {"consumed samples"}


@dataclass(frozen=True)
class Column:
    """Where a column of one run comes from, and its points: a series, or one value for all."""

    origin: str
    values: Any  # Series, or a scalar

    @property
    def negative(self) -> bool:
        """Whether any value is below zero."""
        if isinstance(self.values, Series):
            return bool((self.values.values < 0).any())
        return (as_number(self.values) or 0.0) < 0

    def at(self, steps: Sequence[int] | NDArray[np.int64], linear: bool = False) -> Floats:
        """Values at `steps`: as logged, else in between (`linear`), else the last one before."""
        if isinstance(self.values, Series):
            return sample(self.values, np.asarray(steps, dtype=np.int64), linear)
        number = as_number(self.values)
        return np.full(len(steps), np.nan if number is None else number)


@dataclass(frozen=True)
class Resolved:
    """The columns found in a run; `unknown` tells which names a mapped column lacked."""

    columns: dict[str, Column]
    unknown: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    refused: frozenset[tuple[str, str]] = frozenset()

    @property
    def origins(self) -> dict[str, str]:
        return {name: column.origin for name, column in self.columns.items()}


def sample(series: Series, at: Any, linear: bool) -> Floats:
    steps, values = series.steps, series.values
    before = np.searchsorted(steps, at, side="right") - 1
    held = np.where(before >= 0, values[np.maximum(before, 0)], np.nan)
    if not linear:
        return held
    exact = (before >= 0) & (steps[np.maximum(before, 0)] == at)
    inside = ~exact & (before >= 0) & (before < len(steps) - 1)
    if not inside.any():  # as at the last step of most runs
        return held
    return np.where(inside, np.interp(at, steps, values), held)


def is_linear(name: str) -> bool:
    return name in _LINEAR or unfiled(name) in _LINEAR_FORMS


def listed(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
