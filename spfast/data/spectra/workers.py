"""The long step of an ingest: several processes normalise all spectra, and a journal lets it go on after a stop."""

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np

import spfast
from spfast.data.apogee import fits_library
from spfast.data.spectra.chunk import ANSWER, LN_FLUX, LN_FLUX_ERROR, ChunkNormalizer
from spfast.data.spectra.continuum import chip_pixels
from spfast.errors import BadInputError, SpfastError
from spfast.files import RecordFile, put_on_disk, reserve, writing
from spfast.progress import Progress

__all__ = [
    "Journal",
    "NormalizedSpectra",
    "normalize_spectra",
    "normalizer_job",
    "read_normalized",
    "stream_normalized",
]

#: Spectra in one chunk: 4 MB when normalised.
CHUNK = 64
#: A process takes a second or two to start: with fewer chunks than this it is not worth it.
_CHUNKS_PER_PROCESS = 24
#: Bytes of a spectrum in a raw file.
_ROW_BYTES = chip_pixels().size * 4
#: Seconds after which finished chunks are forced to the disk and entered in the journal.
_SYNC_INTERVAL = 10.0


class Journal:
    """What an interrupted build has done: a first record says what is built, each further one is a finished chunk's.

    Parameters
    ----------
    work : Path
        Folder of the raw files.

    Attributes
    ----------
    records : list of dict
        Of the chunks that `read` found whole, or of none after `begin`.
    """

    def __init__(self, work):
        self.work, self.records = Path(work), []
        self._file = RecordFile(self.work / "journal.jsonl")

    def read(self):
        """Return the first record (dict or None) and the records of chunks (list of dict); none without the raw files.

        A record counts only if it is one of ours and its rows in the raw files have its checksums: the chunk of any
        other is done again.
        """
        head, *records = self._file.read() or [None]
        self.records = []
        if not _is_head(head):
            return None, []
        raw = [self.work / name for name in (LN_FLUX, LN_FLUX_ERROR)]
        if not all(path.is_file() and path.stat().st_size == head["n_bytes"] for path in raw):
            return None, []
        n_spectra = head["n_bytes"] // _ROW_BYTES
        whole = {record["start"]: record for record in records if _is_record(record, n_spectra)}
        self.records = [record for record in whole.values() if self._has_rows(record)]
        return head, self.records

    def _has_rows(self, record):
        """Whether the rows of a chunk are in the raw files as they were written."""
        rows = read_normalized(self.work, record["start"], record["start"] + record["n"])
        return [zlib.crc32(values) for values in rows] == record["checksums"]

    def begin(self, head, n_spectra):
        """Start a build: make the raw files, then the journal."""
        self.work.mkdir(parents=True)
        self.records = []
        n_bytes = n_spectra * _ROW_BYTES
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


def _is_head(head):
    """Whether a journal's first record is one that `Journal.begin` wrote for a build of ours."""
    if not isinstance(head, dict) or not isinstance(head.get("fingerprint"), str) or not _is_count(head.get("n_bytes")):
        return False
    pixels = head.get("continuum", [])
    return isinstance(pixels, list) and all(map(_is_count, pixels)) and head["n_bytes"] % _ROW_BYTES == 0


def _is_record(record, n_spectra):
    """Whether a record is a chunk's as `ChunkNormalizer` makes it: a right checksum of the line says no more."""
    if not isinstance(record, dict) or not all(_is_count(record.get(key)) for key in ("start", "n", "n_unnormalized")):
        return False
    start, n, n_bad, failed = (record.get(key) for key in ("start", "n", "n_bad", "failed"))
    return (
        start % CHUNK == 0
        and n == min(CHUNK, n_spectra - start)
        and record["n_unnormalized"] <= n
        and isinstance(n_bad, list)
        and len(n_bad) == n
        and all(_is_count(count) and count <= chip_pixels().size for count in n_bad)
        and isinstance(failed, list)
        and all(_is_failure(entry, n) for entry in failed)
        and isinstance(record.get("usable"), str)
        and re.fullmatch(r"[0-9a-f]*", record["usable"]) is not None
        and len(record["usable"]) == 2 * -(-chip_pixels().size // 8)
    )


def _is_failure(entry, n):
    return (
        isinstance(entry, list) and len(entry) == 2 and _is_count(entry[0]) and entry[0] < n and type(entry[1]) is str
    )


def _is_count(value):
    return type(value) is int and value >= 0


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


def normalizer_job(spectra, work, continuum_pixels, config, counted=None):
    """What `ChunkNormalizer` is told (dict of plain values).

    Parameters
    ----------
    spectra : path-like
        Folder of the spectra.
    work : path-like
        Folder of the raw files.
    continuum_pixels : list of int
    config : Config
    counted : sequence of int, optional
        Grid indices of the pixels among which bad ones are counted; all by default.
    """
    return {
        "root": os.path.realpath(spectra),
        "work": str(work),
        "continuum_pixels": continuum_pixels,
        "config": {name: config.to_dict()[name] for name in ("normalization", "features")},
        "library": fits_library(),
        "counted": None if counted is None else [int(pixel) for pixel in counted],
    }


def normalize_spectra(job, paths, journal, threads, quiet):
    """Normalise every spectrum that the journal does not have yet.

    Parameters
    ----------
    job : dict
        As `ChunkNormalizer` takes it.
    paths : list
        Spectra, as `spfast.data.sdss5.spectra_to_read` returns them, relative to the job's root.
    journal : Journal
        Read or begun.
    threads : int
        Processes to use, at most. With 1, or with few spectra, this process does the work.
    quiet : bool

    Returns
    -------
    results : NormalizedSpectra
    """
    records = list(journal.records)
    done = {record["start"] for record in records}
    starts = [start for start in range(0, len(paths), CHUNK) if start not in done]
    fresh, last = [], time.monotonic()
    try:
        with Progress("ingest", len(paths), quiet) as progress:
            progress.advance(sum(record["n"] for record in records))
            chunks = [(start, paths[start : start + CHUNK]) for start in starts]
            for record in _serve(job, chunks, _processes(threads, len(chunks))):
                fresh.append(record)
                records.append(record)
                progress.advance(record["n"])
                if time.monotonic() - last > _SYNC_INTERVAL:
                    journal.add(fresh)
                    fresh, last = [], time.monotonic()
    finally:
        journal.add(fresh)
    return NormalizedSpectra(records, len(paths))


def stream_normalized(job, paths, threads):
    """Normalise every spectrum, and keep on the disk only those that are at work.

    Parameters
    ----------
    job, paths, threads
        As for `normalize_spectra`; the job's folder of raw files is empty.

    Yields
    ------
    start : int
        Of a chunk of spectra: where it begins in ``paths``. Chunks come as they are ready, in any order.
    record : dict
        As `ChunkNormalizer.normalize` returns it; its ``start`` is another.
    ln_flux, ln_flux_error : float32 array, shape (n, 7451)

    Raises
    ------
    BadInputError
        If a file that was there is gone, or the raw files cannot be written.
    """
    threads = _processes(threads, -(-len(paths) // CHUNK))
    # As many as `_serve` takes before it gives one back.
    slots = {slot * CHUNK: None for slot in range(2 * threads + 1)}
    work = Path(job["work"])
    for name in (LN_FLUX, LN_FLUX_ERROR):
        with writing(work / name):
            reserve(work / name, len(slots) * CHUNK * _ROW_BYTES)

    def chunks():
        for start in range(0, len(paths), CHUNK):
            slot = next(slot for slot, holds in slots.items() if holds is None)
            slots[slot] = start
            yield slot, paths[start : start + CHUNK]

    for record in _serve(job, chunks(), threads):
        slot = record["start"]
        spectra = read_normalized(work, slot, slot + record["n"])
        start, slots[slot] = slots[slot], None
        yield start, record, *spectra


def _processes(threads, n_chunks):
    """How many processes are worth their start; a program that has Python built in has none to start."""
    return max(min(threads, n_chunks // _CHUNKS_PER_PROCESS), 1) if sys.executable else 1


def _serve(job, chunks, threads):
    """Yield the chunks' records as they come."""
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
            if stop.is_set():  # meanwhile, and nobody else ends this one
                return None
        return local.worker.normalize(*chunk)

    pool = ThreadPoolExecutor(threads)
    try:
        pending = {pool.submit(run, chunk) for _, chunk in zip(range(2 * threads), queue, strict=False)}
        while pending:
            ready, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in ready:
                pending |= {pool.submit(run, chunk) for _, chunk in zip(range(1), queue, strict=False)}
                yield future.result()
    except BaseException:
        # A chunk can take seconds. What it wrote is in no journal and will be written again.
        stop.set()
        for worker in workers:
            worker.kill()
        raise
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
        try:
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
        except OSError as error:
            raise BadInputError(
                f"a worker process cannot be started ({error.strerror}); use one with --threads 1, it goes on from here"
            ) from None
        self._send(job)

    def normalize(self, start, paths):
        self._send([start, paths])
        line = self._process.stdout.readline()
        while line and not line.startswith(ANSWER):  # what the site's own start-up files print
            line = self._process.stdout.readline()
        if not line:
            raise self._ended(f" at spectrum {start}")
        answer = json.loads(line.removeprefix(ANSWER))
        if "error" in answer:
            raise BadInputError(answer["error"])
        return answer

    def _send(self, message):
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
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
