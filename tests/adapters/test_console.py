"""Console logs, laid out by the format strings of the trainers' own sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scaling_cli.adapters.reading import read_sources
from scaling_cli.errors import InputError
from scaling_cli.mapping import Mapping
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


def told(run: Run) -> dict[str, str]:
    return {note.code: note.message for note in run.notes}


def plain(steps: range, total: int = 1000, loss: float = 7.0, line: str = "") -> str:
    line = line or "step {s}/{total} | loss: {loss:.4f} | tokens: {t:.2f}M | tok/s: 51.2K\n"
    return "".join(
        line.format(s=s, total=total, loss=loss / (s + 1), t=s * 0.524288) for s in steps
    )


def test_a_unit_multiplies_its_number(tmp_path: Path) -> None:
    run = one(tmp_path, plain(range(100, 2100, 100), 2000))
    assert run.series["tokens"].values[-1] == 1_048_580_000
    assert set(run.series["tok/s"].values) == {51_200}


def test_a_decimal_comma_is_left_out_and_said(tmp_path: Path) -> None:
    text = plain(range(0, 1000, 100)).replace("loss: 7.", "loss: 7,").replace(".", ",")
    text = "".join(f"{line} | val: 1.5\n" for line in text.splitlines())
    with pytest.raises(InputError):
        one(tmp_path, text.replace(" | val: 1.5", ""))
    both = plain(range(0, 900, 100)) + "step 900/1000 | loss: 0,0078 | lr: 3e-4\n"
    run = one(tmp_path, both)
    assert run.series["loss"].steps.tolist() == list(range(0, 900, 100))
    assert "0,0078" in told(run)["decimal_comma"]


def test_a_resumed_run_is_one_run_and_what_was_joined_is_said(tmp_path: Path) -> None:
    run = one(tmp_path, plain(range(0, 560, 10)) + "resumed\n" + plain(range(510, 1010, 10)))
    assert run.series["loss"].steps.tolist() == list(range(0, 1010, 10))
    assert "0 to 550, then 510 to 1000" in told(run)["sessions_joined"]


def test_a_counter_that_begins_again_with_each_epoch_is_counted_on(tmp_path: Path) -> None:
    line = "epoch: 1 "
    text = "".join(
        f"step {s}/50 | loss: {5 / (s + 50 * e):.4f} | epoch: {e}\n"
        for e in (1, 2)
        for s in range(10, 51, 10)
    )
    run = one(tmp_path, text)
    assert run.series["loss"].steps.tolist() == list(range(10, 101, 10)), line
    assert "total_steps" not in run.config
    assert "2 epochs" in told(run)["sessions_joined"]


def test_runs_in_turn_are_runs_of_their_own(tmp_path: Path) -> None:
    text = plain(range(100, 1100, 100)) + plain(range(100, 1100, 100), loss=6)
    (tmp_path / "sweep.log").write_text(text)
    runs = read_sources([tmp_path]).runs
    assert [run.run_id for run in runs] == ["sweep-1", "sweep-2"]
    assert [run.series["loss"].values[-1] for run in runs] == [0.007, 0.006]
    assert all("several_runs" in told(run) for run in runs)


def test_of_ranks_that_print_the_same_steps_the_first_is_read(tmp_path: Path) -> None:
    text = "".join(
        f"[rank{r}]: step {s} | loss: {r + 1 / (s + 1):.4f}\n"
        for s in range(0, 400, 10)
        for r in (1, 0, 2)
    )
    run = one(tmp_path, text)
    assert run.series["loss"].steps.tolist() == list(range(0, 400, 10))
    assert run.series["loss"].values[0] == 1.0
    assert "rank 0" in told(run)["ranks_left_out"]


def test_names_that_differ_in_digits_alone_keep_their_numbers(tmp_path: Path) -> None:
    text = "".join(
        f"step {s} | loss: {9 / (s + 1):.4f} | top{1 if s % 2 else 5}_acc: 0.{s:03d}\n"
        for s in range(200)
    )
    run = one(tmp_path, text)
    assert run.series["top1_acc"].steps.tolist() == list(range(1, 200, 2))
    assert run.series["top5_acc"].values.tolist() == [s / 1000 for s in range(0, 200, 2)]


def test_utf16_is_read(tmp_path: Path) -> None:
    (tmp_path / "powershell.log").write_bytes(nanochat().encode("utf-16"))
    (run,) = read_sources([tmp_path]).runs
    assert run.series["loss"].steps.tolist() == list(STEPS)


def test_rows_without_a_step_are_counted_and_give_no_tokens(tmp_path: Path) -> None:
    text = "".join(f"{{'loss': {9 / (r + 1):.4f}, 'epoch': {r / 20:.2f}}}\n" for r in range(20))
    run = one(tmp_path, text)
    assert run.series["loss"].steps.tolist() == list(range(1, 21))
    assert run.config["step_is"] == "rows"
    assert "trainer_state.json" in told(run)["step_counts_rows"]


def test_a_line_of_ones_own_is_said_in_the_mapping(tmp_path: Path) -> None:
    text = "".join(f"@{s}> L={9 / (s + 1):.4f} (2.0k tok)\n" for s in range(0, 50, 10))
    (tmp_path / "odd.log").write_text(text + "~ held out 1.25\n")
    with pytest.raises(InputError, match="no format that is known"):
        read_sources([tmp_path / "odd.log"])
    own = ("@{step}> L={train_loss} ({tokens_each} tok)", "~ held out {val_loss}")
    (run,) = read_sources([tmp_path], Mapping(console=own)).runs
    assert run.series["train_loss"].steps.tolist() == list(range(0, 50, 10))
    assert run.series["val_loss"].steps.tolist() == [40]
    assert set(run.series["tokens_each"].values) == {2000}
    for wrong in ("step {step", "{step} {step}", "loss {loss}", "{*} x"):
        with pytest.raises(InputError, match=r"\[console\] line"):
            read_sources([tmp_path], Mapping(console=(wrong,)))


def test_a_mixed_folder_reads_its_logs_and_counts_the_rest(tmp_path: Path) -> None:
    for place in range(12):
        (tmp_path / f"run{place}.txt").write_text(plain(range(0, 1000, 100), loss=place + 1))
        (tmp_path / f"model{place}.pt").write_bytes(b"PK\3\4" + bytes(99))
        (tmp_path / f"note{place}.txt").write_text("We mixed 3 eggs.\nstep 1: loss was fine\n")
        (tmp_path / f"train{place}.py").write_text("print(f'step {step} loss {loss}')\n")
    (tmp_path / "short.txt").write_text("step:1/9 val_loss:3.2 train_time:1ms\n")
    found = read_sources([tmp_path])
    assert len(found.runs) == 12
    (note,) = [note for note in found.notes if note.code == "files_not_known"]
    assert "37 files held no runs" in note.message
    assert "13 .txt texts, 12 checkpoint or arrays, 12 source files" in note.message
    assert "nearest to what modded-nanogpt prints" in note.message


def test_tokens_that_do_not_rise_are_no_count_of_all(tmp_path: Path) -> None:
    text = "".join(f"| step {s} | loss {9 / s:.3f} | tokens 524288 |\n" for s in range(1, 9))
    run = one(tmp_path, text)
    assert "tokens" not in run.series
    assert set(run.series["tokens of a line"].values) == {524288}
    assert "counter_does_not_rise" in told(run)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("[{s}/900] train loss: {l} | val loss: 2.5", {"train loss", "val loss"}),
        ("train:  10%|███| {s}/900 [00:10<00:20, 3.2it/s, loss={l}, lr=0.0003]\r", {"loss", "lr"}),
        ("Iteration {s}, train_loss {l}, val_loss 2.5", {"train_loss", "val_loss"}),
        ("Epoch: {s}, Train Loss: {l}, Val Loss: 2.5", {"Train Loss", "Val Loss"}),
        ("INFO [Trainer] Step {s}: loss={l}, tokens_seen={s},000", {"loss", "tokens_seen"}),
    ],
)
def test_a_trainer_of_ones_own_is_read_by_its_counter_and_names(
    line: str, names: set[str], tmp_path: Path
) -> None:
    text = "".join(line.format(s=s, l=f"{9 / s:.4f}") + "\n" for s in range(100, 1000, 100))
    run = one(tmp_path, text)
    assert set(run.series) == names
    assert all(s.steps.tolist() == list(range(100, 1000, 100)) for s in run.series.values())


def test_rows_of_which_one_has_no_epoch_are_counted(tmp_path: Path) -> None:
    text = "  Num Epochs = 1\n  Total optimization steps = 20\n"
    text += "".join(f"{{'loss': {9 / r:.4f}, 'epoch': {r / 20:.2f}}}\n" for r in range(1, 20))
    run = one(tmp_path, text + "{'loss': 0.4500, 'epoch': nan}\n")
    assert run.series["loss"].steps.tolist() == list(range(1, 21))
    assert "step_counts_rows" in told(run)


def test_a_step_beyond_any_is_none(tmp_path: Path) -> None:
    text = "".join(
        f"{{'loss': {9 / r:.4f}, 'epoch': {r / 20:.2f}, 'global_step/max_steps': '{step}/20'}}\n"
        for r, step in ((1, 1), (2, 2), (3, "9" * 30))
    )
    assert one(tmp_path, text).series["loss"].steps.tolist() == [1, 2, 3]
