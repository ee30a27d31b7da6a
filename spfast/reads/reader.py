"""Who reads the matrix: each read walks its parts once and does all that its callers wait for.

Fits that run side by side on a matrix larger than memory wait for each other: once all of them want a read, one of them
makes it for all (`side_by_side`). What each of them gets has the same bits as if it had read alone.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from spfast.kernels import team as teams
from spfast.kernels.stop import raise_if_stopped
from spfast.kernels.team import Team
from spfast.reads.ahead import ask_for, is_sparse, reading_ahead
from spfast.reads.jobs import Job
from spfast.reads.memory import memory_limit
from spfast.reads.meter import METER
from spfast.reads.parts import Part, Tree, parts_of

__all__ = [
    *("Reader", "SharedReader", "read_values", "reader_of", "run_jobs", "shares_reads"),
    *("side_by_side", "this_reader", "use_reader"),
]

#: A matrix larger than this share of the memory is read part by part, and read for several callers at once.
_MEMORY_SHARE = 0.5
#: Parts of a matrix in memory that are walked in one go.
_AT_ONCE = 8
#: Seconds after which a caller that waits looks whether its work is still wanted.
_LOOK = 0.2
_OF_THREAD = threading.local()


class Reader:
    """Reads for one caller, with the threads of a team.

    Parameters
    ----------
    team : Team
    """

    def __init__(self, team: Team):
        self.team, self._forwards = team, True

    def read(self, design: np.ndarray, job: Job) -> Any:
        """Do a job; returns what all parts of the matrix give, added.

        Parameters
        ----------
        design : float32 or float64 array, C order, shape (n_stars, n_features)
        job : Job
        """
        return self._read(design, [job])[0]

    def _read(self, design, jobs):
        """Do several jobs in one read."""
        parts = parts_of(len(design), design[:1].nbytes)
        trees = [Tree(len(parts), job.merge) for job in jobs]
        is_large = is_larger_than_memory(design)
        if is_large:
            # There and back again: what was read last is still in memory.
            order = parts if self._forwards else parts[::-1]
            self._forwards = not self._forwards
            needed = np.zeros(len(design), dtype=bool)
            for job in jobs:
                needed[job.rows] = True
            walk = reading_ahead(design, [[part] for part in order], needed)
        else:
            walk = nullcontext([parts[at : at + _AT_ONCE] for at in range(0, len(parts), _AT_ONCE)])
        begin = time.perf_counter()
        with walk as batches:
            for batch in batches:
                raise_if_stopped()
                for at, index, result in run_jobs(jobs, design, batch, self.team):
                    trees[at].add(index, result)
                if is_large:
                    (part,), now = batch, time.perf_counter()
                    rows = needed[part.begin : part.end]
                    n_rows = np.count_nonzero(rows) if is_sparse(needed, part) else rows.size
                    METER.add(n_rows * design[:1].nbytes, n_rows / len(design), now - begin, len(jobs))
                    begin = now
        return [tree.total for tree in trees]


def run_jobs(
    jobs: Sequence[Job], design: np.ndarray, parts: Sequence[Part], team: Team
) -> Iterator[tuple[int, int, Any]]:
    """Run jobs over parts of a matrix, those of one kind in one call.

    Yields
    ------
    at, index : int
        Which job, which part.
    result
    """
    kinds = {}
    for at, job in enumerate(jobs):
        kinds.setdefault(job.kind, []).append(at)
    for which in kinds.values():
        some = [jobs[at] for at in which]
        for index, results in type(some[0]).run(some, design, parts, team):
            for at, result in zip(which, results, strict=True):
                yield at, index, result


class SharedReader(Reader):
    """Reads for several callers at once: a read begins when each of them waits for one.

    Parameters
    ----------
    team : Team
    """

    def __init__(self, team: Team):
        super().__init__(team)
        self._change = threading.Condition()
        self._n_callers, self._waiting, self._is_reading = 0, [], False

    def enter(self, n_callers: int) -> None:
        """Wait for so many more callers (fewer if negative) from now on."""
        with self._change:
            self._n_callers += n_callers
            self._change.notify_all()

    def is_shared(self, design: np.ndarray) -> bool:
        """Whether reads of a matrix cost so much that callers wait for each other."""
        return is_larger_than_memory(design)

    def read(self, design: np.ndarray, job: Job) -> Any:
        """Do a job once all callers wait for theirs; at once if the matrix is in memory."""
        if not self.is_shared(design):
            return Reader(self.team).read(design, job)
        mine = _Wish(design, job)
        with self._change:
            self._waiting.append(mine)
            self._change.notify_all()
        while True:
            with self._change:
                if mine.is_done:
                    break
                if self._is_reading or len(self._waiting) < self._n_callers:
                    self._change.wait(_LOOK)
                    wishes = None
                else:
                    wishes, self._waiting, self._is_reading = self._waiting, [], True
            if wishes is None:
                self._give_up_if_stopped(mine)
            else:
                self._fulfil(wishes)
        if mine.error is not None:
            raise mine.error
        return mine.result

    def _give_up_if_stopped(self, mine):
        try:
            raise_if_stopped()
        except BaseException:
            with self._change:
                if mine in self._waiting:
                    self._waiting.remove(mine)
            raise

    def _fulfil(self, wishes):
        try:
            matrices = {}
            for wish in wishes:
                # Each caller has a view of its own.
                where = wish.design.ctypes.data, wish.design.shape, wish.design.dtype
                matrices.setdefault(where, []).append(wish)
            for some in matrices.values():
                results = self._read(some[0].design, [wish.job for wish in some])
                for wish, result in zip(some, results, strict=True):
                    wish.result = result
        except BaseException as error:  # noqa: BLE001 - each of the callers raises it
            for wish in wishes:
                wish.error = error
        finally:
            with self._change:
                for wish in wishes:
                    wish.is_done = True
                self._is_reading = False
                self._change.notify_all()


class _Wish:
    """A job that waits for a read."""

    def __init__(self, design, job):
        self.design, self.job = design, job
        self.result, self.error, self.is_done = None, None, False


def is_larger_than_memory(design: np.ndarray) -> bool:
    """Whether a matrix is too large to stay in memory from one read to the next."""
    return design.nbytes > _MEMORY_SHARE * memory_limit()


def read_values(design: np.ndarray, rows: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
    """Return some rows of a matrix, or some columns of these; of a large one nothing else is read.

    Parameters
    ----------
    design : array, shape (n_stars, n_features)
    rows : int64 array, shape (n_rows,)
    columns : int64 array, optional
    """
    if is_larger_than_memory(design) and (columns is None or columns.size):
        first, last = (0, design.shape[1] - 1) if columns is None else (columns.min(), columns.max())
        ask_for(design, rows, first, last)
    return design[rows] if columns is None else design[rows[:, None], columns]


def shares_reads(design: np.ndarray) -> bool:
    """Whether jobs that run `side_by_side` share their reads of a matrix."""
    return this_reader() is not None or is_larger_than_memory(design)


def reader_of(team: Team) -> Reader:
    """The reader of this thread: the one that it shares with others, or one of its own."""
    shared = this_reader()
    return Reader(team) if shared is None else shared


def this_reader() -> SharedReader | None:
    """The reader that this thread shares with others."""
    return getattr(_OF_THREAD, "reader", None)


@contextmanager
def use_reader(reader: SharedReader) -> Iterator[None]:
    """This thread and those that it starts side by side read with this reader."""
    before = this_reader()
    reader.enter(1)
    _OF_THREAD.reader = reader
    try:
        yield
    finally:
        _OF_THREAD.reader = before
        reader.enter(-1)


def side_by_side(jobs: Sequence[Callable[[int], Any]], design: np.ndarray, threads: int | None = None) -> list:
    """Run independent jobs at once, as `spfast.kernels.team.side_by_side`; they share reads of a large matrix.

    Parameters
    ----------
    jobs : sequence of callable
        Each takes the number of threads it may use.
    design : array
        What they read.
    threads : int, optional
    """
    if not shares_reads(design):
        return teams.side_by_side(jobs, threads)
    shared = this_reader()
    if shared is not None:
        with _aside(shared, len(jobs)):
            return teams.side_by_side([_member(shared, job) for job in jobs], threads, at_once=len(jobs))
    with Team(threads) as team:
        shared = SharedReader(team)
        shared.enter(len(jobs))
        return teams.side_by_side([_member(shared, job) for job in jobs], threads, at_once=len(jobs))


@contextmanager
def _aside(shared: SharedReader, n_callers: int) -> Iterator[None]:
    """This thread waits for others, which read in its place."""
    shared.enter(n_callers - 1)
    try:
        yield
    finally:
        shared.enter(1)


def _member(shared, job):
    def run(threads):
        before = this_reader()
        _OF_THREAD.reader = shared
        try:
            return job(threads)
        finally:
            _OF_THREAD.reader = before
            shared.enter(-1)

    return run
