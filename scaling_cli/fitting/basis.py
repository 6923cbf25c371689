"""What a fit rests on beyond its digits: which runs, chosen how, and what was asked."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from scaling_cli.documents import Fields


@dataclass(frozen=True)
class Basis:
    """`runs` are the ids of the fit's runs and `runs_digest` a hash of their contents; `contents`
    one of all runs in the store. `where`, `by` and `holdout` are the filter, the groups and what
    was held out, as asked; `mapping` is a hash of the mapping file, None where each run keeps its
    own. `made` is when (ISO, UTC), `command` the command as it was typed, None from Python.
    """

    runs: tuple[str, ...]
    runs_digest: str
    contents: str
    made: str
    where: str | None = None
    by: tuple[str, ...] = ()
    holdout: str | None = None
    mapping: str | None = None
    command: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def read(cls, fields: Fields) -> Basis:
        return cls(
            fields.texts("runs"),
            fields.text("runs_digest"),
            fields.text("contents"),
            _time(fields),
            fields.text_or_null("where"),
            fields.texts("by"),
            fields.text_or_null("holdout"),
            fields.text_or_null("mapping"),
            fields.text_or_null("command"),
        )


def _time(fields: Fields) -> str:
    made = fields.text("made")
    datetime.fromisoformat(made)  # ValueError where it is no time
    return made
