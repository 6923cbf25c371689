"""The declared laws as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scaling_cli.report.listing import Listing

if TYPE_CHECKING:
    from scaling_cli.laws import Law


def laws_tables(laws: Sequence[Law]) -> list[Listing]:
    """One table a family, one line a law."""
    families: dict[str, list[Law]] = {}
    for law in laws:
        families.setdefault(law.family, []).append(law)
    return [
        Listing(
            family,
            ("law", "what it says", ""),
            tuple(
                (", ".join((law.id, *law.aliases)), law.title, _standing(law)) for law in members
            ),
            left=3,
        )
        for family, members in families.items()
    ]


def _standing(law: Law) -> str:
    """How many coefficients there are, and whether the form can be relied on."""
    sets = f"{len(law.published)} published" if law.published else ""
    return ", ".join(filter(None, (sets, "" if law.evidence.verified else "unverified")))


def law_tables(law: Law, about: Sequence[str] = ()) -> list[Listing]:
    """One law in full: its parameters, its coefficients, its evidence, its caveats, and what a
    recipe does to the runs."""
    names = dict.fromkeys((*law.variables, law.target, *([law.trials] if law.trials else [])))
    lines = [
        f"{law.target} = {law.formula}",
        *(f"{name}: {meaning(name)}" for name in names),
        *(about or [f"objective: {law.objective}"]),
        *([f"procedure paper: {law.paper.objective}, {law.paper.method}"] if law.paper else []),
        *_choices(law),
        f"source: {law.source}",
        f"form: {law.evidence}",
        f"example: scalefit fit {example(law)}",
        *([f"also known as: {', '.join(law.aliases)}"] if law.aliases else []),
        *(f"caveat: {text}" for text in law.caveats),
    ]
    tables = [
        Listing(
            f"{law.id}: {law.title}",
            ("parameter", "meaning"),
            tuple((p.name, p.meaning) for p in law.parameters),
            left=2,
            lines=tuple(lines),
        )
    ]
    for item in (*law.published, *law.unverified):
        rows = tuple((name, f"{value:.8g}") for name, value in item.values.items())
        mark = "" if item.evidence.verified else " (UNVERIFIED: nothing is predicted from it)"
        origin = (
            f"{item.data}; {item.target}; params: {item.params}; {item.source}; {item.evidence}"
        )
        tables.append(Listing(item.name + mark, ("parameter", "value"), rows, lines=(origin,)))
    return tables


def _choices(law: Law) -> list[str]:
    """What `optimal` chooses beside params and tokens, and what that costs."""
    if law.choices is None:
        return []
    names = [f"{c.column} from {c.low:g} to {c.high:g}" for c in law.free]
    return [f"chosen by `optimal`: {', '.join(names)}; FLOPs are {law.choices.cost}"]


def meaning(name: str) -> str:
    """What a column says, and its unit."""
    from scaling_cli.columns import about

    column = about(name)
    if column is None:
        return "any column, named with `x=`"
    return f"{column.meaning} ({column.unit})"


def example(law: Law) -> str:
    """The options of `scalefit fit` that fit this law."""
    x = " `x=tokens`" if "x" in law.variables else ""
    return f"`law={law.id}`{x}"
