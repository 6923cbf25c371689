"""The few file operations that the store needs; another file system would replace this class."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scaling_cli.errors import UnreachableError


class Files:
    """Files below a folder. What is written is there whole, or not at all."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        return self.root / name

    def exists(self, name: str) -> bool:
        return self.path(name).exists()

    def names(self, folder: str, suffix: str) -> list[str]:
        """Names of the finished files of a folder, sorted."""
        try:
            found = os.listdir(self.path(folder))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self.unreachable(folder, error) from error
        return sorted(n for n in found if n.endswith(suffix) and not n.startswith("."))

    def read_json(self, name: str) -> Any:
        try:
            return json.loads(self.path(name).read_bytes())
        except ValueError as error:
            raise UnreachableError(
                f"{self.path(name)} is damaged: {error}",
                "Restore it from a copy, or ingest the runs into a new store.",
            ) from error
        except OSError as error:
            raise self.unreachable(name, error) from error

    def write(self, name: str, write: Callable[[Path], None]) -> None:
        """Have `write` make a file, then put it in place under its name."""
        target = self.path(name)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
            try:
                write(partial)
                _flush(partial)
                os.replace(partial, target)
            finally:
                partial.unlink(missing_ok=True)
            _flush_folder(target.parent)
        except OSError as error:
            raise self.unreachable(name, error) from error

    def write_json(self, name: str, document: Any) -> None:
        text = json.dumps(document)
        self.write(name, lambda path: _write_text(path, text))

    def append_json(self, folder: str, document: Any) -> str:
        """Put a document under the next free number of a folder, never over another's."""
        home = self.path(folder)
        partial = home / f".{uuid.uuid4().hex}.tmp"
        try:
            home.mkdir(parents=True, exist_ok=True)
            _write_text(partial, json.dumps(document))
            _flush(partial)
            try:
                taken = [n for n in os.listdir(home) if n[:1].isdigit()]
                number = max((int(n.split(".")[0]) for n in taken), default=0) + 1
                while not _claim(partial, home / f"{number:012}.json"):
                    number += 1
            finally:
                partial.unlink(missing_ok=True)
            _flush_folder(home)
        except OSError as error:
            raise self.unreachable(folder, error) from error
        return f"{folder}/{number:012}.json"

    def remove(self, name: str) -> None:
        with contextlib.suppress(OSError):
            self.path(name).unlink()

    def unreachable(self, name: str, error: OSError) -> UnreachableError:
        return UnreachableError(
            f"{self.path(name)}: {error.strerror or error}",
            "See that the store's folder is there, may be written and has room.",
        )


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(path: Path) -> None:
    with contextlib.suppress(OSError):  # not every system can
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _claim(partial: Path, target: Path) -> bool:
    """Give a written file its name unless the name is taken."""
    try:
        os.link(partial, target)
    except FileExistsError:
        return False
    except OSError:  # no hard links here: a claim beside it keeps the others off
        claim = target.with_suffix(".claim")
        try:
            os.close(os.open(claim, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        if target.exists():
            return False
        os.replace(partial, target)
    return True
