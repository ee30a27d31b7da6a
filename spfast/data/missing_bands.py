"""Magnitudes that a star lacks, estimated from its others and from its spectrum's coordinates."""

import numpy as np

from spfast.data.spectra.features import magnitude_columns
from spfast.data.tables.values import float_column
from spfast.errors import BadInputError
from spfast.model.band_regression import STARS_PER_BAND, BandRegression

__all__ = ["COMPLETE_MIN", "ERROR_MAX", "estimate_magnitudes", "lacking_magnitudes"]

#: Stars with all bands that estimates need.
COMPLETE_MIN = 50
#: A star with an estimated magnitude of a larger error is in no training set [mag].
ERROR_MAX = 0.1


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


def estimate_magnitudes(magnitudes, errors, coordinates=None, regression=None):
    """Replace magnitudes that are NaN, and their errors, by a regression on the star's others and on its coordinates.

    Parameters
    ----------
    magnitudes, errors : float32 array, shape (n_stars, n_bands) [mag]
        Changed in place.
    coordinates : float32 array, shape (n_stars, rank), optional
        Of the spectra, the most important first.
    regression : BandRegression, optional
        From other stars; by default from these, those that have all bands.

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
    if not missing.any():
        return np.zeros(len(magnitudes), np.float32)
    if regression is None:
        regression = BandRegression.of(magnitudes, coordinates)
    if regression is None:
        n_lacking, n_bands = np.count_nonzero(missing.any(axis=1)), magnitudes.shape[1]
        n_complete = np.count_nonzero(np.isfinite(magnitudes).all(axis=1))
        raise BadInputError(
            f"magnitudes: {n_lacking:,} stars lack some and {n_complete:,} have all of them, expected "
            f'{STARS_PER_BAND * n_bands} or more to estimate them from; set missing_bands = "rejected"'
        )
    return regression.estimate(magnitudes, errors, coordinates)
