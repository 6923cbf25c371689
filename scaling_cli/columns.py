"""The canonical columns: what each means, in which base unit, and what loggers call it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A canonical column. `aliases` are logged names or config keys, the likeliest first."""

    name: str
    unit: str
    meaning: str
    aliases: tuple[str, ...] = ()


_ALL = (
    Column(
        "params",
        "count",
        "parameters, N; says nothing of which: see params_non_embedding",
        (
            "n_params",
            "num_params",
            "model/num_parameters",
            "num_parameters",
            "parameter_count",
            "total_params",
            "model_params",
            "N",
        ),
    ),
    Column(
        "params_non_embedding",
        "count",
        "parameters without token embeddings and positions",
        ("non_embedding_params", "n_params_non_embedding", "num_non_embedding_params"),
    ),
    Column(
        "tokens",
        "count",
        "training tokens seen, D",
        (
            "tokens_seen",
            "n_tokens_seen",
            "num_tokens",
            "throughput/total_tokens",
            "train/num_input_tokens_seen",
            "num_input_tokens_seen",
            "consumed_tokens",
            "consumed-tokens",
            "time/token",
            "total_tokens",
            "D",
        ),
    ),
    Column(
        "flops",
        "FLOPs",
        "training compute, C; 6 N D unless the source or the mapping says otherwise",
        ("total_flos", "train/total_flos", "total_training_flops", "training_flops"),
    ),
    Column(
        "step",
        "count",
        "optimiser step",
        (
            "_step",
            "global_step",
            "train/global_step",
            "trainer/global_step",
            "iteration",
            "iter",
            "it",
            "time/batch",
            "Step",
        ),
    ),
    Column(
        "lr",
        "1",
        "learning rate at that step",
        (
            "learning_rate",
            "train/learning_rate",
            "train/lr",
            "optim/learning_rate",
            "optim/learning_rate_group0",
            "learning-rate",
        ),
    ),
    Column("batch_tokens", "count", "tokens in an optimiser step", ("tokens_per_step",)),
    Column(
        "loss",
        "nats per token",
        "the target; nats per token unless the mapping says otherwise",
        (
            "eval/loss",
            "val/loss",
            "validation/loss",
            "val_loss",
            "eval_loss",
            "valid_loss",
            "validation_loss",
            "test/loss",
            "train/loss",
            "train_loss",
            "train/CrossEntropyLoss",
            "train/cross_entropy_loss",
            "loss_metrics/global_avg_loss",
            "lm loss",
            "train/lm_loss",
            "reduced_train_loss",
            "metrics/train/LanguageCrossEntropy",
        ),
    ),
    Column("unique_tokens", "count", "distinct tokens in the corpus, U"),
    Column("streams", "count", "parallel streams, P (ParScale)"),
    Column("experts", "count", "experts of a routed layer"),
    Column("granularity", "1", "expert granularity, G"),
    Column("sparsity", "1", "share of the parameters that are zero"),
    Column("vocab", "count", "vocabulary size"),
    Column("precision_bits", "bits", "bits of a weight in training"),
)

COLUMNS: dict[str, Column] = {column.name: column for column in _ALL}
