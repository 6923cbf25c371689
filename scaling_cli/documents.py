"""Results kept as JSON with a name and a version, how a file that is none is refused, and how a
file is read and written: whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from scaling_cli.errors import InputError
from scaling_cli.text import whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Of a file that is read whole: 100 fits with 10,000 draws each have 100 MB.
MOST_BYTES = 256 << 20
_PIECE = 1 << 20
# How far beyond the range of its draws a value may lie that they are resamples of, in widths of it.
AGREES = 3.0


class NoFileError(OSError):
    """What lies there is no regular file, or one of more bytes than are read."""


def open_file(path: str | Path, most: int = MOST_BYTES) -> BinaryIO:
    """A regular file of at most so many bytes, to read: the door for every file that is named from
    outside. NoFileError where it is none, without waiting: a pipe would be waited for without end,
    and a device read without end."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise NoFileError("it is no regular file") from None
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NoFileError("it is no regular file")
        if status.st_size > most:
            raise NoFileError(f"it has more than {most >> 20} MB")
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_file(path: str | Path, most: int = MOST_BYTES) -> bytes:
    """All of such a file, counted as it comes: one of /proc says that it has no size."""
    with open_file(path, most) as file:
        pieces = [file.read(os.fstat(file.fileno()).st_size + 1)]
        while pieces[-1] and sum(map(len, pieces)) <= most:
            pieces.append(file.read(_PIECE))
    content = b"".join(pieces)
    if len(content) > most:
        raise NoFileError(f"it has more than {most >> 20} MB")
    return content


def read_text(path: str | Path, most: int = MOST_BYTES, errors: str = "strict") -> str:
    """The same as UTF-8 text, its line ends as they come; a UnicodeError is a ValueError."""
    return read_file(path, most).decode("utf-8", errors)


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
            return json.loads(read_text(path), parse_constant=_no_number)
        except FileNotFoundError:
            raise InputError(f"{path}: there is no such file", self.mend) from None
        except (OSError, ValueError, RecursionError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                f"{path} cannot be read as {self.what} ({reason})", self.mend
            ) from None

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


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


class Fields:
    """An object of a JSON document, of which each value is read as what it has to be.

    ValueError names the place of one that is missing or is something else. JSON has no number that
    is not finite; `null` stands for one where a method's `null` allows it.
    """

    def __init__(self, value: Any, place: str = "") -> None:
        if not isinstance(value, dict):
            raise ValueError(f"{place or 'the whole'} is no object")
        self.value: dict[str, Any] = value
        self.place = place

    def _path(self, name: object) -> str:
        return f"{self.place}.{name}" if self.place else str(name)

    def __contains__(self, name: str) -> bool:
        return self.value.get(name) is not None

    def raw(self, name: str) -> Any:
        if name not in self.value:
            raise ValueError(f"{self._path(name)} is missing")
        return self.value[name]

    def number(self, name: str, low: float = -math.inf, high: float = math.inf) -> float:
        return as_finite(self.raw(name), self._path(name), low, high)

    def number_or_null(self, name: str) -> float | None:
        return None if self.raw(name) is None else self.number(name)

    def integer(self, name: str, low: int = 0) -> int:
        value = self.raw(name)
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise ValueError(f"{self._path(name)} is no whole number from {low} on")
        return value

    def text(self, name: str) -> str:
        value = self.raw(name)
        if not isinstance(value, str):
            raise ValueError(f"{self._path(name)} is no text")
        return value

    def text_or_null(self, name: str) -> str | None:
        return None if self.raw(name) is None else self.text(name)

    def fields(self, name: str) -> Fields:
        return Fields(self.raw(name), self._path(name))

    def items(self, name: str) -> list[Any]:
        value = self.raw(name)
        if not isinstance(value, list | tuple):
            raise ValueError(f"{self._path(name)} is no list")
        return list(value)

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.items(name)
        if not all(isinstance(item, str) for item in value):
            raise ValueError(f"{self._path(name)} holds something that is no text")
        return tuple(value)

    def objects(self, name: str) -> list[Fields]:
        return [Fields(v, f"{self._path(name)}[{i}]") for i, v in enumerate(self.items(name))]

    def pair(self, name: str) -> tuple[float, float]:
        """Two numbers, the lower first."""
        value = self.items(name)
        if len(value) != 2:
            raise ValueError(f"{self._path(name)} is no pair of numbers")
        low, high = (as_finite(item, self._path(name)) for item in value)
        if low > high:
            raise ValueError(f"{self._path(name)} has its lower bound above its upper one")
        return low, high

    def numbers(self) -> dict[str, float]:
        """Every value, as a number."""
        return {name: self.number(name) for name in self.value}

    def scalars(self) -> dict[str, Any]:
        """Every value, each a text, a finite number, true, false or null."""
        for name, value in self.value.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                self.number(name)
            elif not isinstance(value, str | bool | None):
                raise ValueError(f"{self._path(name)} is neither a text nor a number")
        return self.value


def as_finite(value: Any, place: str, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number from `low` to `high`; ValueError says that what is at this place is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{place} is no number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{place} is no finite number")
    if not low <= number <= high:
        raise ValueError(f"{place} = {number:g} is not within {low:g} to {high:g}")
    return number


def digest_of(document: Mapping[str, Any], draws: NDArray[np.float64]) -> str:
    """A hash of all of a document but of its own `digest`; of `draws` as numbers."""
    import hashlib  # 2 ms that an answer by a paper does not need

    rest = {name: part for name, part in document.items() if name not in ("digest", "draws")}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    digest.update(draws.astype("<f8", order="C", copy=False).tobytes())
    return digest.hexdigest()


def check_digest(document: Mapping[str, Any], draws: NDArray[np.float64]) -> None:
    """ValueError unless a document is, to the last digit, what its digest was made of. Documents of
    older versions have none."""
    if "digest" in document and document["digest"] != digest_of(document, draws):
        raise ValueError("digest is not that of its content")


def finite(value: Any) -> Any:
    """The same document with null in place of numbers that JSON lacks, and whole texts."""
    if isinstance(value, Mapping):
        return {
            whole(key) if isinstance(key, str) else key: finite(item) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return whole(value) if isinstance(value, str) else value


def destination(path: str | Path) -> tuple[Path, bool]:
    """The file that a path names, links followed, and whether it is, or will be, a regular one.
    OSError where no file can be written there, ValueError where no file has such a name."""
    target = Path(os.path.realpath(path))
    try:
        mode = os.lstat(target).st_mode
    except FileNotFoundError:
        os.stat(target.parent)
        return target, True
    if stat.S_ISLNK(mode):  # what cannot be followed
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    return target, stat.S_ISREG(mode)


def write_whole(path: str | Path, content: bytes) -> None:
    """Put a file in place at once: what stood there stays until all of the new is on the disk.

    A link is followed, and the file that it names replaced; what is no regular file (a pipe, a
    device) is written to as it is. OSError where the file cannot be written.
    """
    target, regular = destination(path)
    if not regular:
        with target.open("wb") as stream:
            stream.write(content)
        return
    partial = target.with_name(f".{target.name[:50]}.{os.urandom(4).hex()}.partial")
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
