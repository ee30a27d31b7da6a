"""What is computed star by star, part by part of the matrix: any function of rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from spfast.kernels.team import Team
from spfast.reads.jobs import Job
from spfast.reads.reader import reader_of

__all__ = ["OfRows", "map_rows"]


@dataclass(frozen=True, eq=False)
class OfRows(Job):
    """A function of rows; a tuple of what it returns, part by part.

    Attributes
    ----------
    rows : int64 array
    function : callable
        ``function(matrix, rows, team, *arguments)``, an array with an element, or a row, for each of the rows. It can
        be imported by its name.
    arguments : tuple
    """

    rows: np.ndarray
    function: Callable[..., np.ndarray]
    arguments: tuple

    @classmethod
    def run(cls, jobs, design, parts, team):
        (job,) = jobs
        for part in parts:
            rows = job.within(part.begin, part.end).rows
            yield part.index, [(job.function(design, rows, team, *job.arguments),)]

    @staticmethod
    def merge(left, right):
        return left + right


def map_rows(
    function: Callable[..., np.ndarray], matrix: np.ndarray, rows: np.ndarray, *arguments: Any, threads: int | None
) -> np.ndarray:
    """Compute something of rows of a matrix, by whoever reads it.

    Parameters
    ----------
    function : callable
        As in `OfRows`; what it gives for a row does not depend on the other rows.
    matrix : array, shape (n_stars, n_columns)
    rows : int64 array, shape (n_rows,)
        In any order.
    *arguments
    threads : int, optional

    Returns
    -------
    array, shape (n_rows, ...)
    """
    order = None if np.all(rows[1:] >= rows[:-1]) else np.argsort(rows, kind="stable")
    with Team(threads) as team:
        job = OfRows(rows if order is None else rows[order], function, arguments)
        found = np.concatenate(reader_of(team).read(matrix, job))
    if order is None:
        return found
    out = np.empty_like(found)
    out[order] = found
    return out
