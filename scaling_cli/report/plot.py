"""A training curve and its forecast: as text for a terminal, or as a figure by matplotlib."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from scaling_cli.errors import InputError, install
from scaling_cli.quantities import count, number, share
from scaling_cli.text import visible

if TYPE_CHECKING:
    from scaling_cli.training.curve import Curve
    from scaling_cli.training.forecast import Forecast

WIDTH, HEIGHT = 68, 16  # characters of the plotting area: with its axis 80 columns
HIDDEN = 0.05  # of the steps at the beginning, whose fall would flatten all the rest


def text_plot(curve: Curve, forecast: Forecast) -> str:
    """Logged losses as `o`, what is predicted as `-` inside its band of `:`; loss over steps."""
    first = HIDDEN * forecast.steps[-1]
    seen = (curve.steps >= first) & (curve.steps <= forecast.steps[-1])
    ahead = (forecast.steps > forecast.seen) & (forecast.steps >= first)
    shown = [*curve.loss[seen], *forecast.low[ahead], *forecast.high[ahead]]
    bottom, top = min(shown), max(shown)
    span = top - bottom or 1.0
    grid = [[" "] * WIDTH for _ in range(HEIGHT)]

    def column(step: float) -> int:
        return int(0.5 + (WIDTH - 1) * (step - first) / max(forecast.steps[-1] - first, 1))

    def row(loss: float) -> int:
        return int(0.5 + (HEIGHT - 1) * (top - loss) / span)

    for i in ahead.nonzero()[0]:
        at = column(forecast.steps[i])
        for line in range(row(forecast.high[i]), row(forecast.low[i]) + 1):
            grid[line][at] = ":"
    for i in ahead.nonzero()[0]:
        grid[row(forecast.loss[i])][column(forecast.steps[i])] = "-"
    for step, loss in zip(curve.steps[seen], curve.loss[seen], strict=True):
        grid[row(loss)][column(step)] = "o"
    lines = []
    for i, cells in enumerate(grid):
        label = number(top - span * i / (HEIGHT - 1)) if i % 5 == 0 else ""
        lines.append(f"{label:>8} |{''.join(cells).rstrip()}")
    lines.append(" " * 9 + "+" + "-" * WIDTH)
    left, right = count(first), f"step {count(float(forecast.steps[-1]))}"
    lines.append(" " * 10 + left + right.rjust(WIDTH - len(left)))
    lines.append(" " * 10 + f"o logged, - predicted, : {share(forecast.level)} of what may come")
    return "\n".join(lines)


def figure_bytes(curve: Curve, forecast: Forecast, path: str) -> bytes:
    """The same as a figure; the suffix of `path` says which kind."""
    if Path(path).suffix.lower() not in (".png", ".svg", ".pdf"):
        raise InputError(f"-o {path}: no kind of figure", "Name it .png, .svg or .pdf.")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError(
            "a figure needs matplotlib, which is not installed",
            install("plots"),
        ) from None
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = figure.subplots()
    ahead = forecast.steps > forecast.seen
    axes.plot(curve.steps, curve.loss, ".", color="0.25", markersize=3, label="logged")
    axes.fill_between(
        forecast.steps[ahead],
        forecast.low[ahead],
        forecast.high[ahead],
        alpha=0.25,
        linewidth=0,
        label=f"{share(forecast.level)} band",
    )
    axes.plot(forecast.steps[ahead], forecast.loss[ahead], label="predicted")
    late = curve.loss[curve.steps >= HIDDEN * forecast.steps[-1]]
    top = max([*late, *forecast.high[ahead]], default=None)
    title = visible(forecast.run_id).replace("$", r"\$")  # no formula
    axes.set(xlabel="step", ylabel="loss", title=title, ylim=(None, top))
    axes.legend()
    image = BytesIO()
    figure.savefig(image, format=Path(path).suffix[1:].lower(), dpi=150)
    return image.getvalue()
