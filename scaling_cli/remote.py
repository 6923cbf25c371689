"""What lies at a URL: fsspec's file systems, their errors in our words, and no secret told."""

from __future__ import annotations

import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from scaling_cli.errors import InputError, UnreachableError, install

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:(//|:)")
# What one answer may add to the process: a history of 2 million points takes as much.
MOST_GROWTH = 2 << 30
_STATM = "/proc/{}/statm"  # of Linux; elsewhere memory is not watched
LOOK = 0.2  # seconds between looks at it

T = TypeVar("T")


class NotThereError(InputError):
    """A URL where nothing is."""


def without_secrets(url: str) -> str:
    """A URL without what may grant access: user, password, and the query of a signed one."""
    return re.sub(r"://[^/@]*@", "://", re.split(r"[?#]", url, maxsplit=1)[0])


def is_url(source: str) -> bool:
    return bool(_URL.match(source))


def filesystem_at(url: str, **options: Any) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    shown = without_secrets(url)
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise InputError(f"{shown} needs the package fsspec", install("remote")) from None
    try:
        filesystem, path = url_to_fs(url, **options)
    except ImportError as error:  # fsspec names the package of the protocol
        raise InputError(f"{shown} cannot be read: {error}", "pip install it.") from None
    except ValueError:
        mend = "There are s3://, gs://, abfs://, https:// and the others of fsspec."
        raise InputError(f"{shown}: no such protocol", mend) from None
    return filesystem, path


@contextmanager
def reaching(shown: str) -> Iterator[None]:
    """Says what went wrong elsewhere without the message that came with it: every file system has
    its own errors, and they may quote a signed URL."""
    try:
        yield
    except (InputError, UnreachableError):
        raise
    except Exception as error:
        causes = list(_causes(error))
        status = next((s for c in causes if isinstance(s := getattr(c, "status", None), int)), 0)
        if isinstance(error, FileNotFoundError) and not _refused(causes, status):
            mend = "Give the URL of a file or folder."
            raise NotThereError(f"{shown} does not exist", mend) from None
        if isinstance(error, PermissionError) or status in (401, 403):
            mend = "Give credentials as its client takes them (AWS_PROFILE, gcloud auth, ...)."
            raise UnreachableError(f"{shown} may not be read", mend) from None
        reason = f"HTTP {status}" if status else type(causes[-1]).__name__
        raise UnreachableError(f"{shown} cannot be reached ({reason})", "Try again.") from None


def bounded(call: Callable[[], T], seconds: float) -> T:
    """What a call of another package's client gives, which has bounds for each piece of an answer
    and none for all of it: TimeoutError after so long, MemoryError where the process grows by
    MOST_GROWTH. The thread cannot be stopped, but nobody waits for it."""
    done: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def attempt() -> None:
        try:
            done.put((call(), None))
        except BaseException as error:
            done.put((None, error))

    end, before = time.monotonic() + seconds, resident()
    threading.Thread(target=attempt, daemon=True).start()
    while True:
        try:
            result, error = done.get(timeout=LOOK)
        except queue.Empty:
            if time.monotonic() > end:
                raise TimeoutError(f"no whole answer in {seconds:.0f} s") from None
            if resident() - before > MOST_GROWTH:
                raise MemoryError(f"an answer of more than {MOST_GROWTH >> 30} GB") from None
            continue
        if error is not None:
            raise error
        return result  # type: ignore[return-value]


def resident(process: int | str = "self") -> int:
    """Bytes of memory that a process has."""
    try:
        with open(_STATM.format(process), encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


@contextmanager
def hushed(*loggers: str) -> Iterator[None]:
    """Without what these packages log: they quote a server as it is, escapes and all, and write to
    the terminal by themselves."""
    import logging

    chosen = [logging.getLogger(name) for name in loggers]
    before = [logger.level for logger in chosen]
    for logger in chosen:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(chosen, before, strict=True):
            logger.setLevel(level)


def _causes(error: BaseException | None) -> Iterator[Any]:
    while error is not None:
        yield error
        error = error.__cause__


def _refused(causes: Sequence[BaseException], status: int) -> bool:
    """Whether the server was not reached or refused, which fsspec also calls a missing file."""
    lost = any(isinstance(c, OSError) and not isinstance(c, FileNotFoundError) for c in causes)
    return lost or status not in (0, 404)
