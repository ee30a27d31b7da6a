"""Reading ahead: while one part of a memory-mapped matrix is worked on, the next comes from the disk."""

import ctypes
import mmap
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from spfast.reads.parts import Part

__all__ = ["reading_ahead"]

#: Bytes that are asked for at a time, and by how many threads: two keep a disk busy, four get into each other's way.
_STEP, _STREAMS = 1 << 24, 2
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
        with ThreadPoolExecutor(_STREAMS) as streams:
            for batch in batches:
                may_read.acquire()
                for part in batch:
                    list(streams.map(lambda piece: _fetch(*piece, is_over), _pieces(design[part.begin : part.end])))

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


def _pieces(rows):
    """Addresses and sizes of the pages of consecutive rows, some at a time."""
    begin, end = rows.ctypes.data // mmap.PAGESIZE * mmap.PAGESIZE, rows.ctypes.data + rows.nbytes
    return [(at, min(_STEP, end - at)) for at in range(begin, end, _STEP)]


def _fetch(address, size, is_over):
    """Read pages; whoever uses them finds them in memory."""
    advise = ctypes.CDLL(None).madvise  # lets other threads run meanwhile
    advise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    if not is_over.is_set() and advise(address, size, _POPULATE_READ) != 0:
        advise(address, size, _WILL_NEED)
