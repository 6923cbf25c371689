"""SQLite files, opened read-only."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

MAGIC = b"SQLite format 3\0"
# What reading a damaged file raises; SQLite may quote what is damaged, in whatever encoding.
ERRORS = (sqlite3.Error, UnicodeDecodeError, OverflowError)


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    address = f"file:{quote(str(path.absolute()))}?mode=ro"
    with closing(sqlite3.connect(address, uri=True)) as database:
        database.text_factory = lambda text: text.decode("utf-8", "replace")
        yield database


def beside(path: Path) -> list[Path]:
    """Where SQLite keeps what has been written and does not stand in the file yet."""
    return [path.with_name(f"{path.name}-{log}") for log in ("wal", "journal")]


def damage(error: BaseException) -> str:
    return str(error) if isinstance(error, sqlite3.Error) else "it is damaged"


def columns(database: sqlite3.Connection, table: str) -> set[str]:
    """The columns of a table; none if there is no such table."""
    return {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
