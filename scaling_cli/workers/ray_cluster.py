"""The workers of a Ray cluster that runs already."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from scaling_cli.workers.shipping import (
    Slots,
    absent,
    call,
    died,
    look_for,
    packed,
    unpacked,
    unreachable,
)
from scaling_cli.workers.spread import RAY, Executor, Pending, R, T

TIMES_MORE = 2  # after the first: that often work is given out whose worker died


@contextmanager
def cluster(address: str) -> Iterator[Executor]:
    """The cluster whose client server is at HOST:PORT."""
    name = RAY + address
    try:
        import ray
    except ImportError as error:
        raise absent("ray", "ray", name) from error
    look_for("Ray cluster", name, "Start one: ray start --head.")
    try:
        session = ray.init(name, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:  # another version of Ray's, too
        raise unreachable(name, error) from error
    with session:
        yield _Ray(ray, name)


class _Ray:
    """Ray gives the work of a worker that dies to another."""

    def __init__(self, ray: Any, name: str) -> None:
        self.ray, self.name = ray, name
        self.remote = ray.remote(num_cpus=1, max_retries=TIMES_MORE)(call)
        self._slots = Slots(lambda: int(ray.cluster_resources().get("CPU", 1)))

    @property
    def slots(self) -> int:
        return self._slots()

    def submit(self, work: Callable[[T], R], item: T) -> Pending[R]:
        reference = self.remote.remote(packed(work, item))

        def answer() -> R:
            reply: R = unpacked(self._content(reference))
            return reply

        return answer

    def _content(self, reference: Any) -> bytes:
        from ray import exceptions

        try:
            content: bytes = self.ray.get(reference)
        except (exceptions.WorkerCrashedError, exceptions.OutOfMemoryError) as error:
            raise died(self.name, "Give each more memory.") from error
        except (exceptions.RayError, ConnectionError, ImportError) as error:
            raise unreachable(self.name, error) from error
        return content
