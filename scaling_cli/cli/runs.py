"""`scalefit runs`"""

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
    say_notes,
)


@command
def runs(
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
    from scaling_cli.project import open_project
    from scaling_cli.report.stores import groups_table, runs_json, runs_table

    found = open_project(store, config).runs(where, sort, limit)
    say_notes(found.table.notes)
    keys = names(by)
    answer(
        as_json,
        {"runs": runs_json(found)} if as_json else {},
        lambda: [groups_table(found.table, keys) if keys is not None else runs_table(found)],
    )
