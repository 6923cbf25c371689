"""A law of the loss, and a link from the loss to a score, as one fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from scaling_cli.errors import InputError
from scaling_cli.fitting import accepts, checkpoints, engine
from scaling_cli.fitting.problem import FitOptions
from scaling_cli.fitting.result import Fit
from scaling_cli.laws import Law
from scaling_cli.table import Table


def check(link: Law) -> None:
    if len(link.variables) != 1:
        raise InputError(
            f"law {link.id} reads {', '.join(link.variables)} and is no link from one number to a"
            " score",
            "Use err_exp, ladder, flp or loss_to_loss.",
        )


def reads_curves(rows: Table, options: FitOptions) -> bool:
    """Whether a link is to rest on checkpoints."""
    return options.checkpoints


def fit(
    first: Callable[[Table, FitOptions, Mapping[str, Any]], Fit],
    link: Law,
    observations: Table,
    options: FitOptions,
    group: Mapping[str, Any],
) -> Fit:
    """Fit the law to the runs, and `link` from what the law predicts to `options.target`.

    The link is fitted to the observed values of both, so that its error and the law's are apart,
    and to those of every checkpoint where there are some (`options.checkpoints`);
    a prediction carries both, by draws. What is fixed, bounded or started belongs to the link
    where that has a parameter of the name.
    """
    accepts.check("link", f"a law and its link {link.id}", options)
    of_link, of_law = (_settings(options, link, linked) for linked in (True, False))
    law = first(observations, replace(of_law, target=None, objective=None), group)
    x = law.columns["target"] if "x" in link.variables else None
    then = _linked(link, observations, replace(of_link, x=x), group)
    return replace(law, then=then, notes=(*law.notes, *then.notes))


def _linked(link: Law, observations: Table, options: FitOptions, group: Mapping[str, Any]) -> Fit:
    """The link by checkpoints, else by final points."""
    (variable,) = link.variables
    column = options.x or variable
    rows = None
    if options.checkpoints and options.weights is None and not link.trials:
        rows = checkpoints.of_link(observations, column, options.target or link.target)
    if rows is None:
        return engine.fit(link, observations, options, group)
    fitted = checkpoints.of_ends(engine.fit(link, rows, options, group), observations)
    return fitted.with_notes([checkpoints.note(link, rows)])


def _settings(options: FitOptions, link: Law, linked: bool) -> FitOptions:
    """The options with what they say of the link's parameters, or of all others."""
    own = set(link.parameter_names)
    return replace(
        options,
        fixed={name: value for name, value in options.fixed.items() if (name in own) == linked},
        bounds={name: ends for name, ends in options.bounds.items() if (name in own) == linked},
        ranges={name: ends for name, ends in options.ranges.items() if (name in own) == linked},
    )
