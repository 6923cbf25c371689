"""Work on its way to a machine that is not this one, and the answer on its way back.

Bytes go both ways, so that no cluster looks into them: work by its name, tables as Arrow.
"""

from __future__ import annotations

import pickle
import socket
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, NamedTuple

from scaling_cli.errors import ScalefitError, UnreachableError, install
from scaling_cli.version import VERSION
from scaling_cli.workers.spread import R, T

CONNECT_SECONDS = 10.0  # until a cluster has answered
COUNTED_SECONDS = 1.0  # between two looks at how many slots there are: clusters grow
# What an error of a worker says where this package is not there, or one that it needs.
ABSENT = "No module named"


class _Reply(NamedTuple):
    """What work gave, or the request's fault that kept it from giving anything."""

    value: Any
    fault: ScalefitError | None = None


class Slots:
    """How many items a cluster works on at once, at least one, by `count`, asked now and then."""

    def __init__(self, count: Callable[[], int]) -> None:
        self._count, self._known, self._at = count, 1, -COUNTED_SECONDS

    def __call__(self) -> int:
        now = time.monotonic()
        if now - self._at > COUNTED_SECONDS:
            self._known, self._at = max(1, self._count()), now
        return self._known


def versions() -> dict[str, str]:
    """What the digits rest on, which has to be the same on each machine."""
    return {"scalefit": VERSION, "numpy": version("numpy")}


def _told(found: dict[str, str]) -> str:
    return " with ".join(f"{name} {number}" for name, number in found.items())


def packed(work: Callable[[T], R], item: T) -> bytes:
    return pickle.dumps((versions(), work, item), pickle.HIGHEST_PROTOCOL)


def call(payload: bytes) -> bytes:
    """What a worker does with what was packed."""
    asked, work, item = pickle.loads(payload)  # noqa: S301  # of who may start work here
    try:
        if asked != versions():
            raise UnreachableError(
                f"a worker has {_told(versions())}, and this process {_told(asked)}: digits could"
                " differ",
                "Install the same versions there.",
            )
        reply = _Reply(work(item))
    except ScalefitError as error:
        reply = _Reply(None, error)
    return pickle.dumps(reply, pickle.HIGHEST_PROTOCOL)


def unpacked(content: bytes) -> Any:
    """What the work gave; raises what it raised for people."""
    reply: _Reply = pickle.loads(content)  # noqa: S301  # of a worker that this process chose
    if reply.fault is not None:
        raise reply.fault
    return reply.value


def look_for(what: str, url: str, mend: str) -> None:
    """UnreachableError where nothing listens at a URL's host and port: clients would wait on."""
    host, _, port = url.partition("://")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise UnreachableError(f"no {what} answers at {url} ({error})", mend) from error


def unreachable(where: str, error: BaseException) -> ScalefitError:
    """What a cluster's own error means to who asked for it."""
    text = " ".join(str(error).split())[:200]
    if ABSENT in text:
        return UnreachableError(
            f"the workers at {where} cannot load what they are to do ({text})",
            f"Install scalefit {VERSION} on each.",
        )
    return UnreachableError(f"the work at {where} could not be done ({text})")


def died(where: str, mend: str) -> ScalefitError:
    """That worker after worker ended over the same work."""
    return ScalefitError(
        f"several workers at {where} ended over the same work, perhaps for want of memory", mend
    )


def absent(package: str, extra: str, workers: str) -> UnreachableError:
    """That the client of a cluster is not installed."""
    return UnreachableError(
        f"`workers={workers}` needs {package}, which is not installed", install(extra)
    )
