"""Regression of any magnitudes of a star on its others and on its spectrum's coordinates, kept as a covariance.

From these follow the coefficients for every set of missing bands, so that a survey, and a model file, need to keep
nothing else of the stars that they were found from.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from spfast.blas import one_blas_thread
from spfast.model import kinds
from spfast.model.kinds import check_entries

__all__ = ["STARS_PER_BAND", "BandRegression"]

#: Coordinates that take part, at most, and complete stars that each column of the regression needs.
_COORDINATES, _STARS_PER_COLUMN = 16, 10
#: With fewer complete stars for each band there is no regression.
STARS_PER_BAND = 3
#: A complete star with a band whose residual, given all others, exceeds so many scatters does not count.
_CLIP, _ROUNDS = 4.0, 3
#: Combinations of magnitudes with less than this share of the largest variance tell nothing.
_LEAST_VARIANCE = 1e-10
#: Stars taken together.
_BLOCK = 4096


@dataclass(frozen=True)
class BandRegression:
    """How magnitudes and coordinates of stars that lack nothing vary together.

    Attributes
    ----------
    mean : float64 array, shape (n_columns,)
        Of the magnitudes, then of the coordinates.
    covariance : float64 array, shape (n_columns, n_columns)
    n_bands : int
        Columns that are magnitudes.
    n_stars : int
        What it was found from.
    """

    #: The numbers and the arrays among the attributes, as a file holds them.
    ENTRIES: ClassVar[dict] = {"n_bands": kinds.COUNT, "n_stars": kinds.COUNT}
    ARRAYS: ClassVar[tuple] = ("mean", "covariance")

    mean: np.ndarray = field(repr=False)
    covariance: np.ndarray = field(repr=False)
    n_bands: int
    n_stars: int

    @property
    def rank(self) -> int:
        """Coordinates that take part."""
        return self.mean.size - self.n_bands

    @classmethod
    @one_blas_thread()
    def of(cls, magnitudes: np.ndarray, coordinates: np.ndarray | None = None) -> "BandRegression | None":
        """Find it from stars.

        Parameters
        ----------
        magnitudes : float32 array, shape (n_stars, n_bands) [mag]
            NaN where a star lacks one.
        coordinates : float32 array, shape (n_stars, rank), optional
            Of the spectra, the most important first.

        Returns
        -------
        BandRegression or None
            None without bands, or with fewer than three complete stars for each.
        """
        n_bands = magnitudes.shape[1]
        rows = np.flatnonzero(np.isfinite(magnitudes).all(axis=1))
        if not n_bands or rows.size < STARS_PER_BAND * n_bands:
            return None
        rank = 0
        if coordinates is not None:
            rank = max(min(_COORDINATES, coordinates.shape[1], rows.size // _STARS_PER_COLUMN - n_bands), 0)

        def block(some):
            parts = [magnitudes[some], coordinates[some, :rank]] if rank else [magnitudes[some]]
            return np.hstack(parts).astype(np.float64)

        for last in [False] * (_ROUNDS - 1) + [True]:
            found = cls(*_moments(block, rows), n_bands, int(rows.size))
            if last:
                break
            inside = [found._is_near(block(some)) for some in _blocks(rows)]
            near = rows[np.concatenate(inside)]
            if near.size < STARS_PER_BAND * n_bands:
                break
            rows = near
        return found

    def _is_near(self, values):
        """Whether each magnitude of stars is near to what their other columns tell."""
        near = np.ones(len(values), bool)
        for band in range(self.n_bands):
            absent = np.arange(self.n_bands) == band
            estimate, scatter = self._estimates(absent, values)
            near &= np.abs(values[:, band] - estimate[:, 0]) <= _CLIP * scatter[0]
        return near

    def _estimates(self, absent, values):
        """Estimates of the absent bands of stars from the other columns that are given, and their errors.

        No product of BLAS: a star's estimate has the same bits in any company.
        """
        wanted, known = np.flatnonzero(absent), np.flatnonzero(~absent)
        known = np.append(known, np.arange(self.n_bands, values.shape[1]))
        inverse = np.linalg.pinv(self.covariance[np.ix_(known, known)], rcond=_LEAST_VARIANCE, hermitian=True)
        shared = self.covariance[np.ix_(known, wanted)]
        coef = inverse @ shared
        estimate = np.repeat(self.mean[None, wanted], len(values), axis=0)
        for column, slopes in zip(known, coef, strict=True):
            estimate += (values[:, column, None] - self.mean[column]) * slopes
        left = np.maximum(self.covariance[wanted, wanted] - np.sum(shared * coef, axis=0), 0.0)
        n_free = max(self.n_stars - known.size - 1, 1)
        return estimate, np.sqrt(left * self.n_stars / n_free)

    @one_blas_thread()
    def estimate(self, magnitudes: np.ndarray, errors: np.ndarray, coordinates: np.ndarray | None = None) -> np.ndarray:
        """Replace magnitudes that are NaN, and their errors, in place.

        Parameters
        ----------
        magnitudes, errors : float32 array, shape (n_stars, n_bands) [mag]
        coordinates : float32 array, shape (n_stars, rank or more), optional
            Without them estimates follow from magnitudes alone.

        Returns
        -------
        float32 array, shape (n_stars,) [mag]
            The largest error of a star's estimates; 0 for a star that lacks nothing.
        """
        missing = ~(np.isfinite(magnitudes) & np.isfinite(errors))
        largest = np.zeros(len(magnitudes), np.float32)
        bits = missing @ (1 << np.arange(missing.shape[1]))
        for pattern in np.unique(bits[bits > 0]):
            rows = np.flatnonzero(bits == pattern)
            absent = missing[rows[0]]
            for some in _blocks(rows):
                parts = (
                    [magnitudes[some]] if coordinates is None else [magnitudes[some], coordinates[some, : self.rank]]
                )
                values = np.hstack(parts).astype(np.float64)
                estimate, scatter = self._estimates(absent, values)
                magnitudes[np.ix_(some, np.flatnonzero(absent))] = estimate
                errors[np.ix_(some, np.flatnonzero(absent))] = scatter
                largest[some] = np.float32(scatter.max())
        return largest

    def entries(self) -> dict:
        """The numbers, for a file (dict)."""
        return {name: getattr(self, name) for name in self.ENTRIES}

    def arrays(self) -> dict:
        """The arrays, for a file (dict)."""
        return {name: getattr(self, name) for name in self.ARRAYS}

    @classmethod
    def from_file(cls, entries: dict, arrays: dict) -> "BandRegression":
        """A regression from what `entries` and `arrays` gave.

        Raises
        ------
        KeyError, ValueError
            If that does not fit together.
        """
        check_entries(entries, cls.ENTRIES, "bands")
        mean, covariance = (arrays[name] for name in cls.ARRAYS)
        shapes = mean.ndim == 1 and covariance.shape == (mean.size, mean.size) and 0 < entries["n_bands"] <= mean.size
        if not shapes or mean.dtype != np.float64 or covariance.dtype != np.float64:
            raise ValueError("the regression of its magnitudes is damaged")
        if not kinds.NUMBERS.fits(mean.tolist()) or not kinds.INVERSE_COVARIANCE.fits(covariance.tolist()):
            raise ValueError("the regression of its magnitudes is damaged")
        return cls(mean, covariance, entries["n_bands"], entries["n_stars"])


def _blocks(rows):
    return [rows[start : start + _BLOCK] for start in range(0, rows.size, _BLOCK)]


def _moments(block, rows):
    """Mean and covariance of the columns of stars, a block of them at a time."""
    mean = sum(block(some).sum(axis=0) for some in _blocks(rows)) / rows.size
    covariance = 0.0
    for some in _blocks(rows):
        centred = block(some) - mean
        covariance = covariance + centred.T @ centred
    covariance /= rows.size
    return mean, (covariance + covariance.T) / 2.0
