"""FLOPs as hours, days and money."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from scaling_cli.cli import app
from scaling_cli.errors import InputError
from scaling_cli.planning.costs import Machine, device_called, logged_utilisation
from scaling_cli.table import Table


def test_hours_of_a_device_are_its_peak_times_its_use() -> None:
    machine = Machine.called("H100", mfu=0.4, devices=1000, price=2.0)
    cost = machine.cost(989e12 * 0.4 * 3600 * 24_000)
    assert cost.device_hours == pytest.approx(24_000)
    assert cost.days == pytest.approx(1)
    assert cost.money == pytest.approx(48_000)
    assert machine.flops(cost.device_hours) == pytest.approx(cost.flops)


@pytest.mark.parametrize("name", ["TPU v5e", "tpu-v5e", "v5E"])
def test_names_of_devices(name: str) -> None:
    assert device_called(name).peak == 197e12


@pytest.mark.parametrize("mfu", [0.0, 40.0, -1.0])
def test_what_is_no_share_is_refused(mfu: float) -> None:
    with pytest.raises(InputError, match="no share"):
        Machine.called("A100", mfu=mfu)
    with pytest.raises(InputError, match="Near names"):
        device_called("h1000")


@pytest.mark.parametrize(
    ("name", "values", "share"),
    [
        ("mfu", [0.3, 0.4, 0.5], 0.4),
        ("train/mfu", [30.0, 40.0, 50.0], 0.4),
        ("mfu(%)", [0.3, 0.4, 0.5], 0.004),
        ("mfu", [0.8, 0.9, 0.95], None),
        ("throughput.mfu_pct", [41.0, 42.0, np.nan], 0.415),
        ("manfu", [0.3, 0.4, 0.5], None),
    ],
)
def test_what_the_runs_logged_is_read(name: str, values: list[float], share: float | None) -> None:
    columns = {"params": np.ones(3), "loss": np.ones(3)}
    found = logged_utilisation(Table.from_columns(columns | {name: np.array(values)}))
    if share is None:
        assert found is None
    else:
        assert found is not None
        assert found.share == pytest.approx(share)
        assert name in found.source


def test_a_plan_takes_the_use_that_the_runs_logged(tmp_path: Path) -> None:
    rows = [
        f"r{i},{n},{d},{1.7 + 400 / n**0.34 + 410 / d**0.28},0.3{i % 3}"
        for i, (n, d) in enumerate(
            (n, r * n) for n in np.geomspace(1e7, 1e9, 5) for r in (5, 20, 80)
        )
    ]
    (tmp_path / "runs.csv").write_text("run_id,params,tokens,loss,mfu\n" + "\n".join(rows))
    store = ["--store", str(tmp_path / "store")]
    run = CliRunner()
    assert run.invoke(app, ["ingest", str(tmp_path / "runs.csv"), *store]).exit_code == 0
    fit = ["fit", "--law", "chinchilla", "--bootstrap", "20", *store]
    assert run.invoke(app, fit).exit_code == 0
    asked = ["plan", "--gpu-hours", "1000", "--device", "H100", "--json", *store]
    (plan,) = json.loads(run.invoke(app, asked).stdout)["plans"]
    assert plan["cost"]["mfu"] == pytest.approx(0.31)
    assert plan["cost"]["gpu_hours"] == pytest.approx(1000)
    served = run.invoke(app, [*asked, "--inference-tokens", "1e9"])
    assert served.exit_code == 2
    assert "do not pay for serving" in served.stderr
