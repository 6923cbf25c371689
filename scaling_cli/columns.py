"""The canonical columns: what each means, in which base unit, and what loggers call it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Column:
    """A canonical column. `aliases` are logged names or config keys, the likeliest first.

    `typical` is a range of values of the runs that laws are fitted to. A column is positive unless
    `zero` says that it may be zero or below.
    """

    name: str
    unit: str
    meaning: str
    aliases: tuple[str, ...] = ()
    typical: tuple[float, float] = (1.0, 1e3)
    zero: bool = False

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Its own name and the others, the likeliest first."""
        return (self.name, *self.aliases)


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
        (1e7, 1e10),
    ),
    Column(
        "params_non_embedding",
        "count",
        "parameters without token embeddings and positions",
        (
            "non_embedding_params",
            "n_params_non_embedding",
            "num_non_embedding_params",
            "params_without_embeddings",
            "non_embedding_parameters",
            "num_non_embedding_parameters",
            "params_non_embedding",
            "non_emb_params",
            "n_non_embedding_params",
        ),
        (1e7, 1e10),
    ),
    Column(
        "params_active",
        "count",
        "parameters that one token passes through, of a model of experts",
        (
            "active_params",
            "n_active_params",
            "num_active_params",
            "n_params_active",
            "activated_params",
            "active_parameters",
            "num_active_parameters",
            "activated_parameters",
        ),
        (1e7, 1e10),
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
            "consumed tokens",
            "consumed_train_tokens",
            "time/token",
            "total_tokens",
            "total_tokens_seen",
            "train_tokens",
            "ntokens",
            "tokens_processed",
            "processed_tokens",
            "tokens_trained",
            "trained_tokens",
            "tokens_consumed",
            "training_tokens",
            "cumulative_tokens",
            "tokens_so_far",
            "D",
        ),
        (1e9, 1e12),
    ),
    Column(
        "flops",
        "FLOPs",
        "training compute, C; 6 N D where neither the source nor the mapping gives it",
        ("total_flos", "train/total_flos", "total_training_flops", "training_flops"),
        (1e17, 1e22),
    ),
    Column(
        "step",
        "count",
        "optimiser step",
        (
            "global_step",
            "train/global_step",
            "trainer/global_step",
            "iteration",
            "iter",
            "it",
            "update",
            "num_updates",
            "current_steps",
            "time/batch",
            "_step",
            "Step",
        ),
        (1e3, 1e6),
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
            "learning rate",
        ),
        (1e-4, 1e-2),
    ),
    Column(
        "peak_lr",
        "1",
        "learning rate that was set: the highest of its schedule",
        ("peak_learning_rate", "max_lr", "max_learning_rate"),
        (1e-4, 1e-2),
    ),
    Column(
        "batch_tokens", "count", "tokens in an optimiser step", ("tokens_per_step",), (1e5, 1e7)
    ),
    Column(
        "loss",
        "nats per token",
        "the target; nats per token where the mapping names no other unit",
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
            "lm loss value",
            "lm loss validation",
            "lm loss",
            "train/lm_loss",
            "reduced_train_loss",
            "metrics/train/LanguageCrossEntropy",
        ),
        (2.0, 6.0),
    ),
    # Further scale variables, each read by some law.
    Column("unique_tokens", "count", "distinct tokens in the corpus, U", typical=(1e9, 1e11)),
    Column("best_epochs", "count", "epochs of the lowest loss on unseen data", typical=(2, 1e3)),
    Column(
        "rate_sum_after",
        "1",
        "sum of the learning rates since the data changed, S1 of it",
        typical=(0.1, 10.0),
    ),
    Column(
        "annealing_after",
        "1",
        "how far the rate has fallen since the data changed, S2 of it",
        typical=(0.05, 0.5),
    ),
    Column("samples", "count", "training samples, or samples drawn", typical=(1e3, 1e7)),
    Column("unique_samples", "count", "distinct samples in the pool", typical=(1e3, 1e5)),
    Column("streams", "count", "parallel streams, P", typical=(1, 8)),
    Column("recurrence", "count", "times that the recurrent block is run", typical=(1, 32)),
    Column("test_recurrence", "count", "times that it is run at test time", typical=(1, 32)),
    Column("params_recurrent", "count", "parameters of the recurrent block", typical=(1e7, 1e9)),
    Column("experts", "count", "experts of a routed layer", typical=(1, 512)),
    Column("active_experts", "count", "experts of a layer that a token uses", typical=(1, 32)),
    Column(
        "shared_ratio",
        "1",
        "share of the active experts that all tokens use",
        (),
        (0.0, 0.6),
        zero=True,
    ),
    Column("granularity", "1", "expert granularity, G", typical=(1, 32)),
    Column("sparsity", "1", "share of the parameters that are zero", (), (0.0, 0.9), zero=True),
    Column("encoder_params", "count", "parameters of the encoder", typical=(1e7, 1e10)),
    Column("decoder_params", "count", "parameters of the decoder", typical=(1e7, 1e10)),
    Column("vocab", "count", "vocabulary size", typical=(4e3, 2e5)),
    Column("params_vocab", "count", "parameters of the embeddings", typical=(1e6, 1e9)),
    Column("precision_bits", "bits", "bits of a weight in training", typical=(3, 16)),
    Column("activation_bits", "bits", "bits of an activation in training", typical=(3, 16)),
    Column("cache_bits", "bits", "bits of a key or value in training", typical=(3, 16)),
    Column("post_bits", "bits", "bits of a weight after training", typical=(3, 16)),
    Column("width", "count", "width of the residual stream", typical=(256, 4096)),
    Column("depth", "count", "layers", typical=(4, 64)),
    Column("resolution", "count", "pixels on a side of the images", typical=(64, 640)),
    Column("supervised_loss", "nats per token", "loss without a teacher", typical=(2.0, 4.0)),
    Column("unigram_normalised_loss", "nats per token", "loss less a unigram model's", zero=True),
    Column("teacher_loss", "nats per token", "loss of the teacher", typical=(2.0, 3.5)),
    Column("source_loss", "nats per token", "loss on the data at hand", typical=(2.0, 4.0)),
    Column("target_share", "1", "share of the target domain in training", typical=(0.02, 0.9)),
    Column("merged", "count", "models merged", typical=(1, 10)),
    Column("datastore_tokens", "count", "tokens in the retrieval datastore", typical=(1e8, 1e12)),
    Column("gpu_hours", "hours", "accelerator time of a training", typical=(100, 1e5)),
    Column("pass_rate", "1", "share of tries that passed", (), (0.0, 1.0), zero=True),
    Column("tries", "count", "tries behind a pass rate", typical=(100, 1e4)),
    Column("accuracy", "1", "share of right answers", (), (0.05, 0.95), zero=True),
    Column("error", "1", "share of wrong answers", (), (0.05, 0.95), zero=True),
    Column("reward", "1", "mean reward", (), (0.05, 0.95), zero=True),
    Column("bleu", "1", "BLEU", (), (5.0, 40.0), zero=True),
    Column(
        "rate_sum", "1", "sum of the learning rates up to the step, S1; see `curve`", (), (0.3, 7)
    ),
    Column(
        "annealing",
        "1",
        "fall of the learning rate with a memory, S2; see `curve`",
        (),
        (1e-3, 0.3),
    ),
    Column("members", "count", "independent models of an ensemble", typical=(1, 16)),
    Column("replicas", "count", "replicas that train apart between outer steps", typical=(1, 16)),
    Column("languages", "count", "languages in the training data", typical=(1, 100)),
    Column("transfer_tokens", "count", "training tokens of other languages", typical=(1e9, 1e12)),
    Column("group_size", "count", "values that share a quantisation scale", typical=(16, 1024)),
    Column("activation_ratio", "1", "share of the experts that are active", (), (0.01, 1.0)),
    Column("efficiency_leverage", "1", "dense compute for the same loss over one's own"),
    Column("weight_decay", "1", "weight decay of AdamW", typical=(0.01, 1.0)),
    Column(
        "ema_timescale",
        "1",
        "batch_tokens / (lr weight_decay tokens): AdamW's memory as a share of the run",
        typical=(0.01, 1.0),
    ),
    Column("rate_drops", "1", "every change of the learning rate before the step; see `curve`"),
)

COLUMNS: dict[str, Column] = {column.name: column for column in _ALL}
# Columns that come in families, each member with a name of its own: `mixture.web`.
FAMILIES = {
    "mixture.": Column("mixture.*", "1", "share of a domain in the training data", zero=True),
    "domain_flops.": Column("domain_flops.*", "FLOPs", "compute spent on a domain", zero=True),
    "optimizer.": Column("optimizer.*", "1", "one where a run used it, zero elsewhere", zero=True),
    "item.": Column("item.*", "1", "share of the tries at an item that passed", zero=True),
    "component.": Column("component.*", "1", "principal component of scores", zero=True),
}


def about(name: str) -> Column | None:
    """What is known of a column, or of the family that it belongs to."""
    return COLUMNS.get(name) or FAMILIES.get(name.partition(".")[0] + ".")


def is_positive(name: str) -> bool:
    """Whether the values of a column are to be above zero; so are those of an unknown one."""
    column = about(name)
    return column is None or not column.zero


# Words in the names of what tells how good a model is and is no loss: shares of tries, and others.
_SHARES = (
    "acc",
    "acc1",
    "acc5",
    "top1",
    "top5",
    "accuracy",
    "err",
    "error",
    "pass",
    "exact_match",
    "em",
    "f1",
    "success_rate",
    "solve_rate",
    "solved",
)
# Sets of questions whose answers are right or wrong, and what of them is no share.
_TASKS = (
    "mmlu",
    "mmlu_pro",
    "cmmlu",
    "hellaswag",
    "arc_e",
    "arc_c",
    "arc_easy",
    "arc_challenge",
    "piqa",
    "siqa",
    "boolq",
    "winogrande",
    "openbookqa",
    "obqa",
    "csqa",
    "commonsenseqa",
    "commonsense_qa",
    "social_iqa",
    "socialiqa",
    "lambada",
    "triviaqa",
    "gsm8k",
    "humaneval",
    "mbpp",
    "gpqa",
    "truthfulqa",
    "sciq",
    "copa",
    "bbh",
    "agieval",
    "ceval",
    "imagenet",
)
_NO_SHARE = (
    "loss", "ce", "nll", "ppl", "perplexity", "bpb", "bits", "logprob", "tokens", "samples", "steps"
)  # fmt: skip
# What laws of no loss predict: a table of it alone is read as one of another target.
_OF_LAWS = ("efficiency_leverage", "best_epochs", "ema_timescale")
_SCORES = (
    *_SHARES, "reward", "score", "bits", "bpd", "bleu", "rouge", "win_rate", "winrate", *_OF_LAWS
)  # fmt: skip


def names_share(name: str) -> bool:
    """Whether a name is that of a share of tries or answers, as an accuracy or an error."""
    return _holds(name, _SHARES) or (_holds(name, _TASKS) and not _holds(name, _NO_SHARE))


def names_score(name: str) -> bool:
    """Whether a name is that of a score, shares among them."""
    return _holds(name, _SCORES) or names_share(name)


def _holds(name: str, words: tuple[str, ...]) -> bool:
    return re.search(rf"(^|[^a-z])({'|'.join(words)})([^a-z]|$)", name.lower()) is not None
