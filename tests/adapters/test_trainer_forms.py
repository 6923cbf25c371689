"""Files in the forms of trainers and loggers, as their own sources write them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tensorboardX import SummaryWriter

from scaling_cli.adapters.reading import read_sources
from scaling_cli.resolve import finals

STEPS = list(range(10, 101, 10))


def write(path: Path, *rows: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(texts) + "\n")
    return path


def json_array(folder: Path) -> Path:
    path = folder / "history.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([{"step": s, "loss": 5 - s / 50} for s in STEPS], indent=1))
    return path


def fairseq(folder: Path) -> Path:
    """`--log-format json`: a logger's prefix, then numbers as texts (fairseq progress_bar.py)."""
    prefix = "2023-01-01 10:00:00 | INFO | train_inner | "
    rows = ["2023-01-01 10:00:00 | INFO | fairseq_cli.train | num. shared model params: 7,000"]
    rows += [
        prefix
        + json.dumps({"epoch": 1, "update": s / 100, "loss": f"{5 - s / 50}", "ppl": "9.9",
                      "wps": "10", "num_updates": str(s), "lr": "0.0001"})
        for s in STEPS
    ]  # fmt: skip
    valid = {"epoch": 1, "valid_loss": "3.0", "valid_ppl": "8", "valid_num_updates": "100"}
    return write(folder / "train.log", *rows, "2023 | INFO | valid | " + json.dumps(valid))


def ms_swift(folder: Path) -> Path:
    """logging.jsonl: the step and the total in one text."""
    rows = [
        {"loss": 5 - s / 50, "learning_rate": 1e-4, "epoch": s / 100,
         "global_step/max_steps": f"{s}/100", "percentage": f"{s}.00%", "elapsed_time": "1s"}
        for s in STEPS
    ]  # fmt: skip
    return write(folder / "logging.jsonl", *rows)


def llama_factory(folder: Path) -> Path:
    rows = [
        {"current_steps": s, "total_steps": 100, "loss": 5 - s / 50, "lr": 1e-4, "epoch": s / 100,
         "percentage": float(s), "elapsed_time": "0:01:48", "remaining_time": "0:12:10"}
        for s in STEPS
    ]  # fmt: skip
    return write(folder / "trainer_log.jsonl", *rows)


def lightning_csv(folder: Path) -> Path:
    """CSVLogger: training and validation on rows of their own."""
    rows = ["epoch,step,train_loss,val_loss"]
    for s in STEPS:
        rows.append(f"0,{s},{5 - s / 50},")
        if s % 50 == 0:
            rows.append(f"0,{s},,{5 - s / 50}")
    return write(folder / "version_0" / "metrics.csv", *rows)


def levanter(folder: Path) -> Path:
    """Its JSON logger and MaxText's metrics file: one object a step."""
    rows = [{"step": float(s), "perf/step_time_seconds": 1.0, "learning/loss": 5 - s / 50}
            for s in STEPS]  # fmt: skip
    return write(folder / "metrics.jsonl", *rows)


def olmo(folder: Path) -> Path:
    """OLMo's names, as its trainer gives them to loggers."""
    rows = [
        {"_step": s, "train/CrossEntropyLoss": 5 - s / 50, "throughput/total_tokens": 4096 * s}
        for s in STEPS
    ]
    return write(folder / "olmo.jsonl", *rows)


def composer(folder: Path) -> Path:
    """MosaicML Composer's names: the time's batch and token."""
    rows = [
        {"time/batch": s, "time/token": 4096 * s, "loss/train/total": 5 - s / 50} for s in STEPS
    ]
    return write(folder / "composer.jsonl", *rows)


@pytest.mark.parametrize(
    "form",
    [json_array, fairseq, ms_swift, llama_factory, lightning_csv, levanter, olmo, composer],
)
def test_a_trainers_file_is_one_run(tmp_path: Path, form: Callable[[Path], Path]) -> None:
    (run,) = read_sources([form(tmp_path)]).runs
    (row,) = finals([run]).rows
    assert row.values["steps"] == row.values["step"] == 100
    assert row.values["loss"] == 3
    name = "train_loss" if form is lightning_csv else row.mapped["loss"]
    name = "loss" if form is fairseq else name
    assert run.series[name].steps.tolist() == STEPS
    if form in (olmo, composer):
        assert row.values["tokens"] == 409600


def test_a_total_behind_the_step_is_the_plan(tmp_path: Path) -> None:
    (run,) = read_sources([ms_swift(tmp_path)]).runs
    assert run.config["total_steps"] == 100


def test_keras_epochs_are_its_points(tmp_path: Path) -> None:
    path = write(tmp_path / "k.csv", "epoch,loss,val_loss", "0,5,5.5", "1,4,4.5", "2,3,3.5")
    found = read_sources([path])
    (row,) = finals(found.runs).rows
    assert (row.mapped["loss"], row.values["loss"]) == ("val_loss", 3.5)
    assert found.runs[0].series["loss"].steps.tolist() == [0, 1, 2]


def events(folder: Path, fill: Callable[[SummaryWriter], None]) -> Path:
    writer = SummaryWriter(str(folder))
    fill(writer)
    writer.close()
    return folder


def test_settings_in_texts_of_tensorboard(tmp_path: Path) -> None:
    def fill(writer: SummaryWriter) -> None:
        writer.add_text("args", json.dumps({"n_params": 7, "model": {"width": 8}}), 0)
        writer.add_text("config", "train:\n  seq_len: 128\n  name: x\nseed: 3", 0)
        writer.add_text("global_batch_size", "256", 0)  # as Megatron logs its arguments
        writer.add_text("samples/1", "The cat sat on the mat: it\nwas warm", 0)
        for s in STEPS:
            writer.add_scalar("loss", 5 - s / 50, s)

    (run,) = read_sources([events(tmp_path / "tb", fill)]).runs
    assert run.config == {
        "n_params": 7, "model.width": 8, "train.seq_len": 128, "train.name": "x", "seed": 3,
        "global_batch_size": 256,
    }  # fmt: skip


def test_what_megatron_logs_over_samples_gives_the_tokens(tmp_path: Path) -> None:
    def fill(writer: SummaryWriter) -> None:
        writer.add_text("seq_length", "128", 0)
        for s in STEPS:
            writer.add_scalar("lm loss", 5 - s / 50, s)
            writer.add_scalar("lm loss vs samples", 5 - s / 50, 16 * s if s < 50 else 32 * s)

    (run,) = read_sources([events(tmp_path / "tb", fill)]).runs
    (row,) = finals([run]).rows
    assert (row.values["steps"], row.values["tokens"]) == (100, 3200 * 128)
    assert set(run.series) == {"lm_loss", "consumed samples"}


def test_gzipped_event_files_are_read(tmp_path: Path) -> None:
    folder = events(tmp_path / "tb", lambda w: [w.add_scalar("loss", 1.0, s) for s in STEPS])
    (plain,) = read_sources([folder]).runs
    (file,) = folder.iterdir()
    (folder / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    file.unlink()
    (packed,) = read_sources([folder]).runs
    assert packed.series["loss"].steps.tolist() == plain.series["loss"].steps.tolist() == STEPS


def test_a_folder_of_dvclive_is_one_run(tmp_path: Path) -> None:
    # iterative/dvclive: plots/metric.py writes a row of timestamp, step and the metric, whose name
    # is the path of its file; log_params writes params.yaml; metrics.json holds the last values.
    for name, shift in (("train/loss", 0.0), ("eval/loss", 0.1)):
        rows = [f"1700000000{s:03}\t{s}\t{5 - s / 50 + shift:.2f}" for s in STEPS]
        path = tmp_path / "big" / "dvclive" / "plots" / "metrics" / f"{name}.tsv"
        write(path, f"timestamp\tstep\t{name}", *rows)
    params = "n_params: 30000000\ntrain:\n  batch_size: 8\n  seq_len: 16"
    write(tmp_path / "big" / "dvclive" / "params.yaml", params)
    write(tmp_path / "big" / "dvclive" / "metrics.json", {"eval": {"loss": 3.1}, "step": 100})
    (run,) = read_sources(tmp_path).runs
    assert (run.run_key, run.config["n_params"]) == ("dvclive:big", 30000000)
    assert run.config["train.batch_size"] == 8
    assert set(run.series) == {"train/loss", "eval/loss"}
    values = finals([run]).rows[0].values
    assert (values["loss"], values["steps"], values["params"]) == (3.1, 100, 3e7)
    alone = tmp_path / "big" / "dvclive" / "plots" / "metrics" / "eval" / "loss.tsv"
    assert read_sources(alone).runs[0].series.keys() == {"eval/loss"}


def test_lightning_keeps_its_settings_beside_its_table(tmp_path: Path) -> None:
    # lightning/pytorch/loggers/csv_logs.py: metrics.csv, a row for each call of log_metrics with
    # blanks for the others' metrics, and hparams.yaml in the folder of the version.
    folder = tmp_path / "lightning_logs" / "version_3"
    rows = [f"0,{s - 1},{5 - s / 50}," for s in STEPS] + ["0,49,,4.2", "0,99,,3.1"]
    write(folder / "metrics.csv", "epoch,step,train_loss,val_loss", *rows)
    write(folder / "hparams.yaml", "n_params: 30000000", "optim:", "  lr: 0.0003")
    (run,) = read_sources(tmp_path).runs
    assert run.config == {"n_params": 30000000, "optim.lr": 0.0003}
    values = finals([run]).rows[0].values
    assert (values["loss"], values["steps"], values["params"]) == (3.1, 99, 3e7)


def test_the_newest_state_of_the_trainer(tmp_path: Path) -> None:
    # transformers TrainerState since 4.46: rows of one step for training and evaluation, tokens as
    # num_input_tokens_seen, the callbacks' own state and the batch of a device.
    rows: list[dict[str, float]] = []
    for s in STEPS:
        row = {"epoch": s / 100, "loss": 5 - s / 50, "learning_rate": 1e-4, "grad_norm": 1.0}
        rows.append({**row, "num_input_tokens_seen": s * 4096, "step": s})
    rows.append({"epoch": 1.0, "eval_loss": 3.1, "eval_runtime": 2.0, "step": 100})
    state = {
        "best_global_step": 100, "best_metric": None, "best_model_checkpoint": None, "epoch": 1.0,
        "eval_steps": 50, "global_step": 100, "is_hyper_param_search": False,
        "is_local_process_zero": True, "is_world_process_zero": True, "log_history": rows,
        "logging_steps": 10, "max_steps": 100, "num_input_tokens_seen": 409600,
        "num_train_epochs": 1, "save_steps": 500, "total_flos": 1.5e15, "train_batch_size": 8,
        "stateful_callbacks": {"TrainerControl": {"args": {"should_log": False}, "attributes": {}}},
        "trial_name": None, "trial_params": None,
    }  # fmt: skip
    folder = tmp_path / "out" / "checkpoint-100"
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text(json.dumps(state, indent=2))
    (run,) = read_sources(tmp_path).runs
    values = finals([run]).rows[0].values
    assert (values["loss"], values["steps"], values["tokens"]) == (3.1, 100, 409600)
