"""Parts of a matrix: the ranges of rows over which all sums are made, and the tree in which they are added.

They follow from the shape of the matrix alone. So a sum has the same bits whoever reads the parts: one thread or many,
one machine or several, forwards or backwards.
"""

import itertools
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

__all__ = ["Part", "Tree", "parts_of"]

#: Bytes of a part, at most, and the least number of parts.
_PART_BYTES, _LEAST = 1 << 31, 4
#: Segments of a part, each one thread's work: at least so many, and more of about so many rows.
_SEGMENTS, _MOST_SEGMENTS, _SEGMENT_ROWS = 8, 64, 1024
#: Rows that one thread takes for every pass that shares the read, before it goes on: they stay in the last cache.
_CHUNK_ROWS = 512


class Part(NamedTuple):
    """A range of rows of the matrix.

    Attributes
    ----------
    index : int
    begin, end : int
    """

    index: int
    begin: int
    end: int

    @property
    def n_segments(self) -> int:
        """Its segments."""
        return min(max(_SEGMENTS, (self.end - self.begin) // _SEGMENT_ROWS), _MOST_SEGMENTS)

    def segments(self) -> Iterator[list]:
        """Yield the chunks of each segment: lists of (begin, end) rows."""
        for begin, end in itertools.pairwise(_split(self.begin, self.end, self.n_segments)):
            yield [(row, min(row + _CHUNK_ROWS, end)) for row in range(begin, max(end, begin + 1), _CHUNK_ROWS)]


@lru_cache(maxsize=64)
def parts_of(n_rows: int, row_bytes: int) -> tuple[Part, ...]:
    """Return the parts of a matrix, in order: a power of two of them, some perhaps empty."""
    n_parts = _LEAST
    while n_rows * row_bytes > n_parts * _PART_BYTES:
        n_parts *= 2
    return tuple(Part(k, *edges) for k, edges in enumerate(itertools.pairwise(_split(0, n_rows, n_parts))))


def _split(begin, end, n):
    """Edges of n ranges, multiples of eight rows from the beginning."""
    blocks = -(-(end - begin) // 8)
    return [min(end, begin + 8 * (blocks * k // n)) for k in range(n + 1)]


class Tree:
    """Adds what the parts give, two neighbours at a time; parts may come in any order.

    Parameters
    ----------
    n_parts : int
        A power of two.
    merge : callable
        Of the left and the right neighbour.
    """

    def __init__(self, n_parts: int, merge: Callable[[Any, Any], Any]):
        self._n_parts, self._merge, self._waiting = n_parts, merge, {}

    def add(self, index: int, value: Any) -> None:
        """Take what a part gives; whatever can be merged is."""
        width = 1
        while width < self._n_parts:
            neighbour = self._waiting.pop((width, index ^ 1), None)
            if neighbour is None:
                break
            value = self._merge(neighbour, value) if index & 1 else self._merge(value, neighbour)
            index, width = index // 2, 2 * width
        self._waiting[width, index] = value

    @property
    def total(self) -> Any:
        """The sum of all parts, once each has come."""
        return self._waiting[self._n_parts, 0]
