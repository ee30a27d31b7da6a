"""The long step of an ingest: several processes make rows of features, and a journal lets it go on after a stop."""

import contextlib
import itertools
import os
import pickle
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import spfast
from spfast.data.apogee import fits_library
from spfast.data.row_files import RowFiles
from spfast.data.spectra.chunk import FeatureRows, RowMaker
from spfast.data.spectra.continuum import chip_pixels
from spfast.data.spectra.serve import READY
from spfast.errors import BadInputError, SpfastError
from spfast.files import RecordFile
from spfast.progress import Progress
from spfast.reads.cluster import this_cluster

__all__ = ["Journal", "RowCounts", "row_job", "stream_rows", "write_rows"]

#: Spectra in one chunk: 4 MB of rows.
CHUNK = 64
#: A process takes a second or two to start: with fewer chunks than this it is not worth it.
_CHUNKS_PER_PROCESS = 24
#: Seconds after which finished chunks are forced to the disk and entered in the journal.
_SYNC_INTERVAL = 10.0


class Journal:
    """What an interrupted build has done: a first record says what is built, each further one is a finished chunk's.

    Parameters
    ----------
    work : Path
        Folder of the journal.

    Attributes
    ----------
    records : list of dict
        Of the chunks that `read` found from the first on, or of none after `begin`.
    """

    def __init__(self, work):
        self.work, self.records = Path(work), []
        self._file = RecordFile(self.work / "journal.jsonl")

    def read(self):
        """Return the first record (dict or None) and the records of chunks, from the first to one that is missing.

        A record counts only if it is one of ours. Whether its rows are whole `write_rows` finds out.
        """
        head, *records = self._file.read() or [None]
        self.records = []
        if not _is_head(head):
            return None, []
        found = {record["start"]: record for record in records if _is_record(record, head["n_spectra"])}
        for start in range(0, head["n_spectra"], CHUNK):
            if start not in found:
                break
            self.records.append(found[start])
        return head, self.records

    def begin(self, head, n_spectra):
        """Start a build."""
        self.work.mkdir(parents=True)
        self.records = []
        self._file.begin({**head, "n_spectra": n_spectra})

    def add(self, records, rows):
        """Force the rows to the disk, and only then record what is in them."""
        if records:
            rows.put_on_disk()
            self._file.append(records)


def _is_head(head):
    """Whether a journal's first record is one that `Journal.begin` wrote for a build of ours."""
    if not isinstance(head, dict) or not isinstance(head.get("fingerprint"), str):
        return False
    pixels = head.get("continuum", [])
    return isinstance(pixels, list) and all(map(_is_count, pixels)) and _is_count(head.get("n_spectra"))


def _is_record(record, n_spectra):
    """Whether a record is a chunk's as `_record` makes it: a right checksum of the line says no more."""
    if not isinstance(record, dict) or not all(_is_count(record.get(key)) for key in ("start", "n", "n_unnormalized")):
        return False
    start, n, n_bad, failed = (record.get(key) for key in ("start", "n", "n_bad", "failed"))
    return (
        start % CHUNK == 0
        and n == min(CHUNK, n_spectra - start)
        and record["n_unnormalized"] <= n
        and isinstance(failed, list)
        and all(_is_failure(entry, n) for entry in failed)
        and isinstance(n_bad, list)
        and len(n_bad) == n - len(dict(failed))
        and all(_is_count(count) and count <= chip_pixels().size for count in n_bad)
        and isinstance(record.get("checksums"), list)
    )


def _is_failure(entry, n):
    return (
        isinstance(entry, list) and len(entry) == 2 and _is_count(entry[0]) and entry[0] < n and type(entry[1]) is str
    )


def _is_count(value):
    return type(value) is int and value >= 0


def _record(chunk, checksums):
    """What the journal says of a chunk's rows (dict of plain values)."""
    return {
        "start": chunk.start,
        "n": chunk.n,
        "n_bad": chunk.n_bad.tolist(),
        "n_unnormalized": chunk.n_unnormalized,
        "failed": [[i, reason] for i, reason in chunk.failures.items()],
        "checksums": checksums,
    }


class RowCounts:
    """What the records of all chunks say about the spectra.

    Attributes
    ----------
    n_bad : int32 array, shape (n_spectra,)
        Bad pixels of each, among the layout's.
    failures : dict of int to str
        Why a spectrum could not be used.
    n_unnormalized : int
        Spectra that were not near 1 in their files (apStar).
    """

    def __init__(self, n_spectra):
        self.n_bad, self.failures, self.n_unnormalized = np.zeros(n_spectra, np.int32), {}, 0

    def add(self, record):
        """Count a chunk."""
        start, failed = record["start"], dict(record["failed"])
        good = start + np.setdiff1d(np.arange(record["n"]), list(failed))
        self.n_bad[good] = record["n_bad"]
        self.failures.update((start + i, reason) for i, reason in failed.items())
        self.n_unnormalized += record["n_unnormalized"]


def row_job(spectra, continuum_pixels, config, layout, factors):
    """What `RowMaker` is told (dict).

    Parameters
    ----------
    spectra : path-like
        Folder of the spectra.
    continuum_pixels : list of int
    config : Config
    layout : FeatureLayout
    factors : SpectrumFactors or None
        What bad pixels are estimated from.
    """
    return {
        "root": os.path.realpath(spectra),
        "continuum_pixels": continuum_pixels,
        "config": {name: config.to_dict()[name] for name in ("normalization", "features")},
        "library": fits_library(),
        "layout": layout,
        "factors": factors,
        "error_max": config.features.flux_error_max,
    }


def write_rows(
    job: dict,
    paths: list,
    magnitudes: tuple[np.ndarray, np.ndarray],
    journal: Journal,
    rows: RowFiles,
    threads: int,
    quiet: bool,
) -> RowCounts:
    """Make the rows of every spectrum that the journal does not have yet, and write each once.

    Parameters
    ----------
    job : dict
        As `RowMaker` takes it.
    paths : list
        Spectra, as `spfast.data.sdss5.spectra_to_read` returns them, relative to the job's root.
    magnitudes : tuple of float32 array, shape (n_spectra, n_magnitudes)
        The stars' magnitudes and their errors.
    journal : Journal
        Read or begun.
    rows : RowFiles
    threads : int
        Processes to use, at most. With 1, or with few spectra, this process does the work.
    quiet : bool

    Returns
    -------
    RowCounts
    """
    counts, first = RowCounts(len(paths)), 0
    if journal.records:
        with Progress("check the rows that are there", len(paths), quiet) as progress:
            for record in journal.records:
                good = first + np.setdiff1d(np.arange(record["n"]), list(dict(record["failed"])))
                own = tuple(values[good] for values in magnitudes)
                if not rows.take(good.size, record["checksums"], own):
                    break
                counts.add(record)
                first += record["n"]
                progress.advance(record["n"])
    fresh, last = [], time.monotonic()
    try:
        with (
            Progress("normalise spectra", len(paths), quiet) as progress,
            contextlib.closing(stream_rows(job, paths, magnitudes, threads, first)) as chunks,
        ):
            progress.advance(first)
            for chunk in chunks:
                record = _record(chunk, rows.append(chunk))
                fresh.append(record)
                counts.add(record)
                progress.advance(chunk.n)
                if time.monotonic() - last > _SYNC_INTERVAL:
                    journal.add(fresh, rows)
                    fresh, last = [], time.monotonic()
    finally:
        journal.add(fresh, rows)
    return counts


def stream_rows(
    job: dict, paths: list, magnitudes: tuple[np.ndarray, np.ndarray], threads: int, first: int = 0
) -> Iterator[FeatureRows]:
    """Make the rows of spectra, a chunk at a time and in their order; nothing is kept of them.

    Parameters
    ----------
    job, paths, magnitudes, threads
        As for `write_rows`.
    first : int
        The spectrum to begin with.

    Raises
    ------
    BadInputError
        If a file that was there is gone.
    """
    starts = range(first, len(paths), CHUNK)
    parts = ((start, slice(start, start + CHUNK)) for start in starts)
    chunks = ((start, paths[part], tuple(values[part] for values in magnitudes)) for start, part in parts)
    yield from _serve(job, chunks, _processes(threads, len(starts)))


def _processes(threads, n_chunks):
    """How many processes are worth their start; a program that has Python built in has none to start."""
    return max(min(threads, n_chunks // _CHUNKS_PER_PROCESS), 1) if sys.executable else 1


def _serve(job, chunks, threads):
    """Yield the chunks' rows in order."""
    cluster = this_cluster()
    if cluster is not None:
        yield from cluster.stream(_maker, job, chunks)
        return
    if threads <= 1:
        maker = RowMaker(job)
        for chunk in chunks:
            yield maker.make(*chunk)
        return
    stop = threading.Event()
    queue = iter(chunks)
    local, workers = threading.local(), []

    def run(chunk):
        if stop.is_set():
            return None
        if not hasattr(local, "worker"):
            local.worker = _Worker(job)
            workers.append(local.worker)
            if stop.is_set():  # meanwhile, and nobody else ends this one
                return None
        return local.worker.make(*chunk)

    pool = ThreadPoolExecutor(threads)
    try:
        pending = deque(pool.submit(run, chunk) for chunk in itertools.islice(queue, 2 * threads))
        while pending:
            rows = pending.popleft().result()
            pending.extend(pool.submit(run, chunk) for chunk in itertools.islice(queue, 1))
            yield rows
    except BaseException:
        # A chunk can take seconds. What it made is in no journal and will be made again.
        stop.set()
        for worker in workers:
            worker.kill()
        raise
    finally:
        stop.set()
        pool.shutdown(wait=True)
        for worker in workers:
            worker.close()


def _maker(job, threads):
    """What a worker of a cluster calls with each chunk."""
    return RowMaker(job).make


class _Worker:
    """A process of its own that runs `spfast.data.spectra.serve`.

    `multiprocessing` will not do. Children that it spawns run the caller's main script again, which breaks a script
    without a guard, or one that came by standard input; children that it forks inherit threads of numba and BLAS.
    """

    def __init__(self, job):
        package = str(Path(spfast.__file__).resolve().parents[1])
        path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH", "")]))
        try:
            self._process = subprocess.Popen(
                # -P: modules in the current folder, which may be a download, are not imported.
                [sys.executable, "-P", "-m", "spfast.data.spectra.serve"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C is for the parent; the worker ends when its input does
            )
        except OSError as error:
            raise BadInputError(
                f"a worker process cannot be started ({error.strerror}); use one with --threads 1, it goes on from here"
            ) from None
        self._is_ready = False
        self._send(job)

    def make(self, start, paths, magnitudes):
        """As `RowMaker.make`."""
        self._send((start, paths, magnitudes))
        try:
            while not self._is_ready:  # what the site's own start-up files print comes first
                line = self._process.stdout.readline()
                if not line:
                    raise EOFError
                self._is_ready = line.endswith(READY)
            answer = pickle.load(self._process.stdout)
        except (EOFError, pickle.UnpicklingError):
            raise self._ended(f" at spectrum {start}") from None
        if isinstance(answer, BadInputError):
            raise answer
        return answer

    def _send(self, message):
        try:
            pickle.dump(message, self._process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def _ended(self, where=""):
        code = self._process.wait()
        how, advice = f"ended with code {code}", ""
        if code < 0:
            how = f"was ended by signal {-code}"
            advice = ", with fewer --threads if the machine ran out of memory"
        return SpfastError(f"a worker process {how}{where}; run the same command again: it goes on from here{advice}")

    def kill(self):
        """End the process at once: nobody waits for what it does."""
        self._process.kill()

    def close(self):
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
