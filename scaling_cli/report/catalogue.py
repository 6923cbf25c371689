"""The pages of laws, warnings and words in docs/, made from their declarations: `make docs`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from scaling_cli.glossary import WORDS
from scaling_cli.laws import LAWS, Law, Published
from scaling_cli.notes import SECTIONS, Kind
from scaling_cli.report.laws import example, meaning
from scaling_cli.schema.page import json_page

INTRODUCTION = """\
# Laws

Made from the declarations in `scaling_cli/laws/` by `make docs`; do not edit. `scalefit laws ID`
shows one of them. "Unverified" marks a formula, or coefficients, that were read in no document of
the paper's authors: fit it, compare it, but do not cite it as theirs; no prediction is made from
unverified coefficients.
"""


def page(laws: Iterable[Law] = LAWS.values()) -> str:
    families: dict[str, list[Law]] = {}
    for law in laws:
        families.setdefault(law.family, []).append(law)
    parts = [INTRODUCTION]
    for family, members in families.items():
        parts.append(f"## {family[0].upper()}{family[1:]}\n")
        parts += ["\n".join(_section(law)) + "\n" for law in members]
    return "\n".join(parts)


def _section(law: Law) -> Iterator[str]:
    yield f"### {law.id}"
    yield ""
    unverified = "" if law.evidence.verified else " **Form unverified.**"
    yield f"{law.title}.{unverified}"
    yield ""
    yield f"    {law.target} = {law.formula}"
    yield f"    scalefit fit {example(law)}"
    yield ""
    named = dict.fromkeys((*law.variables, law.target, *([law.trials] if law.trials else [])))
    yield "- columns: " + "; ".join(f"`{name}`, {meaning(name)}" for name in named)
    yield "- parameters: " + "; ".join(f"`{p.name}`, {p.meaning}" for p in law.parameters)
    yield f"- objective: `{law.objective}`"
    if law.paper:
        yield f"- `procedure=paper`: `{law.paper.objective}`, {law.paper.method}"
    yield f"- source: {law.source}; {law.evidence}"
    if law.aliases:
        yield f"- also known as: {', '.join(f'`{name}`' for name in law.aliases)}"
    yield from (f"- `{item.name}`: {_set(item)}" for item in law.published)
    yield from (f"- `{item.name}` (UNVERIFIED): {_set(item)}" for item in law.unverified)
    yield from (f"- caveat: {text}" for text in law.caveats)


def _set(item: Published) -> str:
    figures = ", ".join(f"{name} {value:.8g}" for name, value in item.values.items())
    return f"{figures}; {item.data}; {item.target}; params: {item.params}; {item.evidence}"


WARNINGS = """\
# Warnings

Made from the declarations in `scaling_cli/notes.py` by `make docs`; do not edit.
`scalefit explain CODE` shows one of them. `info` says what was done; a `warning` is to be read
before the number is used; where something is `severe`, the number beside it is not to be relied on.
Where two severities stand, the case decides. A code with a `*` has the name of a column there.
"""
GLOSSARY = """\
# Words

Made from `scaling_cli/glossary.py` by `make docs`; do not edit.
`scalefit explain WORD` shows one of them.

| word | meaning |
|---|---|
"""


def warnings_page() -> str:
    """docs/warnings.md: every code, by what it is said of."""
    parts = [WARNINGS]
    for title, kinds in SECTIONS.items():
        rows = "".join(map(_warning, kinds))
        head = "| code | severity | meaning | mend |\n|---|---|---|---|\n"
        parts.append(f"## {title}\n\n{head}{rows}")
    return "\n".join(parts)


def _warning(kind: Kind) -> str:
    return f"| `{kind.code}` | {', '.join(kind.severities)} | {kind.meaning} | {kind.mend} |\n"


def glossary_page() -> str:
    """docs/glossary.md."""
    return GLOSSARY + "".join(f"| {word} | {meaning} |\n" for word, meaning in WORDS.items())


PAGES = {
    "laws.md": page,
    "warnings.md": warnings_page,
    "glossary.md": glossary_page,
    "json.md": json_page,
}
