"""A figure by matplotlib, for papers and slides: .svg, .pdf, .png."""

from __future__ import annotations

from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling_cli.drawing.figure import LINES, Axis, Figure, Series, ticks
from scaling_cli.errors import InputError, install
from scaling_cli.text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KINDS = (".svg", ".pdf", ".png")
SIZE = (3.4, 2.5)  # inches: one column of a paper in two columns
ROW = 0.14  # inches that a line of the legend takes
LONG_NAME = 24  # letters, of which two do not fit side by side
LETTER = 0.028  # of the axis along x that a letter takes
LONGEST = 60  # letters of a name, which fill the width
STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.2,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "figure.dpi": 150,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,  # text stays text
    "svg.fonttype": "none",
    "svg.hashsalt": "scalefit",  # the same figure is the same file
}
# Okabe and Ito's palette, told apart by readers who see few colours (jfly.uni-koeln.de/color, 2008)
PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7A5F00"]
MARKERS = "os^D>vX*"
BESIDE = 2.5  # points between bars that would lie over each other
TITLE = 46  # letters of a title that fit on the width


def check_kind(path: str, option: str = "-o") -> None:
    """Raises InputError unless the suffix of the path is that of a figure."""
    if Path(path).suffix.lower() not in KINDS:
        raise InputError(f"{option} {path}: no kind of figure", "Name it .png, .svg or .pdf.")


def figure_bytes(figure: Figure, suffix: str, style: str | None = None) -> bytes:
    """The image as a file of that suffix holds it; `style` is a style file of matplotlib."""
    with _settings(style):
        from matplotlib.figure import Figure as Canvas

        canvas = Canvas(figsize=SIZE, layout="constrained")
        axes = draw(figure, canvas.subplots())
        handles, names = axes.get_legend_handles_labels()
        if handles:  # under the axes, where it hides nothing
            columns = 2 if max(map(len, names)) <= LONG_NAME else 1
            canvas.legend(handles, names, loc="outside lower left", ncols=columns)
            canvas.set_figheight(SIZE[1] + ROW * -(-len(names) // columns))
        image = BytesIO()
        # no date in the file: the same figure is the same bytes
        about: dict[str, Any] = {"Date": None} if suffix == ".svg" else {}
        about = {"CreationDate": None} if suffix == ".pdf" else about
        canvas.savefig(image, format=suffix[1:], metadata=about)
    return image.getvalue()


def draw(figure: Figure, axes: Axes) -> Axes:
    """The figure on axes that are given, which are returned."""
    for item in figure.series:
        _series(figure, item, axes)
    for place, text in figure.rules:
        axes.axvline(place, color="0.5", linewidth=0.6, linestyle=":")
        axes.annotate(
            _literal(text), (place, 1), xycoords=("data", "axes fraction"), rotation=90, va="top",
            ha="right", fontsize=6, color="0.4",
        )  # fmt: skip
    _scale(axes.xaxis, axes.set_xscale, axes.set_xlim, figure.x, figure.limits()[0], LETTER)
    _scale(axes.yaxis, axes.set_yscale, axes.set_ylim, figure.y, figure.limits()[1])
    axes.set(xlabel=_literal(figure.x.label), ylabel=_literal(figure.y.label))
    title = wrap(_literal(figure.title, 2 * TITLE - 6), TITLE)
    axes.set_title("\n".join(title), loc="left")
    return axes


def on_axes(figure: Figure, axes: Any = None) -> Any:
    """The figure with its legend on matplotlib axes, new ones of pyplot where none are given, which
    are returned."""
    with _settings(None):
        if axes is None:
            from matplotlib import pyplot

            axes = pyplot.subplots(figsize=(2 * SIZE[0], 2 * SIZE[1]), layout="constrained")[1]
        draw(figure, axes).legend(fontsize="small")
    return axes


def _scale(
    drawn: Any,
    set_scale: Any,
    set_limits: Any,
    axis: Axis,
    limits: tuple[float, float],
    letter: float = 0.0,
) -> None:
    """The same round values on an axis as on the page."""
    from matplotlib.ticker import NullLocator

    if axis.log:
        set_scale("log")

    def value(place: float) -> float:
        return float(10.0**place) if axis.log else place

    set_limits(*map(value, limits))
    marks = ticks(axis, *limits, 5, letter)
    drawn.set_ticks([value(place) for place, _ in marks], [text for _, text in marks])
    drawn.set_minor_locator(NullLocator())


def _series(figure: Figure, item: Series, axes: Axes) -> None:
    colour = PALETTE[item.colour % len(PALETTE)]
    marker = MARKERS[item.colour % len(MARKERS)]
    name = _literal(item.label) or None
    x, y = np.asarray(item.x, float), np.asarray(item.y, float)
    if item.mark == "band":
        axes.fill_between(x, item.low, item.high, color=colour, alpha=0.18, linewidth=0, label=name)
        return
    if item.mark in LINES:
        style: Any = {"linestyle": "-" if item.mark == "line" else "--", "color": colour}
        rows = item.marks() if item.colour in figure.marked() and len(x) else []
        axes.plot(x, y, marker=marker, markevery=rows, **style)
        if name:
            axes.plot([], [], marker=marker if figure.bears_mark(item) else "", label=name, **style)
        return
    from matplotlib.transforms import ScaledTranslation

    steps = figure.aside(item)
    aside = steps * min(BESIDE, 7 / max(1.0, abs(steps)))
    inches = axes.figure.dpi_scale_trans
    where = axes.transData + ScaledTranslation(aside / 72, 0, inches)
    if len(item.low):
        axes.vlines(x, item.low, item.high, color=colour, linewidth=0.8, transform=where)
    inside = "white" if item.mark == "hollow" else colour
    axes.plot(
        x, y, marker, color=colour, markerfacecolor=inside, label=name, transform=where, zorder=3
    )


def _literal(text: str, most: int = LONGEST) -> str:
    """Text that matplotlib takes for no formula, and that leaves room for the figure."""
    text = visible(text)
    if len(text) > most:
        text = f"{text[: most - 20]}\u2026{text[-19:]}"
    return text.replace("$", r"\$")


def _settings(style: str | None) -> AbstractContextManager[None]:
    try:
        import matplotlib as mpl
        from matplotlib import style as styles
    except ImportError:
        raise InputError(
            "a figure needs matplotlib, which is not installed", install("plots")
        ) from None
    if style is None:
        return mpl.rc_context(STYLE)
    if not Path(style).is_file():
        raise InputError(f"{style}: no style file", "Name a file of matplotlib's settings.")
    return styles.context([STYLE, style])
