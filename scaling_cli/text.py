"""Text from outside, made safe for each output.

Names of runs, groups, metrics and settings are written by people and machines that nobody checked.
Whatever shows one passes it through a function of this file, named after the output. What cannot be
seen is shown as an escape (`\\n`, `\\x1b`, `\\u202e`), so that nothing reaches a terminal, a CI
runner, a page or a spreadsheet as a command.
"""

from __future__ import annotations

import os
import re
from unicodedata import category

_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# Controls, what turns the direction of reading or is drawn as nothing, separators of lines, and
# halves of surrogate pairs. The two joiners belong to the spelling of words in several scripts.
_UNSEEN = {"Cc", "Cf", "Zl", "Zp", "Cs"}
_JOINERS = "\u200c\u200d"
_SURROGATE = re.compile("[\ud800-\udfff]")
# A runner of GitHub obeys lines that begin with `::` and, anywhere in a line, `##[`; one of Azure
# `##vso[`, of TeamCity `##teamcity[`.
_COMMAND = re.compile(r"##(?=\w*\[)")


def whole(text: str) -> str:
    """The text with what cannot be encoded (half of a surrogate pair) replaced."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def visible(text: str) -> str:
    """One line in which every character is seen: for a terminal, a pipe or a log."""
    text = _seen(text)
    return guarded(text) if "::" in text or "##" in text else text


def _seen(text: str) -> str:
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(char: str) -> str:
    if char in _NAMED:
        return _NAMED[char]
    if char in _JOINERS or (category(char) not in _UNSEEN and (ord(char) & 0xFFFE) != 0xFFFE):
        return char
    code = ord(char)
    mark, digits = ("x", 2) if code < 0x100 else ("u", 4) if code < 0x10000 else ("U", 8)
    return f"\\{mark}{code:0{digits}x}"


def guarded(text: str) -> str:
    """A line that a CI runner takes for text and not for a command, where one is listening."""
    if not listening():
        return text
    text = _COMMAND.sub("#\\\\#", text)
    bare = text.lstrip()
    return f"{text[: len(text) - len(bare)]}'{bare}" if bare.startswith("::") else text


def listening() -> bool:
    """Whether a CI runner reads commands from the output."""
    return any(os.environ.get(name) for name in ("GITHUB_ACTIONS", "TF_BUILD", "TEAMCITY_VERSION"))


def html(text: str) -> str:
    """Text or an attribute of a page, or of XML."""
    from html import escape

    return escape(visible(text))


def markdown(text: str) -> str:
    """Text of a cell, a heading or an item of a list: no link, image, mention, reference, heading,
    formula or markup of its own."""
    from html import escape

    text = escape(visible(text), quote=False)
    text = re.sub(r"[\\`*_\[\]|~$]|^[-+=#]", r"\\\g<0>", text)
    text = re.sub(r"^(\d+)([.)])", r"\1\\\2", text)  # no item of a list
    text = text.replace("://", "&#58;//")  # a bare address is made a link, also after a backslash
    text = re.sub(r"(?i)\b(www|mailto|xmpp)([.:])", lambda m: f"{m[1]}&#{ord(m[2])};", text)
    # GitHub looks for people and issues in what is shown: an empty space parts the mark from them.
    text = re.sub(r"@(?=\w)", "@&#8203;", text)
    return re.sub(r"(?i)((?<!&)#|\bGH-)(?=\d)", r"\1&#8203;", text)


_FORMULA = "=+-@\uff1d\uff0b\uff0d\uff20"  # what a spreadsheet calculates begins with one of these
_NUMBER = r"(?:-|[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?[KMBT]?(?: ?%)?)"
_FIGURE = re.compile(rf"{_NUMBER}(?:\.\.{_NUMBER})?")  # our own: -, -1.2 %, +3, -0.1..0.4


def cell(text: str) -> str:
    """A cell of a file for spreadsheets that is text and no formula; its writer quotes it."""
    return _unformulated(_seen(text))


def _unformulated(text: str) -> str:
    first = text.lstrip()[:1]
    return f"'{text}" if first and first in _FORMULA and not _FIGURE.fullmatch(text) else text


def csv(text: str) -> str:
    """A cell that is no formula, quoted where it has to be."""
    text = _unformulated(visible(text))
    if re.search(r"[\",;]|^\s|\s$", text):
        text = '"' + text.replace('"', '""') + '"'
    return text


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    **{mark: f"\\{mark}" for mark in "{}$&#_%"},
}


def latex(text: str) -> str:
    """Text between the commands of a LaTeX document."""
    return "".join(_LATEX.get(char, char) for char in visible(text))


def annotation(text: str, also: str = "") -> str:
    """A value of a workflow command of GitHub; in a property `:` and `,` are marks too."""
    text = _COMMAND.sub("#\\\\#", _seen(text))  # for runners that read such marks anywhere
    for mark in "%" + also:
        text = text.replace(mark, f"%{ord(mark):02X}")
    return text
