"""Warnings as data: a code that programs test, a severity, and a sentence for people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

Severity = Literal["info", "warning", "severe"]


@dataclass(frozen=True)
class Note:
    """One warning. `severe` means that the number it stands beside is not to be relied on."""

    code: str
    severity: Severity
    message: str

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def gather(notes: Iterable[tuple[str, Note]]) -> tuple[Note, ...]:
    """Notes on many runs as one note for each kind: (run id, its note) in, first come first."""
    kinds: dict[tuple[str, Severity], list[tuple[str, str]]] = {}
    for run_id, note in notes:
        kinds.setdefault((note.code, note.severity), []).append((run_id, note.message))
    gathered = []
    for (code, severity), found in kinds.items():
        ids = list(dict.fromkeys(run_id for run_id, _ in found))
        messages = list(dict.fromkeys(message for _, message in found))
        shown = ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
        more = f" (and {len(messages) - 1} other such remarks)" if len(messages) > 1 else ""
        prefix = f"{shown}: " if any(ids) else ""
        gathered.append(Note(code, severity, prefix + messages[0] + more))
    return tuple(gathered)
