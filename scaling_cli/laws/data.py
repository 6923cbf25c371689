"""Laws of limited data: repeated tokens, pools of different quality."""

from __future__ import annotations

from functools import partial

import numpy as np

from scaling_cli.laws.base import Array, Law, Parameter, Source
from scaling_cli.laws.parts import (
    amplitude,
    coefficients,
    exponent,
    floor,
    least,
    power_of,
    repository,
    secondary,
)

MUENNIGHOFF = Source("Muennighoff et al.", 2023, "2305.16264", "eq. 5 to 7")
GOYAL = Source("Goyal et al.", 2024, "2404.07177", "eq. 3")
LOVELACE = Source("Lovelace et al.", 2026, "2605.01640")
DATABLATIONS = repository("huggingface/datablations")
MOST_PASSES = 1000  # at a half-life of ten passes the last of them is worth 1e-30 of the first
FILTERING = repository("locuslab/scaling_laws_data_filtering")


def _worth(amount: Array, unique: Array, decay: Array) -> Array:
    """What `amount` is worth if only `unique` of it is new: the rest decays with scale `decay`."""
    worth: Array = unique + unique * decay * (1 - np.exp(-(amount / unique - 1) / decay))
    return worth


def _data_constrained(
    E: Array, A: Array, alpha: Array, B: Array, beta: Array, R_D: Array, R_N: Array,
    params: Array, tokens: Array, unique_tokens: Array,
) -> Array:  # fmt: skip
    """The parameters that the unique tokens can use are those of their compute-optimal model."""
    unique = np.minimum(unique_tokens, tokens)
    ray = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
    usable = least(params, (unique * ray) ** (beta / alpha) * ray)
    loss: Array = (
        E + A * _worth(params, usable, R_N) ** -alpha + B * _worth(tokens, unique, R_D) ** -beta
    )
    return loss


def _qqt(
    a: Array, b: Array, tau: Array, d: Array, samples: Array, unique_samples: Array,
    inside: bool = False,
) -> Array:  # fmt: skip
    """Each pass over the pool has an exponent that has fallen by 2**(-1/tau)."""
    passes = min(MOST_PASSES, int(np.ceil(np.max(samples / unique_samples) - 1e-9)))
    k = np.arange(1, passes + 1)
    seen = np.log(np.minimum(samples, np.arange(1, passes + 1)[:, None] * unique_samples))
    gains = np.diff(seen, axis=0)  # of the passes after the first [passes - 1, rows]
    first = -b * seen[0]
    later = -b * (2 ** (-k[:-1] / tau) @ gains)
    if inside:
        code: Array = (a * np.exp(first) + d) * np.exp(later)
        return code
    error: Array = a * np.exp(first + later) + d
    return error


def _quality(id: str, inside: bool) -> Law:
    return Law(
        id=id,
        title="Repeated samples with a half-life" + (", floor inside" if inside else ""),
        formula="a n_1**-b prod_k (n_k / n_(k-1))**(-b 2**(-(k-1)/tau)) + d"
        if not inside
        else "(a n_1**-b + d) prod_k>1 (n_k / n_(k-1))**(-b 2**(-(k-1)/tau))",
        variables=("samples", "unique_samples"),
        parameters=(
            amplitude("a", "samples", "b"),
            Parameter("b", "utility of the first pass", 0.02, 0.5),
            Parameter("tau", "passes in which the utility halves", 0.5, 10.0),
            floor("d", "error that no sample takes away"),
        ),
        predict=partial(_qqt, inside=inside),
        same_scale={"unique_samples": "samples"},
        source=GOYAL,
        target="error",
        objective="squared",
        caveats=(
            "n_k counts the samples seen after pass k over the pool.",
            "Pools that are mixed: fit each alone, then average b 2**(-(k-1)/tau_i) over pools with"
            " tau_i multiplied by their number.",
            "The authors' code adds d before the product over passes, the paper after it:"
            " qqt_code and qqt.",
        ),
        family="data",
        domain={"samples": (2e4, 1e6), "unique_samples": (1e4, 1e5)},
        evidence=FILTERING,
    )  # fmt: skip


def _repeat_overfit(
    E: Array, A: Array, alpha: Array, B: Array, beta: Array, P: Array, delta: Array,
    kappa: Array, params: Array, tokens: Array, unique_tokens: Array,
) -> Array:  # fmt: skip
    repeats = np.maximum(tokens / unique_tokens - 1, 0.0)
    loss: Array = (
        E
        + A * params**-alpha
        + B * tokens**-beta
        + P * power_of(repeats, delta) * (params / unique_tokens) ** kappa
    )
    return loss


LAWS = (
    Law(
        id="data_constrained",
        title="Repeated tokens and excess parameters lose their worth",
        formula="E + A / N'**alpha + B / D'**beta, D' = U + U R_D (1 - exp(-(tokens/U - 1) / R_D)),"
        " N' likewise from U_N = min(params, optimum for U) and R_N",
        variables=("params", "tokens", "unique_tokens"),
        parameters=(
            floor(), amplitude("A", "params", "alpha"), exponent("alpha", "params"),
            amplitude("B", "tokens", "beta"), exponent("beta", "tokens"),
            Parameter("R_D", "repeats after which a token's worth has fallen to 1/e", 0.5, 100.0),
            Parameter("R_N", "the same of parameters in excess", 0.5, 100.0),
        ),
        predict=_data_constrained,
        same_scale={"unique_tokens": "tokens"},
        source=MUENNIGHOFF,
        published=(
            coefficients(
                "muennighoff2023_repeats", MUENNIGHOFF, "C4; 182 runs, surface from single epochs",
                DATABLATIONS, E=float(np.exp(0.6254804)), A=float(np.exp(6.255414)),
                alpha=0.3526596, B=float(np.exp(7.3049974)), beta=0.3526596, R_D=15.387756,
                R_N=5.309743,
            ),
        ),
        caveats=(
            "Two stages, as in the paper: fit chinchilla to single-epoch runs, then pin E, A,"
            " alpha, B and beta by `fix=` and fit R_D and R_N.",
            "The published R_D and R_N are a local optimum of the stated objective on the public"
            " rows: R_D near 95 and R_N near 1.7 are lower.",
            "There is no closed-form optimum of a budget.",
        ),
        family="data",
        domain={"tokens": (2e9, 2e11), "unique_tokens": (1e9, 4e10)},
        evidence=DATABLATIONS,
    ),
    Law(
        id="repeat_overfit",
        title="Repetition as a penalty that grows with model size",
        formula="E + A / params**alpha + B / tokens**beta"
        " + P (tokens/U - 1)**delta (params / U)**kappa",
        variables=("params", "tokens", "unique_tokens"),
        parameters=(
            floor(), amplitude("A", "params", "alpha"), exponent("alpha", "params"),
            amplitude("B", "tokens", "beta"), exponent("beta", "tokens"),
            Parameter(
                "P", "size of the penalty", 1e-3, 0.5, of_target=True, linear=True,
                centre={"params": lambda values: -values["kappa"], "tokens": "kappa"},
            ),
            exponent("delta", "repeats", 0.2, 2.0), exponent("kappa", "params per unique token"),
        ),
        predict=_repeat_overfit,
        same_scale={"unique_tokens": "tokens"},
        source=LOVELACE,
        family="data",
        domain={"tokens": (2e9, 2e11), "unique_tokens": (1e9, 4e10)},
        evidence=secondary(),
    ),
    _quality("qqt", inside=False),
    _quality("qqt_code", inside=True),
)  # fmt: skip
