"""`scalefit laws`"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from scaling_cli.cli.common import JsonOption, answer, command


@command
def laws(
    law: Annotated[str | None, typer.Argument(help="One law, in full.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the laws, or show one in full.

    In full: formula, parameters, source, published coefficients, caveats.

    Example: scalefit laws farseer
    """
    from scaling_cli.laws import LAWS, get_law
    from scaling_cli.report.tables import law_tables, laws_table

    chosen = [get_law(law)] if law else list(LAWS.values())
    document: dict[str, Any] = {
        "laws": [
            {
                "id": item.id,
                "title": item.title,
                "family": item.family,
                "formula": item.formula,
                "variables": list(item.variables),
                "parameters": list(item.parameter_names),
                "source": str(item.source),
                "published": [entry.name for entry in item.published],
                "caveats": list(item.caveats),
                "paper_objective": item.paper.objective if item.paper else None,
            }
            for item in chosen
        ]
    }
    answer(as_json, document, lambda: law_tables(chosen[0]) if law else [laws_table(chosen)])
