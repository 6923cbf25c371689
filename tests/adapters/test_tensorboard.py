"""Event files, written by tensorboardX."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_cli.adapters import tensorboard
from scaling_cli.adapters.crc32c import FRONT, crc32c, masked
from scaling_cli.adapters.reading import Ingested, read_sources
from scaling_cli.errors import InputError
from scaling_cli.records import Run

tensorboardX = pytest.importorskip("tensorboardX")


def write(folder: Path, steps: Sequence[int], offset: float = 0.0) -> Path:
    """A file of scalars `loss` and `lr`; returns it."""
    known = set(folder.glob("*"))
    # The writer would write over a file that was begun in the same second.
    with tensorboardX.SummaryWriter(str(folder), filename_suffix=f".{len(known)}") as writer:
        for step in steps:
            writer.add_scalar("loss", 1 / (step + 1) + offset, step)
            writer.add_scalar("lr", 0.5, step)
    (made,) = set(folder.glob("*")) - known
    return made


def later(path: Path, seconds: int) -> Path:
    """The file as if it had been begun later: the time in its name tells the order."""
    parts = path.name.split(".")
    return path.rename(path.with_name(".".join([*parts[:3], str(int(parts[3]) + seconds), "host"])))


def only(found: Ingested) -> Run:
    (run,) = found.runs
    return run


def points(run: Run, metric: str) -> dict[int, float]:
    series = run.series[metric]
    return dict(zip(series.steps.tolist(), series.values.tolist(), strict=True))


def test_a_folder_is_a_run_named_below_the_folder_that_was_given(tmp_path: Path) -> None:
    write(tmp_path / "a" / "x", range(3))
    write(tmp_path / "b", range(2))
    found = read_sources([tmp_path])
    assert [run.run_key for run in found.runs] == ["tensorboard:a/x", "tensorboard:b"]
    assert only(read_sources([tmp_path / "b"])).run_key == "tensorboard:b"
    assert only(read_sources([next((tmp_path / "b").iterdir())])).run_key == "tensorboard:b"
    run = found.runs[0]
    assert points(run, "loss") == {0: 1.0, 1: 0.5, 2: np.float32(1 / 3)}
    assert (run.status, run.notes, run.created_at[:2]) == ("finished", (), "20")


def test_every_point_is_read_over_many_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorboard, "_PIECE", 1000)
    write(tmp_path / "r", range(2000))
    run = only(read_sources([tmp_path]))
    assert run.series["loss"].steps.tolist() == list(range(2000))
    assert np.array_equal(run.series["loss"].values, np.float32(1 / (np.arange(2000) + 1)))


@pytest.mark.parametrize(
    ("dtype", "fields", "value"),
    [
        ("DT_FLOAT", {"float_val": [0.1]}, np.float32(0.1)),
        ("DT_FLOAT", {"tensor_content": struct.pack("<f", 0.1)}, np.float32(0.1)),
        ("DT_FLOAT", {}, 0.0),
        ("DT_DOUBLE", {"double_val": [0.1]}, 0.1),
        ("DT_DOUBLE", {"tensor_content": struct.pack("<d", 0.1)}, 0.1),
        ("DT_HALF", {"half_val": [0x3E00]}, 1.5),
        ("DT_HALF", {"tensor_content": struct.pack("<e", 1.5)}, 1.5),
        ("DT_BFLOAT16", {"half_val": [0x3FC0]}, 1.5),
        ("DT_BFLOAT16", {"tensor_content": b"\xc0\x3f"}, 1.5),
        ("DT_INT32", {"int_val": [-7]}, -7.0),
        ("DT_INT64", {"int64_val": [-(1 << 40)]}, -float(1 << 40)),
        ("DT_INT64", {"tensor_content": struct.pack("<q", 1 << 40)}, float(1 << 40)),
        ("DT_BOOL", {"bool_val": [True]}, 1.0),
        ("DT_STRING", {"string_val": [b"x"]}, None),
    ],
)
def test_scalars_in_tensors(tmp_path: Path, dtype: str, fields: Any, value: float | None) -> None:
    from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboardX.proto.tensor_pb2 import TensorProto

    plugin = SummaryMetadata.PluginData(plugin_name="scalars")
    with tensorboardX.SummaryWriter(str(tmp_path / "r")) as writer:
        for step in range(3):  # the metadata stand with the first value only
            metadata = SummaryMetadata(plugin_data=plugin) if step == 0 else None
            tensor = TensorProto(dtype=dtype, **fields)
            held = Summary.Value(tag="x", tensor=tensor, metadata=metadata)
            writer.file_writer.add_summary(Summary(value=[held]), step)
        writer.add_scalar("y", 1.0, 0)
    run = only(read_sources([tmp_path]))
    if value is None:
        assert "x" not in run.series
    else:
        assert points(run, "x") == dict.fromkeys(range(3), value)


def test_what_is_no_scalar_is_told(tmp_path: Path) -> None:
    with tensorboardX.SummaryWriter(str(tmp_path / "r")) as writer:
        writer.add_scalar("loss", 1.0, 5)
        writer.add_scalar("loss", float("nan"), 6)
        writer.add_histogram("weights", np.arange(10.0), 5)
        writer.add_text("note", "hello", 5)
    run = only(read_sources([tmp_path]))
    assert list(run.series) == ["loss"]
    assert [note.code for note in run.notes] == ["not_scalars", "non_finite"]
    assert "2 tags hold no scalars and are left out: weights, note" in run.notes[0].message


def test_hyperparameters_are_the_config_with_whole_numbers_as_such(tmp_path: Path) -> None:
    from tensorboardX.summary import hparams

    settings = {"n_params": 1000000, "lr": 1e-3, "name": "gpt", "tied": True, "off": False}
    with tensorboardX.SummaryWriter(str(tmp_path / "r")) as writer:
        for summary in hparams(settings, {"loss": 0.0}):
            writer.file_writer.add_summary(summary)
        writer.add_scalar("loss", 2.0, 1)
    run = only(read_sources([tmp_path]))
    assert run.config == settings
    assert isinstance(run.config["n_params"], int)
    assert (run.name, run.status, run.notes) == ("gpt", "finished", ())


def test_the_folder_that_add_hparams_makes_is_part_of_its_run(tmp_path: Path) -> None:
    with tensorboardX.SummaryWriter(str(tmp_path / "r")) as writer:
        writer.add_scalar("loss", 3.0, 1)
        writer.add_scalar("loss", 2.0, 2)
        writer.add_hparams({"n": 8}, {"final": 1.5}, name="h")
    assert (tmp_path / "r" / "h").is_dir()
    run = only(read_sources([tmp_path]))
    assert (run.run_id, run.config, sorted(run.series)) == ("r", {"n": 8}, ["final", "loss"])


def test_what_a_restart_logged_again_replaces_the_older_points(tmp_path: Path) -> None:
    write(tmp_path / "r", range(100))
    later(write(tmp_path / "r", range(60, 80), offset=5.0), 10)
    run = only(read_sources([tmp_path]))
    loss = points(run, "loss")
    assert list(loss) == list(range(80))
    assert (loss[59] < 5, loss[60] > 5) == (True, True)
    assert [note.code for note in run.notes] == ["restarted"]
    assert run.notes[0].message.startswith("80 points")  # 40 steps of two tags


def test_writers_of_different_tags_share_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "r", range(10))
    with tensorboardX.SummaryWriter(str(tmp_path / "r"), filename_suffix=".eval") as writer:
        writer.add_scalar("eval", 1.0, 3)
    run = only(read_sources([tmp_path]))
    assert [len(run.series[name].steps) for name in ("loss", "lr", "eval")] == [10, 10, 1]


def test_a_purge_drops_every_tag_from_its_step(tmp_path: Path) -> None:
    write(tmp_path / "r", range(100))
    options = {"purge_step": 50, "filename_suffix": ".1"}
    with tensorboardX.SummaryWriter(str(tmp_path / "r"), **options) as writer:
        writer.add_scalar("loss", 9.0, 60)
    later(next((tmp_path / "r").glob("*.1")), 10)
    run = only(read_sources([tmp_path]))
    assert list(points(run, "lr")) == list(range(50))
    assert list(points(run, "loss")) == [*range(50), 60]


def test_damage_gives_what_stands_before_it(tmp_path: Path) -> None:
    file = write(tmp_path / "r", range(100))
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    run = only(read_sources([tmp_path]))
    assert (list(points(run, "loss")), run.status) == (list(range(100)), "unfinished")
    assert list(points(run, "lr")) == list(range(99))
    assert [note.code for note in run.notes] == ["damaged"]
    assert "is cut off; what stands before it is read" in run.notes[0].message
    flipped = bytearray(whole)
    at = whole.index(b"loss", len(whole) // 2)
    flipped[at + 1] ^= 1
    file.write_bytes(flipped)
    run = only(read_sources([tmp_path]))
    assert sorted(run.series) == ["loss", "lr"]
    assert 40 < len(run.series["loss"].steps) < 60
    assert "is damaged" in run.notes[0].message
    file.write_bytes(whole + bytes(1000))  # room that was never written to
    assert len(only(read_sources([tmp_path])).series["loss"].steps) == 100


def test_a_file_without_points_is_told(tmp_path: Path) -> None:
    write(tmp_path / "a", range(2))
    write(tmp_path / "b", [])
    found = read_sources([tmp_path])
    assert [run.run_id for run in found.runs] == ["a"]
    assert [note.code for note in found.notes] == ["no_points"]


def test_checksums_of_all_lengths() -> None:
    def slow(data: bytes) -> int:
        state = 0xFFFFFFFF
        for byte in data:
            state ^= byte
            for _ in range(8):
                state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
        return state ^ 0xFFFFFFFF

    assert slow(b"123456789") == 0xE3069283  # the check value of the CRC catalogues
    sizes = np.array([0, 1, 2, 3, 8, 63, 64, 65, 129, 2048, 2049, 4095, 4097, 9000])
    content = np.random.default_rng(0).bytes(int(sizes.sum()))
    data = np.frombuffer(FRONT + content + bytes(32), np.uint8)
    start = np.cumsum(sizes) - sizes + len(FRONT)
    expected = [
        slow(data[s : s + n].tobytes()) for s, n in zip(start.tolist(), sizes.tolist(), strict=True)
    ]
    assert crc32c(data, start, sizes).tolist() == expected
    assert masked(np.array([0])).tolist() == [0xA282EAD8]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("sample") / "r"
    with tensorboardX.SummaryWriter(str(folder)) as writer:
        for step in range(30):
            writer.add_scalar("loss", 1.0, step)
        writer.add_hparams({"n": 1}, {"final": 1.0}, name=".")
        writer.add_histogram("h", np.arange(5.0), 1)
    return b"".join(path.read_bytes() for path in sorted(folder.glob("*tfevents*")))


@settings(max_examples=200)
@given(st.data())
def test_any_damage_gives_data_or_a_message(
    sample: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    broken = bytearray(sample)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(broken) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "splice", "length", "zeros", "forge"]))
        if kind == "flip":
            broken[at] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "cut":
            del broken[max(at, 1) :]
        elif kind == "splice":
            other = data.draw(st.integers(0, len(sample)))
            broken[at:at] = sample[other : other + data.draw(st.integers(0, 500))]
        elif kind == "length":
            broken[at : at + 8] = b"\xff" * data.draw(st.integers(1, 8))
        elif kind == "zeros":
            broken[at : at + 20] = bytes(20)
        else:
            _forge(broken, at, data.draw(st.binary(min_size=1, max_size=8)))
    folder = tmp_path_factory.mktemp("d")
    (folder / "events.out.tfevents.1.h").write_bytes(bytes(broken))
    try:
        found = read_sources([folder])
    except InputError as error:
        assert "no runs to read" in str(error)  # noqa: PT017
        return
    for run in found.runs:
        assert sum(len(series.steps) for series in run.series.values()) <= len(broken) // 16


def _forge(data: bytearray, at: int, content: bytes) -> None:
    """Change bytes of a record and mend its checksum, so that the damage gets past it."""
    pos = 0
    while pos + 16 <= len(data):
        size = int.from_bytes(data[pos : pos + 8], "little")
        start, stop = pos + 12, pos + 12 + size
        if stop + 4 > len(data):
            return
        if start <= at < stop:
            data[at : at + len(content)] = content[: stop - at]
            held = np.frombuffer(FRONT + data[start:stop] + bytes(32), np.uint8)
            sums = masked(crc32c(held, np.array([len(FRONT)]), np.array([size])))
            data[stop : stop + 4] = int(sums[0]).to_bytes(4, "little")
        pos = stop + 4


def shown(folder: Path) -> Any:
    """Everything that a read gives, in its order."""
    try:
        found = read_sources([folder])
    except InputError as error:
        return str(error)
    series = [
        [(name, s.steps.tolist(), s.values.tobytes()) for name, s in run.series.items()]
        for run in found.runs
    ]
    return found.notes, [replace(run, series={}) for run in found.runs], series


def fresh(folder: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensorboard, "_HELD", tensorboard._Held())
        return shown(folder)


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file with all that later records may change: settings that are logged again, a tag whose
    metadata stand with its first value or come late, sessions that purge, steps that come again."""
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboardX.proto.tensor_pb2 import TensorProto
    from tensorboardX.summary import hparams

    folder = tmp_path_factory.mktemp("grown") / "r"
    plugin = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"))
    with tensorboardX.SummaryWriter(str(folder)) as writer:
        for step in range(40):
            writer.add_scalar("loss", float("nan") if step == 9 else 1 / (step + 1), step % 30)
            for tag, described in (("first", 0), ("late", 20)):
                metadata = plugin if step == described else None
                tensor = TensorProto(dtype="DT_FLOAT", float_val=[step])
                held = Summary.Value(tag=tag, tensor=tensor, metadata=metadata)
                writer.file_writer.add_summary(Summary(value=[held]), step)
            if step % 12 == 5:
                for summary in hparams({"n": step}, {"final": 1.0}):
                    writer.file_writer.add_summary(summary)
                writer.add_text("note", "hello", step)
            if step in (15, 30):
                log = SessionLog(status=SessionLog.START)
                writer.file_writer.add_event(Event(session_log=log), step - 5)
    (file,) = folder.iterdir()
    return file.read_bytes()


def test_a_file_reads_the_same_in_whatever_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grown: bytes
) -> None:
    (tmp_path / "events.out.tfevents.1.h").write_bytes(grown)
    whole = fresh(tmp_path)
    assert whole[1][0].config == {"n": 5}
    assert [name for name, *_ in whole[2][0]] == ["loss", "first", "late"]
    for size in (50, 1000):
        monkeypatch.setattr(tensorboard, "_PIECE", size)
        assert fresh(tmp_path) == whole


@settings(max_examples=60)
@given(st.data())
def test_a_file_that_changes_reads_as_if_for_the_first_time(
    grown: bytes, sample: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("d")
    file = folder / "events.out.tfevents.1.h"
    content, size = grown, data.draw(st.integers(0, len(grown)))
    for _ in range(data.draw(st.integers(2, 6))):
        kind = data.draw(st.sampled_from(["grow", "grow", "grow", "cut", "replace", "flip"]))
        if kind == "grow":
            size = data.draw(st.integers(min(size, len(content)), len(content)))
        elif kind == "cut":
            size = data.draw(st.integers(0, min(size, len(content))))
        elif kind == "replace":
            content = sample if content is grown else grown
        else:
            at = data.draw(st.integers(0, len(content) - 1))
            content = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        file.write_bytes(content[:size])
        assert shown(folder) == fresh(folder)


def test_only_what_is_new_in_a_file_is_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "r", range(100))
    whole = file.read_bytes()
    parsed = []
    take = tensorboard._File.take

    def counting(self: Any, data: Any, start: Any, stop: Any) -> None:
        parsed.append(len(start))
        take(self, data, start, stop)

    monkeypatch.setattr(tensorboard._File, "take", counting)

    def events_of(content: bytes) -> int:
        file.write_bytes(content)
        parsed.clear()
        run = only(read_sources([tmp_path]))
        run.series["lr"].values[:] = 0  # what a caller does with a run stays with the caller
        assert run.series["loss"].values[0] == 1.0
        return sum(parsed)

    assert events_of(whole[:-5]) == 200  # one for the version of the file, and the last is cut
    assert events_of(whole) == 1
    assert events_of(whole) == 0
    assert points(only(read_sources([tmp_path])), "lr") == dict.fromkeys(range(100), 0.5)
    assert events_of(whole[:1000]) < 50


def test_what_is_held_of_growing_files_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(8):
        write(tmp_path / f"r{number}", range(50))
    held = tensorboard._Held()
    monkeypatch.setattr(tensorboard, "_HELD", held)
    monkeypatch.setattr(tensorboard, "_HELD_BYTES", 20000)
    for _ in range(2):
        assert len(read_sources([tmp_path]).runs) == 8
        assert [Path(source).parent.name for source in held.files] == ["r5", "r6", "r7"]
        assert 0 < held.size == sum(size for _, size in held.files.values()) <= 20000
    monkeypatch.setattr(tensorboard, "_HELD_BYTES", 100)
    assert len(read_sources([tmp_path]).runs) == 8
    assert (held.files, held.size) == ({}, 0)
