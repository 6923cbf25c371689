"""The points of params and tokens that a question asks about: grids, and the splits of budgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from scaling_cli.compute import SIX_ND, Accounting
from scaling_cli.errors import InputError
from scaling_cli.fitting.result import Fit, Prediction, predict_published
from scaling_cli.laws import Law, Published

if TYPE_CHECKING:
    from scaling_cli.planning.budget import Constraints
    from scaling_cli.planning.splits import Allocation

MOST_POINTS = 10_000


@dataclass(frozen=True)
class Grid:
    """Every pair of `params` and `tokens`; or of `params` and `flops`, which leave the tokens; or
    the split of each of `flops`: the best one, or that at `tokens_per_param`. `further` holds what
    else the law reads; with a `sequence` FLOPs are exact, attention over so many tokens counted."""

    params: Sequence[float] = ()
    tokens: Sequence[float] = ()
    flops: Sequence[float] = ()
    tokens_per_param: float | None = None
    further: Mapping[str, float] | None = None
    sequence: float | None = None

    def __post_init__(self) -> None:
        sizes = {"params": self.params, "tokens": self.tokens, "flops": self.flops}
        twice = [name for name, values in sizes.items() if values and name in (self.further or {})]
        if twice:
            raise InputError(f"{' and '.join(twice)} is given twice", "Give it once.")
        if self.params and self.tokens and self.tokens_per_param is not None:
            raise InputError("params, tokens and their ratio are one too many", "Give two of them.")
        if self.sequence is not None and not self.flops:
            raise InputError("a sequence counts FLOPs, and none are given", "Give flops.")
        if self.flops and self.tokens:
            raise InputError(
                "tokens and flops are two ways to say how long a model is trained",
                "Give params and tokens, or params and flops, or flops alone.",
            )
        if self.tokens_per_param is not None and not (bool(self.flops) ^ bool(self.params)):
            raise InputError("a ratio needs params or flops beside it", "Give one of them.")
        if max(1, len(self.params)) * max(1, len(self.tokens) + len(self.flops)) > MOST_POINTS:
            raise InputError(f"more than {MOST_POINTS} points are asked for", "Ask for fewer.")

    def points(
        self, law: Law, names: Mapping[str, str], compute: Accounting,
        split: Callable[[float, Constraints], Allocation],
    ) -> list[dict[str, float]]:  # fmt: skip
        """By a law whose variables are the columns `names`: columns by name, one set a point."""
        fixed = dict(self.further or {})
        read = {names.get(name, name) for name in law.variables}
        if self.flops and "flops" in read:
            return [fixed | {"flops": flops} for flops in self.flops]
        if self.flops and self.params:
            from scaling_cli.planning.budget import Constraints, line_of

            one = Constraints(sequence=self.sequence)
            pairs = product(self.params, self.flops)
            return [
                fixed
                | {"params": n, "tokens": float(line_of(c, compute, one).tokens(n)), "flops": c}
                for n, c in pairs
            ]
        if self.flops:
            from scaling_cli.planning.budget import Constraints

            asked = Constraints(
                tokens_per_param=self.tokens_per_param, at=fixed, sequence=self.sequence
            )
            return [fixed | _point(split(flops, asked)) for flops in self.flops]
        if self.tokens_per_param is not None:
            ratio = self.tokens_per_param
            return [fixed | {"params": n, "tokens": ratio * n} for n in self.params]
        columns = {"params": self.params, "tokens": self.tokens}
        given = {name: values for name, values in columns.items() if values}
        return [
            fixed | dict(zip(given, values, strict=True)) for values in product(*given.values())
        ]

    def of_fit(self, fitted: Fit, quantiles: Sequence[float] = ()) -> list[Prediction]:
        """What a fit predicts at each point."""

        def split(flops: float, constraints: Constraints) -> Allocation:
            from scaling_cli.planning.splits import allocate_fit

            return allocate_fit(fitted, flops, constraints)

        asked = self.points(fitted.law, fitted.columns, fitted.compute, split)
        return [_with_flops(fitted.predict(point, quantiles), point) for point in asked]

    def of_published(self, law: Law, entry: Published) -> list[Prediction]:
        """The same by a paper's coefficients."""

        def split(flops: float, constraints: Constraints) -> Allocation:
            from scaling_cli.planning.splits import allocate_published

            return allocate_published(law, entry, flops, constraints)

        asked = self.points(law, {}, SIX_ND, split)
        return [_with_flops(predict_published(law, entry, point), point) for point in asked]


def _point(split: Allocation) -> dict[str, float]:
    if split.params is None or split.tokens is None:
        reasons = " ".join(dict.fromkeys(note.message for note in split.notes))
        raise InputError(
            f"{split.budget_flops:.3g} FLOPs have no best split: {reasons}",
            "Give params beside flops, or a ratio of tokens to params.",
        )
    return {"params": split.params, "tokens": split.tokens, "flops": split.budget_flops}


def _with_flops(found: Prediction, point: Mapping[str, float]) -> Prediction:
    """The prediction with the compute that was asked for among its inputs."""
    inputs = {**found.inputs, **({"flops": point["flops"]} if "flops" in point else {})}
    return replace(found, inputs=inputs)
