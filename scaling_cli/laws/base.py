"""What a law is: a declaration that the solver, the planner and the documentation all read.

A law's functions take its parameters and its columns by their names as keyword arguments and
broadcast over any leading axes: parameters come as [batch, 1], columns as [rows]. An expression in
numpy's arithmetic is enough; derivatives follow from it by the complex step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    apart. An amplitude names in `centre` the columns that it is tied to and the exponent of each, a
    parameter's name, a number or a function of the parameters: `A` of `A / params**alpha` has
    `centre={"params": "alpha"}`, `G` of `G * flops**a` has `{"flops": "-a"}`, and `N` of
    `(N / params)**alpha` has `{"params": 1}`. `low` and `high` bound the starting values on those
    scaled columns, in units of the median target where `of_target` is set. `linear` parameters are
    positive, enter the prediction linearly and are eliminated when starts are sought; one with a
    `start` starts there.

    The transforms: `log` keeps a parameter above zero, `negative` below it, `logit` between 0 and
    1, and `identity` anywhere.
    """

    name: str
    meaning: str
    low: float
    high: float
    transform: Literal["log", "identity", "logit", "negative"] = "log"
    centre: Mapping[str, str | float | Callable[[Values], Any]] = field(default_factory=dict)
    of_target: bool = False
    linear: bool = False
    start: float | None = None

    @property
    def exponents(self) -> dict[str, str]:
        """Those of `centre` that are parameters."""
        named = {column: name for column, name in self.centre.items() if isinstance(name, str)}
        return {column: name.removeprefix("-") for column, name in named.items()}

    def to_raw(self, values: Values, scales: Values) -> Array:
        """Its value for columns that were divided by `scales` when `values` were fitted."""
        raw: Array = values[self.name]
        for column, exponent in self.centre.items():
            if callable(exponent):
                power: Array | float = exponent(values)
            elif not isinstance(exponent, str):
                power = exponent
            elif exponent.startswith("-"):
                power = -values[exponent[1:]]
            else:
                power = values[exponent]
            raw = raw * scales[column] ** power
        return raw


@dataclass(frozen=True)
class Source:
    authors: str
    year: int
    arxiv: str
    equation: str = ""

    def __str__(self) -> str:
        parts = (f"arXiv:{self.arxiv}" if self.arxiv else "", self.equation)
        return ", ".join(filter(None, (f"{self.authors} {self.year}", *parts)))


@dataclass(frozen=True)
class Evidence:
    """How a formula or a set of coefficients came to be known; `where` names the place.

    `repository`: read in a public repository, the authors' unless it says otherwise. `paper`: read
    in the paper. `refit`: fitted here to the public data. `derived`: follows by algebra from what
    was read. `secondary`: read only in another's account. `unconfirmed`: known by hearsay. `sought`
    is the month in which a text of the authors was looked for last, and not found.
    """

    kind: Literal["repository", "paper", "refit", "derived", "secondary", "unconfirmed"]
    where: str = ""
    sought: str = ""

    @property
    def verified(self) -> bool:
        return self.kind not in ("secondary", "unconfirmed")

    def __str__(self) -> str:
        said = {
            "repository": "read in the repository",
            "paper": "read in the paper",
            "refit": "fitted to the public data",
            "derived": "derived",
            "secondary": "UNVERIFIED, known from a secondary account only",
            "unconfirmed": "UNVERIFIED, not confirmed by any document",
        }[self.kind]
        where = self.where if self.where[:1] in (";", ",") else f" {self.where}".rstrip()
        sought = f"; no text of the authors was found in {self.sought}" if self.sought else ""
        return said + where + sought


PAPER = Evidence("paper")
# Of training (Kaplan et al. 2020, 2001.08361), in which a law gives its `optimum`; whoever counts
# otherwise converts the budget.
FLOPS_PER_PARAM_TOKEN = 6.0


@dataclass(frozen=True)
class Published:
    """Coefficients with the data and the unit that they belong to; names hold paper and year.

    `no_optimum` says why no budget is to be split by them, where the paper or its runs do. `ranges`
    are the least and the largest of its columns among the runs behind it, where they are known."""

    name: str
    values: Mapping[str, float]
    data: str
    source: Source
    target: str = "nats per token"
    params: str = "total"
    evidence: Evidence = PAPER
    no_optimum: str = ""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)


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
class Curves:
    """The form floor(x) + exp(log_data(x) - exponent(x) ln y) in two columns, x = `by` and
    y = `along`.

    `at` gives the three curves from the law's parameters and x, `derivatives` their first by
    (curve, parameter), and what makes their second by (curve, parameter, parameter): those that
    are not zero, each pair once. A ladder has few sizes, so the solver needs them at few places.
    """

    by: str
    along: str
    at: Callable[..., tuple[Array, Array, Array]]
    derivatives: Callable[
        ..., tuple[dict[tuple[str, str], Array], Callable[[], dict[tuple[str, str, str], Array]]]
    ]

    def predict(self, **at: Array) -> Array:
        floor, log_data, exponent = self.at(**at)
        prediction: Array = floor + np.exp(log_data - exponent * np.log(at[self.along]))
        return prediction

    def gradient(self, **at: Array) -> tuple[Array, dict[str, Array]]:
        floor, log_data, exponent = self.at(**at)
        log_along = np.log(at[self.along])
        data = np.exp(log_data - exponent * log_along)
        by_curve = {"floor": 1.0, "log_data": data, "exponent": -data * log_along}
        gradient: dict[str, Array] = {}
        for (curve, name), slope in self.derivatives(**at)[0].items():
            gradient[name] = gradient.get(name, 0.0) + by_curve[curve] * slope
        return floor + data, gradient


@dataclass(frozen=True)
class Choice:
    """A column that whoever trains chooses, sought between `low` and `high`; the columns `also`
    take its value unless they are held."""

    column: str
    low: float
    high: float
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choices:
    """What is chosen beside the size of a model and its tokens, and what a training costs.

    `size` is the column of the size. `per_token(values)` gives, from the other columns, FLOPs that
    training on one token costs as (factor, power of the size) pairs; `cost` says so in words, with
    where that is from. A law over shares (`Law.over`) divides what its held columns leave of 1.
    A law of steps names the column of the `batch` in tokens, which with them makes the tokens.
    """

    free: tuple[Choice, ...] = ()
    size: str = "params"
    per_token: Callable[[Values], tuple[tuple[float, float], ...]] = lambda values: ((6.0, 1.0),)
    cost: str = "6 a param and token"
    shares: bool = False
    batch: str | None = None


@dataclass(frozen=True)
class PaperFit:
    """How the law's own paper fitted it: what it minimised, and by which `method`.

    `staged` is a procedure that minimises no one objective: from columns, target and the law's
    references to its parameters and a sentence on what was done; FitError where it cannot be done.
    """

    objective: str
    method: str
    staged: (
        Callable[[Mapping[str, Array], Array, Mapping[str, float]], tuple[dict[str, float], str]]
        | None
    ) = None


@dataclass(frozen=True)
class Law:
    """A scaling law. See the module's docstring for how its functions are called.

    `gradient` returns the prediction and its partial derivative by each parameter; `hessian` its
    second derivatives by pairs of them, each pair once; `bend(weights, ...)` instead their sums
    over rows [batch] with weights [batch, rows], for laws of many parameters. They, `form` and
    `curves` are optional and only save time. `optimum(values, flops)` is the closed form of the
    compute-optimal (params, tokens) under flops = 6 params tokens, where there is one. `references`
    are constants of the surface, each set to the geometric mean of a column when the law is fitted.
    `again` makes of an optimum's values, and the column that `curves` go by, parameters to start
    from where another may hide.
    `derived` gives further coefficients for the report.

    `target` is the column that it predicts unless the user names another, `objective` what its fit
    minimises; `paper` is what its own paper did instead, where that is known. `trials` names the
    column that counts the tries behind a target that is a rate.
    `same_scale` maps a column to the one by whose scale it has to be divided. `domain` are the
    values of its columns that it was made for, where they differ from the column's own.

    A law over a family of columns, such as the shares of a mixture, reads every column whose name
    begins with `over`: `expand(names)` is the law on these. What stands in the registry is the law
    on three examples.

    `plateaus` of a link are its lower one, the rise from there to the upper one and the steepness,
    by the names of their parameters.

    `choices` says what is chosen beside params and tokens, and what that costs.

    `levels` are parameters that are values of the target, and lie where it does: between 0 and 1 as
    long as it does so.

    A `monotone` law rises or falls throughout: runs that turn around are refused by it.

    `unverified` are coefficients that nobody has confirmed: shown with that mark, and refused for
    predictions. `aliases` are other names that the law goes by.
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
    bend: Callable[..., dict[tuple[str, str], Array]] | None = None
    form: PowerSum | None = None
    curves: Curves | None = None
    again: Callable[[Values, Array], dict[str, Array]] | None = None
    optimum: Callable[[Values, Array], tuple[Array, Array]] | None = None
    references: Mapping[str, str] = field(default_factory=dict)
    summands: tuple[str, ...] = ()
    derived: Callable[[Values], dict[str, float]] | None = None
    caveats: tuple[str, ...] = ()
    family: str = "loss surface"
    target: str = "loss"
    objective: str = "huber_log"
    paper: PaperFit | None = None
    trials: str | None = None
    same_scale: Mapping[str, str] = field(default_factory=dict)
    domain: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    over: str = ""
    expand: Callable[[tuple[str, ...]], Law] | None = None
    of_domain: Callable[[str], Law] | None = None
    evidence: Evidence = PAPER
    unverified: tuple[Published, ...] = ()
    aliases: tuple[str, ...] = ()
    monotone: bool = True
    plateaus: tuple[str, str, str] | None = None
    levels: tuple[str, ...] = ()
    choices: Choices | None = None

    @property
    def name(self) -> str:
        """What it goes by: its id, unless that is a formula."""
        return "formula" if self.id.startswith("=") else self.id

    def starting(self, ranges: Mapping[str, tuple[float, float]]) -> Law:
        """The law with other ranges of starting values, by the names of parameters."""
        parameters = tuple(
            replace(
                item,
                low=ranges[item.name][0],
                high=ranges[item.name][1],
                transform="identity" if ranges[item.name][0] <= 0 else item.transform,
                of_target=False,
                linear=False,
                start=None,
            )
            if item.name in ranges
            else item
            for item in self.parameters
        )
        return replace(self, parameters=parameters) if ranges else self

    def with_levels(self, names: Sequence[str], low: float, high: float) -> Law:
        """The law with these parameters anywhere, and starting between two values."""
        parameters = tuple(
            replace(item, low=low, high=high, transform="identity") if item.name in names else item
            for item in self.parameters
        )
        return replace(self, parameters=parameters)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return tuple(parameter.name for parameter in self.parameters)

    def parameter(self, name: str) -> Parameter:
        return next(item for item in self.parameters if item.name == name)

    def among(self, columns: Iterable[str]) -> Law:
        """The law on these columns: itself, or the member of its family that reads them."""
        if self.expand is None:
            return self
        return self.expand(tuple(sorted(name for name in columns if name.startswith(self.over))))

    @property
    def floor(self) -> str | None:
        """The parameter that is added to all else."""
        if self.form:
            return self.form.floor
        return self.summands[0] if self.summands else None

    @property
    def amplitudes(self) -> tuple[str, ...]:
        """The parameters that add up where every column is at its scale or reference; the form's
        power is taken of their sum."""
        if self.form:
            return tuple(item.name for item in self.parameters if item.centre)
        return self.summands[1:]

    @property
    def exponents(self) -> tuple[str, ...]:
        """The parameters that are exponents of a column."""
        named = {name for parameter in self.parameters for name in parameter.exponents.values()}
        return tuple(name for name in self.parameter_names if name in named)

    @property
    def falls(self) -> bool:
        """Whether its prediction can only fall along its columns: sums of falling powers do."""
        powers = [power for item in self.parameters for power in item.centre.values()]
        log = all(self.parameter(name).transform == "log" for name in self.exponents)
        return (
            bool(self.form and powers)
            and log
            and not any(not isinstance(power, str) or power.startswith("-") for power in powers)
        )

    @property
    def free(self) -> tuple[Choice, ...]:
        """What is chosen beside the size and the tokens."""
        if self.choices is None:
            return ()
        if self.choices.shares:
            names = [name for name in self.variables if name.startswith(self.over)]
            return tuple(Choice(name, 0.0, 1.0) for name in names)
        return self.choices.free

    @property
    def splits(self) -> bool:
        """Whether it divides a budget between params and tokens."""
        surface = self.target == "loss" and set(self.variables) == {"params", "tokens"}
        return self.optimum is not None or surface

    @property
    def scaled_columns(self) -> tuple[str, ...]:
        """Columns that may be divided by a constant without changing the family of surfaces."""
        names = {column for parameter in self.parameters for column in parameter.centre}
        return tuple(name for name in self.variables if name in names or name in self.same_scale)

    def to_raw(self, values: Values, scales: Values) -> dict[str, Array]:
        """Parameters fitted on columns divided by `scales` -> parameters for the columns."""
        return {
            item.name: item.to_raw(values, scales)
            for item in self.parameters
            if item.name in values
        }

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
