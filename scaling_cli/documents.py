"""Results kept as JSON with a name and a version, how a file that is none is refused, and how a
file is written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaling_cli.errors import InputError


@dataclass(frozen=True)
class DocumentKind:
    """A kind of document: its `name` and `version` as they stand in it, `what` it is called, and
    how to make one."""

    name: str
    version: int
    what: str
    mend: str

    def head(self) -> dict[str, Any]:
        """What every document of this kind begins with."""
        return {"document": self.name, "document_version": self.version}

    def read(self, path: Path) -> Any:
        """The JSON of a file; InputError where there is none."""
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"{path}: there is no such file", self.mend) from None
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read as {self.what} ({error})") from None

    def check(self, document: Any, where: str) -> None:
        """InputError, which names `where`, unless it is of this kind and version."""
        if not isinstance(document, dict) or document.get("document") != self.name:
            raise InputError(f"{where} is not {self.what}", self.mend)
        if document.get("document_version") != self.version:
            raise InputError(
                f"{where} has document_version {document.get('document_version')!r}, and this"
                f" version of scalefit reads {self.version}",
                "Fit again, or use the version that wrote it.",
            )

    def malformed(self, where: str, error: Exception) -> InputError:
        return InputError(
            f"{where} is {self.what} with a part missing or malformed ({error})", self.mend
        )


def write_whole(path: str | Path, content: bytes) -> None:
    """Put a file in place at once: what stood there stays until all of the new is on the disk.

    A link is followed, and the file that it names replaced; what is no regular file (a pipe, a
    device) is written to as it is. OSError where the file cannot be written.
    """
    target = Path(path).resolve()
    if target.exists() and not target.is_file():
        with target.open("wb") as stream:
            stream.write(content)
        return
    partial = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            partial.chmod(target.stat().st_mode & 0o777)
        partial.replace(target)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
