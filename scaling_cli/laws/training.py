"""Teachers, vocabularies, shapes, tuning: what else moves a loss besides size and data."""

from __future__ import annotations

import numpy as np

from scaling_cli.laws.base import (
    Array,
    Choice,
    Choices,
    Evidence,
    Law,
    PaperFit,
    Parameter,
    PowerSum,
    Source,
    Values,
)
from scaling_cli.laws.parts import (
    amplitude,
    exponent,
    floor,
    repository,
    scale_of,
    secondary,
)

BUSBRIDGE = Source("Busbridge et al.", 2025, "2502.08606", "eq. 8")
TAO = Source("Tao et al.", 2024, "2407.13623")
LIU = Source("Liu et al.", 2025, "2505.10465")
WIDTH_DEPTH = Source("Liu et al.", 2026, "2602.05970")
TAN = Source("Tan and Le", 2019, "1905.11946", "eq. 3")
THIRD = Source("Liu et al.", 2026, "2602.03685")
MIST = Source("MIST", 2025, "2510.18900")
GHORBANI = Source("Ghorbani et al.", 2021, "2109.07740", "eq. 1")
FERNANDES = Source("Fernandes et al.", 2023, "2302.09650")
MERGING = Source("Merging scaling law", 2025, "", "github.com/InfiXAI/Merging-Scaling-Law")
LOSS_TO_LOSS = Source("Brandfonbrener et al.", 2024, "2411.12925")


def _distill(
    c_0: Array, d_1: Array, f_1: Array, c_1: Array, A: Array, alpha: Array, B: Array,
    beta: Array, gamma: Array, params: Array, tokens: Array, teacher_loss: Array,
    supervised_loss: Array,
) -> Array:  # fmt: skip
    ratio = np.log(teacher_loss / (supervised_loss * d_1)) / f_1
    capacity = (1 + np.exp(ratio)) ** (-c_1 * f_1)
    student = (A * params**-alpha + B * tokens**-beta) ** gamma
    loss: Array = teacher_loss + teacher_loss**-c_0 * capacity * student
    return loss


def _nmt_multi(
    L_inf: Array, A: Array, alpha: Array, c_1: Array, c_2: Array, c_3: Array,
    params: Array, target_share: Array,
) -> Array:  # fmt: skip
    share = target_share + c_1 * target_share**c_2 * (1 - target_share) ** c_3
    loss: Array = L_inf + A * (share * params) ** -alpha
    return loss


def _compound_growth(values: Values) -> dict[str, float]:
    """What each is multiplied by at twice the FLOPs, depth width**2 resolution**2: where the
    gain of one more FLOP is the same for all three."""
    inverse = {"depth": 1 / values["p"], "width": 1 / values["q"], "resolution": 1 / values["r"]}
    whole = inverse["depth"] + 2 * inverse["width"] + 2 * inverse["resolution"]
    return {f"{name} at twice the FLOPs": float(2 ** (x / whole)) for name, x in inverse.items()}


def _mist(
    E: Array, A: Array, alpha: Array, B: Array, beta: Array, P: Array, lr_0: Array, n: Array,
    d: Array, params: Array, tokens: Array, lr: Array,
) -> Array:  # fmt: skip
    off = np.log(lr) - (np.log(lr_0) - n * np.log(params) + d * np.log(tokens))
    loss: Array = (A * params**-alpha + B * tokens**-beta + E) * np.exp(P * off**2)
    return loss


_ADDITIVE = (
    floor(), amplitude("A", "params", "alpha"), exponent("alpha", "params"),
    amplitude("B", "tokens", "beta"), exponent("beta", "tokens"),
)  # fmt: skip

LAWS = (
    Law(
        id="distill",
        title="Loss of a student, by its teacher's loss",
        formula="T + T**-c_0 (1 + (T / (S d_1))**(1/f_1))**(-c_1 f_1)"
        " (A / params**alpha + B / tokens**beta)**gamma,"
        " T = teacher_loss, S = supervised_loss",
        variables=("params", "tokens", "teacher_loss", "supervised_loss"),
        parameters=(
            Parameter("c_0", "how a better teacher's gap widens", 0.1, 3.0),
            Parameter("d_1", "ratio of losses at which capacity binds", 0.5, 2.0),
            Parameter("f_1", "width of that bend", 0.02, 1.0),
            Parameter("c_1", "slope past the bend", 0.1, 3.0),
            Parameter("A", "amplitude of the params term", 0.05, 20.0, centre={"params": "alpha"}),
            exponent("alpha", "params"),
            Parameter("B", "amplitude of the tokens term", 0.05, 20.0, centre={"tokens": "beta"}),
            exponent("beta", "tokens"),
            Parameter("gamma", "outer power", 0.2, 1.5),
        ),
        predict=_distill,
        source=BUSBRIDGE,
        caveats=(
            "Two stages: fit skaling to students trained without a teacher, put its predictions"
            " into the column supervised_loss, then fit this law.",
            "A better teacher can make a worse student: the loss is not monotone in teacher_loss.",
        ),
        family="teachers, shapes and tuning",
        domain={"teacher_loss": (1.8, 2.4), "supervised_loss": (2.0, 3.0)},
        evidence=Evidence("paper", "eq. 8"),
    ),
    Law(
        id="vocab",
        title="Vocabulary, other parameters and data",
        formula="-E + A_1 / params_non_embedding**a_1 + A_2 / params_vocab**a_2 + B / tokens**a_1",
        variables=("params_non_embedding", "params_vocab", "tokens"),
        parameters=(
            Parameter(
                "E", "gain over the unigram loss that scale approaches", 0.5, 10.0, linear=True
            ),
            amplitude("A_1", "params_non_embedding", "a_1"),
            exponent("a_1", "params_non_embedding and of tokens"),
            amplitude("A_2", "params_vocab", "a_2"), exponent("a_2", "params_vocab"),
            amplitude("B", "tokens", "a_1"),
        ),
        predict=lambda E, A_1, a_1, A_2, a_2, B, params_non_embedding, params_vocab, tokens: (
            -E + A_1 * params_non_embedding**-a_1 + A_2 * params_vocab**-a_2 + B * tokens**-a_1
        ),
        source=TAO,
        target="unigram_normalised_loss",
        objective="huber",
        paper=PaperFit("huber", "L-BFGS-B from 324 starts, exponents between .1 and 1"),
        caveats=(
            "The target is the loss minus that of a unigram model of the same vocabulary, so that"
            " vocabularies compare; it is negative.",
            "The authors tie the exponents of params_non_embedding and tokens: free, they run away"
            " on the authors' own points, and the vocabulary's term is lost.",
            "The authors' script divides the vocabulary by 1000 before it turns characters into"
            " tokens, so that its data are .62 to .99 of the characters, where tokens are .23 to"
            " .33: its printed coefficients (a_2 = .67) are not for tokens. On tokens the same"
            " recipe gives a_1 = .440 and a_2 = 1.06.",
        ),
        choices=Choices(
            (Choice("params_vocab", 1e5, 1e11),), "params_non_embedding",
            per_token=lambda values: ((6.0, 1.0), (6 * values["params_vocab"], 0.0)),
            cost="6 a param and token, those of the vocabulary too",
        ),
        family="teachers, shapes and tuning",
        evidence=repository("sail-sg/scaling-with-vocab, approach3_isoloss.py"),
    ),
    Law(
        id="superpos",
        title="Superposition: loss against width",
        formula="E + c / width**alpha",
        variables=("width",),
        parameters=(floor(), amplitude("c", "width", "alpha"), exponent("alpha", "width", 0.2, 2)),
        predict=lambda E, c, alpha, width: E + c * width**-alpha,
        form=PowerSum(floor="E"),
        source=LIU,
        caveats=(
            "Strong superposition says alpha = 1 (`fix=alpha=1` tests it); open model families"
            " gave .91 with a standard error of .04. Weak superposition gives the exponent of the"
            " features' frequencies less one.",
        ),
        family="teachers, shapes and tuning",
    ),
    Law(
        id="width_depth",
        title="Loss against width, depth and data",
        formula="E + c_m / width**a + c_l / depth**b + c_D / tokens**delta",
        variables=("width", "depth", "tokens"),
        parameters=(
            floor(), amplitude("c_m", "width", "a"), exponent("a", "width", 0.3, 2.0),
            amplitude("c_l", "depth", "b"), exponent("b", "depth", 0.3, 2.0),
            amplitude("c_D", "tokens", "delta"), exponent("delta", "tokens"),
        ),
        predict=lambda E, c_m, a, c_l, b, c_D, delta, width, depth, tokens: (
            E + c_m * width**-a + c_l * depth**-b + c_D * tokens**-delta
        ),
        form=PowerSum(floor="E"),
        source=WIDTH_DEPTH,
        caveats=(
            "The paper's law is this one with a = b = 1 and delta = .30 (`fix=a=1` `fix=b=1`"
            " `fix=delta=0.3`); on some 200 runs of Hoffmann et al. it found b = 1.2 with a"
            " standard error of .3.",
            "The Gemstones paper (2502.06857) fits the same sum of terms with free exponents by"
            " Huber's function on log losses.",
        ),
        family="teachers, shapes and tuning",
        evidence=repository("mcleish7/gemstone-scaling-laws, the form with free exponents"),
        aliases=("gemstones",),
    ),
    Law(
        id="compound",
        title="Depth, width and resolution of vision networks, scaled together",
        formula="E + a / depth**p + b / width**q + c / resolution**r",
        variables=("depth", "width", "resolution"),
        parameters=(
            floor(), amplitude("a", "depth", "p"), exponent("p", "depth", 0.2, 2.0),
            amplitude("b", "width", "q"), exponent("q", "width", 0.2, 2.0),
            amplitude("c", "resolution", "r"), exponent("r", "resolution", 0.2, 2.0),
        ),
        predict=lambda E, a, p, b, q, c, r, depth, width, resolution: (
            E + a * depth**-p + b * width**-q + c * resolution**-r
        ),
        form=PowerSum(floor="E"),
        derived=_compound_growth,
        source=TAN,
        target="error",
        caveats=(
            "The paper fits no law: a grid of networks of twice the FLOPs gave it 1.2, 1.1 and 1.15"
            " times the depth, width and resolution. The derived values are the same numbers.",
            "FLOPs are taken as depth width**2 resolution**2, as in the paper.",
        ),
        family="teachers, shapes and tuning",
        domain={"depth": (8, 64), "width": (32, 512), "resolution": (96, 640)},
        evidence=Evidence("derived", "a sum of powers under the paper's cost of eq. 3"),
    ),
    Law(
        id="third",
        title="Loss against training time, exponent one third",
        formula="E + A / step**(1/3)",
        variables=("step",),
        parameters=(
            floor(),
            Parameter("A", "amplitude", 0.02, 2.0, centre={"step": 1 / 3}, of_target=True,
                      linear=True),
        ),
        predict=lambda E, A, step: E + A * step ** (-1 / 3),
        source=THIRD,
        caveats=("Derived in the paper for softmax and peaked targets; test it by power_offset.",),
        family="teachers, shapes and tuning",
        evidence=secondary(),
    ),
    Law(
        id="mist",
        title="Additive law with a penalty for a learning rate off its optimum",
        formula="(A / params**alpha + B / tokens**beta + E) exp(P ln(lr / lr*)**2),"
        " lr* = lr_0 tokens**d / params**n",
        variables=("params", "tokens", "lr"),
        parameters=(
            *_ADDITIVE,
            Parameter("P", "penalty by the square of ln(lr / lr*)", 1e-3, 0.2),
            Parameter(
                "lr_0", "scale of the best rate", 0.3, 3.0,
                centre={"lr": 1.0, "params": "n", "tokens": "-d"},
            ),
            Parameter("n", "fall of the best rate with params", -0.2, 0.8, "identity"),
            Parameter("d", "rise of the best rate with tokens", -0.3, 0.5, "identity"),
        ),
        predict=_mist,
        source=MIST,
        caveats=(
            "Lets runs off their best learning rate enter a fit. The paper has further penalties,"
            " for the shape, of the same kind, and a posterior over all constants.",
        ),
        choices=Choices((Choice("lr", 1e-6, 1.0),)),
        family="teachers, shapes and tuning",
        evidence=secondary("; the penalty's square in the log is an assumption"),
    ),
    Law(
        id="nmt",
        title="Translation: parameters of encoder and decoder",
        formula="L_inf + A / (encoder_params**p_e decoder_params**p_d)",
        variables=("encoder_params", "decoder_params"),
        parameters=(
            floor("L_inf"),
            Parameter(
                "A", "amplitude", 0.02, 2.0, of_target=True, linear=True,
                centre={"encoder_params": "p_e", "decoder_params": "p_d"},
            ),
            exponent("p_e", "encoder_params", 0.02, 0.8),
            exponent("p_d", "decoder_params", 0.02, 0.8),
        ),
        predict=lambda L_inf, A, p_e, p_d, encoder_params, decoder_params: (
            L_inf + A * encoder_params**-p_e * decoder_params**-p_d
        ),
        form=PowerSum(floor="L_inf"),
        derived=lambda values: {"best encoder / decoder": values["p_e"] / values["p_d"]},
        source=GHORBANI,
        caveats=(
            "At a fixed sum the best ratio of encoder to decoder is p_e / p_d.",
            "BLEU saturates on test sets composed in the source language: part them.",
        ),
        family="teachers, shapes and tuning",
        evidence=secondary(),
    ),
    Law(
        id="nmt_multi",
        title="Multilingual translation: a language pair's share acts as a share of the parameters",
        formula="L_inf + A / (f(p) params)**alpha, f(p) = p + c_1 p**c_2 (1 - p)**c_3,"
        " p = target_share",
        variables=("params", "target_share"),
        parameters=(
            floor("L_inf"), amplitude("A", "params", "alpha"), exponent("alpha", "params"),
            Parameter("c_1", "what the other pairs lend", 0.02, 2.0),
            Parameter("c_2", "power of the share", 0.2, 2.0),
            Parameter("c_3", "power of the others' share", 0.2, 2.0),
        ),
        predict=_nmt_multi,
        source=FERNANDES,
        caveats=("Exponent and floor are the same at every share; only the multiplier moves.",),
        family="teachers, shapes and tuning",
        evidence=Evidence("unconfirmed", "that only the multiplier moves is in the abstract"),
    ),
    Law(
        id="merge",
        title="Merged models: floor and gain fall with size, the gain with their number",
        formula="E + A / params**alpha + B / (params**beta merged)",
        variables=("params", "merged"),
        parameters=(
            floor(), amplitude("A", "params", "alpha"), exponent("alpha", "params"),
            Parameter("B", "gain of merging", 0.02, 2.0, centre={"params": "beta", "merged": 1},
                      of_target=True, linear=True),
            exponent("beta", "params in the gain"),
        ),
        predict=lambda E, A, alpha, B, beta, params, merged: (
            E + A * params**-alpha + B / (params**beta * merged)
        ),
        source=MERGING,
        caveats=("Roughly inverse in the number of models: an offset of it was not checked.",),
        family="teachers, shapes and tuning",
        evidence=repository("InfiXAI/Merging-Scaling-Law, its abstract"),
    ),
    Law(
        id="loss_to_loss",
        title="Loss on one distribution from the loss on another",
        formula="K (source_loss - E_0)**kappa + E_1",
        variables=("source_loss",),
        parameters=(
            Parameter(
                "K", "amplitude", 0.1, 3.0, of_target=True, linear=True,
                centre={"source_loss": "-kappa"},
            ),
            scale_of("E_0", "source_loss", 0.2, 0.9, "irreducible part of source_loss"),
            Parameter("kappa", "power", 0.3, 2.5),
            floor("E_1"),
        ),
        predict=lambda K, E_0, kappa, E_1, source_loss: K * (source_loss - E_0) ** kappa + E_1,
        source=LOSS_TO_LOSS,
        family="downstream",
        evidence=repository("KempnerInstitute/loss-to-loss-notebooks, utils_plotting.py"),
    ),
)  # fmt: skip
