"""The laws of Kaplan et al. and of those who took them further: no irreducible term."""

from __future__ import annotations

from typing import Any

import numpy as np

from scaling_cli.laws.base import (
    PAPER,
    Array,
    Choice,
    Choices,
    Evidence,
    Law,
    Parameter,
    Published,
    Source,
)
from scaling_cli.laws.parts import coefficients, scale_of

KAPLAN = Source("Kaplan et al.", 2020, "2001.08361", "section 1.2")
SU = Source("Su et al.", 2024, "2403.06563")
FLOPS_PER_PF_DAY = 8.64e19
WEBTEXT = "WebText2, non-embedding parameters"
SOLVED = 1e-13  # of the loss
NEWTON_STEPS = 40  # from below the root on a falling, convex curve it cannot pass it

_ALPHA_N = Parameter("alpha_N", "exponent of params", 0.03, 0.5)
_ALPHA_D = Parameter("alpha_D", "exponent of tokens", 0.03, 0.5)
_ALPHA_S = Parameter("alpha_S", "exponent of steps", 0.2, 1.5)
_ALPHA_B = Parameter("alpha_B", "1 / exponent of the loss", 0.1, 0.6)
_N_C = scale_of("N_c", "params", 1.0, 1e10, "parameters at which the term is one")
_D_C = scale_of("D_c", "tokens", 1.0, 1e10, "tokens at which the term is one")
_S_C = scale_of("S_c", "step", 0.05, 2.0, "steps at which the term is one")


def _set(name: str, **values: Any) -> Published:
    return coefficients(name, KAPLAN, WEBTEXT, PAPER, params="non-embedding", **values)


def _single(id: str, column: str, scale: str, alpha: str, published: Published, note: str) -> Law:
    """(scale / column)**alpha."""
    what = {"params": "parameters", "tokens": "tokens", "flops": "compute"}[column]
    constant = scale_of(scale, column, 1.0, 1e12, f"{column} at which the loss is one")
    power = Parameter(alpha, f"exponent of {column}", 0.03, 0.5)
    return Law(
        id=id,
        title=f"Loss against {what} alone (Kaplan)",
        formula=f"({scale} / {column})**{alpha}",
        variables=(column,),
        parameters=(constant, power),
        predict=lambda **at: (at[scale] / at[column]) ** at[alpha],
        source=KAPLAN,
        published=(published,),
        caveats=("It has no irreducible term: the loss goes to zero.", note),
        family="Kaplan",
    )


def _unraveling(
    N_c: Array, alpha_N: Array, S_c: Array, alpha_S: Array, B_c: Array, alpha_B: Array,
    params: Array, step: Array, batch_tokens: Array,
) -> Array:  # fmt: skip
    """Loss after `step` steps of `batch_tokens`: both sides of the law hold the loss, through the
    critical batch. Newton's method in the arithmetic of the parameters, from the loss of an endless
    batch, which lies below."""
    floor = (N_c / params) ** alpha_N
    steps = S_c / step
    loss: Any = floor + steps**alpha_S
    for _ in range(NEWTON_STEPS):
        lack = B_c * loss ** (-1 / alpha_B) / batch_tokens
        term = (steps * (1 + lack)) ** alpha_S
        missed = floor + term - loss
        slope = -alpha_S * term * lack / ((1 + lack) * alpha_B * loss) - 1
        loss = loss - missed / slope
        if not np.any(np.abs(missed) > SOLVED * np.abs(loss)):
            break
    solved: Array = loss
    return solved


LAWS = (
    _single(
        "kaplan_n", "params", "N_c", "alpha_N",
        _set("kaplan2020_n", N_c=8.8e13, alpha_N=0.076),
        "params are without embeddings; for models trained to convergence.",
    ),
    _single(
        "kaplan_d", "tokens", "D_c", "alpha_D",
        _set("kaplan2020_d", D_c=5.4e13, alpha_D=0.095),
        "For large models stopped early.",
    ),
    _single(
        "kaplan_c", "flops", "C_c", "alpha_C",
        _set("kaplan2020_c", C_c=3.1e8 * FLOPS_PER_PF_DAY, alpha_C=0.050),
        "flops are those of training at a batch far below the critical one.",
    ),
    Law(
        id="kaplan_nd",
        title="Loss against parameters and tokens (Kaplan)",
        formula="((N_c / params)**(alpha_N / alpha_D) + D_c / tokens)**alpha_D",
        variables=("params", "tokens"),
        parameters=(_N_C, _D_C, _ALPHA_N, _ALPHA_D),
        predict=lambda N_c, D_c, alpha_N, alpha_D, params, tokens: (
            (N_c / params) ** (alpha_N / alpha_D) + D_c / tokens
        )
        ** alpha_D,
        source=KAPLAN,
        published=(
            _set("kaplan2020_nd", N_c=6.4e13, D_c=1.8e13, alpha_N=0.076, alpha_D=0.103),
        ),
        caveats=(
            "It has no irreducible term: far out it is too optimistic.",
            "N_c and alpha_N differ between the paper's tables; the sets do not mix.",
        ),
        family="Kaplan",
    ),
    Law(
        id="kaplan_ns",
        title="Loss against parameters and steps (Kaplan)",
        formula="(N_c / params)**alpha_N + (S_c / step)**alpha_S",
        variables=("params", "step"),
        parameters=(_N_C, _S_C, _ALPHA_N, _ALPHA_S),
        predict=lambda N_c, S_c, alpha_N, alpha_S, params, step: (
            (N_c / params) ** alpha_N + (S_c / step) ** alpha_S
        ),
        source=KAPLAN,
        published=(
            _set("kaplan2020_ns", N_c=6.5e13, S_c=2.1e3, alpha_N=0.077, alpha_S=0.76),
        ),
        caveats=(
            "step means the fewest steps, those of a batch far above the critical one:"
            " S_min = step / (1 + critical batch / batch).",
        ),
        family="Kaplan",
    ),
    Law(
        id="kaplan_batch",
        title="Critical batch against the loss (Kaplan)",
        formula="B_c / loss**(1 / alpha_B)",
        variables=("loss",),
        parameters=(
            Parameter(
                "B_c", "batch at a loss of one", 0.1, 10.0, of_target=True, linear=True,
                centre={"loss": lambda values: 1 / values["alpha_B"]},
            ),
            _ALPHA_B,
        ),
        predict=lambda B_c, alpha_B, loss: B_c * loss ** (-1 / alpha_B),
        source=KAPLAN,
        published=(
            coefficients("kaplan2020_batch", KAPLAN, WEBTEXT, PAPER, target="tokens",
                         B_c=2e8, alpha_B=0.21),
        ),
        target="batch_tokens",
        caveats=("A secondary account gives 60K tokens at a loss of 3; the formula gives 1.07M.",),
        family="Kaplan",
    ),
    Law(
        id="unraveling",
        title="Loss against parameters, steps and batch (Unraveling)",
        formula="loss = (N_c / params)**alpha_N"
        " + ((S_c / step) * (1 + B_c loss**(-1/alpha_B) / batch_tokens))**alpha_S",
        variables=("params", "step", "batch_tokens"),
        parameters=(
            _N_C, _ALPHA_N, _S_C, _ALPHA_S,
            scale_of("B_c", "batch_tokens", 1.0, 1e3, "batch that is critical at a loss of one"),
            _ALPHA_B,
        ),
        predict=_unraveling,
        source=SU,
        unverified=(
            coefficients("su2024", SU, "C4-like, 1M to 60M parameters", Evidence("unconfirmed"),
                         params="non-embedding", N_c=4.85e17, alpha_N=0.0615, S_c=2.57e3,
                         alpha_S=0.672, B_c=1.66e8, alpha_B=0.205),
        ),
        caveats=(
            "The workflow: fit kaplan_n to runs that have converged, kaplan_batch to the critical"
            " batches, then this law with those coefficients pinned by `fix=`.",
            "For a schedule of its own length and after warm-up only.",
            "Compute alone asks for the smallest batch: bound it by the steps there is time for.",
        ),
        choices=Choices((Choice("batch_tokens", 1e3, 1e8),), batch="batch_tokens"),
        family="Kaplan",
    ),
)  # fmt: skip
