"""One odd file never refuses a folder; named by itself it is refused in words, without a wait."""

from __future__ import annotations

import gzip
import io
import os
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scaling_cli.adapters import files
from scaling_cli.adapters.reading import read_sources
from scaling_cli.cli import app
from scaling_cli.documents import NoFileError, read_file
from scaling_cli.errors import ScalefitError

GOOD = "run_id,step,loss\ng,1,3\ng,2,2\n"


def _lying_about_its_size(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


ODD = {
    "a field beyond any length": lambda p: p.write_text(f"{'a' * 200_000},loss\n1,2\n"),
    "a line beyond any length": lambda p: p.write_text(f"step,loss\n1,{'9' * (1 << 25)}\n"),
    "a pipe": os.mkfifo,
    "a link to itself": lambda p: p.symlink_to(p.name),
    "a link to a device": lambda p: p.symlink_to("/dev/zero"),
    "a link to nothing": lambda p: p.symlink_to("nothing"),
    "a terabyte of nothing": _lying_about_its_size,
    "the memory of a process": lambda p: p.symlink_to("/proc/self/mem"),
    "what cannot be read": lambda p: p.symlink_to("/proc/self/attr/exec"),
}


@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_an_odd_file_is_refused_and_keeps_no_other_out(make: object, tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text(GOOD)
    odd = tmp_path / "odd.csv"
    make(odd)  # type: ignore[operator]
    found = read_sources([tmp_path])
    assert [run.run_key for run in found.runs] == ["csv:g"]
    with pytest.raises(ScalefitError, match=r"odd\.csv"):
        read_sources([odd])


@pytest.mark.parametrize("target", ["/", "/proc/self", ".."])
def test_a_link_out_into_the_whole_disk_is_not_followed(target: str, tmp_path: Path) -> None:
    """A link to another folder of runs is; one to what lies around it would be read without end."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.csv").write_text(GOOD.replace("g,", "h,"))
    (tmp_path / "runs" / "a.csv").write_text(GOOD)
    (tmp_path / "runs" / "out").symlink_to(target)
    (tmp_path / "runs" / "more").symlink_to(tmp_path / "more")
    found = read_sources([tmp_path / "runs"])
    assert sorted(run.run_id for run in found.runs) == ["g", "h"]
    (note,) = (note for note in found.notes if note.code == "unreadable")
    assert "runs/out is a link to a folder around it" in note.message


def test_what_is_left_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good.csv").write_text(GOOD)
    (tmp_path / "bad.csv").write_text(GOOD)

    def opened(path: Path, most: int) -> object:
        if path.name == "bad.csv":
            raise OSError(22, "Invalid argument")
        return real(path, most)

    real = files.open_file
    monkeypatch.setattr(files, "open_file", opened)
    (note,) = (n for n in read_sources([tmp_path]).notes if n.code == "unreadable")
    assert note.message.endswith("bad.csv cannot be read: Invalid argument (left out)")


def test_lines_may_end_as_on_old_macs(tmp_path: Path) -> None:
    for suffix in ("csv", "txt"):
        (tmp_path / f"m.{suffix}").write_text(GOOD.replace("\n", "\r"))
        (run,) = read_sources([tmp_path / f"m.{suffix}"]).runs
        assert run.series["loss"].values.tolist() == [3, 2]


def test_a_header_may_be_longer_than_a_field_is_allowed_to_be(tmp_path: Path) -> None:
    names = ",".join(f"metric/of/some/length/{i}" for i in range(6_000))
    (tmp_path / "wide.csv").write_text(f"step,{names}\n" + "".join(
        f"{step}," + ",".join(["1"] * 6_000) + "\n" for step in (1, 2)
    ))  # fmt: skip
    (run,) = read_sources([tmp_path / "wide.csv"]).runs
    assert len(run.series) == 6_000


OPTIONS = [
    ["ingest", "{odd}"],
    ["ingest", "good.csv", "--meta", "{odd}"],
    ["ingest", "good.csv", "--config", "{odd}"],
    ["init", "{odd}"],
    ["predict", "--fit", "{odd}", "--params", "1B", "--tokens", "1B"],
    ["curve", "--run", "g", "--fit", "{odd}"],
    ["curve", "--run", "g", "--schedule", "{odd}"],
    ["crossing", "{odd}", "{odd}"],
]


@pytest.mark.parametrize("line", OPTIONS, ids=" ".join)
def test_only_a_regular_file_is_read_whatever_names_it(
    line: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good.csv").write_text(GOOD)
    assert CliRunner().invoke(app, ["ingest", "good.csv"]).exit_code == 0
    os.mkfifo("pipe.json")
    for odd in ("pipe.json", "/dev/zero", "n" * 300):
        result = CliRunner().invoke(app, [part.format(odd=odd) for part in line])
        assert result.exit_code == 2, (odd, result.output)
        assert "unexpectedly" not in result.output


def test_a_mapping_that_lies_there_is_read_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good.csv").write_text(GOOD)
    os.mkfifo("scalefit.toml")
    assert "no regular file" in CliRunner().invoke(app, ["ingest", "good.csv"]).output


def test_what_grows_as_it_is_read_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 100)
    assert read_file(tmp_path / "f", 100) == b"x" * 100
    with pytest.raises(NoFileError):
        read_file(tmp_path / "f", 99)


def _address_space() -> int:
    found = re.search(r"VmSize:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) << 10


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks /proc for the memory")
def test_damaged_packed_files_leave_no_memory_behind(tmp_path: Path) -> None:
    packed = gzip.compress(os.urandom(3 << 20), 0)
    path = tmp_path / "x.csv.gz"
    path.write_bytes(packed[:-9])  # as of a run that goes on
    for i in range(101):
        if i == 1:
            before = _address_space()
        with pytest.raises(ScalefitError, match="whole gzip"):
            files.read_bytes(path, "x")
    assert _address_space() - before < 30 << 20


def test_a_packed_file_can_be_read_from_its_beginning_again() -> None:
    """The stream that is dropped closed the file under the next one."""
    packed = gzip.compress(b"step,loss\n" + b"1,2\n" * 1000)
    file = files._Unpacking(io.BytesIO(packed), "gzip", "x.csv.gz")
    assert file.read(4) == b"step"
    file.seek(0)
    assert file.read(4) == b"step"
