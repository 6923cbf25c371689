"""The mapping file and the environment, looked through before anything is read: every fault at
once, each with its mend."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scaling_cli.checks import read_checks
from scaling_cli.checks.registry import TABLE
from scaling_cli.errors import ScalefitError
from scaling_cli.mapping import Mapping as Names
from scaling_cli.mapping import mapping_of, questioned, read_document
from scaling_cli.remote import is_url, without_secrets
from scaling_cli.saved import is_file
from scaling_cli.spelling import near
from scaling_cli.store import open_store
from scaling_cli.workers import checked

PREFIX = "SCALEFIT_"
STORE, CONFIG, WORKERS = VARIABLES = ("SCALEFIT_STORE", "SCALEFIT_CONFIG", "SCALEFIT_WORKERS")
# Of the tests and benchmarks of a checkout, which no command reads.
OF_CHECKOUTS = ("PUBLIC_DATA", "GROUPS", "SCALE", "OLMO_LADDER")
# What the clients of servers and buckets read; whether they are set is said, never to what.
OTHERS = (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE",
    "AWS_ENDPOINT_URL", "GOOGLE_APPLICATION_CREDENTIALS", "AZURE_STORAGE_CONNECTION_STRING",
    "WANDB_API_KEY", "WANDB_BASE_URL", "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_PASSWORD",
)  # fmt: skip
TABLES = ("columns", "run", "console", TABLE)
HIDDEN = "set, not shown"


@dataclass(frozen=True)
class Problem:
    """A fault: in which file or variable, what it is, and what mends it."""

    where: str
    what: str
    mend: str


@dataclass(frozen=True)
class Configuration:
    """What the commands would go by; `settings` are (name, value, where it is from)."""

    file: str | None
    settings: tuple[tuple[str, str, str], ...]
    problems: tuple[Problem, ...]
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": not self.problems,
            "file": self.file,
            "settings": [
                {"name": name, "value": value, "origin": origin}
                for name, value, origin in self.settings
            ],
            "problems": [asdict(problem) for problem in self.problems],
            "remarks": list(self.remarks),
        }


def check_configuration(
    store: str, file: str | None, environment: Mapping[str, str]
) -> Configuration:
    """Look through the mapping `file`, the `store` and the variables of the environment."""
    problems: list[Problem] = []
    remarks: list[str] = []
    settings = [("store", without_secrets(store), _origin(STORE, environment))]
    if file is not None:
        settings.append(("mapping", file, _origin(CONFIG, environment)))
        problems += _in_file(file, remarks)
    workers = environment.get(WORKERS)
    if workers is not None:
        settings.append(("workers", without_secrets(workers), WORKERS))
        problems += _fault(WORKERS, lambda: checked(workers))
    problems += _of_names(environment)
    problems += _of_store(store, _origin(STORE, environment), remarks)
    settings += [(name, HIDDEN, "environment") for name in OTHERS if environment.get(name)]
    return Configuration(file, tuple(settings), tuple(problems), tuple(remarks))


def _origin(variable: str, environment: Mapping[str, str]) -> str:
    return variable if environment.get(variable) else "command line or default"


def _fault(where: str, look: Callable[[], object]) -> list[Problem]:
    """What is wrong where a look fails, without the file's name before it."""
    try:
        look()
    except ScalefitError as error:
        return [Problem(where, error.what.removeprefix(f"{where}: "), error.mend)]
    return []


def _in_file(file: str, remarks: list[str]) -> Iterator[Problem]:
    """Every fault of a mapping file: each table, column and setting is read by itself."""
    try:
        document = read_document(file)
    except ScalefitError as error:
        yield Problem(file, error.what, error.mend)
        return
    for part in _parts(document):
        yield from _fault(file, lambda part=part: _read(file, part))  # type: ignore[misc]
    for name in document.keys() - set(TABLES):
        guess = near(name, TABLES)
        if guess:
            yield Problem(file, f"[{name}] is no table that is read", guess)
        else:
            remarks.append(f"{file}: nothing of scalefit's own reads [{name}].")
    columns = document.get("columns")
    if isinstance(columns, dict):
        remarks += [note.message for note in questioned(tuple(columns))]
    yield from _missing_files(file, document.get(TABLE))


def _parts(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name in ("columns", "run", "console"):
        table = document.get(name, {})
        if isinstance(table, dict):
            yield from ({name: {key: value}} for key, value in table.items())
        else:
            yield {name: table}
    checks = document.get(TABLE, [])
    yield from (
        ({TABLE: [item]} for item in checks) if isinstance(checks, list) else [{TABLE: checks}]
    )


def _read(file: str, part: dict[str, Any]) -> None:
    mapping: Names = mapping_of(file, part)
    if TABLE in part:
        read_checks(mapping)


def _missing_files(file: str, checks: Any) -> Iterator[Problem]:
    """Files that checks name and that are neither beside the mapping nor in the working folder."""
    for number, table in enumerate(checks if isinstance(checks, list) else [], 1):
        fit = table.get("fit") if isinstance(table, dict) else None
        if isinstance(fit, str) and is_file(fit):
            places: Sequence[Path] = (Path(file).parent / fit, Path(fit))
            if not any(place.is_file() for place in places):
                what = f"[[{TABLE}]] {number}: there is no file {fit}"
                yield Problem(file, what, "Write one with `scalefit fit`, or name a saved fit.")


def _of_names(environment: Mapping[str, str]) -> Iterator[Problem]:
    known = [*VARIABLES, *(PREFIX + name for name in OF_CHECKOUTS)]
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known:
            mend = near(name, VARIABLES) or f"There are {', '.join(VARIABLES)}."
            yield Problem(name, "no command reads this variable", mend)
        elif name in VARIABLES and not environment[name].strip():
            yield Problem(name, "it is set and empty", "Give it a value, or unset it.")


def _of_store(store: str, where: str, remarks: list[str]) -> Iterator[Problem]:
    """Whether the store can be read, or made where there is none yet."""
    shown = without_secrets(store)
    if not is_url(store) and not os.path.lexists(store):
        parent = next((p for p in Path(store).absolute().parents if p.exists()), Path("/"))
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            yield Problem(where, f"{parent} is no folder to write into", "Name another store.")
        else:
            remarks.append(f"There is no store at {shown} yet: the first ingest makes it.")
        return
    yield from _fault(where, lambda: open_store(store, create=True).log.state())
