"""A check that cannot judge does not let through: each rule x damaged input, settings, files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from scaling_cli.cli import app

STEPS = range(1, 121)


def run(*arguments: str, code: int | None = 0) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert code is None or result.exit_code == code, result.output
    assert "unexpectedly" not in result.output
    return result


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ladder, and a run whose losses are all NaN and whose rates are in part."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SCALEFIT_STORE", raising=False)
    lines = []
    for i, params in enumerate((1e6, 3e6, 1e7, 3e7, 1e8)):
        for ratio in (10, 30):
            for step in STEPS:
                tokens = params * ratio * step / 120
                loss = 1.7 + 400 / params**0.34 + 1200 / tokens**0.37
                row = {"run_id": f"r{i}-{ratio}", "step": step, "loss": loss, "tokens": tokens}
                lines.append(row | {"params": params, "lr": 1e-3, "plan": 120, "none": 0})
    for step in STEPS:
        row = {"run_id": "bad", "step": step, "loss": float("nan"), "tokens": 1e6 * step}
        lines.append(row | {"params": 1e7, "lr": float("nan") if step > 60 else 1e-3, "none": 0})
    Path("runs.jsonl").write_text("\n".join(json.dumps(row) for row in lines))
    run("ingest", "runs.jsonl")
    run("fit", "--law", "chinchilla", "--bootstrap", "20", "-o", "ladder.fit.json")
    return tmp_path


def check(rule: str, *names: str, code: int | None = None) -> Result:
    Path("scalefit.toml").write_text(f"[[check]]\n{rule}\n")
    return run("check", *names, code=code)


DAMAGED = {
    "nan": 'rule = "nan"',
    "spike": 'rule = "spike"',
    "divergence": 'rule = "divergence"',
    "stall": 'rule = "stall"',
    "limit": 'rule = "limit"\nmax = 5',
    "band": 'rule = "band"\nfit = "ladder.fit.json"',
    "reference": 'rule = "reference"\nrun = "r2-10"',
    "schedule": 'rule = "schedule"\nspec = "constant:peak=1e-3,warmup=0,total=120"',
    "planned": 'rule = "planned"\ntokens = "none"',
    "complete": 'rule = "complete"\nsteps = "none"',
}


@pytest.mark.parametrize("rule", DAMAGED)
def test_a_run_whose_values_are_damaged_does_not_pass(place: Path, rule: str) -> None:
    assert "fail" in check(DAMAGED[rule], "bad", code=1).output


FILES = ["missing.json", "/dev/zero", "pipe.json", "damaged.json", "nan.json", "other.json"]


@pytest.mark.parametrize("rule", ["band", "course"])
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_none_is_refused(place: Path, rule: str, name: str) -> None:
    os.mkfifo("pipe.json")
    good = Path("ladder.fit.json").read_text()
    Path("damaged.json").write_text(good[: len(good) // 2])
    Path("other.json").write_text('{"document": "something else"}')
    document = json.loads(good)
    document["fits"][0]["values"] = dict.fromkeys(document["fits"][0]["values"], float("nan"))
    Path("nan.json").write_text(json.dumps(document))
    shown = check(f'rule = "{rule}"\nfit = "{name}"', "r2-10", code=2)
    assert name in shown.output


SETTINGS = [
    'rule = "spike"\nwindow = 0',
    'rule = "spike"\nwindow = 2.5',
    'rule = "spike"\nwindow = "1e9"',
    'rule = "spike"\nz = -1',
    'rule = "spike"\nrise = "1T"',
    'rule = "divergence"\nwindow = 0',
    'rule = "divergence"\nrise = -0.1',
    'rule = "stall"\nshare = 0',
    'rule = "stall"\ngain = 0',
    'rule = "complete"\ntolerance = 1',
    'rule = "planned"\ntokens = 1\ntolerance = 2',
    'rule = "schedule"\nspec = "constant:peak=1,total=9"\ntolerance = -1',
    'rule = "band"\nlevel = 1',
    'rule = "course"\nlevel = 0.2',
    'rule = "course"\nshare = 1',
    'rule = "reference"\nrun = []',
    'rule = "reference"\nrun = "r2-10"\nlevel = 0',
    'rule = "nan"\nmetric = ""',
    'rule = "nan"\nmetric = []',
    'rule = "limit"\nmax = nan',
    'rule = "limit"\nmax = inf',
]


@pytest.mark.parametrize("text", SETTINGS)
def test_a_setting_that_lets_everything_pass_is_refused(place: Path, text: str) -> None:
    assert "[[check]] 1" in check(text, code=2).output


def test_a_mapping_that_is_no_file_is_refused(place: Path) -> None:
    os.mkfifo("pipe.toml")
    for name in ("pipe.toml", "/dev/zero", "."):
        assert "not a mapping file" in run("check", "--config", name, code=2).output
