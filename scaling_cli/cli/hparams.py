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
    assignments,
    command,
    one_of,
)


@command
def hparams(
    params: Annotated[
        str, typer.Option("--params", help="Parameters without embeddings, e.g. 7B.", metavar="N")
    ],
    tokens: Annotated[str, typer.Option("--tokens", help="Training tokens, e.g. 2T.", metavar="D")],
    at: Annotated[
        list[str] | None,
        typer.Option(
            "--at", help="Another column of the run, e.g. width=4096.", metavar="NAME=VALUE"
        ),
    ] = None,
    base: Annotated[
        list[str] | None,
        typer.Option(
            "--base", help="Of a tuned run to carry over, e.g. lr=3e-3.", metavar="NAME=VALUE"
        ),
    ] = None,
    published: PublishedOption = None,
    law: Annotated[
        str | None,
        typer.Option("--law", help="Newest fits of this rule, e.g. steplaw.", metavar="LAW"),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """The learning rate, the batch and the weight decay that rules give a run.

    Without options the rules of every paper, side by side: they were found under different
    schedules and batches, and differ. With --base the settings of a tuned run are carried over
    too: by width and depth (muP, CompleteP), and weight decay by AdamW's timescale. `fit --law
    steplaw` fits a rule to your own sweeps: to the rate that was set, best for each size and amount
    of data. Where none was swept it is refused.

    Example: scalefit hparams --params 1B --tokens 100B --published steplaw2025
    """
    from scaling_cli.fitting.result import Fit
    from scaling_cli.planning.hyperparameters import advice_of, advise
    from scaling_cli.quantities import parse_positive
    from scaling_cli.report.origins import origins_json, with_origin
    from scaling_cli.report.plans import hparams_table

    run = {
        "params": parse_positive(params, "--params"),
        "tokens": parse_positive(tokens, "--tokens"),
        **assignments(at or (), "--at"),
    }
    one_of(published=published, law=law)
    fits: list[Fit] = []
    if law:
        from scaling_cli.project import open_project

        fits = open_project(store, config).saved.newest(law)
        found = advice_of([fit.predict(run) for fit in fits])
    else:
        found = advise(run, assignments(base or (), "--base"), published)
    document = {
        "hparams": [{**item.to_json(), "value": item.loss} for item in found.values],
        "silent": list(found.silent),
        "origin": origins_json(fits),
    }
    answer(as_json, document, lambda: with_origin([hparams_table(found)], fits))
