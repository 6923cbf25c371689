"""From a loss, a size or a compute to the score of a task."""

from __future__ import annotations

from typing import Any

import numpy as np

from scaling_cli.laws.base import Array, Evidence, Law, Parameter, Published, Source
from scaling_cli.laws.parts import coefficients, exponent, repository, secondary, sigmoid

GADRE = Source("Gadre et al.", 2024, "2403.08540", "eq. 5")
BHAGIA = Source("Bhagia et al.", 2024, "2412.04403", "eq. 3")
CHEN = Source("Chen et al.", 2024, "2410.08527")
ISIK = Source("Isik et al.", 2024, "2402.04177", "eq. 1")
HU = Source("Hu et al.", 2023, "2310.03262", "eq. 3")
RUAN = Source("Ruan et al.", 2024, "2405.10938")
POLO = Source("Maia Polo et al.", 2024, "2412.06540")
XU = Source("Xu et al.", 2025, "2502.17262")
FAMILY = "downstream"
CHAIN = "`law=chinchilla` `then={}` `y=NAME` chains it to a loss law, errors carried over."
GADRE_CODE = repository("mlfoundations/scaling, run again")


def _err(name: str, data: str, eps: float, k: float, gamma: float) -> Published:
    return coefficients(
        name, GADRE, data, GADRE_CODE, target="mean error", eps=eps, k=k, gamma=gamma
    )


def _obs(columns: tuple[str, ...]) -> Law:
    weights = [(f"beta.{column.partition('.')[2]}", column) for column in columns]

    def predict(alpha: Array, **at: Array) -> Array:
        logit: Any = sum((at[name] * at[column] for name, column in weights), start=alpha)
        return sigmoid(logit)

    return Law(
        id="obs",
        title="Observational law: a score from the principal components of others",
        formula="1 / (1 + exp(-(alpha + sum_i beta_i component_i)))",
        variables=columns,
        parameters=(
            Parameter("alpha", "logit at the origin", -3.0, 3.0, "identity"),
            *(
                Parameter(name, f"weight of {column}", -2.0, 2.0, "identity")
                for name, column in weights
            ),
        ),
        predict=predict,
        source=RUAN,
        target="accuracy",
        objective="squared",
        over="component.",
        expand=_obs,
        caveats=(
            "component.1 and so on are the principal components of benchmark scores, computed"
            " before; three are typical.",
            "The paper fits errors, with a height of .8 to 1 before them: 1 in most of its fits.",
        ),
        family=FAMILY,
        domain=dict.fromkeys(columns, (-2.0, 2.0)),
        evidence=Evidence("paper", "eq. 6"),
    )


def _sloth(
    c: Array, b_0: Array, b_N: Array, b_D: Array, b_ND: Array, params_0: Array, tokens_0: Array,
    params: Array, tokens: Array,
) -> Array:  # fmt: skip
    x, y = np.log(params / params_0), np.log(tokens / tokens_0)
    score: Array = c + (1 - c) * sigmoid(b_0 + b_N * x + b_D * y + b_ND * x * y)
    return score


LAWS = (
    Law(
        id="err_exp",
        title="Mean error of tasks from the loss",
        formula="eps - k exp(-gamma loss)",
        variables=("loss",),
        parameters=(
            Parameter("eps", "error of a guess", 1.0, 2.0, of_target=True, linear=True),
            Parameter(
                "k", "amplitude", 0.5, 10.0, of_target=True, linear=True,
            ),
            Parameter("gamma", "rate by loss", 0.2, 2.0),
        ),
        predict=lambda eps, k, gamma, loss: eps - k * np.exp(-gamma * loss),
        source=GADRE,
        published=(
            _err("gadre2024_c4_17", "C4, 17 tasks", 0.8497, 2.0789, 0.7561),
            _err("gadre2024_c4_46", "C4, 46 tasks", 0.7589, 1.2885, 0.9722),
            _err("gadre2024_rpj_17", "RedPajama, 17 tasks", 0.8570, 2.2065, 0.7146),
            _err("gadre2024_rpj_46", "RedPajama, 46 tasks", 0.7608, 1.3229, 0.8907),
            _err("gadre2024_rw_17", "RefinedWeb, 17 tasks", 0.8653, 2.2148, 0.7070),
            _err("gadre2024_rw_46", "RefinedWeb, 46 tasks", 0.7677, 1.1281, 0.8215),
        ),
        target="error",
        objective="squared",
        caveats=(
            CHAIN.format("err_exp"),
            "Holds for a mean over many tasks that are above chance, not for one of them.",
        ),
        family=FAMILY,
        evidence=GADRE_CODE,
    ),
    Law(
        id="ladder",
        title="Accuracy of a task from the loss: a sigmoid",
        formula="b + a / (1 + exp(k (loss - L_0)))",
        variables=("loss",),
        parameters=(
            Parameter("a", "range of the accuracy", 0.3, 3.0, of_target=True, linear=True),
            Parameter("b", "accuracy of a guess", 0.05, 0.9, of_target=True, linear=True),
            Parameter("k", "steepness by loss", 2.0, 40.0, centre={"loss": -1.0}),
            Parameter("L_0", "loss of the middle", 0.7, 1.4, centre={"loss": 1.0}),
        ),
        predict=lambda a, b, k, L_0, loss: b + a * sigmoid(-k * (loss - L_0)),
        source=BHAGIA,
        target="accuracy",
        objective="squared",
        caveats=(
            CHAIN.format("ladder"),
            "Both plateaus must be seen or known: `fix=b=0.25` for four choices. Those of an"
            " accuracy are bounded: b + a does not pass 1 unless `bounds=` says so.",
        ),
        plateaus=("b", "a", "k"),
        family=FAMILY,
        evidence=repository("allenai/OLMo-ladder"),
    ),
    Law(
        id="flp",
        title="Score of a task from the loss: a line past the emergence",
        formula="w_0 - w_1 loss",
        variables=("loss",),
        parameters=(
            Parameter("w_0", "score at zero loss", 0.5, 10.0, of_target=True, linear=True),
            Parameter(
                "w_1", "score lost by a unit of loss", 0.05, 5.0, of_target=True, linear=True
            ),
        ),
        predict=lambda w_0, w_1, loss: w_0 - w_1 * loss,
        source=CHEN,
        target="accuracy",
        objective="squared",
        caveats=(
            "`law=power` `x=flops` `then=flp` is the paper's pair of stages.",
            "Fit it to checkpoints past the loss where the task emerges (`where=`), chosen by"
            " held-out error; it has no floor at chance.",
        ),
        family=FAMILY,
        evidence=secondary("and the abstract"),
    ),
    Law(
        id="bleu_log",
        title="BLEU of a finetuned translator against pretraining tokens",
        formula="ln(A tokens**alpha)**beta",
        variables=("tokens",),
        parameters=(
            Parameter("A", "amplitude", 3.0, 1e6, centre={"tokens": "-alpha"}),
            exponent("alpha", "tokens"), Parameter("beta", "outer power", 0.3, 3.0),
        ),
        predict=lambda A, alpha, beta, tokens: (np.log(A) + alpha * np.log(tokens)) ** beta,
        source=ISIK,
        target="bleu",
        objective="squared",
        caveats=(
            "Only where the pretraining data are like the task: elsewhere BLEU falls or wanders"
            " while the cross-entropy (power_offset over tokens) still improves.",
            "A and alpha trade off: only predictions are identified.",
        ),
        family=FAMILY,
        evidence=secondary(),
    ),
    Law(
        id="passuntil",
        title="Pass rate under massive sampling against size",
        formula="exp(-c / params**alpha)",
        variables=("params",),
        parameters=(
            Parameter("c", "-ln of the pass rate", 0.1, 20.0, centre={"params": "alpha"}),
            exponent("alpha", "params"),
        ),
        predict=lambda c, alpha, params: np.exp(-c * params**-alpha),
        source=HU,
        target="pass_rate",
        objective="binomial",
        trials="tries",
        caveats=(
            "Fitted by the binomial likelihood of pass_rate = successes / tries, so that rates near"
            " zero and one count by what they say; map pass_rate and tries.",
        ),
        family=FAMILY,
        evidence=secondary("that quotes its eq. 3 and 4"),
    ),
    _obs(("component.1", "component.2", "component.3")),
    Law(
        id="sloth",
        title="One skill of a model family, with a guess as its floor",
        formula="c + (1 - c) / (1 + exp(-(b_0 + b_N x + b_D y + b_ND x y))),"
        " x = ln(params / params_0), y = ln(tokens / tokens_0)",
        variables=("params", "tokens"),
        parameters=(
            Parameter("c", "score of a guess", 0.02, 0.4, "logit"),
            Parameter("b_0", "logit at the reference", -2.0, 2.0, "identity"),
            Parameter("b_N", "slope by ln params", 0.0, 1.0, "identity"),
            Parameter("b_D", "slope by ln tokens", 0.0, 1.0, "identity"),
            Parameter("b_ND", "interaction", -0.2, 0.2, "identity"),
        ),
        references={"params_0": "params", "tokens_0": "tokens"},
        predict=_sloth,
        source=POLO,
        target="accuracy",
        objective="squared",
        caveats=(
            "The paper ties the slopes of several families and benchmarks by latent skills; this is"
            " one skill, to be fitted with `by=family`.",
        ),
        family=FAMILY,
        evidence=repository("felipemaiapolo/statistical-scaling-law"),
    ),
    Law(
        id="cod",
        title="Score against compute with a guess and a ceiling",
        formula="g + (1 - g) exp(-a / flops**b - c)",
        variables=("flops",),
        parameters=(
            Parameter("g", "score of a guess", 0.02, 0.4, "logit"),
            Parameter("a", "amplitude", 0.2, 10.0, centre={"flops": "b"}),
            exponent("b", "flops"), Parameter("c", "-ln of the ceiling above a guess", 0.01, 1.0),
        ),
        predict=lambda g, a, b, c, flops: g + (1 - g) * np.exp(-a * flops**-b - c),
        source=XU,
        target="accuracy",
        objective="squared",
        caveats=(
            "Clustering-On-Difficulty fits it to each cluster of questions of like difficulty,"
            " leaves out the clusters that do not rise, and maps the rest to the whole set: give"
            " the accuracy of one cluster, or of the predictable subset, as the target."
            " `scalefit items` goes the whole way.",
            "The paper takes a cluster as predictable where a > 1, b > .1 and c < 1.",
        ),
        family=FAMILY,
        evidence=Evidence("paper", "eq. 4"),
    ),
)  # fmt: skip
