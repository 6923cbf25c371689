"""A look at a live run, as a line or as a small table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaling_cli.quantities import count, number, percent
from scaling_cli.report.listing import span
from scaling_cli.text import visible

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from scaling_cli.watching import Look


def progress(look: Look) -> str:
    if look.planned_steps is None:
        return f"step {look.step}"
    share = percent(look.step / look.planned_steps, 0)
    return f"step {look.step} of {look.planned_steps:.0f} ({share})"


def verdict(look: Look) -> str:
    passed = sum(item.finding.status == "pass" for item in look.results)
    failed = len(look.failed)
    return f"{passed} pass, {failed} fail, {len(look.results) - passed - failed} skip"


def line(look: Look) -> str:
    parts = [progress(look), f"{count(look.tokens)} tokens", f"loss {number(look.loss)}"]
    if look.low is not None:
        parts.append(f"band at the end {span(look.low, look.high)}")
    parts.append(verdict(look))
    if look.trouble:
        parts.append(f"source out of reach: {look.trouble}")
    if look.ended:
        parts.append(f"ended: {look.ended}")
    return "  ".join(parts)


def alarm_lines(look: Look) -> list[str]:
    return [f"FAIL {item.name}: {item.finding.message}" for item in look.alarms]


def panel(look: Look) -> RichTable:
    """The look as rows of a rich table, within 80 columns."""
    from rich.table import Table as RichTable
    from rich.text import Text

    grid = RichTable.grid(padding=(0, 2))
    rows = [
        ("run", look.run),
        ("progress", progress(look)),
        ("tokens", count(look.tokens)),
        ("loss", number(look.loss)),
        ("band at the end", span(look.low, look.high)),
        ("checks", verdict(look)),
        ("failing", ", ".join(item.name for item in look.failed) or "-"),
        *([("source", look.trouble)] if look.trouble else []),
        *([("ended", look.ended)] if look.ended else []),
    ]
    for name, text in rows:
        style = "bold red" if name == "failing" and look.failed else ""
        grid.add_row(Text(name, style="dim"), Text(visible(text), style=style))
    return grid
