"""`scalefit predict`"""

from __future__ import annotations

from typing import Annotated

import typer

from scaling_cli.cli.common import (
    DEFAULT_STORE,
    ConfigOption,
    FitOption,
    JsonOption,
    LawOption,
    LevelOption,
    PublishedOption,
    StoreOption,
    answer,
    assignments,
    check_level,
    command,
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
    published: PublishedOption = None,
    level: LevelOption = None,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Predict the loss of a run.

    With the interval for one new run, and how far it lies from the fitted ones.

    Example: scalefit predict --params 7B --tokens 2T --published epoch2024
    """
    from scaling_cli.fitting.result import predict_published
    from scaling_cli.laws import get_published
    from scaling_cli.quantities import parse_positive
    from scaling_cli.report.tables import predictions_table

    check_level(level)
    inputs = assignments(at or [], "--at")
    for name, text in (("params", params), ("tokens", tokens)):
        if text is not None:
            inputs[name] = parse_positive(text, f"--{name}")
    if published:
        one_of(fit=fit, law=law, published=published)
        one_of(level=level, published=published)
        chosen, entry = get_published(published)
        found = [predict_published(chosen, entry, inputs)]
    else:
        from scaling_cli.project import open_project

        one_of(fit=fit, law=law)
        fits = [item.at_level(level) for item in open_project(store, config).forecasts(fit, law)]
        found = [item.predict(inputs) for item in fits]
    document = {"predictions": [item.to_json() for item in found]}
    answer(as_json, document, lambda: [predictions_table(found)])


def one_of(**options: object) -> None:
    """Refuse options that contradict each other."""
    from scaling_cli.errors import InputError

    given = [f"--{name}" for name, value in options.items() if value is not None]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} contradict each other", "Give one of them.")
