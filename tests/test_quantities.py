from __future__ import annotations

import pytest

from scaling_cli.errors import InputError
from scaling_cli.quantities import (
    count,
    has_one_comma,
    number,
    parse_positive,
    parse_quantity,
    percent,
    power,
    read_quantity,
    share,
)
from scaling_cli.table import Table


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e23", 1e23), ("7B", 7e9), ("300M", 3e8), ("2T", 2e12), ("1.5k", 1500), ("-1", -1),
     (".5", 0.5), ("1_000", 1000), (" 7 B ", 7e9), ("1G", 1e9), ("12.5K", 12500),
     ("1048.58M", 1048.58e6), ("1,048,576", 1048576), ("1,234,567.5", 1234567.5), ("1e3k", 1e6)],
)  # fmt: skip
def test_people_s_numbers(text: str, value: float) -> None:
    assert parse_quantity(text) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    "text",
    [
        "abc",
        "",
        "7X",
        "1e",
        "nan",
        "inf",
        "1e999",
        "0x10",
        "1,000",
        "1,00,000",
        "1__0",
        "_1",
        "7 BB",
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--budget"):
        parse_quantity(text, "--budget")


@pytest.mark.parametrize(
    ("text", "mend"),
    [("1,5B", "15B or 1.5B"), ("1,048", "1048 or 1.048"), ("3,214", "3214 or 3.214")],
)
def test_a_lone_comma_is_asked_about(text: str, mend: str) -> None:
    with pytest.raises(InputError, match=f"thousands or decimals. Write {mend}"):
        parse_quantity(text)
    assert read_quantity(text) is None
    assert has_one_comma(text)


def test_a_lone_comma_of_a_count_parts_thousands() -> None:
    assert read_quantity("65,536", counts=True) == 65536
    assert read_quantity("1,5", counts=True) is None
    assert not has_one_comma("1,048,576")


@pytest.mark.parametrize("suffix", ["k", "K", "M", "G", "B", "T"])
def test_one_table_of_suffixes_serves_options_filters_and_settings(suffix: str) -> None:
    value = parse_quantity(f"3{suffix}")
    rows = Table.from_columns({"n": [value, 2 * value], "size": [f"3{suffix}", f"6{suffix}"]})
    for name in ("n", "size"):
        assert rows.matches(f"{name} < 4{suffix}").tolist() == [True, False]
        assert rows.matches(f"{name} == {value!r}").tolist() == [True, False]
    assert rows.numbers("size").tolist() == [value, 2 * value]


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
