"""Steps that may be but a logger's count of its calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from scaling_cli.adapters.reading import read_sources
from scaling_cli.cli import app
from scaling_cli.ending import BY_STATE, ENDED
from scaling_cli.mapping import Mapping
from scaling_cli.resolve import finals

CONFIG = {"n_params": 3e7, "batch_size": 64, "seq_len": 512}
BATCH = 64 * 512


def logged(
    tmp_path: Path, rows: list[dict[str, Any]], config: dict[str, Any] | None = None
) -> Path:
    lines = [{"config": CONFIG | (config or {}), "status": "finished"}, *rows]
    path = tmp_path / "run.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def by_call(calls: int = 40) -> list[dict[str, Any]]:
    return [{"_step": i, "loss": 4 - i / 100} for i in range(calls)]


def evaluated(calls: int = 40) -> list[dict[str, Any]]:
    names = ["val_loss" if i % 8 == 7 else "train_loss" for i in range(calls)]
    return [{"_step": i, name: 4 - i / 100} for i, name in enumerate(names)]


def last(path: Path, mapping: Mapping | None = None) -> tuple[dict[str, float], dict[str, str]]:
    found = finals(read_sources(path, mapping).runs, mapping)
    (row,) = found.rows
    return row.values, {note.code: note.message for note in found.notes}


@pytest.mark.parametrize(
    ("rows", "config", "says"),
    [
        (by_call(), {}, "count of its calls, 40, and nothing says that each was a step"),
        (by_call(), {"max_steps": 5000}, "config.max_steps plans 5,000 steps"),
        (evaluated(), {}, "4 of them log no train_loss, as evaluations between steps do"),
    ],
)
def test_no_tokens_are_computed_from_a_count_of_calls(
    tmp_path: Path, rows: list[dict[str, Any]], config: dict[str, Any], says: str
) -> None:
    values, notes = last(logged(tmp_path, rows, config))
    assert "tokens" not in values
    assert says in notes["step_counts_calls"]
    assert "step * config.batch_size * config.seq_len" in notes["step_counts_calls"]


def test_a_run_is_not_called_unfinished_by_its_calls(tmp_path: Path) -> None:
    path = logged(tmp_path, by_call(), {"max_steps": 5000})
    (row,) = finals(read_sources(path).runs).rows
    assert (row.values[ENDED], row.mapped[ENDED]) == (1.0, BY_STATE)


@pytest.mark.parametrize(
    ("rows", "config", "mapping"),
    [
        (by_call(), {"max_steps": 40}, None),  # the plan says that each call was a step
        ([row | {"_step": 10 * row["_step"]} for row in by_call()], {}, None),  # log(step=)
        ([row | {"global_step": 3 * row["_step"]} for row in by_call()], {}, None),
        (by_call(), {}, Mapping(columns={"step": "_step"})),
    ],
)
def test_a_step_that_is_one_gives_tokens(
    tmp_path: Path, rows: list[dict[str, Any]], config: dict[str, Any], mapping: Mapping | None
) -> None:
    path = logged(tmp_path, rows, config)
    values, notes = last(path, mapping)
    step = rows[-1].get("global_step", rows[-1]["_step"])
    assert values["tokens"] == step * BATCH
    assert "step_counts_calls" not in notes


def test_tokens_that_a_mapping_computes_from_calls_are_doubted(tmp_path: Path) -> None:
    path = logged(tmp_path, by_call())
    own = Mapping(columns={"tokens": "step * 1000"})
    values, notes = last(path, own)
    assert values["tokens"] == 39_000
    assert "tokens is computed from it, as the mapping says" in notes["step_counts_calls"]


def test_the_doubt_reaches_who_ingests(tmp_path: Path) -> None:
    path, store = logged(tmp_path, by_call()), str(tmp_path / "store")
    done = CliRunner().invoke(app, ["ingest", str(path), "--store", store])
    assert done.exit_code == 0
    assert "[columns] step" in done.stderr
    assert "no tokens" in " ".join(done.stdout.split())
