"""The long step of an ingest: several processes normalise all spectra, and a journal lets it go on after a stop."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np

import spfast
from spfast.data.spectra.chunk import LN_FLUX, LN_FLUX_ERROR, ChunkNormalizer
from spfast.data.spectra.continuum import chip_pixels
from spfast.errors import BadInputError
from spfast.files import RecordFile, put_on_disk, reserve
from spfast.progress import Progress

__all__ = ["Journal", "NormalizedSpectra", "normalize_spectra", "read_normalized"]

#: Spectra in one chunk: 4 MB when normalised.
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
        Folder of the raw files.
    """

    def __init__(self, work):
        self.work = Path(work)
        self._file = RecordFile(self.work / "journal.jsonl")

    def read(self):
        """Return the first record (dict or None) and the chunks' records (list of dict); none without the raw files."""
        head, *records = self._file.read() or [None]
        raw = [self.work / name for name in (LN_FLUX, LN_FLUX_ERROR)]
        there = head is not None and all(path.is_file() and path.stat().st_size == head["n_bytes"] for path in raw)
        return (head, records) if there else (None, [])

    def begin(self, head, n_spectra):
        """Start a build: make the raw files, then the journal."""
        self.work.mkdir(parents=True)
        n_bytes = n_spectra * chip_pixels().size * 4
        for name in (LN_FLUX, LN_FLUX_ERROR):
            reserve(self.work / name, n_bytes)
        self._file.begin({**head, "n_bytes": n_bytes})

    def add(self, records):
        """Force the raw files to the disk, and only then record what is in them."""
        if not records:
            return
        for name in (LN_FLUX, LN_FLUX_ERROR):
            put_on_disk(self.work / name)
        self._file.append(records)


class NormalizedSpectra:
    """What the records of all chunks say about the normalised spectra.

    Parameters
    ----------
    records : list of dict
    n_spectra : int

    Attributes
    ----------
    n_bad : int32 array, shape (n_spectra,)
        Bad pixels of each.
    failures : dict of int to str
        Why a spectrum could not be normalised.
    usable : bool array, shape (7451,)
        Pixels that are good in at least one spectrum.
    n_unnormalized : int
        Spectra that were not near 1 in their files (apStar).
    """

    def __init__(self, records, n_spectra):
        n_pixels = chip_pixels().size
        self.n_bad, self.failures = np.zeros(n_spectra, np.int32), {}
        self.usable, self.n_unnormalized = np.zeros(n_pixels, bool), 0
        for record in records:
            start = record["start"]
            self.n_bad[start : start + record["n"]] = record["n_bad"]
            self.failures.update((start + i, reason) for i, reason in record["failed"])
            bits = np.frombuffer(bytes.fromhex(record["usable"]), np.uint8)
            self.usable |= np.unpackbits(bits, count=n_pixels).astype(bool)
            self.n_unnormalized += record["n_unnormalized"]


def read_normalized(work, start, stop):
    """Read ln flux and its error of normalised spectra (two float32 arrays, shape (stop - start, 7451)).

    They are read, not mapped, so that they do not stay in memory.
    """
    n_pixels = chip_pixels().size
    where = {"dtype": np.float32, "count": (stop - start) * n_pixels, "offset": start * n_pixels * 4}
    return [np.fromfile(Path(work) / name, **where).reshape(-1, n_pixels) for name in (LN_FLUX, LN_FLUX_ERROR)]


def normalize_spectra(job, paths, journal, threads, quiet):
    """Normalise every spectrum that the journal does not have yet.

    Parameters
    ----------
    job : dict
        As `ChunkNormalizer` takes it.
    paths : list of str
        Spectrum files, relative to the job's root.
    journal : Journal
    threads : int
        Processes to use, at most. With 1, or with few spectra, this process does the work.
    quiet : bool

    Returns
    -------
    results : NormalizedSpectra
    """
    records = journal.read()[1]
    done = {record["start"] for record in records}
    starts = [start for start in range(0, len(paths), CHUNK) if start not in done]
    fresh, last = [], time.monotonic()
    try:
        with Progress("ingest", len(paths), quiet) as progress:
            progress.advance(sum(record["n"] for record in records))
            for record in _serve(job, [(start, paths[start : start + CHUNK]) for start in starts], threads):
                fresh.append(record)
                records.append(record)
                progress.advance(record["n"])
                if time.monotonic() - last > _SYNC_INTERVAL:
                    journal.add(fresh)
                    fresh, last = [], time.monotonic()
    finally:
        journal.add(fresh)
    return NormalizedSpectra(records, len(paths))


def _serve(job, chunks, threads):
    """Yield the chunks' records as they come."""
    threads = min(threads, len(chunks) // _CHUNKS_PER_PROCESS)
    if threads <= 1:
        normalizer = ChunkNormalizer(job)
        try:
            for start, paths in chunks:
                yield normalizer.normalize(start, paths)
        finally:
            normalizer.close()
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
        return local.worker.normalize(*chunk)

    pool = ThreadPoolExecutor(threads)
    try:
        pending = {pool.submit(run, chunk) for _, chunk in zip(range(2 * threads), queue, strict=False)}
        while pending:
            ready, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in ready:
                pending |= {pool.submit(run, chunk) for _, chunk in zip(range(1), queue, strict=False)}
                yield future.result()
    finally:
        stop.set()
        pool.shutdown(wait=True)
        for worker in workers:
            worker.close()


class _Worker:
    """A process of its own that runs `spfast.data.spectra.chunk`.

    `multiprocessing` will not do. Children that it spawns run the caller's main script again, which breaks a script
    without a guard, or one that came by standard input; children that it forks inherit threads of numba and BLAS.
    """

    def __init__(self, job):
        package = str(Path(spfast.__file__).resolve().parents[1])
        path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH", "")]))
        self._process = subprocess.Popen(
            # -P: modules in the current folder, which may be a download, are not imported.
            [sys.executable, "-P", "-m", "spfast.data.spectra.chunk"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is for the parent; the worker ends when its input does
        )
        self._send(job)

    def normalize(self, start, paths):
        self._send([start, paths])
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a worker process ended with code {self._process.wait()} at spectrum {start}")
        answer = json.loads(line)
        if "error" in answer:
            raise BadInputError(answer["error"])
        return answer

    def _send(self, message):
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise RuntimeError(f"a worker process ended with code {self._process.wait()}") from None

    def close(self):
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
