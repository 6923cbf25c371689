"""What people ask of the 240 runs of the Chinchilla paper, by the commands they would type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from scaling_cli.cli import app


def test_budgets_limits_serving_and_repeats(public_data: Path, tmp_path: Path) -> None:
    store = ["--store", str(tmp_path / "store")]

    def answer(*line: str) -> Any:
        result = CliRunner().invoke(app, [*line, *store, "--json"])
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    answer("ingest", str(public_data / "chinchilla_epoch" / "chinchilla.csv"))
    where = ["--where", "in_epoch_fit == 1"]
    answer("fit", "--law", "chinchilla", *where, "--bootstrap", "20")
    several = answer("optimal", "--budget", "1e22,1e23", "1e24")["allocations"]
    assert [item["budget_flops"] for item in several] == [1e22, 1e23, 1e24]
    (served,) = answer("optimal", "--budget", "1e24", "--max-params", "8e9")["allocations"]
    assert served["params"] == pytest.approx(8e9)
    assert served["tokens_per_param"] > 20
    asked = ["--inference-tokens", "2e13"]
    (lifetime,) = answer("optimal", "--budget", "1e24", *asked)["allocations"]
    assert lifetime["params"] < several[2]["params"]
    asked = ["--unique-tokens", "25e9", "--published", "muennighoff2023"]
    (repeated,) = answer("optimal", "--budget", "1e22", *asked)["allocations"]
    assert repeated["params"] == pytest.approx(7.02e9, rel=0.02)
    assert repeated["tokens"] == pytest.approx(2.37e11, rel=0.02)
    (memo,) = answer("plan", "--budget", "1e24")["plans"]
    assert memo["allocation"]["params"] == several[2]["params"]
    assert memo["doubt"]["distance"] > 0.5
