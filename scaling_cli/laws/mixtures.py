"""Mixtures of domains: laws over a simplex, read from the columns mixture.NAME."""

from __future__ import annotations

from typing import Any

import numpy as np

from scaling_cli.laws.base import Array, Evidence, Law, Parameter, Source
from scaling_cli.laws.parts import (
    amplitude,
    exponent,
    floor,
    power_of,
    secondary,
)

YE = Source("Ye et al.", 2024, "2403.16952", "eq. 6")
SHUKOR = Source("Shukor et al.", 2025, "2507.09404")
QUE = Source("Que et al.", 2024, "2406.01375")
CHEN = Source("Chen et al.", 2024, "2410.08527")
FAMILY = "mixtures"
OVER = "mixture."
EXAMPLE = ("mixture.books", "mixture.code", "mixture.web")
SIMPLEX = (
    "Shares sum to one; where one goes to zero the law is an extrapolation.",
    "Give three runs or more for each domain, at mixtures that differ.",
)


def _members(prefix: str, columns: tuple[str, ...]) -> list[tuple[str, str]]:
    """(parameter, column) for each column of the family."""
    return [(f"{prefix}.{column.partition('.')[2]}", column) for column in columns]


def _mix_exp(columns: tuple[str, ...]) -> Law:
    # The shares sum to one, so that the first domain's rate would only rescale k.
    rates = _members("t", columns[1:])

    def predict(c: Array, k: Array, **at: Array) -> Array:
        rate: Any = sum((at[name] * at[column] for name, column in rates), start=0.0)
        loss: Array = c + k * np.exp(rate)
        return loss

    return Law(
        id="mix_exp",
        title="Data mixing law: the loss on one domain is exponential in the shares",
        formula="c + k exp(sum_j t_j share_j), t of the first domain zero",
        variables=columns,
        parameters=(
            floor("c"),
            Parameter("k", "height", 0.02, 2.0, of_target=True, linear=True),
            *(
                Parameter(name, f"effect of {column}", -3.0, 3.0, "identity")
                for name, column in rates
            ),
        ),
        predict=predict,
        source=YE,
        over=OVER,
        expand=_mix_exp,
        caveats=(*SIMPLEX, "Fit it for each validation domain: `y=loss_books`, and so on."),
        family=FAMILY,
        evidence=secondary(),
    )


def _mix_shukor(columns: tuple[str, ...]) -> Law:
    shares = list(zip(_members("C", columns), _members("gamma", columns), strict=True))

    def predict(**at: Array) -> Array:
        worth: Any = sum(
            at[scale] * power_of(at[column], at[gamma]) for (scale, column), (gamma, _) in shares
        )
        loss: Array = (
            at["E"] + 1 / worth + at["A"] * at["params"] ** -at["alpha"]
            + at["B"] * at["tokens"] ** -at["beta"]
        )  # fmt: skip
        return loss

    return Law(
        id="mix_shukor",
        title="Optimal mixtures, additive: the shares move the floor alone",
        formula="E + 1 / (sum_i C_i share_i**gamma_i) + A / params**alpha + B / tokens**beta",
        variables=("params", "tokens", *columns),
        parameters=(
            floor(), amplitude("A", "params", "alpha"), exponent("alpha", "params"),
            amplitude("B", "tokens", "beta"), exponent("beta", "tokens"),
            *(Parameter(name, f"worth of {column}", 0.5, 20.0)
              for name, column in _members("C", columns)),
            *(Parameter(name, f"exponent of {column}", 0.1, 2.0)
              for name, column in _members("gamma", columns)),
        ),
        predict=predict,
        source=SHUKOR,
        over=OVER,
        expand=_mix_shukor,
        caveats=SIMPLEX,
        family=FAMILY,
        evidence=Evidence("unconfirmed", "the structure is confirmed, this form is not"),
    )  # fmt: skip


def _mix_shukor_joint(columns: tuple[str, ...]) -> Law:
    terms = _members("C", columns), _members("C_A", columns), _members("C_B", columns)
    gammas = _members("gamma", columns)

    def predict(**at: Array) -> Array:
        worth: Any = sum(
            at[scale] * power_of(at[column], at[gamma])
            for (scale, column), (gamma, _) in zip(terms[0], gammas, strict=True)
        )
        A, B = (sum(at[name] * at[column] for name, column in term) for term in terms[1:])
        loss: Array = (
            at["E"] + 1 / worth + A ** at["gamma_A"] * at["params"] ** -at["alpha"]
            + B ** at["gamma_B"] * at["tokens"] ** -at["beta"]
        )  # fmt: skip
        return loss

    def tied(name: str, column: str, power: str, outer: str) -> Parameter:
        return Parameter(
            name, f"part of {column.partition('.')[2]} in an amplitude", 0.02, 2.0,
            centre={power: lambda values: values[_EXPONENT[power]] / values[outer]},
        )  # fmt: skip

    return Law(
        id="mix_shukor_joint",
        title="Optimal mixtures, joint: the shares move the amplitudes too",
        formula="E + 1 / (sum_i C_i share_i**gamma_i)"
        " + (sum_i C_A_i share_i)**gamma_A / params**alpha"
        " + (sum_i C_B_i share_i)**gamma_B / tokens**beta",
        variables=("params", "tokens", *columns),
        parameters=(
            floor(), exponent("alpha", "params"), exponent("beta", "tokens"),
            *(Parameter(name, f"worth of {column}", 0.5, 20.0) for name, column in terms[0]),
            *(Parameter(name, f"exponent of {column}", 0.1, 2.0) for name, column in gammas),
            *(tied(*item, "params", "gamma_A") for item in terms[1]),
            *(tied(*item, "tokens", "gamma_B") for item in terms[2]),
            Parameter("gamma_A", "power of the params amplitude", 0.3, 2.0),
            Parameter("gamma_B", "power of the tokens amplitude", 0.3, 2.0),
        ),
        predict=predict,
        source=SHUKOR,
        over=OVER,
        expand=_mix_shukor_joint,
        caveats=SIMPLEX,
        family=FAMILY,
        evidence=Evidence("unconfirmed"),
    )  # fmt: skip


_EXPONENT = {"params": "alpha", "tokens": "beta"}


def _flp_m(columns: tuple[str, ...]) -> Law:
    powers = _members("a", columns)

    def predict(K: Array, a_total: Array, **at: Array) -> Array:
        total: Any = sum(at[column] for column in columns)
        log_loss: Any = np.log(K) - a_total * np.log(total)
        for name, column in powers:
            log_loss = log_loss - at[name] * np.log(at[column])
        loss: Array = np.exp(log_loss)
        return loss

    first = columns[0] if columns else ""
    return Law(
        id="flp_m",
        title="Loss on a domain from the compute spent on each (FLP-M)",
        formula="K / (sum_i C_i)**a_total prod_i C_i**-a_i",
        variables=columns,
        parameters=(
            Parameter(
                "K", "amplitude", 0.2, 5.0, of_target=True, linear=True,
                centre={first: lambda values: values["a_total"]
                        + sum(values[name] for name, _ in powers)},
            ),
            Parameter("a_total", "exponent of all compute", -0.1, 0.3, "identity"),
            *(Parameter(name, f"exponent of {column}", -0.1, 0.3, "identity")
              for name, column in powers),
        ),
        predict=predict,
        same_scale=dict.fromkeys(columns[1:], first),
        source=CHEN,
        over="domain_flops.",
        expand=_flp_m,
        caveats=(
            "The paper's scales of each factor are one constant, K.",
            "The paper's second stage is a small neural network from these losses to a score, which"
            " is no law; use flp or ladder on one of them.",
        ),
        family=FAMILY,
        domain=dict.fromkeys(columns, (1e18, 1e21)),
        evidence=Evidence("unconfirmed", "the two stages are in the abstract"),
    )  # fmt: skip


LAWS = (
    _mix_exp(EXAMPLE),
    _mix_shukor(EXAMPLE),
    _mix_shukor_joint(EXAMPLE),
    Law(
        id="dcpt",
        title="Continual pre-training on a domain at a share r",
        formula="E + A / params**alpha + B r**eta / tokens**beta + C / (r + epsilon)**gamma,"
        " r = target_share",
        variables=("params", "tokens", "target_share"),
        parameters=(
            floor(), amplitude("A", "params", "alpha"), exponent("alpha", "params"),
            amplitude("B", "tokens", "beta"), exponent("beta", "tokens"),
            exponent("eta", "the share in the tokens term"),
            Parameter("C", "what a small share costs", 0.02, 1.0, of_target=True, linear=True),
            Parameter("epsilon", "share below which it costs no more", 0.01, 0.3),
            exponent("gamma", "the share", 0.1, 1.5),
        ),
        predict=lambda E, A, alpha, B, beta, eta, C, epsilon, gamma, params, tokens, target_share: (
            E + A * params**-alpha + B * target_share**eta * tokens**-beta
            + C * (target_share + epsilon) ** -gamma
        ),
        source=QUE,
        family=FAMILY,
        evidence=secondary(),
    ),
    _flp_m(("domain_flops.code", "domain_flops.general")),
)  # fmt: skip
