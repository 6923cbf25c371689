"""Runs that follow a law: columns in its natural domain, parameters in the middle of their ranges,
and the observations that they make."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from scaling_cli.columns import about
from scaling_cli.fitting.surface import on_scale
from scaling_cli.laws import Law
from scaling_cli.table import Table
from scaling_cli.training.history import curve_columns
from scaling_cli.training.schedule import parse_schedule

TRIES = 1000
ANY = (1e2, 1e6)  # of a one-variable law's x
SHARE = "mixture."


def domain_of(law: Law, name: str) -> tuple[float, float]:
    if name in law.domain:
        return law.domain[name]
    column = about(name)
    return column.typical if column else ANY


def columns_of(law: Law, rows: int = 40, seed: int = 1) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    if "rate_drops" in law.variables:  # those of a schedule, seen from random steps
        rates = parse_schedule("wsd:peak=1e-3,warmup=100,total=9000,min=1e-4").rates
        return curve_columns(law, rates, np.sort(random.integers(500, 9000, rows)))
    columns = {}
    for name in law.variables:
        low, high = domain_of(law, name)
        if name.startswith("optimizer."):
            columns[name] = (np.arange(rows) % 2 == law.variables.index(name) % 2).astype(float)
        elif name.startswith(SHARE):
            columns[name] = random.exponential(size=rows)
        elif low <= 0:
            columns[name] = random.uniform(low, high, rows)
        else:
            columns[name] = np.exp(random.uniform(np.log(low), np.log(high), rows))
    shares = [name for name in law.variables if name.startswith(SHARE)]
    total = sum(columns[name] for name in shares)
    return columns | {name: columns[name] / total for name in shares}


def values_of(law: Law, columns: dict[str, np.ndarray], seed: int = 2) -> dict[str, float]:
    """Parameters in the middle half of their ranges, for columns in base units; references too."""
    random = np.random.default_rng(seed)
    scales, _, _ = on_scale(law, columns)
    values = {}
    for item in law.parameters:
        u = random.uniform(0.25, 0.75)
        if item.transform in ("log", "negative"):
            values[item.name] = item.low * (item.high / item.low) ** u
        else:
            values[item.name] = item.low + (item.high - item.low) * u
    raw = {name: float(value) for name, value in law.to_raw(values, scales).items()}
    constants = {
        name: float(np.exp(np.mean(np.log(columns[column]))))
        for name, column in law.references.items()
    }
    return raw | constants


def observed(
    law: Law, columns: dict[str, np.ndarray], values: dict[str, float], noise: float, seed: int = 3
) -> np.ndarray:
    """The target [rows]: by the law, with noise in its log, or in itself where it changes sign, or
    of the binomial where it is a rate of tries."""
    random = np.random.default_rng(seed)
    exact = law.predict(**values, **columns)
    if law.trials:
        return cast(np.ndarray, random.binomial(TRIES, exact) / TRIES)
    drawn = noise * random.standard_normal(len(exact))
    return cast(np.ndarray, exact * np.exp(drawn) if exact.min() > 0 else exact + drawn)


def observations(law: Law, columns: dict[str, Any], target: np.ndarray) -> Table:
    """One run a row."""
    tries = {law.trials: np.full(len(target), float(TRIES))} if law.trials else {}
    return Table.from_columns({**columns, **tries, law.target: target})
