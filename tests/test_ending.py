"""Whether a run has ended: its plan says so, its learning rate, its logger; never a format."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from scaling_cli.cli import app
from scaling_cli.ending import Ending, ending
from scaling_cli.mapping import Mapping
from scaling_cli.records import Run, Series
from scaling_cli.resolve import finals, resolve
from scaling_cli.training.schedule import parse_schedule

COSINE = "cosine:peak=1e-3,warmup=100,total=2000,min=1e-4"


def run(
    last: int = 2000,
    spec: str | None = None,
    every: int = 20,
    key: str = "csv:a",
    status: Any = "finished",
    **config: Any,
) -> Run:
    """A history up to step `last`, with the rates of a schedule where one is given."""
    steps = np.arange(every, last + 1, every, dtype=np.int64)
    series = {"val/loss": Series(steps, 3 + 5 * steps**-0.5)}
    if spec:
        series["lr"] = Series(steps, parse_schedule(spec).rates[steps])
    return Run(key, "a", "a.csv", status=status, config=config, series=series)


def judge(item: Run, mapping: Mapping | None = None) -> Ending:
    columns = resolve(item, mapping).columns
    last = max((int(s.steps[-1]) for s in item.series.values()), default=0)
    return ending(item, columns, float(last))[0]


@pytest.mark.parametrize(
    ("item", "ended", "planned"),
    [
        (run(1100, max_steps=2000), False, 2000),
        (run(2000, max_steps=2000), True, 2000),
        (run(1990, max_steps=2000), True, 2000),  # the last steps are rarely logged
        (run(1800, every=200, max_steps=2000), True, 2000),  # within one interval of the end
        (run(1100, **{"trainer.num_train_steps": 2000}), False, 2000),
        (run(1100, **{"training.steps": 2000}), False, 2000),
        (run(1100, **{"training/max_iters": 2000}), False, 2000),
        (run(1100, max_steps=-1), None, None),  # Hugging Face's way of saying none
        (run(1100, steps=2000), None, None),  # may be anything
        # A logger's word counts where no plan is known, and less than the plan.
        (run(1100, status="unfinished"), False, None),
        (run(1100, status="failed"), False, None),
        (run(2000, status="unfinished", max_steps=2000), True, 2000),
        (run(2000, status="failed", max_steps=2000), True, 2000),
        (run(1100, key="wandb:lab/p/a"), True, None),
        (run(1100, key="wandb:lab/p/a", max_steps=2000), False, 2000),
        # A rate that falls and is still high, or one at its floor.
        (run(1100, COSINE), False, None),
        (run(2000, COSINE), True, None),
        (run(1100, "linear:peak=1e-3,warmup=100,total=2000"), False, None),
        (run(2000, "linear:peak=1e-3,warmup=100,total=2000"), True, None),
        (run(2000, "wsd:peak=1e-3,warmup=100,total=2000,min=1e-4"), None, None),
        (run(2000, "piecewise:peak=1e-3,warmup=100,total=2000,1500=1e-4"), True, None),
        # Rates that never come down say nothing.
        (run(1100, "constant:peak=1e-3,warmup=100,total=2000"), None, None),
        (run(1100, "constant:peak=1e-3,warmup=100,total=2000", max_steps=1100), True, 1100),
        (run(1100, "constant:peak=1e-3,warmup=100,total=2000", max_steps=2000), False, 2000),
        (run(1100, "inv_sqrt:peak=1e-3,warmup=100,total=2000"), None, None),
        # The log counts calls of `log`, the plan steps: the rate is believed.
        (run(2000, COSINE, max_steps=100_000), True, 100_000),
        # The rate may reach its floor before the end.
        (run(2000, COSINE, max_steps=3000), False, 3000),
    ],
)
def test_plan_then_rate_then_logger(item: Run, ended: bool | None, planned: float | None) -> None:
    found = judge(item)
    assert (found.ended, found.planned) == (ended, planned), found


def test_a_row_of_a_table_is_a_result_unless_it_says_otherwise() -> None:
    row = Run("csv:a", "a", "runs.csv", config={"loss": 3.0, "max_steps": 2000, "step": 104})
    assert judge(row).ended is True
    assert judge(replace(row, status="unfinished")).ended is False


def test_epochs_are_a_plan_where_shares_of_them_are_logged() -> None:
    item = run(1100, num_train_epochs=4, max_steps=-1)
    steps = item.series["val/loss"].steps
    shares = replace(item, series={**item.series, "train/epoch": Series(steps, steps / 500)})
    assert (judge(shares).ended, judge(shares).planned) == (False, pytest.approx(2000))
    counted = replace(item, series={**item.series, "epoch": Series(steps, steps // 500 + 0.0)})
    # Counted from zero or from one, a whole epoch is missing: no more can be said.
    assert (judge(counted).ended, judge(counted).planned) == (False, None)
    assert judge(replace(counted, config={"num_train_epochs": 3})).ended is None


@pytest.mark.parametrize(
    ("plan", "planned"),
    [
        ({"max_tokens": 1_000_000}, 2000),
        ({"train.token_budget": 1_000_000}, 2000),
        ({"max_tokens": 512}, None),  # those of an answer
        ({"max_duration": "2000ba"}, 2000),
        ({"trainer.max_duration": "1e6tok"}, 2000),
        ({"max_duration": 2000}, 2000),
    ],
)
def test_tokens_or_a_duration_are_a_plan(plan: dict[str, Any], planned: float | None) -> None:
    item = run(1100, **plan)
    steps = item.series["val/loss"].steps
    item = replace(item, series={**item.series, "tokens": Series(steps, steps * 500.0)})
    assert judge(item).planned == (None if planned is None else pytest.approx(planned))
    assert judge(item).ended is (None if planned is None else False)


def test_the_mapping_says_the_plan() -> None:
    item = run(1100, my_plan=4000, accumulate=2)
    mapping = Mapping(columns={"planned_steps": "config.my_plan / config.accumulate"})
    assert (judge(item, mapping).ended, judge(item, mapping).planned) == (False, 2000)
    values = finals([item], mapping).rows[0]
    assert (values.values["planned_steps"], values.values["ended"]) == (2000, 0)
    assert values.mapped["planned_steps"] == "config.my_plan / config.accumulate"


def lines(folder: Path, name: str, last: int, **config: Any) -> None:
    rows = [json.dumps({"config": config})]
    rates = parse_schedule(COSINE).rates
    rows += [
        json.dumps({"step": s, "val/loss": 3 + 5 * s**-0.5, "lr": float(rates[s])})
        for s in range(20, last + 1, 20)
    ]
    (folder / f"{name}.jsonl").write_text("\n".join(rows), encoding="utf-8")


def test_runs_shows_it_and_filters_ask_for_it(tmp_path: Path) -> None:
    lines(tmp_path, "whole", 2000, max_steps=2000, n_params=1e6)
    lines(tmp_path, "part", 1100, max_steps=2000, n_params=1e6)
    lines(tmp_path, "no-plan", 1100, n_params=1e6)
    store = str(tmp_path / "store")

    def ask(*arguments: str) -> Any:
        found = CliRunner().invoke(app, [*arguments, "--store", store])
        assert found.exit_code == 0, found.output
        return found

    done = ask("ingest", str(tmp_path))
    assert "no-plan, part: not ended" in done.stderr
    table = ask("runs").stdout
    assert "55 %" in table
    assert "not all" in table
    shown = {r["run_id"]: r for r in json.loads(ask("runs", "--json").stdout)["runs"]}
    assert {name: (r["status"], r["ended"], r["planned_steps"]) for name, r in shown.items()} == {
        "whole": ("finished", True, 2000),
        "part": ("unfinished", False, 2000),
        "no-plan": ("unfinished", False, None),
    }
    assert shown["part"]["done"] == pytest.approx(0.55)
    for text in ("ended", 'status == "finished"'):
        found = json.loads(ask("runs", "--where", text, "--json").stdout)["runs"]
        assert [r["run_id"] for r in found] == ["whole"]
