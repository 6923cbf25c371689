"""The shipped runs are what their README says: complete, bracketed, silent about the machine."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from scaling_cli.cli import app
from scaling_cli.project import Project
from scaling_cli.table import Table
from tests.places import SAMPLES

RECORDS = [
    path
    for path in sorted(SAMPLES.rglob("*"))
    if path.is_file()
    and path.relative_to(SAMPLES).parts[0] in ("csv", "jsonl", "tensorboard", "wandb")
]
MEGABYTES = 15


@pytest.fixture(scope="module")
def ladder(samples: Project) -> Table:
    return samples.observations()


def test_every_format_is_there_and_small() -> None:
    assert {path.relative_to(SAMPLES).parts[0] for path in RECORDS} == {
        "csv", "jsonl", "tensorboard", "wandb"
    }  # fmt: skip
    assert sum(path.stat().st_size for path in RECORDS) < MEGABYTES * 1e6


def test_records_say_nothing_of_the_machine() -> None:
    told = re.compile(rb"/(home|root|Users|tmp|usr)/|[a-z0-9-]+\.(local|internal)\b|Linux-\d")
    for path in RECORDS:
        assert not told.search(path.read_bytes()), path
        assert not re.search(r"\d{6}\.[a-z]+[a-z0-9-]*\.\d+\.\d+$", path.name), path


def test_each_budget_brackets_its_best_size(ladder: Table) -> None:
    rows = ladder.select(ladder.matches("split == 'ladder'"))
    groups: dict[tuple[str, float], list[tuple[float, float]]] = defaultdict(list)
    recipes, budgets = rows.look_up("recipe"), rows.look_up("budget_flops")
    for i in range(len(rows)):
        key = (str(recipes[i]), float(budgets[i]))
        groups[key].append((rows.columns["params"][i], rows.columns["loss"][i]))
    assert len(groups) == 10
    for key, points in groups.items():
        losses = [loss for _, loss in sorted(points)]
        assert len(losses) >= 4, key
        assert 0 < int(np.argmin(losses)) < len(losses) - 1, (key, losses)


def test_targets_lie_beyond_the_ladder(ladder: Table) -> None:
    held = ladder.select(ladder.matches("split == 'holdout'"))
    rest = ladder.select(ladder.matches("split == 'ladder'"))
    for recipe in ("baseline", "rotary"):
        chosen = held.select(held.matches(f"recipe == '{recipe}'"))
        assert len(chosen) >= 2
        factor = chosen.columns["flops"] / rest.columns["flops"].max()
        assert (factor > 4).all()
        assert (factor < 10).all()


def test_runs_are_logged_densely(ladder: Table) -> None:
    for source in ladder.look_up("source"):
        if not source.endswith(".jsonl"):
            continue
        path = next(SAMPLES.rglob(Path(source).name))
        rows = [json.loads(line) for line in path.read_text().splitlines()[1:]]
        assert len(rows) >= 100
        assert sum("val/loss" in row for row in rows) >= 100
        assert {"step", "tokens", "lr", "train/loss"} <= rows[0].keys()


def test_demo_ends_in_a_report_on_the_held_out_runs() -> None:
    result = CliRunner().invoke(app, ["demo", "--json"])
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    seen = {row["run_id"] for fitted in report["fits"] for row in fitted["holdout_rows"]}
    assert len(seen) == 4
    assert all("holdout" in run_id for run_id in seen)
    assert report["allocations"]
