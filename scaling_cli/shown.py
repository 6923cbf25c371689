"""Results that show themselves: as rows, as a table of a notebook, as a data frame."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from scaling_cli.errors import ScalefitError, install
from scaling_cli.quantities import number
from scaling_cli.text import html

T = TypeVar("T", bound="Shown")


class Shown:
    """What has rows: each a mapping of names to numbers, texts or None."""

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
        rows = self.rows()
        names = list(dict.fromkeys(name for row in rows for name in row))
        head = "".join(f"<th>{html(name)}</th>" for name in names)
        body = "".join(
            "<tr>" + "".join(f"<td>{html(_cell(row.get(name)))}</td>" for name in names) + "</tr>"
            for row in rows
        )
        remarks = "".join(f"<li>{html(text)}</li>" for text in self.remarks())
        caption = f"<caption>{html(self.caption())}</caption>" if self.caption() else ""
        table = f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f"{table}<ul>{remarks}</ul>" if remarks else table


class Results(list[T], Shown):
    """Several results of one kind, in a list."""

    def __init__(self, results: Iterable[T] = ()) -> None:
        super().__init__(results)

    def rows(self) -> list[dict[str, Any]]:
        return [row for result in self for row in result.rows()]

    def remarks(self) -> list[str]:
        return list(dict.fromkeys(text for result in self for text in result.remarks()))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return number(value)
    return "-" if value is None else str(value)
