"""A console log as lines that share layouts, so that each layout is looked at once.

Without its digits, points, signs and blanks a line is its layout, and most lines of a log have one
of a few. A line of each layout is read by patterns; the numbers of all others of that layout then
stand at the same places, and are taken column by column as a CSV would be. What that cannot prove
to be the same is read line by line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from scaling_cli.adapters.console_lines import Span
from scaling_cli.arrow import from_numpy
from scaling_cli.records import Floats

LONGEST = 4096  # bytes of a line; a longer one is no such log
_FEW = 32  # lines of a layout that are sooner read one by one
_CACHED = 1 << 18  # bytes
_SMALL = 1 << 20  # bytes that one thread parses sooner than several
_COLOUR = re.compile(rb"\x1b\[[\d;]*[A-Za-z]")
_TELLS = re.compile(rb"\d|[Nn]a[Nn]|\binf| \.\.")
_WORDS = (b"nan", b"inf", b" ..")  # one of which _TELLS finds where there is no digit
_DIGITS = b"0123456789"
_NUMERIC = _DIGITS + b".+-"
_BLANK = b" \t"
_LETTERS = bytes(c for c in range(256) if chr(c).isalpha() and c < 128)
_BYTES = bytes(range(256))
_OTHER = bytes(c for c in _BYTES if c not in _NUMERIC + _BLANK + b"\n")


def decoded(data: bytes) -> bytes:
    """The text in UTF-8, without colours, its overwritten lines one below the other."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        data = data.decode("utf-16", "replace").encode("utf-8", "replace")
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return _COLOUR.sub(b"", data) if b"\x1b" in data else data


@dataclass(slots=True)
class Layout:
    """Lines of one layout: how many, the number of the last, and the first as it stands."""

    code: int
    count: int
    last: int
    line: bytes


class Layouts:
    """Layouts whose first lines hold a number, or leaders of points, in their order."""

    def __init__(self, each: list[Layout]) -> None:
        self.each = each
        text = b"\n".join([layout.line for layout in each]) + b"\n"
        self._texts = {False: text, True: text.lower()}  # in any case: in small letters
        self._ends = _newlines(text)
        self._held: dict[tuple[bytes, bool], list[int]] = {}

    def places(self, words: Sequence[bytes], any_case: bool = False) -> list[int]:
        """Which of them hold all of these words, at least one, the longest first."""
        text = self._texts[any_case]
        rare = words[0]
        if rare not in text:
            return []
        if (rare, any_case) not in self._held:
            places = np.unique(np.searchsorted(self._ends, _starts(rare, text)))
            self._held[rare, any_case] = places.tolist()
        found = self._held[rare, any_case]
        for word in words[1:]:
            if found:
                found = [place for place in found if word in self._line(place, any_case)]
        return found

    def _line(self, place: int, any_case: bool) -> bytes:
        line = self.each[place].line
        return line.lower() if any_case else line


class Lines:
    """The lines of a text, by layout."""

    def __init__(self, data: bytes) -> None:
        self.data = data if data.endswith(b"\n") else data + b"\n"
        ends = _newlines(self.data)
        self.offsets: NDArray[np.int64] = np.concatenate([[0], ends + 1])
        bare = self.data.translate(None, _NUMERIC + _BLANK)
        layouts = pa.LargeBinaryArray.from_buffers(
            pa.large_binary(),
            len(ends),
            [None, pa.py_buffer(np.concatenate([[0], _newlines(bare) + 1])), pa.py_buffer(bare)],
        ).dictionary_encode()
        self.codes: NDArray[np.int32] = np.frombuffer(layouts.indices.buffers()[1], np.int32)
        self.n_layouts = len(layouts.dictionary)
        self.too_long = np.flatnonzero(np.diff(self.offsets) > LONGEST)
        if len(self.too_long):
            self.codes = self.codes.copy()
            self.codes[self.too_long] = -1

    def line(self, number: int) -> bytes:
        return self.data[self.offsets[number] : self.offsets[number + 1] - 1]

    @cached_property
    def layouts(self) -> Layouts:
        """The layouts in the order of their first lines."""
        kept = self.codes[self.codes >= 0]
        counts = np.bincount(kept, minlength=self.n_layouts)
        numbers = np.flatnonzero(self.codes >= 0)
        first, last = np.full((2, self.n_layouts), -1)
        first[kept[::-1]] = numbers[::-1]
        last[kept] = numbers
        codes = np.flatnonzero(counts)
        codes = codes[_telling(self._text(first[codes]))]
        starts, ends = self.offsets[first[codes]], self.offsets[first[codes] + 1] - 1
        columns = (each.tolist() for each in (codes, counts[codes], last[codes], starts, ends))
        rows = zip(*columns, strict=True)
        return Layouts([Layout(code, n, at, self.data[a:b]) for code, n, at, a, b in rows])

    @cached_property
    def repeated(self) -> Layouts:
        """The layouts of more than one line."""
        found = [layout for layout in self.layouts.each if layout.count > 1]
        return self.layouts if len(found) == len(self.layouts.each) else Layouts(found)

    def numbers_of(self, layout: Layout) -> NDArray[np.intp]:
        """The line numbers of a layout."""
        if layout.count == len(self.codes):
            return np.arange(layout.count)
        return np.flatnonzero(self.codes == layout.code)

    def values(
        self,
        numbers: NDArray[np.intp],
        spans: Sequence[Span],
        again: Callable[[bytes], Sequence[Span] | None],
        fixed: Sequence[bytes] = (),
    ) -> list[tuple[NDArray[np.intp], Sequence[Span], Floats]]:
        """The numbers that stand in these lines of one layout [lines, spans], once for all lines
        that have the same names. `spans` are those of the first line, and `again` finds those of
        another; `fixed` are words with digits that all of the lines are to hold."""
        if len(numbers) >= _FEW and spans:
            found = self._columns(numbers, spans, again, fixed)
            if found is not None:
                return [(numbers, spans, found)]
        alike: dict[tuple[str, ...], list[tuple[int, list[float]]]] = {}
        first: dict[tuple[str, ...], Sequence[Span]] = {}
        for number in numbers.tolist():
            line = self.line(number)
            own = again(line)
            if own:
                names = tuple(span.name for span in own)
                first.setdefault(names, own)
                alike.setdefault(names, []).append((number, [span.value(line) for span in own]))
        return [
            (np.array([n for n, _ in rows]), first[names], np.array([v for _, v in rows]))
            for names, rows in alike.items()
        ]

    def _columns(
        self,
        numbers: NDArray[np.intp],
        spans: Sequence[Span],
        again: Callable[[bytes], Sequence[Span] | None],
        fixed: Sequence[bytes],
    ) -> Floats | None:
        first, last = self.line(int(numbers[0])), self.line(int(numbers[-1]))
        expected = again(last)
        if expected is None or [s.name for s in expected] != [s.name for s in spans]:
            return None
        text = self._text(numbers)
        for word in (*fixed, *_with_digits(first, spans)):
            if text.count(word) < len(numbers):
                return None  # `loss_1` and `loss_2` have one layout
        for table, gone, tie in _ways(first, spans):
            places = [_place(first, span, table, gone, tie) for span in spans]
            if any(place is None for place in places):
                continue
            try:
                columns = _parsed(_translated(text, table, gone, tie), places)
            except pa.ArrowInvalid:
                continue
            if len(columns[0]) != len(numbers):
                continue
            found = np.stack(columns, axis=1)
            for place, span in enumerate(spans):
                if span.times != 1.0:
                    found[:, place] = _scaled(found[:, place], span.times)
            ends = ((0, first, spans), (-1, last, expected))
            if all(found[i].tolist() == [s.value(line) for s in ss] for i, line, ss in ends):
                return found
        return None

    def _text(self, numbers: NDArray[np.intp]) -> bytes:
        """These lines alone."""
        if len(numbers) == len(self.codes):
            return self.data
        lines = pa.LargeBinaryArray.from_buffers(
            pa.large_binary(),
            len(self.codes),
            [None, pa.py_buffer(self.offsets), pa.py_buffer(self.data)],
        ).take(from_numpy(numbers))
        _, offsets, content = lines.buffers()
        start, *_, end = np.frombuffer(offsets, np.int64)[lines.offset :][: len(lines) + 1][[0, -1]]
        return bytes(memoryview(content)[start:end])


def _telling(text: bytes) -> NDArray[np.bool_]:
    """Which lines of a text hold a digit, a word for a number or leaders: as _TELLS finds them,
    which is slow for the thousands of lines of a script."""
    ends = _newlines(text)
    told = np.zeros(len(ends), bool)
    digits = np.frombuffer(text, np.uint8) - np.uint8(ord("0")) < 10
    told[np.searchsorted(ends, np.flatnonzero(digits))] = True
    low = text.lower()
    found = np.concatenate([_starts(word, low) for word in _WORDS])
    places = np.unique(np.searchsorted(ends, found))
    for place in places[~told[places]].tolist():
        start = ends[place - 1] + 1 if place else 0
        told[place] = _TELLS.search(text[start : ends[place]]) is not None
    return told


def _starts(word: bytes, text: bytes) -> NDArray[np.intp]:
    """Where a word stands in a text. Letter by letter: three times as fast as bytes.find."""
    content = np.frombuffer(text, np.uint8)
    last = max(len(content) - len(word) + 1, 0)
    found = np.ones(last, bool)
    for place, letter in enumerate(word):
        found &= content[place : last + place] == letter
    return np.flatnonzero(found)


def _newlines(data: bytes) -> NDArray[np.int64]:
    """Where lines end. In pieces that the processor's cache holds: twice as fast."""
    content = np.frombuffer(data, np.uint8)
    if len(content) <= _CACHED:
        return np.flatnonzero(content == ord("\n"))
    found = [
        np.flatnonzero(content[start : start + _CACHED] == ord("\n")) + start
        for start in range(0, len(content), _CACHED)
    ]
    return np.concatenate([*found, np.empty(0, np.int64)]).astype(np.int64, copy=False)


def _scaled(values: Floats, times: float) -> Floats:
    """As console_lines.scaled, for many."""
    product = values * times
    whole = np.rint(product)
    near = (np.abs(product) < 1e15) & (np.abs(product - whole) < 1e-4)
    return np.where(near, whole, product)


def _with_digits(line: bytes, spans: Sequence[Span]) -> list[bytes]:
    """The printed names of a line that hold digits."""
    names = {span.name.encode() for span in spans if any(c.isdigit() for c in span.name)}
    return [name for name in names if name in line]


def _ways(line: bytes, spans: Sequence[Span]) -> list[tuple[bytes, bytes, bool]]:
    """Ways to part a line of a layout into cells: a table of what parts them, what is left out,
    and whether an e before a blank parts too. Few cells are read faster, so letters are left out
    where they part nothing."""
    texts = b" ".join(line[span.start : span.end] for span in spans)
    exponents = bytes(c for c in b"eE" if c in texts)
    commas = b"," if b"," in texts else b""
    return _tables(exponents, commas)


@cache
def _tables(exponents: bytes, commas: bytes) -> list[tuple[bytes, bytes, bool]]:
    table = bytes(c if c in _NUMERIC + exponents + b"\n" else ord(",") for c in _BYTES)
    letters = bytes(c for c in _LETTERS + b"_%'\"" if c not in exponents)
    return [(table, _BLANK + commas + letters, False), (table, _BLANK + commas, bool(exponents))]


def _translated(text: bytes, table: bytes, gone: bytes, tie: bool) -> bytes:
    if tie:
        text = text.replace(b"e ", b"e;").replace(b"E ", b"E;")
    return text.translate(table, gone)


def _place(line: bytes, span: Span, table: bytes, gone: bytes, tie: bool) -> int | None:
    """Which cell holds the number of a span and nothing else."""
    before = _translated(line[: span.start] + b"0", table, gone, tie).count(b",")
    cells = _translated(line, table, gone, tie).split(b",")
    number = line[span.start : span.end].replace(b",", b"")
    return before if before < len(cells) and cells[before] == number else None


def _parsed(text: bytes, places: Sequence[int | None]) -> list[Floats]:
    names = [f"f{place}" for place in places]
    table = csv.read_csv(
        pa.BufferReader(text),
        read_options=csv.ReadOptions(
            autogenerate_column_names=True, block_size=1 << 22, use_threads=len(text) > _SMALL
        ),
        parse_options=csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
        convert_options=csv.ConvertOptions(
            include_columns=list(dict.fromkeys(names)),
            column_types=dict.fromkeys(names, pa.float64()),
            null_values=[],
        ),
    )
    # Not by to_numpy, which imports pandas where it is installed.
    columns = [table.column(name).combine_chunks() for name in names]
    return [np.frombuffer(c.buffers()[1], np.float64)[c.offset :][: len(c)] for c in columns]
