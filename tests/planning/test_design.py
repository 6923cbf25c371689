"""Which runs to train next."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import scaling_cli as scalefit
from scaling_cli.cli import app
from scaling_cli.compute import SIX_ND
from scaling_cli.errors import InputError
from scaling_cli.laws import get_published
from scaling_cli.planning.beliefs import Belief, Outlook, Runs
from scaling_cli.planning.design import design_for_published, drawn_about
from scaling_cli.planning.trials import Worlds, standing_for

LAW, ENTRY = get_published("epoch2024")


@pytest.mark.parametrize("name", ["epoch2024", "hoffmann2022"])
def test_the_design_costs_its_spend_and_beats_the_usual_two(name: str) -> None:
    found = scalefit.design(name, 1e21, "1e24", trials=0)
    for design in found.all:
        assert design.spend == pytest.approx(1e21, rel=1e-6)
        assert np.sum([row["flops"] for row in design.rows()]) == pytest.approx(1e21, rel=1e-6)
    widths = [item.half_width for item in found.all]
    assert widths[0] == min(widths)
    assert widths[0] < 0.95 * widths[1]


def test_the_design_is_the_narrowest_of_those_tried() -> None:
    found = design_for_published(LAW, ENTRY, 1e21, 1e24, trials=1)
    widths = [item.half_width for item in found.all]
    assert widths[0] == min(widths)
    values = drawn_about(LAW, ENTRY, {"params": 1e9, "tokens": 2e10})
    belief = Belief(((LAW, values),), 0.005, 0.008, {}, SIX_ND)
    aim = Runs.one(found.target.params or 0, found.target.tokens or 0)
    first, again = (Worlds(belief, aim, None, count=1) for _ in range(2))
    assert first.half_width(found.chosen.runs) == again.half_width(found.chosen.runs)


def test_runs_that_stand_for_a_fit_reach_as_far_as_its_own() -> None:
    random = np.random.default_rng(0)
    params = 10 ** random.uniform(7, 9, 12)
    tokens = params * 10 ** random.uniform(0.7, 2, 12)
    loss = LAW.predict(**ENTRY.values, params=params, tokens=tokens)
    runs = {"params": params, "tokens": tokens, "loss": loss}
    fitted = scalefit.fit("chinchilla", runs, bootstrap=0)
    likely = standing_for(fitted)
    assert likely is not None
    assert len(likely) == 12
    flops = 6 * likely.params * likely.tokens
    low, high = fitted.domain["flops"]
    assert (flops > low).all()
    assert (flops < high).all()


def test_a_fit_knows_more_after_the_design_than_before() -> None:
    random = np.random.default_rng(0)
    compute = 10 ** np.repeat(np.linspace(17.0, 19.0, 4), 4)
    params = np.sqrt(compute / 6 / np.exp(random.uniform(np.log(5), np.log(100), 16)))
    tokens = compute / 6 / params
    loss = LAW.predict(**ENTRY.values, params=params, tokens=tokens)
    loss = loss * np.exp(0.005 * random.standard_normal(16))
    runs = {"params": params, "tokens": tokens, "loss": loss}
    fitted = scalefit.fit("auto", runs, bootstrap=200)
    found = scalefit.design(fitted, 1e20, 1e22, trials=0)
    assert found.before is not None
    assert found.chosen.half_width < 0.8 * found.before
    answer = scalefit.predict(fitted, flops=1e22)
    assert answer.low is not None
    assert answer.high is not None
    half = (answer.high - answer.low) / 2 / answer.loss
    assert found.before == pytest.approx(half, rel=0.25)


def test_exponents_are_drawn_with_the_terms_held_at_the_centre() -> None:
    centre = {"params": 1e8, "tokens": 2e9}
    values = drawn_about(LAW, ENTRY, centre)
    terms = values["A"] / centre["params"] ** values["alpha"]
    assert np.std(np.log(terms)) == pytest.approx(0.3, abs=0.05)
    assert np.std(np.log(values["alpha"])) == pytest.approx(0.15, abs=0.03)


def test_equal_runs_are_told_by_their_seed() -> None:
    rows = design_for_published(LAW, ENTRY, 1e21, 1e24, trials=0).chosen.rows()
    keys = [(row["params"], row["tokens"], row["seed"]) for row in rows]
    assert len(set(keys)) == len(keys)


def test_adding_any_run_never_adds_doubt_about_the_law() -> None:
    values = drawn_about(LAW, ENTRY, {"params": 1e8, "tokens": 2e9})
    belief = Belief(((LAW, values),), 0.005, 0.0, {}, SIX_ND)
    random = np.random.default_rng(0)
    sizes = Runs(10 ** random.uniform(7, 10, 30), 10 ** random.uniform(9, 12, 30))
    outlook = Outlook(belief, Runs.one(1e11, 2e12), sizes)
    doubts = [outlook.after(range(count)).variance for count in range(30)]
    assert (np.diff(doubts) <= 1e-15).all()
    assert outlook.chosen == []


@pytest.mark.parametrize("suffix", ["csv", "json", "yaml", "sh"])
def test_what_is_written_holds_the_runs(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"d.{suffix}"
    line = [
        "design",
        "--spend",
        "1e21",
        "--target",
        "1e24",
        "--published",
        "epoch2024",
        "--trials",
        "0",
    ]
    result = CliRunner().invoke(app, [*line, "-o", str(file), "--json"])
    assert result.exit_code == 0, result.stderr
    runs = json.loads(result.stdout)["design"]["runs"]
    text = file.read_text()
    if suffix == "sh":
        text = subprocess.run(["sh", file], capture_output=True, text=True, check=True).stdout
        assert text.count("train name=design-") == len(runs)
    for row in runs:
        assert f"{row['params']:.0f}" in text
        assert f"{row['tokens']:.0f}" in text
    if suffix in ("csv", "json"):
        again = ["simulate", "--design", str(file), "--published", "epoch2024"]
        made = CliRunner().invoke(app, [*again, "--noise", "0", "--json"])
        assert made.exit_code == 0, made.stderr
        first = json.loads(made.stdout)["runs"][0]
        exact = LAW.predict(**ENTRY.values, **{n: np.array([first[n]]) for n in LAW.variables})
        assert first["loss"] == pytest.approx(exact[0])


def test_what_cannot_be_designed_for_is_refused() -> None:
    with pytest.raises(InputError, match="farseer has no compute-optimal split"):
        scalefit.design("farseer2025", 1e21, 1e26)
