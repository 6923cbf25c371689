"""What stands anywhere on the line of every command (--json, --format, --quiet), and files that are
written whole or not at all."""

from __future__ import annotations

import csv
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from scaling_cli.cli import COMMANDS
from scaling_cli.cli.following import FOLLOWING
from scaling_cli.documents import write_whole
from scaling_cli.report.listing import one_style
from tests.cli.test_cli import Scalefit, ladder, scalefit

__all__ = ["ladder", "scalefit"]  # fixtures


@pytest.mark.parametrize(
    ("line", "code", "exit_code"),
    [
        (["predict", "--params", "many"], "input", 2),
        (["runs", "--no-such-option"], "usage", 2),
        (["no-such-command"], "usage", 2),
        (["fit", "--law", "chinchilla"], "unreachable", 3),
        (["ingest", "http://127.0.0.1:9/runs.csv"], "unreachable", 3),
    ],
)
def test_an_error_is_a_document_where_one_is_asked_for(
    scalefit: Scalefit, line: list[str], code: str, exit_code: int
) -> None:
    plain, as_json = scalefit(*line), scalefit(*line, "--json")
    assert plain.exit_code == as_json.exit_code == exit_code
    assert plain.stdout == ""
    error = json.loads(as_json.stdout)["error"]
    assert error["code"] == code
    assert error["message"].rstrip(".") in as_json.stderr
    assert as_json.stderr == plain.stderr


def test_a_document_that_stands_is_not_followed_by_another(ladder: Scalefit) -> None:
    """`store verify` prints what is damaged and refuses: one document, two exit codes."""
    next(Path(".scalefit/runs").glob("*.parquet")).write_bytes(b"PAR1")
    result = ladder("store", "verify", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["problems"]


def test_tables_of_every_command_in_other_formats(ladder: Scalefit) -> None:
    rows = list(csv.reader(ladder("runs", "--format", "csv").stdout.splitlines()))
    assert len({len(row) for row in rows}) == 1
    assert (rows[0][0], len(rows)) == ("run", 49)
    wide = ladder("--format=tsv", "runs").stdout.splitlines()
    assert [line.split("\t") for line in wide] == rows
    assert ladder("runs", "--format", "md").stdout.count("\n| ") == 50
    assert r"\toprule" in ladder("runs", "--format", "latex").stdout
    document = json.loads(ladder("runs", "--format", "json").stdout)
    assert document == json.loads(ladder("runs", "--json").stdout)
    assert "csv, tsv, md" in ladder("runs", "--format", "xml").stderr


def test_quiet_says_the_answer_alone(scalefit: Scalefit) -> None:
    Path("runs.jsonl").write_text('{"run_id": "a", "loss": 2.0}\n{"run_id": "b", "loss": 2')
    assert "truncated" in scalefit("ingest", "runs.jsonl").stderr
    assert scalefit("ingest", "runs.jsonl", "-q").stderr == ""
    assert scalefit("-q", "runs", "--where", "(").stderr.startswith("Error: ")


@pytest.mark.parametrize("value", ["a\ud800b", ["\udfff"], {"\ud800": "x"}])
def test_settings_are_mended_as_they_are_read(scalefit: Scalefit, value: object) -> None:
    rows = [{"run_id": f"r{i}", "loss": 2.0, "recipe": value, "params": 1e6} for i in range(3)]
    Path("runs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert scalefit("ingest", "runs.jsonl").exit_code == 0
    assert scalefit("store", "export", "runs.csv", "--shape", "runs").exit_code == 0
    text = Path("runs.csv").read_text(encoding="utf-8")
    assert "\\ud800" not in text
    assert "\\udfff" not in text
    assert isinstance(value, dict) or scalefit("runs", "--by", "recipe").exit_code == 0


def test_a_fit_that_cannot_be_shown_is_still_told_of(
    ladder: Scalefit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scaling_cli.report.fits.fit_table", lambda _: 1 / 0)
    result = ladder("fit", "--law", "chinchilla", "--bootstrap", "0")
    assert result.exit_code == 2
    assert "in the store as " in result.stderr


def test_a_folder_that_is_not_there_is_refused_before_the_fit(ladder: Scalefit) -> None:
    result = ladder("fit", "--law", "chinchilla", "-o", "nowhere/fit.json")
    assert result.exit_code == 2
    assert "in a folder that is there" in result.stderr
    assert list(Path(".scalefit").glob("fits/*")) == []


def test_a_file_is_replaced_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "r.md"
    file.write_bytes(b"old")
    file.chmod(0o640)
    link = tmp_path / "link.md"
    link.symlink_to(file)
    write_whole(link, b"new")
    assert link.is_symlink()
    assert file.read_bytes() == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    monkeypatch.setattr(os, "fsync", lambda _: 1 / 0)  # the disk is full
    with pytest.raises(ZeroDivisionError):
        write_whole(file, b"newer")
    assert file.read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["link.md", "r.md"]


def test_what_is_no_regular_file_is_written_to(tmp_path: Path) -> None:
    write_whole(os.devnull, b"gone")
    assert not Path(os.devnull).is_file()


OUTPUTS: dict[str, list[str]] = {
    "report": ["report", "-o", "{}.md"],
    "fit": ["fit", "--law", "chinchilla", "-o", "{}.json"],
    "check": ["check", "--junit", "{}.xml"],
    "init": ["init", "ladder.csv", "-o", "{}.toml"],
    "export": ["store", "export", "{}.csv"],
    "simulate": ["simulate", "--published", "epoch2024", "--design", "x.csv", "-o", "{}.csv"],
    "design": ["design", "--spend", "1e21", "--target", "1e23", "--published", "epoch2024",
               "--trials", "0", "-o", "{}.sh"],
    "curve": ["curve", "--run", "r0", "-o", "{}.svg"],
}  # fmt: skip


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_output_that_cannot_be_is_refused_in_words(ladder: Scalefit, name: str) -> None:
    """A link to itself, a folder, a name that is too long, one below a file, and a NUL."""
    suffix = OUTPUTS[name][-1][2:]
    Path(f"loop{suffix}").symlink_to(f"loop{suffix}")
    Path(f"folder{suffix}").mkdir()
    Path("file").touch()
    for place in ("loop", "folder", "n" * 300, "file/x", "no/x", "a\0b"):
        result = ladder(*(part.replace("{}", place) for part in OUTPUTS[name]))
        assert result.exit_code == 2, result.output
        assert "cannot be written" in result.stderr or "is there already" in result.stderr


def test_an_export_follows_a_link_and_a_device(ladder: Scalefit) -> None:
    Path("link.csv").symlink_to("table")
    assert ladder("store", "export", "link.csv").exit_code == 0
    assert Path("link.csv").is_symlink()
    assert Path("table").read_text().startswith('"run_key"')
    Path("full.csv").symlink_to("/dev/full")
    full = ladder("store", "export", "full.csv")
    assert (full.exit_code, full.stderr) == (3, "Error: /dev/full: No space left on device\n")


@pytest.mark.parametrize(
    ("streams", "exit_code", "says"),
    [
        (">/dev/full", 2, "Error: The answer cannot be written (No space left on device)\n"),
        (">/dev/full 2>/dev/full", 2, ""),
        (">&- 2>&-", 0, ""),
    ],
)
def test_an_answer_that_nobody_takes(streams: str, exit_code: int, says: str) -> None:
    line = f"{sys.executable} -m scaling_cli laws --json {streams}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (exit_code, "", says)


OFFERED = {
    "fit --law chinch": "chinchilla",
    "optimal --published epoch2024_s": "epoch2024_skaling",
    "predict --fit lad": "ladder",
    "fit --by group,rec": "group,recipe",
    "show one-": "one-run",
    "plan --bud": "--budget",
}


def test_a_shell_is_offered_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scalefit: Scalefit
) -> None:
    lines = ["run_id,recipe,params,tokens,loss", "$(reboot),a,1e6,1e8,3"]
    lines += [f"one-{i or 'run'},a,{10 ** (6 + i / 9)},1e9,{3 - i / 9}" for i in range(9)]
    (tmp_path / "runs.csv").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    assert scalefit("ingest", "runs.csv").exit_code == 0
    asked = ["fit", "--law", "power_offset", "--x", "params", "--bootstrap", "0"]
    assert scalefit(*asked, "--name", "ladder").exit_code == 0
    monkeypatch.setenv("_SCALEFIT_COMPLETE", "complete_bash")
    for typed, offered in OFFERED.items():
        monkeypatch.setenv("COMP_WORDS", f"scalefit {typed}")
        monkeypatch.setenv("COMP_CWORD", str(len(typed.split())))
        shown = scalefit().output
        assert offered in shown.split(), typed
        assert "reboot" not in shown


def test_an_answer_in_a_terminal_ends_with_the_next_command(
    ladder: Scalefit, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Next:" not in ladder("runs").stderr
    monkeypatch.setattr("scaling_cli.cli.common.on_terminal", lambda: True)
    assert ladder("runs").stderr.endswith(
        "Next: scalefit fit --law auto (fits a law to the runs)\n"
    )
    assert (
        "Next: scalefit plan --budget 1e23 ("
        in ladder("optimal", "--published", "epoch2024", "--budget", "1e23").stderr
    )
    assert "Next:" not in ladder("runs", "-q").stderr + ladder("runs", "--json").stderr
    for line, _ in FOLLOWING.values():
        assert line.split()[0] in COMMANDS


def test_numbers_of_messages_have_the_style_of_tables() -> None:
    said = "flops 1.62e+14 misses 3.04%; 33% of run-1e+12, of 2e-05"
    assert one_style(said) == "flops 1.62e14 misses 3.04 %; 33% of run-1e+12, of 2e-05"
