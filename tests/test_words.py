"""What users read is in the field's plain words: predict, forecast, extrapolate, held out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from scaling_cli.cli import app, flags
from tests.places import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = sorted((ROOT / "scaling_cli").rglob("*.py"))
LIBRARY = [path for path in SOURCES if path.parent.name != "cli"]
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
OTHERS = ("echo train ",)  # begins a command of a program that is not ours
ODD = re.compile(r"\bfores(ee|aw)|\btold\b|\botherwise\b|\bg[ai]ven? way\b|\bgives way\b", re.I)


def helps(command: Any) -> Iterator[str]:
    yield command.help or ""
    yield from (getattr(item, "help", None) or "" for item in command.params)
    for below in getattr(command, "commands", {}).values():
        yield from helps(below)


def sentences(source: str) -> Iterator[str]:
    """The texts of a module that are no docstrings: names and messages."""
    tree = ast.parse(source)
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef
    first = [node.body[0] for node in ast.walk(tree) if isinstance(node, kinds) and node.body]
    documents = {id(node.value) for node in first if isinstance(node, ast.Expr)}
    texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
    for node in texts:
        if id(node) not in documents and isinstance(node.value, str) and " " in node.value:
            yield node.value


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_in_plain_words(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not [line for line in text.splitlines() if ODD.search(line)]


def test_the_help_is_in_plain_words() -> None:
    assert not [text for text in helps(typer.main.get_command(app)) if ODD.search(text)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_messages_are_in_plain_words(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert not [text for text in sentences(source) if ODD.search(text)]


def options(command: Any) -> Iterator[str]:
    yield from (name for item in command.params for name in item.opts)
    for below in getattr(command, "commands", {}).values():
        yield from options(below)


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_the_library_names_its_arguments_and_no_flags(path: Path) -> None:
    known = set(options(typer.main.get_command(app)))
    lines = path.read_text(encoding="utf-8").splitlines()
    own = [line for line in lines if not any(other in line for other in OTHERS)]
    assert not [line for line in own if known.intersection(FLAG.findall(line))]


def test_every_argument_that_the_library_names_has_a_flag() -> None:
    known = set(options(typer.main.get_command(app)))
    assert {flags.flag(name) for name in flags.ARGUMENTS} <= known
    named = {
        name
        for path in LIBRARY
        for text in sentences(path.read_text(encoding="utf-8"))
        for name in re.findall(r"`([a-z_]+)=", text)
    }
    assert named <= flags.ARGUMENTS
    assert len(named) > 30


def test_the_command_line_names_flags() -> None:
    text = "Widen `where=`, or give `bounds=a=0:1` or `checkpoints=False`; `x = 1`, `lr=3` not."
    shown = "Widen --where, or give --bound a=0:1 or --no-checkpoints; `x = 1`, `lr=3` not."
    assert flags.as_flags(text) == shown
    note = {"message": text, "run_id": "`where=`"}
    assert flags.document_as_flags([note]) == [{"message": shown, "run_id": "`where=`"}]
