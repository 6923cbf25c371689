"""A loss law and a link to a score: one prediction that carries both errors."""

from __future__ import annotations

import json

import numpy as np
import pytest

from scaling_cli.errors import InputError
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.procedures import procedure
from scaling_cli.fitting.result import Fit
from scaling_cli.fitting.scoring import score_holdout
from scaling_cli.laws import get_law
from scaling_cli.table import Table
from tests.simulate import observations

LINK = {"a": 0.6, "b": 0.25, "k": 3.0, "L_0": 2.6}
LOSS_NOISE, SCORE_NOISE = 3e-3, 5e-3


def ladder(seed: int, rows: int = 40, scale: float = 1.0) -> Table:
    """Runs of a Chinchilla law whose accuracy follows their own loss, noise and all."""
    random = np.random.default_rng(seed)
    params, tokens = (
        scale * np.exp(random.uniform(*np.log(bounds), rows))
        for bounds in ((1e8, 3e9), (2e9, 1e11))
    )
    exact = 1.7 + 400 / params**0.34 + 600 / tokens**0.29
    loss = exact * np.exp(LOSS_NOISE * random.standard_normal(rows))
    accuracy = get_law("ladder").predict(**LINK, loss=loss)
    accuracy = accuracy + SCORE_NOISE * random.standard_normal(rows)
    columns = {"params": params, "tokens": tokens, "acc": accuracy}
    return observations(get_law("chinchilla"), columns, loss)


def chained(seed: int) -> Fit:
    options = FitOptions(resamples=100, target="acc", seed=seed)
    return procedure("chinchilla+ladder").fit(ladder(seed), options, {})


def test_the_interval_of_the_score_holds_new_larger_runs() -> None:
    inside = []
    for seed in range(3):
        held = score_holdout(chained(seed), ladder(100 + seed, scale=3.0)).holdout
        assert held is not None
        assert held["coverage"] is not None
        inside.append(held["coverage"])
    assert 0.8 <= np.mean(inside) <= 0.99


def test_a_chain_predicts_says_what_and_survives_a_file() -> None:
    fitted = chained(0)
    assert fitted.name == "chinchilla+ladder"
    found = fitted.predict({"params": 1e9, "tokens": 5e10})
    assert found.target == "acc"
    loss = 1.7 + 400 / 1e9**0.34 + 600 / 5e10**0.29
    assert found.loss == pytest.approx(get_law("ladder").predict(**LINK, loss=loss), abs=0.01)
    assert found.low is not None
    assert found.high is not None
    # Wider than the link alone, whose loss would be known: the loss's own error passes through it.
    assert fitted.then is not None
    alone = fitted.then.predict({"loss": loss})
    assert alone.high is not None
    assert alone.low is not None
    assert found.high - found.low > alone.high - alone.low
    again = Fit.from_document(json.loads(json.dumps(fitted.to_document())))
    assert again.fit_id == fitted.fit_id
    assert again.predict({"params": 1e9, "tokens": 5e10}) == found


def test_what_is_pinned_goes_to_the_link() -> None:
    options = FitOptions(resamples=0, target="acc", fixed={"b": 0.25, "E": 1.7})
    fitted = procedure("chinchilla+ladder").fit(ladder(1), options, {})
    assert fitted.values["E"] == pytest.approx(1.7)
    assert fitted.then is not None
    assert fitted.then.values["b"] == pytest.approx(0.25)


def test_a_surface_is_no_link() -> None:
    with pytest.raises(InputError, match="no link"):
        procedure("chinchilla+skaling")
