"""What a word of the output means: a warning, a word of the glossary, a law, a check, a column."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from scaling_cli import notes
from scaling_cli.columns import COLUMNS
from scaling_cli.errors import InputError
from scaling_cli.glossary import WORDS
from scaling_cli.report.listing import Listing
from scaling_cli.spelling import near


@dataclass(frozen=True)
class Explanation:
    """What `name` means; of a warning also what to do about it (`mend`)."""

    kind: str  # warning, word, law, check, column
    name: str
    meaning: str
    mend: str = ""
    severities: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def explain(word: str) -> list[Explanation]:
    """Everything of that name, whatever the case and the spaces. InputError, with names that are
    near, where there is nothing."""
    wanted = _plain(word)
    if not wanted:
        return []
    declared = notes.kind_of(wanted)
    own = [] if declared is None else [_of_warning(declared, wanted)]
    explanations = own + [item for item in _others() if _plain(item.name) == wanted]
    if not explanations:
        known = [*notes.KINDS, *(item.name for item in _others())]
        listed = "`scalefit explain` lists the words, docs/warnings.md the warnings."
        raise InputError(f"nothing is called '{word}' here", near(word, known) or listed)
    return explanations


def explanation_tables(found: list[Explanation]) -> list[Listing]:
    """Each explanation; without any, the glossary."""
    if not found:
        rows = tuple(WORDS.items())
        lines = (f"and {len(notes.KINDS)} codes of warnings, the laws, checks and columns",)
        return [Listing("Words", ("word", "meaning"), rows, left=2, lines=lines)]
    return [
        Listing(
            f"{item.name}, a {item.kind}",
            (item.kind, ", ".join(item.severities) or "-"),
            (("meaning", item.meaning), *([("mend", item.mend)] if item.mend else [])),
            left=2,
        )
        for item in found
    ]


def _plain(word: str) -> str:
    return "_".join(word.strip().strip("[]`").lower().replace("-", " ").replace("_", " ").split())


def _of_warning(kind: notes.Kind, code: str) -> Explanation:
    return Explanation("warning", code, kind.meaning, kind.mend, kind.severities)


def _others() -> Iterator[Explanation]:
    from scaling_cli.checks import rules
    from scaling_cli.laws import LAWS

    for word, meaning in WORDS.items():
        yield Explanation("word", word, meaning)
    for law in LAWS.values():
        for name in (law.id, *law.aliases):
            text = f"{law.title}: {law.target} = {law.formula}; {law.source}"
            yield Explanation("law", name, text, f"scalefit laws {law.id}")
    for rule in rules().values():
        settings = "; ".join(f"{item.name}: {item.meaning}" for item in rule.settings)
        yield Explanation("check", rule.name, rule.title + (f". {settings}" if settings else ""))
    for column in COLUMNS.values():
        yield Explanation("column", column.name, f"{column.meaning} ({column.unit})")


def schemas_table(names: list[str]) -> Listing:
    """What has a JSON Schema."""
    rows = tuple(("scalefit schema " + name,) for name in names)
    return Listing("JSON Schemas", ("command that prints it",), rows)
