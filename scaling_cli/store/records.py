"""What a store gives of a run without its history, and what a put did."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note

if TYPE_CHECKING:
    from scaling_cli.records import Run, Series, Status


@dataclass(frozen=True)
class PutSummary:
    """How many runs a put added, replaced and found as they were; and the keys of those that it
    left out, because they had been forgotten."""

    new: int
    replaced: int
    unchanged: int
    forgotten: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunRecord:
    """A stored run without its history. `final` holds the canonical values at its final point, as
    computed when it was ingested under `mapping`; `steps` in it is the last step reached."""

    run_key: str
    run_id: str
    name: str
    source: str
    group: str
    status: Status
    tags: tuple[str, ...]
    created_at: str
    revision: str
    final: dict[str, float]
    has_history: bool
    config_json: str
    summary_json: str
    mapped_json: str
    notes_json: str
    mapping_json: str
    cursor: str = ""

    @cached_property
    def config(self) -> dict[str, Any]:
        return _decoded(self.config_json)

    @cached_property
    def summary(self) -> dict[str, float]:
        """Every logged metric at the final point."""
        return _decoded(self.summary_json)

    @cached_property
    def mapped(self) -> dict[str, str]:
        """Canonical column -> where it was read from."""
        return _decoded(self.mapped_json)

    @cached_property
    def notes(self) -> tuple[Note, ...]:
        if self.notes_json == "[]":  # of nearly every run
            return ()
        return tuple(Note.from_json(note) for note in json.loads(self.notes_json))

    @property
    def mapping(self) -> Mapping:
        return _mapping(self.mapping_json)

    def to_run(self, series: dict[str, Series]) -> Run:
        from scaling_cli.records import Run

        return Run(
            run_key=self.run_key,
            run_id=self.run_id,
            source=self.source,
            name=self.name,
            group=self.group,
            status=self.status,
            config=self.config,
            series=series,
            tags=self.tags,
            created_at=self.created_at,
            cursor=self.cursor,
        )


def _decoded(text: str) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(text)
    return decoded


@lru_cache(maxsize=64)
def _mapping(text: str) -> Mapping:
    return Mapping.from_json(json.loads(text))
