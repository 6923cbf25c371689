"""Console logs, laid out by the format strings of the trainers' own sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scaling_cli.adapters.reading import read_sources
from scaling_cli.errors import InputError
from scaling_cli.records import Run

STEPS = range(0, 1000, 250)


def nanochat() -> str:
    text = "Vocab size: 65,536\nstep by step | we go\n"
    for step in STEPS:
        loss, dt = 7 / (step + 1), 0.123
        text += f"Step {step:05d} | Validation bpb: {loss / 2:.6f}\n"
        text += (
            f"step {step:05d}/{1000:05d} ({step / 10:.2f}%) | loss: {loss:.6f} | lrm: {1.0:.2f}"
            f" | dt: {dt * 1000:.2f}ms | tok/sec: {1048576:,} | bf16_mfu: {45.6:.2f}"
            f" | epoch: 1 doc: 7 | total time: {1.5:.2f}m | eta: {2.5:.1f}m\n"
        )
    return text


def megatron() -> str:
    text = "using world size: 8\n"
    for step in STEPS:
        text += f" [2026-01-02 03:04:05] iteration {step:8d}/{1000:8d} |"
        text += f" consumed samples: {step * 256:12d} |"
        text += f" elapsed time per iteration (ms): {412.5:.1f} |"
        text += f" learning rate: {3e-4:.6E} |"
        text += f" global batch size: {256:5d} |"
        text += " {}: {:.6E} |".format("lm loss", 7 / (step + 1))
        text += f" loss scale: {1.0:.1f} | grad norm: {0.5:.3f} |\n"
    return text


def olmo() -> str:
    text = ""
    for step in STEPS:
        text += f"\033[32m[2026-01-02 03:04:05] INFO [olmo.train:816, rank=0] [step={step}/1000]\n"
        text += f"\033[0m    train/CrossEntropyLoss={7 / (step + 1):.4f}\n"
        text += f"    throughput/total_tokens={step * 4096:,d}\n"
        text += "    System/Peak GPU Memory (MB)=42,133\n"
        text += "[2026-01-02 03:04:06] INFO [olmo.train:900, rank=0] Running evaluation\n"
        text += f"    eval/c4/CrossEntropyLoss={8 / (step + 1):.4f}\n"
    return text


def one(tmp_path: Path, text: str, name: str = "d12.log") -> Run:
    (tmp_path / name).write_text(text)
    (run,) = read_sources([tmp_path]).runs
    return run


@pytest.mark.parametrize(
    ("text", "loss", "others"),
    [
        (nanochat(), "loss", {"Validation bpb": 3.5, "lrm": 1.0, "tok/sec": 1048576.0}),
        (megatron(), "lm loss", {"learning rate": 3e-4, "consumed samples": 0.0}),
        (olmo(), "train/CrossEntropyLoss", {"eval/c4/CrossEntropyLoss": 8.0}),
    ],
)
def test_a_trainers_console_is_a_history(
    tmp_path: Path, text: str, loss: str, others: dict[str, float]
) -> None:
    run = one(tmp_path, text)
    assert (run.run_key, run.config["total_steps"]) == ("console:d12", 1000)
    assert run.series[loss].steps.tolist() == list(STEPS)
    expected = [7 / (step + 1) for step in STEPS]
    assert np.allclose(run.series[loss].values, expected, atol=5e-5)
    assert {name: run.series[name].values[0] for name in others} == others
    assert [note.code for note in run.notes] == ["rounded"]


def test_thousands_are_one_number(tmp_path: Path) -> None:
    tokens = one(tmp_path, olmo()).series["throughput/total_tokens"]
    assert tokens.values.tolist() == [step * 4096 for step in STEPS]


def test_a_line_that_is_overwritten_counts_each_time(tmp_path: Path) -> None:
    text = "\r".join(line for line in nanochat().splitlines() if line.startswith("step 0"))
    assert len(one(tmp_path, text, "t.out").series["loss"].steps) == len(STEPS)


def test_prose_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("In step 1 | we mix: 3 eggs\nIn step 2 we bake.\n" * 9)
    (tmp_path / "other.log").write_text("step 1: loss was fine\nstep 2: loss was fine\n")
    with pytest.raises(InputError, match="there are no runs to read"):
        read_sources([tmp_path])
