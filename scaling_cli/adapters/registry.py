"""Every adapter and service by name, our own and those of other packages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

from scaling_cli.adapters.files import Found
from scaling_cli.adapters.service import Service
from scaling_cli.errors import InputError
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.records import Run
from scaling_cli.spelling import near

ENTRY_POINTS = "scalefit.adapters"


class _Named(Protocol):
    """`recognises` judges by the name and the first bytes."""

    @property
    def name(self) -> str: ...

    def recognises(self, path: Path, head: bytes) -> bool: ...


class FileAdapter(_Named, Protocol):
    """`read` yields every run of a file, with `source` as what to call the file in runs and
    messages."""

    def read(self, path: Path, source: str, mapping: Mapping) -> Iterator[Run]: ...


@runtime_checkable
class FolderAdapter(_Named, Protocol):
    """`read_together` is given all its files at once, for runs that lie in several. It yields runs,
    whose source is a path, and notes on what holds none. With a function `apart`, which parts the
    files so that none of their runs lies in two parts, it is given one part at a time."""

    def read_together(self, files: Sequence[Found], mapping: Mapping) -> Iterator[Run | Note]: ...


Adapter = FileAdapter | FolderAdapter


@cache
def adapters() -> dict[str, Adapter]:
    """Every adapter of files by name, those that are surest of their files first."""
    found = [
        _own(module)
        for module in (
            "tensorboard",
            "wandb_offline",
            "trainer_state",
            "mlflow",
            "trackio",
            "parquet",
        )
    ]
    found += [cast(Adapter, item) for item in third_party() if not isinstance(item, Service)]
    found += [_own(module) for module in ("jsonl", "console", "delimited")]
    return {adapter.name: adapter for adapter in found}


@cache
def services() -> tuple[Service, ...]:
    """Every adapter of a service."""
    own = ("wandb_online", "mlflow_server")
    found = [cast(Service, import_module(f"{__package__}.{module}")) for module in own]
    return (*found, *(item for item in third_party() if isinstance(item, Service)))


def _own(module: str) -> Adapter:
    return cast(Adapter, import_module(f"{__package__}.{module}"))


@cache
def third_party() -> list[object]:
    """The adapters of other packages."""
    from importlib.metadata import entry_points

    return [point.load() for point in entry_points(group=ENTRY_POINTS)]


def _service(source: str) -> Service | None:
    return next((service for service in services() if service.claims(source)), None)


def _adapter(name: str) -> Adapter:
    if name not in adapters():
        known = f"There are {', '.join(adapters())}."
        raise InputError(f"--as {name}: no such format", near(name, adapters()) or known)
    return adapters()[name]


def _recognised(
    file: Found, head: bytes, forced: Adapter | None, mapping: Mapping
) -> Adapter | None:
    """The adapter of a file. What a project's mapping declares goes before what is known."""
    if mapping.console and forced is None:
        console = adapters()["console"]
        if console.reads_with(file.path, head, mapping):  # type: ignore[union-attr]
            return console
    if forced is not None and (not file.walked or forced.recognises(file.path, head)):
        return forced
    known = adapters().values() if forced is None else ()
    return next((adapter for adapter in known if adapter.recognises(file.path, head)), None)
