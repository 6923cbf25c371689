"""What can be fitted by name: every law, and what is more than the fit of one law."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling_cli.errors import FitError
from scaling_cli.laws import LAWS, Law, get_law
from scaling_cli.laws.formula import MARK
from scaling_cli.laws.hyperparameters import CALLED
from scaling_cli.laws.hyperparameters import FAMILY as RULES

if TYPE_CHECKING:
    from scaling_cli.fitting.isoflop import Method
    from scaling_cli.fitting.problem import FitOptions
    from scaling_cli.fitting.result import Fit
    from scaling_cli.table import Table

Fitter = Callable[["Table", "FitOptions", Mapping[str, Any]], "Fit"]
AUTO = "auto"


@dataclass(frozen=True)
class Procedure:
    """A way of fitting `law` that goes by a name of its own.

    `every_point` says that it reads each logged point of a run, not the final one alone; `scored`
    that what it predicts can be compared with a run; `about` tells what it does to the runs; `kind`
    which options it takes (see `accepts`); `reads_curves` whether it reads the logged points of
    such runs beside their final ones.
    """

    id: str
    title: str
    law: Law
    method: Fitter
    every_point: bool = False
    scored: bool = True
    about: Callable[[], tuple[str, ...]] = tuple
    kind: str = "law"
    reads_curves: Callable[[Table, FitOptions], bool] = lambda rows, options: False

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


# A list of the laws needs none of the arithmetic, which is read where a fit is asked for.
def _auto(rows: Table, options: FitOptions, group: Mapping[str, Any]) -> Fit:
    from scaling_cli.fitting import auto

    return auto.fit(rows, options, group)


def _auto_reads_curves(rows: Table, options: FitOptions) -> bool:
    from scaling_cli.fitting import auto

    return auto.reads_curves(rows, options)


def _about_auto() -> tuple[str, ...]:
    from scaling_cli.fitting import auto

    return auto.ABOUT


def _isoflop(rows: Table, options: FitOptions, group: Mapping[str, Any], method: Method) -> Fit:
    from scaling_cli.fitting import isoflop

    return isoflop.fit_isoflop(rows, options, group, method)


def _envelope(rows: Table, options: FitOptions, group: Mapping[str, Any]) -> Fit:
    from scaling_cli.fitting import isoflop

    return isoflop.fit_envelope(rows, options, group)


def _of_law(law: Law, rows: Table, options: FitOptions, group: Mapping[str, Any]) -> Fit:
    from scaling_cli.fitting import engine

    return engine.fit(law, rows, options, group)


def _best(law: Law, rows: Table, options: FitOptions, group: Mapping[str, Any]) -> Fit:
    from scaling_cli.fitting import hparams

    return hparams.fit(law, rows, options, group)


PROCEDURES: dict[str, Procedure] = {
    item.id: item
    for item in (
        Procedure(
            AUTO,
            "Forecast of larger runs: a law with a prior that widens where the runs disagree",
            get_law("skaling"),
            _auto,
            about=_about_auto,
            kind="auto",
            reads_curves=_auto_reads_curves,
        ),
        *(
            Procedure(law.id, law.title, law, fit, every_point, scored=False, kind="optima")
            for law, fit, every_point in (
                (get_law("isoflop"), partial(_isoflop, method="parabola"), False),
                (get_law("isoflop_akima"), partial(_isoflop, method="akima"), False),
                (get_law("envelope"), _envelope, True),
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
        from scaling_cli.fitting import chain

        chain.check(link)
        linked = partial(chain.fit, first.fit, link)
        reads = chain.reads_curves
        return Procedure(name, link.title, first.law, linked, kind="link", reads_curves=reads)
    law = get_law(name)
    if law.family == RULES and law.target in CALLED:
        return Procedure(law.id, law.title, law, partial(_best, law), scored=False, kind="best")
    return Procedure(law.id, law.title, law, partial(_of_law, law))


def fitter(name: str) -> Fitter:
    return procedure(name).fit


def comparable(observations: Table) -> list[str]:
    """The procedure for forecasts and the laws of loss in params and tokens, for runs with both."""
    known = {name for name, values in observations.columns.items() if np.isfinite(values).any()}
    reads = set(PROCEDURES[AUTO].law.variables)
    laws = [law.id for law in LAWS.values() if law.target == "loss" and set(law.variables) == reads]
    return [AUTO, *laws] if reads <= known else []
