"""Estimate badly measured pixels from the same star's other pixels: a Gaussian factor model, row by row."""

import math

import numpy as np

from spfast.kernels.cholesky import factor_block, solve_factored
from spfast.kernels.jit import jit

__all__ = ["estimate_rows"]


@jit
def estimate_rows(
    mean: np.ndarray,
    factors: np.ndarray,
    scatter: np.ndarray,
    error_max: float,
    ln_flux: np.ndarray,
    ln_flux_error: np.ndarray,
) -> None:
    """Replace pixels with large errors by their mean given all of the star's pixels, in place.

    The model of a spectrum is ``x = mean + factors' z + r + e``: ``z ~ N(0, 1)`` differs from star to star,
    ``r ~ N(0, scatter^2)`` is what the factors do not describe, and ``e ~ N(0, error^2)`` is the noise. With
    ``w = 1 / (error^2 + scatter^2)``::

        C = (1 + sum_i w_i b_i b_i')^-1,  z = C sum_i w_i b_i (x_i - mean_i),  b_i = factors[:, i]

    are the covariance and the mean of z given the spectrum. The factors predict ``m_i = mean_i + b_i' z`` in pixel i.
    The estimate is ``m_i + g_i (x_i - m_i)``: it moves from the prediction towards the measurement by the share
    ``g_i = scatter_i^2 w_i``. Its variance is ``scatter_i^2 (1 - g_i) + (1 - g_i)^2 b_i' C b_i``. A pixel that was not
    measured has an infinite error.

    Parameters
    ----------
    mean, scatter : float32 array, shape (n_pixels,)
        ``scatter`` is positive.
    factors : float32 array, C order, shape (n_factors, n_pixels)
    error_max : float
        Pixels with larger errors are replaced.
    ln_flux, ln_flux_error : float32 array, C order, shape (n_stars, n_pixels)
        Changed where the error is too large; flux is finite, errors are positive.
    """
    n_factors, n_pixels = factors.shape
    weight, weighted = np.empty(n_pixels, np.float32), np.empty(n_pixels, np.float32)
    matrix, z, b = np.empty((n_factors, n_factors)), np.empty(n_factors), np.empty(n_factors)
    for star in range(ln_flux.shape[0]):
        flux, error = ln_flux[star], ln_flux_error[star]
        n_uncertain = 0
        for i in range(n_pixels):
            n_uncertain += error[i] > error_max
            weight[i] = np.float32(1.0) / (error[i] * error[i] + scatter[i] * scatter[i])
            weighted[i] = weight[i] * (flux[i] - mean[i])
        if not n_uncertain:
            continue
        for k in range(n_factors):
            total = 0.0
            for i in range(n_pixels):
                total += np.float64(weighted[i] * factors[k, i])
            z[k] = total
            for m in range(k + 1):
                total = 0.0
                for i in range(n_pixels):
                    total += np.float64(weight[i] * factors[k, i] * factors[m, i])
                matrix[m, k] = total
            matrix[k, k] += 1.0
        factor_block(matrix, 0, n_factors, 0.0)  # never singular: the unit matrix plus squares
        solve_factored(matrix, n_factors, z)
        for i in range(n_pixels):
            if not error[i] > error_max:
                continue
            expected, z_variance = np.float64(mean[i]), 0.0
            for k in range(n_factors):
                expected += factors[k, i] * z[k]
                b[k] = factors[k, i]
            for k in range(n_factors):
                b[k] /= matrix[k, k]
                for m in range(k + 1, n_factors):
                    b[m] -= matrix[k, m] * b[k]
                z_variance += b[k] * b[k]
            variance = np.float64(scatter[i]) * np.float64(scatter[i])
            share = variance * weight[i]
            flux[i] = expected + share * (flux[i] - expected)
            error[i] = math.sqrt(variance * (1.0 - share) + (1.0 - share) ** 2 * z_variance)
