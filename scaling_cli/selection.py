"""Which runs of a service are wanted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Selection:
    """Which runs of a service: `filter` is in its own language; a run has any of the `tags`."""

    filter: str = ""
    tags: tuple[str, ...] = ()
    sweep: str = ""

    def __bool__(self) -> bool:
        return bool(self.filter or self.tags or self.sweep)
