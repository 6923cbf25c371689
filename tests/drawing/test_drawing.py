"""A figure is drawn once for every backend, shows text as text, and hides nothing silently."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as xml

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling_cli.drawing import plots
from scaling_cli.drawing.figure import Axis, Figure, Series, ticks
from scaling_cli.drawing.svg import legend, to_svg
from scaling_cli.drawing.terminal import to_terminal
from scaling_cli.errors import InputError
from scaling_cli.quantities import count, percent, power
from scaling_cli.report.page import figure_csv

HOSTILE = '<script>alert(1)</script>"&\x1b[31m$x$\n::error::'
SVG = "{http://www.w3.org/2000/svg}"


def figure(n: int = 5, name: str = "runs") -> Figure:
    x = np.geomspace(1e10, 1e12, n)
    y = 2 + (x / 1e9) ** -0.3
    names = [f"run {i}" for i in range(n)]
    return Figure(
        "demo",
        "Loss against compute",
        "A caption.",
        Axis("training FLOPs"),
        Axis("loss", log=False),
        (
            Series(name, "points", x, y, names=names),
            Series("interval", "band", x, y, 0.9 * y, 1.1 * y, colour=1),
            Series("predicted", "dashes", x, y, colour=1),
            Series("held out", "hollow", x, 1.05 * y, 0.9 * y, 1.2 * y, colour=2),
        ),
        ((3e11, "largest run"),),
    )


def drawn(item: Figure) -> xml.Element:
    return xml.fromstring(to_svg(item).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" '))


def test_every_point_lies_inside_the_picture_and_says_its_values() -> None:
    root = drawn(figure())
    data = [part for part in root.iter(f"{SVG}path") if "data-say" in part.attrib]
    assert len(data) == 15
    assert data[-1].attrib["data-say"].startswith("held out: training FLOPs 1.000e12, loss")
    for part in data:
        x, y = map(float, part.attrib["d"][1:].split("a")[0].split("L")[0].split())
        assert 0 < x < 560
        assert 0 < y < 360


def test_text_from_outside_is_text() -> None:
    hostile = replace(figure(name=HOSTILE), title=HOSTILE, x=Axis(HOSTILE))
    root = drawn(hostile)
    assert not list(root.iter(f"{SVG}script"))
    assert "\x1b" not in to_svg(hostile)
    assert "\x1b" not in to_terminal(hostile)
    assert "\\x1b" in figure_csv(hostile)
    pytest.importorskip("matplotlib", reason="a figure needs the extra plots")
    assert b"<script" not in plots.figure_bytes(hostile, ".svg")


def test_the_same_figure_is_the_same_file() -> None:
    pytest.importorskip("matplotlib", reason="a figure needs the extra plots")
    for suffix in plots.KINDS:
        assert plots.figure_bytes(figure(), suffix) == plots.figure_bytes(figure(), suffix)


def test_a_style_file_is_obeyed(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="a figure needs the extra plots")
    path = tmp_path / "own.mplstyle"
    path.write_text("axes.facecolor: abcdef\n", encoding="utf-8")
    assert b"#abcdef" in plots.figure_bytes(figure(), ".svg", str(path))
    with pytest.raises(InputError, match="no style file"):
        plots.figure_bytes(figure(), ".svg", "nowhere.mplstyle")


def test_points_that_are_left_out_are_said() -> None:
    assert "drawn" not in figure().thinned().caption
    many = figure(4000).thinned()
    assert "2,000 of 16,000 points are drawn" in many.caption
    assert many.series[0].x[0] == pytest.approx(1e10)
    assert many.series[0].x[-1] == pytest.approx(1e12)
    assert len(list(figure(4000).rows())) == 16_000
    again = many.thinned(1000)  # of all, not of those that were left before
    assert "1,000 of 16,000 points are drawn" in again.caption
    assert "2,000" not in again.caption
    assert again.thinned(20_000) == many.whole


def test_a_terminal_of_eighty_columns_holds_it() -> None:
    lines = to_terminal(figure()).splitlines()
    assert max(map(len, lines)) <= 80
    assert "o runs" in "\n".join(lines)
    assert any("o" in line for line in lines)


def test_the_csv_holds_the_numbers_in_full() -> None:
    lines = figure_csv(figure()).splitlines()
    assert lines[0] == "series,name,training FLOPs,loss,low,high"
    assert lines[1].startswith("runs,run 0,1e+10,2.50118723")
    assert len(lines) == 21


def test_a_tick_says_its_value() -> None:
    """Few digits of 102.5B would leave 102B; ticks stand closer where they can be read."""
    marks = ticks(Axis("tokens", log=False, shape=count), 99.5e9, 111.9e9, 5)
    assert [text for _, text in marks] == ["100B", "105B", "110B"]
    marks = ticks(Axis("missed", log=False, shape=percent), -0.09, 0.04)
    assert [text for _, text in marks] == ["-8 %", "-6 %", "-4 %", "-2 %", "0 %", "2 %", "4 %"]
    assert [text for _, text in ticks(Axis("loss"), np.log10(1.04), np.log10(2.5))] == [
        "1.2", "1.5", "2", "2.5",
    ]  # fmt: skip
    errors = Axis("error", shape=percent)
    assert [text for _, text in ticks(errors, np.log10(0.0037), np.log10(0.036), 5)] == [
        "0.5 %", "0.7 %", "1 %", "1.5 %", "2 %", "3 %",
    ]  # fmt: skip
    runs = ticks(Axis("run", log=False, shape=count, whole=True), 0.9, 3.1)
    assert [text for _, text in runs] == ["1", "2", "3"]


def test_ticks_whose_texts_would_meet_are_fewer() -> None:
    axis = Axis("training FLOPs", log=False, shape=power)
    room = [len(ticks(axis, 1e22, 9e22, letter=letter)) for letter in (0.0, 0.02, 0.1)]
    assert room[0] >= room[1] > room[2] >= 1


def test_lines_that_only_a_colour_would_tell_apart_bear_marks() -> None:
    x = np.geomspace(1, 10, 30)
    lines = [Series(f"law {i}", "line", x, x + i, colour=i) for i in range(8)]
    figure = Figure("laws", "Laws", "", Axis("x"), Axis("y"), tuple(lines))
    root = drawn(figure)
    marks = [part for part in root.iter(f"{SVG}path") if part.attrib["class"].startswith("points")]
    assert len(marks) == 4 * 8
    shapes = {re.sub(r"[-\d. ]+", "", part.attrib["d"]) for part in marks}
    assert len(shapes) >= 5  # the squares and the diamond have as many corners, turned
    assert sum("points" in line for line in legend(figure)) == 8
    alone = replace(figure, series=tuple(lines[:1]))
    assert "points" not in to_svg(alone)
    said = to_terminal(figure).split("y over x:")[1].split()
    assert len(set(said[::3])) == 8


def test_bars_at_one_place_stand_side_by_side() -> None:
    """Each still says its own value; bars that share no place stand on theirs."""
    bars = [Series(f"{i}", "points", [1, 3], [i, i], [1, 1], [9, 9], colour=i) for i in (1, 2, 3)]
    alone = Series("alone", "points", [2], [4], [1], [9], colour=4)
    figure = Figure("bars", "Bars", "", Axis("x"), Axis("y"), (*bars, alone))
    assert [figure.aside(item) for item in (*bars, alone)] == [-1, 0, 1, 0]
    paths = [part.attrib for part in drawn(figure).iter(f"{SVG}path")]
    places = [path["d"][1:].split()[0] for path in paths if path["class"].startswith("bar")]
    assert len(set(places)) == 7
    assert sum("x 1.000" in path.get("data-say", "") for path in paths) == 3


def test_a_line_without_a_name_says_nothing_beside_its_points() -> None:
    item = figure()
    x, y = item.series[0].x, item.series[0].y
    doubled = replace(item, series=(item.series[0], Series("", "line", x, y)))
    said = [p.attrib["data-say"] for p in drawn(doubled).iter() if "data-say" in p.attrib]
    assert len(said) == 5
    assert all(text.startswith("run ") for text in said)


def test_a_long_title_takes_two_lines() -> None:
    pytest.importorskip("matplotlib", reason="a figure needs the extra plots")
    more = "in params and tokens: a recipe of a long name"
    long = replace(figure(), title=f"Runs and best splits, {more}")
    image = plots.figure_bytes(long, ".svg").decode()
    assert ">Runs and best splits, in params and tokens: a<" in image
    assert ">recipe of a long name<" in image


def test_a_terminal_shows_where_the_runs_end() -> None:
    text = to_terminal(figure())
    assert "| largest run" in text
    assert sum(line[10:].count("|") for line in text.splitlines()) > 5


@given(st.booleans(), st.floats(-20, 30), st.floats(1e-3, 20))
def test_ticks_are_few_round_and_inside(log: bool, low: float, size: float) -> None:
    marks = ticks(Axis("x", log=log), low, low + size)
    assert 1 <= len(marks) <= 9
    assert all(low - 1e-6 * max(1, abs(low)) <= place <= low + size + 1e-6 for place, _ in marks)
    assert len({text for _, text in marks}) == len(marks)


@pytest.mark.parametrize("values", [[1.0], [2.0, 2.0], [np.nan, 1.0], [-1.0, 0.0, 1.0], []])
def test_odd_values_are_drawn_or_left_out(values: list[float]) -> None:
    odd = Figure("odd", "Odd", "", Axis("x"), Axis("y"), (Series("a", "points", values, values),))
    drawn(odd)
    to_terminal(odd)
