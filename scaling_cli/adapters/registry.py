"""Every adapter and service by name, our own and those of other packages.

Of our own, each file of this folder with an `ADAPTER` or a `SERVICE` is found.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, NamedTuple

import scaling_cli.adapters as own
from scaling_cli.adapters.base import Adapter, Service
from scaling_cli.adapters.files import Found
from scaling_cli.errors import InputError, ScalefitError
from scaling_cli.mapping import Mapping
from scaling_cli.notes import Note
from scaling_cli.spelling import near

ENTRY_POINTS = "scalefit.adapters"


class _Registered(NamedTuple):
    adapters: dict[str, Adapter]
    services: dict[str, Service]
    packages: dict[str, str]  # of what other packages add: name -> the entry point's value
    notes: tuple[Note, ...]  # on what could not be loaded
    versions: tuple[str, ...]  # of what other packages add


@cache
def registered() -> _Registered:
    found = _Registered({}, {}, {}, (), ())
    declared = list(_own())
    notes: list[Note] = []
    versions: list[str] = []
    for point in _entry_points():
        try:
            loaded = point.load()
            loaded = getattr(loaded, "ADAPTER", getattr(loaded, "SERVICE", loaded))
            if not isinstance(loaded, Adapter | Service):
                raise TypeError(f"{type(loaded).__name__} is no Adapter and no Service")
            if loaded.name in {each.name for each in declared}:
                raise ValueError(f"{loaded.name!r} is there already")
        except Exception as caught:
            message = (
                f"the adapter {point.name} ({point.value}) of another package cannot be used"
                f" ({_said(caught)})"
            )
            notes.append(Note.of("adapter_failed", message))
        else:
            declared.append(loaded)
            found.packages[loaded.name] = point.value
            release = getattr(getattr(point, "dist", None), "version", "")
            versions.append(f"{loaded.name} {point.value} {release}")
    for each in sorted(declared, key=lambda each: getattr(each, "order", 0)):
        kept: dict[str, Any] = found.adapters if isinstance(each, Adapter) else found.services
        kept[each.name] = each
    return found._replace(notes=tuple(notes), versions=tuple(versions))


def _own() -> Iterator[Adapter | Service]:
    for module in iter_modules(own.__path__):
        loaded = import_module(f"{own.__name__}.{module.name}")
        for declared in (getattr(loaded, "ADAPTER", None), getattr(loaded, "SERVICE", None)):
            if declared is not None:
                yield declared


def _entry_points() -> Any:
    from importlib.metadata import entry_points

    return entry_points(group=ENTRY_POINTS)


def adapters() -> dict[str, Adapter]:
    """Every adapter of files by name, those that are surest of their files first."""
    return registered().adapters


def services() -> dict[str, Service]:
    return registered().services


def service_of(place: str) -> Service | None:
    """The service that claims a source."""
    return next((service for service in services().values() if service.claims(place)), None)


def adapter_called(name: str) -> Adapter:
    if name not in adapters():
        known = f"There are {', '.join(adapters())}."
        raise InputError(f"`as_format=` {name}: no such format", near(name, adapters()) or known)
    return adapters()[name]


def recognised(
    file: Found, head: bytes, forced: Adapter | None, mapping: Mapping, notes: list[Note]
) -> Adapter | None:
    """The adapter of a file. What a project's mapping declares goes before what is known. An
    adapter of another package that fails to judge passes the file on, and is named in `notes`."""
    if forced is not None and not file.walked:
        return forced
    for judges in (_is_declared, _is_recognised) if forced is None else (_is_recognised,):
        for adapter in adapters().values() if forced is None else (forced,):
            try:
                if judges(adapter, file.path, head, mapping):
                    return adapter
            except InputError as caught:
                if is_own(adapter) and judges is _is_declared:
                    raise  # the mapping itself is wrong
                notes.append(Note.of("adapter_failed", failure(adapter, file.source, caught).what))
            except Exception as caught:
                notes.append(Note.of("adapter_failed", failure(adapter, file.source, caught).what))
    return None


def _is_declared(adapter: Adapter, path: Path, head: bytes, mapping: Mapping) -> bool:
    return adapter.declared is not None and adapter.declared(path, head, mapping)


def _is_recognised(adapter: Adapter, path: Path, head: bytes, mapping: Mapping) -> bool:
    return adapter.recognises(path, head)


def is_own(adapter: Adapter | Service) -> bool:
    """Whether an adapter is one of this package."""
    return adapter.name not in registered().packages


def failure(adapter: Adapter | Service, source: str, caught: Exception) -> ScalefitError:
    """What an adapter raised over a source, as an error that names both. Our own say it already:
    what else they raise is a fault of this package, and raised."""
    if isinstance(caught, ScalefitError):
        return caught
    if isinstance(caught, MemoryError):
        return InputError(
            f"{source} needs more memory than there is", "Part it, or read it on a larger machine."
        )
    if is_own(adapter):
        raise caught
    if isinstance(caught, ModuleNotFoundError) and adapter.install:
        return InputError(
            f"{source}: its adapter {adapter.name!r} needs a package that is not here"
            f" ({caught.name})",
            f"Install it: {adapter.install}",
        )
    package = registered().packages[adapter.name]
    return InputError(
        f"{source}: its adapter {adapter.name!r} ({package}), of another package, failed"
        f" ({_said(caught)})",
        "Tell those who made the adapter, or say another format by `as_format=`.",
    )


def _said(caught: Exception) -> str:
    return f"{type(caught).__name__}: {caught}".strip().removesuffix(":")
