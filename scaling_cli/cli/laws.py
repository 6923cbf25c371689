"""`scalefit laws`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaling_cli.cli import completion
from scaling_cli.cli.common import JsonOption, command, put_json, show

if TYPE_CHECKING:
    from scaling_cli.fitting.procedures import Procedure


@command
def laws(
    law: Annotated[
        str | None,
        typer.Argument(
            help="One law, in full.",
            autocompletion=completion.laws,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the laws in groups, or show one in full.

    In full: formula, columns and units, parameters, source and evidence, published coefficients, an
    example, caveats. "unverified" marks what was read in no document of its authors.

    Example: scalefit laws farseer
    """
    from scaling_cli.fitting.procedures import AUTO, procedure
    from scaling_cli.laws import laws as registered
    from scaling_cli.report.laws import law_tables, laws_tables

    chosen = [procedure(name) for name in ([law] if law else (AUTO, *registered()))]
    if as_json:
        put_json({"laws": [_document(item) for item in chosen]})
    elif law:
        show(law_tables(chosen[0].as_law(), chosen[0].about()))
    else:
        show(laws_tables([item.as_law() for item in chosen]))


def _document(chosen: Procedure) -> dict[str, Any]:
    law = chosen.as_law()
    return {
        "id": law.id,
        "title": law.title,
        "family": law.family,
        "formula": law.formula,
        "variables": list(law.variables),
        "parameters": list(law.parameter_names),
        "target": law.target,
        "objective": law.objective,
        "source": str(law.source),
        "evidence": str(law.evidence),
        "verified": law.evidence.verified,
        "aliases": list(law.aliases),
        "published": [entry.name for entry in law.published],
        "unverified": [entry.name for entry in law.unverified],
        "caveats": list(law.caveats),
        "recipe": list(chosen.about()),
        "paper_objective": law.paper.objective if law.paper else None,
    }
