"""The memo of a budget: its sentence, record, weakest link and next run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import scaling_cli as scalefit
from scaling_cli.compute import SIX_ND
from scaling_cli.errors import InputError
from scaling_cli.fitting.result import Fit
from scaling_cli.laws import get_published
from scaling_cli.notes import Note
from scaling_cli.planning.beliefs import Belief, Outlook, Runs
from scaling_cli.planning.memo import memo_of_fit, scaled

LAW, ENTRY = get_published("epoch2024")


def ladder(top: float = 21.0, noise: float = 0.005, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    compute = 10 ** np.repeat(np.linspace(18.0, top, 6), 4)
    params = np.sqrt(compute / 6 / np.exp(random.uniform(np.log(4), np.log(150), 24)))
    tokens = compute / 6 / params
    loss = LAW.predict(**ENTRY.values, params=params, tokens=tokens)
    loss = loss * np.exp(noise * random.standard_normal(24))
    return {"params": params, "tokens": tokens, "loss": loss, "flops": compute}


@pytest.fixture(scope="module")
def fitted() -> Fit:
    return scalefit.fit("auto", ladder(), holdout="flops > 5e20", bootstrap=200)


def test_the_sentence_holds_the_split_and_how_far_it_is(fitted: Fit) -> None:
    budget = scaled(fitted, 20)
    memo = memo_of_fit(fitted, budget)
    split = scalefit.optimal(fitted, budget)
    assert memo.split == split
    assert "at 20 times the compute of any run fitted" in memo.sentence
    assert memo.sentence.startswith("train ")
    severe = replace(fitted, notes=(Note.of("explains_little", "seven runs"),))
    warned = memo_of_fit(severe, budget)
    assert warned.sentence.startswith("NOT TO BE RELIED ON (explains_little)")
    assert warned.weakest.startswith("seven runs")


def test_the_record_is_that_of_the_held_out_runs(fitted: Fit) -> None:
    memo = memo_of_fit(fitted, 1e22)
    held = [row["error"] for row in fitted.holdout_rows]
    assert list(memo.track.errors) == held
    assert memo.track.times is not None
    assert memo.track.times[0] == pytest.approx(1e21 / fitted.domain["flops"][1])
    bare = replace(fitted, holdout=None, holdout_rows=(), record=None)
    assert memo_of_fit(bare, 1e22).track.sentence.startswith("None:")


def test_the_next_run_pays_and_is_what_it_says(fitted: Fit) -> None:
    """At a tenth of the budget or less; with it, the interval is expected to be narrower."""
    memo = memo_of_fit(fitted, 1e22)
    assert memo.next_run is not None
    run = memo.next_run
    assert run.flops <= 0.1 * 1e22 * (1 + 1e-9)
    assert fitted.compute.flops(run.params, run.tokens) == pytest.approx(run.flops, rel=1e-6)
    assert run.after < run.before
    split = memo.split
    assert split.loss is not None
    assert split.loss_range is not None
    low, high = split.loss_range
    assert run.before == pytest.approx((high - low) / 2 / split.loss, rel=0.25)
    assert sum(memo.parts.values()) == pytest.approx(1)


def test_what_a_run_tells_is_what_conditioning_on_it_says() -> None:
    """Against the exact posterior of a linear law in two unknowns."""
    random = np.random.default_rng(1)
    draws = random.standard_normal((20_000, 2)) * [0.3, 0.1]
    law = replace(
        LAW,
        variables=("params", "tokens"),
        predict=lambda a, b, params, tokens: np.exp(a + b * np.log(params / 1e8)),
    )
    values = {"a": draws[:, :1], "b": draws[:, 1:]}
    belief = Belief(((law, values),), 0.05, 0.0, {}, SIX_ND)
    outlook = Outlook(
        belief, Runs.one(1e10, 1e11), Runs(np.array([1e8, 1e9]), np.array([1e9, 1e9]))
    )
    features = np.log(np.array([1e8, 1e9, 1e10]) / 1e8)[:, None] ** np.arange(2)
    prior = np.diag([0.09, 0.01])
    for row in (0, 1):
        x, t = features[row], features[2]
        exact = (x @ prior @ t) ** 2 / (x @ prior @ x + 0.05**2)
        assert outlook.gains()[row] == pytest.approx(exact, rel=0.05)
    before = outlook.variance
    gain = outlook.gains()[1]
    outlook.add(1)
    assert outlook.variance == pytest.approx(before - gain)


def test_papers_plan_without_an_interval_and_refuse_a_scale() -> None:
    memo = scalefit.plan("epoch2024", 1e24, max_params="70B")
    assert "not yours" in memo.sentence
    assert memo.next_run is None
    assert memo.split.binding == ("max_params",)
    with pytest.raises(InputError, match="no largest run"):
        scalefit.plan("epoch2024", scale="20x")


def test_runs_of_one_ratio_give_no_plan() -> None:
    params = np.geomspace(1e7, 1e9, 12)
    runs = {"params": params, "tokens": 20 * params, "loss": 1.8 + 400 / params**0.35}
    fit = scalefit.fit("chinchilla", runs, bootstrap=50)
    memo = scalefit.plan(fit, 1e22)
    assert memo.split.params is None
    assert memo.sentence.startswith("No split")
    assert "ratio of these runs" in memo.mend
