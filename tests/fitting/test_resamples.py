"""Resamples that are no data set: what becomes of them, and what is said."""

from __future__ import annotations

import numpy as np
import pytest

from scaling_cli.fitting.engine import fit
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.resampling import resampled, weighed
from scaling_cli.laws import get_law
from scaling_cli.table import Table

LAW = get_law("chinchilla")
FREE = len(LAW.parameters)
COUNT = 200


def ladder(runs: int, rows: int) -> Table:
    """Rows by a Chinchilla surface with noise, in turn of so many runs."""
    random = np.random.default_rng(5)
    params = 10 ** random.uniform(7, 9, rows)
    tokens = params * 10 ** random.uniform(0.7, 2.3, rows)
    loss = LAW.predict(
        E=1.8, A=480.0, alpha=0.35, B=2085.0, beta=0.37, params=params, tokens=tokens
    )
    loss = loss * np.exp(0.003 * random.standard_normal(rows))
    ids = [f"run{i % runs}" for i in range(rows)]
    return Table.from_columns({"params": params, "tokens": tokens, "loss": loss}, ids)


@pytest.mark.parametrize("runs", [6, 7, 8])
def test_few_runs_are_weighed_anew_where_draws_would_leave_too_many_out(runs: int) -> None:
    rows = ladder(runs, runs)
    drawn = resampled(rows, COUNT, np.random.default_rng(0))
    short = sum(len(set(np.flatnonzero(item))) < FREE for item in drawn)
    assert short > 0.1 * COUNT
    weights = weighed(rows, COUNT, np.random.default_rng(0))
    assert np.min(weights) > 0
    np.testing.assert_allclose(weights.mean(axis=1), 1.0)
    fitted = fit(LAW, rows, FitOptions(resamples=COUNT))
    assert len(fitted.draws) > 0.95 * COUNT
    assert "resamples_failed" not in {item.code for item in fitted.notes}
    assert "few_runs" in {item.code for item in fitted.notes}


def test_runs_as_many_as_parameters_carry_no_interval() -> None:
    fitted = fit(LAW, ladder(FREE, FREE), FitOptions(resamples=COUNT))
    assert not len(fitted.draws)
    (note,) = (item for item in fitted.notes if item.code == "resamples_failed")
    assert "hold fewer distinct rows" in note.message


def test_no_resample_of_sixteen_runs_is_short() -> None:
    rows = ladder(16, 16)
    drawn = resampled(rows, COUNT, np.random.default_rng(0))
    assert np.min(np.count_nonzero(drawn, axis=1)) >= FREE
    fitted = fit(LAW, rows, FitOptions(resamples=COUNT))
    assert not any("distinct rows" in item.message for item in fitted.notes)


def test_a_run_of_many_rows_is_never_short() -> None:
    fitted = fit(LAW, ladder(2, 16), FitOptions(resamples=COUNT))
    assert not any("distinct rows" in item.message for item in fitted.notes)
