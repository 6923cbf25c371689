"""Mixtures of domains: laws over a simplex, read from the columns mixture.NAME."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from scaling_cli.laws.base import Array, Choices, Evidence, Law, PaperFit, Parameter, Source
from scaling_cli.laws.parts import (
    amplitude,
    exponent,
    floor,
    repository,
    secondary,
)

YE = Source("Ye et al.", 2024, "2403.16952", "eq. 6")
SHUKOR = Source("Shukor et al.", 2025, "2507.09404")
QUE = Source("Que et al.", 2024, "2406.01375")
CHEN = Source("Chen et al.", 2024, "2410.08527")
FAMILY = "mixtures"
OVER = "mixture."
SERIES = 1e-3  # of q, below which the log of the mean is a series
EXAMPLE = ("mixture.books", "mixture.code", "mixture.web")
SIMPLEX = (
    "Shares sum to one; where one goes to zero the law is an extrapolation.",
    "Give three runs or more for each domain, at mixtures that differ.",
)


def _members(prefix: str, columns: tuple[str, ...]) -> list[tuple[str, str]]:
    """(parameter, column) for each column of the family."""
    return [(f"{prefix}.{column.partition('.')[2]}", column) for column in columns]


Pairs = dict[tuple[str, str], Array]


def _outer(weights: Array, first: Mapping[str, Array]) -> Pairs:
    """The sums over rows of weights times products of two of these, each pair once [batch]."""
    names = list(first)
    stacked = np.stack(np.broadcast_arrays(weights, *first.values()), axis=1)[:, 1:]
    sums = np.matmul(stacked * weights[:, None, :], stacked.transpose(0, 2, 1))
    return {
        (one, other): sums[:, i, i + j]
        for i, one in enumerate(names)
        for j, other in enumerate(names[i:])
    }


def _side_by_side(values: list[Array]) -> Array:
    """Parameters, each a number or [batch, 1], as [members] or [batch, members]."""
    columns = np.broadcast_arrays(*values)
    return np.stack(columns) if columns[0].ndim == 0 else np.concatenate(columns, axis=-1)


def _logs(shares: list[Array]) -> tuple[Array, Array]:
    """The logs of shares [domains, rows], zero where there is none, and whether there is some."""
    stacked = np.stack(np.broadcast_arrays(*map(np.atleast_1d, shares)))
    some = stacked > 0
    return np.log(np.where(some, stacked, 1.0)), some


def _sum(weights: Array) -> Array:
    return np.asarray(np.sum(weights, axis=-1))


class Kept:
    """The last few answers of a function of parameters and columns: a solver asks for the loss, its
    gradient and its second derivatives at one point in turn."""

    MOST = 4

    def __init__(self) -> None:
        # The columns stand in the answer so that no other array gets their identity.
        self.last: dict[Any, tuple[list[Array], Any]] = {}

    def of(self, values: list[Array], columns: list[Array], make: Callable[[], Any]) -> Any:
        key = (
            *(np.asarray(value).tobytes() for value in values),
            *(np.shape(value) for value in values),
            *map(id, columns),
        )
        if key not in self.last:
            if len(self.last) == self.MOST:
                del self.last[next(iter(self.last))]
            self.last[key] = columns, make()
        return self.last[key][1]


class _Worth:
    """1 / (sum_i C_i share_i**gamma_i), with its derivatives."""

    def __init__(self, columns: tuple[str, ...]) -> None:
        self.columns = columns
        self.scales, self.powers = _members("C", columns), _members("gamma", columns)
        self.names = [name for name, _ in (*self.scales, *self.powers)]
        self.kept, self.kept_logs = Kept(), Kept()

    def worth(self, at: Mapping[str, Array]) -> tuple[Array, Array, Array, Array]:
        """One over the worth, each domain's part of it and that without its scale
        [..., domains, rows], and the logs of the shares."""
        shares = [at[column] for column in self.columns]
        values = [at[name] for name in self.names]

        def make() -> tuple[Array, Array, Array, Array]:
            logs, some = self.kept_logs.of([], shares, lambda: _logs(shares))
            scales, powers = (
                _side_by_side([at[name] for name, _ in pairs])[..., None]
                for pairs in (self.scales, self.powers)
            )
            raised = np.exp(powers * logs) * some
            part = scales * raised
            return 1 / np.sum(part, axis=-2), part, raised, logs

        found: tuple[Array, Array, Array, Array] = self.kept.of(values, shares, make)
        return found

    def parts(self, at: Mapping[str, Array]) -> tuple[Array, dict[str, Array], dict[str, Array]]:
        """One over the worth, the worth's first derivatives, and the logs of the shares."""
        inverse, part, raised, logs = self.worth(at)
        by_power = part * logs
        first, log_of = {}, {}
        for i, ((scale, _), (power, _)) in enumerate(zip(self.scales, self.powers, strict=True)):
            first[scale], first[power] = raised[..., i, :], by_power[..., i, :]
            log_of[power] = logs[i]
        return inverse, first, log_of

    def value(self, at: Mapping[str, Array]) -> Array:
        return self.worth(at)[0]

    def gradient(self, at: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        inverse, first, _ = self.parts(at)
        return inverse, {name: -(inverse**2) * first[name] for name in self.names}

    def bend(self, weights: Array, at: Mapping[str, Array]) -> Pairs:
        inverse, first, logs = self.parts(at)
        pairs = _outer(2 * inverse**3 * weights, first)
        square = inverse**2 * weights
        for (scale, _), (power, _) in zip(self.scales, self.powers, strict=True):
            pair = (scale, power) if (scale, power) in pairs else (power, scale)
            pairs[pair] = pairs[pair] - _sum(square * first[scale] * logs[power])
            pairs[power, power] = pairs[power, power] - _sum(square * first[power] * logs[power])
        return pairs


class _Mean:
    """The log of the mean amplitude, its first and second derivative by q, and the domains' sums;
    each only when it is asked for, as a solver tries more points than it needs derivatives at."""

    def __init__(self, q: Array, logs: Array, shares: Array) -> None:
        self.q, self.shares = q, shares
        self.middle = np.mean(logs, axis=-1, keepdims=logs.ndim > 1)
        self.away = logs - self.middle
        self.sums = np.exp(q * self.away)
        self.total = self.sums @ shares
        # Near the geometric mean by the first terms of the series, where all of log cancels.
        self.near = np.abs(np.real(q)) < SERIES
        self.safe = np.where(self.near, SERIES, q)
        self.series = bool(np.any(self.near))

    @cached_property
    def _log_total(self) -> Array:
        return np.asarray(np.log(self.total))

    @cached_property
    def _moments(self) -> tuple[Array, Array]:
        mean = (self.sums * self.away) @ self.shares / self.total
        return mean, (self.sums * self.away**2) @ self.shares / self.total - mean**2

    @cached_property
    def _terms(self) -> tuple[Array, Array, Array]:
        first, second, third = (self.away**power @ self.shares for power in (1, 2, 3))
        return first, second - first**2, third - 3 * first * second + 2 * first**3

    @cached_property
    def log(self) -> Array:
        value = self._log_total / self.safe
        if self.series:
            first, square, cube = self._terms
            value = np.where(self.near, first + square * self.q / 2 + cube * self.q**2 / 6, value)
        return np.asarray(self.middle + value)

    @cached_property
    def slope(self) -> Array:
        mean, _ = self._moments
        slope = mean / self.safe - self._log_total / self.safe**2
        if self.series:
            _, square, cube = self._terms
            slope = np.where(self.near, square / 2 + cube * self.q / 3, slope)
        return np.asarray(slope)

    @cached_property
    def bend(self) -> Array:
        mean, spread = self._moments
        safe = self.safe
        bend = spread / safe - 2 * mean / safe**2 + 2 * self._log_total / safe**3
        return np.where(self.near, self._terms[2] / 3, bend) if self.series else np.asarray(bend)


class _Mixed:
    """(sum_i share_i A_i**q)**(1 / q) / column**exponent, with its derivatives.

    A_i is the amplitude of a model of domain i alone. The paper has gamma = 1 / q and
    C_i = A_i**q, which make a bent valley that no fit ends in: where runs ask for the geometric
    mean, q = 0, its gamma is infinite.
    """

    def __init__(self, letter: str, column: str, exponent: str, columns: tuple[str, ...]) -> None:
        self.members = _members(letter, columns)
        self.power, self.column, self.exponent = f"q_{letter}", column, exponent
        self.kept, self.kept_shares = Kept(), Kept()

    def mean(self, at: Mapping[str, Array]) -> _Mean:
        values = [at[self.power], *(at[name] for name, _ in self.members)]
        shares = [at[column] for _, column in self.members]

        def make() -> _Mean:
            columns = self.kept_shares.of([], shares, lambda: np.stack(shares))
            logs = _side_by_side([np.log(at[name]) for name, _ in self.members])
            return _Mean(at[self.power], logs, columns)

        found: _Mean = self.kept.of(values, shares, make)
        return found

    def parts(self, mean: _Mean, at: Mapping[str, Array]) -> dict[str, Array]:
        """What each domain has of the sum."""
        return {
            name: mean.sums[..., i : i + 1] * at[column] / mean.total
            for i, (name, column) in enumerate(self.members)
        }

    def value(self, at: Mapping[str, Array]) -> Array:
        value: Array = np.exp(self.mean(at).log) * at[self.column] ** -at[self.exponent]
        return value

    def slopes(
        self, at: Mapping[str, Array], shares: dict[str, Array], slope: Array
    ) -> dict[str, Array]:
        """The derivatives of the log of the value."""
        first = {name: share / at[name] for name, share in shares.items()}
        return first | {self.power: slope, self.exponent: -np.log(at[self.column])}

    def gradient(self, at: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        mean = self.mean(at)
        value = np.exp(mean.log) * at[self.column] ** -at[self.exponent]
        slopes = self.slopes(at, self.parts(mean, at), mean.slope)
        return value, {name: value * item for name, item in slopes.items()}

    def bend(self, weights: Array, at: Mapping[str, Array]) -> Pairs:
        found, q = self.mean(at), at[self.power]
        weights = weights * np.exp(found.log) * at[self.column] ** -at[self.exponent]
        shares = self.parts(found, at)
        first = self.slopes(at, shares, found.slope)
        pairs = _outer(weights, first)
        for pair, item in _outer(weights * q, {name: first[name] for name in shares}).items():
            pairs[pair] = pairs[pair] - item
        logs = {name: np.log(at[name]) for name in shares}
        mean: Any = sum(shares[name] * logs[name] for name in shares)
        for name in shares:
            own = _sum(weights * first[name] / at[name] * (q - 1))
            pairs[name, name] = pairs[name, name] + own
            pair = (name, self.power)
            pairs[pair] = pairs[pair] + _sum(weights * first[name] * (logs[name] - mean))
        twice = (self.power, self.power)
        pairs[twice] = pairs[twice] + _sum(weights * found.bend)
        return pairs


class _Power:
    """amplitude / column**exponent, with its derivatives."""

    def __init__(self, amplitude: str, column: str, exponent: str) -> None:
        self.amplitude, self.column, self.exponent = amplitude, column, exponent

    def value(self, at: Mapping[str, Array]) -> Array:
        value: Array = at[self.amplitude] * at[self.column] ** -at[self.exponent]
        return value

    def gradient(self, at: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        unit = at[self.column] ** -at[self.exponent]
        value = at[self.amplitude] * unit
        return value, {self.amplitude: unit, self.exponent: -value * np.log(at[self.column])}

    def bend(self, weights: Array, at: Mapping[str, Array]) -> Pairs:
        log, unit = np.log(at[self.column]), at[self.column] ** -at[self.exponent]
        return {
            (self.amplitude, self.exponent): -_sum(weights * unit * log),
            (self.exponent, self.exponent): _sum(weights * at[self.amplitude] * unit * log**2),
        }


def _summed(*terms: _Worth | _Mixed | _Power) -> dict[str, Any]:
    """A law that is a floor E and these terms: its prediction and derivatives, which 40 parameters
    by the complex step would take 100 times as long for."""

    def predict(**at: Array) -> Array:
        loss: Any = at["E"] + sum(term.value(at) for term in terms)
        return np.asarray(loss)

    def gradient(**at: Array) -> tuple[Array, dict[str, Array]]:
        loss: Any = at["E"]
        derivatives: dict[str, Array] = {}
        for term in terms:
            value, first = term.gradient(at)
            loss, derivatives = loss + value, derivatives | first
        return loss, {"E": np.ones_like(loss), **derivatives}

    def bend(weights: Array, **at: Array) -> Pairs:
        return {pair: item for term in terms for pair, item in term.bend(weights, at).items()}

    return {"predict": predict, "gradient": gradient, "bend": bend}


def _mix_exp(columns: tuple[str, ...]) -> Law:
    # The shares sum to one, so that the first domain's rate would only rescale k.
    rates = _members("t", columns[1:])

    def predict(c: Array, k: Array, **at: Array) -> Array:
        rate: Any = sum((at[name] * at[column] for name, column in rates), start=0.0)
        loss: Array = c + k * np.exp(rate)
        return loss

    def gradient(c: Array, k: Array, **at: Array) -> tuple[Array, dict[str, Array]]:
        height = predict(0.0 * c, np.ones_like(k), **at)
        loss = c + k * height
        first = {name: k * height * at[column] for name, column in rates}
        return loss, {"c": np.ones_like(loss), "k": height, **first}

    def bend(weights: Array, c: Array, k: Array, **at: Array) -> Pairs:
        weights = weights * predict(0.0 * c, np.ones_like(k), **at)
        shares = {name: np.atleast_2d(at[column]) for name, column in rates}
        pairs = _outer(k * weights, shares)
        return pairs | {("k", name): _sum(weights * share) for name, share in shares.items()}

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
        gradient=gradient,
        bend=bend,
        source=YE,
        over=OVER,
        expand=_mix_exp,
        caveats=(*SIMPLEX, "Fit it for each validation domain: `y=loss_books`, and so on."),
        paper=PaperFit("huber:0.01", "L-BFGS from a grid of starts"),
        family=FAMILY,
        evidence=repository("yegcjs/mixinglaws, mix_5_domains.ipynb"),
    )


def _mix_shukor(columns: tuple[str, ...]) -> Law:
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
        **_summed(
            _Worth(columns), _Power("A", "params", "alpha"), _Power("B", "tokens", "beta")
        ),
        source=SHUKOR,
        paper=PaperFit("huber", "basin hopping over L-BFGS from random starts"),
        over=OVER,
        expand=_mix_shukor,
        caveats=SIMPLEX,
        choices=Choices(shares=True),
        family=FAMILY,
        evidence=Evidence("paper", "eq. 2.4"),
    )  # fmt: skip


def _mix_shukor_joint(columns: tuple[str, ...]) -> Law:
    scales, powers = _members("C", columns), _members("gamma", columns)

    return Law(
        id="mix_shukor_joint",
        title="Optimal mixtures, joint: the shares move the amplitudes too",
        formula="E + 1 / (sum_i C_i share_i**gamma_i)"
        " + (sum_i share_i A_i**q_A)**(1/q_A) / params**alpha"
        " + (sum_i share_i B_i**q_B)**(1/q_B) / tokens**beta",
        variables=("params", "tokens", *columns),
        parameters=(
            floor(), exponent("alpha", "params"), exponent("beta", "tokens"),
            *(Parameter(name, f"worth of {column}", 0.5, 20.0) for name, column in scales),
            *(Parameter(name, f"exponent of {column}", 0.1, 2.0) for name, column in powers),
            *(Parameter(name, f"amplitude of params for {column} alone", 0.02, 2.0,
                        centre={"params": "alpha"}, of_target=True)
              for name, column in _members("A", columns)),
            *(Parameter(name, f"amplitude of tokens for {column} alone", 0.02, 2.0,
                        centre={"tokens": "beta"}, of_target=True)
              for name, column in _members("B", columns)),
            Parameter("q_A", "power that params amplitudes are averaged by", 0.2, 2.0, "identity"),
            Parameter("q_B", "power that tokens amplitudes are averaged by", 0.2, 2.0, "identity"),
        ),
        **_summed(
            _Worth(columns), _Mixed("A", "params", "alpha", columns),
            _Mixed("B", "tokens", "beta", columns),
        ),
        source=SHUKOR,
        paper=PaperFit("huber", "basin hopping over L-BFGS from random starts"),
        over=OVER,
        expand=_mix_shukor_joint,
        caveats=(
            *SIMPLEX,
            "The paper has gamma_A = 1 / q_A and C_i = A_i**q_A, and so for B: here A_i and B_i are"
            " amplitudes of a model of that domain alone.",
        ),
        choices=Choices(shares=True),
        family=FAMILY,
        evidence=Evidence("paper", "eq. 2.5"),
    )  # fmt: skip


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
        evidence=Evidence("unconfirmed", "the two stages are in the abstract", "November 2026"),
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
        evidence=secondary("of two that agree"),
    ),
    _flp_m(("domain_flops.code", "domain_flops.general")),
)  # fmt: skip
