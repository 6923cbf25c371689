"""Work spread over processes: the same answers, in the same order, for any number of them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

from scaling_cli.errors import ScalefitError

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 2  # items a worker that are handed out at a time: none waits, and few are held in memory
THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


class Mapper(Protocol):
    """Calls `work` on each item, and gives the answers in the items' order."""

    def __call__(self, work: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]: ...


@contextmanager
def mapper(workers: int) -> Iterator[Mapper]:
    """A map over this many processes; one is this process itself.

    Work, items and answers are pickled. The processes are fresh ones (spawn), so a script that
    asks for several needs the guard `if __name__ == "__main__":`. An error, Ctrl-C too, ends them.
    Raises ScalefitError where one of them dies.
    """
    if workers == 1:
        yield map
        return
    import multiprocessing  # 20 ms, for those who ask for it
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin)

    def spread(work: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]:
        waiting: deque[Future[R]] = deque()
        for item in items:
            if len(waiting) == AHEAD * workers:
                yield waiting.popleft().result()
            waiting.append(pool.submit(work, item))
        while waiting:
            yield waiting.popleft().result()

    try:
        yield spread
    except BaseException as error:
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        if isinstance(error, BrokenProcessPool):
            raise ScalefitError(
                "a worker process ended before its work was done, perhaps for want of memory",
                "Ask for fewer --workers.",
            ) from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """A worker's first act: before numpy is loaded, as each has one core to itself."""
    import signal
    import threading

    os.environ.update(dict.fromkeys(THREADS, "1"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends it
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed cannot end its workers, which would wait for ever."""
    import multiprocessing

    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
