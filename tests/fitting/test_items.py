"""Clustering-On-Difficulty: a score from the items that scale alike."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from scaling_cli.cli import app
from scaling_cli.fitting.items import LEAST_ITEMS, cluster

KINDS = {"easy": (1.0, 0.35, 0.1, 30), "medium": (3.0, 0.35, 0.2, 40), "hard": (9.0, 0.35, 0.3, 30)}
TARGET = 1e22


def passed(flops: np.ndarray, a: float, b: float, c: float) -> np.ndarray:
    return np.exp(-a * (flops / 1e20) ** -b - c)


def test_a_larger_run_is_predicted_from_items_that_rise(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    flops = np.geomspace(1e19, 1e21, 9)
    columns, whole = [], []
    for a, b, c, count in KINDS.values():
        columns += [random.binomial(100, passed(flops, a, b, c)) / 100 for _ in range(count)]
        whole += [float(passed(np.array([TARGET]), a, b, c)[0])] * count
    columns += [random.binomial(100, np.full(9, 0.02)) / 100 for _ in range(20)]  # none passes
    whole += [0.02] * 20
    with (tmp_path / "runs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["run_id", "flops", "accuracy", *(f"item.q{i}" for i in range(len(columns)))]
        )
        for i, compute in enumerate(flops):
            passes = [column[i] for column in columns]
            writer.writerow([f"r{i}", compute, np.mean(passes), *passes])
    store = ["--store", str(tmp_path / "store")]
    run = CliRunner()
    assert run.invoke(app, ["ingest", str(tmp_path / "runs.csv"), *store]).exit_code == 0
    asked = ["items", "--flops", str(TARGET), "--bootstrap", "40", "--radius", "0.06", "--json"]
    found = run.invoke(app, [*asked, *store])
    assert found.exit_code == 0, found.stderr
    document = json.loads(found.stdout)
    (forecast,) = document["forecasts"]
    assert forecast["score"] == pytest.approx(np.mean(whole), abs=0.02)
    assert forecast["low"] < np.mean(whole) < forecast["high"]
    assert document["items"] == len(columns)
    left = [item["why_not"] for item in document["clusters"] if not item["predictable"]]
    assert left == ["does not rise"]


def test_clusters_are_as_tight_as_asked_and_no_smaller_than_their_least() -> None:
    random = np.random.default_rng(1)
    difficulty = np.clip(random.uniform(0, 1, (300, 1)) + np.linspace(0, 0.2, 6), 0, 1)
    labels = cluster(difficulty, 0.1)
    for label in range(labels.max() + 1):
        members = difficulty[labels == label]
        assert len(members) >= LEAST_ITEMS
        off = np.sqrt(((members - members.mean(axis=0)) ** 2).mean(axis=1))
        assert off.max() <= 0.1 + 1e-6
