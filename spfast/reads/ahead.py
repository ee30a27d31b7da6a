"""Reading ahead: while one part of a memory-mapped matrix is worked on, the next comes from the disk."""

import ctypes
import mmap
import sys
import threading
from collections.abc import Iterator, Sequence

import numpy as np

from spfast.reads.parts import Part

__all__ = ["reading_ahead"]

#: Bytes that are asked for at a time.
_STEP = 1 << 24
#: Batches that are in memory at a time: the one that is worked on and the next.
_BATCHES = 2
#: Linux's madvise: read pages and map them (since 5.14); older ones know only how to ask for them.
_POPULATE_READ, _WILL_NEED = 22, 3


def reading_ahead(design: np.ndarray, batches: Sequence[Sequence[Part]]) -> Iterator[Sequence[Part]]:
    """Yield batches of parts; rows of the one that is worked on and of the next are read meanwhile, in order."""
    if not sys.platform.startswith("linux"):
        yield from batches
        return
    may_read, is_over = threading.Semaphore(_BATCHES), threading.Event()

    def read():
        for batch in batches:
            may_read.acquire()
            for part in batch:
                _fetch(design[part.begin : part.end], is_over)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        for batch in batches:
            yield batch
            may_read.release()
    finally:
        is_over.set()
        may_read.release(len(batches))
        thread.join()


def _fetch(rows, is_over):
    """Read the pages of consecutive rows; whoever uses them finds them in memory."""
    begin = rows.ctypes.data // mmap.PAGESIZE * mmap.PAGESIZE
    end = rows.ctypes.data + rows.nbytes
    advise = ctypes.CDLL(None).madvise  # lets other threads run meanwhile
    advise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    for at in range(begin, end, _STEP):
        if is_over.is_set():
            return
        size = min(_STEP, end - at)
        if advise(at, size, _POPULATE_READ) != 0:
            advise(at, size, _WILL_NEED)
