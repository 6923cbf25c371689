"""What a law is: a declaration that the solver, the planner and the documentation all read.

A law's functions take its parameters and its columns by their names as keyword arguments and
broadcast over any leading axes: parameters come as [batch, 1], columns as [rows]. An expression in
numpy's arithmetic is enough; derivatives follow from it by the complex step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Values = Mapping[str, Any]

COMPLEX_STEP = 1e-30  # the complex step has no subtraction, so it may be far below rounding


@dataclass(frozen=True)
class Parameter:
    """A parameter, the range of its starting values, and the transform that keeps it valid.

    The solver divides every column by its geometric mean, so that amplitudes and exponents come
    apart. An amplitude names in `centre` the columns that it is tied to and the exponent of each:
    `A` of `A / params**alpha` has `centre={"params": "alpha"}`. `low` and `high` bound the starting
    values on those scaled columns, in units of the median target where `of_target` is set.
    `linear` parameters enter the prediction linearly and are eliminated when starts are sought;
    one with a `start` starts there.
    """

    name: str
    meaning: str
    low: float
    high: float
    transform: Literal["log", "identity"] = "log"
    centre: Mapping[str, str] = field(default_factory=dict)
    of_target: bool = False
    linear: bool = False
    start: float | None = None


@dataclass(frozen=True)
class Source:
    authors: str
    year: int
    arxiv: str
    equation: str = ""

    def __str__(self) -> str:
        where = f", {self.equation}" if self.equation else ""
        return f"{self.authors} {self.year}, arXiv:{self.arxiv}{where}"


@dataclass(frozen=True)
class Published:
    """Coefficients as a paper printed them, with the data and the unit that they belong to."""

    name: str
    values: Mapping[str, float]
    data: str
    source: Source
    target: str = "nats per token"
    params: str = "total"


@dataclass(frozen=True)
class PowerSum:
    """The form floor + (sum of monomials)**power, by the names of its parameters.

    The monomials are the parameters that name a `centre`; floor and power are left out where the
    law has none. The form says nothing that `predict` does not: it lets the solver take
    derivatives and starting points from closed expressions.
    """

    floor: str | None = None
    power: str | None = None


@dataclass(frozen=True)
class Law:
    """A scaling law. See the module's docstring for how its functions are called.

    `gradient` returns the prediction and its partial derivative by each parameter; `hessian` its
    second derivatives by pairs of them, each pair once. They and `form` are optional and only save
    time. `optimum(values, flops)` is the closed form of the
    compute-optimal (params, tokens) under flops = 6 params tokens, where there is one. `references`
    are constants of the surface, each set to the geometric mean of a column when the law is fitted.
    `derived` gives further coefficients for the report.
    """

    id: str
    title: str
    formula: str
    variables: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    predict: Callable[..., Array]
    source: Source
    published: tuple[Published, ...] = ()
    gradient: Callable[..., tuple[Array, dict[str, Array]]] | None = None
    hessian: Callable[..., dict[tuple[str, str], Array]] | None = None
    form: PowerSum | None = None
    optimum: Callable[[Values, Array], tuple[Array, Array]] | None = None
    references: Mapping[str, str] = field(default_factory=dict)
    derived: Callable[[Values], dict[str, float]] | None = None
    caveats: tuple[str, ...] = ()
    family: str = "loss surface"

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return tuple(parameter.name for parameter in self.parameters)

    def parameter(self, name: str) -> Parameter:
        return next(item for item in self.parameters if item.name == name)

    @property
    def scaled_columns(self) -> tuple[str, ...]:
        """Columns that may be divided by a constant without changing the family of surfaces."""
        names = {column for parameter in self.parameters for column in parameter.centre}
        return tuple(name for name in self.variables if name in names)

    def to_raw(self, values: Values, scales: Values) -> dict[str, Array]:
        """Parameters fitted on columns divided by `scales` -> parameters for the columns."""
        raw = dict(values)
        for parameter in self.parameters:
            for column, exponent in parameter.centre.items():
                raw[parameter.name] = raw[parameter.name] * scales[column] ** values[exponent]
        return raw

    def to_scaled(self, values: Values, scales: Values) -> dict[str, Array]:
        """The inverse of `to_raw`."""
        return self.to_raw(values, {column: 1.0 / scale for column, scale in scales.items()})

    def value_and_gradient(
        self, values: Mapping[str, Array], columns: Mapping[str, Array]
    ) -> tuple[Array, dict[str, Array]]:
        """Prediction and its derivative by each parameter, by the complex step if need be."""
        if self.gradient is not None:
            return self.gradient(**values, **columns)
        gradient = {}
        for name in self.parameter_names:
            shifted = dict(values) | {name: values[name] + 1j * COMPLEX_STEP}
            gradient[name] = np.imag(self.predict(**shifted, **columns)) / COMPLEX_STEP
        return self.predict(**values, **columns), gradient
