"""Tables that nobody would draw a law through, and that people bring all the same.

Each takes columns [rows] of a law and a random generator, and gives others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from scaling_cli.records import Floats

Columns = dict[str, Floats]
Odd = Callable[[Mapping[str, Floats], np.random.Generator], Columns]


def _each(change: Callable[[Floats, np.random.Generator], Floats]) -> Odd:
    return lambda columns, random: {name: change(v, random) for name, v in columns.items()}


def _first(change: Callable[[Floats, np.random.Generator], Floats]) -> Odd:
    """The change in the first column alone."""

    def odd(columns: Mapping[str, Floats], random: np.random.Generator) -> Columns:
        name = next(iter(columns))
        return {**columns, name: change(columns[name], random)}

    return odd


def _last(change: Callable[[Floats, np.random.Generator], Floats]) -> Odd:
    """The change in the last column, the target."""

    def odd(columns: Mapping[str, Floats], random: np.random.Generator) -> Columns:
        name = list(columns)[-1]
        return {**columns, name: change(columns[name], random)}

    return odd


def _with(value: float) -> Callable[[Floats, np.random.Generator], Floats]:
    """One value set in the middle."""

    def change(values: Floats, _: np.random.Generator) -> Floats:
        out = values.copy()
        out[len(out) // 2] = value
        return out

    return change


ODD: dict[str, Odd] = {
    "constant": _each(lambda v, _: np.full_like(v, v[0])),
    "one_size": _first(lambda v, _: np.full_like(v, v[0])),
    "nearly_one_size": _first(lambda v, r: v[0] * (1 + 1e-9 * r.standard_normal(len(v)))),
    "sizes_within_a_thousandth": _first(lambda v, r: v[0] * (1 + 1e-3 * r.standard_normal(len(v)))),
    "identical_rows": lambda c, _: {n: np.repeat(v[:2], len(v) // 2) for n, v in c.items()},
    "in_billions": _each(lambda v, _: v / 1e9),
    "huge": _each(lambda v, _: v * 1e280),
    "tiny": _each(lambda v, _: v * 1e-280),
    "denormal": _each(lambda v, _: np.full_like(v, 5e-324)),
    "infinite": _first(_with(np.inf)),
    "nan": _first(_with(np.nan)),
    "zero": _first(_with(0.0)),
    "negative": _first(_with(-1.0)),
    "infinite_target": _last(_with(np.inf)),
    "huge_target": _last(_with(1e300)),
    "zero_target": _last(lambda v, _: np.zeros_like(v)),
    "constant_target": _last(lambda v, _: np.full_like(v, 2.0)),
    "negative_target": _last(lambda v, _: -v),
    "noise": _last(lambda v, r: r.uniform(0.1, 10.0, len(v))),
    "reversed": _last(lambda v, _: v[::-1].copy()),
    "collinear": lambda c, _: {n: np.geomspace(1, 1e4, len(v)) * v[0] for n, v in c.items()},
    "wild": _each(lambda v, r: np.exp(r.uniform(-80, 80, len(v)))),
    "few": _each(lambda v, _: v[:3]),
    "one": _each(lambda v, _: v[:1]),
}
