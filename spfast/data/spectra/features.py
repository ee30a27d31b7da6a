"""Features and their errors: a star's normalised spectrum and magnitudes as one row of the design matrix."""

import numpy as np

from spfast.config import Config
from spfast.data.spectra.continuum import (
    MIN_PIXELS_PER_COEFFICIENT,
    chebyshev_basis,
    check_continuum_pixels,
    chip_pixels,
    chip_ranges,
)
from spfast.errors import BadInputError
from spfast.kernels.continuum import FEW_CONTINUUM_PIXELS, NOT_POSITIVE, OK, spectrum_row
from spfast.model.apogee import CHIPS, N_GRID

__all__ = [
    "ERROR_DTYPE",
    "MAGNITUDE_COLUMNS",
    "PIXMASK_BAD",
    "SpectrumFeatures",
    "fill_features",
    "magnitude_columns",
    "magnitude_features",
    "rounded_errors",
    "unmeasured_bits",
]

#: APOGEE_PIXMASK bits 0-7 and 14: bad, cosmic ray, saturated, unfixable, bad dark, flat, error, no sky; not enough PSF.
PIXMASK_BAD = 16639

#: Columns of the survey's star table that hold each magnitude and its error.
MAGNITUDE_COLUMNS = {
    "G": ("phot_g_mean_mag", "phot_g_mean_mag_error"),
    "BP": ("phot_bp_mean_mag", "phot_bp_mean_mag_error"),
    "RP": ("phot_rp_mean_mag", "phot_rp_mean_mag_error"),
    "J": ("J", "J_ERR"),
    "H": ("H", "H_ERR"),
    "K": ("K", "K_ERR"),
    "W1": ("w1mpro", "w1mpro_error"),
    "W2": ("w2mpro", "w2mpro_error"),
}

#: How a survey keeps the errors of features: right to 0.05%, in half of the room.
ERROR_DTYPE = np.float16

_NO_MASK = np.zeros(0, np.int32)


def magnitude_columns(band):
    """Return the columns of a survey's star table that hold a band's magnitude and its error (two str)."""
    return MAGNITUDE_COLUMNS.get(band, (band, f"{band}_error"))


class SpectrumFeatures:
    """Normalises spectra: flux becomes ``ln flux`` on the pixels of the chips. Holds what all spectra have in common.

    Parameters
    ----------
    continuum_pixels : int array
        Indices on the 8575-pixel grid.
    config : Config, optional
        Its sections ``normalization`` and ``features`` are used.

    Attributes
    ----------
    pixels : int64 array, shape (n_pixels,)
        Grid index of each output column; there are 7451.
    usable : bool array, shape (n_pixels,)
        Pixels that have been good in at least one spectrum so far.

    Notes
    -----
    With ``[features] bad_pixels = "one"`` the result is the paper's: a bad pixel has flux 1, and no error is above
    ``flux_error_max``. Otherwise errors stay as they are, infinite for a bad pixel, whose flux is estimated later
    (`spfast.data.spectra.bad_pixels`).

    Examples
    --------
    >>> import numpy as np
    >>> from spfast.data.spectra.features import SpectrumFeatures
    >>> features = SpectrumFeatures(np.arange(0, 8575, 3))
    >>> ln_flux, ln_flux_error = np.empty((2, 7451), np.float32)
    >>> flux = np.full(8575, 500.0, np.float32)
    >>> features.row(flux, 0.01 * flux, ln_flux, ln_flux_error, normalized=False)
    (0, '')
    >>> bool(abs(ln_flux).max() < 1e-5), round(float(ln_flux_error.max()), 4)
    (True, 0.01)
    """

    def __init__(self, continuum_pixels, config=None):
        config = Config() if config is None else config
        norm, clip = config.normalization, config.features
        continuum_pixels = check_continuum_pixels(continuum_pixels, norm.chebyshev_degree, "continuum_pixels")
        self.pixels = chip_pixels()
        self._usable = np.zeros(self.pixels.size, np.uint8)
        self._use_mask = norm.use_pixel_mask
        ranges = np.array(chip_ranges(), dtype=np.int64)
        variance = np.full(self.pixels.size, norm.off_continuum_variance, np.float32)
        variance[np.isin(self.pixels, continuum_pixels)] = 0.0
        self._fit_arguments = (
            np.ascontiguousarray(ranges[:, 0]),
            np.ascontiguousarray(ranges[:, 1]),
            chebyshev_basis(norm.chebyshev_degree),
            variance,
            norm.weight_power,
            MIN_PIXELS_PER_COEFFICIENT * (norm.chebyshev_degree + 1),
            norm.bad_flux_error,
            norm.flux_error_max,
            norm.grow_mask,
            clip.flux_min,
            clip.flux_max,
            clip.flux_error_max if clip.bad_pixels == "one" else np.inf,
            self._usable,
        )

    @property
    def usable(self):
        return self._usable.astype(bool)

    def reset_usable(self):
        """Forget which pixels have been good so far."""
        self._usable[:] = 0

    def row(self, flux, flux_error, ln_flux, ln_flux_error, pixel_mask=None, normalized=True):
        """Normalise one spectrum.

        Parameters
        ----------
        flux, flux_error : float32 array, shape (8575,)
            Native byte order, contiguous; any flux unit if not ``normalized``.
        ln_flux, ln_flux_error : float32 array, shape (n_pixels,)
            Output.
        pixel_mask : int32 array, shape (8575,), optional
            APOGEE_PIXMASK.
        normalized : bool
            Whether the flux is near 1 already (aspcapStar), as the continuum's variances assume.

        Returns
        -------
        n_bad : int
            Number of its bad pixels.
        failure : str
            Why it could not be normalised; empty if it was.
        """
        mask = pixel_mask if self._use_mask and pixel_mask is not None else _NO_MASK
        status, chip, n_bad = spectrum_row(
            flux, flux_error, mask, PIXMASK_BAD, normalized, *self._fit_arguments, ln_flux, ln_flux_error
        )
        if status != OK:
            return 0, _failure(status, chip)
        if n_bad == self.pixels.size:
            return 0, "no good pixel: every error is too large"
        return n_bad, ""

    def rows(self, flux, flux_error, pixel_mask=None, normalized=True):
        """Normalise a block of spectra.

        Parameters
        ----------
        flux, flux_error : float array, shape (n_stars, 8575)
        pixel_mask : int array, shape (n_stars, 8575), optional
        normalized : bool

        Returns
        -------
        ln_flux, ln_flux_error : float32 array, shape (n_stars, n_pixels)
            NaN for a spectrum that could not be normalised.
        n_bad : int32 array, shape (n_stars,)
        failures : list of str
            Why not, for each spectrum; empty where it could.

        Raises
        ------
        BadInputError
            If the spectra are on another grid.
        """
        flux = np.ascontiguousarray(flux, dtype=np.float32)
        flux_error = np.ascontiguousarray(flux_error, dtype=np.float32)
        if flux.ndim != 2 or flux.shape[1] != N_GRID or flux_error.shape != flux.shape:
            raise BadInputError(
                f"spectra: flux has shape {flux.shape} and flux_error {flux_error.shape}, expected (n_stars, {N_GRID})"
            )
        masks = [None] * len(flux) if pixel_mask is None else np.ascontiguousarray(pixel_mask, dtype=np.int32)
        ln_flux = np.empty((len(flux), self.pixels.size), np.float32)
        ln_flux_error = np.empty_like(ln_flux)
        n_bad, failures = np.zeros(len(flux), np.int32), []
        for i, mask in enumerate(masks):
            n_bad[i], failure = self.row(flux[i], flux_error[i], ln_flux[i], ln_flux_error[i], mask, normalized)
            failures.append(failure)
            if failure:
                ln_flux[i] = ln_flux_error[i] = np.nan
        return ln_flux, ln_flux_error, n_bad, failures


def _failure(status, chip):
    chip = "chip {:.0f}-{:.0f} A".format(*CHIPS[chip])
    if status == FEW_CONTINUUM_PIXELS:
        return f"too few good continuum pixels on the {chip}"
    if status == NOT_POSITIVE:
        return f"the continuum is not positive on the {chip}"
    return f"the continuum fit is singular on the {chip}"


def magnitude_features(stars, magnitudes=tuple(MAGNITUDE_COLUMNS)):
    """Return the magnitudes and their errors from a survey's star table.

    Parameters
    ----------
    stars : astropy Table
    magnitudes : tuple of str
        Names of bands.

    Returns
    -------
    values, errors : float32 array, shape (n_stars, n_magnitudes) [mag]
    """
    columns = [magnitude_columns(name) for name in magnitudes]
    values = np.stack([np.asarray(stars[value], dtype=np.float32) for value, _ in columns], axis=1)
    errors = np.stack([np.asarray(stars[error], dtype=np.float32) for _, error in columns], axis=1)
    return values, errors


def unmeasured_bits(layout, ln_flux_error, error_max):
    """Return bits of pixels that were not measured well enough, before they are estimated.

    Parameters
    ----------
    layout : FeatureLayout
    ln_flux_error : float32 array, shape (n_stars, 7451)
        From `SpectrumFeatures`.
    error_max : float
        An error as large as this is one that was cut down to it.

    Returns
    -------
    uint8 array, shape (n_stars, ceil(n_pixels / 8))
    """
    columns = np.searchsorted(chip_pixels(), layout.pixels)
    return np.packbits(ln_flux_error[:, columns] >= np.float32(error_max), axis=1)


def rounded_errors(errors):
    """Round errors as a survey keeps them; what is finite stays finite.

    Parameters
    ----------
    errors : float array

    Returns
    -------
    float16 array of the same shape

    Examples
    --------
    >>> import numpy as np
    >>> from spfast.data.spectra.features import rounded_errors
    >>> rounded_errors(np.array([0.0, 0.01, 1e5, np.inf])).tolist()
    [0.0, 0.01000213623046875, 65504.0, inf]
    """
    largest = np.finfo(ERROR_DTYPE).max
    return np.where(np.isinf(errors), errors, np.minimum(errors, largest)).astype(ERROR_DTYPE)


def fill_features(layout, stars, ln_flux, ln_flux_error, features, feature_errors):
    """Write the features ``[1, magnitudes, ln flux of the layout's pixels]`` (Hogg, Eilers & Rix 2019, Eq. 11).

    Parameters
    ----------
    layout : FeatureLayout
    stars : astropy Table
        The stars, with the columns of `MAGNITUDE_COLUMNS`.
    ln_flux, ln_flux_error : float32 array, shape (n_stars, 7451)
        From `SpectrumFeatures`, with one column for each pixel on the chips.
    features : float32 array, shape (n_stars, n_features)
        Output.
    feature_errors : float16 array, shape (n_stars, n_features)
        Output. The error of the constant is 0.
    """
    first = layout.n_unpenalized
    columns = np.searchsorted(chip_pixels(), layout.pixels)
    features[:, 0], feature_errors[:, 0] = 1.0, 0.0
    features[:, 1:first], magnitude_errors = magnitude_features(stars, layout.magnitudes)
    feature_errors[:, 1:first] = rounded_errors(magnitude_errors)
    np.take(ln_flux, columns, axis=1, out=features[:, first:])
    feature_errors[:, first:] = rounded_errors(np.take(ln_flux_error, columns, axis=1))
