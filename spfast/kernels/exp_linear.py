"""The exp-linear model over row blocks: linear predictor, half chi-squared and its gradient in one pass.

A pass visits fixed segments of the selected rows. A segment belongs to one thread and writes its own partial sums;
the caller adds them in segment order, so the result does not depend on the number of threads.

Eight rows are taken at a time (`spfast.kernels.eight_rows`): their dot products with the coefficients bring them into
the second-level cache, from where the gradient reads them again. Dot products are float64 throughout (a float32
predictor would move the gradient by more than a solver's tolerance); the gradient is summed in the matrix's own type
over 256 rows, then in float64. Columns whose gradient is large, the constant and the magnitudes, are summed in float64
from the start.
"""

import math

import numpy as np

from spfast.kernels.eight_rows import add_and_dot, dot_rows
from spfast.kernels.jit import jit

#: Segments of a pass: more than the threads that share a memory bus, few enough that adding them costs nothing.
N_SEGMENTS = 32
#: Rows after which a gradient in the matrix's own type is added to float64.
_FLUSH_ROWS = 256
#: Above this the square of a prediction overflows float64; the chi-squared is infinite there.
LN_OVERFLOW = 350.0
#: A star's slope above this would overflow float32 lanes; the chi-squared counts as infinite there too.
_MAX_SLOPE = 1e36


@jit
def segment_bounds(n_rows: int, n_segments: int) -> np.ndarray:
    """Return the first row of each segment and, last, the number of rows (int64, shape (n_segments + 1,)).

    Bounds are multiples of eight, so that only the last segment has an incomplete block.
    """
    bounds = np.empty(n_segments + 1, dtype=np.int64)
    blocks = (n_rows + 7) // 8
    for s in range(n_segments + 1):
        bounds[s] = min(n_rows, 8 * ((blocks * s) // n_segments))
    return bounds


@jit
def _block_rows(rows, begin, end, r):
    """Write a block's eight matrix rows to ``r``; past ``end`` the last one is repeated (its factor will be zero)."""
    for k in range(8):
        r[k] = rows[min(begin + k, end - 1)]


@jit
def linear_predictor_segments(
    first: int, last: int, design: np.ndarray, rows: np.ndarray, bounds: np.ndarray, coefs: np.ndarray, eta: np.ndarray
) -> None:
    """Compute ``eta[m, i] = design[rows[i]] . coefs[m]`` for the segments ``first <= s < last``.

    Several vectors of coefficients cost one pass over the matrix.

    Parameters
    ----------
    first, last : int
        Segments to visit.
    design : float32 or float64 array, C order, shape (n_stars, n_features)
        Rows ``x_n`` of Hogg, Eilers & Rix (2019), Eq. 11.
    rows : int64 array, shape (n_rows,)
        Rows of ``design`` that take part.
    bounds : int64 array
        From `segment_bounds`.
    coefs : float64 array, shape (n_vectors, n_features)
    eta : float64 array, shape (n_vectors, n_rows)
        Written: ln of the predicted parallax [ln mas].
    """
    r = np.empty(8, dtype=np.int64)
    dots = np.empty(8)
    for s in range(first, last):
        for begin in range(bounds[s], bounds[s + 1], 8):
            end = min(begin + 8, bounds[s + 1])
            _block_rows(rows, begin, end, r)
            for m in range(coefs.shape[0]):
                dot_rows(design, r, coefs[m], dots)
                eta[m, begin:end] = dots[: end - begin]


@jit
def value_gradient_segments(
    first: int,
    last: int,
    design: np.ndarray,
    rows: np.ndarray,
    bounds: np.ndarray,
    coef: np.ndarray,
    wide: np.ndarray,
    parallax: np.ndarray,
    ivar: np.ndarray,
    eta: np.ndarray,
    values: np.ndarray,
    gradients: np.ndarray,
) -> None:
    """Compute half chi-squared (Eq. 2) and its gradient in one pass over the segments ``first <= s < last``.

    Per star ``mu = exp(x . coef)``; the value is ``0.5 ivar (parallax - mu)**2`` and the gradient
    ``ivar (mu - parallax) mu x``.

    Parameters
    ----------
    first, last, design, rows, bounds
        As in `linear_predictor_segments`.
    coef : float64 array, shape (n_features,)
    wide : int64 array, shape (n_wide,)
        Columns whose gradient is summed in float64 from the start.
    parallax : float64 array, shape (n_rows,) [mas]
    ivar : float64 array, shape (n_rows,) [mas^-2]
        Inverse variances of the parallaxes; a star with zero is ignored.
    eta : float64 array, shape (n_rows,)
        Written: the linear predictor.
    values : float64 array, shape (n_segments,)
        Written: half chi-squared of each segment; infinite where a prediction overflows.
    gradients : float64 array, shape (n_segments, n_features)
        Written: the gradient of each segment.
    """
    n_features = coef.size
    blocks = np.empty((3, 8), dtype=np.int64)
    r = blocks[0]
    dots = np.empty(8)
    factor = np.empty(8, dtype=design.dtype)
    partial = np.zeros(n_features, dtype=design.dtype)
    wide_gradient = np.empty(wide.size)
    for s in range(first, last):
        value = 0.0
        gradient = gradients[s]
        gradient[:] = 0.0
        wide_gradient[:] = 0.0
        unflushed = 0
        if bounds[s] < bounds[s + 1]:
            _block_rows(rows, bounds[s], bounds[s + 1], blocks[1])
            _block_rows(rows, bounds[s] + 8, bounds[s + 1], blocks[2])
            dot_rows(design, blocks[1], coef, dots)
        for begin in range(bounds[s], bounds[s + 1], 8):
            end = min(begin + 8, bounds[s + 1])
            blocks[:2] = blocks[1:]
            _block_rows(rows, begin + 16, bounds[s + 1], blocks[2])
            factor[:] = 0
            for k in range(end - begin):
                i = begin + k
                eta[i] = dots[k]
                if ivar[i] > 0.0:
                    mu = math.exp(min(dots[k], LN_OVERFLOW))
                    residual = mu - parallax[i]
                    slope = ivar[i] * residual * mu
                    if dots[k] > LN_OVERFLOW or abs(slope) > _MAX_SLOPE:
                        value = math.inf
                        continue
                    value += 0.5 * ivar[i] * residual * residual
                    factor[k] = slope
                    for a in range(wide.size):
                        wide_gradient[a] += slope * design[r[k], wide[a]]
            add_and_dot(design, blocks, factor, partial, coef, dots)
            unflushed += 8
            if unflushed >= _FLUSH_ROWS or end == bounds[s + 1]:
                for j in range(n_features):
                    gradient[j] += partial[j]
                    partial[j] = 0
                unflushed = 0
        for a in range(wide.size):
            gradient[wide[a]] = wide_gradient[a]
        values[s] = value


@jit
def add_segments(gradients: np.ndarray, total: np.ndarray) -> None:
    """Add the segments' gradients in segment order into ``total`` (float64, shape (n_features,))."""
    total[:] = 0.0
    for s in range(gradients.shape[0]):
        part = gradients[s]
        for j in range(total.size):
            total[j] += part[j]


@jit
def half_chi_squared(eta: np.ndarray, parallax: np.ndarray, ivar: np.ndarray) -> float:
    """Return ``0.5 sum ivar (parallax - exp(eta))**2`` (Eq. 2), infinite where a prediction overflows."""
    total = 0.0
    for i in range(eta.size):
        if ivar[i] > 0.0:
            if eta[i] > LN_OVERFLOW:
                return math.inf
            residual = parallax[i] - math.exp(eta[i])
            total += ivar[i] * residual * residual
    return 0.5 * total


@jit
def curvature_weights(
    eta: np.ndarray, parallax: np.ndarray, ivar: np.ndarray, exact: bool, weights: np.ndarray
) -> None:
    """Write the second derivative of half chi-squared with respect to each star's linear predictor.

    Parameters
    ----------
    eta, parallax, ivar : float64 array, shape (n_rows,)
    exact : bool
        True: ``ivar mu (2 mu - parallax)``, which is negative for many stars. False: its Gauss-Newton part
        ``ivar mu^2``.
    weights : float64 array, shape (n_rows,)
        Written.
    """
    for i in range(eta.size):
        weights[i] = 0.0
        if ivar[i] > 0.0:
            mu = math.exp(min(eta[i], LN_OVERFLOW))
            weights[i] = ivar[i] * mu * (2.0 * mu - parallax[i] if exact else mu)
