"""What training costs: FLOPs of params and tokens, under a named accounting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from scaling_cli.records import Floats

# FLOPs per token beside the 6 N of the matrices grow with a lower power of N: at one shape of
# model attention over a fixed length as layers times width, N**(2/3), the head as width, N**(1/3).
POWERS = (1.0, 2 / 3, 1 / 3, 0.0)
SAME_COMPUTE = 0.05  # relative: within this of 6 N D the runs' own FLOPs are 6 N D
CHANGES = 1e-3  # a further term has to explain this share of what is left, or rounding would decide


@dataclass(frozen=True)
class Accounting:
    """FLOPs of training per token, as a sum of `coefficient * params**power` over `terms`.

    `name` is `6nd` or `measured`, or a law's own account in words.
    """

    name: str
    terms: tuple[tuple[float, float], ...]

    def per_token(self, params: Any) -> Any:
        """FLOPs that one token costs [any shape]."""
        return sum(coefficient * params**power for coefficient, power in self.terms)

    def flops(self, params: Any, tokens: Any) -> Any:
        """FLOPs of training [any shape]."""
        return self.per_token(params) * tokens

    def tokens(self, params: Any, flops: Any) -> Any:
        """Tokens that a compute pays for [any shape]."""
        return flops / self.per_token(params)

    @property
    def formula(self) -> str:
        """As an expression over columns: `6 * params * tokens`."""
        factors = {1.0: " * params", 0.0: ""}
        terms = [f"{c:g}{factors.get(p, f' * params**{p:g}')}" for c, p in self.terms]
        per_token = terms[0] if len(terms) == 1 else f"({' + '.join(terms)})"
        return f"{per_token} * tokens"

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "terms": [list(term) for term in self.terms]}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Accounting:
        terms = tuple((float(factor), float(power)) for factor, power in document["terms"])
        return cls(str(document["name"]), terms)

    def __str__(self) -> str:
        if self == SIX_ND:
            return "6 params tokens"
        if self.name != "measured":
            return self.name
        parts = (f"{factor:.3g} params**{power:.2g}" for factor, power in self.terms)
        return f"the runs' own FLOPs, {' + '.join(parts)} per token"


# A usual decoder: width = 128 layers (GPT-3 175B, Llama 7B), so that params without embeddings are
# 12 width**2 layers = 12 * 128**2 layers**3; the vocabulary of GPT-2, padded.
ASPECT, VOCABULARY = 128.0, 50_304.0


def exact(sequence: float, vocabulary: float = VOCABULARY) -> Accounting:
    """FLOPs of training a usual decoder of params without embeddings, counted as `architecture`
    does: 6 a param, attention over the sequence, and the head."""
    layers = (12 * ASPECT**2) ** (-1 / 3)  # times params**(1/3)
    attention = 12 * sequence * ASPECT * layers**2  # 3 * 4 sequence * width * layers
    head = 6 * vocabulary * ASPECT * layers
    name = (
        f"exact: 6 a param without embeddings and token, attention over {sequence:g} tokens and a"
        f" head of {vocabulary:g} words, at a width of {ASPECT:g} times the layers"
    )
    return Accounting(name, ((6.0, 1.0), (attention, 2 / 3), (head, 1 / 3)))


SIX_ND = Accounting("6nd", ((6.0, 1.0),))  # Kaplan et al. 2020, 2001.08361, section 2.1


def measure(params: Floats, tokens: Floats, flops: Floats) -> tuple[Accounting, float]:
    """The accounting of runs that know their FLOPs, all [n], and its median relative error.

    6 N D where that is what they are within 5 %. Otherwise FLOPs per token become the sum of powers
    of params, none negative, that fits the runs best in relative terms, of as few powers as do.
    """
    share = flops / SIX_ND.flops(params, tokens)
    if np.all(np.abs(share - 1) <= SAME_COMPUTE):
        return SIX_ND, float(np.median(np.abs(share - 1)))
    per_token = flops / tokens
    scale = np.exp(np.mean(np.log(params)))
    best: tuple[float, Any, tuple[float, ...]] | None = None
    for count in range(1, len(POWERS) + 1):
        for powers in combinations(POWERS, count):
            basis = np.column_stack([(params / scale) ** power for power in powers])
            rows = basis / per_token[:, None]
            factors, *_ = np.linalg.lstsq(rows, np.ones(len(params)), rcond=None)
            missed = float(np.sum((rows @ factors - 1) ** 2))
            if np.all(factors > 0) and (best is None or missed < (1 - CHANGES) * best[0] - 1e-12):
                best = missed, factors, powers
    if best is None:
        return SIX_ND, float("inf")
    _, factors, powers = best
    terms = tuple(
        (float(f / scale**power), power) for f, power in zip(factors, powers, strict=True)
    )
    accounting = Accounting("measured", terms)
    return accounting, float(np.median(np.abs(accounting.flops(params, tokens) / flops - 1)))
