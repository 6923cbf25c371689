"""Compute-optimal params as a power of compute, found without a loss surface."""

from __future__ import annotations

from scaling_cli.laws.base import (
    FLOPS_PER_PARAM_TOKEN,
    Array,
    Law,
    Parameter,
    Source,
    Values,
)

HOFFMANN = Source("Hoffmann et al.", 2022, "2203.15556", "section 3")
PORIAN = Source("Porian et al.", 2024, "2406.19146")


def _split(values: Values, flops: Array) -> tuple[Array, Array]:
    params = values["G"] * flops ** values["a"]
    return params, flops / FLOPS_PER_PARAM_TOKEN / params


def _law(law_id: str, title: str, source: Source, *caveats: str) -> Law:
    return Law(
        id=law_id,
        title=title,
        formula="G * flops**a",
        variables=("flops",),
        target="params",
        objective="squared_log",
        parameters=(
            Parameter(
                "G", "params at one FLOP", 0.05, 20.0, centre={"flops": "-a"}, of_target=True
            ),
            Parameter("a", "exponent of compute", 0.1, 1.5, transform="identity"),
        ),
        predict=lambda G, a, flops: G * flops**a,
        optimum=_split,
        source=source,
        caveats=caveats,
        family="compute-optimal allocation",
    )


LAWS = (
    _law(
        "isoflop",
        "Parabolas through isoFLOP curves (Chinchilla, approach 2)",
        HOFFMANN,
        "Unless alpha equals beta a parabola's vertex is off by up to 5 % with sizes 16 times from"
        " the optimum, by up to 35 % with windows that drift with the budget (arXiv:2603.22339).",
        "Its exponent varies about eight times more than that of a fitted surface.",
    ),
    _law(
        "isoflop_akima",
        "Interpolated isoFLOP curves, with a noise bootstrap",
        PORIAN,
        "The lowest point of an interpolation follows the noise of single runs.",
    ),
    _law(
        "envelope",
        "Runs of lowest loss at each compute (Chinchilla, approach 1)",
        HOFFMANN,
        "It reads every logged point: runs of constant learning rate, or one a point.",
        "A frontier chosen after the fact is too low where runs are noisy.",
    ),
)
