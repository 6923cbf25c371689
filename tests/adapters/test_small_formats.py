"""The Trainer's state files and Trackio's databases."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaling_cli.adapters.reading import read_sources
from scaling_cli.errors import InputError


def state(folder: Path, steps: int, **more: Any) -> None:
    """As `TrainerState.save_to_json` writes it."""
    rows: list[dict[str, Any]] = []
    for step in range(10, steps + 1, 10):
        rows.append({"epoch": step / 100, "loss": 3 - step / 100, "grad_norm": 1.0, "step": step})
        if step % 20 == 0:
            rows.append({"epoch": step / 100, "eval_loss": 3.5 - step / 100, "step": step})
    content = {"best_metric": None, "epoch": steps / 100, "global_step": steps, "max_steps": 40}
    content |= {"num_input_tokens_seen": 0, "total_flos": 1.5e15, "train_batch_size": 8}
    folder.mkdir(parents=True, exist_ok=True)
    document = content | {"log_history": rows, "stateful_callbacks": {}} | more
    (folder / "trainer_state.json").write_text(json.dumps(document, indent=2))


def test_the_furthest_checkpoint_of_a_trainer_is_the_run(tmp_path: Path) -> None:
    state(tmp_path / "small" / "checkpoint-20", 20)
    state(tmp_path / "small" / "checkpoint-40", 40)
    state(tmp_path / "big" / "checkpoint-20", 20)
    big, small = read_sources([tmp_path]).runs
    assert (big.run_key, big.status) == ("trainer-state:big", "unfinished")
    assert (small.run_key, small.status) == ("trainer-state:small", "finished")
    assert small.series["loss"].steps.tolist() == [10, 20, 30, 40]
    assert small.series["eval_loss"].values.tolist() == [3.3, 3.1]
    assert small.config["total_flos"] == 1.5e15
    assert "num_input_tokens_seen" not in small.config  # 0: the Trainer was not told to count
    (alone,) = read_sources([tmp_path / "big" / "checkpoint-20" / "trainer_state.json"]).runs
    assert alone.run_key == "trainer-state:big"


def test_a_trainer_that_stopped_early_has_finished(tmp_path: Path) -> None:
    control = {"TrainerControl": {"args": {"should_training_stop": True}}}
    state(tmp_path / "r", 20, stateful_callbacks=control)
    assert read_sources([tmp_path]).runs[0].status == "finished"


def test_a_broken_state_is_told(tmp_path: Path) -> None:
    state(tmp_path / "a", 20)
    state(tmp_path / "b", 20)
    text = (tmp_path / "b" / "trainer_state.json").read_text()
    (tmp_path / "b" / "trainer_state.json").write_text(text[:-30])
    found = read_sources([tmp_path])
    assert [run.run_id for run in found.runs] == ["a"]
    assert [note.code for note in found.notes] == ["unreadable"]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A project as Trackio 0.43 writes it: JSON in blobs, NaN as text."""
    path = tmp_path / "my project.db"
    with sqlite3.connect(path) as opened:
        opened.execute(
            "CREATE TABLE metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL,"
            " timestamp TEXT NOT NULL, run_name TEXT NOT NULL, step INTEGER NOT NULL,"
            " metrics TEXT NOT NULL)"
        )
        opened.execute(
            "CREATE TABLE configs (id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL,"
            " run_name TEXT NOT NULL, config TEXT NOT NULL, created_at TEXT NOT NULL)"
        )
        for step in range(300):
            row = {"train/loss": 3.0 - step / 1e3, "eval": {"loss": "NaN" if step == 1 else 2.5}}
            insert = "INSERT INTO metrics VALUES (NULL, 'ab12', '2026', 'first', ?, ?)"
            opened.execute(insert, (step * 10, json.dumps(row).encode()))
        config = {"n_params": 1000000, "model": {"width": 8}}
        config |= {"_Username": None, "_Created": "2026-11-21T05:56:54+00:00", "_Group": "g"}
        insert = "INSERT INTO configs VALUES (NULL, 'ab12', 'first', ?, '2026')"
        opened.execute(insert, (json.dumps(config).encode(),))
    opened.close()
    return path


def test_trackio(database: Path) -> None:
    (run,) = read_sources([database]).runs
    assert (run.run_key, run.name, run.group) == ("trackio:my project/ab12", "first", "g")
    assert run.config == {"n_params": 1000000, "model.width": 8}
    assert run.created_at == "2026-11-21T05:56:54+00:00"
    assert run.series["train/loss"].steps.tolist() == list(range(0, 3000, 10))
    assert np.isnan(run.series["eval.loss"].values).sum() == 1
    assert sorted(path.name for path in database.parent.iterdir()) == [database.name]


def test_any_damage_to_a_database_gives_data_or_a_message(database: Path) -> None:
    whole = database.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(whole)
        if random.random() < 0.3:
            del data[int(random.integers(100, len(data))) :]
        for at in random.integers(100, len(data), 30):
            data[at] = int(random.integers(256))
        database.write_bytes(bytes(data))
        try:
            assert read_sources([database]).runs
        except InputError as error:
            assert "my project.db" in str(error)  # noqa: PT017
