"""`scalefit predict`"""

from __future__ import annotations

from typing import Annotated

import typer

from scaling_cli.cli.common import (
    DEFAULT_STORE,
    ConfigOption,
    FitLevelOption,
    FitOption,
    JsonOption,
    LawOption,
    PublishedOption,
    StoreOption,
    TargetOption,
    answer,
    assignments,
    check_level,
    command,
    one_of,
)


@command
def predict(
    params: Annotated[
        str | None, typer.Option("--params", help="Parameters, e.g. 7B.", metavar="N")
    ] = None,
    tokens: Annotated[
        str | None, typer.Option("--tokens", help="Training tokens, e.g. 2T.", metavar="D")
    ] = None,
    at: Annotated[
        list[str] | None, typer.Option("--at", help="Another variable.", metavar="VAR=VALUE")
    ] = None,
    fit: FitOption = None,
    law: LawOption = None,
    y: TargetOption = None,
    published: PublishedOption = None,
    level: FitLevelOption = None,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Predict the loss of a run.

    With the interval for one new run, and how far it lies from the fitted ones.

    Example: scalefit predict --params 7B --tokens 2T --published epoch2024
    """
    from scaling_cli.fitting.result import Fit, predict_published
    from scaling_cli.laws import get_published
    from scaling_cli.quantities import parse_positive
    from scaling_cli.report.fits import predictions_table
    from scaling_cli.report.origins import origins_json, with_origin

    check_level(level)
    inputs = assignments(at or [], "--at")
    for name, text in (("params", params), ("tokens", tokens)):
        if text is not None:
            inputs[name] = parse_positive(text, f"--{name}")
    one_of(fit=fit, law=law, published=published)
    one_of(fit=fit, y=y, published=published)
    one_of(level=level, published=published)
    fits: list[Fit] = []
    if published:
        chosen, entry = get_published(published)
        found = [predict_published(chosen, entry, inputs)]
    else:
        from scaling_cli.project import open_project

        saved = open_project(store, config).saved.answering(fit, law, y)
        fits = [item.at_level(level) for item in saved]
        found = [item.predict(inputs) for item in fits]
    document = {
        "predictions": [item.to_json() for item in found],
        "origin": origins_json(fits),
    }
    answer(as_json, document, lambda: with_origin([predictions_table(found)], fits))
