"""Processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from scaling_cli.errors import ScalefitError
from scaling_cli.workers.spread import THREADS, Executor, Pending, R, T


@contextmanager
def processes(count: int) -> Iterator[Executor]:
    """This many of them, which end with the block."""
    before = set(multiprocessing.active_children())
    pools = _Pools(count)
    try:
        yield pools
    except BaseException as error:
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        if isinstance(error, BrokenProcessPool):
            raise ScalefitError(
                "a worker process ended twice before its work was done, perhaps for want of memory",
                "Ask for fewer `workers=`.",
            ) from error
        raise
    finally:
        pools.pool.shutdown(cancel_futures=True)


class _Pools:
    """A pool, and a new one after a process has died: all that the old one had goes with it."""

    def __init__(self, count: int) -> None:
        self.slots = count
        self.pool = self._fresh()

    def _fresh(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self.slots, mp_context=context, initializer=_begin)

    def submit(self, work: Callable[[T], R], item: T) -> Pending[R]:
        pool, future = self._handed(work, item)

        def answer() -> R:
            try:
                return future.result()
            except BrokenProcessPool:
                self._replace(pool)
                return self._handed(work, item)[1].result()

        return answer

    def _handed(self, work: Callable[[T], R], item: T) -> tuple[ProcessPoolExecutor, Future[R]]:
        with _interrupts_wait():  # a submission may start a worker
            try:
                return self.pool, self.pool.submit(work, item)
            except BrokenProcessPool:
                self._replace(self.pool)
                return self.pool, self.pool.submit(work, item)

    def _replace(self, broken: ProcessPoolExecutor) -> None:
        if self.pool is broken:
            broken.shutdown(cancel_futures=True)
            self.pool = self._fresh()


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Hold Ctrl-C back until this is over.

    A process whose start is broken off waits for its instructions for ever, and so does the pool
    for it. What is started meanwhile does not know Ctrl-C until it lets it come.
    """
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
    os.environ.update(dict.fromkeys(THREADS, "1"))
    # Ctrl-C reaches the parent too, which ends it; here it has been held back since the start.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed cannot end its workers, which would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
