"""What holds for sources whatever their format."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from scaling_cli.adapters import jsonl
from scaling_cli.adapters.base import Adapter, Request, Service, Unchanged
from scaling_cli.adapters.files import Found
from scaling_cli.adapters.reading import read_sources, stream
from scaling_cli.adapters.registry import adapters
from scaling_cli.errors import InputError
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.records import Run
from scaling_cli.sources import Sources

HISTORY = "step,loss\n1,3\n2,2\n"


def test_a_folder_is_walked_and_what_is_no_run_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "r2.jsonl").write_text('{"step": 1, "loss": 2}\n{"step": 2, "loss": 1}\n')
    (tmp_path / "a.csv").write_text(HISTORY)
    (tmp_path / ".hidden.csv").write_text("x")
    (tmp_path / ".partial").mkdir()
    (tmp_path / ".partial" / "c.csv").write_text(HISTORY)
    (tmp_path / "README.md").write_text("step, loss\n1, 2\n")
    (tmp_path / "train.py").write_text("import a, b\nprint(1, 2)\n")
    (tmp_path / "tokenizer.json").write_text('{"n": 1}\n')
    (tmp_path / "scalefit.toml").write_text("[columns]\n")
    (tmp_path / "image.bin").write_bytes(b"\0\1\2")
    (tmp_path / "b" / "loop").symlink_to(tmp_path, target_is_directory=True)
    found = read_sources([tmp_path])
    assert [run.run_key for run in found.runs] == ["csv:a", "jsonl:r2"]
    (note,) = found.notes
    assert (note.code, note.severity) == ("files_not_known", "info")
    assert "5 files held no runs" in note.message
    assert "2 settings files, 1 document, 1 checkpoint or array, 1 source file" in note.message


def test_what_holds_no_run_is_told_and_keeps_no_other_run_out(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HISTORY)
    (tmp_path / "b.csv").write_text("step,loss\n1.5,3\n2,2\n")
    (tmp_path / "events.out.tfevents.1.host").write_bytes(b"\x18\0\0")
    (tmp_path / "run-x.wandb").write_bytes(b":W&B\xe1\xbe\0")
    (tmp_path / "trainer_state.json").write_text('{"log_history": [')
    found = read_sources([tmp_path])
    assert [run.run_key for run in found.runs] == ["csv:a"]
    assert {note.code for note in found.notes} == {"no_points", "unreadable"}
    with pytest.raises(InputError, match=r"there are no runs to read; .*run-x\.wandb holds no run"):
        read_sources([tmp_path / "run-x.wandb"])


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("nowhere.csv", None, r"nowhere\.csv does not exist"),
        ("empty.csv", b"", r"empty\.csv is empty"),
        ("empty.jsonl", b"", r"empty\.jsonl is empty"),
        ("x.bin", b"\0\1", r"x\.bin is in no format that is known. There are"),
        ("notes.md", b"# hello\n", r"notes\.md is in no format"),
        ("t.csv.gz", b"\x1f\x8b\x08broken", r"t\.csv\.gz is not a whole gzip"),
    ],
)
def test_a_named_file_has_to_be_readable(
    tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        read_sources([tmp_path / name])
    assert caught.value.exit_code == 2
    assert caught.value.mend


def test_addresses_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="comet:me/project: no such kind of source"):
        read_sources(["comet:me/project"])
    with pytest.raises(InputError, match="there are no runs to read"):
        read_sources([tmp_path])


@pytest.mark.parametrize(
    "damaged", [b"\0" * 900, bytes(range(256)) * 9, "s,l\n1,2".encode("utf-16")]
)
def test_a_damaged_table_in_a_folder_is_a_note(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "a.csv").write_text("step,loss\n1,2\n2,1\n")
    (tmp_path / "b.csv").write_bytes(damaged)
    found = read_sources([tmp_path])
    assert [run.run_id for run in found.runs] == ["a"]
    assert [note.code for note in found.notes] == ["unreadable"]
    assert "b.csv" in found.notes[0].message


def test_an_empty_file_in_a_folder_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HISTORY)
    (tmp_path / "b.csv").write_text("")
    assert [note.code for note in read_sources([tmp_path]).notes] == ["empty_file"]


def test_the_format_can_be_said(tmp_path: Path) -> None:
    (tmp_path / "t.data").write_text(HISTORY)
    assert read_sources(Sources.of([tmp_path / "t.data"], as_format="csv")).runs[0].run_id == "t"
    with pytest.raises(InputError, match=r"`as_format=` cvs: no such format\. Near names: csv"):
        read_sources(Sources.of([tmp_path / "t.data"], as_format="cvs"))


def test_the_group_of_the_command_line_counts(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("run_id,group,loss\na,x,1\nb,x,2\n")
    runs = read_sources(Sources.of([tmp_path / "t.csv"], group="mine")).runs
    assert [(run.group, run.config["group"]) for run in runs] == [("mine", "x"), ("mine", "x")]


def test_two_files_with_one_run_are_an_error_unless_they_are_equal(tmp_path: Path) -> None:
    for folder in ("p", "q"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "r.csv").write_text(HISTORY)
    assert len(read_sources([tmp_path]).runs) == 1
    (tmp_path / "q" / "r.csv").write_text(HISTORY + "3,1\n")
    with pytest.raises(InputError, match=r"q/r\.csv and .*p/r\.csv both hold a run 'r'"):
        read_sources([tmp_path])


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HISTORY)
    (tmp_path / "link.csv").symlink_to(tmp_path / "a.csv")
    assert len(read_sources([tmp_path / "a.csv", tmp_path]).runs) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_unreachable(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HISTORY)
    (tmp_path / "a.csv").chmod(0)
    with pytest.raises(Exception, match=r"a\.csv cannot be read: Permission denied"):
        read_sources([tmp_path / "a.csv"])


def test_a_large_file_of_data_is_passed_over_by_its_first_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_text(HISTORY)
    rows = [json.dumps({"text": "lorem ipsum", "n": n}) for n in range(80_000)]
    (tmp_path / "data.jsonl").write_text("\n".join(rows))
    read: list[str] = []
    whole = jsonl.read_bytes

    def counting(path: Path, source: str) -> bytes:
        data = whole(path, source)
        read.append(f"{source}: {len(data) > 1 << 17}")
        return data

    monkeypatch.setattr(jsonl, "read_bytes", counting)
    found = read_sources(tmp_path)
    assert [run.run_id for run in found.runs] == ["a"]
    assert [note.code for note in found.notes] == ["not_runs"]
    assert not any(line.endswith("True") for line in read)
    # What tells of training is read to its end, however late.
    rows[0] = '{"step": 1, "loss": 3.0, "n": 0}'
    (tmp_path / "data.jsonl").write_text("\n".join(rows))
    read_sources(tmp_path)
    assert any(line.endswith("True") for line in read)


def test_of_a_mixed_folder_all_logs_are_read_and_the_rest_is_named_by_kind(tmp_path: Path) -> None:
    rows = [(s, 5 - s / 100) for s in range(10, 210, 10)]
    kinds: dict[str, tuple[int, bytes]] = {
        "r{}.csv": (20, b"step,loss\n" + b"".join(b"%d,%f\n" % row for row in rows)),
        "j{}.jsonl": (20, b"".join(b'{"step": %d, "loss": %f}\n' % row for row in rows)),
        "c{}.log": (20, b"".join(b"step %d/200 | loss: %f\n" % row for row in rows)),
        "p{}.py": (30, b"import os\nstep, loss = 1, 2\n" * 40),
        "y{}.yaml": (40, b"a: 1\nb: 2\n"),
        "m{}.md": (50, b"# notes\n\nstep 1: loss was fine\n"),
        "w{}.bin": (60, bytes(range(256)) * 40),
        "t{}.txt": (70, b"lorem ipsum dolor\n" * 90),
        "s{}.csv": (80, b"model,score\na,1\nb,2\n"),
    }
    for name, (count, content) in kinds.items():
        for i in range(count):
            path = tmp_path / f"folder{i % 7}" / name.format(i)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
    found = read_sources(tmp_path)
    assert len(found.runs) == 60
    notes = {note.code: note.message for note in found.notes}
    assert "250 files held no runs" in notes["files_not_known"]
    for told in ("70 .txt texts", "60 checkpoint or arrays", "50 documents", "40 settings files",
                 "30 source files"):  # fmt: skip
        assert told in notes["files_not_known"]
    assert notes["not_runs"].startswith("80 files with no loss")


def test_a_packed_file_that_is_cut_off_keeps_no_other_out(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HISTORY)
    record = b"\x18" + bytes(7) + bytes(4) + bytes(24) + bytes(4)
    packed = gzip.compress(record * 4000 + os.urandom(1 << 17))
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "events.out.tfevents.1.host.gz").write_bytes(packed[:-9000])
    found = read_sources(tmp_path)
    assert [run.run_id for run in found.runs] == ["a"]


def _of_third(path: Path, source: str, mapping: Mapping) -> Iterator[Run]:
    if path.read_bytes().startswith(b"THIRD BAD"):
        raise KeyError("depth")
    yield Run(f"third:{path.stem}", path.stem, source, config={"loss": 1.0})


def _is_third(path: Path, head: bytes) -> bool:
    if head.startswith(b"THIRD WORSE"):
        raise ValueError("no judgement")
    return head.startswith(b"THIRD")


def _together(files: Sequence[Found], mapping: Mapping) -> Iterator[Run | Note]:
    for file in files:
        yield from _of_third(file.path, file.source, mapping)


def _each(files: Sequence[Found]) -> list[list[Found]]:
    return [[file] for file in files]


THIRD = Adapter("third", _is_third, _of_third)
TOGETHER = Adapter("third", _is_third, read_together=_together, apart=_each)


@pytest.mark.parametrize("third", [THIRD, TOGETHER], ids=["read", "read_together"])
def test_an_adapter_of_another_package_fails_for_its_file_alone(
    tmp_path: Path, third: Adapter, others: Callable[..., None]
) -> None:
    others(third)
    (tmp_path / "good.csv").write_text(HISTORY)
    (tmp_path / "bad.3rd").write_bytes(b"THIRD BAD")
    (tmp_path / "fine.3rd").write_bytes(b"THIRD")
    (tmp_path / "worse.3rd").write_bytes(b"THIRD WORSE")
    found = read_sources(tmp_path)
    assert [run.run_key for run in found.runs] == ["csv:good", "third:fine"]
    said = [note.message for note in found.notes if note.code == "adapter_failed"]
    for message, name, cause in zip(
        sorted(said), ("bad", "worse"), ("KeyError: 'depth'", "no judgement"), strict=True
    ):
        assert (
            f"{name}.3rd: its adapter 'third' (lab_package.reader), of another package" in message
        )
        assert cause in message
    with pytest.raises(InputError, match=r"bad\.3rd: its adapter 'third'.*KeyError"):
        read_sources(tmp_path / "bad.3rd")


def test_what_another_adapter_fails_at_in_a_look_is_said_once(
    tmp_path: Path, others: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        raise KeyError("look")

    monkeypatch.setattr("scaling_cli.adapters.reading.PIECE_BYTES", 1)
    for name in "ab":
        (tmp_path / f"{name}.3rd").write_bytes(b"THIRD")
    for third in (
        Adapter("third", _is_third, _of_third, shows_history=fails),
        Adapter("third", _is_third, read_together=_together, apart=fails),
    ):
        others(third)
        found = read_sources(tmp_path)
        assert [run.run_key for run in found.runs] == ["third:a", "third:b"]
        (note,) = found.notes
        assert note.code == "adapter_failed"
        assert "its adapter 'third'" in note.message
        assert "KeyError: 'look'" in note.message


@pytest.mark.parametrize(
    ("loaded", "says"),
    [
        (ImportError("no module lab_base"), "ImportError: no module lab_base"),
        (object(), "object is no Adapter and no Service"),
        (Adapter("csv", _is_third, _of_third), "'csv' is there already"),
    ],
)
def test_an_adapter_that_cannot_be_used_keeps_nothing_out(
    tmp_path: Path, loaded: Any, says: str, others: Callable[..., None]
) -> None:
    others(loaded)
    (tmp_path / "good.csv").write_text(HISTORY)
    found = read_sources(tmp_path)
    assert [run.run_key for run in found.runs] == ["csv:good"]
    (note,) = found.notes
    assert note.code == "adapter_failed"
    assert "lab_package.reader" in note.message
    assert says in note.message


def test_a_service_of_another_package_that_fails_is_named(
    tmp_path: Path, others: Callable[..., None]
) -> None:
    def fetch(source: str, request: Request) -> Iterator[Run | Unchanged | Note]:
        raise KeyError("depth")
        yield

    others(Service("lab", lambda place: place.startswith("lab:"), fetch))
    with pytest.raises(InputError, match=r"lab:x: its adapter 'lab' \(lab_package.reader\)"):
        list(stream(Sources.of("lab:x")))


def test_an_adapter_reads_files_alone_or_together() -> None:
    with pytest.raises(ValueError, match="give read or read_together"):
        Adapter("neither", _is_third)


@pytest.mark.parametrize("adapter", adapters().values(), ids=lambda adapter: adapter.name)
def test_every_adapter_leaves_the_others_files_alone(adapter: Adapter) -> None:
    heads = {
        "csv": ("t.csv", b"step,loss\n1,2\n"),
        "jsonl": ("t.jsonl", b'{"step": 1}\n{"step": 2}\n'),
        "tensorboard": ("events.out.tfevents.1.h", b"\x18\0\0\0"),
        "wandb-offline": ("run-1.wandb", b":W&B\xe1\xbe\0"),
        "trainer-state": ("trainer_state.json", b'{\n  "epoch": 1,\n  "log_history": [\n    {'),
        "trackio": ("p.db", b"SQLite format 3\0"),
        "console": ("t.log", b"step 1/9 (1%) | loss: 3\nstep 2/9 (2%) | loss: 2\n"),
        "mlflow": ("0/meta.yaml", b"experiment_id: '0'\nname: x\n"),
        "dvclive": ("r/plots/metrics/loss.tsv", b"timestamp\tstep\tloss\n1\t1\t3\n"),
        "parquet": ("t.parquet", b"PAR1\x15\x04"),
    }
    assert heads.keys() == adapters().keys()
    for name, (file, head) in heads.items():
        if (adapter.name, name) == ("csv", "dvclive"):
            continue  # it is a table too, and csv is asked last
        assert adapter.recognises(Path(file), head) == (name == adapter.name)
