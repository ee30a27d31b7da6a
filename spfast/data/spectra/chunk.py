"""What one worker does with a chunk of spectrum files: read them, normalise them, write ln flux and its errors."""

import errno
import json
import os
import sys
import zlib
from pathlib import Path

import numpy as np

from spfast.config import load_config
from spfast.data.apogee import spectrum_reader
from spfast.data.sdss5 import read_mwm_star
from spfast.data.spectra.features import SpectrumFeatures
from spfast.errors import BadInputError
from spfast.files import writing

#: Raw float32 arrays, one row of 7451 pixels for each star.
LN_FLUX, LN_FLUX_ERROR = "ln_flux.f32", "ln_flux_error.f32"

#: Begins each line that a worker answers.
ANSWER = "spfast:"


class ChunkNormalizer:
    """Reads spectra, normalises them and writes the result into the two raw files.

    Parameters
    ----------
    job : dict
        ``root`` (folder of spectra), ``work`` (folder of the raw files, which exist), ``continuum_pixels``, ``config``
        (its sections ``normalization`` and ``features``), ``library`` and ``counted`` (grid indices of the pixels among
        which bad ones are counted, all by default); plain values, so that it travels as JSON.
    """

    def __init__(self, job):
        self._root, work = job["root"], Path(job["work"])
        self._features = SpectrumFeatures(job["continuum_pixels"], load_config(overrides=job["config"]))
        self._read = spectrum_reader(job["library"])
        counted = job.get("counted")
        self._counted = np.ones(self._features.pixels.size, bool)
        if counted is not None:
            self._counted = np.isin(self._features.pixels, counted)
        self._buffer = np.zeros((2, 0, self._features.pixels.size), np.float32)
        # Written by seek, not through a memory map: pages of a map would count as this process's memory.
        self._files = [open(work / name, "r+b", buffering=0) for name in (LN_FLUX, LN_FLUX_ERROR)]  # noqa: SIM115

    def close(self):
        for file in self._files:
            file.close()

    def normalize(self, start, paths):
        """Normalise one chunk of spectra and write it as the rows ``start``, ``start + 1``, ... of the raw files.

        Parameters
        ----------
        start : int
        paths : list
            Relative to the root, as `spfast.data.sdss5.spectra_to_read` returns them.

        Returns
        -------
        record : dict
            ``start``, ``n``, ``n_bad`` (bad pixels of each spectrum among those counted), ``n_unnormalized`` (apStar
            spectra among them), ``failed`` (index within the chunk, reason), ``usable`` (pixels good in at least one
            spectrum, packed bits in hex) and ``checksums`` (of its rows in either raw file); plain values.

        Raises
        ------
        BadInputError
            If a file that was there is gone, the system cannot read it, or the raw files cannot be written.
        """
        features = self._features
        usable = np.zeros(features.pixels.size, bool)
        if len(paths) > self._buffer.shape[1]:
            self._buffer = np.zeros((2, len(paths), features.pixels.size), np.float32)
        ln_flux, ln_flux_error = self._buffer[:, : len(paths)]
        n_bad, failed, n_unnormalized = [0] * len(paths), [], 0
        for i, path in enumerate(paths):
            path, *row = [path] if isinstance(path, str) else path
            path = os.path.join(self._root, path)
            try:
                spectrum = read_mwm_star(path, *row) if row else self._read(path)
            except BadInputError as error:
                if _is_out_of_reach(path, error):
                    raise
                failed.append([i, str(error).removeprefix(f"{path}: ")])
                continue
            features.reset_usable()
            _, failure = features.row(
                spectrum.flux,
                spectrum.flux_error,
                ln_flux[i],
                ln_flux_error[i],
                spectrum.pixel_mask,
                spectrum.normalized,
            )
            n_unnormalized += not spectrum.normalized
            if failure:
                failed.append([i, failure])
            else:
                good = features.usable
                usable |= good
                n_bad[i] = int(np.count_nonzero(self._counted & ~good))
        for file, values in zip(self._files, (ln_flux, ln_flux_error), strict=True):
            with writing(file.name):
                file.seek(start * features.pixels.size * values.itemsize)
                _write_all(file, values)
        return {
            "start": start,
            "n": len(paths),
            "n_bad": n_bad,
            "n_unnormalized": n_unnormalized,
            "failed": failed,
            "usable": np.packbits(usable).tobytes().hex(),
            "checksums": [zlib.crc32(values) for values in (ln_flux, ln_flux_error)],
        }


def _is_out_of_reach(path, error):
    """Whether the disk or network folder is gone, rather than the file bad: that must not cost all its stars."""
    cause = error.__context__
    system = isinstance(cause, OSError) and cause.errno not in (None, errno.EACCES, errno.EPERM)
    return system or not os.path.exists(path)


def _write_all(file, values):
    """Write an array through an unbuffered file, which may take only part of it at a time."""
    left = memoryview(values).cast("B")
    while left:
        left = left[file.write(left) :]


def main():
    """Serve a parent process by standard input and output, in lines of JSON.

    The first line in is a job, each further one a chunk; the answer to a chunk is its record or an error. What anything
    else prints here goes to standard error.
    """
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    normalizer = ChunkNormalizer(json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        try:
            answer = normalizer.normalize(*json.loads(line))
        except BadInputError as error:
            answer = {"error": str(error)}
        out.write(ANSWER + json.dumps(answer) + "\n")
        out.flush()
    normalizer.close()


if __name__ == "__main__":
    main()
