"""The figure of an answer that a notebook holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scaling_cli import shown
from scaling_cli.errors import InputError
from scaling_cli.fitting.backtest import Comparison
from scaling_cli.fitting.result import Fit, Prediction
from scaling_cli.planning.memo import Memo
from scaling_cli.planning.recipes import SideBySide
from scaling_cli.planning.splits import Allocation
from scaling_cli.report import answers
from scaling_cli.report.figures import curve_figure
from scaling_cli.table import Table
from scaling_cli.training.forecast import Forecast
from scaling_cli.training.plan import SchedulePlan

if TYPE_CHECKING:
    from scaling_cli.drawing.figure import Figure


def figure_of(answer: Any, rows: Table, fits: Sequence[Fit]) -> Figure | None:
    """The figure of an answer, with the runs of a table and, of splits, the fits they are by."""
    parts = list(answer) if isinstance(answer, list | tuple) else [answer]
    first = parts[0] if parts else None
    if isinstance(first, Fit):
        return answers.fits_figure(rows, parts)
    if isinstance(first, Memo):
        return answers.splits_figure(rows, fits, [memo.split for memo in parts])
    if isinstance(first, Allocation):
        return answers.splits_figure(rows, fits, parts)
    if isinstance(first, Comparison):
        return answers.compared_figure(parts)
    if isinstance(first, SideBySide):
        return answers.recipes_figure(first)
    if isinstance(first, SchedulePlan):
        return answers.schedules_figure(first)
    if isinstance(first, Prediction):
        return answers.predictions_figure(rows, fits, parts)
    raise InputError(
        f"there is no figure of {type(first).__name__}",
        "There is one of fits, predictions, splits, plans, comparisons, recipes and schedules.",
    )


def _draw(result: shown.Shown, beside: shown.Beside) -> Figure | None:
    """The figure of a result with what was put beside it; None where its kind has none."""
    parts = list(result) if isinstance(result, list) else [result]
    if parts and isinstance(parts[0], Forecast):
        curve = beside.read()
        return curve_figure(curve, parts[0]) if curve is not None else None
    if not parts or not isinstance(parts[0], DRAWN):
        return None
    rows = beside.read()
    table = rows if isinstance(rows, Table) else Table.from_columns({})
    return figure_of(parts, table, beside.fits)


DRAWN = (Fit, Memo, Allocation, Comparison, SideBySide, SchedulePlan, Prediction)
shown.draw = _draw
