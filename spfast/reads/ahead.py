"""Reading ahead: while one part of a memory-mapped matrix is worked on, the next comes from the disk."""

import ctypes
import mmap
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

import numpy as np

from spfast.reads.parts import Part

__all__ = ["ask_for", "is_sparse", "reading_ahead"]

#: Bytes that are asked for at a time, and by how many threads: two keep a disk busy, four get into each other's way.
_STEP, _STREAMS = 1 << 24, 2
#: Fewer rows than this share are read one by one.
_SPARSE = 0.25
#: Batches that are in memory at a time: the one that is worked on and the next.
_BATCHES = 2
#: Linux's madvise: read pages and map them (since 5.14); older ones know only how to ask for them.
_POPULATE_READ, _WILL_NEED = 22, 3


@contextmanager
def reading_ahead(
    design: np.ndarray, batches: Sequence[Sequence[Part]], rows: np.ndarray
) -> Iterator[Iterable[Sequence[Part]]]:
    """Give batches of parts; rows of the one that is worked on and of the next are read meanwhile, in order.

    Parameters
    ----------
    design : array, C order, shape (n_stars, n_features)
    batches : sequence of sequence of Part
    rows : bool array, shape (n_stars,)
        Those that are needed: if they are few, nothing else is read.
    """
    if not sys.platform.startswith("linux"):
        yield batches
        return
    may_read, is_over = threading.Semaphore(_BATCHES), threading.Event()

    def read():
        with ThreadPoolExecutor(_STREAMS) as streams:
            for batch in batches:
                may_read.acquire()
                for part in batch:
                    list(streams.map(lambda piece: _fetch(*piece, is_over), _pieces(design, part, rows)))

    def walk():
        for batch in batches:
            yield batch
            may_read.release()

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield walk()
    finally:
        is_over.set()
        may_read.release(len(batches))
        thread.join()


def ask_for(design: np.ndarray, rows: np.ndarray, first: int, last: int) -> None:
    """Have the columns ``first`` to ``last`` of scattered rows read from the disk, and nothing around them.

    A page that is merely used brings megabytes around it along.
    """
    if sys.platform.startswith("linux"):
        begins = design.ctypes.data + rows * design.strides[0] + first * design.itemsize
        size, never = (last + 1 - first) * design.itemsize, threading.Event()
        for begin in begins.tolist():
            before = begin % mmap.PAGESIZE
            _fetch(begin - before, before + size, never)


def _pieces(design, part, rows):
    """Addresses and sizes of the pages of a part, some at a time, or of those of its rows that are needed."""
    if not is_sparse(rows, part):
        begin, end = _pages(design[part.begin : part.end])
        return [(at, min(_STEP, end - at)) for at in range(begin, end, _STEP)]
    bounds = (_pages(design[row : row + 1]) for row in part.begin + np.flatnonzero(rows[part.begin : part.end]))
    return [(begin, end - begin) for begin, end in bounds]


def is_sparse(rows: np.ndarray, part: Part) -> bool:
    """Whether so few of a part's rows are needed that each is read by itself."""
    return np.count_nonzero(rows[part.begin : part.end]) < _SPARSE * (part.end - part.begin)


def _pages(rows):
    """Where the pages of consecutive rows begin and end."""
    address = rows.ctypes.data
    return address // mmap.PAGESIZE * mmap.PAGESIZE, address + rows.nbytes


def _fetch(address, size, is_over):
    """Read pages; whoever uses them finds them in memory. Less than a step is a row: nothing around it is read."""
    advise = _madvise()
    if not is_over.is_set() and (size < _STEP or advise(address, size, _POPULATE_READ) != 0):
        advise(address, size, _WILL_NEED)


@cache
def _madvise():
    """The system's call, which lets other threads run meanwhile."""
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    return advise
