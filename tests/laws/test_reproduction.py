"""The papers' numbers come back from the public tables of their runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks import reproduction
from benchmarks.reproduction import Line

SAME = 5e-3  # relative; where no reason for a difference is given
FREE = 1e-6  # by which an objective may lie above a published one


SHORT = [study for study in reproduction.STUDIES if study is not reproduction.nmt]


def hold(line: Line) -> None:
    if line.published is None:
        return
    if not line.note:
        assert line.ours == pytest.approx(line.published, rel=SAME), line
    if line.what.startswith("objective,"):
        assert line.ours <= line.published * (1 + FREE), line


@pytest.mark.parametrize("study", SHORT, ids=lambda study: study.__name__)
def test_the_published_numbers_come_back(
    study: Callable[[], Iterator[Line]], public_data: Path
) -> None:
    lines = list(study())
    assert lines
    for line in lines:
        hold(line)
    found = {line.what: line.ours for line in lines}
    if study is reproduction.chinchilla:
        assert found["beta, all 245 points"] == pytest.approx(0.4530, abs=1e-3)


def test_a_curve_that_saturates_predicts_translation_better(public_data: Path) -> None:
    plain, saturating = reproduction.nmt(("power_offset", "m3"))
    hold(plain)
    assert saturating.ours < plain.ours / 2
