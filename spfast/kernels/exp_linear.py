"""The exp-linear model over row blocks: linear predictor, half chi-squared and its gradient in one pass.

A pass visits fixed segments of the matrix's rows. A segment belongs to one thread and writes its own partial sums; the
caller adds them in a fixed order, so the result does not depend on the number of threads. Several passes with other
rows and coefficients share a read: each chunk of rows serves all of them while it is in the last cache.

Eight rows are taken at a time: their dot products with the coefficients bring them into the second-level cache, from
where the gradient reads them again. Dot products are float64 throughout (a float32 predictor would move the gradient by
more than a solver's tolerance); the gradient is summed in the matrix's own type over 256 rows, then in float64. Columns
whose gradient is large, the constant and the magnitudes, are summed in float64 from the start.
"""

import math

import numpy as np

from spfast.kernels.jit import jit

#: Segments of a prediction, which has no sums: more than the threads that share a memory bus.
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
def _dot_block(design, r, coef, out):
    """Write the dot products of eight rows with the coefficients to ``out`` (float64, shape (8,))."""
    x0, x1, x2, x3 = design[r[0]], design[r[1]], design[r[2]], design[r[3]]
    x4, x5, x6, x7 = design[r[4]], design[r[5]], design[r[6]], design[r[7]]
    s0, s1, s2, s3, s4, s5, s6, s7 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for j in range(coef.size):
        c = coef[j]
        s0 += x0[j] * c
        s1 += x1[j] * c
        s2 += x2[j] * c
        s3 += x3[j] * c
        s4 += x4[j] * c
        s5 += x5[j] * c
        s6 += x6[j] * c
        s7 += x7[j] * c
    out[0], out[1], out[2], out[3], out[4], out[5], out[6], out[7] = s0, s1, s2, s3, s4, s5, s6, s7


@jit
def _add_block(design, r, factor, gradient):
    """Add ``factor[k] * row k`` of eight rows to ``gradient`` (the matrix's own type)."""
    x0, x1, x2, x3 = design[r[0]], design[r[1]], design[r[2]], design[r[3]]
    x4, x5, x6, x7 = design[r[4]], design[r[5]], design[r[6]], design[r[7]]
    f0, f1, f2, f3 = factor[0], factor[1], factor[2], factor[3]
    f4, f5, f6, f7 = factor[4], factor[5], factor[6], factor[7]
    for j in range(gradient.size):
        gradient[j] += (f0 * x0[j] + f1 * x1[j] + f2 * x2[j] + f3 * x3[j]) + (
            f4 * x4[j] + f5 * x5[j] + f6 * x6[j] + f7 * x7[j]
        )


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
                _dot_block(design, r, coefs[m], dots)
                eta[m, begin:end] = dots[: end - begin]


@jit
def value_gradient_segments(
    first: int,
    last: int,
    design: np.ndarray,
    segments: np.ndarray,
    rows: np.ndarray,
    begins: np.ndarray,
    ends: np.ndarray,
    coefs: np.ndarray,
    wide: np.ndarray,
    parallax: np.ndarray,
    ivar: np.ndarray,
    eta: np.ndarray,
    values: np.ndarray,
    gradients: np.ndarray,
) -> None:
    """Compute half chi-squared (Eq. 2) and its gradient of several passes, over the segments ``first <= s < last``.

    Per star ``mu = exp(x . coef)``; the value is ``0.5 ivar (parallax - mu)**2`` and the gradient
    ``ivar (mu - parallax) mu x``. The stars of all passes are one after the other in ``rows`` and what goes with them.

    Parameters
    ----------
    first, last, design
        As in `linear_predictor_segments`.
    segments : int64 array, shape (n_segments + 1,)
        The chunk that each segment begins with; last, the number of chunks.
    rows : int64 array, shape (n_stars,)
        Rows of ``design``.
    begins, ends : int64 array, shape (n_passes, n_chunks)
        Where in ``rows`` the stars of each pass that are in each chunk are.
    coefs : float64 array, shape (n_passes, n_features)
    wide : int64 array, shape (n_wide,)
        Columns whose gradient is summed in float64 from the start.
    parallax : float64 array, shape (n_stars,) [mas]
    ivar : float64 array, shape (n_stars,) [mas^-2]
        Inverse variances of the parallaxes; a star with zero is ignored.
    eta : float64 array, shape (n_stars,)
        Written: the linear predictor.
    values : float64 array, shape (n_passes, n_segments)
        Written: half chi-squared of each segment; infinite where a prediction overflows.
    gradients : float64 array, shape (n_passes, n_segments, n_features)
        Written: the gradient of each segment.
    """
    n_passes, n_features = coefs.shape
    r = np.empty(8, dtype=np.int64)
    dots = np.empty(8)
    factor = np.empty(8, dtype=design.dtype)
    partial = np.zeros(n_features, dtype=design.dtype)
    wide_gradient = np.empty((n_passes, wide.size))
    for s in range(first, last):
        values[:, s] = 0.0
        gradients[:, s] = 0.0
        wide_gradient[:] = 0.0
        for c in range(segments[s], segments[s + 1]):
            for m in range(n_passes):
                gradient, coef = gradients[m, s], coefs[m]
                unflushed = 0
                for begin in range(begins[m, c], ends[m, c], 8):
                    end = min(begin + 8, ends[m, c])
                    _block_rows(rows, begin, end, r)
                    _dot_block(design, r, coef, dots)
                    factor[:] = 0
                    for k in range(end - begin):
                        i = begin + k
                        eta[i] = dots[k]
                        if ivar[i] > 0.0:
                            mu = math.exp(min(dots[k], LN_OVERFLOW))
                            residual = mu - parallax[i]
                            slope = ivar[i] * residual * mu
                            if dots[k] > LN_OVERFLOW or abs(slope) > _MAX_SLOPE:
                                values[m, s] = math.inf
                                continue
                            values[m, s] += 0.5 * ivar[i] * residual * residual
                            factor[k] = slope
                            for a in range(wide.size):
                                wide_gradient[m, a] += slope * design[r[k], wide[a]]
                    _add_block(design, r, factor, partial)
                    unflushed += 8
                    if unflushed >= _FLUSH_ROWS or end == ends[m, c]:
                        for j in range(n_features):
                            gradient[j] += partial[j]
                            partial[j] = 0
                        unflushed = 0
        for m in range(n_passes):
            for a in range(wide.size):
                gradients[m, s, wide[a]] = wide_gradient[m, a]


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
