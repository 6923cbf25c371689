"""A short run of the campaign of tests/faults.py, and disks that are full."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from scaling_cli.project import open_project
from scaling_cli.store import open_store
from tests.store import faults, interrupts

COMMAND = [sys.executable, "-m", "scaling_cli"]


def test_a_store_outlives_killed_writers(tmp_path: Path) -> None:
    found = faults.campaign(tmp_path, kills=3, seed=7)
    assert found.total() == 3
    assert open_store(tmp_path / "store").runs()  # what is first done in a store is an ingest


def full_disk() -> None:
    """As on a disk with room for 3 kB: the system refuses the write that goes beyond."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))


def test_a_full_disk_is_one_message_and_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    for name in "ab":
        rows = "".join(f"{name},{step},{step * 0.1}\n" for step in range(500))
        (tmp_path / f"{name}.csv").write_text("run_id,step,loss\n" + rows)
        open_project(folder, None).ingest([str(tmp_path / f"{name}.csv")])
    (tmp_path / "b.csv").write_text((tmp_path / "b.csv").read_text() + "b,500,7\n")

    store = open_store(folder)
    before, files = store.runs(), sorted(tmp_path.rglob("*"))
    assert len(before) == 2
    for arguments in (
        ["ingest", str(tmp_path / "b.csv")],
        ["store", "compact", "--older-than", "0"],
        ["store", "export", str(tmp_path / "x.csv")],
    ):
        failed = subprocess.run(
            [*COMMAND, *arguments, "--store", str(folder)],
            capture_output=True,
            text=True,
            preexec_fn=full_disk,
        )
        assert failed.returncode == 3, failed.stderr
        assert failed.stderr.count("\n") == 1
        assert "File too large. See that the store is there, may be written and has room" in (
            failed.stderr
        )
        assert store.runs() == before
        assert sorted(tmp_path.rglob("*")) == files
    assert store.verify().problems == ()


@pytest.mark.parametrize("after", [0.08, 0.12, 0.2])
def test_an_interrupt_ends_a_command_without_a_traceback(tmp_path: Path, after: float) -> None:
    code, said = interrupts.interrupted(["laws", "--json"], after, tmp_path)
    assert "Traceback" not in said or interrupts.OURS not in said
    assert code in (0, 130, -2)
