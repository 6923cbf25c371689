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
    """List the laws in groups, or show one in full.

    In full: formula, columns and units, parameters, source and evidence, published coefficients, an
    example, caveats. "unverified" marks what was read in no document of its authors.

    Example: scalefit laws farseer
    """
    from scaling_cli.fitting.auto import RECIPE
    from scaling_cli.fitting.procedures import procedure
    from scaling_cli.laws import laws as registered
    from scaling_cli.report.laws import law_tables, laws_tables

    named = [procedure(name) for name in ([law] if law else (RECIPE, *registered()))]
    chosen = [item.as_law() for item in named]
    document: dict[str, Any] = {
        "laws": [
            {
                "id": item.id,
                "title": item.title,
                "family": item.family,
                "formula": item.formula,
                "variables": list(item.variables),
                "parameters": list(item.parameter_names),
                "target": item.target,
                "objective": item.objective,
                "source": str(item.source),
                "evidence": str(item.evidence),
                "verified": item.evidence.verified,
                "aliases": list(item.aliases),
                "published": [entry.name for entry in item.published],
                "unverified": [entry.name for entry in item.unverified],
                "caveats": list(item.caveats),
                "recipe": list(about.about),
                "paper_objective": item.paper.objective if item.paper else None,
            }
            for item, about in zip(chosen, named, strict=True)
        ]
    }
    answer(
        as_json,
        document,
        lambda: law_tables(chosen[0], named[0].about) if law else laws_tables(chosen),
    )
