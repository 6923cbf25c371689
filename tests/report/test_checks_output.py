"""What CI servers are told: JUnit XML that is valid by its schema, GitHub's workflow commands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as xml

import pytest
from rich.cells import cell_len
from typer.testing import CliRunner
from xmlschema import XMLSchema

from scaling_cli.checks import Result
from scaling_cli.checks.base import Finding
from scaling_cli.cli import app
from scaling_cli.report.checks import github_commands, junit, tables
from scaling_cli.report.listing import Listing
from scaling_cli.report.render import to_text
from tests.places import DATA

SCHEMA = XMLSchema(DATA / "junit-10.xsd")
RESULTS = [
    Result("a", "nan", "nan", Finding("pass", "All 10 values are finite.", 0.0, 0.0)),
    Result("a", "spike", "spike", Finding("fail", "50 % up,\nat <step> & : 3\x00", 9.0, 8.0, 3)),
    Result("b,c:d", "nan", "nan", Finding("fail", "3 of 10\ud800", 3.0, 0.0)),
    Result(None, "limit", "final", Finding("skip", "No run matches `x`.")),
]


def assert_valid(text: str) -> xml.Element:
    """By the schema, and with counts that are those of the cases."""
    SCHEMA.validate(text)
    root = xml.fromstring(text)
    for suite in root:
        cases = suite.findall("testcase")
        assert int(suite.attrib["tests"]) == len(cases)
        for tag, count in (("failure", "failures"), ("skipped", "skipped")):
            assert int(suite.attrib[count]) == sum(c.find(tag) is not None for c in cases)
    assert int(root.attrib["tests"]) == len(root.findall("*/testcase"))
    return root


def test_junit_is_valid_whatever_the_text_holds() -> None:
    root = assert_valid(junit(RESULTS))
    assert [suite.attrib["name"] for suite in root] == ["a", "b,c:d", "(no run)"]
    assert_valid(junit([]))


def test_github_is_told_in_one_line_each() -> None:
    assert github_commands(RESULTS)[0] == (
        "::error title=spike%3A a::a: 50 %25 up,\\nat <step> & : 3\\x00"
    )
    assert github_commands(RESULTS)[1].startswith("::error title=nan%3A b%2Cc%3Ad::b,c:d: 3 of 10")


def test_tables_list_failures_and_give_reasons_for_skips() -> None:
    many = RESULTS + [RESULTS[0]] * 30
    text = to_text(tables(many))
    assert "34 checks: 31 pass, 2 fail, 1 skip" in text
    assert re.search(r"skip -, final: No run matches `x`\.", text)
    assert "All 10 values" not in text


def test_command_writes_junit_and_annotations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"run_id": "made", "config": {"params": 1000}}]
    rows += [{"step": i, "tokens": 10 * i, "loss": 9 - i / 20} for i in range(1, 100)]  # type: ignore[dict-item]
    rows[50]["loss"] = 99.0  # type: ignore[assignment]
    log, store = tmp_path / "log.jsonl", str(tmp_path / "store")
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert CliRunner().invoke(app, ["ingest", str(log), "--store", store]).exit_code == 0
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    path = tmp_path / "checks.xml"
    result = CliRunner().invoke(app, ["check", "--store", store, "--junit", str(path), "--json"])
    assert result.exit_code == 1
    failed = [item for item in json.loads(result.stdout)["checks"] if item["status"] == "fail"]
    assert [item["rule"] for item in failed] == ["spike"]
    assert result.stderr.startswith("::error title=spike%3A made::made: 1 of 99 points of loss")
    root = assert_valid(path.read_text(encoding="utf-8"))
    assert root.find("testsuite/testcase[@name='spike']/failure") is not None
    assert "50" in str(failed[0]["step"])
    missing = ["check", "--store", store, "--junit", str(tmp_path / "no" / "x.xml")]
    assert CliRunner().invoke(app, missing).exit_code == 2


def test_columns_line_up_under_wide_characters() -> None:
    rows = (("läufe-训练🚀", "1"), ("plain", "22"))
    _, *lines = to_text([Listing("runs", ("run", "loss"), rows)]).splitlines()
    assert {cell_len(line) for line in lines if line} == {18}
