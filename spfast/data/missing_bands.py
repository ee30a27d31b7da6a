"""Magnitudes that a star lacks, estimated from its others and from its spectrum's coordinates."""

import numpy as np

from spfast.data.spectra.features import magnitude_columns
from spfast.data.tables.values import float_column
from spfast.errors import BadInputError

__all__ = ["COMPLETE_MIN", "ERROR_MAX", "estimate_magnitudes", "lacking_magnitudes"]

#: Stars with all bands that estimates need.
COMPLETE_MIN = 50
#: A star with an estimated magnitude of a larger error is in no training set [mag].
ERROR_MAX = 0.1
#: Coordinates that take part, at most, and complete stars that each column of the regression needs.
_COORDINATES, _STARS_PER_COLUMN = 16, 10
#: With fewer complete stars for each band, some of `COMPLETE_MIN` cut later, nothing is estimated.
_STARS_PER_BAND = 3
#: A complete star whose residual exceeds so many scatters does not count when they are found again.
_CLIP, _ROUNDS = 4.0, 3
#: Stars taken together.
_BLOCK = 4096


def lacking_magnitudes(stars, magnitudes):
    """Say which magnitudes a survey's stars lack, whose estimates stand in the features.

    Parameters
    ----------
    stars : astropy Table
        Of the survey.
    magnitudes : sequence of str
        Of its layout.

    Returns
    -------
    bool array, shape (n_stars, n_magnitudes)
    """
    lacking = np.zeros((len(stars), len(magnitudes)), bool)
    for column, name in enumerate(magnitudes):
        lacking[:, column] = ~np.isfinite(float_column(stars, magnitude_columns(name)[0]))
    return lacking


def estimate_magnitudes(magnitudes, errors, coordinates=None, reference=None):
    """Replace magnitudes that are NaN, and their errors, by a regression on the star's others and on its coordinates.

    Each set of missing bands has its own regression, by least squares over the stars that have them all; its error is
    the scatter of these stars about it.

    Parameters
    ----------
    magnitudes, errors : float32 array, shape (n_stars, n_bands) [mag]
        Changed in place.
    coordinates : float32 array, shape (n_stars, rank), optional
        Of the spectra, the most important first.
    reference : tuple of arrays, optional
        Magnitudes and coordinates of other stars to learn from; these stars by default.

    Returns
    -------
    float32 array, shape (n_stars,) [mag]
        The largest error of a star's estimates; 0 for a star that lacks nothing.

    Raises
    ------
    BadInputError
        If hardly a star has them all.
    """
    missing = ~(np.isfinite(magnitudes) & np.isfinite(errors))
    largest = np.zeros(len(magnitudes), np.float32)
    if not missing.any():
        return largest
    known, known_coordinates = (magnitudes, coordinates) if reference is None else reference
    complete = np.flatnonzero(np.isfinite(known).all(axis=1))
    if complete.size < _STARS_PER_BAND * known.shape[1]:
        raise BadInputError(
            f"magnitudes: {np.count_nonzero(missing.any(axis=1)):,} stars lack some and {complete.size:,} have all of "
            f"them, expected {_STARS_PER_BAND * known.shape[1]} or more to estimate them from; set missing_bands = "
            '"rejected"'
        )
    rank = 0
    if coordinates is not None:
        rank = min(_COORDINATES, coordinates.shape[1], complete.size // _STARS_PER_COLUMN - known.shape[1])
    bits = missing @ (1 << np.arange(missing.shape[1]))
    for pattern in np.unique(bits[bits > 0]):
        rows = np.flatnonzero(bits == pattern)
        absent = missing[rows[0]]
        coef, scatter = _regression(known[complete], absent, known_coordinates, complete, rank)
        for start in range(0, rows.size, _BLOCK):
            some = rows[start : start + _BLOCK]
            design = _design(magnitudes[some], absent, coordinates, some, rank)
            magnitudes[np.ix_(some, np.flatnonzero(absent))] = design @ coef
            errors[np.ix_(some, np.flatnonzero(absent))] = scatter
        largest[rows] = scatter.max()
    return largest


def _design(magnitudes, absent, coordinates, rows, rank):
    parts = [np.ones((len(magnitudes), 1)), magnitudes[:, ~absent].astype(np.float64)]
    if rank > 0:
        parts.append(coordinates[rows, :rank].astype(np.float64))
    return np.hstack(parts)


def _regression(magnitudes, absent, coordinates, rows, rank):
    """Coefficients of the absent bands and the scatter about them, without stars far off."""
    design = _design(magnitudes, absent, coordinates, rows, rank)
    wanted = magnitudes[:, absent].astype(np.float64)
    good = np.ones(len(design), bool)
    for _ in range(_ROUNDS):
        coef = np.linalg.lstsq(design[good], wanted[good], rcond=1e-10)[0]
        left = wanted - design @ coef
        scatter = np.sqrt(np.mean(left[good] ** 2, axis=0) * good.sum() / max(good.sum() - design.shape[1], 1))
        good = (np.abs(left) <= _CLIP * scatter).all(axis=1)
    return coef, scatter
