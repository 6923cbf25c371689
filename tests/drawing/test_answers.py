"""Every answer that has a figure draws it: into a file, and as characters in a terminal."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from xml.etree import ElementTree as xml

import numpy as np
import pytest
from typer.testing import CliRunner

from scaling_cli.cli import app, common

ASKED = {
    "fit": ["fit", "--law", "chinchilla", "--bootstrap", "20"],
    "one variable": ["fit", "--law", "power_offset", "--x", "flops", "--bootstrap", "20"],
    "optimal": ["optimal", "--budget", "1e20"],
    "predict": ["predict", "--params", "1B", "--tokens", "10B,20B"],
    "predict published": ["predict", "--published", "epoch2024", "--flops", "1e22,1e23"],
    "published": ["optimal", "--published", "epoch2024", "--budget", "1e23"],
    "plan": ["plan", "--scale", "10x"],
    "compare": ["compare", "--laws", "chinchilla,skaling"],
    "recipes": ["recipes", "--budgets", "1e19,1e20"],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the runs of two recipes, and fits of both."""
    folder = tmp_path_factory.mktemp("answers")
    random = np.random.default_rng(0)
    lines = ["run_id,recipe,params,tokens,loss"]
    for i in range(48):
        params, tokens = 10 ** random.uniform(6, 8), 10 ** random.uniform(8, 10)
        loss = (1.7 + 0.1 * (i % 2)) + 400 / params**0.34 + 410 / tokens**0.28
        lines.append(f"r{i},{'ab'[i % 2]},{params},{tokens},{loss * random.normal(1, 0.004)}")
    (folder / "runs.csv").write_text("\n".join(lines))
    store = ["--store", str(folder / "store")]
    runner = CliRunner()
    assert runner.invoke(app, ["ingest", str(folder / "runs.csv"), *store]).exit_code == 0
    fitted = ["fit", "--law", "chinchilla", "--by", "recipe", "--bootstrap", "20", *store]
    assert runner.invoke(app, fitted).exit_code == 0
    return folder


@pytest.mark.parametrize("name", ASKED)
def test_an_answer_is_drawn(
    place: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    own = shutil.copytree(place / "store", tmp_path / "store")  # a fit kept in it would answer
    asked = [*ASKED[name], "--store", str(own)]
    file = tmp_path / f"{name.replace(' ', '-')}.svg"
    monkeypatch.setattr(common, "on_terminal", lambda: True)
    result = CliRunner().invoke(app, [*asked, "-o", str(file)], env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    assert len([part for part in xml.parse(file).iter() if part.tag.endswith("path")]) >= 8
    picture = result.stdout.split("\n\n")[0]
    assert re.search(r"^ +\+-{60,}$", picture, re.MULTILINE)
    assert max(map(len, picture.splitlines())) <= 80


def test_what_is_no_figure_is_refused_before_the_work(place: Path) -> None:
    asked = ["compare", "--store", str(place / "store"), "-o", "figure.txt"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 2
    assert "Name it .png, .svg or .pdf" in result.output
