"""Which runs of a sweep a law is fitted to: the frontier, the best of each cell, or an optimum.

A law of size and data is about runs that were trained as well as they can be. A sweep holds others
too, of every learning rate that was tried: they are set aside before the fit, by what is asked for.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from scaling_cli.compute import SIX_ND
from scaling_cli.errors import FitError, InputError
from scaling_cli.fitting.hparams import RISEN, SAME_PLACE, clusters, middle
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.laws import Law
from scaling_cli.laws.hyperparameters import FAMILY as RULES
from scaling_cli.notes import Note
from scaling_cli.quantities import counted, parse_positive
from scaling_cli.records import Floats
from scaling_cli.table import Rows, Table

KINDS = ("frontier", "best", "within", "smooth")
CELL = ("params", "tokens")  # whose runs are a sweep, where no keys are given
MOST_SMOOTHED = 2  # settings: a surface of three has ten coefficients
_RISING = re.compile(r"(^|[^a-z])(acc|accuracy|reward|score|bleu|pass|pass_rate|f1)([^a-z]|$)")


def selected(rows: Table, text: str, target: str) -> Table:
    """The rows that `text` asks for, with a note of what was set aside.

    `frontier`: those that no run of as little compute or less beats. `best:KEY,...`: the best of
    each value of the keys. `within:SHARE[,KEY...]`: all of each size and amount of data, or of each
    value of the keys, that are above the best by less than this share (2401.02954 and 2503.04715
    take .25 %). `smooth:SETTING[,SETTING]`: for each size and amount of data the lowest point of a
    parabola in the logs of the settings, as one row.
    """
    kind, _, listed = text.partition(":")
    names = [name.strip() for name in listed.split(",") if name.strip()]
    if kind not in KINDS or bool(names) != (kind != "frontier"):
        raise InputError(
            f"`select=` '{text}' is no selection",
            "Give frontier, best:KEY,..., within:0.25% or smooth:SETTING,SETTING.",
        )
    if kind == "smooth":
        return _smooth(rows, names, target)
    values = rows.numbers(target)
    sign = -1.0 if _RISING.search(target) else 1.0
    if kind == "within":
        return _within(rows, names[0], names[1:] or list(CELL), values, sign)
    if kind == "frontier":
        kept = _frontier(_compute(rows), sign * values)
        said = "that no run of as little compute beats"
    else:
        kept = _best(rows, names, sign * values)
        said = f"that are the best of each {', '.join(names)}"
    message = f"Of {counted(len(rows), 'run')} the {len(kept)} were kept {said}."
    return rows.take(kept).with_notes([Note.of("selected", message)])


def judged_by(law: Law, options: FitOptions) -> str:
    """The column that tells good runs of a sweep: the target, and of a rule for a setting the
    loss."""
    return "loss" if law.family == RULES else options.target or law.target


def _compute(rows: Table) -> Floats:
    flops = rows.numbers("flops")
    if np.isfinite(flops).any():
        return flops
    counted_flops: Floats = SIX_ND.flops(rows.numbers("params"), rows.numbers("tokens"))
    return counted_flops


def _frontier(flops: Floats, value: Floats) -> Rows:
    """The rows of the lower envelope of `value` along `flops`, in their own order."""
    known = np.flatnonzero(np.isfinite(flops) & np.isfinite(value))
    order = known[np.lexsort((value[known], flops[known]))]
    lowest = np.minimum.accumulate(value[order])
    new = np.concatenate([[True], lowest[1:] < lowest[:-1]]) if len(order) else np.array([], bool)
    return np.sort(order[new])


def _best(rows: Table, names: list[str], value: Floats) -> Rows:
    """The row of the lowest `value` of each combination of the keys."""
    best = [
        members[np.nanargmin(value[members])]
        for _, members in rows.parted(names)
        if np.isfinite(value[members]).any()
    ]
    return np.sort(np.array(best, dtype=np.int64))


def _within(rows: Table, share: str, names: list[str], values: Floats, sign: float) -> Table:
    """The rows near the best of their cell, which is what owns them: a fit resamples cells."""
    number = parse_positive(share.removesuffix("%"), "the share of `select=within`")
    most = number / 100 if share.endswith("%") else number
    if not most < 1:
        raise InputError(f"`select=within:{share}` keeps every run", "Write a share as 0.25%.")
    kept: list[int] = []
    cells: list[str] = []
    for group, members in rows.parted(names):
        if not np.isfinite(values[members]).any():
            continue
        best = sign * np.nanmin(sign * values[members])
        near = members[sign * (values[members] - best) <= most * abs(best)]
        kept.extend(near.tolist())
        cells.extend([str(group)] * len(near))
    order = np.argsort(kept, kind="stable")
    found = rows.take(np.array(kept, dtype=np.int64)[order])
    found = replace(found, owners=tuple(cells[i] for i in order))
    message = (
        f"Of {counted(len(rows), 'run')} the {len(kept)} were kept that are within"
        f" {100 * most:.3g} % of the best of {counted(len(set(cells)), 'cell')} by"
        f" {', '.join(names)}; cells are resampled whole."
    )
    return found.with_notes([Note.of("near_best", message)])


def _smooth(rows: Table, names: list[str], target: str) -> Table:
    if len(names) > MOST_SMOOTHED:
        raise InputError(f"{len(names)} settings are smoothed over", "Give one or two.")
    columns = {name: rows.numbers(name) for name in ("params", "tokens", *names, target)}
    known = np.all([np.isfinite(values) & (values > 0) for values in columns.values()], axis=0)
    found: list[list[float]] = []
    places = 0
    for of_size in clusters(columns["params"], np.flatnonzero(known), SAME_PLACE):
        for place in clusters(columns["tokens"], of_size, SAME_PLACE):
            places += 1
            settings = np.log(np.stack([columns[name][place] for name in names]))
            lowest = _vertex(settings, np.log(columns[target][place]))
            if lowest is not None:
                at = [middle(columns[name][place]) for name in ("params", "tokens")]
                found.append([*at, *np.exp(lowest).tolist()])
    if not found:
        raise FitError(
            f"no size and amount of data has a lowest point over {' and '.join(names)}",
            "Sweep them: a parabola needs three values of one, and six runs of two.",
        )
    values = dict(zip(("params", "tokens", *names, target), np.array(found).T, strict=True))
    values["flops"] = SIX_ND.flops(values["params"], values["tokens"])
    left = places - len(found)
    message = (
        f"Each row is the lowest point of a parabola in the logs of {' and '.join(names)} at one of"
        f" {counted(len(found), 'place')}."
        + (f" At {left} more it lies beyond the sweep, or none was swept." if left else "")
    )
    ids = [f"{n:.3g} params, {d:.3g} tokens" for n, d, *_ in found]
    return Table.from_columns(values, ids).with_notes([Note.of("smoothed", message)])


def _vertex(settings: Floats, value: Floats) -> Floats | None:
    """The lowest point of the parabola through `value` [rows] at `settings` [settings, rows], and
    its value; None where it bends down, or lies beyond the rows."""
    count = len(settings)
    least = (count + 1) * (count + 2) // 2
    near = np.flatnonzero(value - np.min(value) <= RISEN)
    if len(near) < least + 1:
        near = np.argsort(value, kind="stable")[: least + 1]
    x, y = settings[:, near], value[near]
    if x.shape[1] < least or np.any([len(np.unique(row)) < 3 for row in x]):
        return None
    centre = np.mean(x, axis=1, keepdims=True)
    x = x - centre
    pairs = [(i, j) for i in range(count) for j in range(i, count)]
    basis = np.stack([np.ones(x.shape[1]), *x, *(x[i] * x[j] for i, j in pairs)], axis=1)
    fitted = np.linalg.lstsq(basis, y, rcond=None)[0]
    slope, bend = fitted[1 : count + 1], np.zeros((count, count))
    for (i, j), value_of in zip(pairs, fitted[count + 1 :], strict=True):
        bend[i, j] += value_of
        bend[j, i] += value_of
    if np.min(np.linalg.eigvalsh(bend)) <= 0:
        return None
    lowest = -np.linalg.solve(bend, slope)
    if np.any(lowest < np.min(x, axis=1)) or np.any(lowest > np.max(x, axis=1)):
        return None
    return np.append(lowest + centre[:, 0], fitted[0] + 0.5 * slope @ lowest)
