"""A slow, readable reference for the low-rank model's kernels: plain numpy in float64, without spfast.kernels."""

import numpy as np


def weights(errors, measured, scatter, inflation):
    """Of all pixels: ``1 / (inflation (error^2 + scatter^2))``, 0 where there is no measurement."""
    errors, scatter = errors.astype(np.float64), scatter.astype(np.float64)
    return np.where(measured, 1.0 / (inflation * (errors**2 + scatter**2)), 0.0)


def star_posterior(flux, weights, mean, factors):
    """One star: its coordinates, their covariance, the misfit that they leave, and the spectrum's ln likelihood.

    The likelihood is that of a Gaussian with the dense covariance of the measured pixels: no identity is used.
    """
    factors, offset = factors.astype(np.float64), flux.astype(np.float64) - mean
    covariance = np.linalg.inv(np.eye(len(factors)) + (factors * weights) @ factors.T)
    z = covariance @ factors @ (weights * offset)
    known = weights > 0
    left = offset - z @ factors
    misfit = np.sum(weights * left**2) / max(known.sum(), 1)
    dense = np.diag(1.0 / weights[known]) + factors[:, known].T @ factors[:, known]
    likelihood = -0.5 * (np.linalg.slogdet(dense)[1] + offset[known] @ np.linalg.solve(dense, offset[known]))
    return z, covariance, misfit, likelihood


def dense(roots):
    """The covariances of stars (float64 array, shape (n_stars, n, n)) from their packed Cholesky factors."""
    n = int(np.sqrt(2 * roots.shape[1]))
    lower = np.zeros((len(roots), n, n))
    i, j = np.tril_indices(n)
    lower[:, i, j] = roots
    return lower @ lower.transpose(0, 2, 1)


def pixel_sums(flux, errors, weights, mean, trust, z, covariances):
    """For each pixel: ``sum w t t'``, ``sum w t x``, and sums of w, w x^2 and w error^2, with ``t = [1, z]``."""
    n_stars, n_terms, n_pixels = len(z), z.shape[1] + 1, flux.shape[1]
    squares, products = np.zeros((n_pixels, n_terms, n_terms)), np.zeros((n_pixels, n_terms))
    totals = np.zeros((3, n_pixels))
    for n in range(n_stars):
        term = np.concatenate([[1.0], z[n].astype(np.float64)])
        second = np.outer(term, term)
        second[1:, 1:] += covariances[n]
        for p in range(n_pixels):
            w, x = trust[n] * weights[n, p], float(flux[n, p]) - float(mean[p])
            if w > 0.0:
                squares[p] += w * second
                products[p] += w * x * term
                totals[:, p] += w, w * x**2, w * float(errors[n, p]) ** 2
    return squares, products, totals
