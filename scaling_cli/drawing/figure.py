"""What a figure is: its data and how they are to be shown, before anything is drawn.

A figure is made once; `scaling_cli.drawing.svg` (pages), `.plots` (matplotlib) and `.terminal`
draw it, so that no picture is computed twice.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from scaling_cli.quantities import count, number
from scaling_cli.records import Floats

Mark = Literal["points", "hollow", "line", "dashes", "band"]
Values = Sequence[float] | Floats
Shape = Callable[[float | None], str]
LINES: tuple[Mark, ...] = ("line", "dashes")
POINTS: tuple[Mark, ...] = ("points", "hollow")
MARKS = 4  # that a line bears
MOST_POINTS = 2000  # of one figure on a page: more cannot be told apart on 600 pixels


@dataclass(frozen=True)
class Axis:
    """`shape` writes a value for people; what is `whole` has no value between whole numbers."""

    label: str
    log: bool = True
    shape: Shape = number
    whole: bool = False

    def place(self, value: float) -> float:
        """Where a value lies along the axis, in units that are even on paper."""
        return math.log10(value) if self.log else value

    def shows(self, value: float | None) -> bool:
        return value is not None and math.isfinite(value) and (value > 0 or not self.log)


@dataclass(frozen=True)
class Series:
    """One thing drawn: `x`, `y` [points]; `low`, `high` [points] the ends of a band or of bars.

    `names` [points] say what a point is, of a run its id. Series of one `colour` belong together,
    and those that are not `listed` go without a line in the legend.
    """

    name: str
    mark: Mark
    x: Values
    y: Values
    low: Values = ()
    high: Values = ()
    names: Sequence[str] = ()
    colour: int = 0
    listed: bool = True

    @property
    def label(self) -> str:
        """Its name in a legend; none where it has no place there."""
        return self.name if self.listed and len(self.x) else ""

    def marks(self) -> list[int]:
        """The rows at which a line bears its marks, elsewhere by every colour."""
        shift = (self.colour % MARKS + 1) / (MARKS + 1)
        return [round((k + shift) / MARKS * (len(self.x) - 1)) for k in range(MARKS)]

    def thinned(self, most: int) -> Series:
        """At most `most` (two or more) evenly spaced points, the first and the last among them."""
        total = len(self.x)
        if total <= most:
            return self
        rows = [round(i * (total - 1) / (most - 1)) for i in range(most)]

        def pick(values: Values) -> list[float]:
            return [float(values[i]) for i in rows] if len(values) else []

        names = [self.names[i] for i in rows] if self.names else ()
        x, y, low, high = map(pick, (self.x, self.y, self.low, self.high))
        return replace(self, x=x, y=y, low=low, high=high, names=names)


@dataclass(frozen=True)
class Figure:
    """A titled picture. The caption says to a reader who knows no paper what is seen; `rules` are
    upright lines, each a place along x and its text."""

    name: str  # of its files: letters and hyphens
    title: str
    caption: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    rules: tuple[tuple[float, str], ...] = ()
    whole: Figure | None = None  # of a thinned figure, what it was

    def marked(self) -> set[int]:
        """The colours of lines that nothing but their colour would tell apart: each bears marks."""
        lines = {item.colour for item in self.series if item.mark in LINES}
        bare = lines - {item.colour for item in self.series if item.mark in POINTS}
        return bare if len(bare) > 1 else set()

    def bears_mark(self, item: Series) -> bool:
        """Whether the legend shows a line with the mark of its colour: one that it bears, or that
        of points which have no line of their own there."""
        points = [one for one in self.series if one.mark in POINTS and one.colour == item.colour]
        unlisted = bool(points) and not any(one.label for one in points)
        return item.mark in LINES and (unlisted or item.colour in self.marked())

    def aside(self, item: Series) -> float:
        """How far a series of bars stands beside its place, in steps, where others have bars at
        the same place and would lie over them."""
        if not len(item.low) or item.mark not in POINTS:
            return 0.0
        places = set(map(float, item.x))
        beside = [
            one
            for one in self.series
            if one.mark in POINTS and len(one.low) and not places.isdisjoint(map(float, one.x))
        ]
        return next(i for i, one in enumerate(beside) if one is item) - (len(beside) - 1) / 2

    def limits(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The lowest and highest place along x and along y, with a margin of 4 %, or of 8 % where
        bars stand beside their place."""
        along = [self.x.place(v) for item in self.series for v in item.x if self.x.shows(v)]
        along += [self.x.place(at) for at, _ in self.rules if self.x.shows(at)]
        heights = [
            self.y.place(v)
            for item in self.series
            for v in (*item.y, *item.low, *item.high)
            if self.y.shows(v)
        ]
        beside = any(self.aside(item) for item in self.series)
        return _widened(along, 0.08 if beside else 0.04), _widened(heights)

    def thinned(self, most: int = MOST_POINTS) -> Figure:
        """The figure with as many points as a page can show, each series by the same factor, which
        its caption says; one that was thinned before begins again."""
        whole = self.whole or self
        before = sum(len(item.x) for item in whole.series)
        if before <= most:
            return whole
        series = tuple(
            item.thinned(max(2, math.ceil(len(item.x) * most / before))) for item in whole.series
        )
        after = sum(len(item.x) for item in series)
        caption = f"{whole.caption} {after:,} of {before:,} points are drawn, evenly spaced."
        return replace(whole, series=series, caption=caption, whole=whole)

    def rows(self) -> Iterator[tuple[str, str, float, float, float | None, float | None]]:
        """The data: series, name, x, y, low, high of every point."""
        for item in self.series:
            for i, (x, y) in enumerate(zip(item.x, item.y, strict=True)):
                ends = (float(item.low[i]), float(item.high[i])) if len(item.low) else (None, None)
                yield (item.name, item.names[i] if item.names else "", float(x), float(y), *ends)


def _widened(places: Iterable[float], part: float = 0.04) -> tuple[float, float]:
    ends = list(places)
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    margin = part * (high - low) or 0.05 * abs(high) or 0.5
    return low - margin, high + margin


def ticks(
    axis: Axis, low: float, high: float, most: int = 6, letter: float = 0.0
) -> list[tuple[float, str]]:
    """Some `most` round values between two places: the place and the text of each. `letter` is the
    share of the axis that a letter takes along it: fewer are given where texts would meet."""
    texts: dict[str, float] = {}  # values closer than a figure has digits share a text: one stays
    for value in _log_ticks(low, high, most) if axis.log else _even_ticks(axis, low, high, most):
        texts.setdefault(_plain(axis.shape(value)), axis.place(value))
    marks = [(place, text) for text, place in texts.items()]
    meet = any(
        (place - before) < letter * (high - low) * ((len(text) + len(last)) / 2 + 1)
        for (before, last), (place, text) in pairwise(marks)
    )
    return ticks(axis, low, high, most - 1, letter) if meet and most > 1 else marks


def _even_ticks(axis: Axis, low: float, high: float, most: int) -> list[float]:
    for digits in ((1, 2, 2.5, 5, 10), (1, 2, 5, 10)):
        step = _round_step((high - low) / most, digits)
        step = max(1.0, step) if axis.whole else step
        values = [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
        if all(_says(axis, value, step) for value in values):
            break
    return values


def _says(axis: Axis, value: float, step: float) -> bool:
    """Whether the text of a tick is its value: of 102.5B few digits would leave 102B."""
    between = f"{step:e}".startswith("2.5") and round(value / step) % 2 == 1
    digits = re.sub(r"\D", "", axis.shape(value).partition("e")[0]).rstrip("0")
    return not between or digits.endswith("5")


_DIGITS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8))
ENOUGH = 4  # ticks of an axis


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    """Values at even powers of ten; of fewer than three decades at round digits between them, and
    of less than half a decade at even steps."""
    decades = range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
    if len(decades) > most or len(decades) >= ENOUGH:
        every = math.ceil(len(decades) / most)
        return [10.0**k for k in decades if k % every == 0]
    sets = [
        [
            digit * 10.0**k
            for k in range(math.floor(low), math.ceil(high) + 1)
            for digit in digits
            if low <= math.log10(digit * 10.0**k) <= high
        ]
        for digits in _DIGITS
    ]
    best = max((values for values in sets if len(values) <= most + 1), key=len, default=[])
    if len(best) >= min(ENOUGH, most) or high - low > 0.5:
        return best
    return _even_ticks(Axis("", log=False), 10.0**low, 10.0**high, most)


def _round_step(size: float, digits: Sequence[float]) -> float:
    """The least round step that is not below nine tenths of the size."""
    scale = 10.0 ** math.floor(math.log10(size)) if size > 0 else 1.0
    return next(digit * scale for digit in digits if digit * scale >= 0.9 * size)


def _plain(text: str) -> str:
    """A tick without the zeros that only say how exact a figure is: `1.000` is 1, `5.0 %` 5 %."""
    return re.sub(r"\.0+(?!\d)|(\.\d*[1-9])0+(?!\d)", r"\1", text)


PARAMS = Axis("params", shape=count)
TOKENS = Axis("tokens", shape=count)
