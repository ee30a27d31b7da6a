"""Blocks of arrays to feature columns: flux over its continuum as ln flux, or columns over their scatter."""

import itertools
import warnings

import numpy as np

from spfast.data.spectra.continuum import MIN_PIXELS_PER_COEFFICIENT
from spfast.errors import BadInputError, SpfastWarning
from spfast.kernels.continuum import FEW_CONTINUUM_PIXELS, NOT_POSITIVE, OK, spectrum_row

__all__ = ["FluxRows", "ValueRows", "check_flux_errors", "detectors"]

#: A step in wavelength so many times the one before and the one after begins another detector.
_JUMP = 8.0
#: A median relative error of flux below it is none.
_ERROR_MIN = 1e-6
#: Columns so many scatters from 0 keep less than three digits of them in single precision.
_FARTHEST = 1e4


def detectors(wavelength):
    """Find the detectors of a spectrograph by the gaps of its wavelengths.

    Parameters
    ----------
    wavelength : float64 array, shape (n_pixels,) [Angstrom]
        Increasing.

    Returns
    -------
    list of (int, int)
        Half-open ranges of pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from spfast.data.arrays.rows import detectors
    >>> detectors(np.concatenate([np.arange(4713.0, 4903.0), np.arange(5648.0, 5873.0)]))
    [(0, 190), (190, 415)]
    """
    step = np.diff(wavelength)
    if step.size < 3:
        return [(0, wavelength.size)]
    before, after = np.r_[step[1], step[:-1]], np.r_[step[1:], step[-2]]
    gaps = np.flatnonzero(step > _JUMP * np.maximum(before, after)) + 1
    bounds = [0, *gaps.tolist(), wavelength.size]
    return list(itertools.pairwise(bounds))


def check_flux_errors(errors):
    """Refuse errors that are in another unit than the flux; warn if most of it is bad.

    Parameters
    ----------
    errors : float32 array, shape (n_stars, n_columns)
        Of a sample of stars as `FluxRows.rows` makes them.
    """
    good = np.isfinite(errors)
    if not good.any():
        return
    if np.median(errors[good]) < _ERROR_MIN:
        raise BadInputError(
            f"error: its median is {np.median(errors[good]):.3g} of the flux, which no spectrograph reaches; are both "
            "in one unit, and is it an error, not an ivar?"
        )
    if good.mean() < 0.5:
        warnings.warn(
            f"{1 - good.mean():.0%} of the flux is bad: its error or ivar, or the mask, in which anything but 0 is "
            "bad; check them",
            SpfastWarning,
            stacklevel=6,
        )


class FluxRows:
    """Turns flux into ln flux and its error, as APOGEE's is (`spfast.kernels.continuum`).

    Parameters
    ----------
    ranges : list of (int, int)
        The pixels of each detector.
    wavelengths : list of float64 array [Angstrom]
        Of each detector; or its pixels' places, where there is no wavelength.
    names : list of str
        Of the detectors, for messages.
    config : Config
        Its sections ``normalization`` and ``features`` are used.
    normalized : bool
        The flux is near 1 and taken as it is. If not, a polynomial is fitted on each detector and divided by.
    windows : list of (float, float), optional [Angstrom]
        Where the continuum is; by default the polynomial goes through all pixels.
    continuum : bool array, shape (n_pixels,), optional
        Its pixels, in place of windows.

    Attributes
    ----------
    continuum : bool array, shape (n_pixels,)
        The pixels that the polynomial goes through.
    """

    def __init__(self, ranges, wavelengths, names, config, normalized, windows=None, continuum=None):
        norm, clip = config.normalization, config.features
        self._names, self._normalized, self.n_columns = names, normalized, ranges[-1][1]
        self._low, self._high = clip.flux_min, clip.flux_max
        degree, n = norm.chebyshev_degree, self.n_columns
        where = np.concatenate(wavelengths)
        self.continuum = np.full(n, windows is None and not normalized)
        for low, high in () if normalized or windows is None else windows:
            self.continuum |= (where >= low) & (where <= high)
        self.continuum = self.continuum if continuum is None else continuum
        basis = np.zeros((0, n), np.float32)
        if not normalized:
            needed = MIN_PIXELS_PER_COEFFICIENT * (degree + 1)
            for (first, last), name in zip(ranges, names, strict=True):
                n_inside = int(self.continuum[first:last].sum())
                if n_inside < needed:
                    raise BadInputError(
                        f"windows: {n_inside} pixels of detector {name} are in them, expected at least {needed} for a "
                        f"polynomial of order {degree}; add windows, or lower the order"
                    )
            chips = [2.0 * (w - w[0]) / (w[-1] - w[0]) - 1.0 for w in wavelengths]
            polynomials = [np.polynomial.chebyshev.chebvander(x, 2 * degree).T for x in chips]
            basis = np.ascontiguousarray(np.concatenate(polynomials, axis=1), dtype=np.float32)
        starts, stops = np.array(ranges, dtype=np.int64).T
        self._arguments = (
            np.ascontiguousarray(starts),
            np.ascontiguousarray(stops),
            basis,
            np.where(self.continuum, 0.0, norm.off_continuum_variance).astype(np.float32),
            norm.weight_power,
            0 if normalized else MIN_PIXELS_PER_COEFFICIENT * (degree + 1),
            norm.bad_flux_error,
            norm.flux_error_max,
            norm.grow_mask,
            clip.flux_min,
            clip.flux_max,
            clip.flux_error_max if clip.bad_pixels == "one" else np.inf,
        )

    def rows(self, values, errors):
        """Normalise a block.

        Parameters
        ----------
        values, errors : float64 array, shape (n_stars, n_columns)
            An error is NaN where the value is bad.

        Returns
        -------
        ln_flux, ln_flux_error : float32 array, shape (n_stars, n_columns)
            The error is infinite where bad.
        good : bool array of the same shape
        failures : list of str
            Why a star cannot be used; empty where it can.
        """
        out = np.zeros((2, *values.shape), np.float32)
        good, failures = np.zeros(values.shape, bool), []
        usable = np.zeros(self.n_columns, np.uint8)
        for i, (flux, error) in enumerate(zip(values, errors, strict=True)):
            usable[:] = 0
            if not self._normalized:  # in any unit: single precision holds 1e-17 erg, but not its square
                level = np.median(np.abs(flux[np.isfinite(error)])) if np.isfinite(error).any() else 1.0
                flux, error = flux / (level or 1.0), error / (level or 1.0)
            elif np.isfinite(error).any() and not self._low < np.median(flux[np.isfinite(error)]) < self._high:
                failures.append(f"half of its flux is not between {self._low:g} and {self._high:g}; is it normalised?")
                continue
            flux, error = (np.ascontiguousarray(x, dtype=np.float32) for x in (flux, error))
            status, chip, n_bad = spectrum_row(
                flux, error, _NO_MASK, 0, self._normalized, *self._arguments, usable, out[0, i], out[1, i]
            )
            failures.append(self._failure(status, chip, n_bad))
            if not failures[-1]:
                good[i] = usable
        return out[0], out[1], good, failures

    def _failure(self, status, chip, n_bad):
        if status == OK:
            return "" if n_bad < self.n_columns else "no good pixel"
        what = {FEW_CONTINUUM_PIXELS: "too few good continuum pixels", NOT_POSITIVE: "the continuum is not positive"}
        return f"{what.get(status, 'the continuum fit is singular')} on detector {self._names[chip]}"


_NO_MASK = np.zeros(0, np.int32)


class ValueRows:
    """Columns that are no flux, as they are but for a scale.

    Attributes
    ----------
    scale : float64 array, shape (n_columns,)
        Values and errors are divided by it.
    """

    def __init__(self, n_columns):
        self.n_columns, self.scale = n_columns, np.ones(n_columns)
        self.continuum = np.zeros(n_columns, bool)

    def rows(self, values, errors):
        """As `FluxRows.rows`; a value that is bad is 0."""
        good = np.isfinite(errors)
        with np.errstate(over="ignore"):
            scaled = (values / self.scale).astype(np.float32)
            error = (np.where(good, errors, np.inf) / self.scale).astype(np.float32)
        good &= np.isfinite(scaled) & np.isfinite(error)
        error[~good], scaled[~good] = np.inf, 0.0
        return scaled, error, good, ["" if some else "no good value" for some in good.any(axis=1)]

    def find_scale(self, values, errors, names):
        """Take each column's scatter, half the 16 to 84 percentile width over a sample of stars, as its scale."""
        good = np.isfinite(errors)
        for column in range(self.n_columns):
            x = values[good[:, column], column]
            low, high = np.percentile(x, [16.0, 84.0]) if x.size else (0.0, 0.0)
            if not high > low and x.size:  # numpy's std of equal values is not always 0
                low, high = (-x.std(), x.std()) if np.ptp(x) > 0 else (-np.abs(x).max(), np.abs(x).max())
            spread = (high - low) / 2
            self.scale[column] = spread if np.isfinite(spread) and spread > 0 else 1.0
            if x.size and np.abs(np.median(x)) > _FARTHEST * self.scale[column]:
                raise BadInputError(
                    f"columns: {names[column]} has the median {np.median(x):.6g} and the scatter {spread:.3g}, which "
                    "single precision, in which features are kept, would lose; subtract the median of each such column"
                )
