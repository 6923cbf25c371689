"""What an ingest did, as it is answered and kept."""

from __future__ import annotations

from collections.abc import Mapping as Table
from dataclasses import dataclass, field
from typing import Any

from scaling_cli.notes import Note


@dataclass(frozen=True)
class Ingest:
    """What an ingest did. `mapped`: column -> where it was read from -> in how many runs;
    `also_logged`: metrics that no column is read from; `missing`: column -> the runs without it.

    Of the `unchanged`, `not_read` are those whose files had not changed; `vanished` are keys of
    runs in the store that are no more where they were read. What was mapped, and the notes, are of
    the runs that were read."""

    store: str
    runs: int
    new: int
    replaced: int
    unchanged: int
    mapped: Table[str, Table[str, int]]
    notes: tuple[Note, ...]
    also_logged: tuple[str, ...] = ()
    missing: Table[str, tuple[str, ...]] = field(default_factory=dict)
    not_read: int = 0
    vanished: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def line(self) -> str:
        """What was done in one line, as a log keeps it."""
        read = self.new + self.replaced
        gone = f", {len(self.vanished):,} vanished" if self.vanished else ""
        runs = f"{self.runs:,} run{'s' if self.runs != 1 else ''}"
        return f"{runs}: {self.unchanged:,} unchanged, {read:,} read{gone}, {self.seconds:.1f} s"

    def to_json(self) -> dict[str, Any]:
        fields = ("store", "runs", "new", "replaced", "unchanged", "not_read", "mapped")
        document = {name: getattr(self, name) for name in fields}
        document |= {"vanished": list(self.vanished), "seconds": round(self.seconds, 3)}
        document["summary"] = self.line
        document["also_logged"] = list(self.also_logged)
        document["missing"] = {name: list(ids) for name, ids in self.missing.items()}
        return document | {"warnings": [note.to_json() for note in self.notes]}

    def to_answer(self) -> dict[str, Any]:
        """What the next ingest answers that finds all as it was."""
        answer = {"mapped": self.mapped, "also_logged": self.also_logged, "missing": self.missing}
        return answer | {
            "vanished": self.vanished,
            "notes": [note.to_json() for note in self.notes],
        }

    @staticmethod
    def unchanged_since(answer: dict[str, Any], store: str, runs: int) -> Ingest:
        """The answer of before, of so many runs that were not read again; ValueError and its like
        where it is none."""
        return Ingest(
            store,
            runs,
            new=0,
            replaced=0,
            unchanged=runs,
            mapped={column: dict(origins) for column, origins in answer["mapped"].items()},
            notes=tuple(Note.from_json(note) for note in answer["notes"]),
            also_logged=tuple(answer["also_logged"]),
            missing={name: tuple(ids) for name, ids in answer["missing"].items()},
            not_read=runs,
            vanished=tuple(answer["vanished"]),
        )
