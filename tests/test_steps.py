"""A run's own step before its logger's count, and what else a law rests on, by its names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from scaling_cli.losses import is_held_out, is_loss
from scaling_cli.mapping import Mapping
from scaling_cli.records import Run, Series
from scaling_cli.resolve import Final, finals
from scaling_cli.steps import in_sessions, on_own_step, own_rank


def series(steps: Any, values: Any) -> Series:
    return Series(np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64))


def run(config: dict[str, Any] | None = None, **metrics: Series) -> Run:
    named = {name.replace("__", "/"): found for name, found in metrics.items()}
    return Run("x:a", "a", "a", config=config or {}, series=named)


def final(one: Run, **columns: str) -> Final:
    return finals([one], Mapping(columns=columns)).rows[0]


CALLS = list(range(8))


@pytest.mark.parametrize(
    "name", ["trainer/global_step", "train/global_step", "iter", "num_updates", "Optimizer Step"]
)
def test_the_runs_own_step_goes_before_the_count_of_calls(name: str) -> None:
    own = series(CALLS[:-1], [50 * i for i in range(1, 8)])
    logged = Run("x:a", "a", "a", series={name: own, "loss": series(CALLS, np.arange(8.0))})
    moved = on_own_step(logged)
    # The last call has no step of its own: it stands where the counter was on its way to.
    assert moved.series["loss"].steps.tolist()[:7] == [50 * i for i in range(1, 8)]
    assert [note.code for note in moved.notes] == ["own_step"]
    assert on_own_step(moved) == moved


def test_a_row_without_the_step_stands_where_the_last_one_stood() -> None:
    logged = run(iter=series([0, 2, 4], [10, 20, 30]), val__loss=series([1, 5], [3, 2]))
    assert on_own_step(logged).series["val/loss"].steps.tolist() == [10, 30]


@pytest.mark.parametrize("values", [[1.5, 2.5, 3.5], [3, 3, 3], [5, 1, 4], [np.nan, 1, 2]])
def test_what_counts_no_steps_is_not_taken(values: list[float]) -> None:
    logged = run(iteration=series([0, 1, 2], values), loss=series([0, 1, 2], [3, 2, 1]))
    assert on_own_step(logged).series["loss"].steps.tolist() == [0, 1, 2]


def test_a_mapped_step_is_the_step_everywhere() -> None:
    logged = run(ticks=series([0, 1, 2], [100, 200, 300]), loss=series([0, 1, 2], [3, 2, 1]))
    row = final(logged, step="ticks")
    assert (row.values["step"], row.values["steps"]) == (300, 300)


def test_own_names_are_no_other_counters() -> None:
    assert own_rank("_step") is own_rank("total_steps") is own_rank("tokens") is None
    assert own_rank("batch") is own_rank("max_steps") is own_rank("eval/loss") is None


def test_sessions_without_a_step_of_their_own_are_put_behind_one_another() -> None:
    first = {"loss": (np.arange(20), np.linspace(5, 4, 20))}
    second = {"loss": (np.arange(10), np.linspace(4, 3, 10))}
    points, notes = in_sessions([first, second])
    assert points["loss"][0].tolist() == list(range(30))
    assert [note.code for note in notes] == ["counter_joined"]


def test_sessions_are_joined_on_the_runs_own_step() -> None:
    def session(first: int, last: int, value: float) -> dict[str, Any]:
        own = np.arange(first, last + 1, 50)
        calls = np.arange(len(own))
        return {
            "global_step": (calls, own.astype(float)),
            "loss": (calls, np.full(len(own), value)),
        }

    points, notes = in_sessions([session(50, 1000, 4), session(800, 2000, 3)])
    assert points["loss"][0].tolist() == list(range(50, 2001, 50))
    assert points["loss"][1].tolist() == [4] * 15 + [3] * 25
    restarted = next(note for note in notes if note.code == "restarted")
    assert restarted.message.startswith("5 points")


LOGGED = {"loss": 3.0, "train_loss": 3.0}


@pytest.mark.parametrize(
    "name",
    [
        "eval_loss", "val/loss", "Validation Loss", "valid_loss", "eval/lm_loss", "loss/val",
        "lm loss value", "val_loss_epoch", "test_loss", "held_out/loss", "eval.loss",
        "validation/CrossEntropyLoss", "lm loss validation", "dev_nll", "val/ce", "eval_xent",
    ],
)  # fmt: skip
def test_the_held_out_loss_goes_before_the_training_loss(name: str) -> None:
    others = {n: series([1, 2], [5, v]) for n, v in LOGGED.items()}
    row = final(Run("x:a", "a", "a", series={**others, name: series([1, 2], [5, 4])}))
    assert (row.mapped["loss"], row.values["loss"]) == (name, 4)
    (note,) = [note for note in row.notes if note.code == "loss_chosen"]
    assert name in note.message
    assert '[columns] loss = "' in note.message
    turned = final(Run("x:a", "a", "a", series={**others, name: series([1], [4])}), loss="loss")
    assert turned.values["loss"] == 3
    assert not [note for note in turned.notes if note.code == "loss_chosen"]


@pytest.mark.parametrize(
    "name",
    [
        "lm loss PPL",
        "eval_ppl",
        "val/perplexity",
        "aux_loss",
        "eval/loss_scale",
        "z_loss",
        "kl_loss",
    ],
)
def test_a_perplexity_or_a_side_loss_is_never_the_loss(name: str) -> None:
    assert not is_loss(name)
    row = final(run(train_loss=series([1, 2], [5, 4]), **{name: series([1, 2], [80, 70])}))
    assert row.mapped["loss"] == "train_loss"


def test_of_several_data_sets_none_is_taken_in_silence() -> None:
    metrics = {
        "train/loss": series([1], [4]),
        "eval/c4/loss": series([1], [3]),
        "eval/wiki/loss": series([1], [2]),
    }
    row = final(Run("x:a", "a", "a", series=metrics))
    assert row.mapped["loss"] == "train/loss"
    assert [note.code for note in row.notes] == ["loss_of_training"]
    assert is_held_out("eval/c4/loss")


BATCH = {"global_batch_size": 256, "seq_length": 2048}


@pytest.mark.parametrize(
    "name",
    ["consumed tokens", "Tokens Seen", "train/tokens_seen", "ntokens", "tokenCount", "tokens/total",
     "optim/total_tokens", "cum_tokens", "data/tokens", "num_tokens_seen"],
)  # fmt: skip
def test_logged_tokens_go_before_computed_ones(name: str) -> None:
    metrics = {name: series([1, 2], [100, 200]), "loss": series([1, 2], [4, 3])}
    row = final(Run("x:a", "a", "a", config=dict(BATCH), series=metrics))
    assert (row.mapped["tokens"], row.values["tokens"]) == (name, 200)


def test_samples_and_logged_batches_go_before_configured_ones() -> None:
    loss = series([10, 20], [4, 3])
    samples = {"consumed samples": series([10, 20], [640, 1920]), "loss": loss}
    assert (
        final(Run("x", "a", "a", config=dict(BATCH), series=samples)).values["tokens"]
        == 1920 * 2048
    )
    ramp = {"global batch size": series([10, 20], [64, 128]), "loss": loss}
    assert (
        final(Run("x", "a", "a", config=dict(BATCH), series=ramp)).values["tokens"] == 1920 * 2048
    )


def test_a_count_of_one_steps_tokens_is_not_what_was_seen() -> None:
    metrics = {
        "num_tokens": series([1, 2, 3], [512, 512, 512]),
        "loss": series([1, 2, 3], [4, 3, 2]),
    }
    row = final(Run("x", "a", "a", config=dict(BATCH), series=metrics))
    assert row.values["tokens"] == 3 * 256 * 2048
    assert "not_rising" in {note.code for note in row.notes}


def test_all_counts_of_parameters_are_kept_and_compute_knows_the_active() -> None:
    config = {"total_params": 15000, "active_params": 5000, "tokens": 1000, "loss": 3.0}
    row = final(Run("x", "a", "a", config=config))
    assert (row.values["params"], row.values["params_active"]) == (15000, 5000)
    assert row.values["flops"] == 6 * 5000 * 1000
    (note,) = row.notes
    assert note.code == "params_active"
    assert "config.total_params" in note.message
    assert "config.active_params" in note.message
    config = {"n_params": 1500, "non_embedding_params": 1200, "tokens": 1000, "loss": 3.0}
    row = final(Run("x", "a", "a", config=config))
    assert row.values["params_non_embedding"] == 1200
    assert [note.code for note in row.notes] == ["params_chosen"]


STEPS = series([1000, 2000], [4, 3])
PLAN = {"max_steps": 2000}


@pytest.mark.parametrize(
    ("config", "taken", "codes"),
    [
        (BATCH | PLAN, 2000 * 256 * 2048, []),
        (
            {"batch_size": 32, "seq_len": 2048, "devices": 4, "num_nodes": 2},
            2000 * 256 * 2048, ["tokens_batch_unclear"],
        ),
        (
            {"train.batch_size": 32, "model.seq_len": 2048, "optim.grad_accum_steps": 8,
             "eval.batch_size": 7},
            2000 * 256 * 2048, ["tokens_batch_unclear"],
        ),
        (  # nanochat's is in tokens; of another trainer it is asked
            {"total_batch_size": 2**19, "device_batch_size": 32, "max_seq_len": 2048},
            2000 * 2**19, [],
        ),
        ({"batch_size": 2**19, "seq_len": 1024}, None, ["tokens_batch_unclear"]),
        (BATCH | {"max_steps": 20}, None, ["step_beyond_plan"]),  # the step counts something else
        (BATCH | {"max_steps": 4000, "total_tokens": 8e9}, 4e9, []),  # what is planned, half way
    ],
)  # fmt: skip
def test_computed_tokens_know_all_factors_or_are_asked_for(
    config: dict[str, Any], taken: float | None, codes: list[str]
) -> None:
    row = final(Run("x", "a", "a", config=config, series={"loss": STEPS}))
    assert row.values.get("tokens") == taken
    assert [n.code for n in row.notes if n.code != "not_ended"] == codes


def test_of_two_counts_of_tokens_that_of_all_devices_is_taken_and_said() -> None:
    """As in the table of litgpt's logger: `tokens` are those of one device."""
    metrics = {"tokens": series([1, 2], [1e6, 2e6]), "total_tokens": series([1, 2], [8e6, 16e6])}
    row = final(Run("x", "a", "a", series={**metrics, "loss": series([1, 2], [4, 3])}))
    assert (row.mapped["tokens"], row.values["tokens"]) == ("total_tokens", 16e6)
    assert [note.code for note in row.notes] == ["tokens_chosen"]


def test_fewer_tokens_than_steps_are_in_another_unit() -> None:
    row = final(run(loss=STEPS, tokens=series([1000, 2000], [0.5, 1.0])))
    assert "tokens" not in row.values
    assert [note.code for note in row.notes] == ["units_unlikely"]
    row = final(Run("x", "a", "a", config={"params": 30, "tokens": 0.6e9, "loss": 3.0}))
    (note,) = row.notes
    assert '[columns] params = "config.params * 1e6"' in note.message


def test_a_loss_with_others_beside_it_is_said() -> None:
    row = final(run(loss=STEPS, lm_loss=STEPS, aux_loss=STEPS))
    (note,) = row.notes
    assert (note.code, row.mapped["loss"]) == ("loss_chosen", "loss")
    assert "aux_loss, which may be added in it" in note.message


@pytest.mark.parametrize(
    "key",
    ["n_parameters", "model.total_parameters", "param_count", "trainable_params", "numParams"],
)
def test_parameters_by_any_spelling(key: str) -> None:
    row = final(Run("x", "a", "a", config={key: 30, "draft_params": 7, "loss": 3.0}))
    assert (row.mapped["params"], row.values["params"]) == (f"config.{key}", 30)
