"""`scalefit hparams`"""

from __future__ import annotations

from typing import Annotated

import typer

from scaling_cli.cli.common import (
    DEFAULT_STORE,
    ConfigOption,
    JsonOption,
    PublishedOption,
    StoreOption,
    answer,
    command,
    one_of,
)


@command
def hparams(
    params: Annotated[
        str, typer.Option("--params", help="Parameters without embeddings, e.g. 7B.", metavar="N")
    ],
    tokens: Annotated[str, typer.Option("--tokens", help="Training tokens, e.g. 2T.", metavar="D")],
    published: PublishedOption = None,
    law: Annotated[
        str | None,
        typer.Option("--law", help="Newest fits of this rule, e.g. steplaw.", metavar="LAW"),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """The learning rate and the batch that rules give a run.

    Without options the rules of every paper, side by side: they were found under different
    schedules and batches, and differ. `fit --law steplaw` fits one to your own sweeps: to the rate
    that was set, best for each size and amount of data. Where none was swept it is refused.

    Example: scalefit hparams --params 1B --tokens 100B --published steplaw2025
    """
    from scaling_cli.fitting.result import Fit, predict_published
    from scaling_cli.laws import published_rules
    from scaling_cli.quantities import parse_positive
    from scaling_cli.report.origins import origins_json, with_origin
    from scaling_cli.report.plans import hparams_table

    inputs = {
        "params": parse_positive(params, "--params"),
        "tokens": parse_positive(tokens, "--tokens"),
    }
    one_of(published=published, law=law)
    fits: list[Fit] = []
    if law:
        from scaling_cli.project import open_project

        fits = open_project(store, config).saved.newest(law)
        predictions = [fit.predict(inputs) for fit in fits]
    else:
        rules = published_rules(published)
        predictions = [predict_published(rule, entry, inputs) for rule, entry in rules]
    document = {
        "hparams": [{**item.to_json(), "value": item.loss} for item in predictions],
        "origin": origins_json(fits),
    }
    answer(as_json, document, lambda: with_origin([hparams_table(predictions)], fits))
