"""Lines of console logs by templates: what a project or a trainer prints, said once.

    step:{step}/{total_steps} val_loss:{val_loss} train_time:{}

`{name}` is a number, `{}` a word that is passed over, `{...}` any text, and `{*}` every number in
the rest of the line that has a name: `loss: 3.2 | lr 3e-4`, `loss=3.2, lr=3e-4`, `'loss': 3.2`.
`{@}` is a word that the names of the line begin with: a set of data that is evaluated.
White space of a template is any white space. A line is sought for the template; what stands before
and behind it is passed over, unless it begins with `^`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache, cached_property

from scaling_cli.errors import InputError
from scaling_cli.losses import of_the_whole
from scaling_cli.quantities import SUFFIXES

STEP, TOTAL = "step", "total_steps"
COUNTER, EVALUATION = "\0counter:", "\0evaluation"  # what no mapping can write

# A group of thousands is three digits; `1,04` is half a decimal comma.
NUMBER = (
    rb"[-+]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
    rb"|[-+]?(?i:nan|inf(?:inity)?)"
)
_WHOLE = rb"\d{1,3}(?:,\d{3})+|\d{1,18}(?:\.0+)?(?:\.\d+(?=[kKMB]))?"
_PLACE = re.compile(r"(\{[^{}]*\})")
_NAME = re.compile(r"[^\W\d][\w/. -]*")
# What may follow a number: a letter for thousands and so on, alone or before what is counted.
_SUFFIX = re.compile(
    rb"([kKMGBT])(?=[^A-Za-z0-9_]|$|it\b|tok|samples|params)| ([KMGBT])(?=[^\w/=:]|$)(?!\s*[=:])"
    rb"| ?(million|billion|trillion)\b"
)
_SMALL = re.compile(rb" ?([mbgt])(?=[^A-Za-z0-9_/]|$)")  # `m` are minutes where nothing is counted
_WORDS = {b"million": 1e6, b"billion": 1e9, b"trillion": 1e12}
_COUNTS = re.compile(r"tok|sample|param", re.IGNORECASE)
_NEVER_LARGE = re.compile(
    r"loss|lr|learning|norm|bpb|ppl|perplex|entropy|acc|nll|epoch", re.IGNORECASE
)
# Dates, times, addresses, shares `3/10` and hashes begin with digits and are no numbers.
_NO_END = re.compile(rb"[-:./]\d|[A-Za-z_]+\d|/\s*\d")
# A script prints by `{val_loss:.5f}`, which is no loss of 0.5.
_SOURCE = re.compile(rb"\{[^{}\n]{1,80}:(?:[<>^,+ ]?\d*(?:\.\d+)?[defgs%]|[<>^]?,?\.\d+)\}")
_VALUE = rb"(" + NUMBER + rb")(?![A-Za-z]*[A-Za-z]\d)"
_FILES = (".py", ".cc", ".cpp", ".go", ".rs")  # `train.py:411]` is where a line was printed
_QUOTED = re.compile(rb"""['"]([^'":]{1,80})['"]\s*:\s*['"]?(""" + NUMBER + rb")")
_BARS = re.compile(
    rb"(?:^|\|)\s*(?:\{\}\s*)?([A-Za-z_][^|:=\n]{0,80}?)\s*(?:[:=]\s*|(?<=[A-Za-z)])\s+(?=[-+.\d]))("
    + NUMBER
    + rb")",
)
_SPLIT = re.compile(r"(?i)train|val|eval|test|dev")
_SPLITS = rb"(?i:train|training|val|valid|validation|eval|evaluation|test|dev)"
# `best loss: 3.9` is not the loss: a word before a name is of the name, but for `INFO loss: 3.9`.
_WORD = (
    rb"(?:(?:^|(?<=[,;|(\[{])|(?<=[,;|(\[{]\s)|(?<=[\d%)\]]\s)|(?<=\d - ))\s?"
    rb"(?:[a-z]|[A-Za-z][a-z]\w*)\s)?"
)
# `train_loss 5.04, val_loss 5.05`: a loss, a rate and a count of tokens need no colon
_LOSSES = re.compile(
    rb"(?:^|(?<=[\s,;|(\[{]))("
    + _WORD
    + rb"(?:"
    + _SPLITS
    + rb"[ _/-])?(?i:loss|bpb|ppl|tokens|lr))\s+("
    + NUMBER
    + rb")"
)
_PAIRS = re.compile(
    rb"(?:^|(?<=[\s,;|(\[{]))("
    + _WORD
    + rb"(?:"
    + _SPLITS
    + rb"[ _-])?[A-Za-z_][\w/.()%-]*)\s*[:=]\s*['\"]?("
    + NUMBER
    + rb")",
)
# `1048.58M tokens seen`: no rate of them
_TOKENS_SEEN = re.compile(
    rb"(?<![\w./-])("
    + NUMBER
    + rb")(?:[kKMBGT]| ?(?:million|billion|trillion))?\s+"
    + rb"(tokens(?:[ _](?:seen|processed|consumed|trained))?)(?![\w/])(?!\s*(?:/|per\b|in\b|a\b))"
)
# `[val] step 100 | loss 4.1`: all of the line is of that evaluation.
_HELD_OUT = re.compile(
    rb"(?i)(?<![\w/.=-])(?:(val|valid|validation|validating|eval|evaluation|evaluating|dev)|test|testing)"
    rb"(?![\w/.=-])(?!['\"]?\s*[:=]?\s*['\"]?[-+.\d]|\s*(?:loss|bpb|ppl|perplexity|acc|nll))"
)
# What a line without a step says of held-out data: `val loss 4.1`, `Validation set loss = 4.1`.
_HELD_OUT_LOSS = re.compile(
    rb"(?i)(?<![\w/])(?:val|valid|validation|eval|evaluation|dev|held[ _-]?out)"
    rb"[ _/-]*(?:set[ _/-]*)?"
    rb"(?:loss|nll)\s*(?:[:=]|is|)\s*(" + NUMBER + rb")"
)
_AT_A_STEP = re.compile(
    rb"(?i)(?<![\w/])(train|training|val|valid|validation|eval|evaluation|dev|test)[ _/-]?loss\s*"
    rb"(?:at|after|for|on|@)\s*$"
)
_MAY_BE_HELD_OUT = re.compile(
    rb"(?i)(?<![\w/])(?:val|valid|validation|eval|evaluation|dev|held[ _-]?out)(?![a-z])"
    rb"(?:[^\n]{0,60}(?:loss|nll|ppl|perplexity|bpb|entropy)[^\n]{0,20}|\s*[:=]\s*)\d+\.\d"
)
_AFTER = re.compile(rb"\s*[:=]?\s*(" + NUMBER + rb")")
_BELOW = re.compile(rb"\s{2,}([^\s=][^=\n]{0,120})=(" + NUMBER + rb")\s*")
# Other steps than those of the training: `micro step 4, step 1`, `total steps: 2000`.
_NO_COUNT = b"".join(
    rb"(?<!%b[ _-])" % word
    for word in b"total max remaining micro accumulation accum num warmup inner left best".split()
)
_COUNTER = (
    rb"(?i)(?<![\w/.])"
    + _NO_COUNT
    + rb"(?:%b)s?['\"]?\s*[:=#]?\s*['\"]?\[?(\d{1,3}(?:,\d{3})+|\d{1,18})"
    rb"(?:\s*(?:/|of)\s*(\d{1,3}(?:,\d{3})+|\d{1,18}))?(?![\w.])(?:[\s,:;|\])(>-]|['\"](?![A-Za-z_]))*(?:\([^)]{0,20}\))?"
)
_EVALUATION = (
    rb"(?i)(?<![\w/])(?:val|valid|validation|eval|evaluation|dev)[ _/-]?loss\s*(?:[:=]|is|)\s*("
    + NUMBER
    + rb")"
)
_RANK = re.compile(rb"\[?(?:rank|Rank|default|)[ _:=]?(\d{1,5})\]?:")


@dataclass(frozen=True)
class Span:
    """A number in a line: what it is called, where it stands, and what its unit multiplies by.

    `comma` says that a comma in it, or after it, may be a decimal comma.
    """

    name: str
    start: int
    end: int
    times: float = 1.0
    comma: bool = False

    def value(self, line: bytes) -> float:
        return scaled(float(line[self.start : self.end].replace(b",", b"")), self.times)


def scaled(value: float, times: float) -> float:
    """1048.58 with an M behind it is 1,048,580,000, whatever the last bit of the product."""
    product = value * times
    if times == 1.0 or not abs(product) < 1e15:
        return product
    whole = round(product)
    return float(whole) if abs(product - whole) < 1e-4 else product


@dataclass(frozen=True)
class Template:
    """A compiled template."""

    text: str
    pattern: re.Pattern[bytes]
    names: tuple[str, ...]
    rest: bool
    any_case: bool = False

    @cached_property
    def words(self) -> tuple[bytes, ...]:
        """What its lines hold as it stands, the longest first."""
        if self.text.startswith((COUNTER, EVALUATION)):
            return ()
        words = set(_PLACE.sub(" ", self.text.removeprefix("^")).split())
        return tuple(word.encode() for word in sorted(words, key=lambda word: (-len(word), word)))

    def may_hold(self, text: bytes) -> bool:
        """A quick look before the pattern."""
        text = text.lower() if self.any_case else text
        return all(word in text for word in self.words)

    @cached_property
    def fixed(self) -> tuple[bytes, ...]:
        """Its words that hold digits."""
        if self.text.startswith((COUNTER, EVALUATION)):
            return ()
        words = re.findall(r"\w*\d\w*", _PLACE.sub(" ", self.text))
        return tuple(word.encode() for word in words)

    @cached_property
    def places(self) -> list[tuple[int, str]]:
        """The groups of the pattern that are numbers."""
        word = self.pattern.groupindex.get("word", 0)
        groups = [group for group in range(1, self.pattern.groups + 1) if group != word]
        return list(zip(groups, self.names, strict=True))

    def spans(self, line: bytes) -> list[Span] | None:
        """The numbers of a line, or None if it is no such line."""
        if not self.may_hold(line):
            return None
        if self.text.startswith((COUNTER, EVALUATION)) and _SOURCE.search(line):
            return None
        match = self.pattern.search(line)
        if match is None:
            return None
        found = [
            _span(name, line, *match.span(place), counts=self.any_case or name in (STEP, TOTAL))
            for place, name in self.places
            if match[place] is not None
        ]
        if self.rest:
            found += pairs(line, match.end())
        if self.text.startswith(COUNTER):
            found += pairs(line[: match.start()])  # its names may stand on either side
            found = _marked(found, line, match.end())
            found += _at_a_step(line, match)
        word = self.word(line)
        if word:
            found = [
                span if span.name in (STEP, TOTAL) else replace(span, name=f"{word}/{span.name}")
                for span in found
            ]
        return found

    def word(self, line: bytes) -> str:
        """What stands at the place of `{@}`."""
        match = self.pattern.search(line) if "word" in self.pattern.groupindex else None
        return "" if match is None else match["word"].decode("utf-8", "replace")


def _at_a_step(line: bytes, step: re.Match[bytes]) -> list[Span]:
    """The loss of `eval loss at step 100: 4.1`."""
    named = _AT_A_STEP.search(line, 0, step.start())
    number = None if named is None else _AFTER.match(line, step.end())
    if named is None or number is None or _NO_END.match(line, number.end(1)):
        return []
    name = "train_loss" if named[1].lower().startswith(b"train") else "val_loss"
    return [_span(name, line, *number.span(1))]


def held_out(line: bytes) -> list[Span]:
    """The losses of a line that has no step and is of an evaluation; empty if it is no such."""
    if _SOURCE.search(line):
        return []
    loss = _HELD_OUT_LOSS.search(line)
    if loss is not None and not _NO_END.match(line, loss.end(1)):
        return [_span("val_loss", line, *loss.span(1))]
    named = pairs(line)
    spans = [span for span in _marked(named, line, 0) if of_the_whole([span.name])]
    marked = _HELD_OUT.search(line) is not None
    return spans if marked or any(span in named for span in spans) else []


def may_be_held_out(line: bytes) -> bool:
    """Whether a line without a step names an evaluation and a number that may be its loss."""
    return _MAY_BE_HELD_OUT.search(line) is not None and not _SOURCE.search(line)


def _marked(spans: list[Span], line: bytes, counter: int) -> list[Span]:
    """These numbers by the names of an evaluation, if one is named before the first of them."""
    first = min((span.start for span in spans if span.start >= counter), default=counter)
    mark = _HELD_OUT.search(line, 0, first + 1)
    if mark is None:
        return spans
    split = "val" if mark[1] else "test"
    return [
        span
        if span.name in (STEP, TOTAL) or span.name.lower() == "epoch" or _SPLIT.search(span.name)
        else replace(span, name=f"{split}/{span.name}")
        for span in spans
    ]


def pairs(line: bytes, start: int = 0) -> list[Span]:
    """Every number after `start` that has a name before it."""
    rest = line[start:]
    pattern = _QUOTED if b"':" in rest or b'":' in rest else _BARS if b"|" in rest else _PAIRS
    found = []
    matches = list(pattern.finditer(rest))
    if pattern is _PAIRS:
        matches += _LOSSES.finditer(rest)
    for match in matches:
        first, last = match.span(2)
        if _NO_END.match(rest, last) or (
            rest[first:last][-1:].isalpha() and rest[last : last + 1].isalpha()
        ):
            continue
        name = match[1].decode("utf-8", "replace").strip()
        if name.endswith(_FILES) or name.count(")") > name.count("("):  # `time (s): 0.5`
            continue
        found.append(_span(name, line, start + first, start + last))
    for match in _TOKENS_SEEN.finditer(rest) if b"tokens" in rest else ():
        first, last = match.span(1)
        if not any(span.start == start + first for span in found):
            found.append(_span(match[2].decode(), line, start + first, start + last, counts=True))
    return found


def _span(name: str, line: bytes, start: int, end: int, counts: bool = False) -> Span:
    number, after = line[start:end], line[end : end + 16]
    counts = counts or _COUNTS.search(name) is not None
    never_large = _NEVER_LARGE.search(name) is not None
    times = 1.0
    # `L=3.9 T=5` is no loss of trillions
    suffix = None if never_large and not counts else _SUFFIX.match(after)
    small = None if suffix or not counts else _SMALL.match(after)
    if suffix is not None and suffix[3]:
        times = _WORDS[suffix[3]]
    elif suffix is not None:
        times = SUFFIXES[(suffix[1] or suffix[2]).decode().lower()]
    elif small is not None:
        times = SUFFIXES[small[1].decode()]
    one_group = number.count(b",") == 1 and never_large
    comma = one_group or (after[:1] == b"," and after[1:2].isdigit())
    return Span(name, start, end, times, comma and not (counts and after[:1] != b","))


def rank_of(line: bytes) -> Span | None:
    """The rank that a launcher puts before each line of it: `3: `, `[rank3]:`, `[default3]:`."""
    match = _RANK.match(line)
    return None if match is None else Span("", *match.span(1))


def below(line: bytes) -> Span | None:
    """The number of an indented line that holds a name and it alone."""
    match = _BELOW.fullmatch(line)
    return (
        None if match is None else _span(match[1].decode("utf-8", "replace"), line, *match.span(2))
    )


@cache
def template(text: str, any_case: bool = False) -> Template:
    """A template's pattern; InputError says what is wrong in it. COUNTER and names, parted by
    bars, are a counter of one of these names, EVALUATION is a loss of an evaluation."""
    if text == EVALUATION:
        return Template(text, re.compile(_EVALUATION), ("val_loss",), False)
    if text.startswith(COUNTER):
        counters = text.removeprefix(COUNTER).encode()
        return Template(text, re.compile(_COUNTER % counters), (STEP, TOTAL), True)
    pieces = _PLACE.split(text.removeprefix("^"))
    names: list[str] = []
    pattern = rb"^(?:\[?\w*\d+\]?:)?\s*" if text.startswith("^") else b""
    if not pattern and re.match(r"\w", pieces[0]):
        pattern = rb"(?<![\w/])"
    for place, piece in enumerate(pieces):
        if place % 2 == 0:
            pattern += _literal(piece)
            continue
        name = piece[1:-1].strip()
        if name == "*" and any(part.strip() for part in pieces[place + 1 :]):
            raise InputError(f"{text!r}: {{*}} is not its end", "Nothing can follow {*}.")
        if name == "*":
            break
        if name == "@":
            pattern += rb"(?P<word>[\w./-]+)"
        elif name in ("", "..."):
            pattern += rb"\S*?" if not name else rb".*?"
        elif not _NAME.fullmatch(name):
            raise InputError(
                f"{text!r}: {piece} is no name", "Write {loss}, {} for a word, {*} for the rest."
            )
        elif name in names:
            raise InputError(f"{text!r}: {piece} stands in it twice", "Give each its own name.")
        else:
            names.append(name)
            pattern += rb"\s*(" + (_WHOLE if name in (STEP, TOTAL) else NUMBER) + rb")"
            pattern += _behind(pieces, place)
    rest = "{*}" in pieces
    if not names and not rest:
        raise InputError(f"{text!r} names no number", 'Write line = "step {step} loss {loss}".')
    return Template(text, re.compile(b"(?i)" * any_case + pattern), tuple(names), rest, any_case)


def _behind(pieces: list[str], place: int) -> bytes:
    """What ends a number before the next literal: all of it is to be read, and then its unit."""
    following = pieces[place + 1] if place + 1 < len(pieces) else ""
    if following[:1].isalpha() or following[:1] == "%":
        return b""
    end = rb"(?![\d.])" if not following.startswith(".") else rb"(?!\d)"
    return end + rb"(?:[kKMGBT](?:it)?(?![A-Za-z])| ?(?:million|billion|trillion)\b)?"


def _literal(text: str) -> bytes:
    if not text:
        return b""
    words = re.split(r"\s+", text)
    inner = rb"\s+".join(re.escape(word.encode()) for word in words if word)
    before, behind = rb"\s*" * (not words[0]), rb"\s*" * (not words[-1])
    return before + inner + (behind if inner else b"")
