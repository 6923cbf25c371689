"""Laws of a training curve: the loss at each step, from the learning rates up to it.

`scaling_cli.training` makes their columns from a run's schedule: `rate_sum`, S1, is the sum of
the learning rates up to the step; `annealing`, S2, how far the rate has fallen, with a memory; and
`rate_drops` holds every change of the rate as it is seen from each row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scaling_cli.laws.base import Array, Evidence, Law, Parameter, Published, Source
from scaling_cli.laws.parts import secondary

TISSUE = Source("Tissue et al.", 2024, "2408.11029", "eq. 1")
LI = Source("Li et al.", 2025, "2509.19189", "eq. 30")
LUO = Source("Luo et al.", 2025, "2503.12811", "eq. 2")


@dataclass(frozen=True)
class RateDrops:
    """The changes of the learning rate that each row has behind it, as one list of pairs.

    A pair is a row and a change: `drop` [pairs] is by how much the rate fell, `log_rate` the log of
    the rate after it, `log_sum` the log of the sum of rates from it up to the row and `log_before`
    that of the sum up to it. The pairs of row i start at `first[i]`; every row has one, if need be
    with a drop of zero.
    """

    drop: Array
    log_rate: Array
    log_sum: Array
    log_before: Array
    first: Array
    _last: dict[Any, tuple[Array, Array, Array]] = field(
        default_factory=dict, compare=False, repr=False
    )

    def payoff(self, C: Array, beta: Array, gamma: Array) -> tuple[Array, Array, Array]:
        """ln(1 + z), (1 + z)**-beta and z / (1 + z) of each pair, z = C rate**-gamma sum.

        The last one is kept: a solver asks for the loss, its gradient and its second derivatives
        at one point in turn.
        """
        key = tuple((np.shape(item), np.asarray(item).tobytes()) for item in (C, beta, gamma))
        known = self._last.get(key)
        if known is None:
            z = np.exp(np.log(C) - gamma * self.log_rate + self.log_sum)
            above = 1.0 + z
            log = np.log(above)  # log1p takes 2.6 times as long
            known = log, np.exp(-beta * log), z / above
            self._last.clear()
            self._last[key] = known
        return known

    def total(self, terms: Array) -> Array:
        """Sums over the pairs of each row: [..., pairs] -> [..., rows]."""
        sums: Array = np.add.reduceat(terms, self.first, axis=-1)
        return sums

    @classmethod
    def stacked(cls, parts: Sequence[RateDrops]) -> RateDrops:
        """Those of several tables, rows after rows."""
        before = np.cumsum([0, *(len(part.drop) for part in parts[:-1])])
        first = [part.first + count for part, count in zip(parts, before, strict=True)]
        return cls(
            np.concatenate([part.drop for part in parts]),
            np.concatenate([part.log_rate for part in parts]),
            np.concatenate([part.log_sum for part in parts]),
            np.concatenate([part.log_before for part in parts]),
            np.concatenate(first),
        )


_L0 = Parameter("L0", "irreducible loss of this run", 0.3, 0.99, of_target=True, linear=True)
_A = Parameter(
    "A", "amplitude of the rate sum", 0.05, 1.0, centre={"rate_sum": "alpha"}, of_target=True,
    linear=True,
)  # fmt: skip
_ALPHA = Parameter("alpha", "exponent of the rate sum", 0.1, 1.2)


def _anneal_gradient(
    L0: Array, A: Array, alpha: Array, C: Array, rate_sum: Array, annealing: Array
) -> tuple[Array, dict[str, Array]]:
    power = rate_sum**-alpha
    gradient = {
        "L0": np.ones_like(power),
        "A": power,
        "alpha": -A * power * np.log(rate_sum),
        "C": -annealing * np.ones_like(power),
    }
    return L0 + A * power - C * annealing, gradient


LR_ANNEAL = Law(
    id="lr_anneal",
    title="Training curve: a power of the rate sum less the annealing",
    formula="L0 + A / rate_sum**alpha - C * annealing",
    variables=("rate_sum", "annealing"),
    parameters=(
        _L0,
        _A,
        _ALPHA,
        Parameter("C", "loss gained per unit of annealing", 1e-3, 10.0, linear=True),
    ),
    predict=lambda L0, A, alpha, C, rate_sum, annealing: L0 + A * rate_sum**-alpha - C * annealing,
    gradient=_anneal_gradient,
    source=TISSUE,
    caveats=(
        "A and C belong to the unit and the peak of the learning rate that they were fitted on.",
        "The loss falls without end on a long flat tail after annealing; `mpl` levels out.",
    ),
    family="training curve",
)

LR_ANNEAL_N = Law(
    id="lr_anneal_n",
    title="Training curves of several model sizes",
    formula="L0 + A / rate_sum**alpha + B / params**beta - C * annealing / params**r",
    variables=("rate_sum", "annealing", "params"),
    parameters=(
        Parameter("L0", "irreducible loss", 0.3, 0.95, of_target=True, linear=True),
        _A,
        _ALPHA,
        Parameter(
            "B", "amplitude of params", 0.02, 1.0, centre={"params": "beta"}, of_target=True,
            linear=True,
        ),
        Parameter("beta", "exponent of params", 0.05, 1.0),
        Parameter(
            "C", "loss gained per unit of annealing at one parameter", 1e-3, 10.0,
            centre={"params": "r"}, linear=True,
        ),
        Parameter("r", "exponent of params in annealing", -0.5, 0.3, transform="identity"),
    ),
    predict=lambda L0, A, alpha, B, beta, C, r, rate_sum, annealing, params: (
        L0 + A * rate_sum**-alpha + B * params**-beta - C * annealing * params**-r
    ),
    source=TISSUE,
    caveats=("The peak learning rate should be the same function of size in all runs.",),
    family="training curve",
)  # fmt: skip


def _mpl(
    L0: Array, A: Array, alpha: Array, B: Array, C: Array, beta: Array, gamma: Array,
    rate_sum: Array, rate_drops: RateDrops,
) -> Array:  # fmt: skip
    _, left, _ = rate_drops.payoff(C, beta, gamma)
    loss: Array = L0 + A * rate_sum**-alpha
    loss -= B * rate_drops.total(rate_drops.drop * (1.0 - left))
    return loss


def _mpl_gradient(
    L0: Array, A: Array, alpha: Array, B: Array, C: Array, beta: Array, gamma: Array,
    rate_sum: Array, rate_drops: RateDrops,
) -> tuple[Array, dict[str, Array]]:  # fmt: skip
    log, left, share = rate_drops.payoff(C, beta, gamma)
    gained = rate_drops.total(rate_drops.drop * (1.0 - left))
    weight = rate_drops.drop * left
    by_sum = weight * share
    power = rate_sum**-alpha
    gradient = {
        "L0": np.ones_like(power),
        "A": power,
        "alpha": -A * power * np.log(rate_sum),
        "B": -gained,
        "C": -B * beta / C * rate_drops.total(by_sum),
        "beta": -B * rate_drops.total(weight * log),
        "gamma": B * beta * rate_drops.total(by_sum * rate_drops.log_rate),
    }
    return L0 + A * power - B * gained, gradient


def _mpl_hessian(
    L0: Array, A: Array, alpha: Array, B: Array, C: Array, beta: Array, gamma: Array,
    rate_sum: Array, rate_drops: RateDrops,
) -> dict[tuple[str, str], Array]:  # fmt: skip
    log, left, share = rate_drops.payoff(C, beta, gamma)
    total, rate = rate_drops.total, rate_drops.log_rate
    weight = rate_drops.drop * left
    by_sum = weight * share
    # Second derivative of (1 + z)**-beta by ln z, and the mixed one by beta and ln z.
    twice = by_sum * (1.0 - (1.0 + beta) * share)
    mixed = by_sum * (1.0 - beta * log)
    sums, sums_rate = total(by_sum), total(by_sum * rate)
    power, log_sum = rate_sum**-alpha, np.log(rate_sum)
    return {
        ("A", "alpha"): -power * log_sum,
        ("alpha", "alpha"): A * power * log_sum**2,
        ("B", "C"): -beta / C * sums,
        ("B", "beta"): -total(weight * log),
        ("B", "gamma"): beta * sums_rate,
        ("C", "C"): -B * beta / C**2 * (total(twice) - sums),
        ("C", "beta"): -B / C * total(mixed),
        ("C", "gamma"): B * beta / C * total(twice * rate),
        ("beta", "beta"): B * total(weight * log**2),
        ("beta", "gamma"): B * total(mixed * rate),
        ("gamma", "gamma"): -B * beta * total(twice * rate**2),
    }


def _fitted(size: str, *values: float) -> Published:
    names = ("L0", "A", "alpha", "B", "C", "beta", "gamma")
    return Published(
        f"luo2025_{size.lower()}",
        dict(zip(names, values, strict=True)),
        f"{size} parameters; cosine and constant to step 24000, and one drop to 9e-5",
        LUO,
        evidence=Evidence("repository", "thu-yao-01-luo/MultiPowerLaw"),
    )


MPL = Law(
    id="mpl",
    title="Training curve: multi-power law of the learning rate",
    formula="L0 + A / rate_sum**alpha - B * sum(drop * (1 - (1 + C * rate**-gamma * sum)**-beta))",
    variables=("rate_sum", "rate_drops"),
    parameters=(
        _L0,
        _A,
        _ALPHA,
        Parameter("B", "loss gained per unit by which the rate falls", 1.0, 1e3, linear=True),
        Parameter("C", "how fast a drop pays off", 0.1, 10.0),
        Parameter("beta", "exponent of the pay-off", 0.2, 1.5),
        Parameter("gamma", "exponent of the rate in the pay-off", 0.2, 1.0),
    ),
    predict=_mpl,
    gradient=_mpl_gradient,
    hessian=_mpl_hessian,
    source=LUO,
    published=(
        _fitted("25M", 3.04045406, 0.52468604, 0.50786857, 363.78751622, 2.06560812, 0.58279013,
                0.64142257),
        _fitted("100M", 2.6514477, 0.60115152, 0.45295811, 437.9464276, 2.13245612, 0.59785199,
                0.65523644),
        _fitted("400M", 2.37474466, 0.65421216, 0.42878731, 523.42464371, 2.02462735, 0.59350493,
                0.63472457),
    ),
    caveats=(
        "B, C and gamma move together on few schedules: trust predictions, not single values.",
        "A prior of 1 % holds C, beta and gamma: their intervals show the prior, not the runs.",
    ),
    family="training curve",
)  # fmt: skip


def _fsl(
    L0: Array, A: Array, alpha: Array, B: Array, D: Array, C: Array, beta: Array,
    rate_sum: Array, rate_drops: RateDrops,
) -> Array:  # fmt: skip
    _, left, _ = rate_drops.payoff(C, beta, 0.0 * C)
    fallen = np.maximum(rate_drops.drop, 0.0) * (1.0 - left)
    gained = B * rate_drops.total(fallen)
    early = rate_drops.total(fallen * np.exp(-alpha * rate_drops.log_before))
    loss: Array = L0 + A * rate_sum**-alpha - gained - D * early
    return loss


def _fsl_gradient(
    L0: Array, A: Array, alpha: Array, B: Array, D: Array, C: Array, beta: Array,
    rate_sum: Array, rate_drops: RateDrops,
) -> tuple[Array, dict[str, Array]]:  # fmt: skip
    log, left, share = rate_drops.payoff(C, beta, 0.0 * C)
    total, power = rate_drops.total, rate_sum**-alpha
    falls = np.maximum(rate_drops.drop, 0.0)
    early = falls * np.exp(-alpha * rate_drops.log_before)
    worth = B * falls + D * early
    gained, gained_early = total(falls * (1.0 - left)), total(early * (1.0 - left))
    gradient = {
        "L0": np.ones_like(power),
        "A": power,
        "alpha": D * total(early * (1.0 - left) * rate_drops.log_before)
        - A * power * np.log(rate_sum),
        "B": -gained,
        "D": -gained_early,
        "C": -beta / C * total(worth * left * share),
        "beta": -total(worth * left * log),
    }
    return L0 + A * power - B * gained - D * gained_early, gradient


FSL = Law(
    id="fsl",
    title="Training curve: functional scaling law of the learning rate",
    formula="L0 + A / rate_sum**alpha"
    " - sum(drop * (B + D / before**alpha) * (1 - (1 + C * sum)**-beta))",
    variables=("rate_sum", "rate_drops"),
    parameters=(
        _L0,
        _A,
        _ALPHA,
        Parameter("B", "loss gained per unit by which the rate falls", 1.0, 1e3, linear=True),
        Parameter("D", "what falls early in training gain beside it", 1.0, 1e3, linear=True),
        Parameter("C", "how fast a drop pays off", 1.0, 100.0),
        Parameter("beta", "exponent of the pay-off, 1 - 1 / capacity", 0.2, 0.9, "logit"),
    ),
    predict=_fsl,
    gradient=_fsl_gradient,
    source=LI,
    caveats=(
        "The paper writes c_2 (c_3 + 1 / before**s) for B + D / before**alpha; its term of the size"
        " is in L0, and what a constant rate leaves of noise too.",
        "Only falls of the rate count: a rise after the warmup is outside of it. The paper's theory"
        " has beta between 0 and 1, and so has this.",
    ),
    family="training curve",
    evidence=secondary("that quotes its appendix B.2, eq. 30, and checks a program by it"),
)

LAWS = (LR_ANNEAL, LR_ANNEAL_N, MPL, FSL)
