"""A figure as characters, for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from textwrap import wrap

from scaling_cli.drawing.figure import POINTS, Figure, Series, ticks
from scaling_cli.text import visible

WIDTH, HEIGHT = 68, 16  # characters of the plotting area: with its axis 80 columns
# The characters of each kind of series, by its colour; `dashes` are those of a line with gaps.
MARKS = {"line": "-=~_^!/\\", "dashes": "-=~_^!/\\", "band": ":'`,:'`,", "points": "o*x+#@%&",
         "hollow": ".\"<>()[]"}  # fmt: skip
RULE = "|"
HARD = "\N{NO-BREAK SPACE}"


def to_terminal(figure: Figure, width: int = WIDTH, height: int = HEIGHT) -> str:
    """The figure, with a line under it that says what its characters are."""
    (left, right), (bottom, top) = figure.limits()
    grid = [[" "] * width for _ in range(height)]

    def column(place: float) -> int:
        return round((width - 1) * (place - left) / (right - left))

    def row(place: float) -> int:
        return round((height - 1) * (top - place) / (top - bottom))

    for place in _rules(figure):
        for cells in grid:
            cells[column(place)] = RULE
    for item in sorted(figure.series, key=_order):
        spots = [(column(x), row(high), row(low)) for x, low, high in _spots(figure, item)]
        for across, first, last in spots if item.mark in POINTS else _joined(spots):
            gap = item.mark == "dashes" and across % 4 > 1
            for line in range(max(first, 0), min(last, height - 1) + 1):
                if 0 <= across < width and not gap:
                    grid[line][across] = _char(item)
    labels = {row(place): text for place, text in ticks(figure.y, bottom, top, 4)}
    lines = [f"{labels.get(i, ''):>8} |{''.join(cells).rstrip()}" for i, cells in enumerate(grid)]
    lines.append(" " * 9 + "+" + "-" * width)
    foot = [" "] * width
    for place, text in ticks(figure.x, left, right, 6):
        start = min(max(column(place) - len(text) // 2, 0), width - len(text))
        if all(mark == " " for mark in foot[max(start - 1, 0) : start + len(text) + 1]):
            foot[start : start + len(text)] = text
    lines.append(" " * 10 + "".join(foot).rstrip())
    marks = [f"{_key(item)} {visible(item.name)}" for item in figure.series if item.label]
    marks += [f"{RULE} {visible(text)}" for _, text in figure.rules]
    keys = (mark.replace(" ", HARD) for mark in marks)  # no line ends between a mark and its name
    said = "   ".join((f"{visible(figure.y.label)} over {visible(figure.x.label)}:", *keys))
    margin = " " * 10
    wrapped = wrap(said, width + 10, initial_indent=margin, subsequent_indent=margin)
    lines += [line.replace(HARD, " ") for line in wrapped]
    return "\n".join(lines)


def _char(item: Series) -> str:
    chars = MARKS[item.mark]
    return chars[item.colour % len(chars)]


def _key(item: Series) -> str:
    return f"{_char(item)} {_char(item)}" if item.mark == "dashes" else _char(item)


def _rules(figure: Figure) -> list[float]:
    return [figure.x.place(value) for value, _ in figure.rules if figure.x.shows(value)]


def _order(item: Series) -> tuple[int, int]:
    """Which series is drawn before which: those of few points, runs kept out say, hide none."""
    return {"band": 0, "line": 1, "dashes": 1, "hollow": 1, "points": 2}[item.mark], -len(item.x)


def _joined(spots: Sequence[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    """The columns of a line or a band from spot to spot, each with its highest and lowest row."""
    yield from spots[:1]
    for (start, *ends), (end, *further) in pairwise(spots):
        for across in range(start + 1, end + 1):
            part = (across - start) / (end - start)
            high, low = (round(a + (b - a) * part) for a, b in zip(ends, further, strict=True))
            yield across, high, low


def _spots(figure: Figure, item: Series) -> Iterator[tuple[float, float, float]]:
    """The places of a series: along, lowest and highest."""
    for i, x in enumerate(item.x):
        ends = (item.low[i], item.high[i]) if item.mark == "band" else (item.y[i], item.y[i])
        if figure.x.shows(x) and all(map(figure.y.shows, ends)):
            low, high = map(figure.y.place, ends)
            yield figure.x.place(x), low, high
