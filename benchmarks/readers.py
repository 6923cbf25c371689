"""Readers of run logs beside the usual ways: the same arrays, from files of the real writers."""

from __future__ import annotations

import importlib.util
import json
import re
import struct
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import folders
from benchmarks.rows import seconds
from scaling_cli.adapters import tensorboard
from scaling_cli.adapters.reading import read_sources

title = "Readers: TensorBoard, offline W&B, JSON lines, console logs"
SCALARS = 200_000  # in 4 runs of 5 tags
WANDB_ROWS, WANDB_KEYS = 20_000, 11
LINES = 200_000
LOGS, SCRIPT = 50, 100_000
Points = dict[str, tuple[Any, Any]]


def event_files(folder: Path) -> None:
    from tensorboardX import SummaryWriter

    for run in range(4):
        with SummaryWriter(str(folder / f"run-{run}")) as writer:
            for step in range(SCALARS // 20):
                for tag in ("train/loss", "val/loss", "lr", "grad_norm", "tokens"):
                    writer.add_scalar(tag, 1 / (step + 1), step)


def growth(folder: Path) -> list[float]:
    """Processor seconds of reading event files for the first time, and after 1 % growth."""
    whole = {path: path.read_bytes() for path in folder.rglob("*tfevents*")}
    spent = [0.0, 0.0]
    for _ in range(3):
        for path, content in whole.items():
            path.write_bytes(content[: len(content) * 100 // 101])
        (first,) = seconds(lambda: first_read(folder), rounds=1)
        for path, content in whole.items():
            path.write_bytes(content)
        (again,) = seconds(ours(folder), rounds=1)
        spent = [spent[0] + first / 3, spent[1] + again / 3]
    return spent


def first_read(folder: Path) -> object:
    """A read that finds nothing held from one before it."""
    tensorboard._HELD = tensorboard._Held()
    return read_sources([folder])


def event_accumulator(folder: Path) -> dict[str, Points]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for run in sorted(folder.iterdir()):
        accumulator = EventAccumulator(str(run), size_guidance={"scalars": 0})
        accumulator.Reload()
        found[run.name] = {
            tag: arrays([(e.step, e.value) for e in accumulator.Scalars(tag)])
            for tag in accumulator.Tags()["scalars"]
        }
    return found


def tbparse_frame(folder: Path) -> Any:
    from tbparse import SummaryReader

    return SummaryReader(str(folder), extra_columns={"dir_name"}).scalars


def arrays(points: list[tuple[int, float]]) -> tuple[Any, Any]:
    steps, values = zip(*points, strict=True)
    return np.array(steps), np.array(values, dtype=float)


def offline_run(folder: Path) -> Path:
    import wandb

    settings = wandb.Settings(
        mode="offline", root_dir=str(folder), console="off", silent=True, x_disable_stats=True
    )
    config = {f"setting_{i}": i for i in range(40)} | {"params": 1000}
    with wandb.init(project="ladder", config=config, settings=settings) as run:
        for step in range(WANDB_ROWS):
            run.log({f"metric/{key}": 1 / (step + key + 1) for key in range(WANDB_KEYS)})
    (path,) = folder.rglob("*.wandb")
    return path


def records(data: bytes) -> Iterator[bytes]:
    """What a `.wandb` file holds: chunks of a LevelDB log in blocks of 32 KiB."""
    at, parts = 7, []
    while at + 7 < len(data):
        left = (1 << 15) - at % (1 << 15)
        if left < 7:
            at += left
            continue
        _, size, kind = struct.unpack_from("<IHB", data, at)
        parts.append(data[at + 7 : at + 7 + size])
        if kind in (1, 4):
            yield b"".join(parts)
            parts = []
        at += 7 + size


def wandb_protobuf(path: Path) -> tuple[Points, dict[str, Any], dict[str, Any]]:
    """History, config and summary by wandb's own messages and json."""
    from wandb.proto.wandb_internal_pb2 import Record

    def name(item: Any) -> str:
        return item.key or ".".join(item.nested_key)

    points: dict[str, list[tuple[int, float]]] = {}
    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    for content in records(path.read_bytes()):
        record = Record.FromString(content)
        kind = record.WhichOneof("record_type")
        if kind == "history":
            for item in record.history.item:
                point = (record.history.step.num, json.loads(item.value_json))
                points.setdefault(name(item), []).append(point)
        elif kind == "summary":
            summary |= {name(i): json.loads(i.value_json) for i in record.summary.update}
        elif kind in ("run", "config"):
            update = record.run.config.update if kind == "run" else record.config.update
            config |= {name(i): json.loads(i.value_json) for i in update}
    return {key: arrays(found) for key, found in points.items()}, config, summary


def json_lines(folder: Path) -> Path:
    random = np.random.default_rng(0)
    with (folder / "run.jsonl").open("w") as file:
        for step, (loss, norm) in enumerate(random.normal(size=(LINES, 2)).tolist()):
            row = {"step": step, "tokens": step * 4096, "train/loss": loss, "grad_norm": norm}
            row |= {"lr": 3e-4 * (1 - step / LINES)}
            file.write(json.dumps(row | ({"val/loss": loss} if step % 100 == 0 else {})) + "\n")
    return folder / "run.jsonl"


def console_logs(folder: Path) -> dict[str, tuple[Path, re.Pattern[str]]]:
    """Logs of LINES lines in three trainers' forms, each with a pattern written for it alone."""
    loss = 3 + np.random.default_rng(0).random(LINES)
    forms: dict[str, tuple[Callable[[int], str], str]] = {
        "nanochat": (
            lambda s: (
                f"step {s:06d}/{LINES:06d} ({100 * s / LINES:.2f}%) | loss: {loss[s]:.6f}"
                f" | lrm: 1.00 | dt: {300 + loss[s]:.2f}ms | tok/sec: {1048576 + s:,}"
                f" | bf16_mfu: {45 + loss[s]:.2f} | epoch: 1 | total time: {s / 60:.2f}m"
            ),
            r"step (\d+)/\d+ \([\d.]+%\) \| loss: ([\d.]+) \| lrm: ([\d.]+) \| dt: ([\d.]+)ms"
            r" \| tok/sec: ([\d,]+) \| bf16_mfu: ([\d.]+) \| epoch: (\d+) \| total time: ([\d.]+)m",
        ),
        "Megatron-LM": (
            lambda s: (
                f" iteration {s:8d}/{LINES:8d} | consumed samples: {s * 256:12d} | elapsed time per"
                f" iteration (ms): {1310 + loss[s]:.1f} | learning rate: 3.000E-04 | global batch"
                f" size:   256 | lm loss: {loss[s]:.6E} | grad norm: {loss[s] / 9:.3f} |"
            ),
            r"iteration +(\d+)/ *\d+ \| consumed samples: +(\d+) \| elapsed time per iteration"
            r" \(ms\): ([\d.]+) \| learning rate: ([\d.E+-]+) \| global batch size: +(\d+)"
            r" \| lm loss: ([\d.E+-]+) \| grad norm: ([\d.]+)",
        ),
        "modded-nanogpt": (
            lambda s: (
                f"step:{s}/{LINES} train_loss:{loss[s]:.4f} train_time:{s * 143}ms"
                f" step_avg:{140 + loss[s]:.2f}ms"
            ),
            r"step:(\d+)/\d+ train_loss:([\d.]+) train_time:(\d+)ms step_avg:([\d.]+)ms",
        ),
    }
    found = {}
    for name, (line, pattern) in forms.items():
        path = folder / f"{name}.log"
        path.write_text("".join(line(step) + "\n" for step in range(1, LINES)))
        found[name] = path, re.compile(pattern)
    return found


def speedrun(folder: Path) -> tuple[Path, re.Pattern[str]]:
    """LOGS short logs that repeat a long script first, as modded-nanogpt's do."""
    sources = Path(tensorboard.__file__).parent.glob("[j-s]*.py")
    script = "".join(path.read_text() for path in sorted(sources))[:SCRIPT]
    for log in range(LOGS):
        steps = "".join(
            f"step:{step}/2000 train_loss:{3 + 1 / step:.4f} train_time:{step * 143}ms"
            f" step_avg:{140 + log:.2f}ms\n"
            for step in range(1, 2001)
        )
        (folder / f"log-{log}.txt").write_text(script + "\n" + "=" * 100 + "\n" + steps)
    pattern = r"step:(\d+)/\d+ train_loss:([\d.]+) train_time:(\d+)ms step_avg:([\d.]+)ms"
    return folder, re.compile(pattern)


def logs(path: Path) -> list[Path]:
    return sorted(path.iterdir()) if path.is_dir() else [path]


def by_pattern(path: Path, pattern: re.Pattern[str]) -> list[list[Any]]:
    """What is written for one log: a pattern that knows its names and their order."""
    return [_by_pattern(log, pattern) for log in logs(path)]


def _by_pattern(path: Path, pattern: re.Pattern[str]) -> list[Any]:
    columns: list[list[float]] = [[] for _ in range(pattern.groups)]
    with path.open() as file:
        for line in file:
            match = pattern.search(line)
            if match is not None:
                for column, text in zip(columns, match.groups(), strict=True):
                    column.append(float(text.replace(",", "")))
    return [np.array(column) for column in columns]


_PAIR = re.compile(r"([A-Za-z_][\w /()]*?)\s*[:= ]\s*([-+]?[\d,]*\.?\d+(?:[eE][-+]?\d+)?)")


def by_names(path: Path) -> list[Points]:
    """What is written for any log: every name of a line with its number."""
    return [_by_names(log) for log in logs(path)]


def _by_names(path: Path) -> Points:
    points: dict[str, list[tuple[int, float]]] = {}
    with path.open() as file:
        for line in file:
            (first, step), *others = _PAIR.findall(line) or [("", "")]
            if first.strip() not in ("step", "iteration"):
                continue
            for name, text in others:
                points.setdefault(name, []).append((int(step), float(text.replace(",", ""))))
    return {key: arrays(found) for key, found in points.items()}


def mixed(folder: Path) -> tuple[Path, Path]:
    """A folder of 300 logs of 200 steps, and one of these among 1,700 files of other kinds."""
    at = [(step, 5 - step / 1000) for step in range(10, 2010, 10)]
    logs = {
        "csv": "step,loss\n" + "".join(f"{step},{loss}\n" for step, loss in at),
        "jsonl": "".join(f'{{"step": {step}, "loss": {loss}}}\n' for step, loss in at),
        "log": "".join(f"step {step}/2000 | loss: {loss}\n" for step, loss in at),
    }
    others = {
        "py": "import os\nstep, loss = 1, 2\n" * 40,
        "yaml": "a: 1\nb: 2\n" * 40,
        "md": "# notes\n\nstep 1: loss was fine\n" * 40,
        "txt": "lorem ipsum dolor\n" * 90,
        "bin": "\0\1" * 2000,
    }
    held = {"": (100, logs)}
    for name, kinds in (("alone", held), ("among", held | {"x": (340, others)})):
        for mark, (count, texts) in kinds.items():
            for suffix, text in texts.items():
                for i in range(count):
                    path = folder / name / f"folder{i % 20}" / f"{mark}{suffix}{i}.{suffix}"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(text)
    return folder / "alone", folder / "among"


def standard_library(path: Path) -> Points:
    points: dict[str, list[tuple[int, float]]] = {}
    with path.open("rb") as file:
        for line in file:
            row = json.loads(line)
            step = row.pop("step")
            for key, value in row.items():
                points.setdefault(key, []).append((step, value))
    return {key: arrays(found) for key, found in points.items()}


def ours(path: Path) -> Callable[[], object]:
    return lambda: read_sources([path])


def lines(what: str, count: int, spent: list[float], *peers: str) -> list[str]:
    names = (*peers, "scalefit")
    return [
        f"| {what} | {name} | {count / each:,.0f} | {each / spent[-1]:.1f} |"
        for name, each in zip(names, spent, strict=True)
    ]


def installed(*packages: str) -> bool:
    return all(importlib.util.find_spec(package) for package in packages)


def run() -> str:
    rows = ["| file | reader | values a second | times scalefit's time |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("tensorboard", "wandb", "jsonl"):
            (folder / part).mkdir()
        if installed("tensorboardX", "tensorboard", "tbparse"):
            home = folder / "tensorboard"
            event_files(home)
            spent = seconds(
                lambda: event_accumulator(home),
                lambda: tbparse_frame(home),
                lambda: first_read(home),
            )
            peers = ("EventAccumulator", "tbparse")
            rows += lines("TensorBoard, checksums verified", SCALARS, spent, *peers)
            what = "TensorBoard, read again after 1 % growth"
            rows += lines(what, SCALARS, growth(home), "scalefit, for the first time")
        else:
            rows.append("| TensorBoard | skipped: pip install '.[dev,bench]' | | |")
        if installed("wandb"):
            path = offline_run(folder / "wandb")
            spent = seconds(lambda: wandb_protobuf(path), ours(path))
            count = WANDB_ROWS * WANDB_KEYS
            rows += lines("offline W&B, with metadata", count, spent, "wandb's protobuf, json")
        else:
            rows.append("| offline W&B | skipped: pip install '.[dev]' | | |")
        path = json_lines(folder / "jsonl")
        spent = seconds(lambda: standard_library(path), ours(path))
        rows += lines("JSON lines", 4 * LINES, spent, "json of the standard library")
        (folder / "console").mkdir()
        for name, (log, pattern) in console_logs(folder / "console").items():
            spent = seconds(partial(by_pattern, log, pattern), partial(by_names, log), ours(log))
            peers = ("one pattern of its own", "every name and number")
            rows += lines(f"console, {name}", pattern.groups * LINES, spent, *peers)
        (folder / "short").mkdir()
        home, pattern = speedrun(folder / "short")
        spent = seconds(partial(by_pattern, home, pattern), partial(by_names, home), ours(home))
        what = f"console, {LOGS} logs of 2,000 steps behind a script"
        rows += lines(what, pattern.groups * LOGS * 2000, spent, *peers)
        alone, among = mixed(folder / "mixed")
        spent = seconds(ours(among), ours(alone))
        what = "300 logs of 200 steps"
        rows += lines(what, 60_000, spent, "scalefit, the logs among 1,700 other files")
    return "\n".join([*rows, "", folders.rows()])


if __name__ == "__main__":
    print(run())
