"""`scalefit runs`"""

from __future__ import annotations

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
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the runs in the store.

    One line each; with --by, one line a group.

    Example: scalefit runs --where 'params > 50K' --by recipe
    """
    from scaling_cli.project import open_project
    from scaling_cli.report.stores import groups_table, runs_json, runs_table

    found = open_project(store, config).runs(where)
    say_notes(found.table.notes)
    keys = names(by)
    answer(
        as_json,
        {"runs": runs_json(found)} if as_json else {},
        lambda: [groups_table(found.table, keys) if keys is not None else runs_table(found)],
    )
