"""The workers of a Dask cluster that runs already."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from scaling_cli.errors import UnreachableError
from scaling_cli.workers.shipping import (
    CONNECT_SECONDS,
    Slots,
    absent,
    call,
    died,
    look_for,
    packed,
    unpacked,
    unreachable,
)
from scaling_cli.workers.spread import DASK, Executor, Pending, R, T

JOIN_SECONDS = 30.0  # until a cluster that is there has a worker


@contextmanager
def cluster(address: str) -> Iterator[Executor]:
    """The cluster whose scheduler is at HOST:PORT."""
    name = DASK + address
    try:
        from distributed import Client
    except ImportError as error:
        raise absent("distributed", "dask", name) from error
    look_for("Dask scheduler", name, "Start one: dask scheduler.")
    try:
        client = Client(f"tcp://{address}", timeout=CONNECT_SECONDS, set_as_default=False)
    except OSError as error:  # a timeout too
        raise unreachable(name, error) from error
    with client, of_client(client, name, JOIN_SECONDS) as executor:
        yield executor


@contextmanager
def of_client(client: Any, name: str, seconds: float | None) -> Iterator[Executor]:
    """The workers that a client knows, once there is one."""
    try:
        client.wait_for_workers(1, timeout=seconds)
    except TimeoutError as error:
        raise UnreachableError(
            f"no worker has joined {name} for {seconds:g} s", "Start one: dask worker HOST:PORT."
        ) from error
    yield _Dask(client, name)


class _Dask:
    """Dask gives the work of a worker that dies to another, and tells when three have."""

    def __init__(self, client: Any, name: str) -> None:
        self.client, self.name = client, name
        self._slots = Slots(lambda: sum(client.nthreads().values()))

    @property
    def slots(self) -> int:
        return self._slots()

    def submit(self, work: Callable[[T], R], item: T) -> Pending[R]:
        future = self.client.submit(call, packed(work, item), pure=False)

        def answer() -> R:
            reply: R = unpacked(self._content(future))
            return reply

        return answer

    def _content(self, future: Any) -> bytes:
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError

        try:
            content: bytes = future.result()
        except KilledWorker as error:
            raise died(self.name, "Give each more memory, or fewer threads.") from error
        except (FutureCancelledError, OSError, ImportError, RuntimeError) as error:
            raise unreachable(self.name, error) from error
        return content
