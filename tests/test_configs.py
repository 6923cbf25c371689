"""What configs/ holds works as it stands: its commands run, its mappings name what is logged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scaling_cli.checks import read_checks
from scaling_cli.mapping import load_mapping
from scaling_cli.project import open_project
from tests.adapters.test_console_forms import CASES, loss
from tests.places import ROOT

CI = ROOT / "configs" / "ci"
INSTALLS = "pip install"


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A copy of what the commands need, without a store, and with `scalefit` on the path."""
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copytree(ROOT / "sample_runs", copy / "sample_runs")
    shutil.copytree(ROOT / "configs", copy / "configs")
    script = tmp_path / "bin" / "scalefit"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m scaling_cli "$@"\n')
    script.chmod(0o755)
    return copy


def shell(command: str, copy: Path, **env: str) -> subprocess.CompletedProcess[str]:
    path = f"{copy.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, **env}
    env.pop("SCALEFIT_STORE", None)
    return subprocess.run(
        ["bash", "-e", "-c", command],
        cwd=copy,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def few_runs(copy: Path) -> Path:
    """The text logs alone, which are read fastest; returns one of them."""
    for other in ("csv", "tensorboard", "wandb"):
        shutil.rmtree(copy / "sample_runs" / other)
    return copy / "sample_runs" / "jsonl" / "rotary-ladder-d48l2-9.0e11.jsonl"


def read_yaml(path: Path) -> Any:
    yaml = pytest.importorskip("yaml", reason="PyYAML comes with wandb")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_workflow_runs_on_a_fresh_copy(fresh: Path) -> None:
    workflow = read_yaml(CI / "github-workflow.yml")
    steps = [step["run"] for step in workflow["jobs"]["check"]["steps"] if "run" in step]
    commands = [step for step in steps if INSTALLS not in step]
    assert len(commands) == len(steps) - 1 == 2
    for command in commands:
        done = shell(command, fresh, **workflow["env"], GITHUB_ACTIONS="true")
        assert done.returncode == 0, done.stderr
    assert (fresh / "checks.xml").read_text(encoding="utf-8").count("<testcase") > 500


def test_workflow_fails_on_a_damaged_run(fresh: Path) -> None:
    log = few_runs(fresh)
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    log.write_text("".join(lines[: len(lines) * 2 // 3]), encoding="utf-8")
    workflow = read_yaml(CI / "github-workflow.yml")
    *_, ingest, check = (s["run"] for s in workflow["jobs"]["check"]["steps"] if "run" in s)
    assert shell(ingest, fresh, **workflow["env"]).returncode == 0
    done = shell(check, fresh, **workflow["env"], GITHUB_ACTIONS="true")
    assert done.returncode == 1
    assert "::error title=complete%3A rotary-ladder-d48l2-9.0e11::" in done.stderr


def test_the_action_writes_the_page_of_its_job(fresh: Path) -> None:
    few_runs(fresh)
    action = read_yaml(CI / "action.yml")
    given = {"runs": "sample_runs", "config": "configs/ci/scalefit.toml", "report": "report.html"}
    page = fresh.parent / "summary.md"
    for step in action["runs"]["steps"]:
        if "run" not in step or INSTALLS in step["run"]:
            continue
        own = {name: given[text[11:-3]] for name, text in step["env"].items()}
        done = shell(
            step["run"], fresh, **own, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(page)
        )
        assert done.returncode == 0, done.stderr
    assert set(given) < set(action["inputs"])
    assert (fresh / "report.html").is_file()
    titles = [line for line in page.read_text("utf-8").splitlines() if line.startswith("# ")]
    assert titles == ["# Checks of training runs", "# Scaling report"]


def test_a_night_reads_what_is_new_in_one_line(fresh: Path) -> None:
    few_runs(fresh)
    command = "configs/nightly/nightly.sh"
    logs = {"LOGS": "sample_runs", "CONFIG": "configs/ci/scalefit.toml"}
    said = [shell(f"SCALEFIT_STORE=store {command}", fresh, **logs) for _ in range(2)]
    assert [done.returncode for done in said] == [0, 0], said[0].stderr
    lines = [done.stdout.splitlines()[1] for done in said]
    assert [line.rpartition(",")[0] for line in lines] == [
        "29 runs: 0 unchanged, 29 read",
        "29 runs: 29 unchanged, 0 read",
    ]
    assert shell(command, fresh, **logs).returncode == 2  # no store is named
    steps = read_yaml(CI.parent / "nightly" / "github-workflow.yml")["jobs"]["read"]["steps"]
    assert any(step.get("run") == command for step in steps)


def test_a_night_with_a_failed_check_writes_its_page_and_ends_with_1(fresh: Path) -> None:
    few_runs(fresh)
    config = fresh / "c.toml"
    config.write_text('[columns]\nloss = "val/loss"\n[[check]]\nrule = "limit"\nmax = 0.1\n')
    told = {"LOGS": "sample_runs", "CONFIG": "c.toml", "REPORT": "r.html"}
    command = "SCALEFIT_STORE=store configs/nightly/nightly.sh"
    done = shell(command, fresh, **told)
    assert done.returncode == 1, done.stderr
    assert (fresh / "r.html").is_file()
    config.write_text('[[check]]\nrule = "none such"\n')
    assert shell(command, fresh, **told).returncode == 2


def test_pre_commit_hook_runs_on_a_fresh_copy(fresh: Path) -> None:
    few_runs(fresh)
    (hook,) = read_yaml(CI / "pre-commit-config.yaml")["repos"][0]["hooks"]
    done = shell(hook["entry"], fresh)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs").rglob("*.toml")), ids=lambda path: path.stem
)
def test_every_mapping_and_its_rules_are_read(path: Path) -> None:
    mapping = load_mapping(path)
    assert mapping.columns
    assert read_checks(mapping)


# The names under which each trainer logs a training step and an evaluation, and its config; read in
# the sources that the mapping names. The values stand for 20 steps of 1000 tokens.
TRAINERS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "nanochat": (
        {"total_batch_size": 1000, "params": 5e6},
        {"step": 1, "total_training_flops": 1e13, "train/loss": 3.0, "train/lrm": 1.0},
        {"step": 1, "total_training_flops": 1e13, "val/bpb": 1.0},
    ),
    "olmo": (
        {"params": 5e6},
        {
            "throughput/total_tokens": 1000,
            "throughput/total_training_Gflops": 1e4,
            "train/CrossEntropyLoss": 3.0,
            "optim/learning_rate_group0": 1e-3,
        },
        {},
    ),
    "levanter": (
        {},
        {
            "throughput/total_tokens": 1000,
            "throughput/total_gflops": 1e4,
            "train/loss": 3.0,
            "optim/learning_rate": 1e-3,
        },
        {"eval/loss": 3.0},
    ),
    "torchtitan": (
        {"params": 5e6},
        {"n_tokens_seen": 1000, "loss_metrics/global_avg_loss": 3.0, "lr": 1e-3},
        {},
    ),
}
GROWING = ("step", "flops", "tokens")  # parts of the names of what adds up over steps


def logged(row: dict[str, Any], step: int) -> dict[str, Any]:
    return {
        name: value * step if any(part in name for part in GROWING) else value / step**0.1
        for name, value in row.items()
    }


def ingested(trainer: str, log: Path, store: Path) -> dict[str, float]:
    """The final values of the one run of a log, read by a trainer's mapping."""
    project = open_project(str(store), ROOT / "configs" / f"{trainer}.toml")
    project.ingest([str(log)])
    assert not any(result.finding.status == "fail" for result in project.check())
    (record,) = project.store.runs()
    return record.final


@pytest.fixture(scope="module")
def wandb_logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A log for each trainer that writes to W&B, by the W&B client."""
    wandb = pytest.importorskip("wandb")
    root = tmp_path_factory.mktemp("trainers")
    for trainer in ("nanochat", "olmo", "levanter"):
        config, train, evaluation = TRAINERS[trainer]
        (root / trainer).mkdir()
        made = wandb.Settings(
            mode="offline",
            root_dir=str(root / trainer),
            console="off",
            silent=True,
            x_disable_meta=True,
            x_disable_stats=True,
        )
        try:
            run = wandb.init(settings=made, project="runs", config=config)
        except Exception as error:  # the client has its own reasons, and none of them is ours
            pytest.skip(f"the wandb client cannot start: {error}")
        if trainer == "levanter":
            run.summary["parameter_count"] = 5e6
        for step in range(1, 21):
            if trainer == "nanochat":  # its own `step`, in two rows of the client's
                run.log(logged(evaluation, step))
                run.log(logged(train, step))
            else:
                run.log(logged(train, step) | logged(evaluation, step), step=step)
        run.finish()
    wandb.teardown()
    return {trainer: root / trainer for trainer in ("nanochat", "olmo", "levanter")}


@pytest.mark.parametrize("trainer", ["nanochat", "olmo", "levanter"])
def test_what_trainers_log_to_wandb_is_named(
    trainer: str, wandb_logs: dict[str, Path], tmp_path: Path
) -> None:
    final = ingested(trainer, wandb_logs[trainer], tmp_path / "store")
    assert final["params"] == 5e6
    assert final["tokens"] == 20_000
    assert final["flops"] == pytest.approx(2e14)
    per_byte = 0.6931471805599453 if trainer == "nanochat" else 3.0
    assert final["loss"] == pytest.approx(per_byte * 20**-0.1)


def test_what_torchtitan_logs_to_tensorboard_is_named(tmp_path: Path) -> None:
    from tensorboardX import SummaryWriter

    config, train, _ = TRAINERS["torchtitan"]
    with SummaryWriter(str(tmp_path / "logs" / "run")) as writer:
        for step in range(1, 21):
            for name, value in logged(train, step).items():
                writer.add_scalar(name, value, step)
    (tmp_path / "logs" / "runs.csv").write_text(f"run_id,params\nrun,{config['params']:.0f}\n")
    final = ingested("torchtitan", tmp_path / "logs", tmp_path / "store")
    assert (final["params"], final["tokens"]) == (5e6, 20_000)
    assert final["loss"] == pytest.approx(3 * 20**-0.1)


def test_what_the_hugging_face_trainer_saves_is_named(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    for step in range(1, 21):
        rows.append({"step": step, "loss": 3.0, "learning_rate": 1e-3})
        rows[-1] |= {"num_input_tokens_seen": 1000 * step}
        rows.append({"step": step, "eval_loss": 3 * step**-0.1})
    state = {"global_step": 20, "max_steps": 20, "total_flos": 6e11, "log_history": rows}
    state |= {"num_input_tokens_seen": 20_000, "stateful_callbacks": {}}
    folder = tmp_path / "run" / "checkpoint-20"
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text(json.dumps(state))
    final = ingested("hf-trainer", tmp_path / "run", tmp_path / "store")
    assert (final["params"], final["tokens"], final["flops"]) == (5e6, 20_000, 6e11)
    assert final["loss"] == pytest.approx(3 * 20**-0.1)


# What a table of runs beside the log gives, where the console of a trainer says no more.
CONSOLES: dict[str, tuple[str, str]] = {
    "modded-nanogpt": ("modded-nanogpt", "params,batch_tokens\nd12,5e6,524288"),
    "nanogpt": ("nanoGPT", ""),
    "megatron": ("Megatron-LM", "params\nd12,5e6"),
    "litgpt": ("litgpt", "batch_tokens\nd12,524288"),
    "composer": ("Composer", "params\nd12,5e6"),
    "fairseq": ("fairseq", ""),
}


@pytest.mark.parametrize("trainer", CONSOLES)
def test_what_trainers_print_is_named(trainer: str, tmp_path: Path) -> None:
    form, table = CONSOLES[trainer]
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "d12.log").write_text(CASES[form][0])
    if table:
        (tmp_path / "logs" / "runs.csv").write_text(f"run_id,{table}\n")
    final = ingested(trainer, tmp_path / "logs", tmp_path / "store")
    assert final["loss"] == pytest.approx(loss(2000) + 0.01, abs=1e-3)
    assert final["tokens"] == 2000 * 524_288
    assert final["params"] >= 5e6
