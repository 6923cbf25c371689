"""Runs that a law would make, and what would be learnt from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import scaling_cli as scalefit
from scaling_cli.cli import app
from scaling_cli.errors import InputError
from scaling_cli.laws import get_published
from scaling_cli.planning.simulate import Truth, read_design


def test_the_noise_is_what_was_asked_for() -> None:
    params = np.full(4000, 1e8)
    made = scalefit.simulate("epoch2024", list(params), list(20 * params), noise=0.02)
    logs = np.log([row["loss"] for row in made.rows()])
    law, entry = get_published("epoch2024")
    exact = float(law.predict(**entry.values, params=1e8, tokens=2e9))
    assert np.std(logs) == pytest.approx(0.02, rel=0.05)
    assert np.mean(logs) == pytest.approx(np.log(exact), abs=0.001)
    again = scalefit.simulate("epoch2024", list(params), list(20 * params), noise=0.02)
    assert again.rows() == made.rows()


def test_a_large_effect_is_told() -> None:
    ratios = np.tile([5.0, 20.0, 80.0], 4)
    params = np.repeat(np.geomspace(1e7, 1e9, 4), 3)
    sizes = {"params": list(params), "tokens": list(ratios * params)}
    asked = {"noise": 0.002, "target": 1e20, "repeats": 2, "effect": 0.2}
    lesson = scalefit.simulate("epoch2024", **sizes, **asked).lesson
    assert lesson is not None
    assert (lesson.power, lesson.wrong) == (1.0, 0.0)
    assert lesson.half_width is not None
    assert 0 < lesson.half_width < 0.2


def test_the_runs_are_ingested(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("params,tokens\n1e8,2e9\n300M,6B\n1e9,2e10\n")
    line = ["simulate", "--published", "epoch2024", "--design", str(tmp_path / "d.csv")]
    runs = str(tmp_path / "runs.csv")
    made = CliRunner().invoke(app, [*line, "--noise", "0.01", "-o", runs])
    assert made.exit_code == 0, made.stderr
    read = CliRunner().invoke(app, ["ingest", runs, "--store", str(tmp_path / "s"), "--json"])
    assert read.exit_code == 0, read.stderr
    assert '"new": 3' in read.stdout


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "holds 0 runs"),
        ("params,tokens\n1e8,-1\n", "run 1"),
        ("params,tokens\n1e8,2e9\n1e8,nan\n", "run 2"),
        ("size\n3\n", "run 1"),
    ],
)
def test_what_is_no_design_is_refused(text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(text)
    with pytest.raises(InputError, match=why):
        read_design(str(tmp_path / "d.csv"))


def test_what_cannot_be_simulated_is_refused() -> None:
    with pytest.raises(InputError, match="no loss of params and tokens"):
        Truth.of(0.01, published="muennighoff2023_repeats")
    with pytest.raises(InputError, match="how noisy"):
        scalefit.simulate("epoch2024", [1e8], [2e9])
    with pytest.raises(InputError, match="at a target"):
        scalefit.simulate("epoch2024", [1e8], [2e9], noise=0.01, effect=0.01)
