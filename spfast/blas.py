"""One thread for BLAS and LAPACK while this package works: the threads are its own.

OpenBLAS factors a matrix in other pieces on two threads than on one, so that the last digits of an error budget, and
what they are amplified to, would depend on the number of processors. It also competes with the threads that run the
kernels: a catalog of 14,000 stars took 19 s of processor time with two BLAS threads and 9 s with one.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

__all__ = ["one_blas_thread"]

_LOCK = threading.Lock()
_inside, _limits = 0, None


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread, as a context or a decorator.

    The limit holds for the whole process. Contexts may be nested and may overlap: the first one sets the limit, and the
    last one restores what was before. OpenBLAS ignores a limit that is set outside of the main thread: who calls this
    package from threads of their own sets OPENBLAS_NUM_THREADS=1.

    Examples
    --------
    >>> from spfast.blas import one_blas_thread
    >>> with one_blas_thread():
    ...     pass
    """
    global _inside, _limits
    with _LOCK:
        if _inside == 0:
            _limits = threadpool_limits(limits=1, user_api="blas")
        _inside += 1
    try:
        yield
    finally:
        with _LOCK:
            _inside -= 1
            if _inside == 0:
                _limits.restore_original_limits()
