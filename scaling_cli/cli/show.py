"""`scalefit show`"""

from __future__ import annotations

from typing import Annotated

import typer

from scaling_cli.cli import completion
from scaling_cli.cli.common import (
    DEFAULT_STORE,
    ConfigOption,
    JsonOption,
    StoreOption,
    answer,
    command,
)


@command
def show(
    run: Annotated[
        str,
        typer.Argument(
            help="The run: its key, id or name.",
            metavar="RUN",
            autocompletion=completion.runs,
        ),
    ],
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one run in full.

    Whether it has ended and what says so; what is taken as params, tokens and loss, and over which
    other names; each metric's first, last and lowest value; its config and its warnings.

    Example: scalefit show baseline-ladder-d64l2-8.1e12
    """
    from scaling_cli.project import open_project
    from scaling_cli.report.runs import run_tables

    shown = open_project(store, config).show(run)
    answer(as_json, shown.to_json(), lambda: run_tables(shown))
