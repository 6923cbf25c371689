"""Additive surfaces in parameters and tokens: Chinchilla and its generalisation by a power."""

from __future__ import annotations

from typing import Any

import numpy as np

from scaling_cli.laws.base import (
    FLOPS_PER_PARAM_TOKEN,
    PAPER,
    Array,
    Evidence,
    Law,
    PaperFit,
    Parameter,
    PowerSum,
    Published,
    Source,
    Values,
)
from scaling_cli.laws.parts import amplitude, exponent, floor, refit, repository, secondary

HOFFMANN = Source("Hoffmann et al.", 2022, "2203.15556", "eq. 10")
BESIROGLU = Source("Besiroglu et al.", 2024, "2404.10102")
MUENNIGHOFF = Source("Muennighoff et al.", 2023, "2305.16264")
SKALING = Source("Meta FAIR", 2026, "2608.07222")

GADRE = Source("Gadre et al.", 2024, "2403.08540", "eq. 4")
VOLKOVA = Source("Volkova et al.", 2026, "", "github.com/Sqlace/optiscale")
BUSBRIDGE = Source("Busbridge et al.", 2025, "2502.08606")
ANALYZING = repository("epoch-research/analyzing-chinchilla")
GADRE_CODE = repository("mlfoundations/scaling, run again")

_E = floor()
_A = amplitude("A", "params", "alpha")
_B = amplitude("B", "tokens", "beta")
_ALPHA = exponent("alpha", "params")
_BETA = exponent("beta", "tokens")


def _ray(values: Values, flops: Array) -> tuple[Array, Array]:
    """Compute-optimal (params, tokens) at 6 params tokens = flops; the same for every power k.

    Hoffmann et al. 2022, eq. 4: G = (alpha A / (beta B))**(1 / (alpha + beta)).
    """
    alpha, beta = values["alpha"], values["beta"]
    ratio = (alpha * values["A"] / (beta * values["B"])) ** (1 / (alpha + beta))
    half = flops / FLOPS_PER_PARAM_TOKEN
    return ratio * half ** (beta / (alpha + beta)), half ** (alpha / (alpha + beta)) / ratio


FIVE_RUNS = (
    "four parameters were fitted to five runs, to extrapolate in over-training and not to split a"
    " budget"
)


def _set(
    name: str, source: Source, data: str, evidence: Evidence = PAPER, no_optimum: str = "",
    **values: Any,
) -> Published:  # fmt: skip
    return Published(name, values, data, source, evidence=evidence, no_optimum=no_optimum)


def _overtrain_optimum(values: Values, flops: Array) -> tuple[Array, Array]:
    """At M = (b / a)**(1 / (2 eta)) tokens per parameter, whatever the budget."""
    ratio = (values["b"] / values["a"]) ** (1 / (2 * values["eta"]))
    params = np.sqrt(flops / FLOPS_PER_PARAM_TOKEN / ratio)
    return params, ratio * params


def _overtrain_terms(eta: Array, *columns: Array) -> list[tuple[Array, Array]]:
    """For each column (6 column**2)**-eta, which is what its amplitude multiplies, and the log of
    what is raised."""
    logs = [np.log(6 * column**2) for column in columns]
    return [(np.exp(-eta * log), log) for log in logs]


def _overtrain(E: Array, a: Array, b: Array, eta: Array, params: Array, tokens: Array) -> Array:
    (by_a, _), (by_b, _) = _overtrain_terms(eta, params, tokens)
    loss: Array = E + a * by_a + b * by_b
    return loss


def _overtrain_gradient(
    E: Array, a: Array, b: Array, eta: Array, params: Array, tokens: Array
) -> tuple[Array, dict[str, Array]]:
    (by_a, log_a), (by_b, log_b) = _overtrain_terms(eta, params, tokens)
    by_eta = -a * by_a * log_a - b * by_b * log_b
    gradient = {"E": np.ones_like(by_a), "a": by_a, "b": by_b, "eta": by_eta}
    return E + a * by_a + b * by_b, gradient


def _overtrain_hessian(
    E: Array, a: Array, b: Array, eta: Array, params: Array, tokens: Array
) -> dict[tuple[str, str], Array]:
    (by_a, log_a), (by_b, log_b) = _overtrain_terms(eta, params, tokens)
    return {
        ("a", "eta"): -by_a * log_a,
        ("b", "eta"): -by_b * log_b,
        ("eta", "eta"): a * by_a * log_a**2 + b * by_b * log_b**2,
    }


def _twice(name: str) -> Any:
    return lambda values: 2 * values[name]


def _optimizers(columns: tuple[str, ...]) -> Law:
    """One additive law for several optimizers; the first of them is the measure of the others."""
    others = columns[1:]
    short = {name: name.partition(".")[2] for name in others}

    def predict(**at: Array) -> Array:
        params, tokens = at["params"], at["tokens"]
        for name in others:
            params = params * at[f"rho_N.{short[name]}"] ** at[name]
            tokens = tokens * at[f"rho_D.{short[name]}"] ** at[name]
        loss: Array = at["E"] + at["A"] * params ** -at["alpha"] + at["B"] * tokens ** -at["beta"]
        return loss

    efficiencies = [
        Parameter(f"rho_{symbol}.{short[name]}", f"worth of {what} under {short[name]}", 0.5, 2.0)
        for name in others
        for symbol, what in (("N", "a parameter"), ("D", "a token"))
    ]
    return Law(
        id="optimizer_rho",
        title="One additive law for several optimizers",
        formula="E + A / (rho_N params)**alpha + B / (rho_D tokens)**beta",
        variables=("params", "tokens", *columns),
        parameters=(_E, _A, _ALPHA, _B, _BETA, *efficiencies),
        predict=predict,
        source=VOLKOVA,
        over="optimizer.",
        expand=_optimizers,
        caveats=(
            "Columns optimizer.NAME are 1 where a run used that optimizer and 0 elsewhere; the"
            " first by name has rho_N = rho_D = 1.",
            "Separate Chinchilla fits for each optimizer are ill-conditioned; shared exponents are"
            " the point of this law.",
        ),
        evidence=repository("Sqlace/optiscale"),
    )


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
             ANALYZING, E=float(np.exp(0.5267228)), A=float(np.exp(6.0073404)), alpha=0.33917084,
             B=float(np.exp(6.0179186)), beta=0.2849083),
        _set("epoch2024", BESIROGLU, "240 points read off Hoffmann et al.'s figure 4",
             ANALYZING, E=1.8172, A=482.01, alpha=0.3478, B=2085.43, beta=0.3658),
        _set("epoch2024_notebook", BESIROGLU, "the same 240 points; unrounded, from the notebook",
             ANALYZING, E=float(np.exp(0.59711196)), A=float(np.exp(6.17795598)), alpha=0.34781303,
             B=float(np.exp(7.64273236)), beta=0.36585412),
        _set("epoch2024_optimum", BESIROGLU,
             "the same 240 points; the minimum of the stated objective, which epoch2024 is not",
             refit("of Besiroglu et al."), E=1.817218, A=477.825, alpha=0.3473104, B=2143.42,
             beta=0.3671725),
        _set("muennighoff2023", MUENNIGHOFF, "C4, single epoch, exponents tied",
             repository("huggingface/datablations"),
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
    published=(
        _set(
            "epoch2024_skaling",
            SKALING,
            "240 points read off Hoffmann et al.'s figure 4",
            refit("of Besiroglu et al."),
            E=1.7571,
            A=2305.0,
            alpha=0.4244,
            B=9957.0,
            beta=0.4305,
            k=0.7741,
        ),
    ),
    unverified=(
        _set(
            "busbridge2025",
            BUSBRIDGE,
            "the paper's students trained without a teacher",
            secondary(),
            E=1.220,
            A=3355.0,
            alpha=0.408,
            B=18186.0,
            beta=0.431,
            k=0.452,
        ),
    ),
    aliases=("chinchilla_k",),
    caveats=("k and E trade off: on many ladders E is not identified, and only predictions are.",),
)

OVERTRAIN = Law(
    id="overtrain",
    title="Loss of over-trained models: one exponent for both terms",
    formula="E + (a M**eta + b / M**eta) / C**eta with M = tokens / params, C = 6 params tokens",
    variables=("params", "tokens"),
    parameters=(
        _E,
        Parameter("a", "amplitude of the over-trained side", 0.02, 4.0, of_target=True,
                  linear=True, centre={"params": _twice("eta")}),
        Parameter("b", "amplitude of the under-trained side", 0.02, 4.0, of_target=True,
                  linear=True, centre={"tokens": _twice("eta")}),
        Parameter("eta", "exponent of compute", 0.03, 0.7),
    ),
    predict=_overtrain,
    gradient=_overtrain_gradient,
    hessian=_overtrain_hessian,
    optimum=_overtrain_optimum,
    summands=("E", "a", "b"),
    source=GADRE,
    published=(
        _set("gadre2024_c4", GADRE, "C4, 5 runs", GADRE_CODE,
             no_optimum=FIVE_RUNS, E=1.5083, a=141.28, b=189.52, eta=0.1212),
        _set("gadre2024_rpj", GADRE, "RedPajama, 5 runs", GADRE_CODE,
             no_optimum=FIVE_RUNS, E=1.8366, a=212.24, b=366.69, eta=0.1364),
        _set("gadre2024_rw", GADRE, "RefinedWeb, 5 runs", GADRE_CODE,
             no_optimum=FIVE_RUNS, E=1.7345, a=157.12, b=246.21, eta=0.1272),
    ),
    caveats=(
        "Chinchilla with alpha = beta = 2 eta. The paper fits 4 parameters to 5 runs: its ratio of"
        " 3 to 7 tokens per parameter is not a compute optimum to rely on.",
    ),
    evidence=GADRE_CODE,
)  # fmt: skip

LAWS = (
    CHINCHILLA,
    SKALING_LAW,
    OVERTRAIN,
    _optimizers(("optimizer.adamw", "optimizer.muon")),
)
