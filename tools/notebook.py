"""The notebook of docs/, run cell by cell: what each shows, and all of it as a page."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "notebook.ipynb"


def run() -> Iterator[tuple[str, str, Any]]:
    """Each cell as its kind, its text and, of code, the value of its last line or None. It runs in
    the working folder, where `sample_runs` has to be."""
    names: dict[str, Any] = {}
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        value = _value(text, names) if cell["cell_type"] == "code" else None
        yield cell["cell_type"], text, value


def _value(code: str, names: dict[str, Any]) -> Any:
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, NOTEBOOK.name, "exec"), names)  # noqa: S102 - our own document
    if last is None:
        return None
    value = ast.Expression(last.value)
    return eval(compile(value, NOTEBOOK.name, "eval"), names)  # noqa: S307


def page() -> str:
    """The notebook as Markdown, the cards of its results below their code."""
    parts = []
    for kind, text, value in run():
        parts.append(text if kind == "markdown" else f"```python\n{text}\n```")
        if hasattr(value, "_repr_html_"):
            parts.append(value._repr_html_().replace("\n", " "))
    return "\n\n".join(parts) + "\n"
