"""A check that cannot judge does not let through: each rule x damaged input, and the table of exit
codes in docs/checks.md, row by row."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from scaling_cli.checks import read_checks, rules
from scaling_cli.cli import app
from scaling_cli.errors import InputError
from scaling_cli.mapping import Mapping, load_mapping
from tests.places import ROOT

STEPS = range(1, 121)


def run(*arguments: str, code: int | None = 0) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert code is None or result.exit_code == code, result.output
    assert "unexpectedly" not in result.output
    return result


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A ladder; a run whose losses are all NaN, its rates in part; one whose tokens fall; one that
    has just begun and one that goes on; and files that are no fits."""
    folder = tmp_path_factory.mktemp("gate")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("SCALEFIT_STORE", raising=False)
        lines = []
        for i, params in enumerate((1e6, 3e6, 1e7, 3e7, 1e8)):
            for ratio in (10, 30):
                for step in STEPS:
                    tokens = params * ratio * step / 120
                    loss = 1.7 + 400 / params**0.34 + 1200 / tokens**0.37
                    row = {"run_id": f"r{i}-{ratio}", "step": step, "loss": loss, "tokens": tokens}
                    row |= {"params": params, "lr": 1e-3, "plan": 120, "none": 0}
                    lines.append(row | ({"extra": loss} if i else {}))
        for step in STEPS:
            row = {"run_id": "bad", "step": step, "loss": float("nan"), "tokens": 1e6 * step}
            lines.append(row | {"params": 1e7, "lr": math.nan if step > 60 else 1e-3, "none": 0})
            row = {"run_id": "rates", "step": step, "loss": 9 - step / 60, "tokens": 1e6 * step}
            lines.append(row | {"params": 1e7, "lr": math.nan if step > 60 else 1e-3})
            row = {"run_id": "falls", "step": step, "loss": 9 / step, "tokens": 1e6 * (step % 99)}
            lines.append(row | {"params": 1e7})
        lines.append({"run_id": "new", "step": 1, "loss": 9.0, "tokens": 1e6, "params": 1e7})
        for step in range(1, 61):
            row = {"run_id": "young", "step": step, "loss": 9 - step / 60, "tokens": 1e6 * step}
            lines.append(row | {"params": 1e7, "lr": 1e-3, "max_steps": 120})
        Path("runs.jsonl").write_text("\n".join(json.dumps(row) for row in lines))
        run("ingest", "runs.jsonl")
        run("fit", "--law", "chinchilla", "--bootstrap", "20", "-o", "ladder.fit.json")
        run("fit", "--law", "chinchilla", "--bootstrap", "0", "-o", "bare.fit.json")
        make_odd_files()
        yield folder


def make_odd_files() -> None:
    os.mkfifo("pipe.json")
    Path("loop.json").symlink_to("loop.json")
    good = Path("ladder.fit.json").read_text()
    Path("damaged.json").write_text(good[: len(good) // 2])
    Path("other.json").write_text('{"document": "something else"}')
    document = json.loads(good)
    values = document["fits"][0]["values"]
    Path("edited.json").write_text(good.replace(str(values["E"]), str(values["E"] + 0.1)))
    document["fits"][0]["values"] = dict.fromkeys(values, math.nan)
    Path("nan.json").write_text(json.dumps(document))
    with Path("large.json").open("wb") as file:
        file.truncate(300 << 20)


def check(rule: str, *names: str, code: int | None = None) -> Result:
    Path("scalefit.toml").write_text(f"[[check]]\n{rule}\n")
    return run("check", *names, code=code)


def statuses(rule: str, *names: str, code: int) -> set[str]:
    Path("scalefit.toml").write_text(f"[[check]]\n{rule}\n")
    found = json.loads(run("check", *names, "--json", code=code).stdout)
    return {item["status"] for item in found.get("checks", ())}


DAMAGED = {
    "nan": 'rule = "nan"',
    "spike": 'rule = "spike"',
    "divergence": 'rule = "divergence"',
    "stall": 'rule = "stall"',
    "limit": 'rule = "limit"\nmax = 5',
    "band": 'rule = "band"\nfit = "ladder.fit.json"',
    "course": 'rule = "course"',
    "collapse": 'rule = "collapse"\nrun = ["r2-10", "r3-10"]',
    "reference": 'rule = "reference"\nrun = "r2-10"',
    "schedule": 'rule = "schedule"\nspec = "constant:peak=1e-3,warmup=0,total=120"',
    "planned": 'rule = "planned"\ntokens = "none"',
    "complete": 'rule = "complete"\nsteps = "none"',
    "monotone_steps": 'rule = "monotone_steps"',
}


@pytest.mark.parametrize("rule", sorted(rules()))
def test_a_run_whose_values_are_damaged_does_not_pass(rule: str) -> None:
    name = "falls" if rule == "monotone_steps" else "bad"
    assert statuses(DAMAGED[rule], name, code=1) == {"fail"}


FILES = ["missing.json", "/dev/zero", "pipe.json", "loop.json", "damaged.json", "nan.json",
         "other.json", "edited.json", "large.json"]  # fmt: skip
NUMBERS = ["nan", "inf", "-inf", "true", "[]", '"x"', '""', '"1e999"', '"nan"', "9" * 5000]
GIVEN = {
    "schedule": 'spec = "constant:peak=1e-3,total=120"\n',
    "reference": 'run = "r2-10"\n',
}


def number_settings() -> Iterator[tuple[str, str, str]]:
    """Every number that a rule may be told, as what is none or lies beyond its range."""
    for rule in rules().values():
        for setting in rule.settings:
            if setting.kind != "number":
                continue
            beyond = [repr(end + side) for end, side in ((setting.low, -1), (setting.high, 1))]
            for value in (*NUMBERS, *(text for text in beyond if "inf" not in text)):
                yield rule.name, setting.name, value
            if setting.whole:
                yield rule.name, setting.name, "2.5"


def test_no_number_of_a_rule_lets_everything_pass() -> None:
    tried = 0
    for rule, name, value in number_settings():
        text = "" if name in GIVEN.get(rule, "") else GIVEN.get(rule, "")
        Path("odd.toml").write_text(f'[[check]]\nrule = "{rule}"\n{text}{name} = {value}\n')
        with pytest.raises(InputError):
            read_checks(load_mapping(Path("odd.toml")))
        tried += 1
    assert tried > 100


# The table of docs/checks.md: what stands in a row -> checks, and the runs that they are asked of.
Row = list[tuple[str, str]]
FEW = ("spike", "divergence", "stall", "complete", "course", "reference", "schedule", "planned")
ROWS: dict[str, Row] = {
    "too few points": [
        *((DAMAGED[rule].replace('"none"', '"plan"'), "new") for rule in FEW),
        ('rule = "nan"\nmetric = "extra"', "r0-10"),
        (DAMAGED["band"], "young"),
    ],
    "every logged value of the metric is NaN": [
        *((text, "bad") for rule, text in DAMAGED.items() if rule != "monotone_steps"),
        *((DAMAGED[rule], "rates") for rule in ("course", "schedule")),
    ],
    "an expression over numbers": [
        (f'rule = "{rule}"\n{setting.name} = "{text}"', "r1-10")
        for rule, item in {"complete": None, "planned": None, "limit": None}.items()
        for setting in rules()[rule].settings
        if setting.kind == "expression"
        for text in ("loss / 0", "0 / 0", "loss * 1e300 * 1e300")
        if item is None and (rule, setting.name) not in (("limit", "tokens"), ("limit", "step"))
    ],
    "a plan of no tokens": [
        (DAMAGED["planned"], "r1-10"),
        (DAMAGED["complete"], "r1-10"),
        ('rule = "planned"\nparams = -1', "r1-10"),
        ('rule = "planned"\nbatch_tokens = "none - 1"', "r1-10"),
        ('rule = "complete"\ntokens = -1', "r1-10"),
        ('rule = "limit"\nmin = 5\nmax = 1', "r1-10"),
    ],
    "the fit has no resamples": [('rule = "band"\nfit = "bare.fit.json"', "r1-10")],
    "a file of `fit`": [
        (f'rule = "{rule}"\nfit = "{name}"', "r1-10") for rule in ("band", "course")
        for name in FILES
    ],
    "a setting that is no number": [
        ('rule = "spike"\nwindow = 0', "r1-10"),
        ('rule = "nan"\nmetric = ""', "r1-10"),
        ('rule = "nan"\nmetric = []', "r1-10"),
        ('rule = "reference"\nrun = []', "r1-10"),
        ('rule = "limit"\nmax = inf', "r1-10"),
        ('rule = "spike"\nmetric = "unheard"', "r1-10"),
    ],
    "a run of `reference`": [
        (f'rule = "{rule}"\nrun = "unheard"', name)
        for rule in ("reference", "collapse") for name in ("r1-10", "new", "bad")
    ],
    "no run that": [('rule = "nan"\nwhere = "params > 1e30"', "r1-10")],
    "a store that is damaged": [(text, "r1-10") for text in DAMAGED.values()],
}  # fmt: skip


def documented() -> dict[str, tuple[str, int]]:
    """The rows of the page's last table: case -> its status and exit code."""
    page = (ROOT / "docs" / "checks.md").read_text()
    rows = page.partition("| case | status | exit code |")[2].partition("\n\n")[0].splitlines()[2:]
    parts = [re.split(r" *(?<!\\)\| *", row.strip("| ")) for row in rows]
    return {case: (status, int(code)) for case, status, code in parts}


def test_every_row_of_the_page_is_tried() -> None:
    rows = documented()
    assert [sum(case.startswith(start) for case in rows) for start in ROWS] == [1] * len(rows)


@pytest.mark.parametrize("start", ROWS)
def test_a_check_does_what_the_page_says(start: str, place: Path) -> None:
    ((status, code),) = [row for case, row in documented().items() if case.startswith(start)]
    if code == 3:
        shutil.copytree(".scalefit", "whole")
        for path in Path(".scalefit/runs").iterdir():
            path.write_bytes(path.read_bytes()[:-9])
    try:
        for text, name in ROWS[start]:
            assert statuses(text, name, code=code) == ({status} - {""}), (text, name)
    finally:
        if code == 3:
            shutil.rmtree(".scalefit")
            shutil.move("whole", ".scalefit")


def test_a_reader_that_leaves_does_not_open_the_gate(place: Path) -> None:
    Path("scalefit.toml").write_text('[[check]]\nrule = "limit"\nmax = -5\n')
    gone, left = os.pipe()
    os.close(gone)
    command = [sys.executable, "-m", "scaling_cli"]
    try:
        found = [
            subprocess.run([*command, *words], stdout=left, stderr=subprocess.DEVNULL, check=False)
            for words in (["check"], ["check", "--json"], ["runs"])
        ]
    finally:
        os.close(left)
    assert [item.returncode for item in found] == [1, 1, 0]


def test_a_mapping_that_is_no_file_is_refused() -> None:
    if not Path("pipe.toml").exists():
        os.mkfifo("pipe.toml")
    for name in ("pipe.toml", "/dev/zero", "."):
        assert "not a mapping file" in run("check", "--config", name, code=2).output


def test_a_mapping_with_a_rule_is_read() -> None:
    assert [item.rule.name for item in read_checks(Mapping())] == [
        rule.name for rule in rules().values() if rule.always
    ]
