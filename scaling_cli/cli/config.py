"""`scalefit config`: check"""

from __future__ import annotations

import typer

from scaling_cli.cli.common import (
    DEFAULT_STORE,
    ConfigOption,
    JsonOption,
    StoreOption,
    answer,
    command,
)

config = typer.Typer(
    help="Look at the mapping file and the environment.\n\nExample: scalefit config check",
    no_args_is_help=True,
    add_completion=False,
)


@config.callback()
def _group() -> None:
    """A group of one command is none to typer without this."""


@config.command()
@command
def check(
    config: ConfigOption = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Say every fault of the mapping file and of the environment, before a job fails on one.

    Unknown keys, wrong types, files that are not there, a store that cannot be read, variables
    that nothing reads. Of secrets only that they are set is said.

    Example: scalefit config check --config scalefit.toml
    """
    import os

    from scaling_cli.configuration import check_configuration
    from scaling_cli.errors import InputError
    from scaling_cli.project import CONFIG_FILE
    from scaling_cli.quantities import counted
    from scaling_cli.report.stores import configuration_table

    if config is None and os.path.lexists(CONFIG_FILE):
        config = CONFIG_FILE
    checked = check_configuration(store, config, os.environ)
    answer(as_json, checked.to_json(), lambda: [configuration_table(checked)])
    if checked.problems:
        first = checked.problems[0]
        raise InputError(
            f"The configuration has {counted(len(checked.problems), 'problem')}, the first in"
            f" {first.where}: {first.what}",
            first.mend,
        )
