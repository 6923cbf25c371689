"""The report as one page that stands alone: words, figures, tables; no network, no other file.

All is there without the script, which only adds what a pointer or the arrow keys show, and sorting.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files

from scaling_cli import text
from scaling_cli.drawing.figure import MOST_POINTS, Figure
from scaling_cli.drawing.svg import figure_css, legend, to_svg
from scaling_cli.notes import Note
from scaling_cli.report.listing import Listing, note_text


def to_page(
    title: str, summary: Sequence[str], figures: Sequence[Figure], tables: Iterable[Listing]
) -> str:
    """The whole page: paragraphs in words, the figures, the tables."""
    name = text.html(title)
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        # what no page of ours needs is forbidden, should a text slip through
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\';'
        " style-src 'unsafe-inline'; script-src 'unsafe-inline'\">",
        f"<title>{name}</title><style>{figure_css()}{_part('page.css')}</style></head><body><main>",
        f"<h1>{name}</h1>",
    ]
    paragraphs = (f'<p class="summary">{text.html(words)}</p>' for words in summary)
    parts += [words.replace(" %", "\u00a0%") for words in paragraphs]
    if figures:
        parts.append('<h2>Figures</h2><div class="figures">')
        parts += _figures(figures)
        parts.append("</div>")
        parts.append("<h2>Tables</h2>")
    level = "h3" if figures else "h2"
    for table in tables:
        parts += _table(table, level)
    script = f"<script>{_part('page.js')}</script>" if figures else ""
    return "\n".join((*parts, f"</main>{script}</body></html>", ""))


def _part(name: str) -> str:
    return (files("scaling_cli.report") / name).read_text(encoding="utf-8")


def _figures(figures: Sequence[Figure]) -> list[str]:
    """The figures, with fewer points where many of them would make the page heavy."""
    for most in (MOST_POINTS, MOST_POINTS // 2, MOST_POINTS // 4):
        parts = [part for figure in figures for part in _figure(figure.thinned(most))]
        if sum(map(len, parts)) <= HEAVY:
            break
    return parts


def _figure(figure: Figure) -> Iterator[str]:
    name = text.html(figure.name)
    yield f'<figure><h3 id="{name}-title">{text.html(figure.title)}</h3>'
    yield to_svg(figure)
    yield f'<ul class="legend">{"".join(legend(figure))}</ul>'
    yield '<p class="said" aria-live="polite"></p>'
    data = b64encode(figure_csv(figure).encode()).decode()
    yield (
        f'<figcaption><span id="{name}-caption">{text.html(figure.caption)}</span>'
        f' <a class="data" download="{name}.csv" href="data:text/csv;base64,{data}">'
        f"Data of this figure (CSV)</a></figcaption></figure>"
    )


def figure_csv(figure: Figure) -> str:
    """The data of a figure, one line a point, its numbers in full."""
    header = ("series", "name", figure.x.label, figure.y.label, "low", "high")
    lines = [",".join(map(text.csv, header))]
    for series, name, *values in figure.rows():
        numbers = ("" if value is None else f"{value:.10g}" for value in values)
        lines.append(",".join((text.csv(series), text.csv(name), *numbers)))
    return "\n".join(lines) + "\n"


def _table(table: Listing, level: str) -> Iterator[str]:
    yield f"<{level}>{text.html(table.title)}</{level}>"
    if table.headers:
        yield '<div class="wide" tabindex="0"><table><thead><tr>'
        for i, cell in enumerate(table.headers):
            inside = f"<button>{text.html(cell)}</button>" if cell else ""
            yield f'<th scope="col" class="{_side(table, i)}">{inside}</th>'
        yield "</tr></thead><tbody>"
        for row in table.rows:
            cells = (
                f'<td class="{_side(table, i)}{_long(cell)}">{text.html(cell)}</td>'
                for i, cell in enumerate(row)
            )
            yield f"<tr>{''.join(cells)}</tr>"
        yield "</tbody></table></div>"
    if table.lines:
        items = "".join(
            f'<li class="{line.severity if isinstance(line, Note) else "info"}">'
            f"{text.html(note_text(line) if isinstance(line, Note) else line)}</li>"
            for line in table.lines
        )
        yield f"<ul>{items}</ul>"


HEAVY = 3_000_000  # characters of all figures: a page is to be sent by mail
LONG = 48  # letters from which a cell is a sentence, which may break


def _long(cell: str) -> str:
    return " long" if len(cell) > LONG and " " in cell else ""


def _side(table: Listing, column: int) -> str:
    return "word" if column < table.left else "number"
