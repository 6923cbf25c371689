"""What a split leans on: refits without runs, sizes and budgets, and other laws."""

from __future__ import annotations

import numpy as np
import pytest

import scaling_cli as scalefit
from scaling_cli.laws import get_published
from scaling_cli.planning.sensitivity import sensitivity
from scaling_cli.table import Table

LAW, ENTRY = get_published("epoch2024")


def test_refits_are_those_of_the_runs_that_are_left() -> None:
    random = np.random.default_rng(0)
    compute = np.repeat([1e18, 1e19, 1e20], 4)
    params = np.sqrt(compute / 6 / np.tile([5.0, 20.0, 60.0, 150.0], 3))
    runs = {"params": params, "tokens": compute / 6 / params}
    loss = LAW.predict(**ENTRY.values, **runs) * np.exp(0.003 * random.standard_normal(12))
    loss[11] *= 1.02  # the run that moves it
    runs |= {"loss": loss}
    fitted = scalefit.fit("chinchilla", runs, bootstrap=0)
    split = scalefit.optimal(fitted, 1e22)
    seen = sensitivity(fitted, Table.from_columns(runs), split)
    assert [len(seen.of(kind)) for kind in ("run", "rung")] == [12, 3]
    assert seen.again == pytest.approx(split.loss)
    for item, kept in ((seen.of("run")[11], slice(0, 11)), (seen.of("rung")[0], slice(4, 12))):
        again = scalefit.fit("chinchilla", {n: v[kept] for n, v in runs.items()}, bootstrap=0)
        assert item.loss == pytest.approx(scalefit.optimal(again, 1e22).loss, rel=1e-6)
    auto = next(item for item in seen.of("law") if item.left_out == "auto")
    other = scalefit.optimal(scalefit.fit("auto", runs, bootstrap=0), 1e22)
    assert auto.loss == pytest.approx(other.loss, rel=1e-9)
    assert any("moves it most" in said for said in seen.sentences)
