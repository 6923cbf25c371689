"""A link whose upper plateau no run has seen: what it then claims."""

from __future__ import annotations

import numpy as np
import pytest

from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.procedures import fitter
from scaling_cli.fitting.result import Fit
from scaling_cli.laws import get_law
from scaling_cli.table import Table

TRUTH = {"a": 0.5, "b": 0.25, "k": 4.5}
AHEAD = (2e9, 2e11)


def loss_of(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    return 1.8 + 480 / params**0.348 + 2085 / tokens**0.366


def scored(best: float, seed: int, of: float = 1.0) -> tuple[Table, float]:
    """28 models the best of which comes near an accuracy of `best`, told in `of` ths, and the
    accuracy of a larger one."""
    random = np.random.default_rng(seed)
    params = np.repeat([1e7, 3e7, 6e7, 2e8], 7)
    tokens = np.exp(random.uniform(np.log(2e9), np.log(4e10), 28))
    lowest = loss_of(np.array(2e8), np.array(4e10))
    middle = lowest - np.log(TRUTH["a"] / (best - TRUTH["b"]) - 1) / TRUTH["k"]

    def accuracy(loss: np.ndarray) -> np.ndarray:
        noise = 0.006 * random.standard_normal(loss.shape)
        return get_law("ladder").predict(**TRUTH, L_0=middle, loss=loss) + noise

    exact = loss_of(params, tokens)
    columns = {
        "params": params,
        "tokens": tokens,
        "flops": 6 * params * tokens,
        "loss": exact * np.exp(0.002 * random.standard_normal(28)),
        "accuracy": of * accuracy(exact),
    }
    return Table.from_columns(columns), float(of * accuracy(loss_of(*map(np.array, AHEAD))))


def fitted(rows: Table, **options: object) -> Fit:
    asked = FitOptions(resamples=100, target="accuracy", **options)  # type: ignore[arg-type]
    return fitter("chinchilla+ladder")(rows, asked, {})


def ends(fit: Fit) -> tuple[float, float]:
    band = fit.band(dict(zip(("params", "tokens"), map(np.atleast_1d, AHEAD), strict=True)))
    assert band is not None
    return float(band[0][0]), float(band[1][0])


@pytest.mark.parametrize("best", [0.30, 0.44, 0.72])
def test_intervals_of_a_link_hold_what_comes(best: float) -> None:
    held = []
    for seed in range(8):
        rows, truth = scored(best, seed)
        low, high = ends(fitted(rows))
        assert 0 <= low < high <= 1
        held.append(low <= truth <= high)
    assert np.mean(held) >= 0.75  # 0.9 over 200 tables: `make bench BENCH=coverage`


def test_a_plateau_that_no_run_has_come_near_is_open_and_said() -> None:
    near, seen = (fitted(scored(best, 1)[0]) for best in (0.30, 0.72))
    assert "plateau_not_seen" in {note.code for note in near.notes}
    assert "plateau_not_seen" not in {note.code for note in seen.notes}
    low, high = ends(near)
    assert high - low > 0.15
    assert near.then
    rise = near.then.parameters["a"]
    assert rise.low is not None
    assert rise.high is not None
    assert rise.low < rise.value < rise.high
    assert rise.high > 2 * rise.low


def test_what_the_user_knows_of_the_plateaus_is_kept() -> None:
    rows, _ = scored(0.44, 2)
    known = fitted(rows, fixed={"b": 0.25}, bounds={"a": (0.4, 0.5)})
    assert known.then
    assert known.then.values["b"] == pytest.approx(0.25)
    assert 0.4 <= known.then.values["a"] <= 0.5
    drawn = known.then.draws[:, 0]
    assert np.min(drawn) >= 0.4 - 1e-9
    assert np.max(drawn) <= 0.5 + 1e-9


def test_no_plateau_of_a_score_that_is_no_share_is_bounded() -> None:
    rows, _ = scored(0.72, 3, of=40.0)
    columns = {**rows.columns, "rating": rows.columns["accuracy"]}
    found = fitter("chinchilla+ladder")(
        Table.from_columns(columns), FitOptions(resamples=0, target="rating"), {}
    )
    assert found.then
    assert found.then.values["a"] > 10


def test_models_at_chance_are_at_no_plateau() -> None:
    """Without a rise .2505 (.2478..2532) was said of any larger model: all stood at a plateau."""
    random = np.random.default_rng(11)
    loss = np.geomspace(2.9, 4.2, 20)
    flat = Table.from_columns({"loss": loss, "arc_easy": 0.25 + 0.002 * random.standard_normal(20)})
    found = fitter("ladder")(flat, FitOptions(resamples=60, target="arc_easy"), {})
    ahead = found.predict({"loss": 2.1})
    assert "plateau_not_seen" in {note.code for note in ahead.notes if note.severity == "severe"}
    assert ahead.low is None


def test_a_share_stays_one() -> None:
    loss = np.linspace(2.9, 4.2, 20)
    curve = get_law("ladder").predict(a=0.5, b=0.25, k=4.0, L_0=3.2, loss=loss)
    for name, law in (("error", "err_exp"), ("accuracy", "ladder")):
        table = Table.from_columns({"loss": loss, name: 1 - curve if name == "error" else curve})
        found = fitter(law)(table, FitOptions(resamples=60, target=name), {}).predict({"loss": 1.5})
        assert ("share_outside" in {note.code for note in found.notes}) == (found.loss < 0)
        assert (found.low is None) if found.loss < 0 else 0 <= found.low <= found.high <= 1
