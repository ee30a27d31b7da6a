"""Turn one spectrum into one row: pseudo-continuum fit, division, bad pixels, ln flux and its error, in one call."""

import math

import numpy as np

from spfast.kernels.cholesky import factor_block, solve_factored
from spfast.kernels.jit import jit

#: Status that `spectrum_row` returns: the row is good, or the reason why there is none.
OK, FEW_CONTINUUM_PIXELS, NOT_POSITIVE, SINGULAR = 0, 1, 2, 3

#: A pivot smaller than this share of its diagonal means the polynomial is not determined by the pixels.
_MIN_PIVOT = 1e-10

#: Layout of an IEEE float32, and the bits of sqrt(1/2), for the logarithm.
_MANTISSA_BITS, _MANTISSA_MASK, _SQRT_HALF_BITS = np.int32(23), np.int32(0x007FFFFF), np.int32(0x3F3504F3)
_LN_2 = np.float32(math.log(2.0))
_THIRD, _FIFTH, _SEVENTH, _NINTH = np.float32(1 / 3), np.float32(1 / 5), np.float32(1 / 7), np.float32(1 / 9)


@jit
def _flag_bad(flux, error, mask, bad_bits, bad):
    """Mark pixels without a usable flux and error: not finite, no positive error, or a bad bit in the mask."""
    for i in range(flux.size):
        bad[i] = not (math.isfinite(flux[i]) and math.isfinite(error[i]) and error[i] > 0.0)
    for i in range(mask.size):
        bad[i] = bad[i] or (mask[i] & bad_bits) != 0


@jit
def _grow(bad, n_grow):
    """Extend every run of bad pixels by ``n_grow`` pixels on either side, within the chip."""
    for _ in range(n_grow):
        before = np.uint8(0)
        for i in range(bad.size):
            here = bad[i]
            after = bad[i + 1] if i + 1 < bad.size else np.uint8(0)
            bad[i] = before | here | after
            before = here


@jit
def _fit_continuum(flux, error, variance, basis, first, weight_power, coefficients):
    """Fit the Chebyshev series of one chip; False if singular.

    The normal matrix needs only sum(w T_k) for k = 0 .. 2 degree, since T_i T_j = (T_{i+j} + T_{|i-j|}) / 2.
    """
    n_moments, n, n_pixels = basis.shape[0], coefficients.size, flux.size
    weight = np.empty(n_pixels, np.float64)
    weighted_flux = np.empty(n_pixels, np.float64)
    for i in range(n_pixels):
        weight[i] = np.float32(1.0) / (error[i] * error[i] + variance[i])
    if weight_power == 2:
        for i in range(n_pixels):
            weight[i] *= weight[i]
    for i in range(n_pixels):
        weighted_flux[i] = weight[i] * flux[i]
    moments = np.empty(n_moments, np.float64)
    for k in range(n_moments):
        polynomial = basis[k][first : first + n_pixels]
        moment = right = 0.0
        if k < n:
            for i in range(n_pixels):
                moment += weight[i] * polynomial[i]
                right += weighted_flux[i] * polynomial[i]
            coefficients[k] = right
        else:
            for i in range(n_pixels):
                moment += weight[i] * polynomial[i]
        moments[k] = moment
    matrix = np.empty((n, n), np.float64)
    for i in range(n):
        for j in range(i, n):
            matrix[i, j] = 0.5 * (moments[i + j] + moments[j - i])
    if not factor_block(matrix, 0, n, _MIN_PIVOT):
        return False
    solve_factored(matrix, n, coefficients)
    return True


@jit
def _divide(flux, error, basis, first, coefficients, continuum):
    """Divide flux and error by the continuum in place; False if the continuum is not positive everywhere."""
    continuum[:] = 0.0
    for k in range(coefficients.size):
        polynomial = basis[k][first : first + flux.size]
        coefficient = np.float32(coefficients[k])
        for i in range(continuum.size):
            continuum[i] += coefficient * polynomial[i]
    n_dark = 0  # a count is vectorised; a minimum that heeds NaN is not
    for i in range(continuum.size):
        n_dark += not continuum[i] > 0.0
    if n_dark:
        return False
    for i in range(continuum.size):
        inverse = np.float32(1.0) / continuum[i]
        flux[i] = flux[i] * inverse
        error[i] = error[i] * inverse
    return True


@jit
def _ln(values):
    """Take the logarithm of normal positive float32 numbers in place, to 3e-7; np.log would be a call for each number.

    With ``value = m 2^e``, m in [sqrt(1/2), sqrt(2)), it is ``e ln 2 + 2 artanh(s)``, s = (m - 1) / (m + 1): the series
    2 (s + s^3/3 + s^5/5 + s^7/7 + s^9/9) is off by less than 1e-9, because |s| < 0.172.
    """
    one, two, n = np.float32(1.0), np.float32(2.0), values.size
    exponent = np.empty(n, np.float32)
    bits = values.view(np.int32)
    for i in range(n):
        shifted = np.int32(bits[i] - _SQRT_HALF_BITS)
        exponent[i] = np.float32(np.int32(shifted >> _MANTISSA_BITS))
        bits[i] = np.int32((shifted & _MANTISSA_MASK) + _SQRT_HALF_BITS)
    for i in range(n):
        s = (values[i] - one) / (values[i] + one)
        z = s * s
        series = one + z * (_THIRD + z * (_FIFTH + z * (_SEVENTH + z * _NINTH)))
        values[i] = exponent[i] * _LN_2 + two * s * series


@jit
def spectrum_row(
    flux: np.ndarray, flux_error: np.ndarray, mask: np.ndarray, bad_bits: int, normalized: bool, starts: np.ndarray,
    stops: np.ndarray, basis: np.ndarray, variance: np.ndarray, weight_power: int, min_continuum: int,
    bad_error: float, error_max: float, n_grow: int, clip_min: float, clip_max: float, clip_error: float,
    usable: np.ndarray, ln_flux: np.ndarray, ln_flux_error: np.ndarray,
) -> tuple[int, int, int]:  # fmt: skip
    """Turn one spectrum into the pixel part of its feature row (Hogg, Eilers & Rix 2019, Section 3).

    Parameters
    ----------
    flux, flux_error : float32 array, shape (8575,)
        Any flux unit.
    mask : int32 array, shape (8575,) or (0,)
        Pixel mask; empty if the file has none.
    bad_bits : int
        Bits of the mask that make a pixel bad.
    normalized : bool
        The flux is already near 1. If not, each chip is first divided by the median of its continuum pixels, because
        the variances below are in units of the continuum.
    starts, stops : int64 array, shape (n_chips,)
        Pixel ranges of the chips.
    basis : float32 array, shape (2 degree + 1, n_pixels)
        Chebyshev polynomials on each chip's own [-1, 1], chips one after the other; without any (shape (0, n_pixels))
        the continuum is taken to be 1.
    variance : float32 array, shape (n_pixels,)
        0 on continuum pixels, large elsewhere.
    weight_power : int
        1: weights 1/(sigma^2 + v) in chi-squared; 2: the square of that.
    min_continuum : int
        Fewer good continuum pixels than this in a chip: no fit.
    bad_error : float
        Error that bad pixels get, in units of the continuum; their flux becomes 1.
    error_max : float
        After division a pixel with a larger error is bad.
    n_grow : int
        Neighbours on either side of a bad pixel that become bad too.
    clip_min, clip_max, clip_error : float
        Limits of the normalised flux and of its error.
    usable : uint8 array, shape (n_pixels,)
        Set to 1 where this spectrum is good; left alone elsewhere. Changed only if the row is good.
    ln_flux, ln_flux_error : float32 array, shape (n_pixels,)
        Output: ``ln(clip(f))`` and ``clip(sigma) / clip(f)``.

    Returns
    -------
    status : int
        `OK`, or the reason why there is no row.
    chip : int
        The chip in which it failed.
    n_bad : int
        Number of bad pixels.
    """
    n_pixels = variance.size
    bad = np.empty(n_pixels, np.uint8)
    continuum = np.empty(n_pixels, np.float32)
    coefficients = np.empty((basis.shape[0] + 1) // 2, np.float64)
    first = 0
    for chip in range(starts.size):
        last = first + stops[chip] - starts[chip]
        chip_flux, chip_error = ln_flux[first:last], ln_flux_error[first:last]
        chip_flux[:] = flux[starts[chip] : stops[chip]]
        chip_error[:] = flux_error[starts[chip] : stops[chip]]
        chip_bad, chip_variance = bad[first:last], variance[first:last]
        chip_mask = mask[starts[chip] : stops[chip]] if mask.size else mask
        _flag_bad(chip_flux, chip_error, chip_mask, bad_bits, chip_bad)
        n_continuum = 0
        for i in range(chip_bad.size):
            n_continuum += chip_variance[i] == 0.0 and chip_bad[i] == 0
        if n_continuum < min_continuum:
            return FEW_CONTINUUM_PIXELS, chip, 0
        if not normalized:
            level = np.median(chip_flux[(chip_variance == 0.0) & (chip_bad == 0)])
            if not level > 0.0:
                return NOT_POSITIVE, chip, 0
            inverse = np.float32(1.0) / level
            for i in range(chip_flux.size):
                chip_flux[i] *= inverse
                chip_error[i] *= inverse
        for i in range(chip_flux.size):
            if chip_bad[i]:
                chip_flux[i] = 1.0
                chip_error[i] = bad_error
        if coefficients.size:
            if not _fit_continuum(chip_flux, chip_error, chip_variance, basis, first, weight_power, coefficients):
                return SINGULAR, chip, 0
            if not _divide(chip_flux, chip_error, basis, first, coefficients, continuum[first:last]):
                return NOT_POSITIVE, chip, 0
        for i in range(chip_bad.size):
            chip_bad[i] |= chip_error[i] > error_max
        _grow(chip_bad, n_grow)
        first = last

    n_bad = 0
    for i in range(n_pixels):
        n_bad += int(bad[i])
        usable[i] |= 1 - bad[i]
    low, high, error_high = np.float32(clip_min), np.float32(clip_max), np.float32(clip_error)
    for i in range(n_pixels):
        value = np.float32(1.0) if bad[i] else min(max(ln_flux[i], low), high)
        error = error_high if bad[i] else min(ln_flux_error[i], error_high)
        ln_flux[i] = value
        ln_flux_error[i] = error / value
    _ln(ln_flux)
    return OK, 0, n_bad
