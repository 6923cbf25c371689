"""Tables to a terminal, as plain text, as Markdown, or as a page of HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from scaling_cli.notes import Note
from scaling_cli.report.listing import Listing, note_text

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {"info": "dim", "warning": "yellow", "severe": "bold red"}


def to_terminal(tables: Iterable[Listing], console: Console) -> None:
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


def to_text(tables: Iterable[Listing]) -> str:
    """Aligned text that is never folded: for pipes and files, where a run is one line."""
    parts = []
    for table in tables:
        rows = [table.headers, *table.rows]
        widths = [max(map(_cells, column)) for column in zip(*rows, strict=True)]
        parts.append(table.title)
        for row in rows:
            spaces = [" " * (width - _cells(cell)) for cell, width in zip(row, widths, strict=True)]
            told = (
                cell + space if i < table.left else space + cell
                for i, (cell, space) in enumerate(zip(row, spaces, strict=True))
            )
            parts.append("  ".join(told).rstrip())
        parts += [f"  {_said(line)}" for line in table.lines]
        parts.append("")
    return "\n".join(parts)


def _cells(text: str) -> int:
    """How many columns of a terminal a text takes; rich would be slow to load for it."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(
        0 if combining(char) else 1 + (east_asian_width(char) in ("F", "W")) for char in text
    )


def to_markdown(title: str, tables: Sequence[Listing]) -> str:
    parts = [f"# {title}\n"]
    for table in tables:
        parts.append(f"## {table.title}\n")
        marks = ["---" if i < table.left else "---:" for i in range(len(table.headers))]
        parts.append(_row(table.headers) + _row(marks) + "".join(map(_row, table.rows)))
        parts.append("".join(f"- {_escape(_said(line))}\n" for line in table.lines))
    return "\n".join(part for part in parts if part)


STYLE_SHEET = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .4rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .7rem; text-align: right; white-space: nowrap; }
th { border-bottom: 1px solid; } td.word, th.word { text-align: left; }
tbody tr:nth-child(even) { background: color-mix(in srgb, currentColor 5%, transparent); }
ul { padding-left: 1.2rem; } .info { opacity: .75; }
.warning { color: light-dark(#8a5a00, #f0b952); }
.severe { color: light-dark(#b00020, #ff7a85); font-weight: 600; }
"""


def to_html(title: str, tables: Iterable[Listing], figures: Iterable[str] = ()) -> str:
    """One page that stands alone; `figures` are SVG images of our own making."""
    from html import escape

    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{STYLE_SHEET}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        *(f"<figure>{figure}</figure>" for figure in figures),
    ]
    for table in tables:
        cells = [
            "".join(
                f'<{tag} class="{"word" if i < table.left else "figure"}">{escape(cell)}</{tag}>'
                for i, cell in enumerate(row)
            )
            for tag, row in (("th", table.headers), *(("td", row) for row in table.rows))
        ]
        parts.append(f"<h2>{escape(table.title)}</h2>")
        parts.append(f'<div class="wide"><table><thead><tr>{cells[0]}</tr></thead><tbody>')
        parts += [f"<tr>{row}</tr>" for row in cells[1:]]
        parts.append("</tbody></table></div>")
        if table.lines:
            items = "".join(
                f'<li class="{line.severity if isinstance(line, Note) else "info"}">'
                f"{escape(_said(line))}</li>"
                for line in table.lines
            )
            parts.append(f"<ul>{items}</ul>")
    return "\n".join((*parts, "</body></html>", ""))


def _said(line: str | Note) -> str:
    return note_text(line) if isinstance(line, Note) else line


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(_escape(cell) for cell in cells) + " |\n"


def _escape(text: str) -> str:
    for mark in "\\|*_<>":
        text = text.replace(mark, f"\\{mark}")
    return text
