"""`scalefit store`: verify, compact, export"""

from __future__ import annotations

from typing import Annotated

import typer

from scaling_cli.cli.common import (
    DEFAULT_STORE,
    ConfigOption,
    JsonOption,
    StoreOption,
    WhereOption,
    answer,
    command,
    names,
)

store = typer.Typer(
    help="Look after the store: verify, compact, export.\n\nExample: scalefit store verify",
    no_args_is_help=True,
    add_completion=False,
)

HOUR = 3600.0
# Half a day may lie between the start of a long read or ingest and its end, and clocks differ.
OLDER_THAN_HOURS = 24.0


@store.command()
@command
def verify(store: StoreOption = DEFAULT_STORE, as_json: JsonOption = False) -> None:
    """Read every file of the store, and say what is damaged.

    Checks the log, every page of every segment against its checksum, and that each run is there
    in the revision that the log names.

    Example: scalefit store verify
    """
    from scaling_cli.errors import InputError
    from scaling_cli.project import open_project
    from scaling_cli.quantities import counted
    from scaling_cli.report.stores import verified_table

    verified = open_project(store, None).store.verify()
    answer(as_json, verified.to_json(), lambda: [verified_table(verified)])
    if verified.problems:
        raise InputError(
            f"The store at {verified.store} is damaged"
            f" ({counted(len(verified.problems), 'problem')}): {verified.problems[0].message}",
            "Restore the files from a copy, or ingest the runs into a new store.",
        )


@store.command()
@command
def compact(
    older_than: Annotated[
        float,
        typer.Option(
            "--older-than",
            help="Remove what no run has needed for this long.",
            metavar="HOURS",
            min=0.0,
        ),
    ] = OLDER_THAN_HOURS,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Merge small segments, and clear away what is no longer needed.

    Many small ingests make a store slow to read; this makes it quick again. Others may read and
    ingest meanwhile.

    Example: scalefit store compact
    """
    from scaling_cli.project import open_project
    from scaling_cli.report.stores import compacted_table

    done = open_project(store, None).store.compact(older_than * HOUR)
    answer(as_json, done.to_json(), lambda: [compacted_table(done)])


@store.command()
@command
def export(
    output: Annotated[str, typer.Argument(help="The file: .parquet or .csv.", metavar="FILE")],
    shape: Annotated[
        str,
        typer.Option(
            "--shape", help="A row a value, a run and step, or a run.", metavar="long|wide|runs"
        ),
    ] = "long",
    where: WhereOption = None,
    metric: Annotated[
        str | None, typer.Option("--metric", help="Only these metrics.", metavar="NAME,...")
    ] = None,
    steps: Annotated[
        str | None, typer.Option("--steps", help="Only these steps.", metavar="FROM:TO")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the runs as one table for DuckDB, pandas or a spreadsheet.

    long has run_key, run_id, metric, step and value; wide has a column a metric; runs has the final
    values and the config of each run.

    Example: scalefit store export history.parquet --where 'params < 1B'
    """
    from scaling_cli.project import open_project
    from scaling_cli.report.stores import exported_table

    project = open_project(store, config)
    chosen = None if where is None else project.runs(where).records
    rows = project.store.export(output, shape, chosen, names(metric), _range(steps))
    document = {"path": output, "shape": shape, "rows": rows}
    answer(as_json, document, lambda: [exported_table(output, shape, rows)])


def _range(text: str | None) -> tuple[int | None, int | None]:
    """`FROM:TO`, of which either may be left out."""
    from scaling_cli.errors import InputError
    from scaling_cli.quantities import parse_quantity

    if text is None:
        return None, None
    first, colon, last = text.partition(":")
    if not colon:
        raise InputError(f"--steps {text} is no FROM:TO", "Write --steps 1000:2000, or 1000: .")
    ends = [int(parse_quantity(end, "--steps")) if end.strip() else None for end in (first, last)]
    return ends[0], ends[1]
