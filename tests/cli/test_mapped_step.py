"""`[columns] step` counts for every command, whether it was there at ingest or comes later."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from scaling_cli.cli import app

STEPS = range(50, 2001, 50)
CONFIG = {"batch_size": 256, "seq_len": 2048, "max_steps": 2000}


def answer(*arguments: str) -> Any:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code in (0, 1), result.output
    return json.loads(result.stdout)


def log(params: float) -> str:
    rows: list[dict[str, Any]] = [{"config": CONFIG | {"n_params": params}}]
    for call, step in enumerate(STEPS):
        loss = 1.7 + 400 / params**0.34 + 410 / (step * 256 * 2048) ** 0.28
        rate = 3e-5 + 2.7e-4 * 0.5 * (1 + math.cos(math.pi * step / 2000))
        rows.append({"step": call, "turns": step, "val_loss": loss, "lr": rate})
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize("at_ingest", [True, False])
def test_a_mapped_step_is_honoured_by_every_command(tmp_path: Path, at_ingest: bool) -> None:
    for millions in (10, 20, 40, 80):
        (tmp_path / f"n{millions}.jsonl").write_text(log(millions * 1e6))
    config = tmp_path / "scalefit.toml"
    config.write_text('[columns]\nstep = "turns"\n')
    own = ["--store", str(tmp_path / "store"), "--config", str(config)]
    sources = [str(path) for path in tmp_path.glob("*.jsonl")]
    answer("ingest", *sources, *(own if at_ingest else own[:2]))

    runs = answer("runs", *own)["runs"]
    assert [(run["steps"], run["tokens"]) for run in runs] == [(2000, 2000 * 256 * 2048)] * 4
    shown = answer("show", "n80", *own)
    assert (shown["steps"], shown["done"], shown["ended"]) == (2000, 1, True)
    assert shown["metrics"]["val_loss"]["steps"] == [50, 2000]
    checks = answer("check", *own)["checks"]
    assert {c["status"] for c in checks if c["rule"] == "complete"} == {"pass"}
    assert not [c for c in checks if c["status"] == "fail"]
    curve = answer("curve", "--run", "n80", *own)
    assert (curve["points"][0]["step"], curve["points"][-1]["step"]) == (50, 2000)
    assert not [note for note in curve["warnings"] if note["code"] == "unfinished_runs"]
