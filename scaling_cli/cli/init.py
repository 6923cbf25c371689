"""`scalefit init`"""

from __future__ import annotations

import os
from typing import Annotated

import typer

from scaling_cli.cli.common import (
    JsonOption,
    check_folder,
    command,
    put,
    put_json,
    say,
    write_text,
)
from scaling_cli.cli.flags import as_flags
from scaling_cli.errors import InputError


@command
def init(
    sources: Annotated[
        list[str], typer.Argument(help="Files, folders or URLs of run logs, as for ingest.")
    ],
    as_format: Annotated[
        str | None, typer.Option("--as", help="Read as this format.", metavar="FORMAT")
    ] = None,
    meta: Annotated[
        str | None,
        typer.Option("--meta", help="Table of the runs' settings, by id or name.", metavar="FILE"),
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", help="Where to write; - prints.", metavar="FILE")
    ] = "scalefit.toml",
    as_json: JsonOption = False,
) -> None:
    """Write a mapping to begin with: scalefit.toml.

    Which names look like params, tokens, loss, groups and splits, with their ranges; what else
    could be meant; what is missing and how it could be supplied. A file that is there is kept.

    Example: scalefit init sample_runs -o -
    """
    from scaling_cli.sources import Sources
    from scaling_cli.suggest import suggest

    if output != "-" and os.path.lexists(output):
        raise InputError(f"{output} is there already", "Name another by -o, or -o - to print.")
    check_folder(None if output == "-" else output)
    asked = Sources(tuple(sources), as_format, meta=meta)
    lines = suggest(asked).splitlines(keepends=True)
    text = "".join(as_flags(line) if line.startswith("#") else line for line in lines)
    if output != "-":
        write_text(output, text)
    if as_json:
        put_json({"path": None if output == "-" else output, "text": text})
        return
    if output == "-":
        put(text, end="")
        return
    lacks = "; something is MISSING in it" if "MISSING:" in text else ""
    say(f"Wrote {output}{lacks}. Read it, then: scalefit ingest {' '.join(sources)}")
