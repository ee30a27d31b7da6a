"""What one worker does with a chunk of spectrum files: read them, normalise them, make rows of features of them."""

import errno
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from spfast.config import load_config
from spfast.data.apogee import spectrum_reader
from spfast.data.sdss5 import read_mwm_star
from spfast.data.spectra.features import ERROR_DTYPE, SpectrumFeatures, feature_rows
from spfast.errors import BadInputError

__all__ = ["ChunkNormalizer", "FeatureRows", "NormalizedChunk", "RowMaker"]


class NormalizedChunk(NamedTuple):
    """Spectra that were read and normalised.

    Attributes
    ----------
    good : int64 array, shape (n_good,)
        Which of the chunk's spectra they are: all but those that failed.
    ln_flux, ln_flux_error : float32 array, shape (n_good, 7451)
    usable : bool array, shape (n_good, 7451)
        Pixels that are good.
    failures : dict of int to str
        Why each of the others could not be used.
    n_unnormalized : int
        Spectra that were not near 1 in their files (apStar).
    """

    good: np.ndarray
    ln_flux: np.ndarray
    ln_flux_error: np.ndarray
    usable: np.ndarray
    failures: dict[int, str]
    n_unnormalized: int


class FeatureRows(NamedTuple):
    """Rows of a survey's arrays: those of a chunk's spectra that can be used.

    Attributes
    ----------
    start : int
        The chunk's first spectrum among all.
    n : int
        Spectra in the chunk.
    n_bad : int32 array, shape (n_good,)
        Bad pixels of each, among the layout's.
    failures, n_unnormalized
        As of `NormalizedChunk`.
    features : float32 array, shape (n_good, n_features)
    feature_errors : float16 array of the same shape
    unmeasured : uint8 array, shape (n_good, ceil(n_pixels / 8))
    """

    start: int
    n: int
    n_bad: np.ndarray
    failures: dict[int, str]
    n_unnormalized: int
    features: np.ndarray
    feature_errors: np.ndarray
    unmeasured: np.ndarray

    @property
    def good(self) -> np.ndarray:
        """Which of all spectra the rows are (int64 array, shape (n_good,))."""
        return self.start + np.setdiff1d(np.arange(self.n), list(self.failures))


class ChunkNormalizer:
    """Reads spectra and normalises them.

    Parameters
    ----------
    root : str
        Folder of the spectra.
    continuum_pixels : sequence of int
    config : dict
        Sections ``normalization`` and ``features`` of a configuration.
    library : str, optional
        As `spfast.data.apogee.spectrum_reader` takes it.

    Attributes
    ----------
    pixels : int64 array, shape (7451,)
        Grid index of each column.
    """

    def __init__(self, root, continuum_pixels, config, library=None):
        self._root = root
        self._features = SpectrumFeatures(continuum_pixels, load_config(overrides=config))
        self.pixels = self._features.pixels
        self._read = spectrum_reader(library)

    def normalize(self, paths: Sequence) -> NormalizedChunk:
        """Read and normalise spectra.

        Parameters
        ----------
        paths : sequence
            Relative to the root, as `spfast.data.sdss5.spectra_to_read` returns them.

        Returns
        -------
        NormalizedChunk

        Raises
        ------
        BadInputError
            If a file that was there is gone, or the system cannot read it.
        """
        features = self._features
        ln_flux, ln_flux_error = np.empty((2, len(paths), features.pixels.size), np.float32)
        usable = np.empty(ln_flux.shape, bool)
        good, failures, n_unnormalized = [], {}, 0
        for i, path in enumerate(paths):
            path, *row = [path] if isinstance(path, str) else path
            path = os.path.join(self._root, path)
            try:
                spectrum = read_mwm_star(path, *row) if row else self._read(path)
            except BadInputError as error:
                if _is_out_of_reach(path, error):
                    raise
                failures[i] = str(error).removeprefix(f"{path}: ")
                continue
            features.reset_usable()
            out = len(good)
            _, failure = features.row(
                spectrum.flux,
                spectrum.flux_error,
                ln_flux[out],
                ln_flux_error[out],
                spectrum.pixel_mask,
                spectrum.normalized,
            )
            n_unnormalized += not spectrum.normalized
            if failure:
                failures[i] = failure
            else:
                usable[out] = features.usable
                good.append(i)
        n = len(good)
        return NormalizedChunk(
            np.array(good, np.int64), ln_flux[:n], ln_flux_error[:n], usable[:n], failures, n_unnormalized
        )


class RowMaker:
    """Makes rows of features from spectrum files: what is asked of it follows from its job and the files alone.

    Parameters
    ----------
    job : dict
        From `spfast.data.spectra.workers.row_job`; it can be pickled and sent to another process or machine that sees
        the files under the same name.
    """

    def __init__(self, job):
        self._normalizer = ChunkNormalizer(job["root"], job["continuum_pixels"], job["config"], job["library"])
        self._layout, self._factors, self._error_max = job["layout"], job["factors"], job["error_max"]

    def make(self, start: int, paths: Sequence, magnitudes: tuple[np.ndarray, np.ndarray]) -> FeatureRows:
        """Make the rows of one chunk.

        Parameters
        ----------
        start : int
            Where it begins among all spectra.
        paths : sequence
            As for `ChunkNormalizer.normalize`.
        magnitudes : tuple of float32 array, shape (n, n_magnitudes)
            The stars' magnitudes and their errors.

        Returns
        -------
        FeatureRows

        Raises
        ------
        BadInputError
            As `ChunkNormalizer.normalize`.
        """
        layout, chunk = self._layout, self._normalizer.normalize(paths)
        shape = chunk.good.size, layout.n_features
        features, errors = np.empty(shape, np.float32), np.empty(shape, ERROR_DTYPE)
        own = tuple(values[chunk.good] for values in magnitudes)
        spectra = chunk.ln_flux, chunk.ln_flux_error
        unmeasured = feature_rows(layout, own, spectra, self._factors, self._error_max, features, errors)
        columns = np.isin(self._normalizer.pixels, layout.pixels)
        n_bad = np.count_nonzero(~chunk.usable[:, columns], axis=1).astype(np.int32)
        return FeatureRows(start, len(paths), n_bad, chunk.failures, chunk.n_unnormalized, features, errors, unmeasured)


def _is_out_of_reach(path, error):
    """Whether the disk or network folder is gone, rather than the file bad: that must not cost all its stars."""
    cause = error.__context__
    system = isinstance(cause, OSError) and cause.errno not in (None, errno.EACCES, errno.EPERM)
    return system or not os.path.exists(path)
