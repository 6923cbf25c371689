"""Sources that are services and no files: what their adapters are asked, and what they answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Mapping as Table
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.records import Run
from scaling_cli.selection import Selection


@dataclass(frozen=True)
class Request:
    """What an ingest asks of a service.

    `known` maps a run_key to the cursor that the stored run came with: a run whose cursor is still
    the same need not be fetched. `expect` is called with the number of runs to come, once known.
    """

    mapping: Mapping = field(default_factory=Mapping)
    select: Selection = field(default_factory=Selection)
    known: Table[str, str] = field(default_factory=dict)
    expect: Callable[[int], None] = lambda runs: None


@dataclass(frozen=True)
class Unchanged:
    """A run that was not fetched, since the store has it as the service does."""

    run_key: str


@runtime_checkable
class Service(Protocol):
    """`claims` judges a source by how it is spelled (`wandb:team/project`). `fetch` yields each run
    as soon as it is here, complete and with its cursor, so that the runs of an interrupted ingest
    are kept. A run that cannot be had is a Note and holds up no other; InputError and
    UnreachableError are for sources of which nothing can be had."""

    @property
    def name(self) -> str: ...

    def claims(self, source: str) -> bool: ...

    def fetch(self, source: str, request: Request) -> Iterator[Run | Unchanged | Note]: ...
