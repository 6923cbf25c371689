"""Offline runs, written by the wandb client."""

from __future__ import annotations

import csv
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_cli.adapters import wandb_offline
from scaling_cli.adapters.reading import read_sources
from scaling_cli.errors import InputError
from scaling_cli.mapping import Mapping
from scaling_cli.records import Run
from scaling_cli.resolve import finals

CONFIG = {"params": 12736, "batch_tokens": 2048, "budget": 3e11, "recipe": "rotary", "tied": True}


def rows() -> Iterator[tuple[int, dict[str, float]]]:
    for step in range(3000):
        row = {"loss": 1 / (step + 1), "lr": 0.5 - step / 1e4}
        yield step, row | ({"eval": step * 0.1} if step % 10 == 0 else {})


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The client's `.wandb` files by run id; its service is started once for all of them."""
    wandb = pytest.importorskip("wandb")
    root = tmp_path_factory.mktemp("client")
    quiet: dict[str, Any] = {
        "console": "off",
        "silent": True,
        "disable_code": True,
        "disable_git": True,
        "save_code": False,
        "x_disable_meta": True,
        "x_disable_stats": True,
        "x_disable_machine_info": True,
        "x_save_requirements": False,
    }

    def started(run_id: str, **options: Any) -> Any:
        (root / run_id).mkdir()
        made = wandb.Settings(
            mode="offline",
            root_dir=str(root / run_id),
            entity="team",
            project="ladder",
            run_id=run_id,
            **options.pop("settings", {}),
            **quiet,
        )
        return wandb.init(settings=made, **options)

    try:
        run = started(
            "full",
            settings={"run_name": "A run", "run_group": "recipe"},
            config={"n": 1000000, "lr": 1e-3, "model": {"width": 8}, "was": 1, "text": "naïve"},
            tags=["x", "y"],
        )
    except Exception as error:  # the client has its own reasons, and none of them is ours
        pytest.skip(f"the wandb client cannot start: {error}")
    run.log({"loss": float("nan"), "up": float("inf"), "eval": {"loss": 2.0, "x": {"y": 1}}}, 0)
    run.log({"loss": 3, "phase": "warmup", "flag": True, "héé": 1.5, "none": None}, 5)
    run.log({"loss": 2.5e-300, "hist": wandb.Histogram([1, 2]), "long": "x" * 300}, 2**40)
    run.config.update({"was": 2, "late": [1, 2]}, allow_val_change=True)
    run.summary["n_params"] = 123
    run.finish()
    run = started("many", config=CONFIG)
    for step, row in rows():
        run.log(row, step=step)
    run.finish()
    run = started("bad")
    run.log({"loss": 1.0}, step=1)
    run.finish(exit_code=3)
    wandb.teardown()
    return {path.parts[len(root.parts)]: path for path in root.glob("*/wandb/offline-*/*.wandb")}


def only(path: Path) -> Run:
    (run,) = read_sources([path]).runs
    return run


def points(run: Run, metric: str) -> dict[int, float]:
    series = run.series[metric]
    return dict(zip(series.steps.tolist(), series.values.tolist(), strict=True))


def copy(data: bytes, folder: Path, name: str = "run-x.wandb") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return folder / name


def test_what_a_run_says_of_itself(runs: dict[str, Path]) -> None:
    run = only(runs["full"])
    assert (run.run_key, run.run_id, run.name) == ("wandb:team/ladder/full", "full", "A run")
    assert (run.group, run.tags, run.status) == ("recipe", ("x", "y"), "finished")
    assert run.created_at.startswith("20")
    assert only(runs["bad"]).status == "failed"


def test_config_and_what_the_summary_adds(runs: dict[str, Path]) -> None:
    config = only(runs["full"]).config
    expected = {"n": 1000000, "lr": 1e-3, "model.width": 8, "was": 2, "text": "naïve"}
    expected |= {"late": [1, 2], "n_params": 123, "phase": "warmup", "long": "x" * 300}
    assert config == expected
    assert isinstance(config["n"], int)


def test_values_of_every_kind(runs: dict[str, Path]) -> None:
    run = only(runs["full"])
    assert run.series["loss"].steps.tolist() == [0, 5, 2**40]
    assert np.array_equal(run.series["loss"].values, [np.nan, 3, 2.5e-300], equal_nan=True)
    assert points(run, "eval.loss") == {0: 2.0}
    assert points(run, "eval.x.y") == {0: 1.0}
    assert points(run, "flag") == {5: 1.0}
    assert points(run, "héé") == {5: 1.5}
    names = {"loss", "up", "eval.loss", "eval.x.y", "flag", "héé", "_timestamp", "_runtime"}
    assert set(run.series) == names
    assert [note.code for note in run.notes] == ["not_scalars", "non_finite"]
    assert run.notes[0].message == "media are left out: hist"


def test_every_row_is_read_over_many_pieces(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_offline, "_PIECE", 1 << 15)
    run = only(runs["many"])
    assert points(run, "loss") == {step: 1 / (step + 1) for step in range(3000)}
    assert points(run, "eval") == {step: step * 0.1 for step in range(0, 3000, 10)}
    assert run.notes == ()


def test_a_run_is_the_same_whichever_logger_recorded_it(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    lines = [{"step": step, **row} for step, row in rows()]
    written = "".join(json.dumps(line) + "\n" for line in [{"config": CONFIG}, *lines])
    (tmp_path / "many.jsonl").write_text(written)
    (tmp_path / "csv").mkdir()
    names = ["step", "loss", "lr", "eval"]
    for name, table_names, table in (
        ("many.csv", names, lines),
        ("runs.csv", ["run_id", *CONFIG], [{"run_id": "many", **CONFIG}]),
    ):
        with (tmp_path / "csv" / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, table_names)
            writer.writeheader()
            writer.writerows(table)
    tensorboardX = pytest.importorskip("tensorboardX")
    with tensorboardX.SummaryWriter(str(tmp_path / "many")) as events:
        for summary in tensorboardX.summary.hparams(CONFIG, {}):
            events.file_writer.add_summary(summary)
        for step, row in rows():
            for metric, value in row.items():
                events.add_scalar(metric, value, step)
    # One by one from 0 on: that W&B's count is the step is for the project to say.
    mapping = Mapping(columns={"eval": "eval", "step": "_step"})
    found = read_sources([tmp_path, runs["many"]], mapping).runs
    kinds = [run.run_key.partition(":")[0] for run in found]
    assert kinds == ["csv", "jsonl", "tensorboard", "wandb"]
    first, *others = finals(found, mapping).rows
    assert {"loss", "lr", "params", "tokens", "flops", "eval", "steps"} <= set(first.values)
    for run, row in zip(found[1:], others, strict=True):
        assert run.config == found[0].config
        # TensorBoard keeps 32 bits of a value.
        tolerance = 1e-7 if run.run_key.startswith("tensorboard") else 0.0
        assert row.values == pytest.approx(first.values, rel=tolerance, abs=0)
        assert row.mapped == first.mapped
        for metric in ("loss", "lr", "eval"):
            ours, theirs = run.series[metric], found[0].series[metric]
            assert np.array_equal(ours.steps, theirs.steps)
            assert np.allclose(ours.values, theirs.values, rtol=tolerance, atol=0)


def test_the_client_reads_the_same(runs: dict[str, Path]) -> None:
    """The oracle: the client's own protobuf classes."""
    pb = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    for name in ("full", "many"):
        data, rows = runs[name].read_bytes(), dict[str, dict[int, Any]]()
        for record in _records(data):
            parsed = pb.Record.FromString(record)
            for item in parsed.history.item:
                key = ".".join(item.nested_key) or item.key
                value = json.loads(item.value_json)
                if isinstance(value, float | int):
                    rows.setdefault(key, {})[parsed.history.step.num] = float(value)
        assert rows.keys() - {"_step"} == set(only(runs[name]).series)
        for metric, series in only(runs[name]).series.items():
            wanted = np.array(list(rows[metric].values()))
            wanted[~np.isfinite(wanted)] = np.nan
            assert series.steps.tolist() == list(rows[metric])
            assert np.array_equal(series.values, wanted, equal_nan=True)


def _records(data: bytes) -> Iterator[bytes]:
    pos, whole = 7, b""
    while pos + 7 <= len(data):
        if (1 << 15) - pos % (1 << 15) < 7:
            pos += (1 << 15) - pos % (1 << 15)
            continue
        checksum, size, kind = struct.unpack_from("<IHB", data, pos)
        assert zlib.crc32(data[pos + 6 : pos + 7 + size]) == checksum
        whole = (
            data[pos + 7 : pos + 7 + size]
            if kind in (1, 2)
            else (whole + data[pos + 7 : pos + 7 + size])
        )
        pos += 7 + size
        if kind in (1, 4):
            yield whole


def test_a_folder_of_the_client_is_one_run(runs: dict[str, Path]) -> None:
    folder = runs["full"].parents[1]
    assert (folder / "latest-run").is_symlink()
    (runs["full"].parent / "files" / "output.csv").write_text("step,loss\n1,2\n2,1\n")
    found = read_sources([folder])
    assert [run.run_id for run in found.runs] == ["full"]
    assert "latest-run" not in found.runs[0].source


def torn(data: bytes) -> bytes:
    """The first half, to the middle of a record: the name of its metric is cut in two."""
    return data[: data.index(b"loss", len(data) // 2) + 2]


def test_a_killed_run_is_unfinished(runs: dict[str, Path], tmp_path: Path) -> None:
    data = runs["many"].read_bytes()
    run = only(copy(torn(data), tmp_path))
    assert run.status == "unfinished"
    assert run.run_key == "wandb:team/ladder/many"
    loss = points(run, "loss")
    assert len(loss) > 1000
    assert loss == {step: 1 / (step + 1) for step in range(len(loss))}
    assert [note.code for note in run.notes] == ["damaged"]


def test_a_flipped_byte_costs_one_record(runs: dict[str, Path], tmp_path: Path) -> None:
    data = bytearray(runs["many"].read_bytes())
    data[data.index(b"lr", len(data) // 2)] ^= 1
    run = only(copy(bytes(data), tmp_path))
    assert len(run.series["loss"].steps) >= 2999
    assert run.status == "finished"
    assert "a part of it is damaged" in run.notes[0].message


def test_without_its_first_block_the_file_names_the_run(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    data = runs["many"].read_bytes()
    run = only(copy(data[:7] + bytes((1 << 15) - 7) + data[1 << 15 :], tmp_path, "run-q.wandb"))
    assert run.run_id == "q"
    assert len(run.series["loss"].steps) > 2500


def test_sessions_of_one_run_are_joined_in_the_order_of_their_starts(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    """The same run twice: what the later session logged again counts."""
    data = runs["many"].read_bytes()
    copy(data, tmp_path / "b")
    copy(torn(data), tmp_path / "a")
    (run,) = read_sources([tmp_path]).runs
    assert len(run.series["loss"].steps) == 3000
    assert run.status == "finished"
    assert [note.code for note in run.notes] == ["damaged", "restarted"]


@settings(max_examples=200)
@given(data=st.data())
def test_any_damage_gives_data_or_a_message(
    runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    sample = runs["full"].read_bytes()
    broken = bytearray(sample)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(broken) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "splice", "length", "zeros", "forge"]))
        if kind == "flip":
            broken[at] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "cut":
            del broken[max(at, 8) :]
        elif kind == "splice":
            other = data.draw(st.integers(0, len(sample)))
            broken[at:at] = sample[other : other + data.draw(st.integers(0, 500))]
        elif kind == "length":
            broken[at : at + 8] = b"\xff" * data.draw(st.integers(1, 8))
        elif kind == "zeros":
            broken[at : at + 20] = bytes(20)
        else:
            _forge(broken, at, data.draw(st.integers(0, 255)))
    path = copy(bytes(broken), tmp_path_factory.mktemp("d"))
    try:
        found = read_sources([path])
    except InputError as error:
        assert "no runs to read" in str(error)  # noqa: PT017
        return
    assert found.runs


def _forge(data: bytearray, at: int, byte: int) -> None:
    """Change a byte of a record and mend the checksum, so that the damage gets past it."""
    pos = 7
    while pos + 7 <= len(data):
        size = int.from_bytes(data[pos + 4 : pos + 6], "little")
        if pos + 7 <= at < pos + 7 + size <= len(data):
            data[at] = byte
            data[pos : pos + 4] = zlib.crc32(data[pos + 6 : pos + 7 + size]).to_bytes(4, "little")
        pos += 7 + size
