"""What a worker of a cluster does for a read: pure functions of places and plain values, which may be repeated."""

import copy
import math
import mmap
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numba
import numpy as np

from spfast import __version__
from spfast.blas import one_blas_thread
from spfast.errors import BadInputError
from spfast.kernels.team import Team
from spfast.reads.by_path import Place, open_place, unpack
from spfast.reads.jobs import Job
from spfast.reads.parts import Part, Tree
from spfast.reads.reader import run_jobs

__all__ = ["Identity", "check_versions", "identity", "merge_results", "run_item", "run_share", "share_out"]

#: A worker with several threads gives all of them to one share after the other.
_ONE_SHARE = threading.Lock()
#: Share of the workers' time that is used, at least, if there are parts enough.
_EVEN = 0.9


class Identity(NamedTuple):
    """What has to be the same everywhere for a sum to have the same bits.

    Attributes
    ----------
    versions : tuple of (str, str)
        Packages and their versions.
    processor : str
        What numba compiles for.
    """

    versions: tuple
    processor: str


@cache
def identity() -> Identity:
    """That of this process."""
    from llvmlite.binding import get_host_cpu_name

    versions = ("spfast", __version__), ("numba", numba.__version__), ("numpy", np.__version__)
    return Identity(versions, numba.config.CPU_NAME or get_host_cpu_name())


def run_share(place: Place, parts: Sequence[Part], jobs: bytes | Place, versions: tuple) -> list:
    """Do jobs on a share of a matrix.

    Parameters
    ----------
    place : Place
        Of the matrix.
    parts : sequence of Part
        A node of the tree of sums.
    jobs : bytes or Place
        From `spfast.reads.by_path.ArrayFiles.pack`.
    versions : tuple
        Of whoever asks.

    Returns
    -------
    list
        What the parts give, added, one a job.
    """
    check_versions(versions, identity().versions)
    threads, is_limited = _settings()
    first, last = parts[0], parts[-1]
    with _ONE_SHARE, one_blas_thread(), Team(threads) as team:
        matrix = open_place(place)
        mine = [_own(job.within(first.begin, last.end)) for job in unpack(jobs)]
        trees = [Tree(len(parts), job.merge) for job in mine]
        for part in parts:
            for at, index, result in run_jobs(mine, matrix.array, [part], team):
                trees[at].add(index - first.index, result)
            if is_limited:
                # Pages of the file count as the worker's memory while it has them mapped. They stay in the machine's.
                matrix.map.madvise(mmap.MADV_DONTNEED)
    return [tree.total for tree in trees]


def merge_results(kinds: Sequence[type[Job]], left: list, right: list) -> list:
    """Add the results of jobs in two neighbouring ranges of rows; leaves both as they are."""
    # The worker keeps the left ones, and makes this sum again if another one that needed it was lost.
    return [kind.merge(copy.deepcopy(a), b) for kind, a, b in zip(kinds, left, right, strict=True)]


def run_item(make: Callable[[Any, int], Callable], what: bytes | Place, item: tuple, versions: tuple) -> Any:
    """Work on an item of a stream.

    Parameters
    ----------
    make : callable
        Of ``what``, as it was packed, and the worker's threads; it makes the function that is called with the item.
    what : bytes or Place
    item : tuple
    versions : tuple
        Of whoever asks.
    """
    check_versions(versions, identity().versions)
    with _ONE_SHARE, one_blas_thread():
        return _made(make, what, _settings()[0])(*item)


@lru_cache(maxsize=4)
def _made(make, what, threads):
    return make(unpack(what), threads)


def check_versions(here: tuple, there: tuple) -> None:
    """Refuse to work with other versions of what the bits depend on.

    Raises
    ------
    BadInputError
    """
    for (name, ours), (_, theirs) in zip(here, there, strict=True):
        if ours != theirs:
            raise BadInputError(
                f"the cluster has {name} {theirs}, this process {ours}; start the workers from the same environment"
            )


def _settings():
    """Threads of this worker, and whether its memory is watched."""
    from distributed import get_worker

    worker = get_worker()
    return worker.state.nthreads, bool(worker.memory_manager.memory_limit)


def _own(job: Job) -> Job:
    """The job with writable arrays of its own, the one kind that kernels are compiled for."""
    arrays = {name: value for name, value in vars(job).items() if isinstance(value, np.ndarray)}
    read_only = {name: value.copy(order="K") for name, value in arrays.items() if not value.flags.writeable}
    return replace(job, **read_only) if read_only else job


def share_out(parts: Sequence[Part], workers: dict[str, int]) -> list[tuple[str, Sequence[Part]]]:
    """Share the parts of a matrix among workers, one share each if they are a power of two, else as evenly as it goes.

    Parameters
    ----------
    parts : sequence of Part
        A power of two of them.
    workers : dict
        Threads of each, by its address.

    Returns
    -------
    list of (str, sequence of Part)
        Shares in order, each a node of the tree of sums, and the worker that it is meant for: always the same one,
        whose machine has its pages in memory. Neighbours are on one machine.

    Examples
    --------
    >>> from spfast.reads.parts import parts_of
    >>> from spfast.reads.tasks import share_out
    >>> [(worker, len(share)) for worker, share in share_out(parts_of(64, 8), {"tcp://b:1": 1, "tcp://a:1": 1})]
    [('tcp://a:1', 2), ('tcp://b:1', 2)]
    >>> [worker for worker, share in share_out(parts_of(64, 8), {"b": 2, "a": 4})]
    ['a', 'a', 'a', 'b']
    """
    unit = math.gcd(*workers.values())
    slots = [address for address, threads in sorted(workers.items()) for _ in range(threads // unit)]
    n_shares = 1
    while n_shares < len(parts) and n_shares < _EVEN * len(slots) * -(-n_shares // len(slots)):
        n_shares *= 2
    size = len(parts) // n_shares
    shares = [parts[at : at + size] for at in range(0, len(parts), size)]
    return [(slots[at * len(slots) // n_shares], share) for at, share in enumerate(shares)]
