"""The few file operations that a store needs, on a local folder or at any URL that fsspec knows."""

from __future__ import annotations

import contextlib
import errno
import inspect
import io
import os
import stat
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from scaling_cli.documents import open_file, read_file
from scaling_cli.errors import UnreachableError
from scaling_cli.remote import NotThereError, filesystem_at, is_url, reaching, without_secrets

_TRIES = 5
MOST_BYTES = 64 << 30  # of a file of a store; a segment has some 100 MB
_MEND = "See that the store is there, may be written and has room."
# What a file system without hard links answers; anything else is a failure.
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}


class GoneError(UnreachableError):
    """A file of the store that is not there."""


class Files(ABC):
    """Files below a folder. What is written is there whole, or not at all."""

    location: str
    may_come_late = False  # whether a write that failed may be there all the same, or come yet

    @abstractmethod
    def exists(self, folder: str) -> bool: ...

    @abstractmethod
    def names(self, folder: str, suffix: str = "") -> list[str]:
        """Names of the finished files of a folder, sorted."""

    @abstractmethod
    def ages(self, folder: str) -> dict[str, float]:
        """Seconds since each file of a folder was written, also of unfinished ones. By the clock
        that stamps the files, which may jump."""

    @abstractmethod
    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of each finished file of a folder."""

    @abstractmethod
    def read(self, names: Sequence[str]) -> list[bytes]:
        """Whole files."""

    @abstractmethod
    def open(self, name: str) -> Any:
        """What pyarrow reads a file from, which holds nothing of Python's: a thread of pyarrow may
        let go of what it read when the interpreter has gone, and the process would abort
        (apache/arrow issue 34314; one listing in eight on a busy machine)."""

    @abstractmethod
    def write(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        """Put in place what `write` writes; a file of this name is replaced."""

    @abstractmethod
    def create(self, name: str, content: bytes) -> bool:
        """Write a file unless there is one of its name: of several writers, one succeeds."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file if it is there and may be removed."""

    def path(self, name: str) -> str:
        """What to call a file in messages."""
        return f"{self.location}/{name}"


def files_at(location: str | Path) -> Files:
    text = str(location)
    return RemoteFiles(text) if is_url(text) and "://" in text else LocalFiles(Path(location))


class LocalFiles(Files):
    """A folder of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.location = str(root)
        if os.path.lexists(root) and not os.path.isdir(root):
            raise UnreachableError(f"{root} is a file, not a store", "Give a folder by `store=`.")

    def exists(self, folder: str) -> bool:
        return os.path.exists(self.root / folder)

    def names(self, folder: str, suffix: str = "") -> list[str]:
        found = self._listed(folder)
        return sorted(n for n in found if n.endswith(suffix) and not n.startswith("."))

    def _listed(self, folder: str) -> list[str]:
        try:
            with self._doing(folder):
                return os.listdir(self.root / folder)
        except GoneError:
            return []

    def ages(self, folder: str) -> dict[str, float]:
        probe = f"{folder}/.{uuid.uuid4().hex}.tmp"  # stamped by the clock that stamps the others
        self._write(probe, lambda file: None)
        now = (self.root / probe).stat().st_mtime
        self.remove(probe)
        return {name: now - status.st_mtime for name, status in self._statuses(folder)}

    def sizes(self, folder: str) -> dict[str, int]:
        finished = set(self.names(folder))
        return {
            name: status.st_size
            for name, status in self._statuses(folder)
            if name in finished and stat.S_ISREG(status.st_mode)
        }

    def _statuses(self, folder: str) -> Iterator[tuple[str, os.stat_result]]:
        for name in self._listed(folder):
            with contextlib.suppress(FileNotFoundError):  # another process removed it
                yield name, (self.root / folder / name).stat()

    def read(self, names: Sequence[str]) -> list[bytes]:
        found = []
        for name in names:
            with self._doing(name):
                found.append(read_file(self.root / name, MOST_BYTES))
        return found

    def open(self, name: str) -> Any:
        import pyarrow as pa

        with self._doing(name):
            open_file(self.root / name, MOST_BYTES).close()
            return pa.OSFile(str(self.root / name))

    def write(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        for last in (False,) * (_TRIES - 1) + (True,):
            partial = self._partial(name)
            try:
                self._write(partial, write)
                with self._doing(name):
                    os.replace(self.root / partial, self.root / name)
                    _flush_folder((self.root / name).parent)
                return
            except GoneError:  # cleared away by a compaction whose clock is ahead
                if last:
                    raise
            finally:
                self.remove(partial)

    def create(self, name: str, content: bytes) -> bool:
        partial = self._partial(name)
        try:
            self._write(partial, lambda file: file.write(content))
            with self._doing(name):
                claimed = _claim(self.root / partial, self.root / name)
                _flush_folder((self.root / name).parent)
            return claimed
        finally:
            self.remove(partial)

    def remove(self, name: str) -> None:
        with contextlib.suppress(OSError):
            (self.root / name).unlink()

    def _write(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        with self._doing(name):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            with (self.root / name).open("xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())

    @staticmethod
    def _partial(name: str) -> str:
        folder, _, own = name.rpartition("/")
        return f"{folder}/.{own[:50]}.{uuid.uuid4().hex}.tmp"

    @contextmanager
    def _doing(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise GoneError(f"{self.path(name)} is not there", _MEND) from error
        except OSError as error:
            told = error.strerror or str(error)
            raise UnreachableError(f"{self.path(name)}: {told}", _MEND) from error


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
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with _locked(target.parent):
            if target.exists():
                return False
            os.replace(partial, target)
    return True


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process of this machine at a time; the system frees the lock of one that dies."""
    import fcntl  # Windows has hard links wherever it has none of this

    with (folder / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class RemoteFiles(Files):
    """A folder of an object store that can refuse to overwrite (S3, Google, Azure, memory)."""

    may_come_late = True

    def __init__(self, url: str) -> None:
        self.location = without_secrets(url).rstrip("/")
        with reaching(self.location):
            # Another process may have written since the listing that fsspec would remember.
            self.system, root = filesystem_at(url, use_listings_cache=False)
        self.root = root.rstrip("/")
        creates = getattr(self.system, "_pipe_file", self.system.pipe_file)
        if "mode" not in inspect.signature(creates).parameters:
            raise UnreachableError(
                f"{self.location}: this version of its client cannot refuse to overwrite, which"
                " keeps the commits of several writers apart",
                "Update the client (s3fs, gcsfs, adlfs), or give a local folder.",
            )

    def exists(self, folder: str) -> bool:
        with self._doing(folder):
            found: bool = self.system.exists(f"{self.root}/{folder}")
        return found

    def names(self, folder: str, suffix: str = "") -> list[str]:
        return sorted(name for name in self._details(folder) if name.endswith(suffix))

    def ages(self, folder: str) -> dict[str, float]:
        now = time.time()
        found = {}
        for name, detail in self._details(folder).items():
            written = detail.get("LastModified") or detail.get("created") or detail.get("updated")
            stamp = getattr(written, "timestamp", None)
            found[name] = now - stamp() if stamp is not None else 0.0
        return found

    def sizes(self, folder: str) -> dict[str, int]:
        return {name: int(detail["size"]) for name, detail in self._details(folder).items()}

    def _details(self, folder: str) -> dict[str, dict[str, Any]]:
        try:
            with self._doing(folder):
                listed = self.system.ls(f"{self.root}/{folder}", detail=True)
        except GoneError:
            return {}
        return {
            detail["name"].rpartition("/")[2]: detail
            for detail in listed
            if detail["type"] == "file"
        }

    def read(self, names: Sequence[str]) -> list[bytes]:
        found = []
        paths = [f"{self.root}/{name}" for name in names]
        if not paths:
            return []
        with self._doing(names[0]):
            contents = self.system.cat(paths, on_error="return")
        for name, path in zip(names, paths, strict=True):
            content = contents[path] if isinstance(contents, dict) else contents
            with self._doing(name):
                if isinstance(content, BaseException):
                    raise content
            found.append(content)
        return found

    def open(self, name: str) -> Any:
        import pyarrow as pa

        copy = pa.BufferOutputStream()
        copy.write(self.read([name])[0])
        return pa.BufferReader(copy.getvalue())

    def write(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        content = io.BytesIO()  # a file closed half way would be there half
        write(content)
        with self._doing(name):
            self.system.pipe_file(f"{self.root}/{name}", content.getvalue())

    def create(self, name: str, content: bytes) -> bool:
        try:
            with self._doing(name):
                self.system.pipe_file(f"{self.root}/{name}", content, mode="create")
        except _TakenError:
            return False
        return True

    def remove(self, name: str) -> None:
        with contextlib.suppress(UnreachableError), self._doing(name):
            self.system.rm_file(f"{self.root}/{name}")

    @contextmanager
    def _doing(self, name: str) -> Iterator[None]:
        shown = self.path(name)
        try:
            with reaching(shown):
                try:
                    yield
                except FileExistsError as error:
                    raise _TakenError(f"{shown} is there") from error
        except NotThereError:
            raise GoneError(f"{shown} is not there", _MEND) from None


class _TakenError(UnreachableError):
    """A name that another writer was given first."""
