"""Results that show themselves: as rows, as a card of a notebook, as a figure, as a
data frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, is_dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

from scaling_cli.errors import ScalefitError, install
from scaling_cli.quantities import count, measured, number, power
from scaling_cli.text import html

if TYPE_CHECKING:
    from scaling_cli.drawing.figure import Figure

T = TypeVar("T", bound="Shown")


@dataclass(frozen=True)
class Beside:
    """What a figure shows beside a result: what it rests on (a table of runs, the curve of a run;
    or how to read it, when a figure is drawn) and the fits that gave it."""

    data: Any = None
    fits: tuple[Any, ...] = ()

    def read(self) -> Any:
        return self.data() if callable(self.data) else self.data


class Shown:
    """What has rows: each a mapping of names to numbers, texts or None."""

    beside = Beside()

    def put_beside(self, beside: Beside) -> None:
        """Keep what its figure is to show; it is no part of the result, and not pickled with it."""
        object.__setattr__(self, "beside", beside)

    def __getstate__(self) -> dict[str, Any]:
        """Its fields alone: what was derived of them is derived again."""
        names = [item.name for item in fields(self)] if is_dataclass(self) else list(vars(self))
        return {name: vars(self)[name] for name in names if name != "beside"}

    def figure(self) -> Figure | None:
        """The result as a figure, made with what was put beside it; None where it has none."""
        return draw(self, self.beside) if draw else None

    def plot(self, axes: Any = None) -> Any:
        """Draw it on matplotlib `axes`, new ones if none are given, and return them. ScalefitError
        where it has no figure or matplotlib is not installed."""
        from scaling_cli.drawing.plots import on_axes

        figure = self.figure()
        if figure is None:
            raise ScalefitError(f"there is no figure of this {type(self).__name__}")
        return on_axes(figure, axes)

    def rows(self) -> list[dict[str, Any]]:
        """The numbers of the result, a row each."""
        raise NotImplementedError

    def caption(self) -> str:
        """What stands above the rows."""
        return ""

    def remarks(self) -> list[str]:
        """What has to be said with the rows: warnings, as `severity [code] message`."""
        notes = getattr(self, "notes", ())
        return [f"{note.severity} [{note.code}] {note.message}" for note in notes]

    def to_frame(self) -> Any:
        """The rows as a pandas.DataFrame; ScalefitError where pandas is not installed."""
        try:
            import pandas
        except ImportError:
            raise ScalefitError("a data frame needs pandas", install("frames")) from None
        return pandas.DataFrame(self.rows())

    def _repr_html_(self) -> str:
        from scaling_cli.drawing.card import card

        figure = self.figure()
        return card(figure, self._table()) if figure else self._table()

    def _table(self) -> str:
        rows = [_cells(row) for row in self.rows()]
        names = list(dict.fromkeys(name for row in rows for name in row))
        head = "".join(f"<th>{html(name)}</th>" for name in names)
        body = "".join(
            "<tr>" + "".join(f"<td>{html(row.get(name, '-'))}</td>" for name in names) + "</tr>"
            for row in rows
        )
        remarks = "".join(f"<li>{html(text)}</li>" for text in self.remarks())
        caption = f"<caption>{html(self.caption())}</caption>" if self.caption() else ""
        # a notebook would break run ids at their hyphens
        opened = f'<table style="white-space: nowrap">{caption}'
        table = f"{opened}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f"{table}<ul>{remarks}</ul>" if remarks else table


# How any result is drawn: set by the room that knows them all, which none of theirs may import.
draw: Callable[[Shown, Beside], Figure | None] | None = None


class Results(list[T], Shown):
    """Several results of one kind, in a list."""

    def __init__(self, results: Iterable[T] = ()) -> None:
        super().__init__(results)

    def put_beside(self, beside: Beside) -> None:
        super().put_beside(beside)
        for result in self:
            result.put_beside(beside)

    def rows(self) -> list[dict[str, Any]]:
        return [row for result in self for row in result.rows()]

    def remarks(self) -> list[str]:
        return list(dict.fromkeys(text for result in self for text in result.remarks()))


def _cells(row: dict[str, Any]) -> dict[str, str]:
    """A row as people read it: counts, compute, and values rounded to what their interval
    supports, which stands in `low` and `high` behind them or in `NAME_low` and `NAME_high`."""
    cells = {name: _cell(name, value) for name, value in row.items()}
    for before, name in pairwise([*row, ""]):
        stem = "" if name == "low" else f"{before}_"
        ends = f"{stem}low", f"{stem}high"
        value, low, high = (row.get(item) for item in (before, *ends))
        if not _is_count(before) and all(isinstance(item, float) for item in (value, low, high)):
            cells[before], interval = measured(value, low, high)
            cells.update(zip(ends, interval.split(".."), strict=True))
    return cells


def _is_count(name: str) -> bool:
    words = name.split("_")
    return "flops" in words or (words[0] in COUNTED and "per" not in words)


COUNTED = ("params", "tokens", "valley", "training", "budget")  # columns of counts and of compute


def _cell(name: str, value: Any) -> str:
    if not isinstance(value, float):
        return "-" if value is None else str(value)
    if "flops" in name or name.startswith("budget"):
        return power(value)
    if _is_count(name):
        return count(value)
    return f"{value:.0f}" if value.is_integer() and abs(value) < LONG else number(value)


LONG = 1e6  # steps and other whole numbers below this are written out
