"""What a project's runs call things: the `[columns]` and `[run]` tables of scalefit.toml."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping as Table
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from scaling_cli.columns import COLUMNS, about
from scaling_cli.documents import NoFileError, read_text
from scaling_cli.errors import InputError, UnreachableError
from scaling_cli.notes import Note
from scaling_cli.spelling import near, spelled_like

_RUN_KEYS = ("id", "group", "final", "where")
FINAL = re.compile(r"last|min|mean:[1-9]\d*")


MOST_BYTES = 4 << 20  # of a mapping file, which people write


@dataclass(frozen=True)
class Mapping:
    """A project's names. `columns`: canonical or extra column -> logged name or expression.

    `console` holds templates of a console log's lines
    (adapters.console_lines). `tables` keeps the file's other top-level tables ([[check]], ...) for
    those who read them.
    """

    columns: dict[str, str] = field(default_factory=dict)
    id: str | None = None
    group: tuple[str, ...] = ()
    final: str = "last"
    where: str | None = None
    console: tuple[str, ...] = field(default=(), compare=False)
    path: str = field(default="", compare=False)
    tables: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def empty(self) -> bool:
        return self == Mapping()

    def reads_like(self, other: Mapping) -> bool:
        """Whether both give a run the same values; `where` and `group` only choose among runs."""
        return self.columns == other.columns and self.final == other.final

    def to_json(self) -> dict[str, Any]:
        run = {"id": self.id, "group": list(self.group), "final": self.final, "where": self.where}
        return {"columns": dict(self.columns), "run": run}

    @staticmethod
    def from_json(document: Table[str, Any]) -> Mapping:
        run = document.get("run", {})
        return Mapping(
            columns=dict(document.get("columns", {})),
            id=run.get("id"),
            group=tuple(run.get("group") or ()),
            final=run.get("final", "last"),
            where=run.get("where"),
        )


@lru_cache(maxsize=64)
def questioned(columns: tuple[str, ...]) -> tuple[Note, ...]:
    """Notes on the columns of a mapping whose names look like a slip of the pen for a canonical one
    that it does not map."""
    questions = []
    for name in columns:
        near = [] if about(name) else spelled_like(name, COLUMNS.keys() - set(columns))
        # `loss_c4` and `params2` are names of their own beside `loss` and `params`
        near = [other for other in near if not re.match(rf"{other}[_./\d]", name)]
        if near:
            message = f"[columns] {name} is a column of your own; did you mean {near[0]}?"
            questions.append(Note.of("column_name_near", message))
    return tuple(questions)


def load_mapping(path: str | Path | None) -> Mapping:
    """The mapping that a TOML file holds; without a file, the empty one."""
    return Mapping() if path is None else mapping_of(str(path), read_document(path))


def read_document(path: str | Path) -> dict[str, Any]:
    """What a TOML file says; InputError where it is none."""
    import tomllib

    try:
        text = read_text(path, MOST_BYTES)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InputError(f"{path} is not a mapping file", "Name a TOML file.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text", "A mapping is a TOML file.") from error
    except OSError as error:
        if not os.path.isfile(path) or isinstance(error, NoFileError):
            reason = error.strerror or error
            raise InputError(
                f"{path} is not a mapping file: {reason}", "Name a TOML file."
            ) from error
        raise UnreachableError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return tomllib.loads(text.replace("\r\n", "\n"))
    except (ValueError, RecursionError) as error:  # ValueError: also of a number of 4,301 digits
        raise InputError(f"{path} is not TOML: {error}", "Mend the line that it names.") from error


def mapping_of(path: str, document: dict[str, Any]) -> Mapping:
    """The mapping that a document says; InputError, with the path of its file, for a fault."""
    tables = {
        key: value for key, value in document.items() if key not in ("columns", "run", "console")
    }
    for name in spelled_like("columns", tables)[:1]:
        raise InputError(f"{path}: [{name}] is not a table of a mapping", "Write [columns].")
    columns, run = document.get("columns", {}), document.get("run", {})
    for name, table in (("columns", columns), ("run", run)):
        if not isinstance(table, dict):
            raise InputError(f"{path}: {name} is not a table", f"Write [{name}] on its own line.")
    texts: dict[str, str] = {}
    for column, value in columns.items():
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise InputError(
                f"{path}: [columns] {column} is not a text",
                'Give a logged name or an expression in quotes, as in params = "config.n_params".',
            )
        texts[column] = value.strip() if isinstance(value, str) else repr(value)
        if not texts[column]:
            raise InputError(
                f"{path}: [columns] {column} is empty", "Give a logged name, or drop the line."
            )
    for key in run:
        if key not in _RUN_KEYS:
            raise InputError(
                f"{path}: [run] has no setting {key!r}",
                near(key, _RUN_KEYS) or f"There are {', '.join(_RUN_KEYS)}.",
            )
    group = run.get("group", [])
    group = [group] if isinstance(group, str) else group
    if not isinstance(group, list) or not all(isinstance(name, str) for name in group):
        raise InputError(
            f"{path}: [run] group is not a list of names", 'Write group = ["config.recipe"].'
        )
    final = run.get("final", "last")
    if not isinstance(final, str) or not FINAL.fullmatch(final):
        raise InputError(
            f"{path}: [run] final = {final!r} is not a point of a history",
            'Write "last", "min" or "mean:K" with K the number of last points.',
        )
    for key in ("id", "where"):
        if not isinstance(run.get(key, ""), str):
            raise InputError(f"{path}: [run] {key} is not a text", "Write it in quotes.")
    where = run.get("where") or None
    if where is not None:
        from scaling_cli.expressions import parse  # and with it numpy, which an ingest may not need

        try:
            parse(where)
        except InputError as error:
            raise InputError(f"{path}: [run] where: {error.what}", error.mend) from error
    return Mapping(
        columns=texts,
        id=run.get("id") or None,
        group=tuple(group),
        final=final,
        where=where,
        path=path,
        tables=tables,
        console=_console(path, document.get("console", {})),
    )


def _console(path: str, table: Any) -> tuple[str, ...]:
    """The templates of `[console] line`, one text or a list of them."""
    if not isinstance(table, dict):
        raise InputError(f"{path}: console is not a table", "Write [console] on its own line.")
    for key in table.keys() - {"line"}:
        raise InputError(
            f"{path}: [console] has no setting {key!r}",
            near(key, ("line",)) or 'There is line = "step {step} loss {loss}".',
        )
    lines = table.get("line", [])
    lines = [lines] if isinstance(lines, str) else lines
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise InputError(
            f"{path}: [console] line is not a text",
            'Write line = "step {step} loss {loss}", or a list of such texts.',
        )
    return tuple(lines)
