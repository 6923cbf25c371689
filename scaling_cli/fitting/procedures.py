"""What can be fitted by name: every law, and what is more than the fit of one law."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from scaling_cli.errors import FitError
from scaling_cli.fitting import auto, chain, engine, hparams, isoflop
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.result import Fit
from scaling_cli.laws import LAWS, Law, get_law
from scaling_cli.laws.formula import MARK
from scaling_cli.laws.hyperparameters import FAMILY as RULES
from scaling_cli.table import Table

Fitter = Callable[[Table, FitOptions, Mapping[str, Any]], Fit]


@dataclass(frozen=True)
class Procedure:
    """A way of fitting `law` that goes by a name of its own.

    `every_point` says that it reads each logged point of a run, not the final one alone; `scored`
    that what it predicts can be compared with a run; `about` what it does to the runs; `kind` which
    options it takes (see `accepts`); `reads_curves` that it reads the points of runs beside their
    final ones.
    """

    id: str
    title: str
    law: Law
    method: Fitter
    every_point: bool = False
    scored: bool = True
    about: tuple[str, ...] = ()
    kind: str = "law"
    reads_curves: bool = False

    def fit(self, rows: Table, options: FitOptions, group: Mapping[str, Any]) -> Fit:
        """The fit of one group of runs; FitError where they cannot carry one, whatever arithmetic
        finds it out."""
        try:
            with np.errstate(all="ignore"):
                return self.method(rows, options, group)
        except (ArithmeticError, np.linalg.LinAlgError) as error:
            raise FitError(
                f"{self.id} cannot be computed on these {len(rows)} runs"
                f" ({type(error).__name__}: {error})",
                "Look for values that are far from the others, or in another unit.",
            ) from None

    def as_law(self) -> Law:
        """The law as this procedure offers it: under its own name, where it has one."""
        if self.id == self.law.id:
            return self.law
        bare = replace(self.law, published=(), unverified=(), aliases=(), paper=None)
        return replace(bare, id=self.id, title=self.title, objective="map")


PROCEDURES: dict[str, Procedure] = {
    item.id: item
    for item in (
        Procedure(
            auto.RECIPE,
            "Forecast of larger runs: a law with a prior that widens where the runs disagree",
            auto.LAW,
            auto.fit,
            about=auto.ABOUT,
            kind="auto",
        ),
        *(
            Procedure(law.id, law.title, law, fit, every_point, scored=False, kind="optima")
            for law, fit, every_point in (
                (get_law("isoflop"), isoflop.fit_isoflop, False),
                (get_law("isoflop_akima"), partial(isoflop.fit_isoflop, method="akima"), False),
                (get_law("envelope"), isoflop.fit_envelope, True),
            )
        ),
    )
}


def procedure(name: str) -> Procedure:
    """The procedure of this name, or the plain fit of the law, or a law and its link as `law+link`;
    InputError where there is none of them."""
    if name in PROCEDURES:
        return PROCEDURES[name]
    if "+" in name and not name.startswith(MARK):
        before, _, after = name.rpartition("+")
        first, link = procedure(before), get_law(after)
        chain.check(link)
        linked = partial(chain.fit, first.fit, link)
        return Procedure(name, link.title, first.law, linked, kind="link", reads_curves=True)
    law = get_law(name)
    if law.family == RULES and law.target in hparams.CALLED:
        best = partial(hparams.fit, law)
        return Procedure(law.id, law.title, law, best, scored=False, kind="best")
    return Procedure(law.id, law.title, law, partial(engine.fit, law))


def fitter(name: str) -> Fitter:
    return procedure(name).fit


def comparable(observations: Table) -> list[str]:
    """The procedure for forecasts and the laws of loss in params and tokens, for runs with both."""
    known = {name for name, values in observations.columns.items() if np.isfinite(values).any()}
    reads = set(auto.LAW.variables)
    laws = [law.id for law in LAWS.values() if law.target == "loss" and set(law.variables) == reads]
    return [auto.RECIPE, *laws] if reads <= known else []
