"""A figure as characters, for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from scaling_cli.drawing.figure import Figure, Series, ticks
from scaling_cli.text import visible

WIDTH, HEIGHT = 68, 16  # characters of the plotting area: with its axis 80 columns
LINES = {"line": "-", "dashes": "-", "band": ":"}
POINTS = "o*x+#@%&"  # by colour
HOLLOW = "."


def to_terminal(figure: Figure, width: int = WIDTH, height: int = HEIGHT) -> str:
    """The figure, with a line under it that says what its characters are."""
    (left, right), (bottom, top) = figure.limits()
    grid = [[" "] * width for _ in range(height)]

    def column(place: float) -> int:
        return round((width - 1) * (place - left) / (right - left))

    def row(place: float) -> int:
        return round((height - 1) * (top - place) / (top - bottom))

    order = {"band": 0, "hollow": 1, "line": 2, "dashes": 2, "points": 3}
    for item in sorted(figure.series, key=lambda item: order[item.mark]):
        for x, low, high in _spots(figure, item):
            for line in range(max(row(high), 0), min(row(low), height - 1) + 1):
                if 0 <= column(x) < width:
                    grid[line][column(x)] = _char(item)
    labels = {row(place): text for place, text in ticks(figure.y, bottom, top, 4)}
    lines = [f"{labels.get(i, ''):>8} |{''.join(cells).rstrip()}" for i, cells in enumerate(grid)]
    lines.append(" " * 9 + "+" + "-" * width)
    foot = [" "] * width
    for place, text in ticks(figure.x, left, right, 6):
        start = min(max(column(place) - len(text) // 2, 0), width - len(text))
        if all(mark == " " for mark in foot[max(start - 1, 0) : start + len(text) + 1]):
            foot[start : start + len(text)] = text
    lines.append(" " * 10 + "".join(foot).rstrip())
    marks = (f"{_char(item)} {visible(item.name)}" for item in figure.series if item.label)
    said = "; ".join((f"{visible(figure.y.label)} over {visible(figure.x.label)}", *marks))
    margin = " " * 10
    lines += wrap(said, width + 10, initial_indent=margin, subsequent_indent=margin)
    return "\n".join(lines)


def _char(item: Series) -> str:
    if item.mark == "hollow":
        return HOLLOW
    return POINTS[item.colour % len(POINTS)] if item.mark == "points" else LINES[item.mark]


def _spots(figure: Figure, item: Series) -> Iterator[tuple[float, float, float]]:
    """The places of a series: along, lowest and highest."""
    for i, x in enumerate(item.x):
        ends = (item.low[i], item.high[i]) if item.mark == "band" else (item.y[i], item.y[i])
        if figure.x.shows(x) and all(map(figure.y.shows, ends)):
            low, high = map(figure.y.place, ends)
            yield figure.x.place(x), low, high
