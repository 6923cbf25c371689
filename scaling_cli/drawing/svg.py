"""A figure as an SVG image inside a page: no library, no script needed to see it.

Colours are variables of the page, so that it looks right in light, dark and print; every kind of
series has a mark of its own besides. Charting libraries for pages weigh 50 kB (uPlot) to 4 MB
(plotly) and draw nothing without scripts or on paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from importlib.resources import files

from scaling_cli.drawing.figure import LINES, Figure, Series, ticks
from scaling_cli.text import html

WIDTH, HEIGHT = 560, 360
LEFT, RIGHT, TOP, BOTTOM = 88, 12, 12, 46
COLOURS = 8  # that a page declares, as --c0 to --c7
LETTER = 9.3  # of the image's units that a letter takes on a phone and on paper
BESIDE = 6.0  # units between bars that would lie over each other, less where there are many
_PLOT = f'x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" height="{HEIGHT - TOP - BOTTOM}"'


def to_svg(figure: Figure, tips: bool = False) -> str:
    """The image with its title, axes and data. What a point says stands in `data-say`, for the
    script of a page; with `tips` in its title, which needs none."""
    return "\n".join(_Drawing(figure, tips).parts())


def figure_css() -> str:
    """The styles that the images and their legends need."""
    return (files("scaling_cli.drawing") / "figure.css").read_text(encoding="utf-8")


class _Drawing:
    def __init__(self, figure: Figure, tips: bool) -> None:
        self.figure = figure
        self.tips = tips
        (self.left, self.right), (self.bottom, self.top) = figure.limits()

    def across(self, place: float) -> float:
        share = (place - self.left) / (self.right - self.left)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def down(self, place: float) -> float:
        share = (place - self.bottom) / (self.top - self.bottom)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def at(self, x: float, y: float) -> tuple[float, float] | None:
        """Where a datum lies on the image, in its units; None if an axis cannot show it."""
        if not (self.figure.x.shows(x) and self.figure.y.shows(y)):
            return None
        return self.across(self.figure.x.place(x)), self.down(self.figure.y.place(y))

    def parts(self) -> Iterator[str]:
        name = html(self.figure.name)
        yield (
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" tabindex="0" class="picture"'
            f' aria-labelledby="{name}-title" aria-describedby="{name}-caption">'
        )
        yield f'<clipPath id="{name}-clip"><rect {_PLOT}/></clipPath>'
        yield from self.axes()
        yield f'<g clip-path="url(#{name}-clip)">'
        order = {"band": 0, "line": 1, "dashes": 1, "points": 3, "hollow": 3}
        for item in sorted(self.figure.series, key=lambda item: order[item.mark]):
            yield from self.drawn(item)
        yield "</g></svg>"

    def axes(self) -> Iterator[str]:
        floor, ceiling, end = HEIGHT - BOTTOM, TOP, WIDTH - RIGHT
        letter = LETTER / (WIDTH - LEFT - RIGHT)
        for place, text in ticks(self.figure.x, self.left, self.right, letter=letter):
            x = self.across(place)
            yield f'<path class="grid" d="M{x:.1f} {ceiling}V{floor}"/>'
            yield f'<text class="tick" x="{x:.1f}" y="{floor + 16}">{html(text)}</text>'
        for place, text in ticks(self.figure.y, self.bottom, self.top):
            y = self.down(place)
            yield f'<path class="grid" d="M{LEFT} {y:.1f}H{end}"/>'
            yield f'<text class="tick side" x="{LEFT - 6}" y="{y + 4:.1f}">{html(text)}</text>'
        yield f'<path class="axis" d="M{LEFT} {ceiling}V{floor}H{end}"/>'
        middle = (LEFT + end) / 2
        label = html(self.figure.x.label)
        yield f'<text class="label" x="{middle:.0f}" y="{HEIGHT - 8}">{label}</text>'
        yield (
            f'<text class="label" transform="translate(13 {(ceiling + floor) / 2:.0f})'
            f' rotate(-90)">{html(self.figure.y.label)}</text>'
        )
        for value, text in self.figure.rules:
            if self.figure.x.shows(value):
                x = self.across(self.figure.x.place(value))
                yield f'<path class="rule" d="M{x:.1f} {ceiling}V{floor}"/>'
                style, aside = ("ruled late", -5) if x > middle else ("ruled", 5)
                yield (
                    f'<text class="{style}" x="{x + aside:.1f}" y="{ceiling + 12}">'
                    f"{html(text)}</text>"
                )

    def drawn(self, item: Series) -> Iterator[str]:
        style = f"c{item.colour % COLOURS}"
        if item.mark == "band":
            yield from self.band(item, style)
        elif item.mark in LINES:
            spots = [spot for x, y in zip(item.x, item.y, strict=True) if (spot := self.at(x, y))]
            if len(spots) > 1:
                yield f'<path class="{item.mark} {style}" d="{_path(spots)}"/>'
            if item.colour in self.figure.marked():
                yield from self.marks(item, style)
            if item.name:  # what has none runs through points that say the same
                yield from self.data(item, style, "hit")
        else:
            if len(item.low):
                yield from self.bars(item, style)
            yield from self.data(item, style, item.mark)

    def marks(self, item: Series, style: str) -> Iterator[str]:
        for i in item.marks():
            spot = self.at(item.x[i], item.y[i])
            if spot:
                yield f'<path class="points {style}" d="{_shape(item.colour, *spot)}"/>'

    def beside(self, item: Series) -> float:
        """How far bars and their points stand beside their place."""
        steps = self.figure.aside(item)
        return steps * min(BESIDE, 14 / max(1.0, abs(steps)))

    def band(self, item: Series, style: str) -> Iterator[str]:
        below, above = [], []
        for x, low, high in zip(item.x, item.low, item.high, strict=True):
            ends = self.at(x, low), self.at(x, high)
            if ends[0] and ends[1]:
                below.append(ends[0])
                above.append(ends[1])
        if len(below) > 1:
            yield f'<path class="band {style}" d="{_path([*above, *reversed(below)])}Z"/>'

    def bars(self, item: Series, style: str) -> Iterator[str]:
        beside = self.beside(item)
        for x, low, high in zip(item.x, item.low, item.high, strict=True):
            foot, head = self.at(x, low), self.at(x, high)
            if foot and head:
                start = f"M{foot[0] + beside:.1f} {foot[1]:.1f}"
                yield f'<path class="bar {style}" d="{start}V{head[1]:.1f}"/>'

    def data(self, item: Series, style: str, mark: str) -> Iterator[str]:
        """The points, each with what it says; those of a line are seen when they are pointed at."""
        seen = "datum" if mark == "hit" else f"datum {mark}"
        beside = self.beside(item)
        for i, (x, y) in enumerate(zip(item.x, item.y, strict=True)):
            spot = self.at(x, y)
            if spot:
                said = html(self.said(item, i))
                tip = f"><title>{said}</title></path>" if self.tips else f' data-say="{said}"/>'
                shape = _shape(item.colour, spot[0] + beside, spot[1])
                yield f'<path class="{seen} {style}" d="{shape}"{tip}'

    def said(self, item: Series, i: int) -> str:
        axes = self.figure.x, self.figure.y
        name = item.names[i] if item.names else item.name
        values = [
            f"{axis.label} {axis.shape(float(value))}"
            for axis, value in zip(axes, (item.x[i], item.y[i]), strict=True)
        ]
        if len(item.low):
            low, high = float(item.low[i]), float(item.high[i])
            values.append(f"interval {axes[1].shape(low)}..{axes[1].shape(high)}")
        return f"{name}: {', '.join(values)}"


def _path(spots: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in spots)


# Corners, the turn of the first by halves of their distance, and how far those between reach in.
_SHAPES = {1: (4, 1, 1.0), 2: (3, 0, 1.0), 3: (4, 0, 1.0), 4: (3, 0.5, 1.0), 5: (3, 1, 1.0),
           6: (4, 1, 0.35), 7: (5, 0, 0.45)}  # fmt: skip


def _shape(colour: int, x: float, y: float) -> str:
    """The outline of a point by its colour: a circle, square, triangle, diamond, cross or star."""
    r = 3.6
    if colour % COLOURS == 0:
        return f"M{x - r:.1f} {y:.1f}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0Z"
    sides, turn, inner = _SHAPES[colour % COLOURS]
    size = 1.25 * r
    corners = []
    for k in range(2 * sides if inner < 1 else sides):
        angle = math.pi * (k + turn) / sides if inner < 1 else math.pi * (2 * k + turn) / sides
        reach = 1.2 * size * (inner if k % 2 else 1) if inner < 1 else size
        corners.append((x + reach * math.sin(angle), y - reach * math.cos(angle)))
    return _path(corners) + "Z"


def legend(figure: Figure) -> Iterator[str]:
    """The names of the series, each beside its mark, as items of a list."""
    for item in figure.series:
        if not item.label:
            continue
        style = f"c{item.colour % COLOURS}"
        if item.mark == "band":
            drawn = f'<path class="band {style}" d="M1 2H25V12H1Z"/>'
        elif item.mark in LINES:
            drawn = f'<path class="{item.mark} {style}" d="M1 7H25"/>'
            if figure.bears_mark(item):
                drawn += f'<path class="points {style}" d="{_shape(item.colour, 13, 7)}"/>'
        else:
            bar = f'<path class="bar {style}" d="M13 0V14"/>' if len(item.low) else ""
            drawn = f'{bar}<path class="{item.mark} {style}" d="{_shape(item.colour, 13, 7)}"/>'
        key = f'<svg width="26" height="14" aria-hidden="true">{drawn}</svg>'
        yield f"<li>{key} {html(item.name)}</li>"
