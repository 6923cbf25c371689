"""Tables to a terminal, as plain text, or as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from scaling_cli.notes import Note
from scaling_cli.report.tables import Table, note_text

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {"info": "dim", "warning": "yellow", "severe": "bold red"}


def to_terminal(tables: Iterable[Table], console: Console) -> None:
    """Each table with its lines under it, folded to the console's width."""
    from rich import box
    from rich.padding import Padding
    from rich.table import Table as RichTable
    from rich.text import Text

    for table in tables:
        console.print(Text(table.title, style="bold"))
        grid = RichTable(
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            collapse_padding=True,
            padding=(0, 1),
        )
        for i, header in enumerate(table.headers):
            grid.add_column(header, justify="left" if i < table.left else "right", overflow="fold")
        for row in table.rows:
            grid.add_row(*(Text(cell) for cell in row))
        console.print(grid)
        for line in table.lines:
            style = STYLES[line.severity] if isinstance(line, Note) else ""
            console.print(Padding(Text(_said(line), style=style), (0, 0, 0, 2)))
        if table.lines:
            console.print()


def to_text(tables: Iterable[Table]) -> str:
    """Aligned text that is never folded: for pipes and files, where a run is one line."""
    parts = []
    for table in tables:
        rows = [table.headers, *table.rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        parts.append(table.title)
        for row in rows:
            cells = [
                cell.ljust(width) if i < table.left else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            parts.append("  ".join(cells).rstrip())
        parts += [f"  {_said(line)}" for line in table.lines]
        parts.append("")
    return "\n".join(parts)


def to_markdown(title: str, tables: Sequence[Table]) -> str:
    parts = [f"# {title}\n"]
    for table in tables:
        parts.append(f"## {table.title}\n")
        marks = ["---" if i < table.left else "---:" for i in range(len(table.headers))]
        parts.append(_row(table.headers) + _row(marks) + "".join(map(_row, table.rows)))
        parts.append("".join(f"- {_escape(_said(line))}\n" for line in table.lines))
    return "\n".join(part for part in parts if part)


def _said(line: str | Note) -> str:
    return note_text(line) if isinstance(line, Note) else line


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(_escape(cell) for cell in cells) + " |\n"


def _escape(text: str) -> str:
    for mark in "\\|*_<>":
        text = text.replace(mark, f"\\{mark}")
    return text
