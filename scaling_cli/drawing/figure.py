"""What a figure is: its data and how they are to be shown, before anything is drawn.

A figure is made once; `scaling_cli.drawing.svg` (pages), `.plots` (matplotlib) and `.terminal`
draw it, so that no picture is computed twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from scaling_cli.quantities import count, number
from scaling_cli.records import Floats

Mark = Literal["points", "hollow", "line", "dashes", "band"]
Values = Sequence[float] | Floats
Shape = Callable[[float | None], str]
MOST_POINTS = 2000  # of one figure on a page: more cannot be told apart on 600 pixels


@dataclass(frozen=True)
class Axis:
    """`shape` writes a value for people."""

    label: str
    log: bool = True
    shape: Shape = number

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

    def limits(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The lowest and highest place along x and along y, with a margin of 4 %."""
        along = [self.x.place(v) for item in self.series for v in item.x if self.x.shows(v)]
        along += [self.x.place(at) for at, _ in self.rules if self.x.shows(at)]
        heights = [
            self.y.place(v)
            for item in self.series
            for v in (*item.y, *item.low, *item.high)
            if self.y.shows(v)
        ]
        return _widened(along), _widened(heights)

    def thinned(self, most: int = MOST_POINTS) -> Figure:
        """The figure with as many points as a page can show, each series by the same factor, which
        its caption says."""
        before = sum(len(item.x) for item in self.series)
        if before <= most:
            return self
        series = tuple(
            item.thinned(max(2, math.ceil(len(item.x) * most / before))) for item in self.series
        )
        after = sum(len(item.x) for item in series)
        caption = f"{self.caption} {after:,} of {before:,} points are drawn, evenly spaced."
        return replace(self, series=series, caption=caption)

    def rows(self) -> Iterator[tuple[str, str, float, float, float | None, float | None]]:
        """The data: series, name, x, y, low, high of every point."""
        for item in self.series:
            for i, (x, y) in enumerate(zip(item.x, item.y, strict=True)):
                ends = (float(item.low[i]), float(item.high[i])) if len(item.low) else (None, None)
                yield (item.name, item.names[i] if item.names else "", float(x), float(y), *ends)


def _widened(places: Iterable[float]) -> tuple[float, float]:
    ends = list(places)
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    margin = 0.04 * (high - low) or 0.05 * abs(high) or 0.5
    return low - margin, high + margin


def ticks(axis: Axis, low: float, high: float, most: int = 6) -> list[tuple[float, str]]:
    """At most about `most` round values between two places: the place and the text of each."""
    if axis.log:
        chosen = _log_ticks(low, high, most)
    else:
        step = _round_step((high - low) / max(most - 1, 1))
        chosen = [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
    texts: dict[str, float] = {}  # values closer than a figure has digits share a text: one stays
    for value in chosen:
        texts.setdefault(_plain(axis.shape(value)), axis.place(value))
    return [(place, text) for text, place in texts.items()]


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    decades = range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
    if len(decades) >= 3:
        every = math.ceil(len(decades) / most)
        return [10.0**k for k in decades if k % every == 0]
    for digits in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        values = [
            digit * 10.0**k
            for k in range(math.floor(low), math.ceil(high) + 1)
            for digit in digits
            if low <= math.log10(digit * 10.0**k) <= high
        ]
        if len(values) >= 3:
            return values[:: math.ceil(len(values) / most)]
    first, last = 10.0**low, 10.0**high  # less than half a decade: even steps
    step = _round_step((last - first) / max(most - 1, 1))
    return [k * step for k in range(math.ceil(first / step), math.floor(last / step) + 1)]


def _round_step(size: float) -> float:
    scale = 10.0 ** math.floor(math.log10(size)) if size > 0 else 1.0
    return next(digit * scale for digit in (1, 2, 5, 10) if digit * scale >= size * (1 - 1e-9))


def _plain(text: str) -> str:
    """A tick without the digits that only say how exact a figure is: `1.000` is 1, `2.50M` 2.5M."""
    head, mark, tail = text.partition("e")
    suffix = head[-1] if head[-1:].isalpha() else ""
    head = head.removesuffix(suffix)
    head = head.rstrip("0").rstrip(".") if "." in head else head
    return f"{head}{suffix}{mark}{tail}"


PARAMS = Axis("params", shape=count)
TOKENS = Axis("tokens", shape=count)
