"""A run is followed while another process logs it: its alarms once, its end, and Ctrl-C."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scaling_cli.cli import app
from scaling_cli.project import Project, open_project
from scaling_cli.watching import watch
from tests.places import ROOT

SAMPLE = ROOT / "sample_runs" / "jsonl" / "rotary-ladder-d48l2-9.0e11.jsonl"
MAPPING = ROOT / "sample_runs" / "scalefit.toml"
RUN = SAMPLE.stem

# Each appends to a log as a trainer does, one piece for each line of standard input.
APPEND = """
import sys
lines = open(sys.argv[1]).readlines()
out = open(sys.argv[2], "a")
for start, _ in zip(range(0, len(lines), 30), sys.stdin):
    out.writelines(lines[start : start + 30])
    out.flush()
    print("written", flush=True)
"""
TENSORBOARD = """
import sys
from tensorboardX import SummaryWriter
from tests.places import ROOT
with SummaryWriter(sys.argv[1]) as writer:
    for start, _ in zip(range(0, 100, 25), sys.stdin):
        for step in range(start, start + 25):
            writer.add_scalar("loss", 3 - step / 100, step)
        writer.flush()
        print("written", flush=True)
"""


class Trainer:
    """A process that logs a piece between two looks, so that no test depends on who is faster."""

    def __init__(self, code: str, *arguments: object) -> None:
        command = [sys.executable, "-c", code, *map(str, arguments)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def __enter__(self) -> Trainer:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def log(self, _seconds: float = 0.0) -> None:
        """In the place of a sleep: the next piece, there when this returns; or none is left."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write("next\n")
        self.process.stdout.readline()


@pytest.fixture
def store(tmp_path: Path) -> str:
    """The other runs of the recipe, and the forecast fitted to them."""
    location = str(tmp_path / "store")
    project = open_project(location, MAPPING)
    project.ingest([str(ROOT / "sample_runs" / "csv"), str(ROOT / "sample_runs" / "jsonl")])
    from scaling_cli.fitting.problem import FitOptions

    where = f"recipe == 'rotary' and split == 'ladder' and run_id != '{RUN}'"
    project.fit(by=["recipe"], where=where, options=FitOptions(resamples=200), save=True)
    return location


def test_a_live_run_is_followed_to_its_end(tmp_path: Path, store: str) -> None:
    rows = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()]
    at = next(i for i in range(int(0.6 * len(rows)), len(rows)) if "val/loss" in rows[i])
    for row in rows[at : at + 3]:
        row["train/loss"] *= 2
    source, log = tmp_path / "whole.jsonl", tmp_path / "live.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    log.write_text("".join(json.dumps(row) + "\n" for row in rows[:9]), encoding="utf-8")
    (tmp_path / "rest.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows[9:]), encoding="utf-8"
    )
    with Trainer(APPEND, tmp_path / "rest.jsonl", log) as trainer:
        looks = list(watch(open_project(store, MAPPING), RUN, [str(log)], sleep=trainer.log))
    steps = [look.step for look in looks]
    assert steps == sorted(set(steps))
    assert len(steps) == 1 + math.ceil(len(rows[9:]) / 30)
    assert [item.name for look in looks for item in look.alarms] == ["spike"]
    assert looks[-1].ended == "the run has reached its planned steps"
    assert not any(look.ended for look in looks[:-1])
    assert all(look.low is not None and look.high is not None for look in looks[1:])
    status = {item.name: item.finding.status for item in looks[-1].results}
    assert status == {
        "nan": "pass", "spike": "fail", "divergence": "pass", "stall": "pass",
        "monotone_steps": "pass", "complete": "pass", "band": "pass",
    }  # fmt: skip


def test_a_plan_is_not_missed_before_the_end(tmp_path: Path) -> None:
    mapping = tmp_path / "scalefit.toml"
    plan = '\n[[check]]\nrule = "planned"\ntokens = "config.total_steps * config.batch_tokens"\n'
    mapping.write_text(MAPPING.read_text(encoding="utf-8") + plan, encoding="utf-8")
    log = tmp_path / "run.jsonl"
    rows = SAMPLE.read_text(encoding="utf-8").splitlines(keepends=True)
    log.write_text("".join(rows[: len(rows) // 2]), encoding="utf-8")
    project = open_project(str(tmp_path / "store"), mapping)
    looks = list(watch(project, RUN, [str(log)], poll_seconds=0.01, idle_seconds=0.015))
    failed = ["planned" in {item.name for item in look.failed} for look in looks]
    assert len(failed) > 1
    assert not any(failed[:-1])
    assert failed[-1]


def test_lines_tell_the_alarm_once_and_the_end(tmp_path: Path) -> None:
    rows = SAMPLE.read_text(encoding="utf-8").splitlines()
    log = tmp_path / "run.jsonl"
    log.write_text("\n".join([*rows[:-5], rows[-5].replace('"train/loss": 1', '"train/loss": 9')]))
    given = ["--source", str(log), "--config", str(MAPPING), "--store", str(tmp_path / "store")]
    given += ["--poll", "0.05", "--idle", "0.1"]
    result = CliRunner().invoke(app, ["watch", RUN, *given])
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert sum(line.startswith("FAIL spike: 1 of") for line in lines) == 1
    assert "ended: nothing has come for 0.1 s" in result.stdout
    assert "FAIL complete: The run ended at" in lines[-1]
    again = CliRunner().invoke(app, ["watch", RUN, *given[2:]])  # its source is remembered
    assert again.exit_code == 0, again.stderr
    last = CliRunner().invoke(app, ["watch", RUN, *given, "--json"])
    assert last.exit_code == 0, last.stderr
    document = json.loads(last.stdout)
    assert document["run"] == RUN
    assert document["ended"] == "nothing has come for 0.1 s"
    assert "fail" in {item["status"] for item in document["checks"]}
    assert "FAIL spike" in last.stderr


def test_tensorboard_is_followed(tmp_path: Path) -> None:
    folder = tmp_path / "logs" / "live"
    with Trainer(TENSORBOARD, folder) as trainer:
        trainer.log()
        project = open_project(str(tmp_path / "store"))
        project.ingest([str(folder)])
        (name,) = (run.run_id for run in project.store.runs())
        looks = list(watch(project, name, [str(folder)], 1.0, idle_seconds=2.0, sleep=trainer.log))
    steps = [look.step for look in looks]  # the client keeps up to ten events back
    assert steps == sorted(steps)
    assert steps[0] < 50
    assert steps[-3:] == [99, 99, 99]
    assert looks[-1].ended.startswith("nothing has come")


def test_ctrl_c_ends_it_with_130_and_no_traceback(tmp_path: Path) -> None:
    log = tmp_path / "run.jsonl"
    log.write_text("".join(SAMPLE.read_text().splitlines(keepends=True)[:100]), encoding="utf-8")
    command = [sys.executable, "-m", "scaling_cli", "watch", RUN, "--source", str(log)]
    command += ["--config", str(MAPPING), "--store", str(tmp_path / "store"), "--poll", "0.1"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("step ")
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in stderr


def test_an_unknown_run_is_named(tmp_path: Path) -> None:
    given = ["--source", str(SAMPLE), "--config", str(MAPPING), "--store", str(tmp_path / "store")]
    result = CliRunner().invoke(app, ["watch", "rotary-ladder", *given])
    assert result.exit_code == 2
    assert RUN in result.stderr


def test_a_run_whose_settings_stand_elsewhere_keeps_them(own_samples: Project) -> None:
    """A CSV of a history alone, read again without its run table and without the mapping."""
    table = ROOT / "sample_runs" / "csv" / "baseline-ladder-d64l2-8.1e12.csv"
    bare = Project(own_samples.location, None)
    before = {run.run_key: run.final for run in bare.store.runs()}
    (look,) = watch(bare, table.stem, poll_seconds=1.0, idle_seconds=0.0)
    assert look.ended == "the run has reached its planned steps"
    assert {run.run_key: run.final for run in bare.store.runs()} == before
    again = bare.ingest([str(table)])
    (note,) = (note for note in again.notes if note.code == "columns_lost")
    assert f"{table.stem}: the store had params" in note.message
    assert "columns_lost" not in {note.code for note in bare.ingest([str(table)]).notes}
