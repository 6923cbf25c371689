"""The best learning rate of one's own sweeps, through the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from scaling_cli.cli import app

RULE = {"c": 1.79, "n": -0.713, "d": 0.307}
STEPS = np.arange(0, 1001, 100)
FACTORS = 2.0 ** np.arange(-3, 4)


def best(params: float, tokens: float) -> float:
    return float(RULE["c"] * params ** RULE["n"] * tokens ** RULE["d"])


def scalefit(*words: str | Path) -> tuple[int, str]:
    found = CliRunner().invoke(app, [str(word) for word in words])
    return found.exit_code, found.stdout + found.stderr


def trained(folder: Path, rates: Callable[[float], np.ndarray]) -> Path:
    """Runs of eight places at `rates` of the best one, each logging a cosine down to a tenth."""
    random, store = np.random.default_rng(3), folder / "store"
    places = [(size, ratio * size) for size in (5e7, 1e8, 2e8, 4e8) for ratio in (20, 80)]
    for params, tokens in places:
        star = best(params, tokens)
        for i, rate in enumerate(rates(star)):
            loss = 1.8 + 400 / params**0.34 + 400 / tokens**0.28
            loss *= np.exp(0.004 * np.log(rate / star) ** 2 + 2e-4 * random.standard_normal())
            name = folder / "logs" / f"{params:g}-{tokens:g}-{i}.jsonl"
            name.parent.mkdir(exist_ok=True)
            fall = np.where(STEPS < 100, 0, 0.45 * (1 - np.cos(np.pi * (STEPS - 100) / 900)))
            lines = [
                {
                    "step": int(step),
                    "loss": loss + np.exp(-step / 50),
                    "lr": rate * (1 - down) * min(1, step / 100),
                    "tokens": tokens * step / 1000,
                    "n_params": params,
                }
                for step, down in zip(STEPS, fall, strict=True)
            ]
            name.write_text("\n".join(map(json.dumps, lines)))
    assert scalefit("ingest", folder / "logs", "--store", store)[0] == 0
    return store


def test_a_rule_is_fitted_to_the_best_of_the_rates_that_were_set(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    store = trained(tmp_path, lambda star: star * np.exp(random.uniform(-0.3, 0.3)) * FACTORS)
    code, said = scalefit("fit", "--law", "steplaw", "--store", store, "--bootstrap", "200")
    assert code == 0
    assert "[optima]" in said
    asked = ["hparams", "--law", "steplaw", "--params", "1B", "--tokens", "100B", "--json"]
    code, said = scalefit(*asked, "--store", store)
    (found,) = json.loads(said)["hparams"]
    assert found["value"] == pytest.approx(best(1e9, 1e11), rel=0.05)
    assert found["low"] < best(1e9, 1e11) < found["high"]


def test_a_rate_that_was_never_swept_is_a_habit(tmp_path: Path) -> None:
    store = trained(tmp_path, lambda star: np.array([0.5 * star]))
    code, said = scalefit("fit", "--law", "steplaw", "--store", store)
    assert code == 2
    assert "your habit, not the best learning rate" in said
    assert "Sweep it: train 400M" in said


def test_a_sweep_whose_best_is_its_end_leaves_the_rate_open(tmp_path: Path) -> None:
    def rates(star: float) -> np.ndarray:
        reach = 2.0 if star < 0.004 else 0.3  # the small models' sweeps end below their best
        return star * reach * 2.0 ** np.arange(-4, 1)

    store = trained(tmp_path, rates)
    code, said = scalefit("fit", "--law", "porian_hp", "--store", store, "--json")
    (found,) = json.loads(said)["fits"]
    (opened,) = [note for note in found["warnings"] if note["code"] == "sweep_open"]
    assert code == 0
    assert "is there or above" in opened["message"]
    assert found["n_runs"] == 7


def test_another_setting_swept_beside_it_counts_at_its_best(tmp_path: Path) -> None:
    lines = ["run_id,params,tokens,lr,tokens_per_step,loss"]
    for params, tokens in ((1e8, 2e9), (1e8, 8e9), (4e8, 8e9), (4e8, 3.2e10)):
        for rate in best(params, tokens) * FACTORS:
            for batch in (1e5, 2e5, 4e5):
                off = np.log(rate / best(params, tokens) / (batch / 2e5) ** 0.5) ** 2
                loss = 3 * (1 + 0.004 * off + 0.003 * np.log(batch / 2e5) ** 2)
                lines.append(f"r{len(lines)},{params},{tokens},{rate},{batch},{loss}")
    lines.append("other,8e8,1e10,1e-3,2e5,2.9")  # a size that was trained once
    (tmp_path / "runs.csv").write_text("\n".join(lines))
    store = tmp_path / "store"
    assert scalefit("ingest", tmp_path / "runs.csv", "--store", store)[0] == 0
    code, said = scalefit("fit", "--law", "steplaw", "--store", store, "--json")
    assert code == 0
    assert "not_swept" in said
    values = {name: p["value"] for name, p in json.loads(said)["fits"][0]["parameters"].items()}
    assert values["n"] == pytest.approx(RULE["n"], abs=0.02)
    assert values["d"] == pytest.approx(RULE["d"], abs=0.02)
