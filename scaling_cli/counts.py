"""Which logged names count tokens seen, or parameters, beyond those that `columns` lists."""

from __future__ import annotations

from functools import lru_cache

from scaling_cli.quantities import SUFFIXES
from scaling_cli.spelling import spelled

_TOKENS = {"token", "tokens", "ntokens"}
_PARAMS = {"param", "params", "parameter", "parameters", "nparams", "nparameters"}
_ACTIVE = {"active", "activated"}
_WHOLE = {"total", "all", "global", "overall"}  # words of a count over all devices or kinds
_FILLING = _WHOLE | {"n", "num", "number", "of", "count", "nb", "in", "metrics", "stats", "state"}
# What was seen so far; `data tokens` of a config are more often those of a data set.
_SEEN = _FILLING | {
    "consumed", "seen", "train", "trained", "training", "processed", "cumulative", "cum", "so",
    "far", "input", "progress", "throughput", "optim", "trainer", "perf", "counters", "general",
    "accumulated", "running", "learning",
}  # fmt: skip
_LOGGED = _SEEN | {"data", "trainable", "target", "monitor"}
_MODEL = _FILLING | {"model", "size", "info", "trainable", "learnable"}
_UNITS = {
    "thousand": "k", "kilo": "k", "million": "m", "mega": "m", "mtoken": "m", "mparam": "m",
    "billion": "b", "bn": "b", "giga": "g", "btoken": "b", "gtoken": "g", "trillion": "t",
    "bparam": "b", "gparam": "g", "ttoken": "t", "ktoken": "k", "kparam": "k", "mil": "m",
}  # fmt: skip
_NOUNS = {"params": _PARAMS | {"size"}, "tokens": _TOKENS}
_KINDS = {"params": _MODEL, "tokens": _SEEN}


@lru_cache(maxsize=1 << 14)
def _words(name: str) -> frozenset[str]:
    return frozenset(spelled(name.translate(_BRACKETS)).split())


_BRACKETS = str.maketrans("()[]", "    ")


def names_tokens(name: str, logged: bool = True) -> bool:
    """Whether a name is that of tokens seen: of a metric that was `logged`, or of a setting."""
    words = _words(name)
    return bool(words & _TOKENS) and words <= _TOKENS | (_LOGGED if logged else _SEEN)


def names_params(name: str) -> bool:
    """Whether a name is that of all parameters of a model, in units of one."""
    words = _words(name)
    return bool(words & _PARAMS) and words <= _PARAMS | _MODEL and unit_in(name) == 1.0


def names_active_params(name: str) -> bool:
    """Whether a name is that of the parameters that a token passes through."""
    words = _words(name)
    return bool(words & _PARAMS and words & _ACTIVE) and words <= _PARAMS | _ACTIVE | _MODEL


def is_of_a_part(name: str) -> bool:
    """Whether it may count less than all: what is trained of a model or a batch."""
    return bool(_words(name) & {"trainable", "learnable", "target"})


def is_of_all(name: str) -> bool:
    """Whether a name says that it counts all there are."""
    return bool(_words(name) & _WHOLE)


def counts_in_units(column: str, name: str) -> bool:
    """Whether a name is that of `params` or `tokens` in thousands, millions or the like."""
    words = _words(name)
    units = {word for word in words if _suffix(word) in SUFFIXES}
    joined = any(column[:-1] in word for word in units)  # `mparams`
    nouns = words & _NOUNS[column] - ({"size"} if "model" not in words else set())
    known = _NOUNS[column] | _KINDS[column] | units
    return bool(units) and words <= known and (bool(nouns) or joined)


def unit_in(name: str) -> float:
    """What a name says that its numbers are in: 1e6 of `params_M` and `tokens (millions)`."""
    suffixes = map(_suffix, sorted(_words(name)))
    return next((SUFFIXES[suffix] for suffix in suffixes if suffix in SUFFIXES), 1.0)


def _suffix(word: str) -> str:
    """The letter of the unit that a word names, else the word."""
    word = word if word in _UNITS else word.removesuffix("s")
    return _UNITS.get(word, word)
