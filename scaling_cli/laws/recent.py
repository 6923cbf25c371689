"""Laws of 2025 and 2026 whose question is one of its own: ensembles, replicas, languages, direct
forecasts of scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from scaling_cli.laws.base import Array, Evidence, Law, Parameter, PowerSum, Published, Source
from scaling_cli.laws.parts import (
    amplitude,
    coefficients,
    exponent,
    floor,
    repository,
    secondary,
)

KIM = Source("Kim et al.", 2025, "2509.14786", "sections 3 and 4")
CHARLES = Source("Charles et al.", 2025, "2503.09799")
LONGPRE = Source("Longpre et al.", 2025, "2510.22037")
BETHUNE = Source("Bethune et al.", 2025, "2502.06042")
EPOCHS = Source("Overfitting and epochs", 2026, "2605.09189")
DIRECT = Source("Direct benchmark scaling", 2025, "2512.08894")
COVERAGE = Source("Pass-at-k scaling", 2025, "2509.24012")
WANG = Source("Wang et al.", 2025, "2505.07796", "eq. 4")
NI = Source("Ni et al.", 2025, "2510.03280")
LIN = Source("Lin et al.", 2024, "2402.02314")
GE = Source("Ge et al.", 2024, "2405.14908")
ADDED = Source("scalefit", 2026, "")
FAMILY = "recipes at scale"
SATURATED = 1e-6  # of the decay of repeats: below it a repeat is worth as much as a new token


def _ceiling(name: str, meaning: str) -> Parameter:
    return Parameter(name, meaning, 0.3, 1.0, "logit")


def repeats(tokens: Array, unique: Array, decay: Array) -> Array:
    """What `tokens` are worth where only `unique` of them are new: repeats lose their worth with
    the rate `decay`."""
    over = np.maximum(tokens / unique - 1, 0.0)
    rate = decay + SATURATED
    worth: Array = np.minimum(tokens, unique) + unique * (1 - np.exp(-rate * over)) / rate
    return worth


def _atlas(
    E: Array, A: Array, alpha: Array, B: Array, beta: Array, tau: Array, decay: Array,
    params: Array, tokens: Array, unique_tokens: Array, transfer_tokens: Array,
) -> Array:  # fmt: skip
    effective = repeats(tokens, unique_tokens, decay) + tau * transfer_tokens
    loss: Array = E + A * params**-alpha + B * effective**-beta
    return loss


def _overfit(**at: Array) -> Array:
    distance = (
        at["a"] * at["params"] ** -at["alpha"] + at["b"] * at["tokens"] ** -at["beta"]
        + at["c"] * at["params"] ** at["gamma"] * at["unique_tokens"] ** -at["delta"]
    )  # fmt: skip
    loss: Array = at["E"] + at["rise"] * distance / (1 + distance)
    return loss


def _continual(
    L0: Array, A: Array, alpha: Array, C_1: Array, C_2: Array, B: Array, F: Array, beta: Array,
    rate_sum: Array, annealing: Array, rate_sum_after: Array, annealing_after: Array,
) -> Array:  # fmt: skip
    shift = 1 - (1 + F * rate_sum_after) ** -beta
    before = L0 + A * (rate_sum + rate_sum_after) ** -alpha
    loss: Array = before - C_1 * annealing - C_2 * annealing_after + B * shift
    return loss


def _carried_on(of: str, **values: Any) -> Published:
    return coefficients(
        f"wang2025_{of}", WANG, f"FineWeb, then Knowledge Pile; the loss on {of}",
        Evidence("paper", "figure 3"), **values,
    )  # fmt: skip


LAWS = (
    Law(
        id="ensemble",
        title="Ensembles at limited data: size and members, each with its own asymptote",
        formula="E + A / params**alpha + B / members**beta",
        variables=("params", "members"),
        parameters=(
            floor("E", "loss of endless members without bound in size"),
            amplitude("A", "params", "alpha"), exponent("alpha", "params"),
            amplitude("B", "members", "beta"), exponent("beta", "members", 0.2, 2.0),
        ),
        predict=lambda E, A, alpha, B, beta, params, members: (
            E + A * params**-alpha + B * members**-beta
        ),
        form=PowerSum(floor="E"),
        source=KIM,
        caveats=(
            "All runs have the same unique tokens, and weight decay and epochs tuned for each size:"
            " without that the loss turns up with size, and no asymptote exists.",
            "The authors fit E + A / x**a in params and, for each size, in members; the sum of both"
            " is ours. Compare recipes by E, the loss that no compute takes away: `by=KEY`.",
        ),
        family=FAMILY,
        domain={"params": (1e8, 2e9)},
        evidence=repository(
            "marin-community/marin, experiments/data_efficiency: each of its terms"
        ),
    ),
    Law(
        id="diloco",
        title="Loss against size and replicas that seldom synchronise (DiLoCo)",
        formula="A replicas**beta / params**alpha",
        variables=("params", "replicas"),
        parameters=(
            Parameter(
                "A", "amplitude", 0.2, 5.0, centre={"params": "alpha", "replicas": "-beta"},
                of_target=True, linear=True,
            ),
            exponent("alpha", "params", 0.02, 0.5),
            Parameter("beta", "exponent of replicas", -0.1, 0.1, "identity"),
        ),
        predict=lambda A, alpha, beta, params, replicas: A * params**-alpha * replicas**beta,
        source=CHARLES,
        published=(
            coefficients(
                "charles2025", CHARLES, "C4, 35M to 2.4B params at 20 tokens each, 1 to 8 replicas",
                Evidence("paper", "table 10"), A=19.226, alpha=0.0985, beta=0.0116,
            ),
        ),
        objective="squared_log",
        caveats=(
            "All runs have one ratio of tokens to params; the law has no floor. Each is the best of"
            " its size and replicas over rates and batches: `select=best:params,replicas`.",
            "With one replica DiLoCo is below plain data parallel training, so that the law does"
            " not hold runs without it.",
        ),
        family=FAMILY,
        evidence=Evidence("paper", "section 6.2"),
    ),
    Law(
        id="atlas",
        title="A language among others: repeats saturate, other languages transfer",
        formula="E + A / params**alpha + B / D**beta, D = S(tokens, unique_tokens)"
        " + tau transfer_tokens, S(d, u) = d up to u, then u (1 + (1 - exp(-r (d/u - 1))) / r),"
        " r = decay",
        variables=("params", "tokens", "unique_tokens", "transfer_tokens"),
        parameters=(
            floor(), amplitude("A", "params", "alpha"), exponent("alpha", "params"),
            amplitude("B", "tokens", "beta"), exponent("beta", "tokens"),
            Parameter("tau", "worth of a token of the other languages", 0.02, 1.0),
            Parameter("decay", "rate by which repeats lose their worth", 0.02, 2.0),
        ),
        predict=_atlas,
        source=LONGPRE,
        same_scale={"unique_tokens": "tokens", "transfer_tokens": "tokens"},
        caveats=(
            "tokens are those of the language that the loss is of. The paper has a transfer of its"
            " own for up to three languages and one for the rest, and repeats of these with the"
            " same rate, its lambda: here one number for all.",
        ),
        family=FAMILY,
        domain={"unique_tokens": (1e9, 1e11), "transfer_tokens": (1e9, 1e12)},
        evidence=Evidence("paper", "eq. 1 to 3"),
    ),
    Law(
        id="languages",
        title="The curse of multilinguality: languages that share the size and the tokens",
        formula="E + A languages**phi / params**alpha + B languages**psi / tokens**beta",
        variables=("params", "tokens", "languages"),
        parameters=(
            floor(),
            Parameter("A", "amplitude of the params term", 0.02, 2.0, of_target=True, linear=True,
                      centre={"params": "alpha", "languages": "-phi"}),
            exponent("alpha", "params"),
            Parameter("phi", "what languages take of the size", -0.5, 0.8, "identity"),
            Parameter("B", "amplitude of the tokens term", 0.02, 2.0, of_target=True, linear=True,
                      centre={"tokens": "beta", "languages": "-psi"}),
            exponent("beta", "tokens"),
            Parameter("psi", "what languages take of the tokens", -0.5, 0.8, "identity"),
        ),
        predict=lambda E, A, alpha, phi, B, beta, psi, params, tokens, languages: (
            E + A * languages**phi * params**-alpha + B * languages**psi * tokens**-beta
        ),
        source=LONGPRE,
        caveats=(
            "tokens are those of the one language that the loss is of; all together are languages"
            " times as many where all are sampled alike.",
            "The paper finds phi = .11 and psi = -.04 over all of its languages.",
        ),
        family=FAMILY,
        evidence=Evidence("paper", "section 5"),
    ),
    Law(
        id="forgetting",
        title="Loss on the old data after fine-tuning, with some of it mixed in",
        formula="E + A tokens**beta / ((1 + B target_share) params)**alpha",
        variables=("params", "tokens", "target_share"),
        parameters=(
            floor("E", "loss that fine-tuning starts from, at endless size"),
            Parameter("A", "amplitude", 0.02, 2.0, of_target=True, linear=True,
                      centre={"params": "alpha", "tokens": "-beta"}),
            exponent("alpha", "params"), exponent("beta", "fine-tuning tokens"),
            Parameter("B", "what a share of old data saves", 1.0, 1000.0),
        ),
        predict=lambda E, A, alpha, beta, B, params, tokens, target_share: (
            E + A * tokens**beta * ((1 + B * target_share) * params) ** -alpha
        ),
        source=BETHUNE,
        caveats=(
            "tokens are those of the fine-tuning, target_share the share of old data among them.",
            "The paper subtracts the loss before fine-tuning: map the difference, or fix E.",
        ),
        family=FAMILY,
        domain={"tokens": (1e7, 1e10), "target_share": (0.001, 0.1)},
        evidence=secondary("and the abstract"),
    ),
    Law(
        id="continual",
        title="Training curve of a model that goes on with other data",
        formula="L0 + A / (rate_sum + rate_sum_after)**alpha - C_1 annealing - C_2 annealing_after"
        " + B (1 - 1 / (1 + F rate_sum_after)**beta)",
        variables=("rate_sum", "annealing", "rate_sum_after", "annealing_after"),
        parameters=(
            Parameter("L0", "irreducible loss", 0.3, 0.99, of_target=True, linear=True),
            Parameter("A", "amplitude of the rate sum", 0.02, 0.5, of_target=True, linear=True,
                      centre={"rate_sum": "alpha"}),
            exponent("alpha", "the rate sum", 0.1, 1.2),
            Parameter("C_1", "loss gained per unit of annealing before", 0.02, 1.0, linear=True),
            Parameter("C_2", "loss gained per unit of annealing after", 0.02, 1.0, linear=True),
            Parameter("B", "shift of the loss by the other data", -0.3, 0.3, "identity",
                      of_target=True, linear=True),
            Parameter("F", "rate of that shift", 0.5, 50.0, centre={"rate_sum": -1.0}),
            exponent("beta", "that shift", 0.1, 1.0),
        ),
        predict=_continual,
        same_scale={"rate_sum_after": "rate_sum"},
        source=WANG,
        published=(
            _carried_on("fineweb", L0=3.057, A=0.490, alpha=0.497, B=0.366, F=28.0, beta=0.189,
                        C_1=0.299, C_2=0.298),
            _carried_on("knowledge", L0=3.024, A=0.412, alpha=0.677, B=-0.666, F=5662.0,
                        beta=0.146, C_1=0.278, C_2=0.324),
        ),
        caveats=(
            "rate_sum and annealing are S1 and S2 of the first stage (see lr_anneal), those with"
            " _after of the second: map them from columns of your table.",
            "F is the paper's E. B is positive on the old data and negative on the new.",
        ),
        monotone=False,
        family="downstream",
        domain={"rate_sum": (1.0, 10.0), "annealing": (0.02, 0.5)},
        evidence=Evidence("paper", "eq. 4"),
    ),
    Law(
        id="diffusion_epochs",
        title="Epochs after which a diffusion language model overfits",
        formula="c unique_tokens**u / params**n",
        variables=("params", "unique_tokens"),
        parameters=(
            Parameter("c", "level", 0.3, 3.0, of_target=True, linear=True,
                      centre={"unique_tokens": "-u", "params": "n"}),
            exponent("u", "unique_tokens"), exponent("n", "params"),
        ),
        predict=lambda c, u, n, params, unique_tokens: c * unique_tokens**u * params**-n,
        source=NI,
        published=(
            coefficients(
                "ni2025_epochs", NI, "masked diffusion models; exponents as rounded by the authors",
                repository("JinjieNi/Quokka, README: the level follows from its example of 1,100"
                           " epochs at 10B params and 1T tokens"),
                target="epochs", c=1100 * 1e10**0.55 / 1e12**0.39, u=0.39, n=0.55,
            ),
        ),
        target="best_epochs",
        objective="squared_log",
        caveats=(
            "The paper's own curve of loss over epochs was not found; it turns up beyond these"
            " epochs: `law=overfit` fits one. At a budget its params and tokens both go by C**.5.",
        ),
        family="data",
        evidence=repository("JinjieNi/Quokka, README"),
    ),
    Law(
        id="overfit",
        title="Epochs and overfitting, with the additive law as its limit",
        formula="E + rise h / (1 + h),"
        " h = a / params**alpha + b / tokens**beta + c params**gamma / unique_tokens**delta",
        variables=("params", "tokens", "unique_tokens"),
        parameters=(
            floor(),
            Parameter("rise", "loss of an untrained model less E", 1.0, 5.0, of_target=True,
                      linear=True),
            Parameter("a", "amplitude of params", 0.02, 1.0, centre={"params": "alpha"}),
            exponent("alpha", "params"),
            Parameter("b", "amplitude of tokens", 0.02, 1.0, centre={"tokens": "beta"}),
            exponent("beta", "tokens"),
            Parameter("c", "amplitude of overfitting", 0.005, 0.5,
                      centre={"params": "-gamma", "unique_tokens": "delta"}),
            exponent("gamma", "params in overfitting"),
            exponent("delta", "unique_tokens"),
        ),
        predict=_overfit,
        source=EPOCHS,
        caveats=(
            "The paper's L_0 is E + rise. rise and the amplitudes part only where losses are far"
            " above E: `fix=` rise to ln(vocabulary) less the floor.",
        ),
        monotone=False,
        family="data",
        evidence=secondary("that quotes it, and the abstract"),
    ),
    Law(
        id="score_direct",
        title="A score directly from size and data",
        formula="exp(-A / params**alpha - B / tokens**beta)",
        variables=("params", "tokens"),
        parameters=(
            Parameter("A", "amplitude of the params term", 0.05, 2.0, centre={"params": "alpha"}),
            exponent("alpha", "params"),
            Parameter("B", "amplitude of the tokens term", 0.05, 2.0, centre={"tokens": "beta"}),
            exponent("beta", "tokens"),
        ),
        predict=lambda A, alpha, B, beta, params, tokens: np.exp(
            -A * params**-alpha - B * tokens**-beta
        ),
        source=DIRECT,
        target="accuracy",
        objective="squared",
        caveats=(
            "A score that begins at chance is first freed of it: map accuracy to (score - chance)"
            " / (1 - chance).",
            "Beside two stages, `then=ladder`: compare both by `holdout=`.",
        ),
        family="downstream",
        evidence=secondary("and the abstract"),
    ),
    Law(
        id="coverage_compute",
        title="Coverage (pass at k) against compute",
        formula="exp(-E - A / flops**alpha)",
        variables=("flops",),
        parameters=(
            Parameter("E", "what no compute solves", 0.01, 1.0),
            Parameter("A", "amplitude", 0.05, 3.0, centre={"flops": "alpha"}),
            exponent("alpha", "flops"),
        ),
        predict=lambda E, A, alpha, flops: np.exp(-E - A * flops**-alpha),
        source=COVERAGE,
        target="accuracy",
        objective="squared",
        family="downstream",
        evidence=secondary("that quotes its eq. 3"),
    ),
    Law(
        id="rise",
        title="A score that rises to its ceiling by a power",
        formula="C - A / x**alpha",
        variables=("x",),
        parameters=(
            _ceiling("C", "ceiling"),
            Parameter("A", "amplitude", 0.02, 1.0, centre={"x": "alpha"}, of_target=True,
                      linear=True),
            exponent("alpha", "x"),
        ),
        predict=lambda C, A, alpha, x: C - A * x**-alpha,
        source=ADDED,
        target="accuracy",
        objective="squared",
        levels=("C",),
        caveats=(
            "For accuracies, rewards and scores, where power and power_offset fall by nature.",
            "Runs near chance follow no power: leave them out by `where=`, or fit rise_chance.",
        ),
        family="one variable",
        evidence=Evidence("derived", "power_offset from above"),
    ),
    Law(
        id="rise_chance",
        title="A score that leaves chance and rises to its ceiling",
        formula="chance + (C - chance) exp(-(x_0 / x)**alpha)",
        variables=("x",),
        parameters=(
            Parameter("chance", "score of guessing; pin it by `fix=`", 0.02, 0.5, "logit"),
            _ceiling("C", "ceiling"),
            Parameter("x_0", "x at which 37 % of the rise is done", 0.05, 20.0, centre={"x": 1.0}),
            exponent("alpha", "x", 0.1, 2.0),
        ),
        predict=lambda chance, C, x_0, alpha, x: (
            chance + (C - chance) * np.exp(-((x_0 / x) ** alpha))
        ),
        source=ADDED,
        target="accuracy",
        objective="squared",
        levels=("chance", "C"),
        caveats=("Far above x_0 it is rise: C less a power of x.",),
        family="one variable",
        evidence=Evidence("derived", "rise far above x_0, chance far below it"),
    ),
    Law(
        id="sft_rectified",
        title="Fine-tuning: a power law that begins at what pre-training gave",
        formula="E + B / (D_l + tokens**beta)",
        variables=("tokens",),
        parameters=(
            floor(),
            Parameter("B", "amplitude", 0.02, 3.0, of_target=True, linear=True,
                      centre={"tokens": "beta"}),
            Parameter("D_l", "what pre-training is worth, as tokens**beta", 0.02, 5.0,
                      centre={"tokens": "beta"}),
            exponent("beta", "tokens", 0.1, 1.5),
        ),
        predict=lambda E, B, D_l, beta, tokens: E + B / (D_l + tokens**beta),
        source=LIN,
        family="downstream",
        domain={"tokens": (1e5, 1e9)},
        evidence=repository(
            "linhaowei1/Fine-tuning-Scaling-Law, src/fit_law.py, with (A - E) D_l for B"
        ),
    ),
    Law(
        id="bimix",
        title="A domain's loss against its share and the tokens",
        formula="(B / tokens**beta + C) / target_share**alpha",
        variables=("tokens", "target_share"),
        parameters=(
            Parameter("B", "amplitude of the tokens term", 0.02, 2.0, of_target=True, linear=True,
                      centre={"tokens": "beta"}),
            exponent("beta", "tokens"),
            Parameter("C", "loss of endless tokens of the domain alone", 0.05, 0.99,
                      of_target=True, linear=True),
            exponent("alpha", "the share", 0.01, 0.5),
        ),
        predict=lambda B, beta, C, alpha, tokens, target_share: (
            (B * tokens**-beta + C) * target_share**-alpha
        ),
        source=GE,
        caveats=(
            "The paper's factor A is one with B and C here.",
            "The paper counts training steps of one batch, not tokens; its size is one too.",
        ),
        family="mixtures",
        evidence=Evidence("paper", "eq. 3"),
    ),
)  # fmt: skip
