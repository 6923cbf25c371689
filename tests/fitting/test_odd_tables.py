"""Every law on tables that cannot carry it: a refusal in words, or a fit that holds numbers."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from scaling_cli.errors import ScalefitError
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.procedures import PROCEDURES, procedure
from scaling_cli.laws import LAWS
from scaling_cli.table import Table
from tests.odd_tables import ODD
from tests.simulate import columns_of, observed, values_of

# What is fitted to a table, and not to the steps of a run
NAMES = [
    name
    for name in dict.fromkeys([*LAWS, *PROCEDURES])
    if procedure(name).law.family != "training curve"
]
EVERY = 8  # each law sees an eighth of the tables, so that the suite stays short


@pytest.mark.parametrize("name", NAMES)
def test_an_odd_table_is_refused_in_words_or_gives_a_fit_of_numbers(name: str) -> None:
    law = procedure(name).law
    columns = columns_of(law)
    target = observed(law, columns, values_of(law, columns), 0.01)
    for i, (title, odd) in enumerate(ODD.items()):
        if (i + len(name)) % EVERY:
            continue
        random = np.random.default_rng(i)
        some = {n: v[:16] for n, v in columns.items()} | {law.target: target[:16]}
        with np.errstate(all="ignore"):
            made = odd(some, random)
        if {"params", "tokens"} <= made.keys():
            with np.errstate(all="ignore"):
                made.setdefault("flops", 6 * made["params"] * made["tokens"])
        x = "x" if "x" in law.variables else None
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                fitted = procedure(name).fit(
                    Table.from_columns(made), FitOptions(resamples=8, x=x), {}
                )
            except ScalefitError:
                continue
        document = fitted.to_json()
        json.dumps(document, allow_nan=False)
        assert all(np.isfinite(value) for value in fitted.values.values()), title
