from __future__ import annotations

import pytest

from scaling_cli.errors import InputError
from scaling_cli.quantities import (
    count,
    number,
    parse_positive,
    parse_quantity,
    percent,
    power,
    share,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e23", 1e23), ("7B", 7e9), ("300M", 3e8), ("2T", 2e12), ("1.5k", 1500), ("-1", -1),
     (".5", 0.5), ("1_000", 1000), (" 7 B ", 7e9)],
)  # fmt: skip
def test_people_s_numbers(text: str, value: float) -> None:
    assert parse_quantity(text) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize("text", ["abc", "", "7X", "1e", "nan", "inf", "1e999", "0x10", "1,000"])
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--budget"):
        parse_quantity(text, "--budget")


@pytest.mark.parametrize("text", ["0", "-1", "-7B"])
def test_positive_means_above_zero(text: str) -> None:
    with pytest.raises(InputError, match="above zero"):
        parse_positive(text, "--budget")


@pytest.mark.parametrize(
    ("value", "text"),
    [(9.5861e10, "95.9B"), (1.7386e12, "1.74T"), (999.9e6, "1.00B"), (12, "12"),
     (7.3e15, "7.30e15"), (None, "-")],
)  # fmt: skip
def test_counts_for_people(value: float | None, text: str) -> None:
    assert count(value) == text


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(1.8172, 4, "1.817"), (2143, 4, "2143"), (37888.2, 4, "3.789e4"), (37888.2, 6, "37888.2"),
     (9999.7, 4, "1.000e4"), (-9999.7, 4, "-1.000e4"), (0.0, 4, "0.000"), (5e-4, 4, "5.000e-4")],
)  # fmt: skip
def test_figures_for_people(value: float, digits: int, text: str) -> None:
    assert number(value, digits) == text


@pytest.mark.parametrize(
    ("level", "text"), [(0.9, "90%"), (0.95, "95%"), (0.999, "99.9%"), (0.5, "50%")]
)
def test_the_share_of_an_interval_for_people(level: float, text: str) -> None:
    assert share(level) == text


def test_powers_for_people() -> None:
    assert power(1e23) == "1.00e23"


@pytest.mark.parametrize(
    ("value", "sign", "text"),
    [(0.0123, False, "1.23 %"), (-0.5, True, "-50.00 %"), (0.5, True, "+50.00 %"),
     (4.6e33, True, "+4.6e35 %"), (None, False, "-")],
)  # fmt: skip
def test_shares_for_people(value: float | None, sign: bool, text: str) -> None:
    assert percent(value, sign=sign) == text
