"""Parameters as the solver's unbounded coordinates, and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

LEAST = 1e-300  # a parameter at its bound, as a coordinate that is still finite
NEAREST = 1e-15  # of a share to 0 and 1


@dataclass(frozen=True)
class Transform:
    """`slope(value)` is d value / d coordinate, `bend(value)` its second derivative over it."""

    decode: Callable[[Any], Any]
    encode: Callable[[Any], Any]
    slope: Callable[[Any], Any]
    bend: Callable[[Any], Any]


def _logit(value: Any) -> Any:
    share = np.clip(value, NEAREST, 1 - NEAREST)
    return np.log(share) - np.log1p(-share)


DOMAINS = {
    "log": (0.0, np.inf),
    "negative": (-np.inf, 0.0),
    "logit": (0.0, 1.0),
    "identity": (-np.inf, np.inf),
}
TRANSFORMS = {
    "log": Transform(np.exp, lambda v: np.log(np.maximum(v, LEAST)), lambda v: v, np.ones_like),
    "negative": Transform(
        lambda u: -np.exp(u), lambda v: np.log(np.maximum(-v, LEAST)), lambda v: v, np.ones_like
    ),
    "logit": Transform(
        lambda u: 1 / (1 + np.exp(-u)), _logit, lambda v: v * (1 - v), lambda v: 1 - 2 * v
    ),
    "identity": Transform(lambda u: u, lambda v: v, np.ones_like, np.zeros_like),
}
