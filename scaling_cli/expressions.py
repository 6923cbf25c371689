"""The expression language of mappings, filters and formulas: parsed here, never run as code.

step * config.batch_size * config.seq_len
params < 1B and config.dataset == "c4"
name like "rotary-*" or "xl" in name and seed is not null
`eval/loss` / 0.6931
E + A / params**a + B / tokens**b
"""

from __future__ import annotations

import functools
import operator as operators
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, NoReturn

import numpy as np

from scaling_cli.errors import InputError
from scaling_cli.quantities import read_quantity

Value = Any  # a float64, complex128, bool or object array, or a scalar
Lookup = Callable[[str], Value]

# Longer than any formula in print; deep enough for people, shallow enough for the Python stack.
MAX_LENGTH = 10_000
MAX_NESTING = 50
MAX_DEPTH = 150

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<number>(?:\d+(?:_\d+)*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[kKMGBT]?(?![\w.]))
      | (?P<name>[^\W\d]\w*(?:\.\w+)*)
      | `(?P<quoted>[^`]+)`
      | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<operator>\*\*|==|!=|<=|>=|[-+*/<>()\[\],])""",
    re.VERBOSE,
)
_WORDS = {"and", "or", "not", "in", "true", "false", "True", "False"}
_HABITS = {
    "^": "Write ** for a power.",
    "=": "Write == to compare.",
    "&": "Write `and` between conditions.",
    "|": "Write `or` between conditions.",
    "!": "Write `not`, or != to compare.",
    "`": "A name in backticks ends in a backtick.",
    '"': "A text ends in the quote that it began with.",
    "'": "A text ends in the quote that it began with.",
}


@dataclass(frozen=True)
class Literal:
    """A number, text or truth value."""

    value: float | str | bool


@dataclass(frozen=True)
class Name:
    """What the lookup is asked for."""

    name: str


@dataclass(frozen=True)
class Unary:
    operator: str
    operand: Node


@dataclass(frozen=True)
class Binary:
    operator: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Among:
    """`item in [a, b]`."""

    item: Node
    choices: tuple[Node, ...]


@dataclass(frozen=True)
class Within:
    """`"xl" in name`: a part of a text, or an item of a list; with `negated` in neither."""

    item: Node
    whole: Node
    negated: bool = False


@dataclass(frozen=True)
class Like:
    """`name like "rotary-*"`, * for any text and ? for any character; with `negated` not so."""

    operand: Node
    pattern: str
    negated: bool = False


@dataclass(frozen=True)
class Missing:
    """`seed is null`; with `negated` the operand has a value."""

    operand: Node
    negated: bool = False


@dataclass(frozen=True)
class Call:
    function: str
    arguments: tuple[Node, ...]


Node = Literal | Name | Unary | Binary | Among | Within | Like | Missing | Call


@dataclass(frozen=True)
class Expression:
    """A parsed expression; `names` are those that it looks up, in order of appearance."""

    text: str
    root: Node
    names: tuple[str, ...]

    def evaluate(self, lookup: Lookup) -> Value:
        """The value, elementwise over the arrays that `lookup` returns for names.

        A comparison with a missing value (None or NaN) is false. Complex arrays pass through
        arithmetic and functions, and compare by their real part.
        """
        with np.errstate(all="ignore"):
            return _evaluate(self.root, lookup)

    def __str__(self) -> str:
        return _show(self.root)


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int


def _fail(text: str, at: int, what: str, mend: str) -> NoReturn:
    before, after = (
        re.sub(r"\s", " ", part) for part in (text[max(0, at - 60) : at], text[at : at + 40])
    )
    # One line: in a message line ends are shown as text, for they may come from outside.
    where = f"at character {at + 1}, where ^ stands in `{before}^{after}`"
    raise InputError(f"Expression cannot be read {where}: {what}", mend)


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            if text[at].isdigit() or text[at] == ".":
                mend = "Write numbers like 1e23, 0.5, 7B or 300M (suffixes k, K, M, G, B, T)."
                _fail(text, at, "this is not a number", mend)
            mend = _HABITS.get(text[at], "Names with other characters than letters, digits, _ and "
                               ". stand in backticks.")  # fmt: skip
            _fail(text, at, f"{text[at]!r} is not expected", mend)
        kind = str(match.lastgroup)
        if kind != "space":
            word = match.group(kind)
            if kind == "name" and word in _WORDS:
                kind = "operator"
            yield _Token("name" if kind == "quoted" else kind, word, at)
        at = match.end()
    yield _Token("end", "", len(text))


@functools.lru_cache(maxsize=512)
def parse(text: str) -> Expression:
    """The expression that `text` says; an InputError shows where it goes wrong."""
    if len(text) > MAX_LENGTH:
        raise InputError(
            f"Expression of {len(text)} characters is too long",
            f"At most {MAX_LENGTH} characters are read.",
        )
    parser = _Parser(text)
    root = parser.expression(0)
    token = parser.token
    if token.kind != "end":
        _fail(text, token.start, f"{token.text!r} is not expected here", "An operator is missing.")
    return Expression(text, root, tuple(dict.fromkeys(parser.names)))


_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
# Binding strength on the left of each infix operator; ** binds to the right.
_STRENGTH = {
    "or": 1,
    "and": 2,
    **dict.fromkeys((*_COMPARISONS, "in", "not", "like", "is"), 4),
    "+": 5,
    "-": 5,
    "*": 6,
    "/": 6,
    "**": 8,
}
_NOT, _NEGATIVE = 3, 7


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.stream = _tokens(text)
        self.token = next(self.stream)
        self.names: list[str] = []
        self.nesting = 0
        self.depths: dict[int, int] = {}

    def take(self) -> _Token:
        token, self.token = self.token, next(self.stream, self.token)
        return token

    def at(self, *operators: str) -> bool:
        return self.token.kind == "operator" and self.token.text in operators

    def expect(self, operator: str) -> None:
        if not self.at(operator):
            written = repr(self.token.text) if self.token.text else "the end"
            _fail(
                self.text,
                self.token.start,
                f"{operator!r} is expected, not {written}",
                "Close what was opened, and part the items by commas.",
            )
        self.take()

    def built(self, node: Node, *parts: Node) -> Node:
        depth = 1 + max((self.depths.get(id(part), 0) for part in parts), default=0)
        if depth > MAX_DEPTH:
            self.too_deep()
        self.depths[id(node)] = depth
        return node

    def too_deep(self) -> NoReturn:
        raise InputError(
            f"Expression is nested too deeply at character {self.token.start + 1}",
            "Split it into several columns of the mapping.",
        )

    def expression(self, strength: int) -> Node:
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            self.too_deep()
        left = self.prefix()
        while self.token.kind == "operator" or self.word("like", "is"):
            operator = self.token.text
            binding = _STRENGTH.get(operator, 0)
            if binding <= strength:
                break
            self.take()
            left = self.infix(left, operator, binding)
        self.nesting -= 1
        return left

    def infix(self, left: Node, operator: str, binding: int) -> Node:
        if operator in _COMPARISONS:
            return self.comparisons(left, operator)
        if operator == "is":
            return self.missing(left)
        negated = operator == "not"
        if negated:
            operator = self.take().text if self.word("like") else "in"
            if operator == "in":
                self.expect("in")
        if operator == "like":
            return self.like(left, negated)
        if operator == "in" and not self.at("["):
            whole = self.expression(_STRENGTH["in"])
            return self.built(Within(left, whole, negated), left, whole)
        if operator == "in":
            return self.not_among(left) if negated else self.among(left)
        right = self.expression(binding - 1 if operator == "**" else binding)
        return self.binary(operator, left, right)

    def comparisons(self, left: Node, operator: str) -> Node:
        """`a < b < c` is `a < b and b < c`."""
        result: Node | None = None
        while True:
            right = self.expression(_STRENGTH[operator])
            link = self.binary(operator, left, right)
            result = link if result is None else self.binary("and", result, link)
            if not self.at(*_COMPARISONS):
                return result
            left, operator = right, self.take().text

    def word(self, *words: str) -> bool:
        """Whether one of the words that are no names behind a value comes next."""
        bare = self.token.kind == "name" and self.text[self.token.start] != "`"
        return bare and self.token.text in words

    def missing(self, operand: Node) -> Node:
        """`x is null`, `x is not null`."""
        negated = self.at("not")
        if negated:
            self.take()
        if not self.word("null", "None", "missing"):
            written = repr(self.token.text) if self.token.text else "the end"
            mend = "Write `is null` or `is not null`; == compares."
            _fail(self.text, self.token.start, f"null is expected, not {written}", mend)
        self.take()
        return self.built(Missing(operand, negated), operand)

    def like(self, operand: Node, negated: bool) -> Node:
        """`x like "rotary-*"`."""
        token = self.take()
        if token.kind != "text":
            written = repr(token.text) if token.text else "the end"
            mend = 'Write it in quotes: name like "rotary-*".'
            _fail(self.text, token.start, f"a pattern is expected, not {written}", mend)
        pattern = re.sub(r"\\(.)", r"\1", token.text[1:-1])
        if "%" in pattern and "*" not in pattern:
            _fail(self.text, token.start, "% stands for itself here", "Write * for any text.")
        return self.built(Like(operand, pattern, negated), operand)

    def choices(self) -> tuple[Node, ...]:
        """`[a, b]`."""
        self.expect("[")
        return self.items("]")

    def among(self, item: Node) -> Node:
        choices = self.choices()
        return self.built(Among(item, choices), item, *choices)

    def not_among(self, item: Node) -> Node:
        """`a not in [b, c]` is `a != b and a != c`, so that a missing value is in neither."""
        links = [self.binary("!=", item, choice) for choice in self.choices()]
        return functools.reduce(
            lambda a, b: self.binary("and", a, b), links or [self.built(Literal(True))]
        )

    def items(self, closing: str) -> tuple[Node, ...]:
        members: list[Node] = []
        while not self.at(closing):
            members.append(self.expression(0))
            if not self.at(","):
                break
            self.take()
        self.expect(closing)
        return tuple(members)

    def unary(self, operator: str, operand: Node) -> Node:
        return self.built(Unary(operator, operand), operand)

    def binary(self, operator: str, left: Node, right: Node) -> Node:
        return self.built(Binary(operator, left, right), left, right)

    def prefix(self) -> Node:
        token = self.take()
        if token.kind == "number":
            return self.built(Literal(self.number(token)))
        if token.kind == "text":
            return self.built(Literal(re.sub(r"\\(.)", r"\1", token.text[1:-1])))
        if token.kind == "name":
            quoted = self.text[token.start] == "`"
            if self.at("(") and not quoted:
                return self.call(token)
            self.names.append(token.text)
            return self.built(Name(token.text))
        if token.kind == "operator":
            if token.text.lower() in ("true", "false"):
                return self.built(Literal(token.text.lower() == "true"))
            if token.text == "(":
                inner = self.expression(0)
                if self.at(","):
                    mend = "Write it as name in ['a', 'b']."
                    _fail(self.text, self.token.start, "a list stands in brackets", mend)
                self.expect(")")
                return inner
            if token.text == "not":
                return self.unary("not", self.expression(_NOT - 1))
            if token.text in "+-":
                operand = self.expression(_NEGATIVE - 1)
                return operand if token.text == "+" else self.unary("-", operand)
        negated = (
            f"{token.text!r} stands where a value is expected" if token.text else "it ends early"
        )
        _fail(self.text, token.start, negated, "Give a number, a name, a text or parentheses.")

    def number(self, token: _Token) -> float:
        value = read_quantity(token.text)
        if value is None or not np.isfinite(value):
            _fail(self.text, token.start, "this number is too large", "At most 1.7e308 is read.")
        return value

    def call(self, token: _Token) -> Node:
        if token.text not in FUNCTIONS:
            _fail(
                self.text,
                token.start,
                f"{token.text!r} is not a function",
                f"There are {', '.join(FUNCTIONS)}.",
            )
        self.take()
        arguments = self.items(")")
        least, most = (2, 100) if token.text in ("min", "max") else (1, 1)
        if not least <= len(arguments) <= most:
            wanted = "two values or more" if least == 2 else "one value"
            _fail(self.text, token.start, f"{token.text} takes {wanted}", "Count its arguments.")
        return self.built(Call(token.text, arguments), *arguments)


# Evaluation. Numbers are float64 or complex128; what else a run's config holds comes as objects.


def objects(values: Sequence[Any]) -> Any:
    """Texts, lists or whatever else, as an array [n] of objects."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def as_number(value: Any) -> float | None:
    """The number that a scalar is or spells (`7B` too), else None."""
    if isinstance(value, (bool, int, float, np.number, np.bool_)):
        try:
            return float(value)
        except OverflowError:
            return float("inf") if value > 0 else float("-inf")
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            truth_value = {"true": 1.0, "false": 0.0}.get(value.strip().lower())
            return read_quantity(value) if truth_value is None else truth_value
    return None


def _numeric(value: Value) -> Any:
    """`value` as float64 or complex128; text that spells no number is an error, None is NaN."""
    array = np.asarray(value)
    if array.dtype.kind in "fc":
        return array if array.dtype.itemsize >= 8 else array.astype(np.float64)
    if array.dtype.kind in "biu":
        return array.astype(np.float64)
    flat = [np.nan if item is None else as_number(item) for item in array.ravel().tolist()]
    if any(item is None for item in flat):
        word = next(v for v, n in zip(array.ravel().tolist(), flat, strict=True) if n is None)
        raise InputError(
            f"Arithmetic needs numbers, but {word!r} is not one", "Filter such runs out first."
        )
    return np.array(flat, dtype=np.float64).reshape(array.shape)


def truth(value: Value) -> Any:
    """`value` as a condition, elementwise: missing values, zero, empty text and "false" are not."""
    array = np.asarray(value)
    if array.dtype.kind == "b":
        return array
    if array.dtype.kind in "fciu":
        return (array != 0) & ~np.isnan(array)
    flat = [
        not is_missing(v) and bool(v if (n := as_number(v)) is None else n)
        for v in array.ravel().tolist()
    ]
    return np.array(flat, dtype=bool).reshape(array.shape)


def _compare(operator: str, left: Value, right: Value) -> Any:
    a, b = np.asarray(left), np.asarray(right)
    if a.dtype.kind in "biufc" and b.dtype.kind in "biufc":
        a, b = np.real(_numeric(a)), np.real(_numeric(b))
        return _NUMERIC_COMPARE[operator](a, b) & ~(np.isnan(a) | np.isnan(b))
    a, b = np.broadcast_arrays(a, b)
    pairs = zip(a.ravel().tolist(), b.ravel().tolist(), strict=True)
    return np.array([_compare_items(operator, x, y) for x, y in pairs], bool).reshape(a.shape)


_NUMERIC_COMPARE: dict[str, Callable[..., Any]] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


_PLAIN_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operators.eq,
    "!=": operators.ne,
    "<": operators.lt,
    "<=": operators.le,
    ">": operators.gt,
    ">=": operators.ge,
}


def _compare_items(operator: str, x: Any, y: Any) -> bool:
    if isinstance(x, (list, tuple)) or isinstance(y, (list, tuple)):
        many, one = (x, y) if isinstance(x, (list, tuple)) else (y, x)
        equal = any(_compare_items("==", item, one) for item in many)
        return equal if operator == "==" else operator == "!=" and not equal
    if is_missing(x) or is_missing(y):
        return False
    if not (isinstance(x, str) and isinstance(y, str)) or operator not in ("==", "!="):
        a, b = as_number(x), as_number(y)
        if a is not None and b is not None:
            return bool(_NUMERIC_COMPARE[operator](a, b))
        if a is not None or b is not None:
            return operator == "!="
    return bool(_PLAIN_COMPARE[operator](x, y))


def _pick(choose: Callable[..., Any]) -> Callable[..., Any]:
    def picked(*values: Any) -> Any:
        return functools.reduce(lambda a, b: np.where(choose(np.real(a), np.real(b)), a, b), values)

    return picked


def _absolute(value: Any) -> Any:
    # |x| has to stay analytic for derivatives by complex step.
    return np.where(np.real(value) < 0, -value, value)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "abs": _absolute,
    "min": _pick(lambda a, b: (a <= b) | np.isnan(a)),
    "max": _pick(lambda a, b: (a >= b) | np.isnan(a)),
}

_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "**": np.power,
}


def _items(holds: Callable[..., bool], *values: Value) -> Any:
    """What holds of the items of the values, elementwise."""
    arrays = np.broadcast_arrays(*(_of_objects(value) for value in values))
    columns = (array.ravel().tolist() for array in arrays)
    truths = [holds(*items) for items in zip(*columns, strict=True)]
    return np.array(truths, dtype=bool).reshape(arrays[0].shape)


def _of_objects(value: Value) -> Any:
    """An array of the value or values; a list is one value."""
    return value if isinstance(value, np.ndarray) else objects([value]).reshape(())


def _within(negated: bool, item: Any, whole: Any) -> bool:
    if is_missing(item) or is_missing(whole):
        return False
    if isinstance(item, str) and isinstance(whole, str):
        return (item in whole) != negated
    return _compare_items("!=" if negated else "==", whole, item)


def _like(pattern: str, negated: bool, value: Any) -> bool:
    if is_missing(value):
        return False
    texts = value if isinstance(value, (list, tuple)) else [value]
    plain = pattern.replace("[", "[[]")  # a bracket is itself
    return any(fnmatchcase(str(text), plain) for text in texts) != negated


def _evaluate(node: Node, lookup: Lookup) -> Value:
    match node:
        case Literal(value):
            return value
        case Name(name):
            return lookup(name)
        case Unary("-", operand):
            return -_numeric(_evaluate(operand, lookup))
        case Unary(_, operand):
            return ~truth(_evaluate(operand, lookup))
        case Binary("and", left, right):
            return truth(_evaluate(left, lookup)) & truth(_evaluate(right, lookup))
        case Binary("or", left, right):
            return truth(_evaluate(left, lookup)) | truth(_evaluate(right, lookup))
        case Binary(operator, left, right):
            a, b = _evaluate(left, lookup), _evaluate(right, lookup)
            if operator in _COMPARISONS:
                return _compare(operator, a, b)
            return _ARITHMETIC[operator](_numeric(a), _numeric(b))
        case Among(item, choices):
            value = _evaluate(item, lookup)
            equal = [_compare("==", value, _evaluate(choice, lookup)) for choice in choices]
            return functools.reduce(np.logical_or, equal, np.zeros(np.shape(value), bool))
        case Within(item, whole, negated):
            return _items(
                partial(_within, negated), _evaluate(item, lookup), _evaluate(whole, lookup)
            )
        case Like(operand, pattern, negated):
            return _items(partial(_like, pattern, negated), _evaluate(operand, lookup))
        case Missing(operand, negated):
            return _items(lambda value: is_missing(value) != negated, _evaluate(operand, lookup))
        case Call(function, arguments):
            values = [_numeric(_evaluate(argument, lookup)) for argument in arguments]
            return FUNCTIONS[function](*values)


def _show(node: Node) -> str:
    match node:
        case Literal(bool(value)):
            return str(value).lower()
        case Literal(str(value)):
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case Literal(value):
            return repr(value)
        case Name(name):
            return name if _PLAIN.fullmatch(name) and name not in _WORDS else f"`{name}`"
        case Unary("-", operand):
            return f"(-{_show(operand)})"
        case Unary(operator, operand):
            return f"({operator} {_show(operand)})"
        case Binary(operator, left, right):
            return f"({_show(left)} {operator} {_show(right)})"
        case Among(item, choices):
            return f"({_show(item)} in [{', '.join(map(_show, choices))}])"
        case Within(item, whole, negated):
            return f"({_show(item)} {'not ' if negated else ''}in {_show(whole)})"
        case Like(operand, pattern, negated):
            return f"({_show(operand)} {'not ' if negated else ''}like {_show(Literal(pattern))})"
        case Missing(operand, negated):
            return f"({_show(operand)} is {'not ' if negated else ''}null)"
        case Call(function, arguments):
            return f"{function}({', '.join(map(_show, arguments))})"


_PLAIN = re.compile(r"[^\W\d]\w*(?:\.\w+)*")
