"""Names as people spell them: in one form, and those that look like the one asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

LOOSE = 0.45  # of names in a list that is too long to be shown
LIKE = 0.6
SLIP = 0.8  # `parms` and `param` for `params`, `token` for `tokens`; not `alpha` for `beta`


def last_part(name: str) -> str:
    """What follows the last dot or slash of a nested name: `training/max_iters` -> `max_iters`."""
    return re.split(r"[./]", name)[-1]


def quoted(origin: str) -> str:
    """An origin as an expression names it."""
    plain = re.fullmatch(r"config(?:\.\w+)+", origin) or origin.isidentifier()
    return origin if plain else f"`{origin}`"


def near(name: str, names: Iterable[str], label: str = "Near names") -> str:
    """A sentence with the names that look like `name`, or nothing."""
    likely = near_names(name, names)
    return f"{label}: {', '.join(likely[:5])}." if likely else ""


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """`Did you mean a or b? `, of the names that look like `name`, or nothing."""
    likely = _close(name, names, LOOSE)
    return f"Did you mean {' or '.join(likely)}? " if likely else ""


def spelled_like(name: str, names: Iterable[str]) -> list[str]:
    """Those of `names`, or of what they end in, that `name` may be a slip of the pen for."""
    ends = {last_part(other): other for other in names}
    return [ends[end] for end in _close(name, ends, SLIP) if ends[end] != name]


def near_names(name: str, names: Iterable[str]) -> list[str]:
    """Those of `names` that look like `name` or end in it, the nearest first."""
    known = list(names)
    likely = _close(name, known, LIKE)
    tail = last_part(name).lower()
    ending = [k for k in dict.fromkeys(known) if tail and tail in re.split(r"[./]", k.lower())]
    return likely + [k for k in ending if k not in likely and k != name]


def _close(name: str, names: Iterable[str], cutoff: float) -> list[str]:
    import difflib

    known = [other for other in dict.fromkeys(names) if other != name]
    return difflib.get_close_matches(name, known, 3, cutoff)


_SEPARATORS = re.compile(r"[\s_\-./:]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z][a-z])")
# Where a trainer files its counters.
_FOLDERS = {
    "train", "trainer", "training", "progress", "stats", "metrics", "general", "counters",
    "throughput", "perf", "state", "misc", "info", "monitor", "global", "log", "learning",
}  # fmt: skip


@lru_cache(maxsize=1 << 14)
def spelled(name: str) -> str:
    """A name in lower case, one space for whatever parts its words: `Eval/CrossEntropy_loss`."""
    return _SEPARATORS.sub(" ", _CAMEL.sub(" ", name)).strip().lower()


@lru_cache(maxsize=1 << 14)
def unfiled(name: str) -> str:
    """The same without a folder of counters: `tokens seen` for `train/tokens_seen`."""
    first, _, rest = spelled(name).partition(" ")
    return rest if first in _FOLDERS and rest else spelled(name)
