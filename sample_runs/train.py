"""Train the ladder of byte-level transformers whose logs are shipped in this folder.

    python train.py --list         # every run: what it is, its logger, whether it is recorded
    python train.py --workers 2    # train what is not recorded yet, one thread a run

The text is the running interpreter's own standard library, so nothing is downloaded. A run that
is recorded is skipped; one that is interrupted leaves only a folder under `.partial/` and starts
anew.
Needs the `train` extra: torch, tensorboardX and wandb.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import fcntl
import json
import math
import multiprocessing
import os
import shutil
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
VOCAB = 256
SEQ_LEN = 128
BATCH_SIZE = 16
VALIDATION_WINDOWS = 128
TRAIN_ROWS = 256  # logged rows of a long run
VALIDATION_ROWS = 104  # of these also hold the validation figures
TEST_FOLDERS = {"test", "tests", "idle_test", "site-packages", "__pycache__"}

# (d_model, n_layers); width and depth grow together as far as models this small allow.
SIZES = [(16, 1), (16, 2), (24, 2), (32, 2), (48, 2), (64, 2), (80, 3), (96, 3), (128, 3)]
# Compute budget in FLOPs (6 N D) -> indices into SIZES. The lowest loss lies inside each row.
LADDER = {
    1e11: [0, 1, 2, 3, 4],
    3e11: [0, 1, 2, 3, 4],
    9e11: [1, 2, 3, 4, 5],
    2.7e12: [2, 3, 4, 5, 6],
    8.1e12: [3, 4, 5, 6, 7],
}
HOLDOUT = (3.3e13, [6, 7])  # four times the largest budget, kept out of every fit
REPEATED = (9e11, 3)  # the point that is trained with three seeds
SCHEDULED = (3, [4.5e11, 9e11, 1.8e12])  # one size, three lengths, three schedules


@dataclasses.dataclass(frozen=True)
class Run:
    """One training run; its fields are its logged config."""

    run_id: str
    recipe: str  # baseline | rotary
    split: str  # ladder | repeat | schedule | holdout
    d_model: int
    n_layers: int
    budget_flops: float
    schedule: str = "cosine"
    seed: int = 0
    logger: str = "csv"

    @property
    def n_heads(self) -> int:
        return max(1, self.d_model // 16)

    @property
    def d_ff(self) -> int:
        # The gated unit has three matrices instead of two; 8/3 d keeps the count equal.
        return 4 * self.d_model if self.recipe == "baseline" else 8 * round(self.d_model / 3)

    @property
    def params_non_embedding(self) -> int:
        """Weights of the blocks and norms: no token embedding, no positions."""
        d, ff = self.d_model, self.d_ff
        if self.recipe == "baseline":  # biases everywhere, as in GPT-2
            block = 4 * d * d + 4 * d + 2 * d * ff + ff + d + 4 * d
            return self.n_layers * block + 2 * d
        return self.n_layers * (4 * d * d + 3 * d * ff + 2 * d) + d

    @property
    def params(self) -> int:
        """All weights; the token embedding is shared with the output and counted once."""
        positions = SEQ_LEN * self.d_model if self.recipe == "baseline" else 0
        return self.params_non_embedding + VOCAB * self.d_model + positions

    @property
    def batch_tokens(self) -> int:
        return BATCH_SIZE * SEQ_LEN

    @property
    def total_steps(self) -> int:
        return max(
            VALIDATION_ROWS, round(self.budget_flops / (6 * self.params * self.batch_tokens))
        )

    @property
    def flops_per_token_exact(self) -> int:
        """Multiply-adds of every matrix product counted as two, backward twice the forward."""
        d, ff = self.d_model, self.d_ff
        matrices = 4 * d * d + (2 if self.recipe == "baseline" else 3) * d * ff
        attention = 2 * SEQ_LEN * d  # scores and mixing over the whole window
        return 3 * 2 * (self.n_layers * (matrices + attention) + VOCAB * d)

    @property
    def learning_rate(self) -> float:
        """Peak rate: from a sweep at d_model 16 and 64, see README.md."""
        return PEAK_RATE * (64 / self.d_model) ** RATE_EXPONENT

    @property
    def warmup_steps(self) -> int:
        return min(100, self.total_steps // 10)

    def config(self) -> dict[str, Any]:
        tokens = self.total_steps * self.batch_tokens
        return dataclasses.asdict(self) | {
            "n_heads": self.n_heads,
            "params": self.params,
            "params_non_embedding": self.params_non_embedding,
            "seq_len": SEQ_LEN,
            "batch_size": BATCH_SIZE,
            "batch_tokens": self.batch_tokens,
            "total_steps": self.total_steps,
            "warmup_steps": self.warmup_steps,
            "peak_learning_rate": self.learning_rate,
            "flops_6nd": 6 * self.params * tokens,
            "flops_exact": self.flops_per_token_exact * tokens,
        }


PEAK_RATE = 1e-2
RATE_EXPONENT = 0.5


def ladder() -> list[Run]:
    """Every run of the shipped set, cheapest first."""
    runs = []
    for recipe in ("baseline", "rotary"):

        def add(
            split: str, size: int, budget: float, logger: str, recipe: str = recipe, **more: Any
        ) -> None:
            d_model, n_layers = SIZES[size]
            tail = "".join(f"-{k[0]}{v}" for k, v in more.items())
            run_id = f"{recipe}-{split}-d{d_model}l{n_layers}-{budget:.1e}{tail}".replace("+", "")
            runs.append(
                Run(run_id, recipe, split, d_model, n_layers, budget, logger=logger, **more)
            )

        for i, (budget, sizes) in enumerate(LADDER.items()):
            for j, size in enumerate(sizes):
                # A diagonal of the grid goes to the binary formats; the rest is text, so that
                # text alone still brackets every budget.
                binary = "wandb" if i % 2 else "tensorboard"
                add("ladder", size, budget, binary if i == j else ("csv", "jsonl")[(i + j) % 2])
        budget, size = REPEATED
        add("repeat", size, budget, "tensorboard", seed=1)
        add("repeat", size, budget, "wandb", seed=2)
        budget, sizes = HOLDOUT
        for k, size in enumerate(sizes):
            add("holdout", size, budget, ("csv", "jsonl")[k])
    size, lengths = SCHEDULED
    for budget in lengths:
        for schedule, logger in (
            ("cosine", "jsonl"),
            ("constant", "tensorboard"),
            ("wsd", "wandb"),
        ):
            d_model, n_layers = SIZES[size]
            run_id = f"baseline-schedule-d{d_model}l{n_layers}-{budget:.1e}-{schedule}".replace(
                "+", ""
            )
            runs.append(
                Run(run_id, "baseline", "schedule", d_model, n_layers, budget, schedule, 3, logger)
            )
    return sorted(runs, key=lambda run: (run.budget_flops, run.run_id))


def rate_at(run: Run, step: int) -> float:
    """Learning rate of the 1-based `step`: linear warmup, then the schedule down to a tenth."""
    peak, total, warmup = run.learning_rate, run.total_steps, run.warmup_steps
    if step <= warmup:
        return peak * step / warmup
    if run.schedule == "constant":
        return peak
    if run.schedule == "cosine":
        x = (step - warmup) / (total - warmup)
        return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * x)))
    decay_from = round(0.8 * total)  # wsd: the last fifth falls linearly
    return peak * (1 - 0.9 * max(0, step - decay_from) / (total - decay_from))


def library_text(stdlib: Path) -> tuple[bytes, bytes]:
    """The library's sources in path order: every 20th file is for validation, the rest to train."""
    files = sorted(
        path.relative_to(stdlib).as_posix()
        for path in stdlib.rglob("*.py")
        if not TEST_FOLDERS & set(path.relative_to(stdlib).parts[:-1])
    )
    parts: dict[bool, list[bytes]] = {True: [], False: []}
    for index, name in enumerate(files):
        parts[index % 20 == 10].append((stdlib / name).read_bytes())
    return b"\n".join(parts[False]), b"\n".join(parts[True])


class CsvLogger:
    """One file a run, and `runs.csv` with one row of config a run."""

    def __init__(self, run: Run, folder: Path) -> None:
        self.run, self.folder, self.rows = run, folder, list[dict[str, Any]]()

    def log(self, row: dict[str, Any]) -> None:
        self.rows.append(row)

    def close(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{self.run.run_id}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, self.rows[-1], lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)

    def finish(self, home: Path) -> None:
        """Called under a lock, once the history is in place."""
        path = home / "runs.csv"
        known = list(csv.DictReader(path.open(newline=""))) if path.exists() else []
        rows = sorted([*known, self.run.config()], key=lambda row: str(row["run_id"]))
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.run.config(), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


class JsonlLogger:
    """One file a run: a line of config, then a line a logged step."""

    def __init__(self, run: Run, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.file = (folder / f"{run.run_id}.jsonl").open("w")
        self.log({"run_id": run.run_id, "config": run.config()})

    def log(self, row: dict[str, Any]) -> None:
        self.file.write(json.dumps(row) + "\n")

    def close(self) -> None:
        self.file.close()

    def finish(self, home: Path) -> None:
        pass


class TensorBoardLogger:
    """A folder a run, written by tensorboardX; the config goes in as hyperparameters."""

    def __init__(self, run: Run, folder: Path) -> None:
        from tensorboardX import SummaryWriter
        from tensorboardX.summary import hparams

        self.folder = folder / run.run_id
        self.writer = SummaryWriter(str(self.folder))
        for summary in hparams(run.config(), {"val/loss": 0.0}):
            self.writer.file_writer.add_summary(summary)

    def log(self, row: dict[str, Any]) -> None:
        for name, value in row.items():
            if name != "step":
                self.writer.add_scalar(name, value, row["step"])

    def close(self) -> None:
        self.writer.close()
        for path in self.folder.iterdir():  # the writer puts the host's name into the file's name
            path.rename(path.with_name(".".join(path.name.split(".")[:4]) + ".sample"))

    def finish(self, home: Path) -> None:
        pass


class WandbLogger:
    """An offline run of the wandb client, with all that it adds about the machine switched off."""

    def __init__(self, run: Run, folder: Path) -> None:
        import wandb

        self.folder = folder
        folder.mkdir(parents=True)
        settings = wandb.Settings(
            mode="offline",
            root_dir=str(folder),
            entity="",
            project="sample-ladder",
            run_id=run.run_id.replace(".", "_"),
            run_name=run.run_id,
            run_group=run.recipe,
            console="off",
            disable_code=True,
            disable_git=True,
            silent=True,
            host="sample",
            program="train.py",
            save_code=False,
            x_disable_meta=True,
            x_disable_stats=True,
            x_disable_machine_info=True,
            x_save_requirements=False,
        )
        config = run.config()
        self.run = wandb.init(settings=settings, config=config, tags=[run.split])

    def log(self, row: dict[str, Any]) -> None:
        row = dict(row)
        self.run.log(row, step=row.pop("step"))

    def close(self) -> None:
        self.run.finish()
        base = self.folder / "wandb"
        for path in list(base.iterdir()):
            if not path.name.startswith("offline-run-"):
                path.unlink() if path.is_symlink() or path.is_file() else shutil.rmtree(path)
                continue
            for inner in list(path.iterdir()):
                if inner.suffix != ".wandb":
                    shutil.rmtree(inner) if inner.is_dir() else inner.unlink()

    def finish(self, home: Path) -> None:
        pass


LOGGERS = {
    "csv": CsvLogger,
    "jsonl": JsonlLogger,
    "tensorboard": TensorBoardLogger,
    "wandb": WandbLogger,
}


def recorded(run: Run, out: Path) -> bool:
    return {
        "csv": lambda home: (home / f"{run.run_id}.csv").exists(),
        "jsonl": lambda home: (home / f"{run.run_id}.jsonl").exists(),
        "tensorboard": lambda home: (home / run.run_id).is_dir(),
        "wandb": lambda home: any(home.rglob(f"run-{run.run_id.replace('.', '_')}.wandb")),
    }[run.logger](out / run.logger)


def build_model(run: Run) -> Any:
    import torch
    from torch import nn
    from torch.nn import functional as F

    rotary = run.recipe == "rotary"
    d, heads = run.d_model, run.n_heads
    head_dim = d // heads
    norm = (lambda: nn.RMSNorm(d)) if rotary else (lambda: nn.LayerNorm(d))
    bias = not rotary

    half = torch.arange(head_dim // 2) / (head_dim // 2)
    angles = torch.outer(torch.arange(SEQ_LEN), 1e4**-half)
    cos, sin = angles.cos(), angles.sin()

    def rotate(x: Any) -> Any:
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = norm(), norm()
            self.qkv = nn.Linear(d, 3 * d, bias=bias)
            self.out = nn.Linear(d, d, bias=bias)
            self.up = nn.Linear(d, run.d_ff * (2 if rotary else 1), bias=bias)
            self.down = nn.Linear(run.d_ff, d, bias=bias)

        def forward(self, x: Any) -> Any:
            batch = x.shape[0]
            qkv = self.qkv(self.norm1(x)).view(batch, SEQ_LEN, 3, heads, head_dim)
            q, k, v = qkv.permute(2, 0, 3, 1, 4)
            if rotary:
                q, k = rotate(q), rotate(k)
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(mixed.transpose(1, 2).reshape(batch, SEQ_LEN, d))
            hidden = self.up(self.norm2(x))
            if rotary:
                gate, value = hidden.chunk(2, dim=-1)
                return x + self.down(F.silu(gate) * value)
            return x + self.down(F.relu(hidden))

    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(VOCAB, d)
            self.positions = None if rotary else nn.Parameter(0.02 * torch.randn(SEQ_LEN, d))
            self.blocks = nn.ModuleList(Block() for _ in range(run.n_layers))
            self.norm = norm()
            nn.init.normal_(self.embedding.weight, std=d**-0.5)
            for block in self.blocks:
                for layer in (block.qkv, block.up):
                    nn.init.normal_(layer.weight, std=d**-0.5)
                for layer in (block.out, block.down):
                    scale = (layer.in_features * 2 * run.n_layers) ** -0.5
                    nn.init.normal_(layer.weight, std=scale)

        def forward(self, tokens: Any) -> Any:
            x = self.embedding(tokens)
            if self.positions is not None:
                x = x + self.positions
            for block in self.blocks:
                x = block(x)
            return F.linear(self.norm(x), self.embedding.weight)

    model = Transformer()
    assert sum(p.numel() for p in model.parameters()) == run.params
    return model


def train(run: Run, texts: tuple[bytes, bytes], compiled: bool = False) -> Iterator[dict[str, Any]]:
    """Train one run; yields a row for each logged step."""
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(1)
    torch.manual_seed(run.seed)
    model = build_model(run)
    forward = torch.compile(model) if compiled else model
    text, validation_text = (torch.frombuffer(bytearray(t), dtype=torch.uint8) for t in texts)
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() != 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), fused=True)
    draw = torch.Generator().manual_seed(1000 + run.seed)
    window = torch.arange(SEQ_LEN + 1)

    stride = (len(validation_text) - SEQ_LEN - 1) // VALIDATION_WINDOWS
    starts = torch.arange(VALIDATION_WINDOWS) * stride
    held_out = validation_text[starts[:, None] + window].long()

    def validate() -> tuple[float, float]:
        losses, hits = 0.0, 0.0
        with torch.inference_mode():
            for batch in held_out.split(32):
                logits, target = model(batch[:, :-1]), batch[:, 1:]
                losses += float(
                    F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="sum")
                )
                hits += float((logits.argmax(-1) == target).sum())
        return losses / (VALIDATION_WINDOWS * SEQ_LEN), hits / (VALIDATION_WINDOWS * SEQ_LEN)

    every = max(1, run.total_steps // TRAIN_ROWS)
    validate_every = every * max(1, run.total_steps // every // VALIDATION_ROWS)
    recent: list[Any] = []
    for step in range(1, run.total_steps + 1):
        rate = rate_at(run, step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        starts = torch.randint(len(text) - SEQ_LEN, (BATCH_SIZE,), generator=draw)
        batch = text[starts[:, None] + window].long()
        loss = F.cross_entropy(forward(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        recent.append(loss.detach())
        if step % every and step != run.total_steps:
            continue
        row = {
            "step": step,
            "tokens": step * run.batch_tokens,
            "lr": rate,
            "train/loss": float(torch.stack(recent).mean()),
        }
        recent.clear()
        if step % validate_every == 0 or step == run.total_steps:
            row["val/loss"], row["val/accuracy"] = validate()
        yield row


def record(run: Run, out: Path, stdlib: Path, compiled: bool) -> str:
    """Train a run and put its record in place as a whole."""
    started = time.monotonic()
    partial = out / ".partial" / run.run_id
    shutil.rmtree(partial, ignore_errors=True)
    texts = library_text(stdlib)
    logger = LOGGERS[run.logger](run, partial)
    for row in train(run, texts, compiled):
        logger.log(row)
    logger.close()
    home = out / run.logger
    home.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        source = partial / "wandb" if run.logger == "wandb" else partial
        for path in source.iterdir():
            shutil.move(path, home / path.name)
        logger.finish(home)
    shutil.rmtree(partial)
    seconds = time.monotonic() - started
    rate = run.config()["flops_6nd"] / seconds / 1e9
    return f"{run.run_id}: val/loss {row['val/loss']:.4f}, {seconds:.0f} s, {rate:.0f} GFLOP/s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the records")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="runs side by side"
    )
    parser.add_argument("--only", default="", help="train only runs whose id holds this text")
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile; needs a C++ compiler"
    )
    parser.add_argument("--list", action="store_true", help="list the runs and stop")
    parser.add_argument(
        "--stdlib",
        type=Path,
        default=Path(sysconfig.get_path("stdlib")),
        help="another library folder",
    )
    args = parser.parse_args()
    runs = [run for run in ladder() if args.only in run.run_id]
    if args.list:
        for run in runs:
            done = "recorded" if recorded(run, args.out) else "-"
            print(f"{run.run_id:42} {run.logger:11} {run.params:7} {run.total_steps:6} {done}")
        return
    todo = [run for run in runs if not recorded(run, args.out)]
    print(f"{len(runs) - len(todo)} recorded, {len(todo)} to train", file=sys.stderr)
    with multiprocessing.get_context("spawn").Pool(args.workers, maxtasksperchild=1) as pool:
        jobs = [
            pool.apply_async(record, (run, args.out, args.stdlib, args.compile)) for run in todo
        ]
        for number, job in enumerate(jobs, 1):
            print(f"[{number}/{len(jobs)}] {job.get()}", flush=True)


if __name__ == "__main__":
    main()
