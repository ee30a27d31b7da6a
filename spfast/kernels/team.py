"""Threads: kernels release the interpreter lock, so a team of threads can run one kernel on shares of its work."""

import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from spfast.blas import one_blas_thread
from spfast.errors import BadInputError
from spfast.kernels.jit import say_compile_time

__all__ = ["Team", "resolve_threads", "side_by_side"]


def resolve_threads(threads: int | None) -> int:
    """Return the number of threads to use: ``threads``, or the processors this process may run on.

    Raises
    ------
    BadInputError
        For anything but a positive whole number or None.
    """
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise BadInputError(f"threads is {threads!r}, expected a positive whole number or None for all processors")
    return threads


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
        """
        if self.threads == 1 or n_pieces < 2:
            kernel(0, n_pieces, *args)
            return
        n_shares = min(n_pieces, _SHARES_PER_THREAD * self.threads)
        bounds = [n_pieces * s // n_shares for s in range(n_shares + 1)]
        shares = iter(itertools.pairwise(bounds))

        def work():
            for first, last in shares:  # an iterator of the standard library is advanced under the interpreter lock
                kernel(first, last, *args)

        futures = [self._pool.submit(work) for _ in range(self.threads - 1)]
        work()
        for future in futures:
            future.result()


def side_by_side(jobs: Sequence[Callable[[int], Any]], threads: int | None = None) -> list:
    """Run independent jobs at once, each with its part of the threads: never more threads than asked for.

    One thread for each job is faster than all threads on one job after another, if there are jobs for all threads.

    Parameters
    ----------
    jobs : sequence of callable
        Each takes the number of threads it may use.
    threads : int, optional
        All processors by default.

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
    at_once = max(1, min(len(jobs), threads))
    each = max(1, threads // at_once)
    with one_blas_thread(), ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(lambda job: job(each), jobs))
