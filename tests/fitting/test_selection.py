"""Which runs of a sweep are fitted: on sweeps whose best runs are known."""

from __future__ import annotations

import numpy as np
import pytest

from scaling_cli.errors import InputError
from scaling_cli.fitting.hparams import fit
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.selection import selected
from scaling_cli.laws import get_law
from scaling_cli.table import Table


def sweep() -> Table:
    """Four sizes by three amounts of data, each at 7 rates and 7 batches about a known best."""
    rows = []
    for params in (1e8, 2e8, 4e8, 8e8):
        for tokens in (1e10, 3e10, 9e10):
            lr, batch = 1.79 * params**-0.713 * tokens**0.307, 0.58 * tokens**0.571
            for step in np.linspace(-1.2, 1.3, 7):
                for other in np.linspace(-0.9, 1.0, 7):
                    # The valley is oblique: the best rate at a batch that is off is off too.
                    loss = 2.0 + 20 / params**0.2 + 0.02 * (step**2 - step * other + other**2)
                    rows.append((params, tokens, lr * np.exp(step), batch * np.exp(other), loss))
    columns = zip(("params", "tokens", "lr", "batch_tokens", "loss"), np.array(rows).T, strict=True)
    return Table.from_columns(dict(columns))


def test_a_smooth_minimum_gives_the_rules_back() -> None:
    rows = selected(sweep(), "smooth:lr,batch_tokens", "loss")
    assert len(rows) == 12
    rate = fit(get_law("steplaw"), rows, FitOptions(resamples=0))
    batch = fit(get_law("steplaw_batch"), rows, FitOptions(resamples=0))
    assert rate.values["n"] == pytest.approx(-0.713, abs=2e-3)
    assert rate.values["d"] == pytest.approx(0.307, abs=2e-3)
    assert batch.values["d"] == pytest.approx(0.571, abs=2e-3)
    assert "smoothed" in {note.code for note in rate.notes}


def test_the_best_of_each_cell_is_the_lowest_loss() -> None:
    every = sweep()
    rows = selected(every, "best:params,tokens", "loss")
    assert len(rows) == 12
    for params, tokens, loss in zip(
        *(rows.columns[name] for name in ("params", "tokens", "loss")), strict=True
    ):
        cell = (every.columns["params"] == params) & (every.columns["tokens"] == tokens)
        assert loss == np.min(every.columns["loss"][cell])


def test_runs_near_the_best_of_their_cell_are_kept_and_cells_resampled() -> None:
    every = sweep()
    rows = selected(every, "within:1%", "loss")
    assert rows.n_runs == 12
    assert len(rows) > 40
    for params, tokens, loss in zip(
        *(rows.columns[name] for name in ("params", "tokens", "loss")), strict=True
    ):
        cell = (every.columns["params"] == params) & (every.columns["tokens"] == tokens)
        assert loss <= 1.01 * np.min(every.columns["loss"][cell])
    assert selected(every, "within:0.01,params", "loss").n_runs == 4
    rate = fit(get_law("steplaw"), rows, FitOptions(resamples=0))
    assert "near_best" in {note.code for note in rate.notes}
    for text in ("within:0", "within:x", "within:100%"):
        with pytest.raises(InputError):
            selected(every, text, "loss")


def test_the_frontier_is_beaten_by_no_cheaper_run() -> None:
    random = np.random.default_rng(0)
    flops, score = np.exp(random.uniform(40, 46, 60)), random.uniform(0.2, 0.9, 60)
    table = Table.from_columns({"flops": flops, "accuracy": score, "loss": -score + 2})
    for target, sign in (("accuracy", 1), ("loss", -1)):
        rows = selected(table, "frontier", target)
        value = sign * table.columns[target]
        kept = {(f, v) for f, v in zip(rows.columns["flops"], rows.columns[target], strict=True)}
        for i in range(60):
            beaten = bool(np.any((flops <= flops[i]) & (value > value[i])))
            assert ((flops[i], table.columns[target][i]) in kept) != beaten


@pytest.mark.parametrize("text", ["", "frontier:params", "best", "best:", "smooth", "median:lr"])
def test_what_is_no_selection_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="selection"):
        selected(sweep(), text, "loss")
