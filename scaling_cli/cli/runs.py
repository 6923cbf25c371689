"""`scalefit runs`: list, forget"""

from __future__ import annotations

from typing import Annotated

import typer

from scaling_cli.cli.common import (
    DEFAULT_STORE,
    ByOption,
    ConfigOption,
    JsonOption,
    StoreOption,
    WhereOption,
    answer,
    command,
    names,
    say,
    say_notes,
)
from scaling_cli.errors import InputError

runs = typer.Typer(invoke_without_command=True, add_completion=False)


@runs.callback()
@command
def listing(
    context: typer.Context,
    where: WhereOption = None,
    by: ByOption = None,
    sort: Annotated[
        str | None,
        typer.Option("--sort", help="In order of this; -KEY the highest first.", metavar="KEY"),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", help="At most so many.", min=1, metavar="N")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the runs in the store.

    One line each; with --by, one line a group. `of plan` is the share of the planned steps that a
    run has taken.

    Example: scalefit runs --where 'params > 50K' --sort loss --limit 10
    """
    if context.invoked_subcommand:
        return
    from scaling_cli.project import open_project
    from scaling_cli.report.stores import groups_table, runs_json, runs_table

    chosen = open_project(store, config).runs(where, sort, limit)
    say_notes(chosen.table.notes)
    keys = names(by)
    answer(
        as_json,
        {"runs": runs_json(chosen)} if as_json else {},
        lambda: [groups_table(chosen.table, keys) if keys is not None else runs_table(chosen)],
    )


@runs.command()
@command
def forget(
    where: Annotated[str, typer.Argument(help="Which runs: as --where.", metavar="EXPR")],
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Take runs out of the store.

    Ingesting their source again does not bring them back, unless it is with --again.

    Example: scalefit runs forget "status == 'failed' and tokens < 1M"
    """
    from scaling_cli.project import open_project
    from scaling_cli.quantities import counted

    project = open_project(store, None)
    chosen = project.runs(where).records
    if not chosen:
        raise InputError(f"'{where}' matches no run", "See `scalefit runs`.")
    project.store.forget(record.run_key for record in chosen)
    answer(as_json, {"forgotten": [record.run_id for record in chosen]}, list)
    say(f"Forgot {counted(len(chosen), 'run')}.")
