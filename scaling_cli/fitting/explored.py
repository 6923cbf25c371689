"""Where runs lie among the columns of a law, and which directions they leave open to ask in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scaling_cli.notes import Note
from scaling_cli.quantities import counted
from scaling_cli.records import Floats

BESIDE = float(np.log(1.3))  # how far beside the line that the runs lie on may be asked


@dataclass(frozen=True)
class Line:
    """A direction in the logs of the columns, and from where to where the runs lie along it."""

    direction: tuple[float, ...]
    low: float
    high: float
    seen: bool


@dataclass(frozen=True)
class Explored:
    """Where the runs lie, by the principal directions of the logs of `columns`; in a direction that
    is not `seen` they all but stay at one place. `two` holds the columns of which the runs have two
    sizes where the law would need a third: it is known at these alone."""

    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    two: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def beside(self, columns: Mapping[str, Floats]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Which rows [rows] lie off what the runs explored."""
        with np.errstate(all="ignore"):
            logs = np.log(np.stack([columns[name] for name in self.columns]))
        out = np.zeros(logs.shape[1], dtype=bool)
        for line in self.lines:
            if not line.seen:
                at = np.array(line.direction) @ logs
                out |= ~((at > line.low - BESIDE) & (at < line.high + BESIDE))
        for name, known in self.two.items():
            at = logs[self.columns.index(name)]
            out |= np.min([np.abs(at - np.log(size)) for size in known], axis=0) >= BESIDE
        return out

    def note(self) -> Note:
        """What a prediction beside the runs has to say."""
        if all(line.seen for line in self.lines):
            return self._of_two()
        names = " and ".join(self.columns)
        count = sum(line.seen for line in self.lines)
        message = (
            f"The runs vary in {counted(count, 'direction')} of {names}, and this point lies beside"
            " them: they do not say what the target is there, so it has no interval. Add runs that"
            " differ in the other direction."
            if count
            else f"All runs have one value of {names}, and this point has another: they do not say"
            " what the target is there, so it has no interval."
        )
        return Note.of("beside_the_runs", message)

    def _of_two(self) -> Note:
        told = " and ".join(
            f"two of {name} ({a:.3g}, {b:.3g})" for name, (a, b) in self.two.items()
        )
        message = (
            f"The runs have two sizes alone, {told}, which do not tell the law's parameters apart,"
            " and this point has another: they do not say what the target is there, so it has no"
            " interval. Add runs of a third size."
        )
        return Note.of("beside_the_runs", message)

    def to_json(self) -> dict[str, Any]:
        return {
            "columns": list(self.columns),
            "lines": [{**vars(line), "direction": list(line.direction)} for line in self.lines],
            "two": {name: list(known) for name, known in self.two.items()},
        }
