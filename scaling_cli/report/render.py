"""Tables to a terminal, as plain text, Markdown, LaTeX, CSV or JSON.

Every text passes through the function of `scaling_cli.text` for its output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from scaling_cli import text
from scaling_cli.notes import Note
from scaling_cli.report.layout import INDENT, folded, lines_of
from scaling_cli.report.listing import Listing, note_text

if TYPE_CHECKING:
    from rich.console import Console

    from scaling_cli.drawing.figure import Figure

STYLES = {"info": "dim", "warning": "yellow", "severe": "bold red"}


def to_terminal(tables: Iterable[Listing], console: Console) -> None:
    """Each table with its lines under it, within the console's width."""
    from rich.text import Text

    def put(line: str, style: str = "") -> None:
        console.print(Text(line, style=style), no_wrap=True, overflow="ignore", crop=False)

    for table in tables:
        for line in folded(text.visible(table.title), console.width):
            put(line, "bold")
        grid = lines_of(table, console.width)
        for i, line in enumerate(grid):
            put(line, "dim" if i < _header_lines(grid, table) else "")
        for item in table.lines:
            style = STYLES[item.severity] if isinstance(item, Note) else ""
            for line in folded(_said(item), console.width - INDENT):
                put(" " * INDENT + line, style)
        put("")


def _header_lines(grid: Sequence[str], table: Listing) -> int:
    """How many lines of a grid are its headers."""
    rows = len(table.rows) + 1
    return len(grid) // rows if len(grid) % rows == 0 else 0


def to_text(tables: Iterable[Listing]) -> str:
    """Aligned text that is never folded: for pipes and files, where a run is one line."""
    parts = []
    for table in tables:
        parts += [text.visible(table.title), *lines_of(table)]
        parts += [f"  {_said(line)}" for line in table.lines]
        parts.append("")
    return "\n".join(map(text.guarded, parts))


def to_markdown(title: str, tables: Sequence[Listing]) -> str:
    """One document; without a title, the tables alone."""
    parts = [f"# {text.markdown(title)}\n"] if title else []
    for table in tables:
        parts.append(f"## {text.markdown(table.title)}\n")
        if table.headers:
            marks = ["---" if i < table.left else "---:" for i in range(len(table.headers))]
            rows = [f"| {' | '.join(map(text.markdown, row))} |\n" for row in table.rows]
            head = f"| {' | '.join(map(text.markdown, table.headers))} |\n"
            parts.append(head + f"| {' | '.join(marks)} |\n" + "".join(rows))
        parts.append("".join(f"- {text.markdown(_said(line))}\n" for line in table.lines))
    return "\n".join(part for part in parts if part)


def figures_markdown(figures: Sequence[Figure], folder: str) -> str:
    """Images of figures that lie as SVG in a folder beside the document."""
    return "\n".join(
        f"![{text.markdown(figure.title)}]({quote(folder)}/{quote(figure.name)}.svg)\n\n"
        f"- {text.markdown(figure.title)}: {text.markdown(figure.caption)}\n"
        for figure in figures
    )


def to_latex(tables: Iterable[Listing]) -> str:
    """Tables of the package booktabs, to be taken into a document by \\input."""
    parts = ["% needs \\usepackage{booktabs}"]
    for table in tables:
        columns = "".join("l" if i < table.left else "r" for i in range(len(table.headers)))
        rows = [" & ".join(map(text.latex, row)) + r" \\" for row in (table.headers, *table.rows)]
        body = [r"\toprule", rows[0], r"\midrule", *rows[1:], r"\bottomrule"]
        parts += [
            "",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{text.latex(table.title)}}}",
            *([rf"\begin{{tabular}}{{{columns}}}", *body, r"\end{tabular}"] if columns else []),
            *(rf"\par\small {text.latex(_said(line))}" for line in table.lines),
            r"\end{table}",
        ]
    return "\n".join(parts)


def to_delimited(tables: Sequence[Listing], mark: str = ",") -> str:
    """Rows of cells; of several tables each has its title above it and an empty line below."""
    several = len(tables) > 1
    parts = []
    for table in tables:
        parts += [text.csv(table.title)] if several else []
        parts += [mark.join(map(text.csv, row)) for row in (table.headers, *table.rows)]
        parts += [""] if several else []
    return "\n".join(parts)


def to_json(tables: Iterable[Listing]) -> dict[str, Any]:
    """The tables as they are shown; a command's own document has the numbers in full."""
    return {
        "tables": [
            {"title": item.title, "headers": item.headers, "rows": item.rows}
            | {"lines": [_said(line) for line in item.lines]}
            for item in tables
        ]
    }


FORMATS: dict[str, Callable[[Sequence[Listing]], str]] = {
    "csv": to_delimited,
    "tsv": lambda tables: to_delimited(tables, "\t"),
    "md": lambda tables: to_markdown("", tables),
    "latex": to_latex,
}


def _said(line: str | Note) -> str:
    return text.visible(note_text(line) if isinstance(line, Note) else line)
