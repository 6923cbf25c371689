"""`scalefit ingest`"""

from __future__ import annotations

from typing import Annotated

import typer

from scaling_cli.cli.common import (
    DEFAULT_STORE,
    ConfigOption,
    JsonOption,
    StoreOption,
    answer,
    command,
    say_notes,
)


@command
def ingest(
    sources: Annotated[
        list[str],
        typer.Argument(help="Files, folders or URLs of run logs; - reads standard input."),
    ],
    as_format: Annotated[
        str | None, typer.Option("--as", help="Read as this format.", metavar="FORMAT")
    ] = None,
    group: Annotated[
        str | None, typer.Option("--group", help="Put the runs in this group.", metavar="NAME")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read run logs into the store.

    Formats are recognised by content. What was taken for params, tokens and loss is printed, and
    nothing is guessed in silence. Ingesting again replaces runs that changed.

    Example: scalefit ingest logs/ --config scalefit.toml
    """
    from scaling_cli.project import open_project
    from scaling_cli.report.tables import ingest_tables

    done = open_project(store, config).ingest(sources, as_format, group)
    say_notes(done.notes)
    answer(as_json, done.to_json(), lambda: ingest_tables(done))
