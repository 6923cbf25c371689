"""`scalefit schema`"""

from __future__ import annotations

from typing import Annotated

import typer

from scaling_cli.cli.common import JsonOption, answer, command, put_json
from scaling_cli.cli.flags import document_as_flags


@command
def schema(
    name: Annotated[
        list[str] | None,
        typer.Argument(help="A command, error, or scalefit.toml.", metavar="NAME"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the JSON Schema of a command's document, or of scalefit.toml.

    Without a name they are listed. docs/json.md shows them all in tables.

    Example: scalefit schema fit
    """
    from scaling_cli.report.explanations import schemas_table
    from scaling_cli.schema.registry import names
    from scaling_cli.schema.registry import schema as schema_of

    if name:
        put_json(document_as_flags(schema_of(" ".join(name)), said=True))
        return
    answer(as_json, {"schemas": names()}, lambda: [schemas_table(names())])
