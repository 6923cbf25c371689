"""The command line: one file a command. Each parses, calls the library and renders."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Annotated

import typer

from scaling_cli.cli import (
    check,
    compare,
    crossing,
    curve,
    demo,
    equivalent,
    explain,
    fit,
    hparams,
    ingest,
    laws,
    optimal,
    predict,
    report,
    runs,
    schedule,
    slope,
    store,
    watch,
)
from scaling_cli.cli.common import INTERRUPTED
from scaling_cli.version import VERSION

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
    schedule,
    check,
    watch,
    report,
    explain,
    demo,
    store,
)
COLLECT_EVERY = 100_000  # new objects, 700 by default


def _version(wanted: bool) -> None:
    if wanted:
        print(f"scalefit {VERSION}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Neural scaling laws from your own training runs."""


def _app(modules: Iterable[ModuleType]) -> typer.Typer:
    """The commands of these modules."""
    made = typer.Typer(
        name="scalefit",
        help="Neural scaling laws from your own training runs: ingest logs, fit laws,"
        " split compute.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,  # rich would double the time of --help
        pretty_exceptions_enable=False,
    )
    made.callback()(_options)
    for module in modules:
        name = _name(module)
        if module is store:
            made.add_typer(store.store, name=name)
        else:
            made.command(name)(getattr(module, name))
    return made


def _name(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


app = _app(COMMANDS)


def main() -> None:
    """The `scalefit` command. `--debug` may stand anywhere on the line."""
    # Its many small objects hold few cycles: to look for them as often is a tenth of `runs`.
    gc.set_threshold(COLLECT_EVERY)
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    # Only the one that is asked for: reading the options of all takes as long as `--version`.
    asked = [module for module in COMMANDS if _name(module) in arguments[:1]]
    try:
        _app(asked or COMMANDS)(args=arguments, prog_name="scalefit")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
