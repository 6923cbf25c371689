from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling_cli.errors import InputError
from scaling_cli.expressions import (
    Among,
    Binary,
    Call,
    Expression,
    Like,
    Literal,
    Missing,
    Name,
    Node,
    Unary,
    Within,
    parse,
)


def value(text: str, **names: Any) -> Any:
    return parse(text).evaluate(names.__getitem__)


def objects(*values: Any) -> Any:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("8 / 4 / 2", 1),
        ("7 - 2 - 1", 4),
        ("2 ** 3 ** 2", 512),
        ("-2 ** 2", -4),
        ("2 ** -1", 0.5),
        ("--3", 3),
        ("1e23", 1e23),
        ("7B", 7e9),
        ("300M", 3e8),
        ("1.5T", 1.5e12),
        ("20K", 2e4),
        ("1_000", 1000),
        (".5e-2", 0.005),
        ("log(exp(2))", 2),
        ("log2(8) + log10(1000)", 6),
        ("sqrt(16) + abs(-3)", 7),
        ("min(3, 1, 2) + max(3, 1)", 4),
    ],
)
def test_arithmetic_is_that_of_the_textbook(text: str, expected: float) -> None:
    assert value(text) == pytest.approx(expected, rel=1e-15)


NAMED = {
    "name": objects("rotary-xl", "rotary-s", "base-xl", None),
    "seed": objects(1, None, 3, float("nan")),
    "tags": objects(["ladder", "xl"], ["test"], [], None),
    "like": objects(1, 2, 3, 4),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'xl' in name", "tftf"),
        ("'xl' not in name", "ftff"),
        ("name in 'rotary-xl or so'", "tfff"),
        ("'xl' in tags", "tfff"),
        ("'x' in tags", "ffff"),
        ("'xl' not in tags", "fttf"),
        ("name like 'rotary-*'", "ttff"),
        ("name like 'rotary-?'", "ftff"),
        ("name not like 'rotary-*'", "fftf"),
        ("name like 'rotary'", "ffff"),
        ("tags like 'lad*'", "tfff"),
        ("seed like '1*'", "tfff"),
        ("seed is null", "ftft"),
        ("seed is not null", "tftf"),
        ("not (seed is null)", "tftf"),
        ("name is not null and seed is null", "ftff"),
        ("'xl' in name and seed > 1", "fftf"),
        ("like > 2", "fftt"),
        ("like like '3'", "fftf"),
    ],
)
def test_texts_lists_and_missing_values_are_asked_for(text: str, expected: str) -> None:
    held = [letter == "t" for letter in expected]
    assert parse(text).evaluate(NAMED.__getitem__).tolist() == held
    again = str(parse(text))
    assert parse(again).evaluate(NAMED.__getitem__).tolist() == held


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("name like rotary", "Write it in quotes"),
        ("name like 'rotary-%'", "Write \\* for any text"),
        ("seed is 3", "is null"),
        ("seed == null", "write `is null`"),
        ("name like", "Write it in quotes"),
    ],
)
def test_a_slip_in_them_is_explained(text: str, mend: str) -> None:
    from scaling_cli.table import Table

    with pytest.raises(InputError, match=mend):
        Table.from_columns(NAMED).matches(text)


def test_a_bracket_and_many_stars_of_a_pattern_cost_nothing() -> None:
    assert value("x like 'a[1]*'", x=objects("a[1]b", "a1b")).tolist() == [True, False]
    assert not value(f"x like '{'*a' * 40}'", x=objects("a" * 200 + "b")).any()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 < 2 and 2 < 1 or true", True),
        ("not 1 == 2", True),
        ("not true or true", True),
        ("1 < 2 < 3", True),
        ("1 < 3 < 2", False),
        ("2 in [1, 2]", True),
        ("2 in []", False),
        ("2 not in [1, 2]", False),
        ("'a' == \"a\"", True),
        (r"""'it\'s' == "it's" """, True),
        ("'2' == 2", True),
        ("'2.0' < 10", True),
        ("'10' < '9'", False),
        ("'cosine' == 2", False),
        ("'cosine' != 2", True),
        ("'cosine' < 2", False),
        ("true == 1", True),
        ("'true' == true", True),
    ],
)
def test_conditions(text: str, expected: bool) -> None:
    assert bool(value(text)) is expected


@pytest.mark.parametrize("missing", [None, math.nan])
@pytest.mark.parametrize("operator", ["==", "!=", "<", "<=", ">", ">="])
def test_no_comparison_holds_for_a_missing_value(missing: Any, operator: str) -> None:
    assert value(f"x {operator} 1", x=objects(missing, 1)).tolist()[0] is False
    assert value(f"x {operator} 'a'", x=objects(missing, "b")).tolist()[0] is False
    assert value("x in ['a', 1]", x=objects(missing, 1)).tolist() == [False, True]
    assert value("x not in ['a', 1]", x=objects(missing, 2)).tolist() == [False, True]


def test_arrays_and_scalars_broadcast() -> None:
    params, recipe = np.array([1e6, 1e9, np.nan]), objects("a", "b", "a")
    got = value('params < 100M and recipe == "a"', params=params, recipe=recipe)
    assert got.tolist() == [True, False, False]
    assert value("6 * n * d", n=params, d=2.0)[:2].tolist() == [1.2e7, 1.2e10]


def test_numeric_texts_count_as_numbers_and_other_texts_do_not() -> None:
    assert value("x * 2", x=objects("3", 4, None, True)).tolist()[:2] == [6, 8]
    with pytest.raises(InputError, match=r"'auto' is not one"):
        value("x * 2", x=objects("3", "auto"))


def test_a_list_holds_what_is_in_it() -> None:
    tags = objects(("ladder", "v2"), ())
    assert value("'ladder' in tags", tags=tags).tolist() == [True, False]
    assert value("tags == 'v2'", tags=tags).tolist() == [True, False]
    assert value("tags != 'v2'", tags=tags).tolist() == [False, True]


def test_names_are_dotted_or_in_backticks_and_listed_once_in_order() -> None:
    expression = parse("`lm loss` / config.batch_size + `eval/loss` * config.batch_size - _a")
    assert expression.names == ("lm loss", "config.batch_size", "eval/loss", "_a")
    assert parse("log2(log) + min").names == ("log", "min")


def test_a_law_differentiates_by_the_complex_step() -> None:
    law = parse("E + A / params**a + abs(0 - B) / tokens**b + min(a, 9) + 0 * log(params)")
    at = {"E": 1.8, "A": 482.0, "B": 2085.0, "a": 0.35, "b": 0.37, "params": 1e9, "tokens": 2e10}
    step = 1e-30
    for name in ("A", "B", "a", "b"):
        shifted = {k: np.asarray(v, complex) for k, v in at.items()}
        shifted[name] = shifted[name] + 1j * step
        derivative = law.evaluate(shifted.__getitem__).imag / step
        h = at[name] * 1e-6
        up = law.evaluate((at | {name: at[name] + h}).__getitem__)
        down = law.evaluate((at | {name: at[name] - h}).__getitem__)
        assert derivative == pytest.approx((up - down) / (2 * h), rel=1e-6)


def test_numbers_without_a_value_are_nan_and_no_warning() -> None:
    assert math.isnan(float(value("log(-1)")))
    assert math.isnan(float(value("0 / 0")))
    assert float(value("1 / 0")) == math.inf


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it ends early"),
        ("1 +", "it ends early"),
        ("a = 2", "Write == to compare"),
        ("a ^ 2", r"Write \*\* for a power"),
        ("a & b", "Write `and`"),
        ("a b", "'b' is not expected here"),
        ("7Bx", "this is not a number"),
        ("1__0", "this is not a number"),
        ("1e999", "too large"),
        ("foo(2)", "'foo' is not a function. There are log, log2"),
        ("log(1, 2)", "log takes one value"),
        ("min(1)", "min takes two values or more"),
        ("(1", r"'\)' is expected, not the end"),
        ("'open", "A text ends in the quote"),
        ("`open", "ends in a backtick"),
        ("x in [1,, 2]", "',' stands where a value"),
        ("__import__('os').system('x')", "'__import__' is not a function"),
        ("a[0]", r"'\[' is not expected here"),
        ("x; y", "';' is not expected"),
        ("lambda: 1", "':' is not expected"),
    ],
)
def test_what_cannot_be_read_is_shown_with_its_place(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        parse(text)
    assert "^" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "(" * 3000 + "1" + ")" * 3000,
        "-" * 5000 + "1",
        "not " * 2000 + "true",
        "1" + "+1" * 4000,
        "2" + "**2" * 3000,
        "min(1," * 1500 + "1" + ")" * 1500,
        "[" * 5000,
        "x in [" * 1000,
    ],
)
def test_depth_is_limited_before_the_stack_is(text: str) -> None:
    with pytest.raises(InputError, match=r"too long|too deeply|where a value"):
        parse(text)


def test_the_deepest_expression_that_parses_also_evaluates() -> None:
    assert value("1" + "+1" * 140) == 141
    assert value("(" * 40 + "1" + ")" * 40) == 1


names = st.sampled_from(["params", "config.batch_size", "eval/loss", "lm loss", "and", "x - y"])
leaves = st.one_of(
    st.builds(Literal, st.floats(0, 1e300)),
    st.builds(Literal, st.text(max_size=5)),
    st.builds(Literal, st.booleans()),
    st.builds(Name, names),
)


def _nodes(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    operators = ["+", "-", "*", "/", "**", "==", "!=", "<", "<=", ">", ">=", "and", "or"]
    few = st.lists(inner, max_size=3).map(tuple)
    return st.one_of(
        st.builds(Unary, st.sampled_from(["-", "not"]), inner),
        st.builds(Binary, st.sampled_from(operators), inner, inner),
        st.builds(Among, inner, few),
        st.builds(Within, inner, inner, st.booleans()),
        st.builds(Like, inner, st.text("ab*?[]'\\_", max_size=4), st.booleans()),
        st.builds(Missing, inner, st.booleans()),
        st.builds(Call, st.sampled_from(["log", "exp", "abs"]), st.tuples(inner)),
        st.builds(Call, st.sampled_from(["min", "max"]), st.tuples(inner, inner)),
    )


@given(st.recursive(leaves, _nodes, max_leaves=12))
def test_an_expression_is_read_back_from_its_text(root: Node) -> None:
    text = str(Expression("", root, ()))
    assert parse(text).root == root


@given(st.text(st.sampled_from("ab1.9eKB+-*/<>=!()[],'\"` \n\\andornti_^")) | st.text())
def test_any_text_is_read_or_refused_politely(text: str) -> None:
    with contextlib.suppress(InputError):
        parse(text)


numbers = st.floats(-50, 50).map(lambda x: round(x, 3))


@given(numbers, numbers, numbers)
def test_precedence_agrees_with_python(a: float, b: float, c: float) -> None:
    at = {"a": a, "b": b, "c": c}
    assert value("a - b - c * -a + b", **at) == pytest.approx(a - b - c * -a + b, abs=1e-9)
    assert bool(value("a < b and not b < c or c == a", **at)) == ((a < b and not b < c) or c == a)
    assert bool(value("a <= b < c", **at)) == (a <= b < c)
