"""A small Gaussian posterior for each star: its mean and the Cholesky factor of its covariance, packed row by row.

Of the lower factor ``L``, with ``L L'`` the covariance, the first rows are those of the first coordinates alone, and
``|L' s|^2`` is the variance of ``s . z``, which no rounding makes negative. LAPACK's inverse of one matrix a star takes
four times as long (270 us of 96 coordinates, against 70), for it knows neither symmetry nor what is asked for.
"""

import math

import numpy as np

from spfast.kernels.jit import jit

__all__ = ["covariance_triangles", "factored_variance", "fill_weights", "solve_posteriors", "weighted_squares"]


@jit
def fill_weights(
    errors: np.ndarray, hidden: np.ndarray, scatter: np.ndarray, inflation: float, out: np.ndarray
) -> None:
    """Write ``1 / (inflation (error^2 + scatter^2))``, or 0 where a pixel is hidden.

    Parameters
    ----------
    errors : float32 array, shape (n_stars, n_pixels)
        Infinite where a pixel was not measured.
    hidden : uint8 array, shape (n_stars or 0, n_pixels)
        1 where a pixel was not measured, whatever its error says.
    scatter : float32 array, shape (n_pixels,)
    inflation : float
    out : float32 array, shape (n_stars, n_pixels)
    """
    factor = np.float32(inflation)
    for star in range(errors.shape[0]):
        row, target = errors[star], out[star]
        for i in range(scatter.size):
            target[i] = np.float32(1.0) / ((row[i] * row[i] + scatter[i] * scatter[i]) * factor)
        if hidden.shape[0]:
            bits = hidden[star]
            for i in range(scatter.size):
                target[i] = np.float32(0.0) if bits[i] else target[i]


@jit
def weighted_squares(weights: np.ndarray, values: np.ndarray, out: np.ndarray) -> None:
    """Write ``sum_i weights_i values_i^2`` of each star (float32 arrays, shape (n_stars, n_pixels); float64 array)."""
    for star in range(out.size):
        total = 0.0
        for i in range(weights.shape[1]):
            total += np.float64(weights[star, i] * values[star, i] * values[star, i])
        out[star] = total


@jit
def solve_posteriors(
    precision: np.ndarray,
    projected: np.ndarray,
    mean: np.ndarray,
    factors: np.ndarray,
    ln_volume: np.ndarray,
) -> None:
    """Solve ``(1 + A) z = b`` for each star, and factor ``(1 + A)^-1 = L L'``.

    With the rows and the columns of ``1 + A`` in reverse order and ``G`` its Cholesky factor, ``L`` is the transpose of
    ``G^-1``, in reverse order again. The upper triangle of ``A``, row by row from its end, is the lower one of the
    reversed matrix.

    Parameters
    ----------
    precision : float32 array, shape (n_stars, n (n + 1) / 2)
        Upper triangles of ``A``, row by row; ``A`` is positive semidefinite.
    projected : float array, shape (n_stars, n)
        b.
    mean : float32 array, shape (n_stars, n)
        Output: z.
    factors : float32 array, shape (n_stars, n (n + 1) / 2)
        Output: L, row by row.
    ln_volume : float64 array, shape (n_stars,)
        Output: ln of the determinant of ``L L'``.
    """
    n_stars, n = projected.shape
    lower, inverse, z = np.empty((n, n)), np.empty((n, n)), np.empty(n)
    for star in range(n_stars):
        begin = precision.shape[1]
        for i in range(n):
            row = lower[i]
            begin -= i + 1
            for j in range(i + 1):
                row[j] = precision[star, begin + i - j]
            row[i] += 1.0
            # The diagonal holds reciprocals.
            for j in range(i):
                other, total = lower[j], row[j]
                for k in range(j):
                    total -= row[k] * other[k]
                row[j] = total * other[j]
            total = row[i]
            for k in range(i):
                total -= row[k] * row[k]
            row[i] = 1.0 / math.sqrt(total)
        ln_root = 0.0
        z[:] = 0.0
        for i in range(n):
            row, target = lower[i], inverse[i]
            target[:i] = 0.0
            for k in range(i):
                share, above = row[k], inverse[k]
                for j in range(k + 1):
                    target[j] -= share * above[j]
            total = 0.0
            for j in range(i):
                target[j] *= row[i]
                total += target[j] * projected[star, n - 1 - j]
            target[i] = row[i]
            total += target[i] * projected[star, n - 1 - i]
            for j in range(i + 1):
                z[j] += total * target[j]
            ln_root += math.log(row[i])
        ln_volume[star] = 2.0 * ln_root
        at = 0
        for i in range(n):
            mean[star, i] = z[n - 1 - i]
            for j in range(i + 1):
                factors[star, at] = inverse[n - 1 - j, n - 1 - i]
                at += 1


@jit
def covariance_triangles(factors: np.ndarray, out: np.ndarray) -> None:
    """Write the upper triangles, row by row, of ``L L'`` (float32 arrays, shape (n_stars, n (n + 1) / 2))."""
    n = (int(math.sqrt(8 * factors.shape[1] + 1)) - 1) // 2
    for star in range(factors.shape[0]):
        packed, at = factors[star], 0
        for i in range(n):
            row = packed[i * (i + 1) // 2 :]
            for j in range(i, n):
                other, total = packed[j * (j + 1) // 2 :], 0.0
                for k in range(i + 1):
                    total += np.float64(row[k] * other[k])
                out[star, at] = total
                at += 1


@jit
def factored_variance(factors: np.ndarray, slopes: np.ndarray, out: np.ndarray) -> None:
    """Add ``|L' s|^2`` of each star.

    Parameters
    ----------
    factors : float32 array, shape (n_stars, n (n + 1) / 2)
        L, row by row.
    slopes : float64 array, shape (n_stars, n)
    out : float64 array, shape (n_stars,)
    """
    n = slopes.shape[1]
    sums = np.empty(n)
    for star in range(out.size):
        sums[:] = 0.0
        at = 0
        for i in range(n):
            slope, row = slopes[star, i], factors[star, at : at + i + 1]
            for j in range(i + 1):
                sums[j] += slope * np.float64(row[j])
            at += i + 1
        total = 0.0
        for i in range(n):
            total += sums[i] * sums[i]
        out[star] += total
