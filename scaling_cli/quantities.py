"""Numbers as people write them: `1e23`, `7B`, `300M`, `2T`, `1,048,576`."""

from __future__ import annotations

import math
import re

from scaling_cli.errors import InputError

SUFFIXES = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}  # by the lower-case letter
# Shares that an interval may have: resamples say nothing of the last permille.
MIN_LEVEL, MAX_LEVEL = 0.5, 0.999
MOST = 1e50  # no quantity is larger; products and powers of two such are still numbers
WIDE = 100.0  # what is known no better has two digits
NOTHING = 1e-8  # of the upper end: a lower one below it is zero but for the solver's last step
LARGE_SHARE = 100.0  # from 10,000 % on a share is told by its power of ten
_SCALES = (("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3))
_PLAIN = r"\d+(?:_\d+)*\.?\d*|\.\d+"
_GROUPED = r"\d{1,3}(?:,\d{3}){2,}(?:\.\d+)?"  # one comma alone may be a decimal comma
_QUANTITY = re.compile(rf"\s*([+-]?)({_GROUPED}|{_PLAIN})((?:[eE][+-]?\d+)?)\s*([kmbgtKMBGT]?)\s*")
_ONE_GROUP = r"([+-]?\d{1,3}),(\d{3}(?:\.\d+)?)"
_ONE_COMMA = r"\s*[+-]?\d*,\d+(?:[eE][+-]?\d+)?\s*[kmbgtKMBGT]?\s*"
_WRITE = "Write it as 1e23, 7B, 300M or 2T."


def read_quantity(text: str, counts: bool = False) -> float | None:
    """The number that `text` writes, or None: `7B`, `12.5k`, `1048.58M`, `1_000`, `1,048,576`.

    A comma alone, as in `1,048`, may part thousands or decimals, and is read only where `counts`
    says that nothing but a whole count is meant: then it parts thousands.
    """
    match = _QUANTITY.fullmatch(re.sub(_ONE_GROUP, r"\1\2", text) if counts else text)
    if match is None:
        return None
    sign, digits, exponent, suffix = match.groups()
    value = float(sign + re.sub("[,_]", "", digits) + exponent) * SUFFIXES.get(suffix.lower(), 1.0)
    whole = round(value) if math.isfinite(value) else value
    # 1048.58 times a million is 1048579999.9999999 in binary
    return float(whole) if abs(value - whole) < 1e-15 * abs(value) else value


def has_one_comma(text: str) -> bool:
    """Whether `text` is a number but for its one comma, which may stand for a decimal point."""
    return re.fullmatch(_ONE_COMMA, text) is not None


def parse_quantity(text: str, what: str = "a number") -> float:
    """The number that `text` writes; InputError says what was expected."""
    value = read_quantity(text)
    if value is None and has_one_comma(text):
        point, none = text.strip().replace(",", "."), text.strip().replace(",", "")
        raise InputError(
            f"{what}: the comma of '{text}' may part thousands or decimals",
            f"Write {none} or {point}.",
        )
    if value is None:
        raise InputError(f"{what}: '{text}' is not a number", _WRITE)
    if not abs(value) <= MOST:
        raise InputError(f"{what}: '{text}' is too large for a number", "Write it as 1e23.")
    return value


def parse_positive(text: str, what: str = "a number") -> float:
    value = parse_quantity(text, what)
    if value <= 0:
        raise InputError(f"{what}: {text} must be above zero", _WRITE)
    if value < 1 / MOST:
        raise InputError(f"{what}: '{text}' is too small for a number", _WRITE)
    return value


def parse_multiple(text: str, what: str = "a multiple") -> float:
    """`20x` or `20` -> 20; InputError where it is none above zero."""
    return parse_positive(text.strip().removesuffix("x"), what)


def counted(number: int, noun: str) -> str:
    """`1 run`, `12 runs`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def count(value: float | None, digits: int = 3) -> str:
    """A count for people: `7.24B`."""
    if value is None or not math.isfinite(value):
        return "-"
    size = abs(value) / (1 - 0.5 * 10**-digits)  # 999,999 is told as 1.00M
    for suffix, scale in _SCALES:
        if size >= scale:
            scaled = value / scale
            if scaled >= 1000:
                return power(value, digits)
            return f"{scaled:#.{digits}g}".rstrip(".") + suffix
    return f"{value:.{digits}g}"


def power(value: float | None, digits: int = 3) -> str:
    """A compute figure for people: `1.00e23`."""
    if value is None or not math.isfinite(value):
        return "-"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def number(value: float | None, digits: int = 4) -> str:
    """A plain figure for people: `1.817`, `2143`, `1.990e7`."""
    if value is None or not math.isfinite(value):
        return "-"
    size = abs(value) / (1 - 0.5 * 10**-digits)  # 9,999.7 is told as 1.000e4
    if value and not 1e-3 <= abs(value) <= size < min(1e5, 10.0**digits):
        return power(value, digits)
    return f"{value:#.{digits}g}".rstrip(".")


def share(level: float) -> str:
    """The central share of an interval: `90%`, `99.9%`."""
    return f"{100 * level:.4g}%"


def chance(value: float) -> str:
    """A probability: `0.85`, and never a certainty, as resamples know none: `>0.99`, `<0.01`."""
    return "<0.01" if value < 0.01 else ">0.99" if value > 0.99 else f"{value:.2f}"


def percent(value: float | None, digits: int = 2, sign: bool = False) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    mark = "+" if sign and value >= 0 else ""
    if abs(value) >= LARGE_SHARE:
        return f"{mark}{power(100 * value, 2)} %"
    return f"{mark}{100 * value:.{digits}f} %"


def measured(
    value: float | None, low: float | None, high: float | None, digits: int = 4
) -> tuple[str, str]:
    """A value and its interval, rounded to what the interval supports: two digits of the distance
    to its nearer end, and two of each where its ends lie a factor of WIDE apart. Without an
    interval `digits` of the value; an unknown end is open."""
    if value is not None and (low is None) != (high is None):  # the other end lies anywhere
        ends = ("open" if end is None else number(end, digits) for end in (low, high))
        return number(value, digits), "..".join(ends)
    if value is None or low is None or high is None:
        return number(value, digits), "-"
    sides = [side for side in (value - low, high - value, high - low) if side > 0]
    if not sides or not all(map(math.isfinite, (value, low, high))):
        return number(value, digits), f"{number(low, digits)}..{number(high, digits)}"
    if (
        NOTHING * high < low < high / WIDE and value > 0
    ):  # of one last digit the lower end would be none
        rounded = (_at_place(size, math.floor(math.log10(size)) - 1, 2) for size in (low, high))
        return _at_place(value, math.floor(math.log10(value)) - 1, 2), "..".join(rounded)
    place = math.floor(math.log10(min(sides))) - 1
    most = max(digits, _digits(value, place))
    return (
        _at_place(value, place, most),
        f"{_at_place(low, place, most)}..{_at_place(high, place, most)}",
    )


def _digits(value: float, place: int) -> int:
    """How many digits a figure has down to 10**place."""
    return math.floor(math.log10(abs(value))) - place + 1 if value else 1


def _at_place(value: float, place: int, most: int) -> str:
    """A figure whose last digit counts 10**place, or of `most` digits, in the style of `number`."""
    size = abs(value)
    if size < 0.5 * 10.0**place:
        return "0"
    place = max(place, place + _digits(value, place) - most)
    if 1e-3 <= size < 1e5:
        return f"{round(value, -place):.{max(0, -place)}f}"
    return power(value, max(1, _digits(value, place)))
