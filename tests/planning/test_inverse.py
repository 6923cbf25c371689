"""What size, data or compute a loss asks for, and runs that count in several groups."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import scaling_cli as scalefit
from scaling_cli import laws
from scaling_cli.cli import app
from scaling_cli.columns import about
from scaling_cli.errors import InputError
from scaling_cli.fitting.result import Fit, predict_published
from scaling_cli.planning.inverse import ANYWHERE, solve, solve_published

RUN = CliRunner()


@pytest.fixture(scope="module")
def fitted() -> Fit:
    random = np.random.default_rng(0)
    params = np.repeat(np.geomspace(2e7, 1e9, 6), 4)
    tokens = params * np.tile([10.0, 20.0, 40.0, 80.0], 6)
    loss = 1.7 + 400 / params**0.34 + 1200 / tokens**0.37
    data = {"params": params, "tokens": tokens}
    data["loss"] = loss * np.exp(0.002 * random.standard_normal(24))
    found = scalefit.fit("chinchilla", data, bootstrap=60)
    assert isinstance(found, Fit)
    return found


def test_the_answer_is_where_the_prediction_is_the_loss(fitted: Fit) -> None:
    for variable, held in (("params", {"tokens": 5e10}), ("tokens", {"params": 5e8})):
        found = solve(fitted, variable, 2.6, held)
        again = fitted.predict(held | {variable: found.value})
        assert again.loss == pytest.approx(2.6, rel=1e-4)
        assert found.low is not None
        assert found.high is not None
        assert found.low < found.value < found.high
        # At the ends the interval of a new run just holds the loss.
        ends = [fitted.predict(held | {variable: end}) for end in (found.low, found.high)]
        assert ends[0].low == pytest.approx(2.6, rel=1e-3)
        assert ends[1].high == pytest.approx(2.6, rel=1e-3)


def test_what_cannot_be_reached_or_read_is_said(fitted: Fit) -> None:
    with pytest.raises(InputError, match=r"no loss of 1\.2.* it goes from"):
        solve(fitted, "params", 1.2, {"tokens": 5e10})
    with pytest.raises(InputError, match="reads no lr"):
        solve(fitted, "lr", 2.6, {"tokens": 5e10})
    with pytest.raises(InputError, match="given and asked for"):
        solve(fitted, "tokens", 2.6, {"params": 1e9, "tokens": 5e10})


PUBLISHED = [
    (law, entry)
    for law in laws.LAWS.values()
    for entry in law.published
    if law.family != "training curve"
]


@pytest.mark.parametrize(("law", "entry"), PUBLISHED, ids=[item.name for _, item in PUBLISHED])
def test_a_papers_coefficients_are_inverted_at_every_variable(
    law: laws.Law, entry: laws.Published
) -> None:
    """What is found gives the wanted value back, whatever the law: forward is the oracle."""
    point = {}
    for name in law.variables:
        column = about(name)
        known = entry.ranges.get(name) or law.domain.get(name)
        low, high = known or (column.typical if column else ANYWHERE)
        point[name] = float(np.sqrt(low * high)) if low > 0 else (low + high) / 2
    wanted = predict_published(law, entry, point).loss
    solved = 0
    for name in law.variables:
        held = {other: value for other, value in point.items() if other != name}
        moved = predict_published(law, entry, held | {name: 1.01 * point[name]}).loss
        if point[name] <= 0 or moved == wanted:
            continue
        if (entry.ranges.get(name) or law.domain.get(name) or (1.0, 1.0))[0] <= 0:
            with pytest.raises(InputError, match="reaches zero"):
                solve_published(law, entry, name, wanted, held)
            continue
        found = solve_published(law, entry, name, wanted, held)
        again = predict_published(law, entry, held | {name: found.value})
        assert again.loss == pytest.approx(wanted, rel=1e-3)
        assert found.low is found.high is found.level is found.fit_id is None
        assert "point_alone" in {note.code for note in found.notes}
        solved += 1
    assert solved


def test_the_inverse_of_the_additive_law_is_its_algebra(tmp_path: Path) -> None:
    entry = laws.get_published("epoch2024")[1]
    E, A, alpha, B, beta = (entry.values[name] for name in ("E", "A", "alpha", "B", "beta"))
    params = (A / (2.1 - E - B / 1e12**beta)) ** (1 / alpha)
    words = ["predict", "--published", "epoch2024", "--solve", "params", "--loss", "2.1"]
    (found,) = asked(tmp_path, *words, "--tokens", "1T")["solutions"]
    assert found["value"] == pytest.approx(params, rel=1e-3)
    assert found["low"] is found["high"] is found["level"] is None
    shown = RUN.invoke(app, [*words, "--tokens", "1T"])
    assert shown.exit_code == 0
    assert "no interval" in shown.stdout
    beyond = RUN.invoke(app, [*words[:-1], "1.7", "--tokens", "1T"])
    assert beyond.exit_code == 2
    assert "it goes from" in beyond.stderr


def test_a_law_of_schedules_is_no_law_of_a_point(tmp_path: Path) -> None:
    words = ["--published", "luo2025_25m", "--at", "rate_sum=3", "--at", "rate_drops=2"]
    found = RUN.invoke(app, ["predict", *words, "--store", str(tmp_path / "store")])
    assert found.exit_code == 2
    assert "scalefit curve" in found.stderr


def asked(tmp_path: Path, *words: str) -> Any:
    found = RUN.invoke(app, [*words, "--json", "--store", str(tmp_path / "store")])
    assert found.exit_code == 0, found.stderr
    return json.loads(found.stdout)


def test_shared_runs_are_in_every_group_and_points_are_rows(tmp_path: Path) -> None:
    rows = []
    for kind, level in (("dense", 0.0), ("hash", 0.1), ("base", 0.2)):
        for size in np.geomspace(1e7, 1e9, 5):
            for step in (1, 2, 3):
                tokens, params = 1e9 * 4**step, size
                loss = 1.8 - level + 300 / params**0.33 + 900 / tokens**0.36
                rows.append((f"{kind}-{size:.0f}", kind, params, step, tokens, loss))
    path = tmp_path / "runs.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("run_id", "kind", "params", "step", "tokens", "loss"), *rows])
    assert RUN.invoke(app, ["ingest", str(path), "--store", str(tmp_path / "store")]).exit_code == 0
    fit = ["fit", "--law", "power_offset", "--x", "params", "--bootstrap", "0", "--by", "kind"]
    found = asked(tmp_path, *fit, "--shared", 'kind == "dense"')["fits"]
    assert {item["group"]["kind"]: item["n_observations"] for item in found} == {
        "hash": 10,
        "base": 10,
    }
    assert all("shared_runs" in {w["code"] for w in item["warnings"]} for item in found)
    found = asked(tmp_path, "fit", "--law", "chinchilla", "--bootstrap", "0", "--by", "kind",
                  "--points", "all")["fits"]  # fmt: skip
    assert [item["n_observations"] for item in found] == [15, 15, 15]
    solved = asked(tmp_path, "predict", "--law", "chinchilla", "--solve", "tokens", "--loss", "3.5",
                   "--params", "1e8")["solutions"]  # fmt: skip
    assert len(solved) == 3
    for words in (["--shared", "params < 0"], ["--shared", "params > 0"], ["--points", "some"]):
        store = ["--store", str(tmp_path / "store")]
        assert RUN.invoke(app, [*fit, *words, *store]).exit_code == 2
