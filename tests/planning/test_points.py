"""Points that are asked about: grids, budgets, ratios, quantiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import scaling_cli as scalefit
from scaling_cli.cli import app
from scaling_cli.errors import InputError
from scaling_cli.fitting.result import Fit
from scaling_cli.laws import get_published
from scaling_cli.planning.points import Grid

LAW, ENTRY = get_published("epoch2024")


@pytest.fixture(scope="module")
def fitted() -> Fit:
    random = np.random.default_rng(0)
    compute = 10 ** np.repeat(np.linspace(18.0, 20.5, 6), 4)
    params = np.sqrt(compute / 6 / np.exp(random.uniform(np.log(4), np.log(150), 24)))
    tokens = compute / 6 / params
    loss = LAW.predict(**ENTRY.values, params=params, tokens=tokens)
    loss = loss * np.exp(0.005 * random.standard_normal(24))
    runs = {"params": params, "tokens": tokens, "loss": loss}
    return scalefit.fit("chinchilla", runs, bootstrap=200)


def test_a_grid_holds_every_pair(fitted: Fit) -> None:
    found = Grid(params=[1e9, 7e9], tokens=[1e11, 2e11, 4e11]).of_fit(fitted)
    pairs = [(item.inputs["params"], item.inputs["tokens"]) for item in found]
    assert pairs == [(n, d) for n in (1e9, 7e9) for d in (1e11, 2e11, 4e11)]
    assert found[3].loss == scalefit.predict(fitted, params=7e9, tokens=1e11).loss


def test_a_compute_alone_is_its_best_split(fitted: Fit) -> None:
    (found,) = Grid(flops=[1e22]).of_fit(fitted)
    split = scalefit.optimal(fitted, 1e22)
    assert (found.loss, found.low) == (split.loss, split.loss_range and split.loss_range[0])
    assert found.inputs["flops"] == 1e22
    (beside,) = Grid(params=[1e9], flops=[6e21]).of_published(LAW, ENTRY)
    assert beside.inputs["tokens"] == pytest.approx(1e12)
    ratio = scalefit.predict("epoch2024", flops=1.2e23, tokens_per_param=20)
    assert ratio.inputs["params"] == pytest.approx(np.sqrt(1e21))


def test_quantiles_agree_with_the_interval_and_rise(fitted: Fit) -> None:
    shares = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]
    found = scalefit.predict(fitted, params="7B", tokens="1T", quantiles=shares)
    values = list(found.quantiles.values())
    assert values == sorted(values)
    assert (found.quantiles[0.05], found.quantiles[0.95]) == (found.low, found.high)
    assert found.quantiles[0.5] == found.loss


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"flops": [1e21], "tokens": [1e9]}, "two ways"),
        ({"tokens_per_param": 20.0}, "needs params or flops"),
        ({"params": [1e9] * 200, "tokens": [1e9] * 200}, "more than 10000 points"),
    ],
)
def test_what_contradicts_itself_is_refused(asked: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why):
        Grid(**asked)


BAD = ("", "1e18,,2e18", "-1", "nan", "x", "1e300")
LINES = {
    "optimal --published epoch2024 --budget 1e23": (
        "budget", "tokens-per-param", "max-params", "min-params", "max-tokens", "unique-tokens",
        "inference-tokens", "target-loss", "at", "gpu-hours", "device", "mfu", "devices", "price",
        "level", "output", "published",
    ),
    "plan --published epoch2024 --budget 1e23": ("budget", "scale", "max-params", "at", "level"),
    "predict --published epoch2024 --params 7B --tokens 2T": (
        "params", "tokens", "flops", "scale", "tokens-per-param", "quantiles", "at", "solve",
        "loss", "level", "published",
    ),
    "design --published epoch2024 --spend 1e21 --target 1e24": ("spend", "target", "noise"),
    "simulate --published epoch2024 --design none.csv --noise 0.005": (
        "design", "target", "effect", "repeats", "output",
    ),
    "recipes --budgets 1e23": ("budgets", "tokens-per-param", "level"),
}  # fmt: skip


@pytest.mark.parametrize(("line", "option"), [(a, b) for a, many in LINES.items() for b in many])
def test_bad_values_of_every_option_get_one_message(line: str, option: str) -> None:
    command, *words = line.split()
    given = dict(zip(words[::2], words[1::2], strict=True))
    for bad in BAD:
        values = [word for pair in (given | {f"--{option}": bad}).items() for word in pair]
        result = CliRunner().invoke(app, [command, *values])
        assert result.exit_code == 2, (option, bad, result.stdout)
        assert result.stderr.count("Error") == 1, (option, bad, result.stderr)
        assert "unexpectedly" not in result.stderr
