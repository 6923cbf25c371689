"""A law of the loss, and a link from the loss to a score, as one fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from scaling_cli.errors import InputError
from scaling_cli.fitting import engine
from scaling_cli.fitting.engine import FitOptions
from scaling_cli.fitting.result import Fit
from scaling_cli.laws import Law
from scaling_cli.observe import Observations


def check(link: Law) -> None:
    if len(link.variables) != 1:
        raise InputError(
            f"law {link.id} reads {', '.join(link.variables)} and is no link from one number to a"
            " score",
            "Use err_exp, ladder, flp or loss_to_loss.",
        )


def fit(
    first: Callable[[Observations, FitOptions, Mapping[str, Any]], Fit],
    link: Law,
    observations: Observations,
    options: FitOptions,
    group: Mapping[str, Any],
) -> Fit:
    """Fit the law to the runs, and `link` from what the law predicts to `options.target`.

    The link is fitted to the observed values of both, so that its error and the law's are apart;
    a prediction carries both, by draws. What is pinned belongs to the link where that has a
    parameter of the name.
    """
    pinned = {name: value for name, value in options.fixed.items() if name in link.parameter_names}
    rest = {name: value for name, value in options.fixed.items() if name not in pinned}
    law = first(observations, replace(options, target=None, fixed=rest, objective=None), group)
    x = law.columns["target"] if "x" in link.variables else None
    then = engine.fit(link, observations, replace(options, fixed=pinned, x=x), group)
    return replace(law, then=then, notes=(*law.notes, *then.notes))
