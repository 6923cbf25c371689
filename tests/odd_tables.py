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


def _second(change: Callable[[Floats, np.random.Generator], Floats]) -> Odd:
    """The change in the second column alone, the target where there is one before it."""

    def odd(columns: Mapping[str, Floats], random: np.random.Generator) -> Columns:
        name = list(columns)[1]
        return {**columns, name: change(columns[name], random)}

    return odd


def _some(share: float, value: float) -> Callable[[Floats, np.random.Generator], Floats]:
    """A share of the values set."""

    def change(values: Floats, random: np.random.Generator) -> Floats:
        return np.where(random.random(len(values)) < share, value, values)

    return change


def _levels(count: int) -> Callable[[Floats, np.random.Generator], Floats]:
    """So many distinct values."""
    return lambda v, r: np.sort(v)[:: max(1, len(v) // count)][:count][r.integers(0, count, len(v))]


def _rows(order: Callable[[int, np.random.Generator], np.ndarray]) -> Odd:
    """Other rows of the table."""

    def odd(columns: Mapping[str, Floats], random: np.random.Generator) -> Columns:
        chosen = order(len(next(iter(columns.values()))), random)
        return {name: values[chosen] for name, values in columns.items()}

    return odd


def _together(function: Callable[[Floats], Floats]) -> Odd:
    """The target made of the first column."""

    def odd(columns: Mapping[str, Floats], _: np.random.Generator) -> Columns:
        first, last = next(iter(columns)), list(columns)[-1]
        return {**columns, last: function(columns[first])}

    return odd


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
    "two": _each(lambda v, _: v[:2]),
    "two_sizes": _first(_levels(2)),
    "three_sizes": _first(_levels(3)),
    "one_of_the_second": _second(lambda v, _: np.full_like(v, v[0])),
    "sizes_within_a_billionth": _first(lambda v, r: v[0] * (1 + 1e-12 * r.standard_normal(len(v)))),
    "within_a_percent": _each(lambda v, r: v[0] * (1 + 0.01 * r.standard_normal(len(v)))),
    "one_repeated": _rows(lambda n, _: np.zeros(n, int)),
    "one_apart": _rows(lambda n, _: np.where(np.arange(n) == n - 1, n - 1, 0)),
    "with_replacement": _rows(lambda n, r: r.integers(0, n, n)),
    "shuffled_target": _last(lambda v, r: r.permutation(v)),
    "second_infinite": _second(_with(np.inf)),
    "second_minus_infinite": _second(_with(-np.inf)),
    "second_nan": _second(_with(np.nan)),
    "second_zero": _second(lambda v, _: np.zeros_like(v)),
    "second_negative": _second(lambda v, _: -v),
    "second_huge": _second(_with(1e300)),
    "second_denormal": _second(_with(5e-324)),
    "first_huge": _first(_with(1.7e308)),
    "first_denormal": _first(_with(5e-324)),
    "all_nan": _each(lambda v, _: np.full_like(v, np.nan)),
    "all_zero": _each(lambda v, _: np.zeros_like(v)),
    "all_one": _each(lambda v, _: np.ones_like(v)),
    "half_nan": _each(_some(0.5, np.nan)),
    "some_infinite": _each(_some(0.1, np.inf)),
    "some_zero": _each(_some(0.2, 0.0)),
    "some_negative": _each(lambda v, r: np.where(r.random(len(v)) < 0.2, -v, v)),
    "target_nan": _last(_some(0.3, np.nan)),
    "target_denormal": _last(lambda v, _: np.full_like(v, 5e-324)),
    "target_minus_infinite": _last(_with(-np.inf)),
    "target_one_off": _last(_with(1e9)),
    "target_within_a_billionth": _last(lambda v, r: 2 + 1e-9 * r.standard_normal(len(v))),
    "target_of_two_values": _last(lambda v, r: r.integers(1, 3, len(v)).astype(float)),
    "target_rises": _together(lambda v: np.log(np.abs(v) + 1) + 1),
    "target_is_the_size": _together(lambda v: v.copy()),
    "target_beyond_reach": _last(lambda v, _: v + 1e6),
    "log_units": _each(lambda v, _: np.log10(np.abs(v) + 1e-300)),
}
