"""Splits under constraints: against a brute-force search, and the questions that people ask."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

import scaling_cli as scalefit
from scaling_cli.compute import SIX_ND, Accounting, exact
from scaling_cli.errors import InputError
from scaling_cli.laws import Law, get_law, get_published
from scaling_cli.planning.budget import FREE, Constraints, Line, losses, optimum
from scaling_cli.planning.splits import allocate_published

EPOCH = get_published("epoch2024")
ATTENTION = Accounting("measured", ((6.0, 1.0), (900.0, 2 / 3), (2e8, 0.0)))


def random_law(random: np.random.Generator) -> tuple[Law, Mapping[str, float]]:
    alpha, beta = random.uniform(0.25, 0.6, 2)
    values = {
        "E": random.uniform(0.5, 2.0),
        "A": random.uniform(0.5, 2.0) * 3e7**alpha,
        "alpha": alpha,
        "B": random.uniform(0.5, 2.0) * 6e8**beta,
        "beta": beta,
    }
    if random.random() < 0.5:
        return get_law("chinchilla"), values
    return get_law("skaling"), values | {"k": random.uniform(0.7, 1.3)}


def random_constraints(random: np.random.Generator, best: float, tokens: float) -> Constraints:
    kind = random.integers(5)
    size = best * np.exp(random.uniform(-2, 2))
    if kind == 0:
        return Constraints(max_params=size)
    if kind == 1:
        return Constraints(min_params=size)
    if kind == 2:
        return Constraints(max_tokens=tokens * np.exp(random.uniform(-1, 1)))
    if kind == 3:
        return Constraints(inference_tokens=tokens * np.exp(random.uniform(-2, 1)))
    return Constraints(max_params=size, inference_tokens=tokens * random.uniform(0.1, 1))


def test_constrained_optima_are_those_of_a_brute_force_search() -> None:
    """300 random surfaces, constraints and accountings; within 1e-3 in ln params."""
    random = np.random.default_rng(5)
    for _ in range(300):
        law, values = random_law(random)
        compute = SIX_ND if random.random() < 0.5 else ATTENTION
        budget = 10 ** random.uniform(18, 24)
        batch = {name: np.full((1, 1), value) for name, value in values.items()}
        (free,), (tokens,) = optimum(law, batch, Line(budget, compute))
        line = Line(budget, compute, random_constraints(random, free, tokens))
        (found,), _ = optimum(law, batch, line)
        (least, _), (most, _) = line.allowed()
        grid = np.geomspace(least, most, 200_001)
        with np.errstate(invalid="ignore"):
            brute = grid[np.nanargmin(losses(law, values, line, grid))]
        assert abs(np.log(found / brute)) < 1e-3


@pytest.mark.parametrize("compute", [SIX_ND, ATTENTION])
def test_a_split_costs_its_budget(compute: Accounting) -> None:
    law, entry = EPOCH
    batch = {name: np.full((1, 1), value) for name, value in entry.values.items()}
    (params,), (tokens,) = optimum(law, batch, Line(3e20, compute))
    assert compute.flops(params, tokens) == pytest.approx(3e20, rel=1e-9)


def test_a_size_that_can_be_served_is_trained_for_longer() -> None:
    split = allocate_published(*EPOCH, 1e24, Constraints(max_params=8e9))
    assert split.params == pytest.approx(8e9)
    assert split.tokens_per_param is not None
    assert split.tokens_per_param > 20
    assert split.binding == ("max_params",)
    assert split.cost_of_binding is not None
    assert 0 < split.cost_of_binding < 0.1
    loose = allocate_published(*EPOCH, 1e24, Constraints(max_params=1e12))
    assert loose.binding == ()
    assert loose.params == pytest.approx(allocate_published(*EPOCH, 1e24).params, rel=1e-3)


def test_serving_asks_for_a_smaller_model() -> None:
    free = allocate_published(*EPOCH, 1e24)
    served = allocate_published(*EPOCH, 1e24, Constraints(inference_tokens=2e13))
    assert free.params is not None
    assert served.params is not None
    assert served.tokens is not None
    assert served.params < free.params
    whole = 6 * served.params * served.tokens + 2 * served.params * 2e13
    assert whole == pytest.approx(1e24, rel=1e-9)


def test_repeats_move_the_split_as_the_paper_says() -> None:
    """25B unique tokens at 1e22 FLOPs: 7.02e9 params and 2.37e11 tokens, 9.5 epochs."""
    law, entry = get_published("muennighoff2023_repeats")
    split = allocate_published(law, entry, 1e22, Constraints(at={"unique_tokens": 25e9}))
    assert split.params == pytest.approx(7.02e9, rel=0.02)
    assert split.tokens == pytest.approx(2.37e11, rel=0.02)


def test_the_valley_is_where_the_loss_rises_by_a_hundredth() -> None:
    law, entry = EPOCH
    split = allocate_published(law, entry, 1e22)
    assert split.valley is not None
    ends = np.array([end for end in split.valley if end is not None])
    assert len(ends) == 2
    assert losses(law, entry.values, Line(1e22), ends) / split.loss == pytest.approx(1.01, abs=1e-4)


def test_constraints_that_leave_nothing_are_named() -> None:
    asked = Constraints(min_params=1e11, max_params=1e10)
    with pytest.raises(InputError, match="is left by min_params and max_params"):
        allocate_published(*EPOCH, 1e24, asked)
    with pytest.raises(InputError, match="tokens cannot be held"):
        allocate_published(*EPOCH, 1e24, Constraints(at={"tokens": 1e9}))
    with pytest.raises(InputError, match="leaves nothing to limit"):
        allocate_published(*EPOCH, 1e24, Constraints(tokens_per_param=20, max_params=1e9))
    with pytest.raises(InputError, match="chinchilla reads no unique_tokens"):
        allocate_published(*EPOCH, 1e24, Constraints(at={"unique_tokens": 1e9}))
    with pytest.raises(InputError, match="data_constrained also reads unique_tokens"):
        allocate_published(*get_published("muennighoff2023_repeats"), 1e24, FREE)


def test_exact_flops_are_those_of_a_usual_decoder() -> None:
    gpt3 = scalefit.Architecture(96, 12288, 96, 2048, 50_304, 4 * 12288)
    body = 12 * 12288**2 * 96
    assert exact(2048).per_token(body) == pytest.approx(gpt3.flops_per_token(), rel=0.01)
    split = scalefit.optimal("epoch2024", 1e23, sequence=32_768)
    assert split.training_flops == pytest.approx(1e23)
    assert split.tokens == pytest.approx(1e23 / exact(32_768).per_token(split.params))
    plain = scalefit.optimal("epoch2024", 1e23)
    assert split.tokens < 0.7 * plain.tokens
    found = scalefit.predict("epoch2024", flops=1e23)
    assert found.loss == pytest.approx(plain.loss)


def test_the_served_length_is_paid_for() -> None:
    short = scalefit.optimal("epoch2024", 1e23, inference_tokens=2e12)
    long = scalefit.optimal("epoch2024", 1e23, inference_tokens=2e12, served_length=32_768)
    served = 2e12 * exact(32_768).per_token(long.params) / 3
    assert long.training_flops + served == pytest.approx(1e23)
    assert long.params < short.params
    with pytest.raises(InputError, match="no served tokens"):
        scalefit.optimal("epoch2024", 1e23, served_length=4096)
    with pytest.raises(InputError, match="says itself"):
        scalefit.optimal("kumar2024", 1e23, at={"post_bits": 16}, sequence=4096)
