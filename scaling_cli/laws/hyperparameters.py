"""Rules for the learning rate, the batch and weight decay: `scalefit hparams` answers from these,
from those of routed models and from Kaplan's critical batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from scaling_cli.laws.base import Array, Evidence, Law, Parameter, Published, Source
from scaling_cli.laws.parts import coefficients, exponent, repository, secondary

STEPLAW = Source("Li et al.", 2025, "2503.04715", "eq. 1")
DEEPSEEK = Source("DeepSeek-AI", 2024, "2401.02954", "eq. 1")
PORIAN = Source("Porian et al.", 2024, "2406.19146")
BJORCK = Source("Bjorck et al.", 2024, "2409.19913")
BERGSMA = Source("Bergsma et al.", 2025, "2505.13738")
CHARLES = Source("Charles et al.", 2025, "2503.09799", "section 6.2")
MINICPM = Source("Hu et al.", 2024, "2404.06395", "section 3.2")
KAPLAN = Source("Kaplan et al.", 2020, "2001.08361", "eq. D.1")
FAMILY = "hyperparameters"
RECIPES = "recipes at scale"  # rules that hang on more than size and data
PORIAN_SEQUENCE = 2048  # tokens; the paper counts its batch in sequences
CALLED = {"lr": "learning rate", "batch_tokens": "batch"}  # what a sweep varies
DILOCO_SEQUENCE = 2048  # likewise, by its figures 4 and 5, which count tokens
UNITS = {"lr": "learning rate", "batch_tokens": "tokens"}
ASKED = (*UNITS, "weight_decay", "ema_timescale")  # targets that are settings of a run


def _rule(
    id: str,
    target: str,
    powers: Mapping[str, str],
    source: Source,
    evidence: Evidence,
    published: tuple[Published, ...] = (),
    unverified: tuple[Published, ...] = (),
    caveats: tuple[str, ...] = (),
    family: str = FAMILY,
) -> Law:
    """target = c times each column to the power of its parameter."""
    what = "learning rate" if target == "lr" else "batch"

    def predict(**at: Array) -> Array:
        value = at["c"]
        for column, power in powers.items():
            value = value * at[column] ** at[power]
        return value

    return Law(
        id=id,
        title=f"Best {what} ({source.authors})",
        formula="c * " + " * ".join(f"{column}**{power}" for column, power in powers.items()),
        variables=tuple(powers),
        parameters=(
            Parameter(
                "c", f"level of the {what}", 0.3, 3.0, of_target=True, linear=True,
                centre={column: f"-{power}" for column, power in powers.items()},
            ),
            *(
                Parameter(power, f"exponent of {column}", -1.0, 1.0, "identity")
                for column, power in powers.items()
            ),
        ),
        predict=predict,
        source=source,
        published=published,
        unverified=unverified,
        target=target,
        objective="squared_log",
        caveats=caveats,
        family=family,
        evidence=evidence,
    )  # fmt: skip


def _set(name: str, of: str, source: Source, data: str, evidence: Evidence,
         **values: Any) -> Published:  # fmt: skip
    return coefficients(name, source, data, evidence, target=UNITS[of],
                        params="non-embedding", **values)  # fmt: skip


_STEP = repository("step-law/steplaw")
_STEP_DATA = "some 3,700 dense runs of 60M to 1B, constant final rate"
_PORIAN = repository("formll/resolving-scaling-law-discrepancies")
_PORIAN_DATA = "RefinedWeb and OpenWebText2, tuned at 20 tokens per parameter"
_DEEP = Evidence("paper", "eq. 1")
_DEEP_DATA = "the paper's own corpus, 1e17 to 2e19 FLOPs"
_DEEP_NOTE = (
    "The paper counts compute as non-embedding FLOPs per token times tokens, with attention;"
    " 6 params tokens is near it. It fits all runs within .25 % of the lowest loss:"
    " `select=within:0.25%,flops`.",
)
_STEP_RANGES = {"params": (6e7, 1.1e9), "tokens": (2e9, 1e11)}
_PORIAN_RANGES = {"params": (3e5, 1e9)}
_DEEP_RANGES = {"flops": (1e17, 2e19)}
_DILOCO_RANGES = {"params": (3.5e7, 2.4e9), "replicas": (1.0, 8.0)}
_POWERLINES = Evidence("paper", "its abstract; exponents and levels are from other accounts")
_DILOCO = Evidence("paper", "table 10")
_DILOCO_DATA = "C4, 35M to 2.4B params at 20 tokens each, 1 to 8 replicas"
_BATCH_NOTE = ("The batch grows with the data alone; the rate is for that batch.",)

LAWS = (
    _rule(
        "steplaw", "lr", {"params": "n", "tokens": "d"}, STEPLAW, _STEP,
        (_set("steplaw2025", "lr", STEPLAW, _STEP_DATA, _STEP, ranges=_STEP_RANGES,
              c=1.79, n=-0.713, d=0.307),),
        caveats=_BATCH_NOTE,
    ),
    _rule(
        "steplaw_batch", "batch_tokens", {"tokens": "d"}, STEPLAW, _STEP,
        (_set("steplaw2025_batch", "batch_tokens", STEPLAW, _STEP_DATA, _STEP,
              ranges=_STEP_RANGES, c=0.58, d=0.571),),
        caveats=_BATCH_NOTE,
    ),
    _rule(
        "porian_hp", "lr", {"params": "n"}, PORIAN, _PORIAN,
        (_set("porian2024", "lr", PORIAN, _PORIAN_DATA, _PORIAN, ranges=_PORIAN_RANGES,
              c=3.7, n=-0.36),),
        caveats=("beta_2 of Adam is .99 up to 220M parameters, .95 above.",),
    ),
    _rule(
        "porian_hp_batch", "batch_tokens", {"params": "n"}, PORIAN, _PORIAN,
        (_set("porian2024_batch", "batch_tokens", PORIAN, _PORIAN_DATA, _PORIAN,
              ranges=_PORIAN_RANGES, c=0.00037 * PORIAN_SEQUENCE, n=0.703),),
    ),
    _rule(
        "deepseek_hp", "lr", {"flops": "g"}, DEEPSEEK, _DEEP,
        (_set("deepseek2024", "lr", DEEPSEEK, _DEEP_DATA, _DEEP, ranges=_DEEP_RANGES,
              c=0.3118, g=-0.1250),),
        caveats=_DEEP_NOTE,
    ),
    _rule(
        "deepseek_hp_batch", "batch_tokens", {"flops": "g"}, DEEPSEEK, _DEEP,
        (_set("deepseek2024_batch", "batch_tokens", DEEPSEEK, _DEEP_DATA, _DEEP,
              ranges=_DEEP_RANGES, c=0.2920, g=0.3271),),
        caveats=_DEEP_NOTE,
    ),
    _rule(
        "bjorck", "lr", {"params": "n", "tokens": "d"}, BJORCK, secondary(),
        unverified=(
            _set("bjorck2024", "lr", BJORCK,
                 "a fixed batch; params and tokens taken to be counted in billions",
                 Evidence("secondary", "the units are a guess"),
                 c=1.55e-3 * 1e9 ** (0.23 + 0.32), n=-0.23, d=-0.32),
        ),
        caveats=("The rate falls with the data because the batch is fixed.",),
    ),
    _rule(
        "powerlines_batch", "batch_tokens", {"tokens": "d"}, BERGSMA, _POWERLINES,
        caveats=(
            "The batch of the lowest loss at a budget of tokens; the critical batch is another,"
            " powerlines_critical. Both hardly depend on params.",
            "The exponent of the paper is .383, by three accounts that agree; its level belongs to"
            " its runs: `fix=d=0.383` and fit c to yours.",
        ),
    ),
    _rule(
        "powerlines_critical", "batch_tokens", {"tokens": "d"}, BERGSMA, _POWERLINES,
        caveats=(
            "tokens are the fewest that reach the loss, at small batches; the exponent of the paper"
            " is .462 by secondary accounts.",
        ),
    ),
    _rule(
        "diloco_lr", "lr", {"params": "n", "replicas": "m"}, CHARLES, _DILOCO,
        (_set("charles2025_lr", "lr", CHARLES, _DILOCO_DATA, _DILOCO,
              ranges=_DILOCO_RANGES, c=22256.0, n=-0.8827, m=0.2929),),
        caveats=("The rate of the inner optimiser; that of the outer depends on replicas alone.",),
        family=RECIPES,
    ),
    _rule(
        "diloco_batch", "batch_tokens", {"params": "n", "replicas": "m"}, CHARLES, _DILOCO,
        (_set("charles2025_batch", "batch_tokens", CHARLES, _DILOCO_DATA, _DILOCO,
              ranges=_DILOCO_RANGES, c=0.00709 * DILOCO_SEQUENCE, n=0.4695, m=0.3399),),
        caveats=("The batch of all replicas together, at the lowest point of a parabola in its"
                 " log: `select=smooth:batch_tokens` on the best rate of each.",),
        family=RECIPES,
    ),
    Law(
        id="powerlines_timescale",
        title="Best memory of AdamW, and by it the weight decay",
        formula="c (tokens / params)**m",
        variables=("params", "tokens"),
        parameters=(
            Parameter("c", "level", 0.3, 3.0, of_target=True, linear=True,
                      centre={"params": "m", "tokens": "-m"}),
            Parameter("m", "exponent of tokens per param", -1.5, 0.5, "identity"),
        ),
        predict=lambda c, m, params, tokens: c * (tokens / params) ** m,
        source=BERGSMA,
        unverified=(
            coefficients(
                "bergsma2025", BERGSMA, "111M to 3.3B params, muP, linear decay to zero",
                Evidence("secondary", "of m; c from memory"), target="share of the run",
                params="total", c=1.084, m=-0.527,
            ),
        ),
        target="ema_timescale",
        objective="squared_log",
        caveats=(
            'Map ema_timescale = "batch_tokens / (lr * weight_decay * tokens)", and fit the best'
            " run of each size and budget.",
            "The weight decay of a run is batch_tokens / (lr tokens ema_timescale): it grows with"
            " the batch.",
        ),
        family=RECIPES,
        evidence=_POWERLINES,
    ),
    Law(
        id="powerlines_decay",
        title="Best weight decay, by the memory of AdamW",
        formula="batch_tokens / (lr tokens c (tokens / params)**m)",
        variables=("params", "tokens", "batch_tokens", "lr"),
        parameters=(
            Parameter("c", "level of the timescale", 0.02, 2.0),
            Parameter("m", "exponent of tokens per param in it", -1.5, 0.5, "identity"),
        ),
        predict=lambda c, m, params, tokens, batch_tokens, lr: (
            batch_tokens / (lr * tokens * c * (tokens / params) ** m)
        ),
        source=BERGSMA,
        unverified=(
            coefficients(
                "bergsma2025_decay", BERGSMA, "111M to 3.3B params, muP, linear decay to zero",
                Evidence("secondary", "of m; c from memory"), target="weight decay",
                params="total", c=1.084, m=-0.527,
            ),
        ),
        target="weight_decay",
        objective="squared_log",
        caveats=(
            "Fit it to the best weight decay of each size, budget, batch and rate; the rate is the"
            " base one of muP. `hparams base=` carries the decay of one tuned run instead.",
        ),
        family=RECIPES,
        domain={"lr": (1e-4, 1e-2), "batch_tokens": (1e5, 1e7)},
        evidence=_POWERLINES,
    ),
    Law(
        id="minicpm_batch",
        title="Best batch by the loss that it is to reach (MiniCPM)",
        formula="c / loss**p",
        variables=("loss",),
        parameters=(
            Parameter("c", "batch at a loss of one", 0.1, 10.0, of_target=True, linear=True,
                      centre={"loss": "p"}),
            exponent("p", "loss", 1.0, 10.0),
        ),
        predict=lambda c, p, loss: c * loss**-p,
        source=MINICPM,
        unverified=(
            coefficients(
                "hu2024_batch", MINICPM, "9M to 170M params, C4, at a rate of .01",
                secondary("of six that agree"), target="tokens", c=1.21e9, p=6.24,
            ),
        ),
        target="batch_tokens",
        objective="squared_log",
        caveats=("loss is that of C4 in nats per token, at the end of training.",),
        family=RECIPES,
        domain={"loss": (2.0, 4.0)},
        evidence=secondary("of six that agree on form and coefficients"),
    ),
    Law(
        id="kaplan_lr",
        title="Best learning rate falls by the log of the size",
        formula="c - k ln(params)",
        variables=("params",),
        parameters=(
            Parameter("c", "rate at one parameter", 0.5, 5.0, of_target=True, linear=True),
            Parameter("k", "fall for each e-fold of params", 0.01, 0.3, of_target=True,
                      linear=True),
        ),
        predict=lambda c, k, params: c - k * np.log(params),
        source=KAPLAN,
        unverified=(
            coefficients(
                "kaplan2020_lr", KAPLAN, "WebText2, 768 to 1.5B params without embeddings",
                secondary(), target="learning rate", params="non-embedding", c=3.239e-3,
                k=1.395e-4,
            ),
        ),
        target="lr",
        objective="squared",
        caveats=("Below zero from some 1e10 params on: not for larger models.",),
        family=FAMILY,
        evidence=secondary(),
        domain={"params": (1e6, 1e9)},
    ),
)  # fmt: skip
