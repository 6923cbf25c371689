"""What laws let one choose beside params and tokens: bits, experts, loops, mixtures."""

from __future__ import annotations

import json
from itertools import permutations

import numpy as np
import pytest
from typer.testing import CliRunner

import scaling_cli as scalefit
from scaling_cli.cli import app
from scaling_cli.errors import InputError
from scaling_cli.laws import LAWS, get_law
from scaling_cli.planning.budget import Constraints, Line, optimum
from scaling_cli.planning.choices import drawn_ranges, settle
from scaling_cli.records import Floats

BUDGET = 1e21
SURFACE = {"E": (1.5, 2.0), "A": (200, 600), "alpha": (0.3, 0.4), "B": (300, 900)}
DRAWN = {
    "moe_sparsity": {
        "e": (1.5, 2.0), "a": (200, 600), "alpha": (0.3, 0.4), "b": (300, 900), "beta": (0.3, 0.4),
        "c": (0.005, 0.02), "lam": (0.3, 0.6), "d": (20, 90), "delta": (-0.6, -0.2),
        "gamma": (0.25, 0.35),
    },
    "precision": SURFACE | {
        "beta": (0.3, 0.4), "gamma_w": (1.5, 3), "gamma_a": (1.5, 3), "gamma_kv": (0.5, 1.5),
        "n_w": (0, 0.5), "n_a": (0, 0.5), "n_kv": (0, 0.5), "C_T": (0.01, 0.05),
        "g_D": (0.3, 0.5), "g_N": (0.3, 0.5), "g_post": (0.5, 1),
    },
    "isodepth": SURFACE | {"beta": (0.3, 0.4), "phi": (0.3, 0.6)},
    "moe_gran": {
        "c": (0.4, 1.0), "a": (15, 20), "g": (1, 4), "gamma": (0.4, 0.8), "alpha": (0.1, 0.15),
        "b": (25, 35), "beta": (0.12, 0.16),
    },
}  # fmt: skip
HELD = {"precision": {"post_bits": 16.0}, "isodepth": {"params_recurrent": 3e8}}


@pytest.mark.parametrize("law_id", DRAWN)
def test_no_grid_finds_a_lower_loss(law_id: str) -> None:
    law, random, held = get_law(law_id), np.random.default_rng(7), HELD.get(law_id, {})
    assert law.choices is not None
    (choice,) = law.free
    values = {n: np.full((1, 1), random.uniform(*r)) for n, r in DRAWN[law_id].items()}
    settled = settle(law, values, Line(BUDGET, constraints=Constraints(at=held)))
    (params,), _ = optimum(settled.law, values, settled.line)
    assert settled.chosen is not None
    chosen = settled.chosen[choice.column]

    def ln_loss(chosen: Floats, x: Floats) -> Floats:
        assert law.choices is not None
        at = held | {choice.column: chosen} | dict.fromkeys(choice.also, chosen)
        per_token = sum(f * np.exp(x) ** p for f, p in law.choices.per_token(at))
        tokens = BUDGET / per_token
        columns = {law.choices.size: np.exp(x), "tokens": tokens} | at
        columns = {name: np.broadcast_to(value, x.shape) for name, value in columns.items()}
        with np.errstate(all="ignore"):
            loss = np.log(law.predict(**values, **columns))[0]
        return np.where(np.isfinite(loss) & (tokens / np.exp(x) > 1e-2), loss, np.inf)

    height = ln_loss(np.array([chosen]), np.log([params]))[0]
    span = np.linspace if not choice.low else np.geomspace
    near = np.clip(chosen * np.linspace(0.98, 1.02, 41), choice.low, choice.high)
    for choices in (span(choice.low, choice.high, 200), near):
        pairs = np.stack(np.meshgrid(choices, np.linspace(16, 30, 1500)), axis=-1).reshape(-1, 2)
        heights = ln_loss(pairs[:, 0], pairs[:, 1])
        assert height <= heights.min() + 1e-8
    place, size = pairs[np.argmin(heights)]
    assert chosen == pytest.approx(place, rel=2e-3)
    assert np.log(params) == pytest.approx(size, abs=0.02)


def test_published_choices() -> None:
    """Kumar et al. find the best precision to be 7 to 8 bits at any compute. Krajewski et al. make
    models of 64 x 100M (4.3e9 params) on 4.4e9 tokens with a granularity of 8 at 2.95e18 FLOPs."""
    for split in scalefit.optimal("kumar2024", [1e20, 1e24], at={"post_bits": 16}):
        assert split.choices["precision_bits"] == pytest.approx(7.00, abs=0.01)
    granular = scalefit.optimal("krajewski2024", 2.95e18)
    assert granular.params == pytest.approx(4.3e9, rel=0.05)
    assert granular.tokens == pytest.approx(4.37e9, rel=0.07)
    assert granular.choices["granularity"] == pytest.approx(8, rel=0.35)


def test_shares_sum_to_one_and_keep_their_limits() -> None:
    law = get_law("mix_shukor")
    random = np.random.default_rng(3)
    names = [name for name in law.variables if name.startswith(law.over)]
    values = {"E": 1.2, "A": 400.0, "alpha": 0.34, "B": 600.0, "beta": 0.35}
    values |= {f"C.{name.partition('.')[2]}": random.uniform(1, 5) for name in names}
    values |= {f"gamma.{name.partition('.')[2]}": random.uniform(0.3, 0.9) for name in names}
    batch = {name: np.full((1, 1), value) for name, value in values.items()}

    def lowest(limits: dict[str, tuple[float, float]]) -> dict[str, float]:
        line = Line(BUDGET, constraints=Constraints(limits=limits))
        return dict(settle(law, batch, line).chosen or {})

    def worth(shares: dict[str, float]) -> float:
        return float(np.ravel(law.predict(**values, **shares, params=1e9, tokens=2e10))[0])

    free = lowest({})
    assert sum(free.values()) == pytest.approx(1)
    for name, other in permutations(names, 2):
        moved = free | {name: free[name] + 1e-3, other: free[other] - 1e-3}
        assert worth(free) < worth(moved)
    first = names[0]
    bound = lowest({first: (0.6, 0.7)})
    assert 0.6 <= bound[first] <= 0.7
    assert sum(bound.values()) == pytest.approx(1)
    with pytest.raises(InputError, match="sum to one"):
        lowest(dict.fromkeys(names, (0.5, 0.6)))


def test_resamples_bound_a_mixture() -> None:
    law, random = get_law("mix_shukor"), np.random.default_rng(0)
    values = {"E": 1.2, "A": 400.0, "alpha": 0.34, "B": 600.0, "beta": 0.35}
    values |= {"C.books": 3.0, "C.code": 2.0, "C.web": 4.0}
    values |= {"gamma.books": 0.5, "gamma.code": 0.4, "gamma.web": 0.7}
    batch = {name: np.full((1, 1), value) for name, value in values.items()}
    drawn = {n: v * np.exp(0.05 * random.standard_normal((20, 1))) for n, v in batch.items()}
    line = Line(1e20)
    settled = settle(law, batch, line)
    bounds = drawn_ranges(law, drawn, line, settled, 0.9)
    for name, share in (settled.chosen or {}).items():
        low, high = bounds[name]
        assert low is not None
        assert high is not None
        assert 0.5 * share < low < share < high < 1.5 * share


def test_a_fit_bounds_its_choices() -> None:
    law, entry = get_law("precision"), get_law("precision").published[0]
    random = np.random.default_rng(0)
    n = 120
    columns = {
        "params": 10 ** random.uniform(7, 9, n), "tokens": 10 ** random.uniform(9, 11, n),
        "precision_bits": random.integers(5, 17, n).astype(float), "post_bits": np.full(n, 16.0),
    }  # fmt: skip
    columns |= dict.fromkeys(("activation_bits", "cache_bits"), columns["precision_bits"])
    loss = law.predict(**entry.values, **columns) * np.exp(0.002 * random.standard_normal(n))
    fixed = {name: entry.values[name] for name in ("C_T", "g_D", "g_N", "g_post", "n_w", "n_a")}
    fixed |= {name: entry.values[name] for name in ("n_kv", "gamma_a", "gamma_kv")}
    fitted = scalefit.fit("precision", columns | {"loss": loss}, fix=fixed, bootstrap=20)
    split = scalefit.optimal(fitted, 1e21, at={"post_bits": 16})
    low, high = split.choices_range["precision_bits"]
    assert low is not None
    assert high is not None
    assert 0.9 * 7.0 < low < high < 1.1 * 7.0
    assert split.loss_range is not None
    assert split.loss_range[0] < (split.loss or 0) < split.loss_range[1]


def test_steps_and_their_batch_make_the_tokens() -> None:
    law = get_law("unraveling")
    values = {"N_c": 4.85e17, "alpha_N": 0.0615, "S_c": 2.57e3, "alpha_S": 0.672}
    values |= {"B_c": 1.66e8, "alpha_B": 0.205}
    batch = {name: np.full((1, 1), value) for name, value in values.items()}
    line = Line(1e20, constraints=Constraints(limits={"batch_tokens": (1e5, 1e7)}))
    settled = settle(law, batch, line)
    assert settled.at_end == ("batch_tokens",)
    (params,), (tokens,) = optimum(settled.law, batch, settled.line)
    point = settled.point(params, tokens)
    assert 6 * params * point["step"] * point["batch_tokens"] == pytest.approx(1e20)
    loss = float(np.ravel(law.predict(**values, **point))[0])
    for factor in (0.8, 1.25):
        moved = point | {"params": params * factor, "step": point["step"] / factor}
        assert loss < float(np.ravel(law.predict(**values, **moved))[0])


def test_choices_on_the_command_line() -> None:
    line = ["optimal", "--budget", "1e22", "--published", "kumar2024", "--at", "post_bits=16"]
    said = CliRunner().invoke(app, [*line, "--bound", "precision_bits=8:16", "--json"])
    (split,) = json.loads(said.stdout)["allocations"]
    assert split["choices"]["precision_bits"] == pytest.approx(
        {"value": 8.0, "low": None, "high": None, "at_end": True}
    )
    for more, words in (
        (["--bound", "bits=8:16"], "no choice of law precision"),
        (["--bound", "precision_bits=1:4"], "was made for precision_bits from 2 to 16"),
        (["--at", "params=1e9"], "cannot be held"),
    ):
        refused = CliRunner().invoke(app, [*line, *more])
        assert refused.exit_code == 2
        assert words in refused.stderr
    refused = CliRunner().invoke(app, line[:-2])
    assert "also reads post_bits" in refused.stderr


def test_every_law_that_chooses_reads_what_it_chooses() -> None:
    for law in LAWS.values():
        if law.choices is None:
            continue
        names = {name for choice in law.free for name in (choice.column, *choice.also)}
        amount = "step" if law.choices.batch else "tokens"
        assert names | {law.choices.size, amount} <= set(law.variables)
        assert all(choice.low < choice.high for choice in law.free)
