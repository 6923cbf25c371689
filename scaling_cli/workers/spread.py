"""One map over executors of every kind, and which of them `workers=` asks for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TypeVar

from scaling_cli.errors import InputError

T = TypeVar("T")
R = TypeVar("R")
Answer = TypeVar("Answer", covariant=True)

Workers = int | str  # processes here, or a cluster: dask://HOST:PORT, ray://HOST:PORT, slurm:...

AHEAD = 2  # items a worker that are handed out at a time: none waits, and few are held in memory
THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
DASK, RAY, SLURM = "dask://", "ray://", "slurm:"
KINDS = f"Give a number of processes, {DASK}HOST:PORT, {RAY}HOST:PORT or {SLURM}cores=4,memory=8GB."


class Mapper(Protocol):
    """Calls `work` on each item, and gives the answers in the items' order."""

    def __call__(self, work: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]: ...


class Pending(Protocol[Answer]):
    """An answer that is awaited where it is asked for."""

    def __call__(self) -> Answer: ...


class Executor(Protocol):
    """Does work elsewhere. Work, items and answers are pickled; a worker that dies costs what it
    was working on once more."""

    @property
    def slots(self) -> int:
        """How many items are worked on at once, as of now."""

    def submit(self, work: Callable[[T], R], item: T) -> Pending[R]:
        """Hand an item out."""


@contextmanager
def mapper(workers: Workers) -> Iterator[Mapper]:
    """A map over this many processes, or over the workers of a cluster; one is this process itself.

    Processes are fresh ones (spawn), so a script that asks for several needs the guard
    `if __name__ == "__main__":`. An error, Ctrl-C too, ends them. Raises ScalefitError where one
    of them dies twice over the same work, UnreachableError where there is no cluster.
    """
    asked = checked(workers)
    if asked == 1:
        yield map
        return
    with _executor(asked) as executor:

        def spread(work: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]:
            waiting: deque[Pending[R]] = deque()
            for item in items:
                if len(waiting) >= AHEAD * executor.slots:
                    yield waiting.popleft()()
                waiting.append(executor.submit(work, item))
            while waiting:
                yield waiting.popleft()()

        yield spread


def checked(workers: Workers) -> Workers:
    """What `workers=` asks for, a number as such; InputError where it is neither."""
    text = str(workers).strip()
    if text.isdecimal() and int(text) > 0:
        return int(text)
    for scheme, example in ((DASK, "scheduler:8786"), (RAY, "head:10001")):
        if text.startswith(scheme):
            host, _, port = text.removeprefix(scheme).rpartition(":")
            if not (host and port.isdecimal()):
                raise InputError(f"`workers={text}`: no host and port", f"Write {scheme}{example}.")
            return text
    if text.startswith(SLURM):
        from scaling_cli.workers.slurm_jobs import settings

        settings(text)
        return text
    raise InputError(f"`workers={text}` names no workers", KINDS)


def _executor(asked: Workers) -> AbstractContextManager[Executor]:
    if isinstance(asked, int):
        from scaling_cli.workers.processes import processes

        return processes(asked)
    if asked.startswith(DASK):
        from scaling_cli.workers.dask_cluster import cluster

        return cluster(asked.removeprefix(DASK))
    if asked.startswith(RAY):
        from scaling_cli.workers.ray_cluster import cluster as ray_cluster

        return ray_cluster(asked.removeprefix(RAY))
    from scaling_cli.workers.slurm_jobs import jobs

    return jobs(asked)
