"""`scalefit show`, the order and number of `scalefit runs`, and the last lines of `ingest`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from scaling_cli.cli import app
from scaling_cli.project import Project

RUN = "baseline-ladder-d64l2-8.1e12"


def ask(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments])


def lines(path: Path, config: dict[str, Any], **metrics: list[float]) -> None:
    count = len(next(iter(metrics.values())))
    rows = [json.dumps({"config": config})]
    rows += [
        json.dumps({"step": 10 * (i + 1)} | {name: values[i] for name, values in metrics.items()})
        for i in range(count)
    ]
    path.write_text("\n".join(rows), encoding="utf-8")


def test_a_run_is_shown_in_full(tmp_path: Path) -> None:
    config = {"n_params": 1e6, "max_steps": 50, "recipe": "a"}
    metrics = {"val/loss": [4.0, 3.0, 3.5], "train/loss": [5.0, 4.0, 3.0], "grad": [1.0, 9.0, 2.0]}
    lines(tmp_path / "mine.jsonl", config, **metrics)
    store = ["--store", str(tmp_path / "store")]
    assert ask("ingest", str(tmp_path), *store).exit_code == 0
    shown = json.loads(ask("show", "mine", "--json", *store).stdout)
    assert (shown["status"], shown["ended"], shown["done"]) == ("unfinished", False, 0.6)
    assert shown["columns"]["loss"] == {
        "taken_from": "val/loss", "value": 3.5, "over": ["train/loss"],
    }  # fmt: skip
    assert shown["columns"]["params"]["taken_from"] == "config.n_params"
    assert shown["metrics"]["val/loss"] == {
        "points": 3, "steps": [10, 30], "first": 4.0, "last": 3.5, "lowest": 3.0, "lowest_step": 20,
    }  # fmt: skip
    assert shown["config"]["recipe"] == "a"
    assert "not_ended" in {note["code"] for note in shown["warnings"]}
    text = ask("show", "mine", *store).stdout
    assert "unfinished: has taken 30 of 50 planned steps" in text
    assert "grad" in text


def test_show_reads_by_the_mapping_of_now(samples: Project, tmp_path: Path) -> None:
    config = tmp_path / "other.toml"
    config.write_text('[columns]\nloss = "train/loss"\nplanned_steps = "10000"\n', encoding="utf-8")
    asked = ["show", RUN, "--store", samples.location, "--config", str(config), "--json"]
    shown = json.loads(ask(*asked).stdout)
    assert shown["columns"]["loss"]["taken_from"] == "train/loss"
    assert (shown["ended"], shown["planned_steps"]) == (False, 10000)


def test_a_run_that_is_not_there_is_named_with_near_ones(samples: Project) -> None:
    found = ask("show", RUN[:-1] + "3", "--store", samples.location)
    assert found.exit_code == 2
    assert RUN in found.stderr


@pytest.mark.parametrize("key", ["loss", "-loss", "steps", "-flops", "recipe", "val/accuracy"])
def test_runs_stand_in_order(samples: Project, key: str) -> None:
    asked = ["runs", "--store", samples.location, "--sort", key, "--json"]
    whole = json.loads(ask(*asked).stdout)["runs"]
    few = json.loads(ask(*asked, "--limit", "5").stdout)["runs"]
    assert few == whole[:5]
    name = key.removeprefix("-")
    if name in whole[0]:
        values = [run[name] for run in whole]
        assert values == sorted(values, reverse=key.startswith("-"))


def test_runs_without_the_value_come_last(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", {"n_params": 1e6}, **{"val/loss": [3.0]})
    lines(tmp_path / "b.jsonl", {"n_params": 1e6, "seed": 2}, **{"val/loss": [3.0]})
    store = ["--store", str(tmp_path / "store")]
    ask("ingest", str(tmp_path), *store)
    for key in ("seed", "-seed"):
        found = json.loads(ask("runs", "--sort", key, "--json", *store).stdout)["runs"]
        assert [run["run_id"] for run in found] == ["b", "a"]
    assert "No run has 'sed'" in ask("runs", "--sort", "sed", *store).stderr


def test_ingest_ends_with_what_else_is_logged_and_what_is_missing(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    lines(logs / "a.jsonl", {"n_params": 1e6}, **{"val/loss": [3.0], "acc": [0.1]})
    lines(logs / "b.jsonl", {"seed": 2}, **{"val/loss": [3.0], "_internal": [1.0]})
    store = ["--store", str(tmp_path / "store")]
    text = ask("ingest", str(logs), *store).stdout
    last = [line.strip() for line in text.strip().splitlines()[-3:]]
    assert last[0] == "also logged: acc"
    assert last[1].startswith("no params in 1 of 2 runs (b): ")
    assert last[2].startswith("no tokens: ")
    document = json.loads(ask("ingest", str(logs), *store, "--json").stdout)
    assert document["also_logged"] == ["acc"]
    assert document["missing"] == {"params": ["b"], "tokens": ["a", "b"]}


def test_runs_of_two_loggers_count_once_where_that_is_asked_for(tmp_path: Path) -> None:
    table = ["run_id,params,tokens,loss"]
    for i in range(12):
        params, tokens = 10 ** (6 + i % 4 / 2), 10 ** (8 + i // 4)
        table.append(f"r{i},{params},{tokens},{1.7 + 400 * params**-0.34 + 410 * tokens**-0.28}")
    (tmp_path / "runs.csv").write_text("\n".join(table), encoding="utf-8")
    names = table[0].split(",")
    again = [dict(zip(names, row.split(","), strict=True)) for row in table[1:4]]
    rows = [json.dumps({k: v if k == "run_id" else float(v) for k, v in r.items()}) for r in again]
    (tmp_path / "again.jsonl").write_text("\n".join(rows), encoding="utf-8")
    store = ["--store", str(tmp_path / "store")]
    ask("ingest", str(tmp_path), *store)
    asked = ["fit", "--law", "chinchilla", "--bootstrap", "0", "--json", *store]
    (twice,), (once,) = (json.loads(ask(*asked, *more).stdout)["fits"] for more in ([], ["--once"]))
    codes = [{note["code"] for note in fit["warnings"]} for fit in (twice, once)]
    assert "same_run_twice" in codes[0]
    assert "same_run_twice" not in codes[1]
    assert "counted_once" in codes[1]
    (said,) = (n["message"] for n in twice["warnings"] if n["code"] == "same_run_twice")
    assert "--once" in said
    assert (twice["n_observations"], once["n_observations"]) == (15, 12)
