"""What a shell offers for a value that is being typed: laws, coefficients, fits, columns, runs.

A shell is typed into by hand: what cannot be read is offered by nothing, and told by the command.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from scaling_cli.project import Project

# Names from logs that a shell takes as they are; others are not offered.
_PLAIN = re.compile(r"[\w./:@+%-]+")
MOST = 200


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    """The names that go on from what is typed; of a list with commas, from its last part."""
    before, comma, last = incomplete.rpartition(",")
    fitting = [name for name in names if name.startswith(last) and _PLAIN.fullmatch(name)]
    return [f"{before}{comma}{name}" for name in fitting[:MOST]]


def _completed(names: Callable[[dict[str, Any]], Iterable[str]]) -> Any:
    def complete(context: typer.Context, incomplete: str) -> list[str]:
        with suppress(Exception):
            return _beginning(names(context.params), incomplete)
        return []

    return complete


def _project(given: dict[str, Any]) -> Project:
    from scaling_cli.cli.common import DEFAULT_STORE
    from scaling_cli.project import open_project

    store = given.get("store") or os.environ.get("SCALEFIT_STORE") or DEFAULT_STORE
    return open_project(store, given.get("config"))


def _laws(given: dict[str, Any]) -> Iterable[str]:
    from scaling_cli.fitting.procedures import AUTO
    from scaling_cli.laws import laws as registered

    return [AUTO, *registered()]


def _published(given: dict[str, Any]) -> Iterable[str]:
    from scaling_cli.laws import laws as registered

    return [entry.name for law in registered().values() for entry in law.published]


def _fits(given: dict[str, Any]) -> Iterable[str]:
    saved = _project(given).store.fits.listed()
    return dict.fromkeys(name for fit in saved for name in (*fit.names, fit.fit_id))


def _columns(given: dict[str, Any]) -> Iterable[str]:
    rows = _project(given).observations()
    return dict.fromkeys([*rows.columns, *rows.labels.known()])


def _runs(given: dict[str, Any]) -> Iterable[str]:
    return dict.fromkeys(_project(given).observations().run_ids)


laws = _completed(_laws)
published = _completed(_published)
fits = _completed(_fits)
columns = _completed(_columns)
runs = _completed(_runs)
