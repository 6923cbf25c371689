"""Formats that are known by sight and have no reader yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from scaling_cli.mapping import Mapping
from scaling_cli.records import Run


class Unread:
    """Recognises its files; those who walk folders count and pass over them."""

    def __init__(self, name: str, title: str) -> None:
        self.name, self.title = name, title

    def recognises(self, path: Path, head: bytes) -> bool:
        if self.name == "tensorboard":
            return "events.out.tfevents." in path.name
        return path.suffix == ".wandb" or head.startswith(b":W&B")

    def read(self, path: Path, source: str, mapping: Mapping) -> Iterator[Run]:
        return iter(())


tensorboard = Unread("tensorboard", "TensorBoard event files")
wandb_offline = Unread("wandb-offline", "offline W&B runs")
