"""Ingest commit by commit, from a service that yields what a test tells it to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import scaling_cli.ingest as ingesting
from scaling_cli.adapters import reading, registry
from scaling_cli.adapters.base import Request, Unchanged
from scaling_cli.cli import app
from scaling_cli.errors import InputError, UnreachableError
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.progress import Progress
from scaling_cli.project import Project, open_project
from scaling_cli.records import Run, Series
from scaling_cli.sources import Sources
from scaling_cli.store import open_store
from scaling_cli.workers import Mapper, mapper
from tests.places import SAMPLES


def run(name: str, cursor: str = "1", loss: float = 2.0, metric: str = "loss") -> Run:
    series = Series(np.array([1, 5], dtype=np.int64), np.array([3.0, loss]))
    return Run(
        f"lab:{name}", name, f"lab:{name}", config={"n": 7}, series={metric: series}, cursor=cursor
    )


class Lab:
    """A service; it skips what is known, as its adapter would."""

    name = "lab"

    def __init__(self) -> None:
        self.items: Sequence[Any] = ()
        self.asked: list[Request] = []

    def claims(self, source: str) -> bool:
        return source.startswith("lab:")

    def fetch(self, source: str, request: Request) -> Iterator[Run | Unchanged | Note]:
        self.asked.append(request)
        request.expect(len(self.items))
        for item in self.items:
            if isinstance(item, BaseException):
                raise item
            if isinstance(item, Run) and request.known.get(item.run_key) == item.cursor:
                yield Unchanged(item.run_key)
            else:
                yield item


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    made = Lab()
    monkeypatch.setattr(registry, "services", lambda: {"lab": made})
    return made


def test_only_what_changed_is_read_again(lab: Lab, tmp_path: Path) -> None:
    project = Project(str(tmp_path), None)
    lab.items = [run("a"), run("b"), Note("unreadable", "warning", "lab:c is broken")]
    first = project.ingest(["lab:x"])
    assert (first.runs, first.new, [n.code for n in first.notes]) == (2, 2, ["unreadable"])
    lab.items = [run("a"), run("b", cursor="2", loss=1.0), run("d", cursor="")]
    second = project.ingest(["lab:x"])
    assert (second.runs, second.new, second.replaced, second.unchanged) == (3, 1, 1, 1)
    assert lab.asked[1].known == {"lab:a": "1", "lab:b": "1"}
    project.ingest(["lab:x"])
    assert lab.asked[2].known == {"lab:a": "1", "lab:b": "2"}  # d came without a cursor
    Project(str(tmp_path), Mapping(columns={"params": "n"})).ingest(["lab:x"])
    assert lab.asked[3].known == {}  # another mapping reads the runs otherwise
    assert {r.final.get("params") for r in open_store(tmp_path).runs()} == {7.0}


def test_what_has_arrived_stays_when_the_source_breaks_off(lab: Lab, tmp_path: Path) -> None:
    lab.items = [run("a"), run("b"), UnreachableError("lab: gone")]
    with pytest.raises(UnreachableError, match="lab: gone"):
        Project(str(tmp_path), None).ingest(["lab:x"])
    assert [record.run_id for record in open_store(tmp_path).runs()] == ["a", "b"]


def test_ctrl_c_keeps_what_came_and_says_how_to_go_on(lab: Lab, tmp_path: Path) -> None:
    lab.items = [run("a"), run("b"), KeyboardInterrupt()]
    done = CliRunner().invoke(app, ["ingest", "lab:x", "--store", str(tmp_path / "s")])
    assert done.exit_code == 130
    assert done.stdout == ""
    assert "2 runs are in" in done.stderr
    assert "same command" in done.stderr
    lab.items = [run("a"), run("b"), run("c")]
    again = Project(str(tmp_path / "s"), None).ingest(["lab:x"])
    assert (again.new, again.unchanged) == (1, 2)


def test_commits_do_not_change_what_is_stored_or_told(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lossless = [run(f"l{i}", metric="accuracy") for i in range(3)]
    lab.items = [*lossless, *(run(f"r{i}", loss=i + 1.0) for i in range(4)), *lossless[:1]]
    whole = Project(str(tmp_path / "whole"), None).ingest(["lab:x"])
    monkeypatch.setattr(ingesting, "COMMIT_SECONDS", -1.0)  # each piece is late
    pieces = Project(str(tmp_path / "pieces"), None).ingest(["lab:x"])
    assert len(list((tmp_path / "pieces" / "_log").iterdir())) > 1
    assert (whole.mapped, whole.new) == (pieces.mapped, pieces.new)
    told = [
        {r.run_key: (r.final, r.summary, r.notes) for r in open_store(tmp_path / name).runs()}
        for name in ("whole", "pieces")
    ]
    assert told[0] == told[1]


def test_a_segment_without_any_loss_stops_the_ingest(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingesting, "SEGMENT_RUNS", 2)
    lab.items = [run("a", metric="x"), run("b", metric="y"), run("c")]
    with pytest.raises(InputError, match="no run has a loss"):
        Project(str(tmp_path / "s"), None).ingest(["lab:x"])
    assert not (tmp_path / "s").exists()


def test_progress_and_the_selection_reach_the_service(lab: Lab, tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []

    class Watch(Progress):
        def expect(self, runs: int) -> None:
            told.append(("expect", runs))

        def arrived(self, runs: int, rows: int) -> None:
            told.append(("rows", rows))

        def stored(self, runs: int) -> None:
            told.append(("stored", runs))

    lab.items = [run("a"), run("b")]
    Project(str(tmp_path / "s"), None).ingest(["lab:x"], progress=Watch())
    assert told == [("expect", 2), ("rows", 2), ("rows", 2), ("stored", 2)]
    options = ["--filter", "f", "--tag", "x,y", "--tag", "z", "--sweep", "s"]
    store = ["--store", str(tmp_path / "s")]
    assert CliRunner().invoke(app, ["ingest", "lab:x", *options, *store]).exit_code == 0
    select = lab.asked[-1].select
    assert (select.filter, select.tags, select.sweep) == ("f", ("x", "y", "z"), "s")
    refused = CliRunner().invoke(app, ["ingest", str(tmp_path), *options, *store])
    assert refused.exit_code == 2
    assert "--where" in refused.stderr


def test_a_terminal_shows_a_bar_and_standard_output_is_left_alone(tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    (tmp_path / "a.csv").write_text("step,loss\n" + "".join(f"{i},2.5\n" for i in range(1234)))
    code = "import sys; sys.argv[0] = 'scalefit'; from scaling_cli.cli import main; main()"
    master, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code, "ingest", "a.csv", "--json"],
        stdout=subprocess.PIPE,
        stderr=terminal,
        cwd=tmp_path,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(terminal)
    shown = b""
    with suppress(OSError):  # Linux's word for the end
        while piece := os.read(master, 1 << 12):
            shown += piece
    os.close(master)
    answer, _ = process.communicate()
    assert json.loads(answer)["new"] == 1
    assert b"1 runs, 1,234 rows" in shown


def histories(folder: Path, names: Sequence[str], loss: float = 2.0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.csv").write_text(f"step,loss\n1,3.0\n2,{loss}\n")


def test_ctrl_c_among_many_files_keeps_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(Progress):
        left = 3

        def arrived(self, runs: int, rows: int) -> None:
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt

    monkeypatch.setattr(reading, "PIECE_BYTES", 1)  # each file is one
    histories(tmp_path / "logs", "abcde")
    project = Project(str(tmp_path / "s"), None)
    with pytest.raises(KeyboardInterrupt):
        project.ingest([str(tmp_path / "logs")], progress=Stop())
    assert [record.run_id for record in open_store(tmp_path / "s").runs()] == ["a", "b"]
    again = project.ingest([str(tmp_path / "logs")])
    assert (again.new, again.replaced, again.unchanged) == (3, 0, 2)


def test_few_files_at_a_time_say_the_same_as_all_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = tmp_path / "logs"
    histories(logs / "bare", "ab")
    histories(logs / "described" / "deep", "cd")
    (logs / "described" / "runs.csv").write_text("run_id,params\nc,7\nd,8\nx,9\n")
    (logs / "bare" / "broken.csv").write_text("step,loss\n1,2,3\n4\n")
    histories(logs / "again", "a")  # the same run in another file
    settings = tmp_path / "settings.csv"
    settings.write_text("run_id,tokens\na,100\nc,300\n")
    sample = SAMPLES
    for name, size in (("whole", 1 << 40), ("pieces", 1)):
        monkeypatch.setattr(reading, "PIECE_BYTES", size)
        pieces = list(reading.stream(Sources.of([str(logs), str(sample)], meta=str(settings))))
        assert (len(pieces) > 10) == (name == "pieces")
        done = Project(str(tmp_path / name), None).ingest(
            Sources.of([str(logs), str(sample)], meta=str(settings))
        )
        stored = open_store(tmp_path / name)
        rows = {r.run_key: (r.config, r.final, r.summary, r.notes) for r in stored.runs()}
        told = repr(rows), done.new, done.mapped, done.notes
        if name == "whole":
            expected = told
        assert told == expected
    assert {r.run_id: r.final.get("params") for r in stored.runs()}["c"] == 7


def test_files_of_one_run_are_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorboardX import SummaryWriter

    monkeypatch.setattr(reading, "PIECE_BYTES", 1)
    for run_id in ("a", "b"):
        for session in range(2):
            with SummaryWriter(str(tmp_path / run_id), filename_suffix=f".{session}") as writer:
                writer.add_scalar("loss", 2.0, session)
        with SummaryWriter(str(tmp_path / run_id)) as writer:
            writer.add_hparams({"params": 7}, {"final": 1.0}, name="hparams")
    pieces = [piece.runs for piece in reading.stream(Sources.of(str(tmp_path))) if piece.runs]
    assert [[run.run_id for run in runs] for runs in pieces] == [["a"], ["b"]]
    for (run,) in pieces:
        assert run.config["params"] == 7
        assert run.series["loss"].steps.tolist() == [0, 1]


def test_two_runs_of_one_name_are_refused_wherever_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PIECE_BYTES", 1)
    histories(tmp_path / "x", "ab")
    histories(tmp_path / "y", "a", loss=1.0)
    with pytest.raises(InputError, match="both hold a run 'a', and they differ"):
        list(reading.stream(Sources.of(str(tmp_path))))


def calls_of(work: Callable[[], object]) -> int:
    """How many functions are called, Python's and C's, in this thread."""
    count = 0

    def called(frame: object, event: str, what: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "log"])
def test_twice_the_files_are_twice_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """Whether read first, as they were but for one, or not changed at all."""
    monkeypatch.setattr(reading, "PIECE_BYTES", 1)  # each file is one, as beyond 32 MB some are
    monkeypatch.setattr(ingesting, "SEGMENT_RUNS", 4)
    line = {"csv": "{0},{1}", "jsonl": '{{"step": {0}, "loss": {1}}}', "log": "step {0} loss {1}"}
    points = [line[suffix].format(step, 3 - step / 100) for step in range(8)]
    text = "\n".join([*(["step,loss"] if suffix == "csv" else []), *points, ""])

    def work(files: int) -> list[int]:
        logs, project = tmp_path / str(files), Project(str(tmp_path / f"store-{files}"), None)
        logs.mkdir()
        for number in range(files):
            (logs / f"run-{number}.{suffix}").write_text(text)
        counts = [calls_of(lambda: project.ingest([str(logs)]))]
        (logs / f"run-0.{suffix}").write_text(text + line[suffix].format(99, 1.5))
        return [*counts, *(calls_of(lambda: project.ingest([str(logs)])) for _ in range(2))]

    work(8)  # loads what is loaded once
    for few, twice, four_times in zip(*map(work, (9, 18, 36)), strict=True):
        assert four_times - twice < 2.3 * (twice - few)


def test_workers_read_what_one_process_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    histories(tmp_path / "logs", "abcdefgh")
    (tmp_path / "logs" / "broken.csv").write_text("step,loss\n1,2,3\n4\n")
    (tmp_path / "logs" / "x.jsonl").write_text('{"step": 1, "loss": 2}\n{"step": 2, "loss": 1}\n')
    sent = []

    def crew() -> AbstractContextManager[Mapper]:
        sent.append(True)
        return mapper(2)

    monkeypatch.setattr(reading, "PIECE_BYTES", 60)
    monkeypatch.setattr(reading, "_BATCH_BYTES", 50)
    told = []
    for workers in (None, crew):
        store = open_store(tmp_path / f"s{len(told)}", create=True)
        done = ingesting.ingest(store, Mapping(), Sources.of(str(tmp_path / "logs")), crew=workers)
        told.append((store.contents(), done.new, done.mapped, done.notes))
    assert sent
    assert told[0] == told[1]
    assert told[0][1] == 9


def test_two_loggers_of_one_run_are_told_of_as_it_is_read(tmp_path: Path) -> None:
    rows = [(s, 4.00001 - s / 3000, 1000 * s) for s in range(100, 2001, 100)]
    for name, text in (
        ("metrics.csv", "step,loss,tokens\n" + "".join(f"{s},{y},{t}\n" for s, y, t in rows)),
        (
            "train.log",
            "".join(f"step {s}/2000 | loss: {y:.4f} | tokens: {t}\n" for s, y, t in rows),
        ),
    ):
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run" / name).write_text(text)
    store = str(tmp_path / "store")
    for _ in range(2):  # also where nothing is read again
        done = open_project(store).ingest([tmp_path / "run"])
        (note,) = (n for n in done.notes if n.code == "same_run_twice")
        assert "csv:run" in note.message
        assert "console:run" in note.message


def test_a_run_that_another_file_replaces_is_told_of(tmp_path: Path) -> None:
    for name, loss in (("a.csv", 4.1), ("b.csv", 4.2)):
        (tmp_path / name).write_text(f"name,params,tokens,loss\nx,1e7,2e8,{loss}\ny,2e7,4e8,3\n")
    project = open_project(str(tmp_path / "store"))
    project.ingest([tmp_path / "a.csv"])
    (note,) = project.ingest([tmp_path / "b.csv"]).notes
    assert note.code == "replaced_from_elsewhere"
    assert note.message.startswith("x: the store had it from")
    assert "b.csv" in note.message
