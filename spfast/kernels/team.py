"""Threads: kernels release the interpreter lock, so a team of threads can run one kernel on shares of its work."""

import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

from spfast.blas import one_blas_thread
from spfast.errors import BadInputError
from spfast.kernels.jit import say_compile_time
from spfast.kernels.stop import Flag, obey, raise_if_stopped, this_thread

__all__ = ["Team", "resolve_threads", "side_by_side"]

#: More threads than this gain nothing, and thousands of them would not start.
_THREADS_PER_PROCESSOR = 4


def resolve_threads(threads: int | None) -> int:
    """Return the number of threads to use: ``threads``, at most four a processor, or one for each processor.

    Raises
    ------
    BadInputError
        For anything but a positive whole number or None.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads is None:
        return processors
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise BadInputError(f"threads is {threads!r}, expected a positive whole number or None for all processors")
    return min(threads, _THREADS_PER_PROCESSOR * processors)


@contextmanager
def _leaving_nothing(shares):
    """Take all that an iterator still has if the block ends by an error or a signal."""
    try:
        yield
    except BaseException:
        for _ in shares:
            pass
        raise


#: More shares than threads even out unequal pieces and busy processors; each costs a call.
_SHARES_PER_THREAD = 4


class Team:
    """A fixed number of threads, the caller's among them, that share the pieces of a kernel's work.

    Parameters
    ----------
    threads : int, optional
        All processors by default.
    """

    def __init__(self, threads: int | None = None):
        self.threads = resolve_threads(threads)
        self._pool = ThreadPoolExecutor(self.threads - 1) if self.threads > 1 else None

    def __enter__(self) -> "Team":
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()
        say_compile_time()

    def run(self, kernel: Callable[..., None], n_pieces: int, *args) -> None:
        """Call ``kernel(first, last, *args)`` on contiguous shares of ``range(n_pieces)``.

        Shares are handed out as threads become free; what a piece gives must not depend on the thread that does it.
        Whatever ends one of the threads, a signal as well, leaves no share to the others.
        """
        n_shares = max(1, min(n_pieces, _SHARES_PER_THREAD * self.threads))
        bounds = [n_pieces * s // n_shares for s in range(n_shares + 1)]
        shares = iter(itertools.pairwise(bounds))
        flag = this_thread()

        def work():
            obey(flag)
            with _leaving_nothing(shares):
                for first, last in shares:  # an iterator of the standard library advances under the interpreter lock
                    raise_if_stopped()
                    kernel(first, last, *args)

        with _leaving_nothing(shares):
            futures = [self._pool.submit(work) for _ in range(self.threads - 1)] if n_shares > 1 else []
            work()
            for future in futures:
                future.result()


def side_by_side(jobs: Sequence[Callable[[int], Any]], threads: int | None = None, at_once: int | None = None) -> list:
    """Run independent jobs at once, each with its part of the threads: never more threads than asked for.

    One thread for each job is faster than all threads on one job after another, if there are jobs for all threads.
    If one fails, or the caller is interrupted, the others end as soon as they look (`spfast.kernels.stop`).

    Parameters
    ----------
    jobs : sequence of callable
        Each takes the number of threads it may use.
    threads : int, optional
        All processors by default.
    at_once : int, optional
        Jobs that are begun, however few the threads; by default no more than there are threads.

    Returns
    -------
    list
        What each job returned, in order.

    Examples
    --------
    >>> from spfast.kernels.team import side_by_side
    >>> side_by_side([lambda threads: threads, lambda threads: threads], threads=4)
    [2, 2]
    """
    threads = resolve_threads(threads)
    at_once = max(1, min(len(jobs), threads)) if at_once is None else at_once
    if at_once == 1:
        with one_blas_thread():
            return [job(threads) for job in jobs]
    each = max(1, threads // at_once)
    stop = Flag(this_thread())

    def run(job):
        obey(stop)
        raise_if_stopped()
        return job(each)

    with one_blas_thread(), ThreadPoolExecutor(at_once) as pool:
        try:
            futures = [pool.submit(run, job) for job in jobs]
            wait(futures, return_when=FIRST_EXCEPTION)
            failed = [future for future in futures if future.done() and future.exception() is not None]
            return [future.result() for future in failed or futures]
        finally:
            stop.set()  # nothing runs any more, or nobody waits for it
