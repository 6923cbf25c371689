"""Tables within 80 columns, figures rounded to what is known of them, warnings folded."""

from __future__ import annotations

import re

import pytest
from rich.console import Console

from scaling_cli.notes import Note
from scaling_cli.planning.splits import Allocation
from scaling_cli.quantities import measured
from scaling_cli.report.folding import MOST, fold, fold_notes
from scaling_cli.report.layout import cells_of, folded, lines_of
from scaling_cli.report.listing import Listing
from scaling_cli.report.plans import allocation_tables
from scaling_cli.report.render import to_terminal

RUN = "baseline-ladder-of-the-third-week-d96l3-8.1e12"


@pytest.mark.parametrize("words", [1, 2, 3])
@pytest.mark.parametrize("figures", [2, 6, 14])
def test_no_name_breaks_and_no_line_is_too_wide(words: int, figures: int) -> None:
    row = (*(f"{RUN}-{i}" for i in range(words)), *(f"{1.5 * i:.3e}" for i in range(figures)))
    table = Listing("t", tuple(f"h{i}" for i in range(len(row))), (row, row), left=words)
    lines = lines_of(table, 80)
    assert max(map(cells_of, lines)) <= 80
    text = "\n".join(lines)
    for cell in row[: words + 1]:
        assert text.count(cell) == 2  # once a row, and whole
    assert lines_of(table) == lines_of(table, 10_000)


def test_wide_characters_take_two_columns() -> None:
    table = Listing("t", ("run", "loss"), (("模型" * 30, "1.5"), ("b", "2.5")))
    assert max(map(cells_of, lines_of(table, 80))) <= 80
    assert folded("模" * 50, 80) == ["模" * 40, "模" * 10]


def test_a_terminal_shows_what_a_pipe_does() -> None:
    note = Note.of("few_runs", f"{RUN} and {RUN} are two runs")
    table = Listing("A title", ("run", "loss"), ((RUN, "1.5"),), lines=("a line", note))
    console = Console(width=80, color_system=None)
    with console.capture() as shown:
        to_terminal([table], console)
    lines = shown.get().splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split() for line in lines[:3]] == [["A", "title"], ["run", "loss"], [RUN, "1.5"]]
    assert " ".join(shown.get().split()).endswith(f"{RUN} and {RUN} are two runs")


@pytest.mark.parametrize(
    ("value", "low", "high", "shown"),
    [
        (0.817309, 0.1202, 1.085, ("0.82", "0.12..1.08")),
        (30.3609, 6.034, 246.2, ("30", "6..246")),
        (2270.22, 1242, 24790, ("2300", "1200..24800")),
        (5.629e6, 3.01e6, 2.7336e9, ("5.6e6", "3.0e6..2.7e9")),
        (1.274313, 1.27401, 1.27455, ("1.27431", "1.27401..1.27455")),
        (2.2e-12, 0.0, 0.5, ("2.2e-12", "0..0.5000")),
        (-0.2840, -0.623, 0.208, ("-0.28", "-0.62..0.21")),
        (8.3e5, 1234.0, 1.916e7, ("8.3e5", "1200..1.9e7")),
        (1.81712, None, None, ("1.817", "-")),
        (3.0, 3.0, 3.0, ("3.000", "3.000..3.000")),
    ],
)
def test_a_value_is_rounded_to_what_its_interval_supports(
    value: float, low: float | None, high: float | None, shown: tuple[str, str]
) -> None:
    assert measured(value, low, high) == shown


def test_two_budgets_keep_the_warnings_of_both() -> None:
    """And of sentences that begin alike, none stands for the other."""
    said = [
        Note.of("extrapolation", "flops 1e10 lies 7.38 decades below the smallest run.", "warning"),
        Note.of("extrapolation", "flops 1e22 lies 0.32 decades above the largest run.", "info"),
        Note.of("few_sizes", "Only 2 distinct values of params.", "severe"),
        Note.of("few_sizes", "Only 4 distinct values of tokens.", "warning"),
    ]
    splits = [
        Allocation("chinchilla", {}, "x", 1e10, notes=(said[0], said[2], said[3])),
        Allocation("chinchilla", {}, "x", 1e22, notes=(said[1], said[2], said[3])),
    ]
    (table,) = fold(allocation_tables(splits))
    assert {note.message for note in table.notes} == {note.message for note in said}


def test_of_many_sentences_of_a_code_the_worst_stands() -> None:
    notes = [Note.of("few_sizes", f"sentence {i}", "warning") for i in range(9)]
    notes[5] = Note.of("few_sizes", "the worst", "severe")
    (one,) = fold_notes([*notes, *notes])
    assert (one.severity, one.message) == ("severe", "the worst (and 8 more such)")
    assert fold_notes(notes[:MOST]) == notes[:MOST]


def test_a_code_of_many_tables_is_said_once() -> None:
    tables = [
        Listing(f"fit {i}", ("a",), (("1",),), lines=(Note.of("few_runs", f"{i} runs"), "text"))
        for i in range(15)
    ]
    shown = fold(tables)
    assert len(shown) == 16
    assert all(table.lines == ("text", "also, as said below: few_runs") for table in shown[:15])
    (note,) = shown[-1].notes
    assert re.search(r"15 .*fit 0: 0 runs", note.message)
    assert sum(len(table.notes) for table in shown) == 1
