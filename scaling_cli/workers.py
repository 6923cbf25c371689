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
            with _interrupts_wait():  # a submission may start a worker
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
                "Ask for fewer `workers=`.",
            ) from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Hold Ctrl-C back until this is over.

    A process whose start is broken off waits for its instructions for ever, and so does the pool
    for it. What is started meanwhile does not know Ctrl-C until it lets it come.
    """
    import signal
    import threading

    if threading.current_thread() is not threading.main_thread():  # only that one is interrupted
        yield
        return
    came = []
    handler = signal.signal(signal.SIGINT, lambda *_: came.append(True))
    masked = hasattr(signal, "pthread_sigmask")  # not on Windows
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if masked else None
    try:
        yield
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.signal(signal.SIGINT, handler)
        if came:
            signal.raise_signal(signal.SIGINT)


def _begin() -> None:
    """A worker's first act: before numpy is loaded, as each has one core to itself."""
    import signal
    import threading

    os.environ.update(dict.fromkeys(THREADS, "1"))
    # Ctrl-C reaches the parent too, which ends it; here it has been held back since the start.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed cannot end its workers, which would wait for ever."""
    import multiprocessing

    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
