"""What the runs say, and what they leave open: parameters, and directions to ask in.

A parameter that the weighted Jacobian leaves free cannot be known, whatever value it has. And where
runs never left a line, as those of one ratio of tokens to params or of one size, the terms of a law
are known along the line alone: beside it a prediction is the law's habit, not the runs'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from scaling_cli.fitting import diagnostics
from scaling_cli.fitting.explored import Explored, Line
from scaling_cli.fitting.surface import Surface, middle
from scaling_cli.laws import Law
from scaling_cli.notes import Note
from scaling_cli.records import Floats

# Standard deviation of the log of a parameter above which nothing is known of it: its 90 % interval
# would span eight decades.
UNKNOWN = 6.0
FAR = 20.0  # the same of a slope or an exponent of either sign, over where its search starts
SMALLEST = 1e-12  # of the largest singular value: below it there is only rounding


def unknown(
    surface: Surface,
    derivatives: Floats,
    noise: float,
    precision: Floats | None = None,
    held: Mapping[str, float] | None = None,
) -> tuple[str, ...]:
    """The free parameters of which rows of this `noise` say nothing, by the residuals'
    `derivatives` [free, rows] at the optimum; a prior's `precision` [free] speaks with them. Of
    what was `held`, nothing that is no narrower than the deviation that it was held by."""
    weights = np.ones(len(surface.target)) if surface.weights is None else surface.weights
    # A term that is gone is flat however its logarithm moves; rows without a number say nothing.
    weighted = np.nan_to_num(derivatives, nan=0.0, posinf=0.0, neginf=0.0) * np.sqrt(weights)
    scale = max(noise, np.finfo(float).tiny)
    if precision is not None:
        weighted = np.concatenate([weighted, np.diag(precision) * scale], axis=1)
    directions, singular, _ = np.linalg.svd(weighted, full_matrices=True)
    sizes = np.zeros(len(directions))
    sizes[: len(singular)] = singular
    largest = float(sizes.max())
    if not largest > 0:
        return surface.free
    spread = scale / np.maximum(sizes, SMALLEST * largest)
    deviation = np.sqrt(np.sum((directions * spread) ** 2, axis=1))
    most = np.array([_most(surface, name, scale) for name in surface.free])
    most = np.minimum(most, [(held or {}).get(name, np.inf) for name in surface.free])
    return tuple(
        name
        for name, out in zip(surface.free, deviation > most, strict=True)
        if out and name not in surface.bounds  # a range is known of what is held in one
    )


def _most(surface: Surface, name: str, scale: float) -> float:
    """The deviation of a free parameter's coordinate above which nothing is known of it."""
    item = surface.law.parameter(name)
    if item.transform in ("log", "negative"):
        return UNKNOWN
    if item.transform == "identity" and surface.objective.log and item.high > item.low:
        return FAR * (item.high - item.low)
    return UNKNOWN / SMALLEST * scale


def sizes(law: Law) -> tuple[str, ...]:
    """The variables that stand under powers: those of declared ones, params and tokens."""
    return tuple(
        name for name in law.variables if name in law.scaled_columns or name in ("params", "tokens")
    )


def settled(law: Law, columns: Mapping[str, Floats]) -> dict[str, Floats]:
    """The columns [rows], those of a power that hold one size put at that one size: what lies
    between its values is chance, and an exponent would be fitted to nothing else."""
    found = dict(columns)
    for name in sizes(law):
        values = columns[name]
        if np.min(values) > 0 and diagnostics.distinct(values) == 1:
            found[name] = np.full(len(values), middle(values))
    return found


def explored(
    law: Law, columns: Mapping[str, Floats], notes: Sequence[Note], unsure: Sequence[str] = ()
) -> Explored | None:
    """Where the runs lie, by the principal directions of the logs of the columns of the law's
    powers; None where they part in every one.

    Of the law's parameters `unsure` the runs say nothing. Two sizes do not tell a floor, an
    amplitude and an exponent apart: then nothing is known between them either.
    """
    names = tuple(name for name in sizes(law) if np.min(columns[name]) > 0)
    if not names or len(columns[names[0]]) < 2:
        return None
    logs = np.log(np.stack([columns[name] for name in names]))
    _, directions = np.linalg.eigh(np.atleast_2d(np.cov(logs)))
    along = directions.T @ logs
    seen = np.ptp(along, axis=1) > np.log(diagnostics.SAME_SIZE)
    one_line = {"collinear_design", "single_budget_design"}
    if set(names) == {"params", "tokens"} and one_line & {note.code for note in notes}:
        seen[0] = False  # the narrow one: eigenvalues ascend
    places = _two_sizes(names, columns) if unsure else {}
    if seen.all() and not places:
        return None
    lines = [
        Line(tuple(direction.tolist()), float(np.min(at)), float(np.max(at)), bool(known))
        for direction, at, known in zip(directions.T, along, seen, strict=True)
    ]
    return Explored(names, tuple(lines), places)


def _two_sizes(
    names: Sequence[str], columns: Mapping[str, Floats]
) -> dict[str, tuple[float, float]]:
    """The columns of `names` that hold two sizes alone, and these."""
    return {
        name: (float(np.min(columns[name])), float(np.max(columns[name])))
        for name in names
        if diagnostics.distinct(columns[name]) == 2
    }
