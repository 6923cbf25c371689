"""Older and newer versions of what trainers print, by the statements that are cited beside them,
and the lines of trainers without a form of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from scaling_cli.adapters.reading import read_sources
from scaling_cli.errors import InputError
from scaling_cli.records import Run

Line = Callable[[int], str]
STEPS = list(range(100, 2001, 100))
TOKENS = 524_288


def loss(step: int) -> float:
    return 3.5 + 8 * (step + 10) ** -0.35


def held(step: int) -> float:
    return loss(step) + 0.01


def read(tmp_path: Path, line: Line, name: str = "run.log", end: str = "\n") -> tuple[Run, ...]:
    (tmp_path / name).write_text("".join(line(step) + end for step in STEPS), encoding="utf-8")
    return read_sources([tmp_path / name]).runs


# what it is: where it is printed, its line, what the training and the held-out loss are called
VERSIONS: dict[str, tuple[str, Line, str, str]] = {
    "llm.c 2024-04": (
        "karpathy/llm.c 80f52e5 train_gpt2.cu main: printf step, train loss, took",
        lambda s: f"step {s}: train loss {loss(s):f} (took {123.4:f} ms)\nval loss {held(s):f}",
        "train_loss", "val_loss",
    ),
    "llm.c 2024-05": (
        "karpathy/llm.c bc58cd1 train_gpt2.cu main: printf0 step/total: train loss, norm",
        lambda s: (
            f"step {s:4d}/{2000}: train loss {loss(s):f} norm {0.25:.4f} ({1.2:.2f} ms,"
            f" {51200.0:.0f} tok/s)"
        ),
        "train_loss", "",
    ),
    "llm.c train_gpt2.py": (
        "karpathy/llm.c 624ed3c train_gpt2.py __main__: print0 step | train loss | norm | lr",
        lambda s: (
            f"step {s:4d}/{2000} | train loss {loss(s):.6f} | norm 0.2500 | lr {3e-4:.2e}"
            f" | (1310.00 ms | 51200 tok/s)\nval loss {held(s)}"
        ),
        "train_loss", "val_loss",
    ),
    "llm.c train_gpt2.py 2024-05": (
        "karpathy/llm.c a9947a8 train_gpt2.py __main__: print0 iteration, loss, time, tok/s, norm",
        lambda s: (
            f"iteration {s}, loss: {loss(s):.4f}, time: {12.5:.3f}ms, tok/s: {512.5:.2f},"
            f" norm: {0.25:.3f}"
        ),
        "loss", "",
    ),
    "nanoGPT 2022-12": (
        "karpathy/nanoGPT fe804286 train.py: print iter, loss, time",
        lambda s: (
            f"step {s}: train loss {loss(s):.4f}, val loss {held(s):.4f}\n"
            f"iter {s}: loss {loss(s):.4f}, time {123.4:.2f}ms"
        ),
        "train_loss", "val_loss",
    ),
    "build-nanogpt 2024-06": (
        "karpathy/build-nanogpt 105f117 train_gpt2.py: print step | loss | norm | dt | tok/sec",
        lambda s: f"step {s:4d} | loss: {loss(s):.6f} | norm: 0.2707 | dt: 704.72ms"
        " | tok/sec: 743961.34",
        "loss", "",
    ),
    "nanochat's finetuning": (
        "karpathy/nanochat 3a5e0bc scripts/chat_sft.py: print0 Training loss | lrm | num_tokens",
        lambda s: (
            f"Step {s:05d} | Validation loss: {held(s):.6f}\n"
            f"Step {s:05d}/{2000:05d} | Training loss: {loss(s):.6f}| lrm: {1.0:.6f}|"
            f" num_tokens: {9000 - s % 300:,}"
        ),
        "train_loss", "Validation loss",
    ),
    "nanochat's midtraining": (
        "karpathy/nanochat 3a5e0bc scripts/mid_train.py: print0 step (pct) | loss",
        lambda s: (
            f"step {s:05d} ({s / 20:.2f}%) | loss: {loss(s):.6f} | lrm: 1.00 | dt: 331.20ms"
            " | tok/sec: 1,048,576 | mfu: 45.60 | total time: 1.50m"
        ),
        "loss", "",
    ),
    "torchtitan 2024-03": (
        "pytorch/torchtitan 9f5a56d67 train.py main: logger.info step, loss, memory, wps, mfu",
        lambda s: (
            f"2024-03-15 03:04:05,678 - root - INFO - step: {s:2}  loss: {loss(s):7.4f}"
            f"  memory:  5.20GiB(6.53%)  wps: {51200:,}  mfu: {40.1:.2f}%"
        ),
        "train_loss", "",
    ),
    "lingua": (
        "facebookresearch/lingua 437d680 apps/main/train.py train; lingua/logger.py LogFormatter",
        lambda s: (
            f"0: INFO    26-01-02 03:04:05.678901 - 0:01:02 - step: {s}  acc: 0  loss:"
            f" {round(loss(s), 4):>7}  grad: 2.51e-01  flops: 4.12e+14  wps: 5.12e+04"
            f"  iter:  0.3123  data: 0.0012  lr: {3e-4:.2e}  mem: 61%  pow: 512.3 W"
        ),
        "train_loss", "",
    ),
    "litgpt 2023": (
        "Lightning-AI/litgpt f63d81e4 finetune, pretrain: fabric.print iter, step, loss; of the"
        " evaluation, `step` is the iteration",
        lambda s: (
            f"iter {4 * s} step {s}: loss {loss(s):.4f}, iter time: 331.20ms (optimizer.step)\n"
            f"step {4 * s}: val loss {held(s):.4f}, val time: 1200.00ms"
        ),
        "train_loss", "val_loss",
    ),
    "litgpt 2024-03": (
        "Lightning-AI/litgpt 4be70ad8 litgpt/pretrain.py fit: fabric.print iter | step: loss",
        lambda s: (
            f"iter {4 * s} | step {s}: loss {loss(s):.4f}, iter time: 331.20 ms (optimizer.step)\n"
            f"iter {4 * s}: val loss {held(s):.4f}, val time: 1200.00 ms"
        ),
        "train_loss", "val_loss",
    ),
    "MaxText 2024": (
        "AI-Hypercomputer/maxtext e8fe1ac7f MaxText/train.py: max_logging.log average loss after",
        lambda s: (
            f"completed step: {s}, seconds: 0.570, TFLOP/s/device: 37.633, Tokens/s/device:"
            f" 7185.042, total_weights: {TOKENS}, loss: {loss(s):.3f}\naverage loss after step={s}:"
            f" eval_step_count=8, eval_loss={held(s)}, total_weights=131072.0"
        ),
        "train_loss", "eval_loss",
    ),
    "Megatron-LM 2020": (
        "NVIDIA/Megatron-LM a31833cea8 megatron/training.py training_log",
        lambda s: (
            f" iteration {s:8d}/{2000:8d} | consumed samples {256 * s:12d} | elapsed time per"
            f" iteration (ms): 1310.0 | learning rate: {3e-4:.3E} | lm loss: {loss(s):.6E} |"
            f" loss scale: 1.0 | number of skipped iterations:   0 |\n"
            f" validation loss at iteration {s} | lm loss value: {held(s):.6E} |"
            f" lm loss PPL: 5.98E+01 | "
        ),
        "lm loss", "lm loss value",
    ),
    "Megatron-LM with a drawn validation": (
        "NVIDIA/Megatron-LM a82739c36c megatron/training.py: prefix = on -sample draw from",
        lambda s: (
            f" iteration {s:8d}/{2000:8d} | consumed samples: {256 * s:12d} | lm loss:"
            f" {loss(s):.6E} |\n validation loss at iteration {s} on 2560-sample draw from"
            f" validation set | lm loss value: {held(s):.6E} | lm loss PPL: 5.98E+01 | \n"
            f" validation loss at iteration {s} on 2560-sample draw from test set |"
            f" lm loss value: {9.0:.6E} | lm loss PPL: 5.98E+01 | "
        ),
        "lm loss", "lm loss value",
    ),
    "Megatron-LM with several validation sets": (
        "NVIDIA/Megatron-LM b6a7f40374 megatron/training/training.py: validation{suffix} loss at",
        lambda s: (
            f" [2026-01-02 03:04:05.678901] iteration {s:8d}/{2000:8d} | consumed samples:"
            f" {256 * s:12d} | lm loss: {loss(s):.6E} |\n"
            f" validation-0 loss at iteration {s} | lm loss value: {held(s):.6E} | \n"
            f" validation-1 loss at iteration {s} | lm loss value: {9.0:.6E} | "
        ),
        "lm loss", "validation-0/lm loss value",
    ),
    "BigScience": (
        "bigscience-workshop/Megatron-DeepSpeed megatron/training.py:"
        " evaluate_and_print_results, '{} loss at {} | '.format(ds_name, prefix)",
        lambda s: (
            f" iteration {s:8d}/{2000:8d} | consumed samples: {256 * s:12d} | consumed tokens:"
            f" {TOKENS * s:12d} | elapsed time per iteration (s): 13.10 | learning rate: 3.000E-04"
            f" | global batch size:   256 | lm loss: {loss(s):.6E} | samples per second: 195.4 |"
            f" TFLOPs: 105.46 |\nvalid loss at iteration {s} | lm loss value: {held(s):.6E} | \n"
            f"valid_pile loss at iteration {s} | lm loss value: {9.0:.6E} | "
        ),
        "lm loss", "lm loss value",
    ),
    "fairseq 2019": (
        "facebookresearch/fairseq v0.9.0 fairseq/progress_bar.py simple_progress_bar, its __iter__"
        " (a line of commas) and print (a line of bars)",
        lambda s: (
            f"| epoch 001:  {s:5d} / 2500 loss={loss(s) / 0.6931471805599453:.5f}, nll_loss="
            f"{loss(s) / 0.6931471805599453:.5f}, ppl=48.5, wps=51200, ups=1, wpb=524288.000,"
            f" bsz=256.000, num_updates={s}, lr=0.0003, gnorm=0.25, clip=0.000, oom=0.000,"
            f" wall=200, train_wall=100\n| epoch 001 | valid on 'valid' subset | loss"
            f" {held(s) / 0.6931471805599453:.5f} | nll_loss"
            f" {held(s) / 0.6931471805599453:.5f} | ppl 49 | num_updates {s} | best_loss 1.0"
        ),
        "train_loss", "val_loss",
    ),
    "Composer's file logger": (
        "mosaicml/composer composer/loggers/file_logger.py FileLogger.log_metrics",
        lambda s: (
            f"[metric][batch={s}]: time/token: {TOKENS * (s - 1)} \n"
            f"[metric][batch={s}]: loss/train/total: {loss(s):.4f} \n"
            f"[metric][batch={s}]: metrics/eval/LanguageCrossEntropy: {held(s):.4f} "
        ),
        "loss/train/total", "metrics/eval/LanguageCrossEntropy",
    ),
    "ms-swift with Megatron": (
        "modelscope/ms-swift swift/megatron/callbacks/print.py on_log: logs['iteration']",
        lambda s: (
            f"{{'loss': {loss(s):.8f}, 'grad_norm': 0.25, 'learning_rate': 0.0003, 'iteration':"
            f" '{s}/2000', 'elapsed_time': '1m 2s', 'memory(GiB)': 5.2, 'train_speed(s/it)': 1.31}}"
        ),
        "loss", "",
    ),
    "NeMo 1": (
        "NVIDIA/NeMo v1 nemo/collections/nlp/models/language_modeling/megatron_gpt_model.py: what"
        " it logs with prog_bar=True, in Lightning's bar",
        lambda s: (
            f"\rEpoch 0: :   1%| | {s}/2000 [01:02<03:04, 3.20it/s, v_num=0,"
            f" reduced_train_loss={loss(s):.4f}, global_step={s:.1f},"
            f" consumed_samples={256.0 * s:.1f}, val_loss={held(s):.4f}]"
        ),
        "reduced_train_loss", "val_loss",
    ),
    "Lightning's RichProgressBar": (
        "Lightning-AI/pytorch-lightning src/lightning/pytorch/callbacks/progress/rich_progress.py",
        lambda s: (
            f"Epoch 0/0  ━━━━━━━━━━ {s}/2000 0:01:02 • 0:03:04 3.20it/s v_num: 0.000"
            f" train_loss: {loss(s):.3f} val_loss: {held(s):.3f}"
        ),
        "train_loss", "val_loss",
    ),
}  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
def test_another_version_is_read_the_same(version: str, tmp_path: Path) -> None:
    _, line, train, evaluation = VERSIONS[version]
    (run,) = read(tmp_path, line)
    digits = 6e-4 if "Rich" in version or "MaxText" in version else 6e-5
    for name, expected in ((train, loss), (evaluation, held)):
        if name:
            assert run.series[name].steps.tolist() == STEPS
            values = [expected(step) for step in STEPS]
            assert run.series[name].values == pytest.approx(values, abs=digits)
    assert "tokens" not in run.series


# No form of their own: a counter, names and numbers, whatever stands around them.
ANY: dict[str, tuple[Line, str]] = {
    "picotron": (
        lambda s: f"[rank 0] Step: {s:<5d} | Loss: {loss(s):6.4f} | Global batch size:  524K |"
        f" Tokens/s:  51.2K | Tokens: {s * TOKENS / 1e6:.2f}M | MFU: 40.12%",
        "Loss",
    ),
    "torchtune": (lambda s: f"Step {s} | loss:{loss(s)} lr:0.0003 tokens_per_second:51.5 ", "loss"),
    "EasyLM": (
        lambda s: f"{{'accuracy': 0.31, 'learning_rate': 0.0003, 'loss': {loss(s):.6f},"
        f" 'step': {s}}}",
        "loss",
    ),
    "paxml": (
        lambda s: f"I0102 03:04:05.678901 14011 summary_utils.py:411] [PAX STATUS]: step_i: {s},"
        f" training loss: {loss(s):.6f}",
        "training loss",
    ),
    "PaddleNLP": (
        lambda s: f"[2026-01-02 03:04:05,678] [    INFO] - loss: {loss(s):.6f}, learning_rate:"
        f" 0.0003, global_step: {s}, interval_samples_per_second: 51.2",
        "loss",
    ),
    "DeepSpeed-Chat": (lambda s: f"Epoch: 0, Step: {s}, Rank: 0, loss = {loss(s)}", "loss"),
    "gpt-fast": (lambda s: f"Iteration {s}: loss {loss(s):.4f} time 1.31 s", "loss"),
    "MMEngine": (
        lambda s: f"2026/01/02 03:04:05 - mmengine - INFO - Iter(train) [{s:>6}/2000]  lr: 3e-04"
        f"  eta: 1:02:03  time: 1.3100  loss: {loss(s):.4f}",
        "loss",
    ),
    "Flax": (lambda s: f"Step... ({s} | Loss: {loss(s):.6f}, Learning Rate: 0.0003)", "Loss"),
    "loguru": (
        lambda s: f"\x1b[32m2026-01-02 03:04:05.678\x1b[0m | \x1b[1mINFO    \x1b[0m |"
        f" \x1b[36m__main__\x1b[0m:\x1b[36mtrain\x1b[0m:123 - \x1b[1mstep={s} loss={loss(s):.4f}",
        "loss",
    ),
    "structlog": (
        lambda s: f"2026-01-02T03:04:05.678Z [info     ] train_step    loss={loss(s):.4f} step={s}",
        "loss",
    ),
    "kubectl": (
        lambda s: f"[pod/trainer-0/main] 2026-01-02T03:04:05.678901234Z INFO step {s}/2000 loss:"
        f" {loss(s):.4f}, best loss: 1.0, ETA: 1:02:03",
        "loss",
    ),
    "docker": (lambda s: f"trainer-1  | step: {s} | best loss: 1.0 | loss: {loss(s):.4f}", "loss"),
    "best before": (lambda s: f"step {s} - best loss 1.0 - loss {loss(s):.4f}", "loss"),
    "key=value": (
        lambda s: f"ts=2026-01-02T03:04:05Z level=info msg=train step={s} max_steps=9000"
        f" loss={loss(s):.4f} step_time=1.31",
        "loss",
    ),
    "srun, four ranks": (
        lambda s: "\n".join(f"{r}: step={s} loss={loss(s) + r:.4f}" for r in (0, 1, 2, 3)),
        "loss",
    ),
    "a percentage first": (
        lambda s: f"[{s / 20:5.1f}%] step {s:,}/2,000 - loss {loss(s):.4f} - 1.049B tokens", "loss"
    ),
    "a global step behind that of the epoch": (
        lambda s: f"Epoch {s // 500}, Step {s % 500}, Global Step {s}, Loss {loss(s):.4f}", "Loss"
    ),
    "micro steps and a total before": (
        lambda s: f"micro step {4 * s} | total steps: 2000 | step: {s} | loss: {loss(s):.4f}",
        "loss",
    ),
    "counter last": (
        lambda s: f"step_time: 1.31s | aux loss: 0.01 | loss: {loss(s):.4f} | step: {s}", "loss"
    ),
}  # fmt: skip


@pytest.mark.parametrize("trainer", ANY)
def test_a_line_of_any_trainer_is_read_by_its_names(trainer: str, tmp_path: Path) -> None:
    line, name = ANY[trainer]
    (run,) = read(tmp_path, line)
    assert run.series[name].steps.tolist() == STEPS
    assert run.series[name].values == pytest.approx([loss(s) for s in STEPS], abs=6e-5)
    assert {"step", "total_steps", "remaining"}.isdisjoint(run.series)
    if "Tokens" in run.series:
        assert run.series["Tokens"].values[-1] == 1_048_580_000


@pytest.mark.parametrize(
    "line",
    [
        '[val] name "c4" | step {s} | epoch 0 | loss {v:.4f}',
        "Validation: step {s} loss={v:.4f}",
        "step {s} eval: loss {v:.4f}",
        "eval {{'loss': {v:.4f}, 'step': {s}}}",
        "step {s} | val loss {v:.4f} | best loss 1.0",
    ],
)
def test_a_line_of_an_evaluation_is_not_the_trainings(line: str, tmp_path: Path) -> None:
    def both(step: int) -> str:
        return f"step {step} | epoch 0 | loss {loss(step):.4f}\n" + line.format(
            s=step, v=held(step)
        )

    (run,) = read(tmp_path, both)
    evaluation = "val loss" if "val loss" in line else "val/loss"
    for name, expected in (("loss", loss), (evaluation, held)):
        assert run.series[name].steps.tolist() == STEPS
        values = [expected(step) for step in STEPS]
        assert run.series[name].values == pytest.approx(values, abs=6e-5)


@pytest.mark.parametrize(
    ("line", "near"),
    [
        (lambda s: f"[logging.py:96:log_dist] [Rank 0] step={s}, lr=[0.0003]", "no loss"),
        (lambda s: f"Train Epoch: 0 [256/512000 (5%)]\tLoss: {loss(s):.6f}", "too few steps"),
        (lambda s: f"Training: step {s}\n[{s}] train/loss = {loss(s):.4f}", "no loss beside"),
        (lambda s: f"{s:5d}  512.10 ms run, {loss(s):5.2f} loss, 0.000300 LR", "If it is a log"),
        (lambda s: f'print(f"step {s} val_loss:{{val_loss:.5f}}")', "There are"),
    ],
)  # fmt: skip
def test_a_line_that_is_not_understood_is_refused_and_says_what_is_near(
    line: Line, near: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, line)
    assert near in f"{error.value.what} {error.value.mend}"


def test_a_script_in_a_log_gives_no_loss(tmp_path: Path) -> None:
    script = 'print(f"step:{step}/{total} val_loss:{val_loss:.5f} alpha:{alpha:g}")\n'
    (tmp_path / "run.log").write_text(
        script + "delta step:1000 norm:816.2 val_loss_count:3\n" + script
        + "step:2000/2000 val_loss:3.27834 train_time:806.390s\n"
    )  # fmt: skip
    (run,) = read_sources([tmp_path / "run.log"]).runs
    assert run.series["val_loss"].values.tolist() == [3.27834]


def test_a_line_without_a_step_is_of_a_step_that_is_near(tmp_path: Path) -> None:
    def line(step: int) -> str:
        return f"step {step} | loss: {loss(step):.4f} | lr: 3e-4"

    steps = "".join(f"{line(step)}\nvalidation loss: {held(step):.4f}\n" for step in STEPS)
    far = "waiting for the node\n" * 1001 + "validation loss: 1.0000\n"
    (tmp_path / "run.log").write_text(steps + far)
    (run,) = read_sources([tmp_path / "run.log"]).runs
    assert run.series["val_loss"].values[-1] == pytest.approx(held(2000), abs=6e-5)
    (note,) = [note for note in run.notes if note.code == "far_from_a_step"]
    assert "1 line without a step" in note.message


def test_a_validation_before_a_crash_is_not_that_of_the_restart(tmp_path: Path) -> None:
    def line(step: int) -> str:
        return f"step {step:5d} | loss: {loss(step):.6f} | lr 3.0000e-04 | norm: 0.2707"

    before = "".join(f"validation loss: {held(s):.4f}\n{line(s)}\n" for s in (100, 200, 300))
    after = "".join(f"validation loss: {held(s):.4f}\n{line(s)}\n" for s in (200, 300, 400))
    (tmp_path / "run.log").write_text(before + "validation loss: 1.0\n" + "killed\n" + after)
    (run,) = read_sources([tmp_path / "run.log"]).runs
    assert run.series["val_loss"].steps.tolist() == [100, 200, 300, 400]
    assert run.series["val_loss"].values.min() > 3
