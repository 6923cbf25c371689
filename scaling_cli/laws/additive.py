"""Additive surfaces in parameters and tokens: Chinchilla and its generalisation by a power."""

from __future__ import annotations

from typing import Any

import numpy as np

from scaling_cli.laws.base import (
    Array,
    Law,
    PaperFit,
    Parameter,
    PowerSum,
    Published,
    Source,
    Values,
)

HOFFMANN = Source("Hoffmann et al.", 2022, "2203.15556", "eq. 10")
BESIROGLU = Source("Besiroglu et al.", 2024, "2404.10102")
MUENNIGHOFF = Source("Muennighoff et al.", 2023, "2305.16264")
SKALING = Source("Meta FAIR", 2026, "2608.07222")

_E = Parameter("E", "irreducible loss", 0.05, 0.99, of_target=True, linear=True)
_ALPHA = Parameter("alpha", "exponent of params", 0.05, 1.5)
_BETA = Parameter("beta", "exponent of tokens", 0.05, 1.5)
_A = Parameter(
    "A", "amplitude of the params term", 0.02, 2.0, centre={"params": "alpha"}, of_target=True,
    linear=True,
)  # fmt: skip
_B = Parameter(
    "B", "amplitude of the tokens term", 0.02, 2.0, centre={"tokens": "beta"}, of_target=True,
    linear=True,
)  # fmt: skip


def _ray(values: Values, flops: Array) -> tuple[Array, Array]:
    """Compute-optimal (params, tokens) at 6 params tokens = flops; the same for every power k.

    Hoffmann et al. 2022, eq. 4: G = (alpha A / (beta B))**(1 / (alpha + beta)).
    """
    alpha, beta = values["alpha"], values["beta"]
    ratio = (alpha * values["A"] / (beta * values["B"])) ** (1 / (alpha + beta))
    half = flops / 6
    return ratio * half ** (beta / (alpha + beta)), half ** (alpha / (alpha + beta)) / ratio


def _set(name: str, source: Source, data: str, **values: Any) -> Published:
    return Published(name, values, data, source)


CHINCHILLA = Law(
    id="chinchilla",
    title="Additive law in parameters and tokens (Chinchilla, approach 3)",
    formula="E + A / params**alpha + B / tokens**beta",
    variables=("params", "tokens"),
    parameters=(_E, _A, _ALPHA, _B, _BETA),
    predict=lambda E, A, alpha, B, beta, params, tokens: E
    + A * params**-alpha
    + B * tokens**-beta,
    form=PowerSum(floor="E"),
    optimum=_ray,
    source=HOFFMANN,
    paper=PaperFit("huber_log", "L-BFGS from a grid of 4500 starts on the log-sum-exp form"),
    published=(
        _set("hoffmann2022", HOFFMANN, "MassiveText; as the paper prints them, rounded",
             E=1.69, A=406.4, alpha=0.34, B=410.7, beta=0.28),
        _set("hoffmann2022_tex", HOFFMANN, "MassiveText; unrounded, from the paper's TeX source",
             E=float(np.exp(0.5267228)), A=float(np.exp(6.0073404)), alpha=0.33917084,
             B=float(np.exp(6.0179186)), beta=0.2849083),
        _set("epoch2024", BESIROGLU, "240 points read off Hoffmann et al.'s figure 4",
             E=1.8172, A=482.01, alpha=0.3478, B=2085.43, beta=0.3658),
        _set("muennighoff2023", MUENNIGHOFF, "C4, single epoch, exponents tied",
             E=float(np.exp(0.6254804)), A=float(np.exp(6.255414)), alpha=0.3526596,
             B=float(np.exp(7.3049974)), beta=0.3526596),
    ),
    caveats=(
        "On ladders whose loss bends (k below 1 in `skaling`) it is too pessimistic or too"
        " optimistic far out.",
        "Rounding beta from 0.2849 to 0.28 alone moves the optimum at 5.76e23 FLOPs from 40B to"
        " 32B parameters.",
    ),
)  # fmt: skip

SKALING_LAW = Law(
    id="skaling",
    title="Additive law inside a power (generalised Chinchilla)",
    formula="E + (A / params**alpha + B / tokens**beta)**k",
    variables=("params", "tokens"),
    parameters=(
        _E,
        Parameter("A", "amplitude of the params term", 0.05, 20.0, centre={"params": "alpha"}),
        _ALPHA,
        Parameter("B", "amplitude of the tokens term", 0.05, 20.0, centre={"tokens": "beta"}),
        _BETA,
        Parameter("k", "outer power; 1 is Chinchilla", 0.2, 1.5),
    ),
    predict=lambda E, A, alpha, B, beta, k, params, tokens: (
        E + (A * params**-alpha + B * tokens**-beta) ** k
    ),
    form=PowerSum(floor="E", power="k"),
    optimum=_ray,
    source=SKALING,
    paper=PaperFit("huber_log:0.05", "L-BFGS-B from 2000 Sobol points, and basin hopping"),
    caveats=("k and E trade off: on many ladders E is not identified, and only predictions are.",),
)

LAWS = (CHINCHILLA, SKALING_LAW)
