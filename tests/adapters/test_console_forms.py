"""Every declared form of a console log, laid out by the printing statement that it cites."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scaling_cli.adapters.console_forms import FORMS
from scaling_cli.adapters.reading import read_sources
from scaling_cli.records import Run
from tests.places import ROOT

TOTAL, EVERY, TOKENS = 2000, 100, 524_288
STEPS = list(range(EVERY, TOTAL + 1, EVERY))


def loss(step: int) -> float:
    return 3.5 + 8 * (step + 10) ** -0.35


def evaluated(step: int) -> bool:
    return step % 500 == 0


def log(line: Callable[[int], str], evaluation: Callable[[int], str], first: bool = False) -> str:
    """A line a step, and one of each evaluation behind it or, with `first`, before it."""
    text = ""
    for step in STEPS:
        after = evaluation(step) + "\n" if evaluated(step) else ""
        text += after * first + line(step) + "\n" + after * (not first)
    return text


def modded() -> str:
    script = "import os\n" + "x = 1  # the log repeats its script\n" * 3000
    script += 'print0(f"step:{step}/{train_steps} val_loss:{val_loss:.4f}")\n' + "=" * 100 + "\n"
    return script + log(
        lambda s: f"step:{s}/{TOTAL} train_loss:{loss(s):.4f} train_time:{s}ms step_avg:nanms",
        lambda s: f"step:{s}/{TOTAL} val_loss:{loss(s) + 0.01:.4f} train_time:{s}ms step_avg:1.0ms",
    )


def llmc() -> str:
    return "| num_parameters        | 124475904    |\n" + log(
        lambda s: (
            f"step {s:4d}/{TOTAL} | loss {loss(s):7.6f} (+0.12z)| norm 0.2412 (+nanz)| lr 3.00e-04"
            f" | 262.15 ms | 44.1% bf16 MFU | 199995 tok/s"
        ),
        lambda s: f"val loss {loss(s) + 0.01:f}",
    )


def llmc_file() -> str:
    return log(
        lambda s: f"s:{s} trl:{loss(s):.4f} lr:0.000300 norm:0.24",
        lambda s: f"s:{s} tel:{loss(s) + 0.01:.4f}",
    )


def nanogpt() -> str:
    return "tokens per iteration will be: 524,288\nnumber of parameters: 123.59M\n" + log(
        lambda s: f"iter {s}: loss {loss(s):.4f}, time {123.4:.2f}ms, mfu {45.61:.2f}%",
        lambda s: f"step {s}: train loss {loss(s):.4f}, val loss {loss(s) + 0.01:.4f}",
        first=True,
    )


def build_nanogpt() -> str:
    return "total desired batch size: 524288\n" + log(
        lambda s: (
            f"step {s:5d} | loss: {loss(s):.6f} | lr {3e-4:.4e} | norm: 0.2707 | dt: 704.72ms"
            " | tok/sec: 743961.34"
        ),
        lambda s: f"validation loss: {loss(s) + 0.01:.4f}\nHellaSwag accuracy: 2508/10042=0.2498",
        first=True,
    )


def build_nanogpt_file() -> str:
    return log(
        lambda s: f"{s} train {loss(s):.6f}",
        lambda s: f"{s} val {loss(s) + 0.01:.4f}\n{s} hella 0.2498",
        first=True,
    )


def nanochat() -> str:
    return "Total batch size 524,288 => gradient accumulation steps: 1\n" + log(
        lambda s: (
            f"step {s:05d}/{TOTAL:05d} ({s / 20:.2f}%) | loss: {loss(s):.6f} | lrm: 1.00"
            " | dt: 331.20ms | tok/sec: 1,048,576 | bf16_mfu: 45.60 | epoch: 1 | total time: 1.50m"
        ),
        lambda s: f"Step {s:05d} | Validation bpb: {loss(s) / 3:.6f}",
    )


def torchtitan() -> str:
    grey, red, green, end = "\x1b[90m", "\x1b[31m", "\x1b[32m", "\x1b[0m"
    front = "[rank0]:[titan] 2026-01-02 03:04:05,678 - root - INFO - "
    text = f"{front}Model llama3 {red}size: 6,139,136 total parameters{end}\n"
    text += (
        f"{front}Training starts at step 1, with local batch size 8, global batch size 256,"
        f" sequence length 2048, total steps {TOTAL} (warmup 2)\n"
    )
    return text + log(
        lambda s: (
            f"{front}{red}step: {s:2}  {green}loss: {loss(s):8.5f}  {grey}grad_norm:  0.2512"
            f"  memory:  1.21GiB(1.28%)  tps: 12,345  tflops: 1.23  mfu: 1.12%{end}"
        ),
        lambda s: (
            f"{front}validate step: {s:2}  {green}loss: {loss(s) + 0.01:7.4f}"
            f"  memory:  1.21GiB(1.28%)  tps: 12,345{end}"
        ),
    )


def lingua() -> str:
    return log(
        lambda s: (
            f"0: INFO    26-01-02 03:04:05.678 [train.py:432] - step: {s}  acc: 0"
            f"  loss: {round(loss(s), 4):>7}  grad: 2.51e-01  flops: 4.12e+14  wps: 5.12e+04"
            "  iter:  0.3123  data:  0.001  lr: 3.00e-04  mem: 61%  pow: 512.3 W"
        ),
        lambda s: "other: words 3",
    )


def nanotron() -> str:
    front = "[default0]:01/02/2026 03:04:05 [INFO|DP=0|PP=0|TP=0|ip-26-0-1-2]: "
    return log(
        lambda s: (
            f"{front}iteration: {s} / {TOTAL} | consumed_tokens: {s * TOKENS / 1e6:.4g}M"
            " | time_per_iteration_ms: 1.31K | tokens_per_sec: 400K | tokens_per_sec_per_gpu: 50K"
            f" | global_batch_size: 524K | lm_loss: {loss(s):.3g} | lr: 0.0003"
            " | model_tflops_per_gpu: 180 | grad_norm: 0.25 | eta: 1 day, 2:03:04"
        ),
        lambda s: f"{front}Saving checkpoint at /x/{s}",
    )


def litgpt() -> str:
    return "Total parameters: 1,100,048,384\n" + log(
        lambda s: (
            f"Epoch 1 | iter {s * 4} step {s} | loss train: {loss(s):.3f}, val: n/a"
            " | iter time: 331.20 ms (step) remaining time: 1:02:03"
        ),
        lambda s: f"iter {s * 4}: val loss {loss(s) + 0.01:.4f}, val time: 1200.00 ms",
    )


def maxtext() -> str:
    front = "I0102 03:04:05.678901 140110937163584 metric_logger.py:214] "
    return f"{front}number parameters: 0.596 billion\n" + log(
        lambda s: (
            f"{front}completed step: {s}, seconds: 0.570, TFLOP/s/device: 37.633,"
            f" Tokens/s/device: 7185.042, total_weights: {TOKENS}, loss: {loss(s):.3f},"
            " lm_loss: 0.000, perplexity: 2.000"
        ),
        lambda s: (
            f"{front}Completed eval after train step {s}, loss={loss(s) + 0.01:.3f},"
            f" perplexity=9.000, total_weights={TOKENS}"
        ),
    )


def composer(head: str = "[epoch=1][batch={s}/2000]", before: int = 1) -> str:
    return log(
        lambda s: (
            f"{head.format(s=s, t=s * TOKENS)}:\n\t Train time/batch: {s - before}\n"
            f"\t Train time/token: {s * TOKENS}\n\t Train loss/train/total: {loss(s):.4f}\n"
            f"\t Train metrics/train/LanguageCrossEntropy: {loss(s):.4f}\n\t Train lr: 0.0003"
        ),
        lambda s: (
            "[Eval batch=1/321] Eval on eval data\n[Eval batch=321/321] Eval on eval data:\n"
            f"\t Eval metrics/eval/LanguageCrossEntropy: {loss(s) + 0.01:.4f}"
        ),
    )


def nemo() -> str:
    return log(
        lambda s: (
            f"Training epoch 0, iteration {s}/{TOTAL - 1} | lr: 0.0003 | global_batch_size: 256"
            f" | global_step: {s} | peak_memory_usage: 5000 | reduced_train_loss: {loss(s):.4f}"
            f" | train_step_timing in s: 1.31 | consumed_samples: {s * 256}"
        ),
        lambda s: "Validation: iteration 1/8",
    )


def megatron(name: str = "lm loss", front: str = "") -> str:
    value = f"{name} value"
    return f"{front}  seq_length ...................................... 2048\n" + log(
        lambda s: (
            f"{front} [2026-01-02 03:04:05] iteration {s:8d}/{TOTAL:8d} |"
            f" consumed samples: {s * 256:12d} | consumed tokens: {s * TOKENS:12d} |"
            f" elapsed time per iteration (ms): 1310.0 | learning rate: 3.000E-04 |"
            f" global batch size:   256 | {name}: {loss(s):.6E} | loss scale: 1.0 |"
            " grad norm: 0.251 | number of nan iterations:   0 |"
        ),
        lambda s: (
            f"{front}-----------\n{front} validation loss at iteration {s} |"
            f" {value}: {loss(s) + 0.01:.6E} | {name} PPL: 5.980628E+01 | \n{front}-----------"
        ),
    )


def neox() -> str:
    front = "ip-1: [2026-01-02 03:04:05,678] [INFO] [logging.py:96:log_dist] [Rank 0] "
    return log(
        lambda s: (
            f"{front}step={s}, skipped=0, lr=[0.0003, 0.0003], mom=[[0.9, 0.95], [0.9, 0.95]]\n"
            f" samples/sec: 195.4 | iteration {s:8d}/{TOTAL:8d} | elapsed time per iteration"
            f" (ms): 1310.0 | learning rate: 3.000E-04 | approx flops per GPU: 43.2TFLOPS |"
            f" lm_loss: {loss(s):.6E} | loss scale: 1.0 | number of nan iterations:   0 |"
        ),
        lambda s: (
            f"-----\n validation results at iteration {s} | lm_loss value: {loss(s) + 0.01:.6E} |"
            " lm_loss_ppl value: 5.980628E+01 | \n-----"
        ),
    )


def olmo(total: str = f"/{TOTAL}", more: str = "", name: str = "train/CrossEntropyLoss") -> str:
    front = "2026-01-02 03:04:05.678\thost:0\tolmo.train:816\tINFO\t"
    return log(
        lambda s: (
            f"{front}[step={s}{total}{more}]\n    {name}={loss(s):.3f}\n"
            f"    throughput/total_tokens={s * TOKENS:,d}\n    optim/LR=3.0000E-04"
        ),
        lambda s: f"{front}Evaluating\n    eval/c4/CrossEntropyLoss={loss(s) + 0.01:.3f}",
    )


def rows(front: str = "", more: str = "", plan: bool = True, quote: str = "") -> str:
    text = ""
    if plan:
        text = f"  Num Epochs = 2\n  Total optimization steps = {TOTAL:,}\n"
        text += "  Number of trainable parameters = 30,000,000\n"
    q = quote
    text += log(
        lambda s: (
            f"{front}{{'loss': {q}{loss(s):.4f}{q}, 'grad_norm': {q}0.25{q}, 'learning_rate':"
            f" {q}3e-04{q}, 'epoch': {q}{s / 1000:.2f}{q}{more.format(s=s)}}}"
        ),
        lambda s: (
            f"{front}{{'eval_loss': {q}{loss(s) + 0.01:.4f}{q}, 'eval_runtime': 1.2, 'epoch':"
            f" {q}{s / 1000:.2f}{q}{more.format(s=s)}}}"
        ),
    )
    return text + "{'train_runtime': 99.0, 'train_loss': 4.4, 'epoch': 2.0}\n" * (not more)


def fairseq() -> str:
    front = "2026-01-02 03:04:05 | INFO | "
    bits = math.log(2)
    return "num. shared model params: 30,000,000 (num. trained: 30,000,000)\n" + log(
        lambda s: (
            f"{front}train_inner | epoch 001:  {s:5d} / 2500 loss={loss(s) / bits:.3f},"
            f" ppl=48.5, wps=51200, ups=1, wpb=524288, bsz=256, num_updates={s}, lr=0.0003,"
            " gnorm=0.25, train_wall=100, wall=200"
        ),
        lambda s: (
            f"{front}valid | epoch 001 | valid on 'valid' subset | loss"
            f" {(loss(s) + 0.01) / bits:.3f} | ppl 49 | wps 0 | wpb 2048 | bsz 4 | num_updates {s}"
        ),
    )


def clu() -> str:
    at = "I1128 10:00:00.123456 140 logging_writer.py:48] "
    return log(
        lambda s: f"{at}[{s}] collection=train learning_rate=0.0003, loss={loss(s):.6g}",
        lambda s: f"{at}[{s}] collection=eval accuracy=0.41, loss={loss(s) + 0.01:.6g}",
    )


def levanter() -> str:
    return log(
        lambda s: (
            f"2026-01-02T03:04:05 - 0 - tqdm_loggable.tqdm_logging - tqdm_logging.py:145 - INFO ::"
            f" Progress on:train {s}it/{TOTAL}it rate:1.2it/s remaining:12:30 elapsed:01:20"
            f" postfix:loss={loss(s):.3f}"
        ),
        lambda s: "INFO :: Saving checkpoint",
    )


def lightning() -> str:
    text = ""
    for epoch in range(2):
        for step in range(EVERY, 1001, EVERY):
            text += (
                f"\rEpoch {epoch}: {step // 10:3d}%|{'█' * 5}     | {step}/1000 [01:02<03:04,"
                f"  3.20it/s, v_num=0, train_loss={loss(step + 1000 * epoch):.4f}]"
            )
    return text + "\n"


def keras() -> str:
    """Progbar.update: a bar that is drawn over, then the epoch's means."""
    text = ""
    for epoch, step in enumerate(STEPS, 1):
        text += f"Epoch {epoch}/{len(STEPS)}\n"
        for batch in (1, 50):
            text += f"\x1b[1m{batch}/100\x1b[0m ━━━━ \x1b[1m1s\x1b[0m - loss: 9.{batch:04d}\r"
        text += f"\x1b[1m100/100\x1b[0m ━━━━ \x1b[1m5s\x1b[0m 50ms/step - loss: {loss(step):.4f}\n"
    return text


# form: its file, what it calls the losses, their digits, and what else it says at the end
Case = tuple[str, str, str, float, dict[str, float], dict[str, Any]]
CASES: dict[str, Case] = {
    "modded-nanogpt": (modded(), "train_loss", "val_loss", 5e-5, {}, {"total_steps": TOTAL}),
    "llm.c": (
        llmc(), "train_loss", "val_loss", 5e-6, {"lr": 3e-4}, {"params": 124475904}
    ),
    "llm.c (main.log)": (llmc_file(), "train_loss", "val_loss", 5e-5, {"lr": 3e-4}, {}),
    "nanoGPT": (
        nanogpt(), "train_loss", "val_loss", 5e-5, {},
        {"batch_tokens": TOKENS, "params": 123590000},
    ),
    "build-nanogpt": (
        build_nanogpt(), "train_loss", "val_loss", 5e-5, {"lr": 3e-4, "hellaswag": 0.2498},
        {"batch_tokens": TOKENS},
    ),
    "build-nanogpt (log.txt)": (build_nanogpt_file(), "train_loss", "val_loss", 5e-5, {}, {}),
    "nanochat": (
        nanochat(), "loss", "Validation bpb", 5e-6, {"tok/sec": 1048576}, {"batch_tokens": TOKENS}
    ),
    "torchtitan": (
        torchtitan(), "train_loss", "val_loss", 5e-5, {"tps": 12345},
        {"params": 6139136, "global_batch_size": 256, "seq_len": 2048, "total_steps": TOTAL},
    ),
    "lingua": (
        lingua(), "train_loss", "", 5e-5, {"lr": 3e-4, "flops_per_second_per_gpu": 4.12e14}, {}
    ),
    "nanotron": (
        nanotron(), "train_loss", "", 5e-3, {"lr": 3e-4, "consumed_tokens": 1.049e9},
        {"total_steps": TOTAL},
    ),
    "litgpt": (litgpt(), "train_loss", "val_loss", 5e-4, {"epoch": 1}, {"params": 1100048384}),
    "MaxText": (
        maxtext(), "train_loss", "eval_loss", 5e-4, {"Tokens/s/device": 7185.042},
        {"params": 596000000},
    ),
    "Composer": (
        composer(), "metrics/train/LanguageCrossEntropy", "metrics/eval/LanguageCrossEntropy",
        5e-5, {"time/token": TOTAL * TOKENS, "lr": 3e-4}, {"total_steps": TOTAL},
    ),
    "Composer (by tokens or samples)": (
        composer("[token={t}/1048576000]", before=0), "metrics/train/LanguageCrossEntropy",
        "metrics/eval/LanguageCrossEntropy", 5e-5, {"time/token": TOTAL * TOKENS}, {},
    ),
    "NeMo": (
        nemo(), "reduced_train_loss", "", 5e-5, {"lr": 3e-4, "consumed_samples": TOTAL * 256}, {}
    ),
    "Megatron-LM": (
        megatron(), "lm loss", "lm loss value", 5e-7,
        {"learning rate": 3e-4, "consumed tokens": TOTAL * TOKENS},
        {"seq_length": 2048, "total_steps": TOTAL},
    ),
    "Megatron-DeepSpeed": (
        megatron(front="3:"), "lm loss", "lm loss value", 5e-7,
        {"consumed samples": TOTAL * 256}, {"seq_length": 2048},
    ),
    "GPT-NeoX": (
        neox(), "lm loss", "lm loss value", 5e-7, {"learning rate": 3e-4}, {"total_steps": TOTAL}
    ),
    "OLMo": (
        olmo(), "train/CrossEntropyLoss", "eval/c4/CrossEntropyLoss", 5e-4,
        {"throughput/total_tokens": TOTAL * TOKENS, "optim/LR": 3e-4}, {"total_steps": TOTAL},
    ),
    "OLMo-core": (
        olmo(more=",epoch=1,eta=1 day01:02:03", name="train/CE loss"), "train/CE loss",
        "eval/c4/CrossEntropyLoss", 5e-4, {"throughput/total_tokens": TOTAL * TOKENS},
        {"total_steps": TOTAL},
    ),
    "OLMo-core without an end": (
        olmo(total="/???", more=",epoch=1", name="train/CE loss"), "train/CE loss",
        "eval/c4/CrossEntropyLoss", 5e-4, {"optim/LR": 3e-4}, {},
    ),
    "Hugging Face Trainer": (
        rows(), "loss", "eval_loss", 5e-5, {"learning_rate": 3e-4}, {"total_steps": TOTAL}
    ),
    "Hugging Face Trainer 5": (
        rows(quote="'"), "loss", "eval_loss", 5e-5, {"learning_rate": 3e-4},
        {"total_steps": TOTAL},
    ),
    "LLaMA-Factory": (
        rows("[INFO|2026-01-02 03:04:05] llamafactory.train.callbacks:143 >> "), "loss",
        "eval_loss", 5e-5, {"learning_rate": 3e-4}, {"total_steps": TOTAL},
    ),
    "ms-swift": (
        rows(more=f", 'global_step/max_steps': '{{s}}/{TOTAL}', 'elapsed_time': '1m 2s'",
             plan=False),
        "loss", "eval_loss", 5e-5, {"learning_rate": 3e-4}, {"total_steps": TOTAL},
    ),
    "axolotl": (
        rows(more=", 'memory/max_active (GiB)': 5.2, 'tokens/total': 1048576000", plan=True),
        "loss", "eval_loss", 5e-5, {"tokens/total": TOTAL * TOKENS}, {},
    ),
    "fairseq": (
        fairseq(), "train_loss", "val_loss", 5e-4, {"train_inner/lr": 3e-4}, {"params": 30000000}
    ),
    "levanter": (levanter(), "train_loss", "", 5e-4, {}, {"total_steps": TOTAL}),
    "CLU": (clu(), "train/loss", "eval/loss", 5e-5, {"train/learning_rate": 3e-4}, {}),
    "Lightning": (lightning(), "train_loss", "", 5e-5, {}, {}),
    "Keras": (keras(), "loss", "", 5e-5, {}, {"total_steps": len(STEPS), "step_is": "epoch"}),
}  # fmt: skip


def runs_of(tmp_path: Path, text: str | bytes, name: str = "d12.log") -> tuple[Run, ...]:
    content = text.encode() if isinstance(text, str) else text
    (tmp_path / name).write_bytes(content)
    return read_sources([tmp_path / name]).runs


@pytest.mark.parametrize("trainer", CASES)
def test_what_a_trainer_prints_is_one_run(trainer: str, tmp_path: Path) -> None:
    text, train, evaluation, digits, last, settings = CASES[trainer]
    (run,) = runs_of(tmp_path, text)
    steps = list(range(1, len(STEPS) + 1)) if trainer == "Keras" else STEPS
    assert run.series[train].steps.tolist() == steps
    expected = [loss(step) for step in STEPS]
    assert run.series[train].values == pytest.approx(expected, abs=1.01 * digits)
    if evaluation:
        where = [step for step in STEPS if evaluated(step)]
        assert run.series[evaluation].steps.tolist() == where
        values = [loss(s) / 3 if "bpb" in evaluation else loss(s) + 0.01 for s in where]
        assert run.series[evaluation].values == pytest.approx(values, abs=max(1.01 * digits, 5e-4))
    assert {name: run.series[name].values[-1] for name in last} == last
    assert {name: run.config.get(name) for name in settings} == settings
    assert "non_finite" not in {note.code for note in run.notes}


@pytest.mark.parametrize(
    ("trainer", "code"),
    [
        ("fairseq", "in_bits"),
        ("build-nanogpt", "no_step_lines"),
        ("Hugging Face Trainer", "step_from_epoch"),
    ],
)
def test_what_is_derived_is_said_and_nothing_else(trainer: str, code: str, tmp_path: Path) -> None:
    (run,) = runs_of(tmp_path, CASES[trainer][0])
    assert code in {note.code for note in run.notes}
    (plain,) = runs_of(tmp_path, CASES["modded-nanogpt"][0])
    assert {note.code for note in plain.notes} == {"rounded"}


def test_every_form_is_tried_here_and_stands_in_the_documents() -> None:
    document = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")
    for form in FORMS:
        assert form.any_trainer or form.name in CASES
        assert form.any_trainer or form.name.partition(" (")[0] in document
    assert all(name.partition(" ")[0] in document for name in CASES)
