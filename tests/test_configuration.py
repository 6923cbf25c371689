"""`scalefit config check`: every fault at once, each with its mend, and no secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from scaling_cli.cli import app
from tests.places import SAMPLES

FAULTY = """\
[columns]
params = true
los = "train/loss"
[run]
finl = "last"
group = [1]
api_key = "sk-not-to-be-told"
[colums]
a = 1
[other]
b = 2
[[check]]
rule = "nam"
[[check]]
rule = "band"
fit = "gone.json"
"""


def asked(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["config", "check", *arguments])


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SCALEFIT_STORE", "SCALEFIT_CONFIG", "SCALEFIT_WORKERS"):
        monkeypatch.delenv(name, raising=False)


def test_what_is_in_order_says_what_counts(tmp_path: Path) -> None:
    shown = asked("--config", str(SAMPLES / "scalefit.toml"), "--json")
    assert shown.exit_code == 0, shown.stderr
    told = json.loads(shown.stdout)
    assert told["ok"]
    assert [item["name"] for item in told["settings"]] == ["store", "mapping"]
    assert told["remarks"] == ["There is no store at .scalefit yet: the first ingest makes it."]
    assert not (tmp_path / ".scalefit").exists()


def test_every_fault_is_said_at_once_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scalefit.toml").write_text(FAULTY)
    (tmp_path / "file").touch()
    for name, value in {
        "SCALEFIT_STOER": "x",
        "SCALEFIT_WORKERS": "two",
        "SCALEFIT_STORE": "file",
        "AWS_SECRET_ACCESS_KEY": "zz-not-to-be-told",
    }.items():
        monkeypatch.setenv(name, value)
    shown = asked("--json")
    assert shown.exit_code == 2
    assert "not-to-be-told" not in shown.output
    told = json.loads(shown.stdout)
    values = {item["name"]: item["value"] for item in told["settings"]}
    assert values["AWS_SECRET_ACCESS_KEY"] == "set, not shown"
    faults = {f"{item['where']}: {item['what']}" for item in told["problems"]}
    for words in (
        "[columns] params is not a text", "no setting 'finl'", "no setting 'api_key'",
        "[run] group is not a list", "[colums] is no table", "[[check]] 1: there is no rule",
        "[[check]] 2: there is no file gone.json", "SCALEFIT_STOER: no command reads",
        "SCALEFIT_WORKERS: ", "SCALEFIT_STORE: ",
    ):  # fmt: skip
        assert any(words in fault for fault in faults), words
    assert all(item["mend"] for item in told["problems"])
    assert any("did you mean loss" in remark for remark in told["remarks"])
    assert any("[other]" in remark for remark in told["remarks"])


@pytest.mark.parametrize("text", ["[columns\n", None])
def test_a_file_that_is_no_mapping_is_one_fault(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "own.toml").write_text(text)
    shown = asked("--config", "own.toml", "--json")
    assert shown.exit_code == 2
    assert [item["where"] for item in json.loads(shown.stdout)["problems"]] == ["own.toml"]


def test_the_environment_gives_the_mapping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALEFIT_CONFIG", "gone.toml")
    shown = CliRunner().invoke(app, ["runs"])
    assert shown.exit_code == 2
    assert "gone.toml" in shown.stderr
