"""One ladder of runs, logged in the ways of several loggers, gives one and the same split."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorboardX import SummaryWriter
from typer.testing import CliRunner

from scaling_cli.cli import app

BATCH, LENGTH = 64, 1024
SIZES = [round(1e7 * 2**i) for i in range(4)]
RATIOS = (5, 10, 40, 160)
POINTS = 5


def ladder() -> dict[str, tuple[dict[str, int], list[tuple[int, float]]]]:
    """Run -> its settings, and the loss at its steps: 16 runs on a law with noise of a known kind.

    Losses have few binary digits, so that 32-bit event files hold them whole.
    """
    runs = {}
    for i, size in enumerate(SIZES):
        for j, ratio in enumerate(RATIOS):
            total = size * ratio // (BATCH * LENGTH) // POINTS * POINTS
            points = []
            for part in range(1, POINTS + 1):
                step = total * part // POINTS
                tokens = step * BATCH * LENGTH
                loss = 1.7 + 400 / size**0.34 + 410 / tokens**0.28 + (-1) ** (i + j) * 2e-3
                points.append((step, round(loss * 2**14) / 2**14))
            settings = {"n_params": size, "global_batch_size": BATCH, "seq_len": LENGTH}
            runs[f"n{i}d{j}"] = settings, points
    return runs


def as_csv(folder: Path) -> None:
    """Lightning's CSVLogger, and a table of the settings."""
    table = ["run_id,n_params,global_batch_size,seq_len"]
    for name, (settings, points) in ladder().items():
        rows = ["epoch,step,train_loss,val_loss"]
        for step, loss in points:
            rows += [f"0,{step},{loss + 0.1},", f"0,{step},,{loss}"]
        (folder / name).mkdir()
        (folder / name / "metrics.csv").write_text("\n".join(rows) + "\n")
        table.append(",".join(map(str, (name, *settings.values()))))
    (folder / "runs.csv").write_text("\n".join(table) + "\n")


def as_trainer_state(folder: Path) -> None:
    """The Trainer's; settings in a table, since its state holds none."""
    table = ["run_id,n_params,global_batch_size,seq_len"]
    for name, (settings, points) in ladder().items():
        log: list[dict[str, Any]] = []
        for step, loss in points:
            log += [{"loss": loss + 0.1, "step": step}, {"eval_loss": loss, "step": step}]
        last = points[-1][0]
        state = {"global_step": last, "max_steps": last, "log_history": log}
        (folder / name / f"checkpoint-{last}").mkdir(parents=True)
        (folder / name / f"checkpoint-{last}" / "trainer_state.json").write_text(json.dumps(state))
        table.append(",".join(map(str, (name, *settings.values()))))
    (folder / "runs.csv").write_text("\n".join(table) + "\n")


def as_console(folder: Path) -> None:
    """What the modded-nanogpt speedrun prints, and a table of the settings."""
    table = ["run_id,n_params,global_batch_size,seq_len"]
    for name, (settings, points) in ladder().items():
        last = points[-1][0]
        lines = ["import os", "class GPT: ...", "=" * 40]
        for step, loss in points:
            lines.append(f"step:{step}/{last} train_loss:{loss + 0.1:.14f} train_time:{step}ms")
            lines.append(f"step:{step}/{last} val_loss:{loss:.14f} train_time:{step}ms")
        (folder / f"{name}.log").write_text("\n".join(lines) + "\n")
        table.append(",".join(map(str, (name, *settings.values()))))
    (folder / "runs.csv").write_text("\n".join(table) + "\n")


def as_events(folder: Path) -> None:
    for name, (settings, points) in ladder().items():
        writer = SummaryWriter(str(folder / name))
        writer.add_text("args", json.dumps(settings), 0)
        for step, loss in points:
            writer.add_scalar("train/loss", loss + 0.125, step)
            writer.add_scalar("eval/loss", loss, step)
        writer.close()


def as_json_lines(folder: Path) -> None:
    for name, (settings, points) in ladder().items():
        rows: list[dict[str, Any]] = [{"config": settings}]
        rows += [{"num_updates": s, "loss": loss + 0.1, "val_loss": loss} for s, loss in points]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def as_wandb(folder: Path, own_step: bool) -> None:
    wandb = pytest.importorskip("wandb")
    os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_ERROR_REPORTING="false")
    for name, (settings, points) in ladder().items():
        run = wandb.init(project="p", id=name, name=name, dir=folder, config=settings)
        if own_step:  # as Lightning's logger does
            run.define_metric("trainer/global_step")
            run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
        for step, loss in points:
            if own_step:
                run.log({"train_loss": loss + 0.1, "trainer/global_step": step})
                run.log({"val_loss": loss, "trainer/global_step": step})
            else:
                run.log({"train/loss": loss + 0.1, "val/loss": loss}, step=step)
        run.finish()


def as_wandb_of_lightning(folder: Path) -> None:
    as_wandb(folder, own_step=True)


def as_plain_wandb(folder: Path) -> None:
    as_wandb(folder, own_step=False)


FORMS = (
    as_csv, as_trainer_state, as_console, as_events, as_json_lines, as_wandb_of_lightning,
    as_plain_wandb,
)  # fmt: skip


def answered(form: Callable[[Path], None], folder: Path) -> dict[str, Any]:
    source, store = folder / form.__name__, ["--store", str(folder / f"{form.__name__}.store")]
    source.mkdir()
    form(source)
    for command in (
        ["ingest", str(source)],
        ["fit", "--law", "chinchilla", "--bootstrap", "0"],
        ["optimal", "--budget", "1e22"],
    ):
        result = CliRunner().invoke(app, [*command, *store, "--json"])
        assert result.exit_code == 0, result.output
    (split,) = json.loads(result.stdout)["allocations"]
    return {name: split[name] for name in ("params", "tokens", "loss")}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return answered(as_csv, tmp_path_factory.mktemp("csv"))


@pytest.mark.parametrize("form", FORMS[1:], ids=lambda form: form.__name__)
def test_every_logger_gives_one_split(
    form: Callable[[Path], None],
    expected: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("WANDB_MODE", "WANDB_SILENT", "WANDB_ERROR_REPORTING"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    assert answered(form, tmp_path) == pytest.approx(expected, rel=1e-9)
