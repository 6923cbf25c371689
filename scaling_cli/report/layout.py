"""Where the cells of a table go: one line a row, or within the columns of a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest

from scaling_cli.report.listing import Listing
from scaling_cli.text import visible

GAP = 2  # columns between two cells
INDENT = 2  # of what belongs to the line above
LEAST_WORDS = 12  # columns that a cell of words keeps where it is folded


def lines_of(table: Listing, width: int | None = None) -> list[str]:
    """The headers and the rows, aligned, every character seen.

    Without a `width` a row is one line, for pipes and files. Within one, a table that is too wide
    has the first cell of each row on a line of its own; if that is not enough, words are folded
    between them and the cells follow each other by name. No word is broken that fits a line.
    """
    rows = [[visible(cell) for cell in row] for row in (table.headers, *table.rows)]
    if not rows[0]:
        return []
    sizes = [max(cells_of(row[i]) for row in rows) for i in range(len(rows[0]))]
    if width is None or _total(sizes) <= width:
        return [_line(row, sizes, table.left) for row in rows]
    if table.left >= len(sizes):  # words alone: fold them
        fitting = _folded(rows, sizes, table.left, width)
        if fitting:
            return fitting
    for words in sorted({table.left, 1}, reverse=True):  # the words of a row above its figures
        if 0 < words < len(sizes) and INDENT + _total(sizes[words:]) <= width:
            if words > 1 and _total(sizes[:words]) > width:
                continue
            return _under(rows, sizes, words, table.left, width)
    return _folded(rows, sizes, table.left, width) or _by_name(rows, width)


def _total(sizes: Sequence[int]) -> int:
    return sum(sizes) + GAP * (len(sizes) - 1)


def _line(row: Sequence[str], sizes: Sequence[int], left: int) -> str:
    cells = (
        cell + " " * (size - cells_of(cell)) if i < left else " " * (size - cells_of(cell)) + cell
        for i, (cell, size) in enumerate(zip(row, sizes, strict=True))
    )
    return (" " * GAP).join(cells).rstrip()


def _under(
    rows: Sequence[Sequence[str]], sizes: Sequence[int], words: int, left: int, width: int
) -> list[str]:
    """The first cells of each row, and the others under them."""
    lines = []
    for row in rows:
        lines += folded(_line(row[:words], sizes[:words], words), width)
        lines.append(" " * INDENT + _line(row[words:], sizes[words:], left - words))
    return lines


def _folded(
    rows: Sequence[Sequence[str]], sizes: Sequence[int], left: int, width: int
) -> list[str]:
    """The table with its last cells of words folded to what is left of the width; nothing if that
    would break a word."""
    sizes = list(sizes)
    for i in reversed(range(min(left, len(sizes)))):
        longest = max(cells_of(word) for row in rows for word in row[i].split() or [""])
        wanted = sizes[i] - (_total(sizes) - width)
        sizes[i] = min(sizes[i], max(wanted, longest, LEAST_WORDS))
        if _total(sizes) <= width:
            break
    if _total(sizes) > width:
        return []
    lines = []
    for row in rows:
        cells = [
            folded(cell, size) if i < left else [cell]
            for i, (cell, size) in enumerate(zip(row, sizes, strict=True))
        ]
        lines += [_line(part, sizes, left) for part in zip_longest(*cells, fillvalue="")]
    return lines


def _by_name(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Every row as its first cell, and the others as `name value` under it."""
    headers, *others = rows
    lines = []
    for first, *cells in others:
        pairs = [f"{name} {cell}".strip() for name, cell in zip(headers[1:], cells, strict=True)]
        text = "; ".join(pair for pair in pairs if pair)
        lines += folded(first, width)
        lines += [" " * INDENT + part for part in folded(text, width - INDENT)]
    return lines


def folded(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` columns, broken between words where that is possible."""
    if cells_of(text) <= width:
        return [text]
    lines, line = [], ""
    for word in re.split(r" (?!%)", text):  # a share stays with its sign
        joined = f"{line} {word}" if line else word
        if cells_of(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        while cells_of(word) > width:  # longer than a line
            size = next(n for n in range(len(word), 0, -1) if cells_of(word[:n]) <= max(width, 2))
            lines.append(word[:size])
            word = word[size:]
        line = word
    return [*lines, line] if line or not lines else lines


def cells_of(text: str) -> int:
    """How many columns of a terminal a text takes; rich would be slow to load for it."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(
        0 if combining(char) else 1 + (east_asian_width(char) in ("F", "W")) for char in text
    )
