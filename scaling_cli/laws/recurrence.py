"""Compute beyond parameters and tokens: parallel streams, loops, tries at test time."""

from __future__ import annotations

from typing import Any

import numpy as np

from scaling_cli.laws.base import (
    Array,
    Choice,
    Choices,
    Evidence,
    Law,
    Parameter,
    Published,
    Source,
)
from scaling_cli.laws.parts import (
    amplitude,
    coefficients,
    exponent,
    floor,
    refit,
    repository,
    secondary,
)

PARSCALE = Source("Chen et al.", 2025, "2505.10475", "eq. 4")
PARCAE = Source("Parcae", 2026, "2604.12946")
ISODEPTH = Source("Schwethelm et al.", 2026, "2604.21106")
TTSPM = Source("Wang et al.", 2025, "2505.20522")
MONKEYS = Source("Brown et al.", 2024, "2407.21787")
LOOPS = Choices(
    (Choice("recurrence", 1.0, 16.0),),
    per_token=lambda values: (
        (6.0, 1.0), (6 * (values["recurrence"] - 1) * values["params_recurrent"], 0.0)
    ),
    cost="6 a param of the unrolled model and token",
)  # fmt: skip
FAMILY = "streams, loops and tries"
LEAST_GAIN = 0.01  # of a further try, below which they are said to have saturated


def _stream_set(name: str, data: str, **values: Any) -> Published:
    return coefficients(
        name, PARSCALE, data, refit("of the authors, by their recipe"), params="non-embedding",
        **values,
    )  # fmt: skip


def _unrolled(params: Array, params_recurrent: Array, recurrence: Array) -> Array:
    unrolled: Array = params + (recurrence - 1) * params_recurrent
    return unrolled


def _looped(
    E: Array, X: Array, x: Array, Y: Array, y: Array,
    params: Array, params_recurrent: Array, recurrence: Array, tokens: Array,
) -> Array:  # fmt: skip
    size = _unrolled(params, params_recurrent, recurrence)
    loss: Array = E + X * size**-x + Y * tokens**-y
    return loss


def _looped_unified(Z: Array, z: Array, test_recurrence: Array, **at: Array) -> Array:
    left: Array = Z * np.exp(-z * test_recurrence / at["recurrence"])
    return _looped(**at) + left


def _isodepth(
    E: Array, A: Array, alpha: Array, B: Array, beta: Array, phi: Array,
    params: Array, params_recurrent: Array, recurrence: Array, tokens: Array,
) -> Array:  # fmt: skip
    worth = params - params_recurrent + recurrence**phi * params_recurrent
    loss: Array = E + A * worth**-alpha + B * tokens**-beta
    return loss


def _saturation(F_max: float, p: float) -> float:
    """The fewest tries after which one more gains less than LEAST_GAIN."""
    return float(max(0.0, np.ceil(np.log(LEAST_GAIN / (F_max * p)) / np.log(1 - p))))


LAWS = (
    Law(
        id="parscale",
        title="Parallel streams count as parameters by their logarithm",
        formula="E + (A / (params (k ln streams + 1)))**alpha",
        variables=("params", "streams"),
        parameters=(
            floor(),
            Parameter(
                "A", "parameters at which the term is one", 1e-4, 10.0, centre={"params": 1.0}
            ),
            exponent("alpha", "params", 0.05, 1.0),
            Parameter("k", "worth of a stream", 0.05, 2.0),
        ),
        predict=lambda E, A, alpha, k, params, streams: (
            E + (A / (params * (k * np.log(streams) + 1))) ** alpha
        ),
        source=PARSCALE,
        published=(
            _stream_set(
                "chen2025_stack", "Stack-V2-Python, 24 runs at 42B tokens",
                E=0.6913, A=1.1307e7, alpha=0.18940, k=0.39343,
            ),
            _stream_set(
                "chen2025_pile", "Pile, 24 runs at 42B tokens",
                E=1.28885, A=1.9728e8, alpha=0.19636, k=0.33443,
            ),
        ),
        caveats=(
            "All runs had the same tokens: it says nothing of other amounts of data.",
            "E and A reproduce the paper's objective to its digits; the paper's own table was not"
            " seen.",
        ),
        family=FAMILY,
        evidence=repository("QwenLM/ParScale"),
    ),
    Law(
        id="looped",
        title="Looped models: the params of the unrolled model, and data",
        formula="E + X / unrolled**x + Y / tokens**y,"
        " unrolled = params + (recurrence - 1) params_recurrent",
        variables=("params", "params_recurrent", "recurrence", "tokens"),
        parameters=(
            floor(), amplitude("X", "params", "x"), exponent("x", "the unrolled params"),
            amplitude("Y", "tokens", "y"), exponent("y", "tokens"),
        ),
        predict=_looped,
        same_scale={"params_recurrent": "params"},
        domain={"params": (2e8, 1e10), "params_recurrent": (2e7, 1.9e8)},
        source=PARCAE,
        caveats=(
            "Compute is proportional to the unrolled params times tokens: the paper finds"
            " recurrence ~ C**.40 and tokens ~ C**.78 at a fixed size.",
        ),
        choices=LOOPS,
        family=FAMILY,
        evidence=Evidence("paper", "section 5.2"),
    ),
    Law(
        id="looped_test",
        title="Looped models: more loops at test time",
        formula="L_inf + Z exp(-z recurrence)",
        variables=("recurrence",),
        parameters=(
            floor("L_inf", "loss after endless loops"),
            Parameter("Z", "gain of the loops", 0.02, 2.0, of_target=True, linear=True),
            Parameter("z", "rate by loop", 0.02, 2.0),
        ),
        predict=lambda L_inf, Z, z, recurrence: L_inf + Z * np.exp(-z * recurrence),
        source=PARCAE,
        family=FAMILY,
        evidence=Evidence("paper", "section 5.3"),
    ),
    Law(
        id="looped_unified",
        title="Looped models: training and more loops at test time in one law",
        formula="E + X / unrolled**x + Y / tokens**y + Z exp(-z test_recurrence / recurrence),"
        " unrolled = params + (recurrence - 1) params_recurrent",
        variables=("params", "params_recurrent", "recurrence", "tokens", "test_recurrence"),
        parameters=(
            floor(), amplitude("X", "params", "x"), exponent("x", "the unrolled params"),
            amplitude("Y", "tokens", "y"), exponent("y", "tokens"),
            Parameter("Z", "loss that loops take away", 0.05, 3.0, of_target=True, linear=True),
            Parameter("z", "rate by loops over those of training", 0.5, 10.0),
        ),
        predict=_looped_unified,
        same_scale={"params_recurrent": "params"},
        domain={"params": (2e8, 1e10), "params_recurrent": (2e7, 1.9e8)},
        source=PARCAE,
        choices=LOOPS,
        family=FAMILY,
        evidence=Evidence("paper", "eq. 4"),
    ),
    Law(
        id="isodepth",
        title="Looped models: a recurrent parameter counts recurrence**phi times",
        formula="E + A / (once + recurrence**phi params_recurrent)**alpha + B / tokens**beta,"
        " once = params - params_recurrent",
        variables=("params", "params_recurrent", "recurrence", "tokens"),
        parameters=(
            floor(), amplitude("A", "params", "alpha"), exponent("alpha", "params"),
            amplitude("B", "tokens", "beta"), exponent("beta", "tokens"),
            Parameter("phi", "worth of a repeated layer; 1 is that of a new one", 0.1, 1.5),
        ),
        predict=_isodepth,
        same_scale={"params_recurrent": "params"},
        source=ISODEPTH,
        caveats=("The paper finds phi = .459 (.41 to .53), .65 with hyper-connections.",),
        choices=LOOPS,
        family=FAMILY,
        domain={"params": (2e8, 1e10), "params_recurrent": (2e7, 1.9e8)},
        evidence=Evidence("paper", "eq. 3"),
    ),
    Law(
        id="test_time_sat",
        title="Score against parallel tries, with saturation",
        formula="F_max (1 - (1 - p)**samples)",
        variables=("samples",),
        parameters=(
            Parameter("F_max", "score of endless tries", 0.3, 0.98, "logit"),
            Parameter("p", "chance of one try", 0.005, 0.5, "logit"),
        ),
        predict=lambda F_max, p, samples: F_max * (1 - (1 - p) ** samples),
        derived=lambda values: {"samples for a gain below .01": _saturation(**values)},
        source=TTSPM,
        target="accuracy",
        objective="squared",
        family=FAMILY,
        domain={"samples": (1, 64)},
        evidence=secondary(),
    ),
    Law(
        id="repeated_sampling",
        title="Coverage against repeated samples",
        formula="exp(-a / samples**b)",
        variables=("samples",),
        parameters=(
            Parameter("a", "-ln of the coverage of one sample", 0.1, 10.0, centre={"samples": "b"}),
            exponent("b", "samples"),
        ),
        predict=lambda a, b, samples: np.exp(-a * samples**-b),
        source=MONKEYS,
        target="accuracy",
        objective="squared",
        family=FAMILY,
        domain={"samples": (1, 1e4)},
        evidence=Evidence("paper", "eq. 3"),
    ),
)  # fmt: skip
