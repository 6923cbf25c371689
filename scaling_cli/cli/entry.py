"""The `scalefit` command: of its many commands the one that is asked for."""

from __future__ import annotations

import gc
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from scaling_cli.cli.common import (
    FORMATS,
    INTERRUPTED,
    OutputError,
    manner,
    read_manner,
    refused,
    silence,
)
from scaling_cli.text import visible
from scaling_cli.version import VERSION

COMMANDS = (
    "init", "ingest", "runs", "show", "laws", "fit", "fits", "compare", "predict", "optimal",
    "plan", "design", "simulate", "recipes", "crossing", "equivalent", "slope", "hparams",
    "items", "curve", "schedule", "check", "watch", "report", "explain", "schema", "config",
    "demo", "store",
)  # fmt: skip
GROUPS = {"config", "fits", "runs", "store"}  # with commands of their own
# Of the click that this typer brings, be it its own or the package.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]
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
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Only the answer and errors.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Every warning, none folded.")
    ] = False,
    format: Annotated[
        str | None, typer.Option("--format", help="Tables as this.", metavar="|".join(FORMATS))
    ] = None,
) -> None:
    """Neural scaling laws from your own training runs.

    These options may stand anywhere on the line.
    """


class _Declared(Mapping[str, Any]):
    """The commands by name, each read from its file when it is asked for: to read the options of
    all of them takes as long as an answer."""

    def __getitem__(self, name: str) -> Any:
        if name not in COMMANDS:
            raise KeyError(name)
        return _read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def _function(name: str) -> Any:
    """What the file of this command declares: a function, or an app with commands of its own."""
    return getattr(import_module(f"scaling_cli.cli.{name}"), name)


@cache
def _read(name: str) -> Any:
    """The command of this name with its options."""
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.callback()(lambda: None)  # without one, a single command would be taken for the whole
    declared = _function(name)
    if name in GROUPS:
        alone.add_typer(declared, name=name)
    else:
        alone.command(name)(declared)
    return typer.main.get_group(alone).commands[name]


class Commands(TyperGroup):
    """The commands; what stands anywhere on the line is read first, and a line that cannot be
    read is refused as every other error is."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _Declared()  # type: ignore[assignment]  # it is never written to

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """One line of each docstring, without its options."""
        limit = formatter.width - 6 - max(map(len, COMMANDS))
        lines = []
        for name in COMMANDS:
            shown = (
                _read(name) if name in GROUPS else TyperCommand(name, help=_function(name).__doc__)
            )
            lines.append((name, shown.get_short_help_str(limit)))
        with formatter.section("Commands"):
            formatter.write_dl(lines)

    def main(self, args: Sequence[str] | None = None, **extra: Any) -> Any:  # type: ignore[override]
        arguments = read_manner(sys.argv[1:] if args is None else args)
        alone = extra.pop("standalone_mode", True)
        try:
            code = super().main(arguments, standalone_mode=False, **extra)
        except UsageError as error:
            code = _misread(error)
        code = code if isinstance(code, int) else 0
        return sys.exit(code) if alone else code


def _misread(error: Any) -> int:
    """Say what is wrong with the line; the exit code."""
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help
        error.show()
        return int(error.exit_code)
    path = error.ctx.command_path if error.ctx else "scalefit"
    return refused("usage", error.format_message(), f"`{path} --help` shows all.").exit_code


app = typer.Typer(
    name="scalefit",
    help="Neural scaling laws from your own training runs: ingest logs, fit laws, split compute.",
    no_args_is_help=True,
    cls=Commands,
    rich_markup_mode=None,  # rich would double the time of --help
    pretty_exceptions_enable=False,
)
app.callback()(_options)


def _prepare_streams() -> None:
    """Streams that take every text, also where the caller has closed them."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        elif isinstance(stream, TextIOWrapper):  # what the terminal's encoding lacks is escaped
            stream.reconfigure(errors="backslashreplace")


def main() -> None:
    """The `scalefit` command."""
    # Its many small objects hold few cycles: to look for them as often is a tenth of `runs`.
    gc.set_threshold(COLLECT_EVERY)
    _prepare_streams()
    if not (sys.warnoptions or "--debug" in sys.argv):
        warnings.simplefilter("ignore")  # Python's own say lines of source; ours are notes
    try:
        try:
            app(args=sys.argv[1:], prog_name="scalefit")
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        silence()
    except OSError as error:  # of a help, say
        silence()
        sys.exit(refused("output", OutputError(error).what).exit_code)
    except Exception as error:  # under --debug
        if manner.interrupted:
            sys.exit(INTERRUPTED)
        for line in traceback.format_exc().splitlines():
            print(visible(line), file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 2))
