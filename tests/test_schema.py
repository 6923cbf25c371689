"""Each JSON document is what its schema says, whatever was asked; scalefit.toml is refused by its
schema where the commands refuse it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from scaling_cli.checks import read_checks
from scaling_cli.cli import app
from scaling_cli.errors import InputError
from scaling_cli.mapping import load_mapping
from scaling_cli.project import Project
from scaling_cli.schema.registry import SETTINGS, names
from tests.cli.test_hostile_text import LINES
from tests.places import ROOT, SAMPLES
from tests.schemas import complaints
from tools.pages import SCHEMA, settings_text

RUN = "baseline-schedule-d32l2-9.0e11-cosine"
# What a command answers besides what the lines of test_hostile_text ask of it.
FURTHER = [
    ["ingest", str(SAMPLES / "jsonl"), "--dry-run"],
    ["runs", "--by", "recipe"],
    ["fit", "--law", "power_offset,kaplan_n", "--x", "params", "--where", "params > 1e5",
     "--bootstrap", "0"],
    ["fit", "--law", "chinchilla", "--by", "recipe", "--tie", "alpha", "--bootstrap", "20"],
    ["fits", "show", "kept"],
    ["predict", "--params", "1M", "--solve", "tokens", "--loss", "1.3", "--fit", "kept"],
    ["predict", "--published", "epoch2024", "--flops", "1e21"],
    ["optimal", "--budget", "1e15", "--device", "h100", "--mfu", "0.4", "--fit", "kept"],
    ["plan", "--budget", "1e15", "--device", "h100", "--mfu", "0.4", "--fit", "kept"],
    ["plan", "--budget", "1e15", "--published", "epoch2024"],
    ["design", "--spend", "1e15", "--target", "1e16", "--published", "epoch2024"],
    ["equivalent", "baseline", "rotary", "--flops", "1e15", "--fit", "kept"],
    ["curve", "--run", RUN, "--law", "mpl"],
    ["explain", "extrapolation"],
    ["schema", "fit"],
    ["schema", "scalefit.toml"],
]  # fmt: skip


def test_every_command_has_a_schema() -> None:
    assert set(names()) == {*LINES, "error", SETTINGS}


def test_further_answers_are_what_their_schemas_say(
    own_samples: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCALEFIT_STORE", own_samples.location)
    asked = ["--config", str(SAMPLES / "scalefit.toml")]
    fitted = ["fit", "--law", "chinchilla", "--by", "recipe", "--bootstrap", "20"]
    lines = [[*fitted, "--holdout", "split == 'holdout'", "--name", "kept", *asked], *FURTHER]
    for line in lines:
        result = CliRunner().invoke(app, [*line, "--json"])
        assert result.exit_code == 0, (line, result.stderr)
        two = " ".join(line[:2])
        assert not complaints(two if two in LINES else line[0], json.loads(result.stdout)), line


BAD = [
    "[columns]\nparams = true",
    "columns = 3",
    "[run]\nfinal = 'mean:0'",
    "[run]\ngroups = ['a']",
    "[run]\ngroup = [1]",
    "[run]\nid = 3",
    "[console]\nlines = 'step {step}'",
    "[console]\nline = 3",
    "[[check]]\nname = 'x'",
    "[[check]]\nrule = 'nam'",
    "[[check]]\nrule = 'nan'\nlimit = 3",
    "[[check]]\nrule = 'limit'",
    "[[check]]\nrule = 'limit'\nmax = true",
    "[[check]]\nrule = 'limit'\nmax = 3\nmetric = 3",
    "[[check]]\nrule = 'band'\nlevel = 1.5",
    "[[check]]\nrule = 'nan'\nwhere = 3",
    "[check]\nrule = 'nan'",
]
GOOD = [
    *(path.read_text(encoding="utf-8") for path in (ROOT / "configs").rglob("*.toml")),
    (SAMPLES / "scalefit.toml").read_text(encoding="utf-8"),
    "[run]\nfinal = 'mean:12'\ngroup = 'recipe'\n[columns]\nseq = 2048\nown = 'a / 2'\n[x]\na = 1",
    "[[check]]\nrule = 'limit'\nmax = '2T'\nmetric = 'loss'\nwhere = 'params > 1'",
]


@pytest.mark.parametrize(("text", "good"), [(x, False) for x in BAD] + [(x, True) for x in GOOD])
def test_the_schema_of_a_mapping_refuses_what_commands_refuse(
    text: str, good: bool, tmp_path: Path
) -> None:
    file = tmp_path / "scalefit.toml"
    file.write_text(text)
    assert (not complaints(SETTINGS, tomllib.loads(text))) == good
    assert taken(file) == good


def taken(file: Path) -> Any:
    try:
        return bool(read_checks(load_mapping(file)))
    except InputError:
        return False


def test_the_schema_for_editors_is_of_today() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == settings_text(), "run `make docs`"
