"""Routed, granular and sparse models."""

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
    Values,
)
from scaling_cli.laws.parts import amplitude, coefficients, exponent, floor, refit, secondary

CLARK = Source("Clark et al.", 2022, "2202.01169", "eq. 6 and 7")
KRAJEWSKI = Source("Krajewski et al.", 2024, "2402.07871", "eq. 9")
FRANTAR = Source("Frantar et al.", 2023, "2309.08520")
LUDZIEJEWSKI = Source("Ludziejewski et al.", 2025, "2502.05172", "eq. 1 and 8")
TIAN = Source("Tian et al.", 2025, "2507.17702", "eq. 13")
ZHAO = Source("Zhao et al.", 2025, "2509.23678")
ABNAR = Source("Abnar et al.", 2025, "2501.12370")
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


def _moe_joint(
    c: Array, a: Array, delta: Array, alpha: Array, gamma: Array, b: Array, omega: Array,
    beta: Array, zeta: Array, E_start: Array, E_max: Array, N_0: Array, D_0: Array,
    params_active: Array, tokens: Array, experts: Array,
) -> Array:  # fmt: skip
    """Slopes by the log of the effective experts, about the middle of the runs."""
    log_experts = np.log(saturated_experts(experts, E_start, E_max))
    by_size = (alpha + gamma * log_experts) * np.log(params_active / N_0)
    by_data = (beta + zeta * log_experts) * np.log(tokens / D_0)
    loss: Array = (
        c + a * np.exp(delta * log_experts - by_size) + b * np.exp(omega * log_experts - by_data)
    )
    return loss


def _joint_raw(values: Values) -> dict[str, float]:
    """The paper's amplitudes and powers of the experts, of columns in base units."""
    log_params, log_tokens = np.log(values["N_0"]), np.log(values["D_0"])
    return {
        "a, raw": float(values["a"] * np.exp(values["alpha"] * log_params)),
        "delta, raw": float(values["delta"] + values["gamma"] * log_params),
        "b, raw": float(values["b"] * np.exp(values["beta"] * log_tokens)),
        "omega, raw": float(values["omega"] + values["zeta"] * log_tokens),
    }


def _leverage(
    a: Array, d: Array, gamma: Array, beta: Array, A_start: Array, A_max: Array,
    activation_ratio: Array, granularity: Array, flops: Array,
) -> Array:  # fmt: skip
    log_ratio = np.log(1 / (1 / (activation_ratio + 1 / (1 / A_start - 1 / A_max)) + 1 / A_max))
    finer = np.log2(granularity)
    power = a + d * np.log10(flops) + gamma * finer**2 + beta * finer
    leverage: Array = np.exp(power * log_ratio)
    return leverage


def _moe_five(
    E: Array, e: Array, f: Array, m: Array, n: Array, k: Array, h: Array, a: Array, alpha: Array,
    b: Array, beta: Array, c: Array, params: Array, params_active: Array, tokens: Array,
    active_experts: Array, shared_ratio: Array,
) -> Array:  # fmt: skip
    by_choice = e * active_experts + f / active_experts + m * shared_ratio**2 + n * shared_ratio
    by_size = params**-alpha + k * params_active**-alpha + h * params_active / params
    loss: Array = (
        by_choice * by_size + a * params**-alpha + b * tokens**-beta + c * params_active**-alpha + E
    )
    return loss


def _best_choice(values: Values) -> dict[str, float]:
    """The number of active experts and the share of shared ones that lower the loss most."""
    best = {"best active_experts": float(np.sqrt(values["f"] / values["e"]))}
    if values["m"] > 0 > values["n"]:
        best["best shared_ratio"] = float(-values["n"] / (2 * values["m"]))
    return best


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


def _granular_cost(values: Values) -> tuple[tuple[float, float], ...]:
    """Of params = width**2 (8 experts + 4) layers, width = 64 layers."""
    experts, shape = 64.0, 64.0
    layer = 8 * experts + 4  # params in units of width**2
    routed = 14 * experts * values["granularity"] * shape ** (-1 / 3) * layer ** (-2 / 3)
    return ((72 / layer, 1.0), (routed, 2 / 3))


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
        choices=Choices(
            (Choice("granularity", 1.0, 64.0),), per_token=_granular_cost,
            cost="12 * 6 width**2 + 14 width experts granularity a layer and token, with 64 experts"
            " and width = 64 layers; the shape read in the authors' code, 6 and 14 from memory",
        ),
        family=FAMILY,
        evidence=GRANULAR_TEXT,
    ),
    Law(
        id="moe_joint",
        title="Dense and routed models in one law: active params, tokens and experts",
        formula="c + a X**delta (params_active/N_0)**-(alpha + gamma ln X)"
        " + b X**omega (tokens/D_0)**-(beta + zeta ln X),"
        " 1/X = 1/(experts - 1 + 1/(1/E_start - 1/E_max)) + 1/E_max",
        variables=("params_active", "tokens", "experts"),
        parameters=(
            floor("c"),
            Parameter("a", "params term at N_0 and X = 1", 0.02, 1.0, of_target=True, linear=True),
            Parameter("delta", "power of experts in it", -0.5, 0.5, "identity"),
            exponent("alpha", "params_active"),
            Parameter("gamma", "what experts add to that exponent", -0.05, 0.05, "identity"),
            Parameter("b", "tokens term at D_0 and X = 1", 0.02, 1.0, of_target=True, linear=True),
            Parameter("omega", "power of experts in it", -0.5, 0.5, "identity"),
            exponent("beta", "tokens"),
            Parameter("zeta", "what experts add to that exponent", -0.05, 0.05, "identity"),
            Parameter("E_start", "effective experts of a dense model", 1.0, 6.0),
            Parameter("E_max", "experts at which they saturate", 100.0, 1000.0),
        ),
        predict=_moe_joint,
        references={"N_0": "params_active", "D_0": "tokens"},
        derived=_joint_raw,
        source=LUDZIEJEWSKI,
        caveats=(
            "experts are all experts of a layer, 1 for a dense model; params_active those that a"
            " token passes through.",
            "The paper writes the exponents with the other sign, and a, delta, b and omega for"
            " N_0 = D_0 = 1: see the derived values.",
            "Pin E_start and E_max by `fix=` where experts hardly vary.",
            "The coefficients that secondary accounts give make more experts worse at any size and"
            " tokens, so that a sign of them is wrong: none are listed.",
        ),
        choices=Choices(
            (Choice("experts", 1.0, 64.0),), "params_active", cost="6 an active param and"
            " token",
        ),
        family=FAMILY,
        domain={"params_active": (1e7, 3e9), "tokens": (1e9, 1e11), "experts": (1, 64)},
        evidence=Evidence("paper", "eq. 1"),
    ),
    Law(
        id="moe_lr",
        title="Best peak rate of routed models",
        formula="c params_active**n experts**e",
        variables=("params_active", "experts"),
        parameters=(
            Parameter("c", "level of the rate", 0.3, 3.0, of_target=True, linear=True,
                      centre={"params_active": "-n", "experts": "-e"}),
            Parameter("n", "exponent of params_active", -1.0, 0.5, "identity"),
            Parameter("e", "exponent of experts", -1.0, 0.5, "identity"),
        ),
        predict=lambda c, n, e, params_active, experts: c * params_active**n * experts**e,
        source=LUDZIEJEWSKI,
        published=(
            coefficients(
                "ludziejewski2025_lr", LUDZIEJEWSKI, "280 dense and routed models up to 5B params",
                Evidence("paper", "eq. 8"), target="learning rate",
                params="active, without embeddings",
                    ranges={"experts": (1.0, 64.0)}, c=float(np.exp(8.39)), n=-0.81, e=-0.25,
            ),
        ),
        caveats=(
            "Of stored runs lr is the rate of the last step: `y=peak_lr`, on the best run of each"
            " size.",
        ),
        target="lr",
        objective="squared_log",
        family=FAMILY,
        domain={"experts": (1, 64)},
        evidence=Evidence("paper", "eq. 8"),
    ),
    Law(
        id="moe_leverage",
        title="Efficiency leverage: dense compute that a routed model is worth, over its own",
        formula="X**(a + d log10 flops + gamma (log2 granularity)**2 + beta log2 granularity),"
        " 1/X = 1/(activation_ratio + 1/(1/A_start - 1/A_max)) + 1/A_max",
        variables=("activation_ratio", "granularity", "flops"),
        parameters=(
            Parameter("a", "power of the activation ratio", -1.0, 2.0, "identity"),
            Parameter("d", "what a decade of compute adds to it", -0.15, 0.05, "identity"),
            Parameter("gamma", "bend by granularity", 0.0, 0.05, "identity"),
            Parameter("beta", "slope by granularity", -0.25, 0.05, "identity"),
            Parameter("A_start", "ratio below which experts gain no more", 0.003, 0.1),
            Parameter("A_max", "ratio at which it saturates", 2.0, 50.0),
        ),
        predict=_leverage,
        source=TIAN,
        target="efficiency_leverage",
        objective="squared_log",
        published=(
            coefficients(
                "tian2025", TIAN, "over 300 models up to 28B params",
                Evidence("paper", "table 2; bases of its logs follow from the best granularity of"
                         " 12 and the leverage above 7 that section 4.2.2 states"),
                target="times", params="all", a=1.23, d=-7.61e-2, gamma=1.67e-2, beta=-0.117,
                A_start=1.63e-2, A_max=5.28e16,
            ),
        ),
        caveats=(
            "The paper's A_max of 5e16 says that the ratio does not saturate: `fix=A_max=1e16`.",
            "Bases of the logs only rescale d, gamma and beta: the paper does not show them. By"
            " these an activation ratio of .031 and a granularity of 12 are worth 7.2 times their"
            " compute at 1e22 FLOPs, where the paper says above 7.",
        ),
        monotone=False,
        family=FAMILY,
        domain={"activation_ratio": (0.01, 1.0), "flops": (1e18, 1e22), "granularity": (2, 16)},
        evidence=Evidence("paper", "eq. 13"),
    ),
    Law(
        id="moe_sparsity",
        title="Routed models by their sparsity",
        formula="e + a / params**alpha + b / tokens**beta + c / (1 - sparsity)**lambda"
        " + d / ((1 - sparsity)**delta params**gamma)",
        variables=("params", "tokens", "sparsity"),
        parameters=(
            floor("e"), amplitude("a", "params", "alpha"), exponent("alpha", "params"),
            amplitude("b", "tokens", "beta"), exponent("beta", "tokens"),
            Parameter("c", "what sparsity costs by itself", 0.02, 1.0, of_target=True, linear=True),
            Parameter("lam", "exponent of the active share", -1.0, 1.0, "identity"),
            Parameter("d", "what sparsity costs with size", 0.02, 1.0, of_target=True, linear=True,
                      centre={"params": "gamma"}),
            Parameter("delta", "exponent of the active share in it", -1.0, 1.0, "identity"),
            exponent("gamma", "params in it"),
        ),
        predict=lambda e, a, alpha, b, beta, c, lam, d, delta, gamma, params, tokens, sparsity: (
            e + a * params**-alpha + b * tokens**-beta + c * (1 - sparsity) ** -lam
            + d * (1 - sparsity) ** -delta * params**-gamma
        ),
        source=ABNAR,
        caveats=(
            "params are all parameters, sparsity the share of experts that a token leaves out.",
            "lam is the paper's lambda.",
        ),
        choices=Choices(
            (Choice("sparsity", 0.0, 0.98),),
            per_token=lambda values: ((6 * (1 - values["sparsity"]), 1.0),),
            cost="6 an active param and token, of which there are (1 - sparsity) params",
        ),
        family=FAMILY,
        domain={"sparsity": (0.0, 0.98)},
        evidence=secondary("that quotes its eq. 6; of the paper itself only its start was found"),
    ),
    Law(
        id="moe_five",
        title="Routed models by size, active size, tokens, active experts and shared ones",
        formula="(e G + f / G + m S**2 + n S)"
        " (1 / params**alpha + k / params_active**alpha + h params_active / params)"
        " + a / params**alpha + b / tokens**beta + c / params_active**alpha + E,"
        " G = active_experts, S = shared_ratio",
        variables=("params", "params_active", "tokens", "active_experts", "shared_ratio"),
        parameters=(
            floor(),
            Parameter("e", "what each active expert costs", 1e-3, 0.05, centre={"params": "alpha"},
                      of_target=True),
            Parameter("f", "what few active experts cost", 0.02, 0.5, centre={"params": "alpha"},
                      of_target=True),
            Parameter("m", "bend by the shared ratio", 0.05, 1.0, "identity",
                      centre={"params": "alpha"}),
            Parameter("n", "slope by the shared ratio", -0.8, -0.05, "identity",
                      centre={"params": "alpha"}),
            Parameter("k", "weight of params_active in it", 0.01, 1.0),
            Parameter("h", "weight of the active share in it", 0.05, 5.0,
                      centre={"params": "-alpha"}),
            amplitude("a", "params", "alpha"), exponent("alpha", "params and params_active"),
            amplitude("b", "tokens", "beta"), exponent("beta", "tokens"),
            Parameter("c", "amplitude of the params_active term", 0.02, 2.0, of_target=True,
                      linear=True, centre={"params": "alpha"}),
        ),
        predict=_moe_five,
        same_scale={"params_active": "params"},
        derived=_best_choice,
        source=ZHAO,
        unverified=(
            coefficients(
                "zhao2025", ZHAO, "446 runs; it gives 6.8 active experts and a shared ratio of"
                " .31 as the best, where the abstract has 7 and .31", secondary(),
                e=0.1577, f=7.2446, m=5.1395, n=-3.2363, k=0.0013, h=0.0450, a=38.051,
                alpha=0.2383, b=27129.05, beta=0.4694, c=31.096, E=1.8182,
            ),
        ),
        caveats=("Pin m and n at 0 by `fix=` where no run has shared experts.",),
        monotone=False,
        family=FAMILY,
        domain={"params": (1e9, 1e10), "params_active": (2e8, 9e8), "tokens": (1e10, 1e11)},
        evidence=secondary(),
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
        evidence=secondary("; another has the density factor before both terms"),
    ),
)  # fmt: skip
