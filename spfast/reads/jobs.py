"""Jobs: what one caller wants of a read of the matrix. Each is a function of some of its rows, and its results add up.

A job is plain arrays, so that it can be sent to where the rows are. `within` keeps the part of it that concerns a range
of rows; `run` computes what parts give; `merge` adds what two neighbouring ranges gave.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from spfast.kernels import exp_linear
from spfast.kernels import gram as gram_kernels
from spfast.kernels.panels import add_panel_products, panel_tiles
from spfast.kernels.stop import raise_if_stopped
from spfast.kernels.team import Team
from spfast.reads.parts import Part

__all__ = ["Job", "Pass", "ValueGradient", "WeightedGram"]


class Job:
    """Work on some rows of a matrix.

    Attributes
    ----------
    rows : int64 array, shape (n_rows,)
        Rows of the matrix, increasing.
    """

    #: Arrays with an element for each row.
    PER_ROW = ("rows",)
    rows: np.ndarray

    @property
    def kind(self) -> Hashable:
        """Jobs of one kind run in one call."""
        return type(self), id(self)

    def within(self, begin: int, end: int) -> "Job":
        """The same job on those of its rows that are in a range; nothing is copied."""
        here = slice(*np.searchsorted(self.rows, (begin, end)))
        return replace(self, **{name: getattr(self, name)[here] for name in self.PER_ROW})

    @classmethod
    def run(
        cls, jobs: Sequence["Job"], design: np.ndarray, parts: Sequence[Part], team: Team
    ) -> Iterator[tuple[int, list]]:
        """Run jobs of one kind over parts of the matrix.

        Yields
        ------
        index : int
            Of the part.
        results : list
            What it gives, one a job.
        """
        raise NotImplementedError

    @staticmethod
    def merge(left: Any, right: Any) -> Any:
        """Add the results of two neighbouring ranges of rows; may write into the left one."""
        raise NotImplementedError


class Pass(NamedTuple):
    """Result of `ValueGradient`.

    Attributes
    ----------
    value : float
        Half chi-squared; infinite where a prediction overflows.
    gradient : float64 array, shape (n_features,)
    eta : tuple of float64 array
        The linear predictors of the rows, part by part.
    """

    value: float
    gradient: np.ndarray
    eta: tuple


@dataclass(frozen=True, eq=False)
class ValueGradient(Job):
    """Half chi-squared, its gradient and the linear predictors (`spfast.kernels.exp_linear.value_gradient_segments`).

    Attributes
    ----------
    rows, parallax, ivar
        As there, float64 but for the rows.
    coef : float64 array, shape (n_features,)
    wide : int64 array
        Columns whose gradient is summed in float64 from the start.
    """

    PER_ROW = ("rows", "parallax", "ivar")
    rows: np.ndarray
    parallax: np.ndarray
    ivar: np.ndarray
    coef: np.ndarray
    wide: np.ndarray

    @property
    def kind(self) -> Hashable:
        return type(self), self.wide.tobytes()

    @classmethod
    def run(cls, jobs, design, parts, team):
        chunks, segments = _chunks_of(tuple(parts))
        starts = np.cumsum([0, *(job.rows.size for job in jobs)])
        begins, ends = (
            np.array([np.searchsorted(job.rows, edges) + at for job, at in zip(jobs, starts[:-1], strict=True)])
            for edges in chunks.T
        )
        rows, parallax, ivar = (
            np.concatenate([getattr(job, name) for job in jobs]) if len(jobs) > 1 else getattr(jobs[0], name)
            for name in cls.PER_ROW
        )
        eta, n_segments = np.empty(rows.size), len(segments) - 1
        values = np.empty((len(jobs), n_segments))
        gradients = np.empty((len(jobs), n_segments, design.shape[1]))
        of_rows = rows, begins, ends, np.array([job.coef for job in jobs]), jobs[0].wide, parallax, ivar, eta
        team.run(exp_linear.value_gradient_segments, n_segments, design, segments, *of_rows, values, gradients)
        at = 0
        for part in parts:
            here = slice(at, at + part.n_segments)
            at = here.stop
            bounds = zip(begins[:, segments[here.start]], ends[:, segments[here.stop] - 1], strict=True)
            # Each pass by itself, so that its sums are made alike in any company.
            yield (
                part.index,
                [
                    Pass(values[m, here].sum(), gradients[m, here].sum(axis=0), (eta[begin:end],))
                    for m, (begin, end) in enumerate(bounds)
                ],
            )

    @staticmethod
    def merge(left, right):
        left.gradient[:] += right.gradient
        return Pass(left.value + right.value, left.gradient, left.eta + right.eta)


@lru_cache(maxsize=256)
def _chunks_of(parts):
    """First and last row + 1 of every chunk of some parts (int64, shape (n_chunks, 2)); the chunk of each segment."""
    chunks, segments = [], [0]
    for part in parts:
        for segment in part.segments():
            chunks += segment
            segments.append(len(chunks))
    return np.array(chunks, dtype=np.int64), np.array(segments, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class WeightedGram(Job):
    """``Z.T diag(weights) Z``, with Z the directions of the unpenalised columns and what these leave of the others.

    Attributes
    ----------
    rows, weights
        As in `spfast.kernels.gram.gather_rows`; weights may be negative.
    unpenalized, whiten, columns, explained
        As there.
    begin : int
        Of the result, columns from here on are needed.
    """

    PER_ROW = ("rows", "weights")
    rows: np.ndarray
    weights: np.ndarray
    unpenalized: np.ndarray
    whiten: np.ndarray
    columns: np.ndarray
    explained: np.ndarray
    begin: int

    @classmethod
    def run(cls, jobs, design, parts, team):
        (job,) = jobs
        size, dtype = job.whiten.shape[1] + job.columns.size, job.explained.dtype
        block = gram_kernels.new_block(size, job.rows.size, dtype)
        n_panels, n_block, width = block.shape
        tiles = panel_tiles(job.begin, size)
        for part in parts:
            here = job.within(part.begin, part.end)
            raw = np.zeros((n_panels * width, n_panels * width), dtype=dtype)
            for of_sign, sign in ((here.weights > 0.0, 1), (here.weights < 0.0, -1)):
                rows, weights = here.rows[of_sign], np.abs(here.weights[of_sign])
                for start in range(0, rows.size, n_block):
                    raise_if_stopped()
                    some = slice(start, start + n_block)
                    depth = rows[some].size
                    columns = job.unpenalized, job.whiten, job.columns, job.explained
                    team.run(gram_kernels.gather_rows, depth, design, rows[some], weights[some], *columns, block)
                    team.run(add_panel_products, len(tiles), block, depth, tiles, dtype.type(sign), raw)
            yield part.index, [raw]

    @staticmethod
    def merge(left, right):
        left += right
        return left
