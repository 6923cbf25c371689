"""What is known of a loss at a target, and what further runs would tell of it.

A fit's resamples, or laws drawn about a paper's, are laws that may hold. Over them the ln losses of
any two points vary together, so that a run at one narrows the other: as of a normal process with
that covariance. Beyond the runs every law bends; that doubt grows with the distance from the
runs, as in the intervals of a prediction, and a run further out takes a part of it away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np

from scaling_cli.compute import Accounting
from scaling_cli.fitting.result import Fit, distance_outside, with_derived
from scaling_cli.fitting.student import over_normal
from scaling_cli.laws import Law
from scaling_cli.records import Floats

Domain = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Runs:
    """Sizes of runs, each [runs]."""

    params: Floats
    tokens: Floats

    def __len__(self) -> int:
        return len(self.params)

    @property
    def columns(self) -> dict[str, Floats]:
        return {"params": self.params, "tokens": self.tokens}

    def take(self, rows: Sequence[int] | Floats) -> Runs:
        chosen = np.asarray(rows, dtype=np.intp)
        return Runs(self.params[chosen], self.tokens[chosen])

    def joined(self, other: Runs) -> Runs:
        return Runs(np.append(self.params, other.params), np.append(self.tokens, other.tokens))

    @classmethod
    def one(cls, params: float, tokens: float) -> Runs:
        return cls(np.array([params]), np.array([tokens]))


@dataclass(frozen=True)
class Belief:
    """Laws that may hold, each with draws of its parameters [draws, 1].

    `noise` is the deviation of a run's ln loss, `drift` what is added to it per unit of distance
    from the runs in `domain`, and `stretch` what a half of an interval is multiplied by, from the
    record of the same way of fitting. `freedom` are the degrees that the runs leave to say what the
    noise is; every further run adds one.
    """

    members: tuple[tuple[Law, Mapping[str, Floats]], ...]
    noise: float
    drift: float
    domain: Domain
    compute: Accounting
    stretch: float = 1.0
    level: float = 0.90
    freedom: float = np.inf

    @classmethod
    def of(cls, fits: Sequence[Fit]) -> Belief:
        """What one fit knows, or several of the same runs by other laws."""
        first = fits[0]
        return cls(
            tuple((fit.law, fit.draw_values()) for fit in fits),
            float(np.median([fit.noise for fit in fits])),
            max(fit.drift for fit in fits),
            first.domain,
            first.compute,
            max(fit.record.factor if fit.record else 1.0 for fit in fits),
            first.level,
            first.record.freedom if first.record else np.inf,
        )

    def log_loss(self, runs: Runs) -> Floats:
        """[draws, runs]; draws that give no number are left out."""
        with np.errstate(all="ignore"):
            drawn = [np.log(law.predict(**values, **runs.columns)) for law, values in self.members]
        logs = np.concatenate([np.atleast_2d(item) for item in drawn])
        kept: Floats = logs[np.isfinite(logs).all(axis=1)]
        return kept

    def distance(self, runs: Runs, seen: Runs | None = None) -> Floats:
        """How far each of the runs lies outside those of the domain and those `seen` besides."""
        domain = self.domain if seen is None else extended(self.domain, seen, self.compute)
        return distance_outside(domain, runs.columns, self.compute)

    def half_width(self, variance: float, more: int = 0) -> float:
        """Of the interval of one new run, relative, for the variance of its ln loss, after `more`
        runs."""
        from statistics import NormalDist

        points = NormalDist().inv_cdf(0.5 + 0.5 * self.level)
        few = over_normal(self.level, self.freedom + more)
        return float(np.expm1(self.stretch * few * points * np.sqrt(variance)))


def extended(domain: Domain, runs: Runs, compute: Accounting) -> dict[str, tuple[float, float]]:
    """The domain with further runs in it."""
    columns = runs.columns | {
        "flops": compute.flops(runs.params, runs.tokens),
        "tokens_per_param": runs.tokens / runs.params,
    }
    wider = dict(domain)
    for name, values in columns.items():
        low, high = wider.get(name, (np.inf, -np.inf))
        wider[name] = min(low, float(np.min(values))), max(high, float(np.max(values)))
    return wider


@dataclass
class Outlook:
    """The doubt about one target, as runs among `candidates` are added one by one."""

    belief: Belief
    target: Runs
    candidates: Runs

    def __post_init__(self) -> None:
        logs = self.belief.log_loss(self.candidates.joined(self.target))
        self.covariance = np.atleast_2d(np.cov(logs, rowvar=False))
        self.chosen: list[int] = []

    def after(self, rows: Sequence[int]) -> Outlook:
        """The outlook with these candidates run, too; this one stays as it is."""
        outlook = copy(self)
        outlook.chosen = list(self.chosen)
        for row in rows:
            outlook.add(row)
        return outlook

    @property
    def parts(self) -> dict[str, float]:
        """The variance of a new run's ln loss at the target by what it comes from."""
        seen = self.candidates.take(self.chosen) if self.chosen else None
        away = float(self.belief.distance(self.target, seen)[0])
        return {
            "law": max(0.0, float(self.covariance[-1, -1])),
            "distance": (self.belief.drift * away) ** 2,
            "noise": self.belief.noise**2,
        }

    @property
    def variance(self) -> float:
        return sum(self.parts.values())

    def gains(self) -> Floats:
        """By how much the variance at the target falls with each candidate [candidates]."""
        within, target = self.covariance[:-1, :-1], self.covariance[-1, :-1]
        law = target**2 / (np.diag(within) + self.belief.noise**2)
        return law + self._nearer()

    def _nearer(self) -> Floats:
        """The part of the gains that is the target's lying less far out."""
        now = self.parts["distance"]
        if not now:
            return np.zeros(len(self.candidates))
        seen = self.candidates.take(self.chosen) if self.chosen else None
        domain = self.belief.domain
        if seen is not None:
            domain = extended(domain, seen, self.belief.compute)
        squares = np.zeros(len(self.candidates))
        pair = (self.target, self.candidates)
        targets, runs = (with_derived(item.columns, self.belief.compute) for item in pair)
        for name, (low, high) in domain.items():
            if name not in targets or low <= 0:
                continue
            aim = np.log(targets[name])
            lowest = np.minimum(np.log(low), np.log(runs[name]))
            below = 0.0 if name == "flops" else np.maximum(0.0, lowest - aim)
            highest = np.maximum(np.log(high), np.log(runs[name]))
            squares += (below + np.maximum(0.0, aim - highest)) ** 2
        nearer: Floats = now - self.belief.drift**2 * squares
        return nearer

    def add(self, row: int) -> None:
        """Count a candidate as run."""
        column = self.covariance[:, row]
        self.covariance = self.covariance - np.outer(column, column) / (
            column[row] + self.belief.noise**2
        )
        self.chosen.append(row)
