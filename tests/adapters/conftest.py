from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from scaling_cli.adapters.registry import ENTRY_POINTS, registered


class Point:
    """An entry point that loads what it was made with, or raises it."""

    def __init__(self, loaded: Any) -> None:
        self.loaded, self.name, self.value = loaded, "lab", "lab_package.reader"

    def load(self) -> Any:
        if isinstance(self.loaded, Exception):
            raise self.loaded
        return self.loaded


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Declares what other packages add under the entry point group."""

    def declare(*loaded: Any) -> None:
        def entry_points(group: str) -> list[Point]:
            return [Point(each) for each in loaded] if group == ENTRY_POINTS else []

        monkeypatch.setattr("importlib.metadata.entry_points", entry_points)
        registered.cache_clear()

    yield declare
    registered.cache_clear()
