"""Mixtures that share a model's capacity: the loss on one of its domains (`mix_capacity.web`)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scaling_cli.errors import FitError
from scaling_cli.laws.base import Array, Law, PaperFit, Parameter, Source
from scaling_cli.laws.mixtures import EXAMPLE, FAMILY, OVER, SIMPLEX, Kept
from scaling_cli.laws.parts import exponent, floor, repository

DAI = Source("Dai and Zheng", 2026, "2606.08167", "eq. 3")
ID = "mix_capacity"
LEAST_SHARE = 1e-4  # the authors' floor of a share, where its noise term would have no end
CLOSE = 1e-12  # of the log of the multiplier
MOST_STEPS = 100  # of Newton's method; 5 to 15 are taken


def _stacked(values: list[Array]) -> Array:
    """Numbers, or [batch, 1] each, as [domains] or [batch, 1, domains]."""
    return np.stack(np.broadcast_arrays(*values), axis=-1)


class Allocation:
    """How a model of size N shares its capacity: x minimises sum_i share_i c_i x_i**-b_i under
    sum_i x_i = N + (K - 1) H and x_i >= H [..., rows, domains]."""

    def __init__(self, shares: Array, c: Array, b: Array, H: Array, params: Array) -> None:
        self.power = 1 / (b + 1)
        log_pull = np.log(np.maximum(shares, LEAST_SHARE)) + np.log(c) + np.log(b)
        domains = shares.shape[-1]
        floor = np.log(H)
        log_all = np.log(params + (domains - 1) * H)
        # Each domain alone fills the whole at a multiplier that is too small: from there Newton's
        # steps on a convex function go up to the root and never past it.
        log_multiplier = np.max(log_pull - log_all / self.power, axis=-1, keepdims=True)
        for _ in range(MOST_STEPS):
            log_x = (log_pull - log_multiplier) * self.power
            self.free = log_x > floor
            x = np.exp(np.maximum(log_x, floor) - log_all)
            slope = np.sum(np.where(self.free, self.power * x, 0.0), axis=-1, keepdims=True)
            over = np.sum(x, axis=-1, keepdims=True) - 1
            step = np.where(slope > 0, over / np.where(slope > 0, slope, 1.0), 0.0)
            log_multiplier = log_multiplier + step
            if np.all(step < CLOSE):
                break
        self.log_x = np.maximum(log_x, floor)
        # H at or above N leaves nothing to allocate: each has H.
        self.weight = np.where(self.free & (params > H), x, 0.0)
        self.free = self.weight > 0
        self.all = np.exp(log_all)
        self.spread = np.sum(self.power * self.weight, axis=-1, keepdims=True)

    def log_slopes(self, at: int, c: Array, b: Array, H: Array) -> tuple[Array, Array, Array]:
        """d ln x_at by ln c_j and by b_j [..., rows, domains], and by H [..., rows]."""
        free, own = self.free[..., at : at + 1], self.power[..., at : at + 1]
        spread = np.where(self.spread > 0, self.spread, 1.0)
        one = np.zeros(self.log_x.shape[-1])
        one[at] = 1.0
        by_pull = np.where(free, self.power * (one - own * self.weight / spread), 0.0)
        by_floor = np.sum(self.free, axis=-1) - 1
        by_H = np.where(
            free[..., 0],
            own[..., 0] * by_floor / (spread[..., 0] * self.all[..., 0]),
            1 / H[..., 0],
        )
        return by_pull, by_pull * (1 / b - self.log_x), by_H


Parts = tuple[Allocation, Array, Array, Array, Array]


def of_domain(name: str) -> Law:
    """The law of the loss on this domain, over the example's."""
    columns = tuple(sorted({*EXAMPLE[: len(EXAMPLE) - 1], OVER + name}))
    return _law(name, columns)


def _law(name: str, columns: tuple[str, ...]) -> Law:
    own = OVER + name
    if own not in columns:
        raise FitError(
            f"there is no column {own}",
            f"The runs have {', '.join(columns) or 'no shares'}: name one of them, as in"
            f" `law={ID}.{(columns or (own,))[0].removeprefix(OVER)}`.",
        )
    domains = [column.removeprefix(OVER) for column in columns]
    place = domains.index(name)
    scales, powers = [f"c.{item}" for item in domains], [f"b.{item}" for item in domains]

    kept = Kept()

    def parts(at: Mapping[str, Array]) -> Parts:
        values = [at[item] for item in ("H", *scales, *powers)]
        read = [at[item] for item in ("params", "tokens", *columns)]
        found: Parts = kept.of(values, read, lambda: make(at))
        return found

    def make(at: Mapping[str, Array]) -> Parts:
        c, b = (_stacked([at[item] for item in names]) for names in (scales, powers))
        H = np.asarray(at["H"])[..., None]
        shares = np.stack(np.broadcast_arrays(*(at[column] for column in columns)), axis=-1)
        params = np.asarray(at["params"])[..., None]
        allocation = Allocation(shares, c, b, H, params)
        log_own = allocation.log_x[..., place]
        fitted = c[..., place] * np.exp(-b[..., place] * log_own)
        seen = at["tokens"] * np.maximum(at[own], LEAST_SHARE)
        return allocation, fitted, seen, c, b

    def predict(**at: Array) -> Array:
        _, fitted, seen, _, _ = parts(at)
        loss: Array = fitted + at["A"] * seen ** -at["a"] + at["E"]
        return loss

    def gradient(**at: Array) -> tuple[Array, dict[str, Array]]:
        allocation, fitted, seen, c, b = parts(at)
        unit = seen ** -at["a"]
        loss = fitted + at["A"] * unit + at["E"]
        H = np.asarray(at["H"])[..., None]
        by_pull, by_power, by_H = allocation.log_slopes(place, c, b, H)
        fall = -b[..., place] * fitted
        found = {
            "E": np.ones_like(loss),
            "A": unit * np.ones_like(loss),
            "a": -at["A"] * unit * np.log(seen),
            "H": fall * by_H,
        }
        for i, (scale, power) in enumerate(zip(scales, powers, strict=True)):
            found[scale] = fall * by_pull[..., i] / c[..., i]
            found[power] = fall * by_power[..., i]
        found[scales[place]] = found[scales[place]] + fitted / c[..., place]
        found[powers[place]] = found[powers[place]] - fitted * allocation.log_x[..., place]
        return loss, found

    return Law(
        id=f"{ID}.{name}",
        title=f"Capacity that domains share: the loss on one of them, here {name}",
        formula=f"c_{name} x_{name}**-b_{name} + A / (tokens share_{name})**a + E,"
        " x minimises sum_i share_i c_i x_i**-b_i, sum_i x_i = params + (K - 1) H, x_i >= H",
        variables=("params", "tokens", *columns),
        parameters=(
            floor(),
            Parameter("A", "amplitude of the domain's own tokens", 0.02, 2.0, of_target=True,
                      linear=True, centre={"tokens": "a"}),
            exponent("a", "the domain's own tokens"),
            Parameter("H", "capacity that no domain is without", 1e-3, 0.1,
                      centre={"params": 1.0}),
            *(Parameter(scale, f"loss of {item} at one of capacity", 0.05, 1.0,
                        centre={"params": power}, of_target=True)
              for item, scale, power in zip(domains, scales, powers, strict=True)),
            # Without an end some run off to 1e15 where runs say nothing of them.
            *(Parameter(power, f"exponent of the capacity of {item}", 0.05, 0.8, "logit")
              for item, power in zip(domains, powers, strict=True)),
        ),
        predict=predict,
        gradient=gradient,
        source=DAI,
        over=OVER,
        expand=lambda names: _law(name, names),
        of_domain=of_domain,
        paper=PaperFit("squared", "basin hopping over L-BFGS-B, all domains at once"),
        caveats=(
            *SIMPLEX,
            "Name the domain that the loss is of after the dot: `law=mix_capacity.web` `y=...`.",
            "What another domain teaches of it has no place in the law. The authors leave out runs"
            " with less than a tenth of the domain: `where=` its share at least .1.",
            "The authors fit the losses of all K domains at once, 5 K + 1 parameters; on one of"
            " them c and b of the others are known by what they take from it alone.",
        ),
        family=FAMILY,
        evidence=repository("meiqwq/Explaining-Data-Mixing-Scaling-Laws, fitting_7domains.py"),
    )  # fmt: skip


LAWS = (of_domain(EXAMPLE[-1].removeprefix(OVER)),)
