"""`scalefit explain`"""

from __future__ import annotations

from typing import Annotated

import typer

from scaling_cli.cli.common import JsonOption, answer, command


@command
def explain(
    words: Annotated[
        list[str] | None,
        typer.Argument(help="Code of a warning, or a word, law, check or column.", metavar="WORD"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Explain a warning or a word of the output.

    What it means, and what to do about it. Without a word the glossary is shown.

    Example: scalefit explain few_sizes
    """
    from scaling_cli.report.explanations import explain as meaning_of
    from scaling_cli.report.explanations import explanation_tables

    meaning = meaning_of(" ".join(words or []))
    document = {"explanations": [item.to_json() for item in meaning]}
    answer(as_json, document, lambda: explanation_tables(meaning))
