"""The command line: one file a command. Each parses, calls the library and renders."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from scaling_cli.cli import (
    check,
    compare,
    crossing,
    curve,
    demo,
    equivalent,
    fit,
    hparams,
    ingest,
    laws,
    optimal,
    predict,
    report,
    runs,
    slope,
    store,
    watch,
)
from scaling_cli.cli.common import INTERRUPTED
from scaling_cli.version import VERSION

app = typer.Typer(
    name="scalefit",
    help="Neural scaling laws from your own training runs: ingest logs, fit laws, split compute.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # rich would double the time of --help
    pretty_exceptions_enable=False,
)

COMMANDS = (
    ingest,
    runs,
    laws,
    fit,
    compare,
    predict,
    optimal,
    crossing,
    equivalent,
    slope,
    hparams,
    curve,
    check,
    watch,
    report,
    demo,
)

for module in COMMANDS:
    name = module.__name__.rpartition(".")[2]
    app.command(name)(getattr(module, name))
app.add_typer(store.store, name="store")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"scalefit {VERSION}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Neural scaling laws from your own training runs."""


def main() -> None:
    """The `scalefit` command. `--debug` may stand anywhere on the line."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app(args=arguments, prog_name="scalefit")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
