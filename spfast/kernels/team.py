"""Threads above the kernels: kernels release the interpreter lock, a team runs them on shares of the work."""

import itertools
import os
from concurrent.futures import ThreadPoolExecutor

from spfast.errors import BadInputError

__all__ = ["Team", "resolve_threads"]


def resolve_threads(threads):
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


class Team:
    """A fixed number of threads, the caller's among them, that share out ranges of equal pieces of work.

    Parameters
    ----------
    threads : int, optional
        All processors by default.
    """

    def __init__(self, threads=None):
        self.threads = resolve_threads(threads)
        self._pool = ThreadPoolExecutor(self.threads - 1) if self.threads > 1 else None

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc, traceback):
        if self._pool is not None:
            self._pool.shutdown()

    def run(self, kernel, n_pieces, *args):
        """Call ``kernel(first, last, *args)`` on contiguous shares of ``range(n_pieces)``, one a thread."""
        shares = [n_pieces * t // self.threads for t in range(self.threads + 1)]
        ranges = [(a, b) for a, b in itertools.pairwise(shares) if b > a]
        futures = [self._pool.submit(kernel, a, b, *args) for a, b in ranges[1:]]
        if ranges:
            kernel(*ranges[0], *args)
        for future in futures:
            future.result()
