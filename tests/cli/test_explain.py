"""Every warning that can be said is declared, and every declared one and every word explained."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import scaling_cli
from scaling_cli.cli import app
from scaling_cli.cli.flags import as_flags
from scaling_cli.glossary import WORDS
from scaling_cli.notes import SECTIONS, SEVERITIES, Kind, Note, kind_of

PACKAGE = Path(scaling_cli.__file__).parent
SOURCES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "notes.py"]
MAKERS = ("Note", "Note.of", "self.problem")  # what a code is given to
DECLARED = [kind for kinds in SECTIONS.values() for kind in kinds]


def texts(node: ast.AST, names: dict[str, str]) -> Iterator[str]:
    """The texts that an expression can give; a part of an f-string that varies is an `x`."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(str(p.value) if isinstance(p, ast.Constant) else "x" for p in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.Name) and node.id in names:
        yield names[node.id]
    elif isinstance(node, ast.IfExp):
        yield from texts(node.body, names)
        yield from texts(node.orelse, names)
    elif isinstance(node, ast.Call):  # codes.get(name, "outside_design")
        for argument in node.args:
            yield from texts(argument, names)


def constants() -> dict[str, str]:
    """Every module's names of texts: STORE_CHANGED = "store_changed"."""
    found = {}
    for path in SOURCES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                for target in node.targets:
                    if isinstance(target, ast.Name) and target.id.isupper():
                        found[target.id] = str(node.value.value)
    return found


def said() -> Iterator[tuple[Path, str, list[str]]]:
    """Where a note is made, its code, and its severities where they are written there."""
    names = constants()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            maker = ast.unparse(node.func)
            if maker not in MAKERS:
                continue
            severities = list(texts(node.args[1], names)) if maker == "Note" else []
            for code in texts(node.args[0], names):
                yield path, code, severities


def test_every_code_in_the_source_is_declared() -> None:
    made = list(said())
    assert len({code for _, code, _ in made}) > 80  # the walk does find them
    for path, code, severities in made:
        kind = kind_of(code)
        assert kind is not None, f"{path.name}: declare {code!r} in scaling_cli/notes.py"
        assert not severities or set(severities) & set(kind.severities), f"{path.name}: {code}"


@pytest.mark.parametrize("kind", DECLARED, ids=lambda kind: kind.code)
def test_a_declared_code_is_said_somewhere_and_explained(kind: Kind) -> None:
    code = kind.code.replace("*", "params")
    shown = CliRunner().invoke(app, ["explain", code, "--json"])
    first = json.loads(shown.stdout)["explanations"][0]
    assert (first["meaning"], first["mend"]) == (as_flags(kind.meaning), as_flags(kind.mend))
    assert kind.severities
    assert set(kind.severities) <= set(SEVERITIES)
    part = kind.code.strip("*")
    assert any(part in path.read_text(encoding="utf-8") for path in SOURCES), "said nowhere"


def test_codes_are_declared_once() -> None:
    codes = [kind.code for kind in DECLARED]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("word", [*WORDS, "chinchilla", "spike", "unique_tokens", "[at_bound]"])
def test_words_laws_checks_and_columns_are_explained(word: str) -> None:
    shown = CliRunner().invoke(app, ["explain", *word.split()])
    assert shown.exit_code == 0
    assert "meaning" in shown.stdout


def test_a_word_that_is_nothing_here_is_refused_with_what_is_near() -> None:
    shown = CliRunner().invoke(app, ["explain", "few_sizs"])
    assert shown.exit_code == 2
    assert "few_sizes" in shown.stderr


def test_a_note_of_no_declared_code_cannot_be_made() -> None:
    with pytest.raises(ValueError, match=r"notes\.py"):
        Note("unheard_of", "warning", "x")
    with pytest.raises(ValueError, match="declared as"):
        Note("few_runs", "severe", "x")
    with pytest.raises(ValueError, match="unpack"):
        Note.of("few_sizes", "its severity depends on the case")
    assert Note.of("few_runs", "x").severity == "warning"
    assert Note.of("few_sizes", "x", "severe").severity == "severe"


def test_a_kept_note_of_another_version_is_read() -> None:
    kept = {"code": "unheard_of", "severity": "warning", "message": "x"}
    assert Note.from_json(kept).to_json() == kept
    for wrong in ({"severity": "loud"}, {"message": 3}, {"code": None}):
        with pytest.raises(ValueError, match="a warning"):
            Note.from_json(kept | wrong)
