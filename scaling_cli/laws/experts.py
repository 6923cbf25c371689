"""Routed, granular and sparse models."""

from __future__ import annotations

from typing import Any

import numpy as np

from scaling_cli.laws.base import Array, Evidence, Law, Parameter, Published, Source, Values
from scaling_cli.laws.parts import amplitude, coefficients, exponent, floor, refit, secondary

CLARK = Source("Clark et al.", 2022, "2202.01169", "eq. 6 and 7")
KRAJEWSKI = Source("Krajewski et al.", 2024, "2402.07871", "eq. 9")
FRANTAR = Source("Frantar et al.", 2023, "2309.08520")
FAMILY = "experts and sparsity"


def saturated_experts(experts: Array, E_start: Array, E_max: Array) -> Array:
    """The effective number of experts, which saturates at E_max (eq. 7)."""
    from_one = 1 / (experts - 1 + 1 / (1 / E_start - 1 / E_max))
    effective: Array = 1 / (from_one + 1 / E_max)
    return effective


def _routed(
    a: Array, b: Array, c: Array, d: Array, E_start: Array, E_max: Array,
    params: Array, experts: Array,
) -> Array:  # fmt: skip
    log_params = np.log10(params)
    log_experts = np.log10(saturated_experts(experts, E_start, E_max))
    log_loss = a * log_params + b * log_experts + c * log_params * log_experts + d
    loss: Array = 10.0**log_loss
    return loss


def _cutoff(values: Values) -> dict[str, float]:
    """Parameters from which on more experts do not help."""
    return {"N_cutoff": float(10 ** (-values["b"] / values["c"]))}


def _routing(name: str, method: str, evidence: Evidence, *figures: float) -> Published:
    names = ("a", "b", "c", "d", "E_start", "E_max")
    values: dict[str, Any] = dict(zip(names, figures, strict=True))
    return coefficients(
        name, CLARK, f"{method} routing, validation loss near step 249k", evidence,
        params="of the dense part", **values,
    )  # fmt: skip


GRANULAR_TEXT = Evidence("paper", "eq. 9")
_REFIT = refit("of google-deepmind/scaling_laws_for_routing")
_TABLE = Evidence("unconfirmed", "the paper's table 3")

LAWS = (
    Law(
        id="routed",
        title="Routed language models: bilinear in the logs of size and experts",
        formula="10**(a log10 N + b log10 X + c log10 N log10 X + d),"
        " 1/X = 1/(experts - 1 + 1/(1/E_start - 1/E_max)) + 1/E_max",
        variables=("params", "experts"),
        parameters=(
            Parameter("a", "slope by params of a dense model", -0.15, -0.03, "negative"),
            Parameter("b", "slope by experts", -0.3, -0.03, "negative"),
            Parameter("c", "what size takes from the gain of experts", 0.0, 0.03, "identity"),
            Parameter("d", "level", 0.8, 1.5, "identity"),
            Parameter("E_start", "effective experts of a dense model", 1.0, 6.0),
            Parameter("E_max", "experts at which they saturate", 100.0, 1000.0),
        ),
        predict=_routed,
        derived=_cutoff,
        source=CLARK,
        published=(
            _routing("clark2022_sbase", "S-BASE", _REFIT,
                     -0.0830, -0.1180, 0.0099, 1.1136, 2.075, 239),
            _routing("clark2022_rlr", "RL-R", _REFIT,
                     -0.0827, -0.1234, 0.0112, 1.1070, 1.722, 470),
            _routing("clark2022_hash", "HASH", _REFIT,
                     -0.0874, -0.1384, 0.0126, 1.1595, 4.269, 427),
        ),
        unverified=(
            _routing("clark2022_sbase_table", "S-BASE", _TABLE,
                     -0.082, -0.108, 0.009, 1.104, 1.847, 314),
            _routing("clark2022_rlr_table", "RL-R", _TABLE,
                     -0.083, -0.126, 0.012, 1.111, 1.880, 470),
            _routing("clark2022_hash_table", "HASH", _TABLE,
                     -0.087, -0.136, 0.012, 1.157, 4.175, 478),
        ),
        objective="squared_log",
        caveats=(
            "params are those of the dense part, that is used by each token.",
            "E_start, E_max and b are weakly identified: refits of the same runs differ from the"
            " paper's table by a quarter.",
        ),
        family=FAMILY,
        domain={"params": (1e7, 2e9), "experts": (1, 512)},
    ),
    Law(
        id="moe_gran",
        title="Granular experts",
        formula="c + (a + g / granularity**gamma) / params**alpha + b / tokens**beta",
        variables=("params", "tokens", "granularity"),
        parameters=(
            floor("c"), amplitude("a", "params", "alpha"),
            Parameter(
                "g", "what coarse experts cost", 0.02, 2.0, centre={"params": "alpha"},
                of_target=True, linear=True,
            ),
            exponent("gamma", "granularity"), exponent("alpha", "params"),
            amplitude("b", "tokens", "beta"), exponent("beta", "tokens"),
        ),
        predict=lambda c, a, g, gamma, alpha, b, beta, params, tokens, granularity: (
            c + (a + g * granularity**-gamma) * params**-alpha + b * tokens**-beta
        ),
        source=KRAJEWSKI,
        published=(
            coefficients(
                "krajewski2024", KRAJEWSKI, "C4, 64 experts, 16B to 130B tokens", GRANULAR_TEXT,
                params="total, without embeddings", c=0.47, a=18.1, g=2.1, gamma=0.58, alpha=0.115,
                b=30.8, beta=0.147,
            ),
        ),
        caveats=(
            "params are all parameters but the embeddings, of models of 64 experts.",
            "The paper prints two or three digits: its own table 2 is met within .8 %.",
        ),
        family=FAMILY,
        evidence=GRANULAR_TEXT,
    ),
    Law(
        id="sparse_frantar",
        title="Sparsely connected models",
        formula="(a_S (1 - sparsity)**b_S + c_S) / params**b_N + (a_D / tokens)**b_D + c",
        variables=("params", "tokens", "sparsity"),
        parameters=(
            Parameter(
                "a_S", "what density costs", 0.02, 2.0, centre={"params": "b_N"}, of_target=True,
                linear=True,
            ),
            exponent("b_S", "density", 0.1, 2.0),
            Parameter(
                "c_S", "what remains at full sparsity", 0.02, 2.0, centre={"params": "b_N"},
                of_target=True, linear=True,
            ),
            exponent("b_N", "params"),
            Parameter("a_D", "tokens at which the term is one", 1e-4, 10.0, centre={"tokens": 1}),
            exponent("b_D", "tokens"), floor("c"),
        ),
        predict=lambda a_S, b_S, c_S, b_N, a_D, b_D, c, params, tokens, sparsity: (
            (a_S * (1 - sparsity) ** b_S + c_S) * params**-b_N + (a_D / tokens) ** b_D + c
        ),
        source=FRANTAR,
        caveats=("params are those that are not zero.",),
        family=FAMILY,
        evidence=secondary(),
    ),
)  # fmt: skip
