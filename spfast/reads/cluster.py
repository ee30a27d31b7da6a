"""Reads by the workers of a cluster (extra ``dask``): each worker's share of the matrix is a task, sums are tasks too.

Arrays do not travel: workers open them by path on a disk that they share with this process. What travels is a path, and
the sums that come back. A task can be repeated, so that a lost worker costs time and nothing else. Its parts and the
tree of its sums are those of `spfast.reads.parts`, so that a read has the same bits as one by this process.
"""

import contextlib
import itertools
import logging
import os
import signal
import time
import warnings
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import numpy as np

from spfast.errors import BadInputError, SpfastError, SpfastWarning
from spfast.kernels.stop import raise_if_stopped
from spfast.kernels.team import Team, resolve_threads
from spfast.reads import tasks
from spfast.reads.by_path import ArrayFiles
from spfast.reads.meter import METER
from spfast.reads.parts import Tree, parts_of
from spfast.reads.reader import SharedReader, this_reader, use_reader

__all__ = ["ClusterReader", "on_cluster", "this_cluster"]

#: Bytes of a matrix that is worth a round through the scheduler: this process reads smaller ones in the same time.
_WORTH_SENDING = 1 << 26
#: A word and a number of processes, in place of an address.
_LOCAL = "local:"
#: How the name of a scheduler file ends.
_SCHEDULER_FILE = ".json"
#: Seconds that a scheduler has to answer, and that the first worker has to come or a lost one to come back.
_ANSWER, _PATIENCE = 20.0, 60.0
#: Seconds after which who waits looks whether the work is still wanted and the cluster still there.
_LOOK = 0.5
#: Seconds for which a list of workers is believed.
_BELIEVED = 5.0
#: What to do about a lost cluster: no output is half-written, and ingest and tune keep what they have.
_AGAIN = "run the same command again: it goes on from what is done"
#: Items of a stream that are under way, for each thread of the workers: one in work, one that waits.
_AHEAD = 2
#: Times that a task may fail, as by a disk that does not answer; workers that are lost do not count.
_RETRIES = 2


class ClusterReader(SharedReader):
    """Reads for callers of this process, by the workers of a cluster.

    Parameters
    ----------
    team : Team
        That reads small matrices here.
    client : distributed.Client
    files : ArrayFiles
        On a disk that the workers share.
    """

    def __init__(self, team: Team, client, files: ArrayFiles):
        super().__init__(team)
        self._client, self._files, self._versions = client, files, tasks.identity().versions
        self._workers, self._asked = {}, -_BELIEVED
        self._check_workers()

    def is_shared(self, design):
        """Whether a matrix is worth a round through the scheduler."""
        return design.nbytes >= _WORTH_SENDING

    def _read(self, design, jobs):
        import dask

        parts, begin = parts_of(len(design), design[:1].nbytes), time.perf_counter()
        place, packed = self._files.matrix(design), self._files.pack(jobs)
        run, merge = (dask.delayed(task, pure=False, traverse=False) for task in (tasks.run_share, tasks.merge_results))
        kinds = [type(job) for job in jobs]
        with self._in_one_line():
            shares = tasks.share_out(parts, self._known_workers())
            tree = Tree(len(shares), lambda left, right: merge(kinds, left, right))
            for index, (worker, share) in enumerate(shares):
                with dask.annotate(workers=[worker], allow_other_workers=True, retries=_RETRIES):
                    tree.add(index, run(place, share, packed, self._versions))
            results = self._result(self._client.compute(tree.total, optimize_graph=False))
        METER.add(design.nbytes, 1.0, time.perf_counter() - begin, len(jobs))
        return results

    def stream(self, make: Callable[[Any, int], Callable], what: Any, items: Iterable[tuple]) -> Iterator[Any]:
        """Work on items by the workers, a few of them at a time, and yield what each gives in order.

        Parameters
        ----------
        make : callable
            ``make(what, threads)``, made once in each worker, is the function that is called with each item; ``make``
            can be imported by its name.
        what
        items : iterable of tuple

        Raises
        ------
        SpfastError
            If the cluster is lost.
        """
        packed, items, under_way = self._files.pack(what), iter(items), deque()
        with self._in_one_line():
            n_at_once = _AHEAD * sum(self._known_workers().values())
            while True:
                for item in itertools.islice(items, n_at_once - len(under_way)):
                    words = make, packed, item, self._versions
                    under_way.append(self._client.submit(tasks.run_item, *words, pure=False, retries=_RETRIES))
                if not under_way:
                    return
                yield self._result(under_way.popleft())

    def _result(self, future):
        """What a task gives, once it is there."""
        from distributed import wait

        empty_since = None
        while True:
            try:
                with self._client.as_current():
                    wait(future, timeout=_LOOK)
                return self._client.gather(future, direct=True)
            except TimeoutError:
                raise_if_stopped()
                if self._known_workers(wait=False):
                    empty_since = None
                elif empty_since is None:
                    empty_since = time.monotonic()
                elif time.monotonic() - empty_since > _PATIENCE:
                    raise SpfastError(f"no worker of the cluster is left; {_AGAIN}, once there are") from None

    def _known_workers(self, wait=True):
        """Threads of each worker, by its address."""
        if time.monotonic() - self._asked > _BELIEVED:
            self._workers, self._asked = self._client.nthreads(), time.monotonic()
        if wait and not self._workers:
            self._asked = -_BELIEVED
            try:
                self._client.wait_for_workers(1, timeout=_PATIENCE)
            except TimeoutError:
                raise SpfastError(f"the cluster has no worker; {_AGAIN}, once there are") from None
            return self._known_workers()
        return self._workers

    def _check_workers(self):
        """Refuse workers with other versions; warn of processors that differ."""
        with self._in_one_line():
            self._known_workers()
            try:
                found = self._client.run(tasks.identity)
            except ImportError as error:
                raise BadInputError(
                    f"workers of the cluster cannot use spfast ({error}); start them from the same environment"
                ) from None
        for one in found.values():
            tasks.check_versions(self._versions, one.versions)
        processors = sorted({one.processor for one in found.values()})
        if len(processors) > 1:
            text = (
                f"workers have different processors ({', '.join(processors)}): last digits of a result depend on which "
                "of them reads what; NUMBA_CPU_NAME, the same for all, keeps them apart from that"
            )
            warnings.warn(text, SpfastWarning, 4)

    @contextlib.contextmanager
    def _in_one_line(self):
        """Say in one line what ended the cluster's work."""
        from distributed import KilledWorker
        from distributed.comm import CommClosedError

        try:
            yield
        except SpfastError:
            raise
        except KilledWorker as error:
            last = error.last_worker.address
            raise SpfastError(
                f"the workers of the cluster ended one after the other at one part of the matrix (the last: {last}); "
                f"did they run out of memory? {_AGAIN}"
            ) from None
        except (Exception, CancelledError) as error:
            is_lost = isinstance(error, CommClosedError | CancelledError) or self._client.status != "running"
            if not is_lost:
                raise
            raise SpfastError(f"the scheduler of the cluster is lost; {_AGAIN}") from None


def this_cluster(matrix: np.ndarray | None = None) -> ClusterReader | None:
    """The cluster that this thread works on, if a matrix is large enough for it."""
    reader = this_reader()
    if not isinstance(reader, ClusterReader):
        return None
    return reader if matrix is None or reader.is_shared(matrix) else None


@contextlib.contextmanager
def on_cluster(
    cluster: Any = None, folder: str | os.PathLike | None = None, threads: int | None = None
) -> Iterator[None]:
    """Let the workers of a cluster read the matrix, for all that this thread begins in the context.

    Parameters
    ----------
    cluster : distributed.Client, str or path-like, optional
        A client, the address of a scheduler, its scheduler file, or ``"local:4"`` for four processes of this machine.
        None: as outside of the context.
    folder : path-like, optional
        Where the workers find what is in memory here: on a disk that they share. The working folder by default.
    threads : int, optional
        That ``"local:..."`` shares among its processes; all processors by default.

    Raises
    ------
    BadInputError
        If there is no such cluster, or its workers have other versions of this package.
    SpfastError
        If no worker is there; from the context, if the cluster is lost.

    Examples
    --------
    >>> import spfast
    >>> with spfast.on_cluster("local:2"):  # doctest: +SKIP
    ...     catalog = spfast.make_catalog("survey/")
    """
    if cluster is None:
        yield
        return
    with (
        _client(cluster, threads) as client,
        ArrayFiles(Path.cwd() if folder is None else folder) as files,
        Team(threads) as team,
        use_reader(ClusterReader(team, client, files)),
    ):
        yield


@contextlib.contextmanager
def _client(cluster, threads):
    """A client of a cluster that is given in any way; what is made for it goes with it."""
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise BadInputError("a cluster needs dask; install it (pip install 'spfast[dask]')") from None

    if isinstance(cluster, Client):
        if cluster.asynchronous:
            raise BadInputError("cluster: got an asynchronous client, expected one without asynchronous=True")
        yield cluster
        return
    if not isinstance(cluster, str | os.PathLike):
        raise BadInputError(f"cluster: got {type(cluster).__name__}, expected a dask client, an address or 'local:N'")
    cluster = os.fspath(cluster)
    with contextlib.ExitStack() as held:
        held.enter_context(_silence())
        if cluster.startswith(_LOCAL):
            n_workers = _number_of(cluster)
            with _without_interrupts():
                cluster = LocalCluster(
                    n_workers=n_workers,
                    threads_per_worker=max(1, resolve_threads(threads) // n_workers),
                    memory_limit=0,  # pages of files would count
                    dashboard_address=":0",  # any port that is free
                    silence_logs=logging.CRITICAL,
                )
            held.enter_context(cluster)
        is_file = isinstance(cluster, str) and cluster.endswith(_SCHEDULER_FILE)
        until = time.monotonic() + _PATIENCE
        while is_file and not os.path.exists(cluster) and time.monotonic() < until:
            time.sleep(_LOOK)  # its scheduler was started at the same time
        try:
            client = Client(
                **{"scheduler_file" if is_file else "address": cluster}, timeout=_ANSWER, set_as_default=False
            )
        except (OSError, TimeoutError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise BadInputError(
                f"{cluster}: no scheduler of a cluster answers there ({reason}); expected an address such as "
                "tcp://node:8786, a scheduler file, or local:4"
            ) from None
        held.enter_context(client)
        yield client


def _number_of(cluster):
    number = cluster.removeprefix(_LOCAL)
    if not number.isdecimal() or int(number) < 1:
        raise BadInputError(f"{cluster}: expected a number of processes, as in local:4")
    return resolve_threads(int(number))


@contextlib.contextmanager
def _without_interrupts():
    """Threads and processes that begin here never see Ctrl-C: it is for this process, which ends them."""
    resource_tracker.ensure_running()  # its start, with the first process, would let signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _silence():
    """Keep what the engine has to tell of lost connections out of the terminal: this package says it in a line."""
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
