"""Warnings of one code as one line with a count, where there are many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from scaling_cli.notes import SEVERITIES, Note
from scaling_cli.report.listing import Listing

MOST = 3  # sentences of one code in a table, and tables that say the same code in full


def fold_notes(notes: Iterable[Note]) -> list[Note]:
    """Each sentence once; of more than MOST of a code the worst alone, with how many more."""
    by_code: dict[str, list[Note]] = {}
    for note in dict.fromkeys(notes):
        by_code.setdefault(note.code, []).append(note)
    return [note for same in by_code.values() for note in _few(same)]


def fold(tables: Sequence[Listing]) -> list[Listing]:
    """The tables with their notes folded. A code that many tables speak of is named in each, and
    said in full once, in a last table of its own."""
    places: dict[str, list[tuple[Listing, Note]]] = {}
    for table in tables:
        for note in table.notes:
            places.setdefault(note.code, []).append((table, note))
    common = {
        code: said for code, said in places.items() if len({id(table) for table, _ in said}) > MOST
    }
    folded = [_without(table, common.keys()) for table in tables]
    if common:
        lines = tuple(_summary(said) for said in common.values())
        folded.append(Listing("Warnings of many of them", (), (), lines=lines))
    return folded


def _few(same: Sequence[Note]) -> Sequence[Note]:
    if len(same) <= MOST:
        return same
    worst = max(same, key=lambda note: SEVERITIES.index(note.severity))
    return [replace_message(worst, f"{worst.message} (and {len(same) - 1} more such)")]


def _without(table: Listing, common: Iterable[str]) -> Listing:
    own = [note for note in table.notes if note.code not in common]
    shared = {note.code: note for note in table.notes if note.code in common}
    texts = [line for line in table.lines if not isinstance(line, Note)]
    if shared:
        named = (
            f"{'SEVERE ' if note.severity == 'severe' else ''}{code}"
            for code, note in shared.items()
        )
        texts.append(f"also, as said below: {', '.join(named)}")
    return replace(table, lines=(*texts, *fold_notes(own)))


def _summary(said: Sequence[tuple[Listing, Note]]) -> Note:
    count = len({id(table) for table, _ in said})
    table, worst = max(said, key=lambda pair: SEVERITIES.index(pair[1].severity))
    subject = table.title.partition("  (")[0]
    return replace_message(worst, f"{count} of them, such as {subject}: {worst.message}")


def replace_message(note: Note, message: str) -> Note:
    return Note.from_json(note.to_json() | {"message": message})
