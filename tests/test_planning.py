"""Compute-optimal splits: closed form, numeric, published, refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scaling_cli.errors import InputError
from scaling_cli.laws import get_law, get_published
from scaling_cli.planning import allocate_published, optimum


@pytest.mark.parametrize(
    ("name", "budget", "params", "tokens", "loss"),
    [
        ("hoffmann2022", 1e24, 4.1297e10, 4.0358e12, 1.91120),
        ("epoch2024", 1e24, 9.5861e10, 1.7386e12, 1.95971),
        ("hoffmann2022", 5.76e23, 32.2e9, None, None),
        ("hoffmann2022_tex", 5.76e23, 40.4e9, None, None),
        ("epoch2024", 5.76e23, 72.2e9, None, None),
    ],
)
def test_published_splits(
    name: str, budget: float, params: float, tokens: float | None, loss: float | None
) -> None:
    found = allocate_published(*get_published(name), budget)
    assert found.params == pytest.approx(params, rel=2e-3)
    assert found.params is not None
    assert found.tokens is not None
    assert 6 * found.params * found.tokens == pytest.approx(budget, rel=1e-12)
    if tokens is not None:
        assert found.tokens == pytest.approx(tokens, rel=1e-3)
        assert found.loss == pytest.approx(loss, abs=5e-6)


@pytest.mark.parametrize("budget", [1e18, 1e21, 1e24])
@pytest.mark.parametrize("law_id", ["chinchilla", "skaling"])
def test_closed_form_is_the_numeric_optimum(law_id: str, budget: float) -> None:
    law = get_law(law_id)
    values = {"E": 1.8, "A": 480.0, "alpha": 0.35, "B": 2100.0, "beta": 0.37}
    if law_id == "skaling":
        values |= {"A": 2305.0, "alpha": 0.424, "B": 9957.0, "beta": 0.4305, "k": 0.77}
    batch = {name: np.full((1, 1), value) for name, value in values.items()}
    exact, data = optimum(law, batch, budget)
    numeric, _ = optimum(replace(law, optimum=None), batch, budget)
    assert numeric[0] == pytest.approx(exact[0], rel=1e-3)
    best = law.predict(**values, params=exact, tokens=data)
    for factor in (0.99, 1.01):
        assert law.predict(**values, params=exact * factor, tokens=data / factor) > best


@pytest.mark.parametrize(
    ("budget", "ratio"), [(1e19, 17.3), (1e20, 10.8), (1e21, 10.9), (1e22, 14.0)]
)
def test_farseer_has_the_interior_optimum_that_is_known(budget: float, ratio: float) -> None:
    found = allocate_published(*get_published("farseer2025"), budget)
    assert found.tokens_per_param == pytest.approx(ratio, rel=0.01)
    lower_elsewhere = budget >= 1e21
    assert [note.code for note in found.notes] == ["local_optimum"] * lower_elsewhere


@pytest.mark.parametrize("budget", [1e23, 1e24, 1e26])
def test_a_runaway_optimum_is_refused(budget: float) -> None:
    found = allocate_published(*get_published("farseer2025"), budget)
    assert found.params is None
    assert [note.code for note in found.notes] == ["no_optimum"]


def test_a_prescribed_ratio_is_kept() -> None:
    found = allocate_published(*get_published("epoch2024"), 1e23, ratio=20)
    assert found.tokens_per_param == pytest.approx(20)
    free = allocate_published(*get_published("epoch2024"), 1e23)
    assert found.loss is not None
    assert free.loss is not None
    assert found.loss >= free.loss


def test_a_law_of_one_variable_splits_nothing() -> None:
    _, entry = get_published("epoch2024")
    with pytest.raises(InputError, match="power"):
        allocate_published(get_law("power"), entry, 1e23)
