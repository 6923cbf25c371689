"""Every adapter and service by name, our own and those of other packages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

from scaling_cli.adapters.files import Found
from scaling_cli.adapters.service import Service
from scaling_cli.errors import InputError, ScalefitError
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
        raise InputError(f"`as_format=` {name}: no such format", near(name, adapters()) or known)
    return adapters()[name]


def _recognised(
    file: Found, head: bytes, forced: Adapter | None, mapping: Mapping, notes: list[Note]
) -> Adapter | None:
    """The adapter of a file. What a project's mapping declares goes before what is known. An
    adapter of another package that fails to judge passes the file on, and is named in `notes`."""
    if mapping.console and forced is None:
        console = adapters()["console"]
        if console.reads_with(file.path, head, mapping):  # type: ignore[union-attr]
            return console
    if forced is not None and not file.walked:
        return forced
    for adapter in adapters().values() if forced is None else (forced,):
        try:
            if adapter.recognises(file.path, head):
                return adapter
        except Exception as caught:
            notes.append(Note.of("unreadable", said_of(adapter, file.source, caught).what))
    return None


def said_of(adapter: Adapter, source: str, caught: Exception) -> ScalefitError:
    """What an adapter raised over a file, as an error that names both. Our own say it already."""
    if isinstance(caught, ScalefitError):
        return caught
    if isinstance(caught, MemoryError):
        return InputError(
            f"{source} needs more memory than there is", "Part it, or read it on a larger machine."
        )
    if is_own(adapter):
        raise caught
    told = f"{type(caught).__name__}: {caught}".strip().removesuffix(":")
    return InputError(
        f"{source}: its adapter {adapter.name!r}, of another package, failed ({told})",
        "Tell those who made the adapter, or say another format by `as_format=`.",
    )


def is_own(adapter: object) -> bool:
    """Whether an adapter is one of this package."""
    module = getattr(adapter, "__name__", "") or type(adapter).__module__
    return str(module).startswith(f"{__package__}.")
