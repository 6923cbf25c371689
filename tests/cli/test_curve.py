"""`scalefit curve` on the shipped runs: what it answers, in which form, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from scaling_cli.cli import app
from scaling_cli.project import Project
from scaling_cli.training.schedule import parse_schedule

RUN = "baseline-schedule-d32l2-9.0e11-cosine"


def curve(samples: Project, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["curve", "--store", samples.location, *arguments])


def test_document_has_every_logged_step_and_the_steps_to_come(samples: Project) -> None:
    found = curve(samples, "--run", RUN, "--upto", "900", "--json")
    assert found.exit_code == 0, found.stderr
    document = json.loads(found.stdout)
    assert (document["run"], document["seen"] <= 900) == (RUN, True)
    steps = [point["step"] for point in document["points"]]
    assert steps == sorted(set(steps))
    assert document["final"] == document["points"][-1]
    assert document["final"]["step"] == 1940
    assert all(p["low"] < p["loss"] < p["high"] for p in document["points"])
    assert document["final"]["low"] < 1.70 < document["final"]["high"]


def test_plot_fits_into_eighty_columns(samples: Project) -> None:
    found = curve(samples, "--run", RUN, "--upto", "900")
    plot = found.stdout.split("\n\n")[0].splitlines()
    assert len(plot) > 15
    assert max(map(len, plot)) <= 80
    assert "' 90% of what may come" in found.stdout  # and the band itself
    assert "''''" in found.stdout


@pytest.mark.parametrize(
    ("arguments", "step"),
    [
        (("--schedule", "wsd:peak=0.01414,warmup=100,total=1500,min=1e-3"), 1500),
        (("--steps", "3000"), 3000),
        (("--params", "100K"), 1940),
    ],
)
def test_the_same_run_otherwise(samples: Project, arguments: tuple[str, ...], step: int) -> None:
    document = json.loads(curve(samples, "--run", RUN, *arguments, "--json").stdout)
    assert document["final"]["step"] == step
    assert "other_run" in {note["code"] for note in document["warnings"]}
    assert 1.3 < document["final"]["loss"] < 2.1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--run", "baseline-schedule-d32l2-9e11-cosine"), RUN),
        (("--run", RUN, "--schedule", "cosin:peak=1"), "cosine"),
        (("--run", RUN, "--steps", "50"), "warmup"),
        (("--run", RUN, "-o", "figure.txt"), ".png"),
        (("--run", RUN, "--level", "2"), "level"),
    ],
)
def test_refusals_say_what_and_how(samples: Project, arguments: tuple[str, ...], said: str) -> None:
    found = curve(samples, *arguments)
    assert found.exit_code == 2
    assert said in found.stderr


def test_figure_is_written(samples: Project, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="a figure needs the extra plots")
    path = tmp_path / "curve.svg"
    assert curve(samples, "--run", RUN, "--upto", "900", "-o", str(path)).exit_code == 0
    assert "<svg" in path.read_text(encoding="utf-8")


def test_another_schedule_by_one_finished_run_is_what_the_law_says(tmp_path: Path) -> None:
    """Nothing but the run itself has ended: no forecast learns from that, and a law answers."""
    schedule = parse_schedule("cosine:peak=1e-3,warmup=50,total=2000,min=1e-4")
    steps = np.arange(20, 2001, 20)
    sums = np.cumsum(schedule.rates)[steps]
    noise = np.exp(1e-3 * np.random.default_rng(0).normal(size=len(steps)))
    loss = (2.5 + 0.6 * sums**-0.4 - 0.2 * (1 - schedule.rates[steps] / 1e-3)) * noise
    rows = [json.dumps({"config": {"max_steps": 2000, "n_params": 1e7}})]
    for step, value in zip(steps.tolist(), loss.tolist(), strict=True):
        rows.append(json.dumps({"step": step, "val/loss": value, "lr": schedule.rates[step]}))
    (tmp_path / "one.jsonl").write_text("\n".join(rows), encoding="utf-8")
    store = ["--store", str(tmp_path / "store")]
    CliRunner().invoke(app, ["ingest", str(tmp_path / "one.jsonl"), *store])
    asked = ["curve", "--run", "one", "--json", *store]
    asked += ["--schedule", "wsd:peak=5e-4,warmup=50,total=2000,min=1e-4"]
    alone = CliRunner().invoke(app, asked)
    assert alone.exit_code == 0, alone.stderr
    found, law = (
        json.loads(item.stdout)
        for item in (alone, CliRunner().invoke(app, [*asked, "--law", "mpl"]))
    )
    assert "law_alone" in {note["code"] for note in found["warnings"]}
    assert found["law"] == "mpl"
    assert found["final"] == law["final"]
