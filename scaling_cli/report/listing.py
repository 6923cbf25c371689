"""A printed table: what every command's answer is made of, before it is rendered."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from scaling_cli.notes import Note
from scaling_cli.quantities import count, number, power

_POWER = re.compile(r"(?<![\w.:/-])(\d[\d.]*)e\+0*(\d+)")  # no part of a name
_SHARE = re.compile(r"(?<![\w:/-])(\d+\.\d+)%")
COUNTS = ("params", "params_non_embedding", "tokens", "flops", "unique_tokens")
RANGES: tuple[tuple[str, Callable[[float | None], str]], ...] = (
    ("params", count),
    ("tokens", count),
    ("flops", power),
    ("loss", number),
)


@dataclass(frozen=True)
class Listing:
    """A titled table of text: the first `left` columns are words, the rest figures."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1
    lines: tuple[str | Note, ...] = ()  # said under the table

    @property
    def notes(self) -> list[Note]:
        """The warnings among the lines."""
        return [line for line in self.lines if isinstance(line, Note)]


def group_name(group: Mapping[str, Any]) -> str:
    return ", ".join(str(value) for value in group.values()) or "all runs"


def span(
    low: float | None, high: float | None, shape: Callable[[float | None], str] = number
) -> str:
    return "-" if low is None or high is None else f"{shape(low)}..{shape(high)}"


def span_of(
    pair: tuple[float | None, float | None] | None, shape: Callable[[float | None], str]
) -> str:
    """Bounds of which an end may be open."""
    return "..".join("open" if end is None else shape(end) for end in pair) if pair else "-"


def note_text(note: Note) -> str:
    mark = {"info": "note", "warning": "warning", "severe": "SEVERE"}[note.severity]
    return f"{mark} [{note.code}] {one_style(note.message)}"


def one_style(message: str) -> str:
    """A message with its numbers as tables have them: 1e14 and 2.80 %, not 1e+14 and 2.80%."""
    plain = _POWER.sub(r"\1e\2", message)
    return _SHARE.sub(r"\1 %", plain)


def about(group: Mapping[str, Any], notes: Iterable[Note]) -> list[Note]:
    """The notes, each saying of which group it speaks."""
    return [note.about(group_name(group)) if group else note for note in notes]
