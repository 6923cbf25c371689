"""`scalefit check`"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from scaling_cli.cli.common import (
    DEFAULT_STORE,
    ConfigOption,
    JsonOption,
    StoreOption,
    add_to_job_summary,
    answer,
    check_folder,
    command,
    write_text,
)
from scaling_cli.cli.flags import as_flags

FAILED = 1


@command
def check(
    runs: Annotated[
        list[str] | None, typer.Argument(help="Run ids or names; a * stands for any text.")
    ] = None,
    junit: Annotated[
        str | None, typer.Option("--junit", help="Write JUnit XML here.", metavar="FILE")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="List every result, also those that passed.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check runs by the rules of the mapping file; exit 1 if a check fails.

    Rules stand there as [[check]] tables. Without any, those that need no settings are applied.
    A rule that cannot judge a run skips it and says why.

    Example: scalefit check --config scalefit.toml --junit checks.xml
    """
    from scaling_cli.project import open_project
    from scaling_cli.report import checks

    check_folder(junit, "--junit")
    results = open_project(store, config).check(runs or ())
    ok = all(item.finding.status != "fail" for item in results)
    if junit:
        write_text(junit, as_flags(checks.junit(results)), "--junit")
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in checks.github_commands(results):
            # On stderr, where GitHub reads them too: stdout may be a JSON document.
            print(as_flags(line), file=sys.stderr)
    add_to_job_summary("Checks of training runs", checks.tables(results, everything))
    document = {"ok": ok, "checks": [item.to_json() for item in results]}
    answer(as_json, document, lambda: checks.tables(results, everything))
    if not ok:
        raise typer.Exit(FAILED)
