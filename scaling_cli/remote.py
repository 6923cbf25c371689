"""What lies at a URL: fsspec's file systems, their errors in our words, and no secret told."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from scaling_cli.errors import InputError, UnreachableError, install

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:(//|:)")


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


def _causes(error: BaseException | None) -> Iterator[Any]:
    while error is not None:
        yield error
        error = error.__cause__


def _refused(causes: Sequence[BaseException], status: int) -> bool:
    """Whether the server was not reached or refused, which fsspec also calls a missing file."""
    lost = any(isinstance(c, OSError) and not isinstance(c, FileNotFoundError) for c in causes)
    return lost or status not in (0, 404)
