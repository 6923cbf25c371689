"""Which logged names are losses, and of which data."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise

from scaling_cli.spelling import quoted, spelled

# Words of a name that say what the loss is of. The likelier a set is the one to judge by, the
# earlier: a test set is rather kept for the end.
_HELD_OUT = (
    "eval",
    "val",
    "valid",
    "validation",
    "evaluation",
    "dev",
    "heldout",
    "holdout",
    "test",
)
_PLACE = {word: place for place, word in enumerate(_HELD_OUT)}
_LOSS = {"loss", "nll", "ce", "xent", "crossentropy"}
_FILLING = {
    "lm", "language", "ce", "cross", "entropy", "avg", "average", "mean", "value", "epoch", "step",
    "global", "token", "per", "xent", "crossentropy", "out",
    "metrics", "metric", "set", "data", "model", "loss", "nll", "total",
    "reduced", "micro", "batch", "log", "stats", "iter", "final", "main", "all", "at", "over",
}  # fmt: skip
_WHOLE = _FILLING | _PLACE.keys() | {"held", "out"}
_TRAINING = {"train", "learning", "training", "trainer", "running", "smoothed", "ema", "smooth"}
# A loss of something else, or another figure made from a loss.
_OTHER = {
    "ppl", "perplexity", "accuracy", "acc", "aux", "auxiliary", "balance", "balancing", "router",
    "kl", "z", "moe", "reward", "rewards", "policy", "critic", "grad", "norm", "scale", "scaler",
    "std", "var", "min", "max", "best", "bpb", "bits", "time", "samples", "count", "diff", "delta",
    "weight", "mtp", "commit", "entropies", "regularization", "reg", "spike", "spikes", "vs",
    "distill", "teacher", "source", "supervised", "unigram", "normalised", "spread", "lr",
}  # fmt: skip


@lru_cache(maxsize=1 << 14)
def _words(name: str) -> frozenset[str]:
    words = spelled(name).split()
    joined = {f"{a}{b}" for a, b in pairwise(words)} & {"heldout", "holdout"}
    return frozenset(words) | joined


@lru_cache(maxsize=1 << 14)
def is_loss(name: str) -> bool:
    """Whether a name is that of a loss: never a perplexity, an accuracy or an auxiliary loss."""
    words = _words(name)
    return bool(words & _LOSS or {"cross", "entropy"} <= words) and not words & _OTHER


_ADDED = {"aux", "auxiliary", "balance", "balancing", "router", "z", "moe", "mtp"}


def is_auxiliary(name: str) -> bool:
    """Whether a name is that of a loss which trainers add to the one that they minimise."""
    words = _words(name)
    return bool(words & _LOSS) and bool(words & _ADDED)


def is_held_out(name: str) -> bool:
    """Whether a name is that of a loss on data that the run does not train on."""
    return is_loss(name) and (
        not _words(name).isdisjoint(_PLACE) or spelled(name) == "lm loss value"
    )


def of_the_whole(names: Iterable[str]) -> list[str]:
    """The held-out losses that are of no part of the data by name (`eval/c4/loss` is), the likelier
    set first."""
    whole = [
        n
        for n in names
        if is_held_out(n) and _words(n) <= _FILLING | _PLACE.keys() | {"held", "out"}
    ]
    return sorted(whole, key=_likelihood)


def of_parts(names: Iterable[str]) -> list[str]:
    """The held-out losses that name a part of the data."""
    return [n for n in names if is_held_out(n) and not _words(n) <= _WHOLE]


def _likelihood(name: str) -> tuple[int, int]:
    places = [_PLACE[word] for word in _words(name) & _PLACE.keys()]
    return min(places, default=0), len(name)


def of_training(names: Iterable[str]) -> list[str]:
    """The losses on the training data, as far as their names tell, plain names first."""
    known = _FILLING | _TRAINING
    return sorted((n for n in names if is_loss(n) and _words(n) <= known), key=len)


_SEED = re.compile(r"(?i)[ _.(\[-]*(?:seed|run|trial|rep|repeat|replica|s)[ _=-]?\d+[)\]]?$")


def by_seed(names: Iterable[str]) -> list[str]:
    """The losses of several seeds that stand side by side (`loss_seed1`, `loss_seed2`), if there
    are such and they are of one loss."""
    bare = {name: _SEED.sub("", name) for name in names}
    found = [name for name, loss in bare.items() if loss != name and is_loss(loss)]
    return found if len(found) > 1 and len({bare[name] for name in found}) == 1 else []


_PERPLEXITY = {"ppl", "perplexity"}
_MEASURES = _PERPLEXITY | {"bpb", "bits"}


def is_measure(name: str) -> bool:
    """Whether a name is that of a perplexity or of bits per byte."""
    return bool(_words(name) & _MEASURES)


def is_held_out_measure(name: str) -> bool:
    """Whether a name is that of a perplexity or of bits per byte on data held out."""
    return is_measure(name) and not _words(name).isdisjoint(_PLACE)


def loss_from(name: str) -> str:
    """The expression by which such a measure serves as the loss: a perplexity by its logarithm."""
    return f"log({quoted(name)})" if _words(name) & _PERPLEXITY else quoted(name)
