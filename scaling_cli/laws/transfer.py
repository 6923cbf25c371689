"""Hyperparameters of a tuned run carried to a run of another width, depth, batch or length."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scaling_cli.laws.base import Evidence, Source
from scaling_cli.laws.parts import repository

YANG = Source("Yang et al.", 2022, "2203.03466")
DEY = Source("Dey et al.", 2025, "2505.01618")
BERGSMA = Source("Bergsma et al.", 2025, "2505.13738")
TIMESCALE = 0.527  # AdamW's best timescale falls by this power of tokens per param
_MUP = repository("microsoft/mup, mup/optim.py")
_COMPLETEP = repository("EleutherAI/nanoGPT-mup, branch completep, by the authors")
Point = Mapping[str, float]


@dataclass(frozen=True)
class Transfer:
    """A rule that takes `hyperparameter` from a base run to another.

    `of_base` and `of_run` are the columns that it reads of each; a setting that is not given for
    the run is that of the base. `rule(base, run)` is the value. `holds` says for what it was shown.
    """

    id: str
    hyperparameter: str
    of_base: tuple[str, ...]
    of_run: tuple[str, ...]
    rule: Callable[[Point, Point], float]
    source: Source
    evidence: Evidence
    holds: str
    caveat: str

    def missing(self, base: Point, run: Point) -> list[str]:
        """The columns that nothing is known of, those of the base marked."""
        return [f"{name} of the base run" for name in self.of_base if name not in base] + [
            name for name in self.of_run if name not in run
        ]

    def value(self, base: Point, run: Point) -> float:
        return self.rule(base, {**base, **run})


def _timescale(base: Point, run: Point) -> float:
    """weight_decay = batch_tokens / (lr tokens tau), tau as (tokens / params)**-TIMESCALE."""

    def at(point: Point) -> float:
        memory = (point["tokens"] / point["params"]) ** -TIMESCALE
        return float(point["batch_tokens"] / (point["lr"] * point["tokens"] * memory))

    return base["weight_decay"] * at(run) / at(base)


TRANSFERS = (
    Transfer(
        "mup", "lr", ("width", "lr"), ("width",),
        lambda base, run: base["lr"] * base["width"] / run["width"],
        YANG, _MUP, "widths of 256 to 8192 at one depth, batch and length",
        "Of matrices between hidden layers; embeddings, norms and biases keep the rate of the base"
        " run. Their initial variance falls by the same factor, and logits are divided by it.",
    ),
    Transfer(
        "completep", "residual_multiplier", ("depth",), ("depth",),
        lambda base, run: base.get("residual_multiplier", 1.0) * base["depth"] / run["depth"],
        DEY, _COMPLETEP, "width and depth together, from a base of width 256",
        "Each branch is multiplied by it before it is added; with it the rate needs no correction"
        " by depth.",
    ),
    Transfer(
        "completep", "weight_decay", ("width", "weight_decay"), ("width",),
        lambda base, run: base["weight_decay"] * run["width"] / base["width"],
        DEY, _COMPLETEP, "width and depth together, from a base of width 256",
        "Of matrices between hidden layers, whose rate mup lowers by the same factor; at one ratio"
        " of batch to tokens.",
    ),
    Transfer(
        "completep", "adam_eps", ("width", "depth", "adam_eps"), ("width", "depth"),
        lambda base, run: base["adam_eps"] * base["width"] / run["width"]
        * base["depth"] / run["depth"],
        DEY, _COMPLETEP, "width and depth together, from a base of width 256", "",
    ),
    Transfer(
        "adamw_timescale", "weight_decay",
        ("params", "tokens", "lr", "batch_tokens", "weight_decay"), ("params", "tokens"),
        _timescale, BERGSMA,
        Evidence("paper", "its abstract; the exponent .527 is from three other accounts"),
        "111M to 3.3B params, muP, a rate that falls to zero",
        "Keeps batch_tokens / (lr weight_decay tokens) at its best for the tokens per param; the"
        " rate is the base one of muP, before the width lowers it.",
    ),
)  # fmt: skip
