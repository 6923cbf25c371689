"""What is to be read: files, folders, addresses and services, and how they are meant."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from os import PathLike, fspath
from typing import Any

Place = str | PathLike[str]


@dataclass(frozen=True)
class Selection:
    """Which runs of a service: `filter` is in its own language; a run has any of the `tags`."""

    filter: str = ""
    tags: tuple[str, ...] = ()
    sweep: str = ""

    def __bool__(self) -> bool:
        return bool(self.filter or self.tags or self.sweep)


@dataclass(frozen=True)
class Sources:
    """`places`: paths, URLs, `-` for standard input, or what a service claims.

    `as_format` is the name of an adapter that all files are read by; `group` is that of all runs;
    `meta` is a table with a row for each run, by id or by name, that holds their settings.
    """

    places: tuple[str, ...]
    as_format: str | None = None
    group: str | None = None
    select: Selection = field(default_factory=Selection)
    meta: str | None = None

    @staticmethod
    def of(places: Sources | Place | Iterable[Place], **options: Any) -> Sources:
        """The sources that a path or several name, with the options of `Sources`."""
        if isinstance(places, Sources):
            return places
        if isinstance(places, str | PathLike):
            places = (places,)
        return Sources(tuple(fspath(place) for place in places), **options)
