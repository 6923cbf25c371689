"""What configs/ holds works as it stands: its commands run, its mappings name what is logged."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scaling_cli.checks import read_checks
from scaling_cli.mapping import load_mapping

ROOT = Path(__file__).resolve().parents[1]
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
