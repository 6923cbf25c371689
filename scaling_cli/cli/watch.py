"""`scalefit watch`"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from scaling_cli.cli import common, completion
from scaling_cli.cli.common import (
    DEFAULT_STORE,
    ConfigOption,
    JsonOption,
    StoreOption,
    answer,
    command,
    console,
    put,
    say,
)
from scaling_cli.cli.flags import as_flags
from scaling_cli.text import visible

if TYPE_CHECKING:
    from scaling_cli.watching import Look


@command
def watch(
    run: Annotated[
        str,
        typer.Argument(
            help="Run id or name.",
            autocompletion=completion.runs,
        ),
    ],
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source", help="Where it is logged; that of the stored run.", metavar="SOURCE"
        ),
    ] = None,
    poll: Annotated[
        float, typer.Option("--poll", help="Time between two looks.", min=0.05, metavar="SECONDS")
    ] = 10.0,
    idle: Annotated[
        float, typer.Option("--idle", help="End when nothing comes for so long.", metavar="SECONDS")
    ] = 3600.0,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Follow a run while it trains, against its checks and the band of its final loss.

    Its source is read again at each poll. The terminal bell rings once for each check that fails.
    It ends with the run; --json then prints the last look.

    Example: scalefit watch my-run --source logs/ --poll 30
    """
    from scaling_cli.project import open_project
    from scaling_cli.watching import watch as looks

    views = looks(open_project(store, config), run, source or (), poll, idle)
    if as_json:
        *_, last = told(views, say)
        answer(True, last.to_json(), list)
    elif common.on_terminal():
        show_live(views)
    else:
        for _ in told(views, put):
            pass


def told(looks: Iterable[Look], write: Callable[[str], None]) -> Iterator[Look]:
    """The looks, each written as a line, and a line for each alarm."""
    from scaling_cli.report.watching import alarm_lines, line

    for look in looks:
        write(visible(as_flags(line(look))))
        for text in alarm_lines(look):
            write(visible(as_flags(text)))
        yield look


def show_live(looks: Iterable[Look]) -> None:
    from rich.live import Live

    from scaling_cli.report.watching import alarm_lines, panel

    screen = console()
    with Live(console=screen, auto_refresh=False) as live:
        for look in looks:
            live.update(panel(look), refresh=True)
            for text in alarm_lines(look):
                live.console.print(visible(as_flags(text)), style="bold red", markup=False)
                live.console.bell()
