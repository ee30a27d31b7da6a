"""Passes of the low-rank model of spectra over blocks of stars: their coordinates, and the sums of its next basis.

The model of a star's ln flux is ``x = mean + factors' z + r + e``: the coordinates ``z ~ N(0, 1)`` differ from star to
star, ``r ~ N(0, scatter^2)`` is what the factors do not describe, and ``e ~ N(0, error^2)`` is the noise. The weight
of a pixel is ``w = 1 / (inflation (error^2 + scatter^2))``, 0 where it was not measured: neighbouring pixels share
noise, which counts less than as much noise of their own (Tsalmantza & Hogg 2012; Bailey 2012).

All that costs are two matrix products a pass, of the weights with the pairwise products of the factors and of the
coordinates. BLAS makes them, on blocks of one shape: a star's coordinates have the same bits in any company.
"""

import numpy as np

from spfast.kernels.posteriors import fill_weights, solve_posteriors, weighted_squares

__all__ = [
    "PIXELS_A_PIECE",
    "ROWS_A_PIECE",
    "add_pixel_sums",
    "pair_products",
    "pixel_weights",
    "star_posteriors",
    "symmetric",
]

#: Stars in one product, and pixels whose sums are made together.
ROWS_A_PIECE, PIXELS_A_PIECE = 128, 512


_NONE_HIDDEN = np.empty((0, 0), np.uint8)


def pair_products(values):
    """Return the products ``values[i] values[j]``, ``i <= j``, along the first axis.

    Parameters
    ----------
    values : array, shape (n, n_columns)

    Returns
    -------
    array, shape (n (n + 1) / 2, n_columns)
    """
    i, j = np.triu_indices(len(values))
    return values[i] * values[j]


def symmetric(packed, n):
    """Return symmetric matrices from their upper triangles (float64 array, shape (n_matrices, n, n)).

    Parameters
    ----------
    packed : array, shape (n_matrices, n (n + 1) / 2)
    n : int
    """
    i, j = np.triu_indices(n)
    matrices = np.empty((len(packed), n, n))
    matrices[:, i, j] = packed
    matrices[:, j, i] = packed
    return matrices


def pixel_weights(errors, unmeasured, scatter, inflation):
    """Return the weights of pixels.

    Parameters
    ----------
    errors : float16 or float32 array, shape (n_stars, n_pixels)
        Infinite where a pixel was not measured.
    unmeasured : uint8 array, shape (n_stars, ceil(n_pixels / 8)), or None
        Bits of pixels that were not measured, whatever their error says.
    scatter : float32 array, shape (n_pixels,)
    inflation : float

    Returns
    -------
    float32 array, shape (n_stars, n_pixels)
    """
    n_pixels = errors.shape[1]
    hidden = _NONE_HIDDEN if unmeasured is None else np.unpackbits(unmeasured, axis=1, count=n_pixels)
    weights = np.empty(errors.shape, np.float32)
    fill_weights(np.ascontiguousarray(errors, dtype=np.float32), hidden, scatter, inflation, weights)
    return weights


def star_posteriors(first, last, flux, errors, unmeasured, basis, pairs, coordinates, factors, misfit, likelihood):
    """Find the coordinates of stars given their spectra, in the pieces ``first <= p < last`` of 128 stars.

    With ``C = (1 + sum_i w_i b_i b_i')^-1``, ``b_i = factors[:, i]``, they are ``z = C sum_i w_i b_i (x_i - mean_i)``.

    Parameters
    ----------
    first, last : int
    flux : float32 array, shape (n_stars, n_pixels)
        ln flux.
    errors : float16 or float32 array, shape (n_stars, n_pixels)
    unmeasured : uint8 array or None
        As for `pixel_weights`.
    basis : object
        With the arrays ``mean``, ``factors``, ``scatter`` and the number ``inflation``.
    pairs : float32 array, shape (n_pairs, n_pixels)
        `pair_products` of the factors.
    coordinates : float32 array, shape (n_stars, n_factors)
        Output: z.
    factors : float32 array, shape (n_stars, n_pairs)
        Output: the lower Cholesky factor of C, row by row.
    misfit : float32 array, shape (n_stars,)
        Output: chi-squared of what z leaves of the spectrum, over the number of pixels measured; 0 if there is none.
    likelihood : float64 array, shape (n_stars,), or None
        Output, if it is wanted: ln likelihood of the spectrum, without ``-ln(2 pi) / 2`` a pixel measured.
    """
    weights = np.empty((ROWS_A_PIECE, flux.shape[1]), np.float32)
    offset, weighted = np.empty_like(weights), np.empty_like(weights)
    z = np.zeros((ROWS_A_PIECE, len(basis.factors)), np.float32)
    ln_volume, chi_squared = np.zeros((2, ROWS_A_PIECE))
    for piece in range(first, last):
        rows = slice(piece * ROWS_A_PIECE, min((piece + 1) * ROWS_A_PIECE, len(flux)))
        n_rows = rows.stop - rows.start
        bits = None if unmeasured is None else unmeasured[rows]
        weights[:n_rows] = pixel_weights(errors[rows], bits, basis.scatter, basis.inflation)
        np.subtract(flux[rows], basis.mean, out=offset[:n_rows])
        # Products always have all rows: other shapes give other bits.
        weights[n_rows:] = offset[n_rows:] = 0.0
        np.multiply(weights, offset, out=weighted)
        projected, precision = weighted @ basis.factors.T, weights @ pairs.T
        solve_posteriors(precision[:n_rows], projected[:n_rows], z, factors[rows], ln_volume)
        coordinates[rows] = z[:n_rows]
        n_measured = np.count_nonzero(weights[:n_rows], axis=1)
        if likelihood is not None:
            weighted_squares(weights, offset, chi_squared)
            ln_weights = np.log(weights, where=weights > 0, out=np.zeros_like(weights)).sum(axis=1, dtype=np.float64)
            gain = np.sum(projected.astype(np.float64) * z, axis=1)
            likelihood[rows] = 0.5 * (ln_weights + ln_volume - chi_squared + gain)[:n_rows]
        offset -= z @ basis.factors
        weighted_squares(weights, offset, chi_squared)
        misfit[rows] = chi_squared[:n_rows] / np.maximum(n_measured, 1)


def add_pixel_sums(first, last, flux, errors, unmeasured, basis, trust, terms, seconds, sums, totals, n_measured):
    """Add what the next basis follows from, over a block of stars, in the pieces ``first <= p < last`` of 512 pixels.

    Parameters
    ----------
    first, last : int
    flux, errors, unmeasured, basis
        As in `star_posteriors`.
    trust : float32 array, shape (n_stars,)
        What each star's weights are multiplied by.
    terms : float32 array, shape (n_stars, n_terms)
        1 and the star's coordinates.
    seconds : float32 array, shape (n_stars, n_terms (n_terms + 1) / 2)
        Upper triangles of the mean of ``terms terms'``.
    sums : tuple of float64 array, shapes (n_terms (n_terms + 1) / 2, n_pixels) and (n_terms, n_pixels)
        Output: ``sum w terms terms'`` and ``sum w terms (x - mean)``.
    totals : float64 array, shape (3, n_pixels)
        Output: ``sum w``, ``sum w (x - mean)^2`` and ``sum w error^2``.
    n_measured : int64 array, shape (n_pieces,)
        Output: values with a weight.
    """
    squares, products = sums
    for piece in range(first, last):
        some = slice(piece * PIXELS_A_PIECE, min((piece + 1) * PIXELS_A_PIECE, flux.shape[1]))
        bits = None if unmeasured is None else unmeasured[:, some.start // 8 : -(-some.stop // 8)]
        noise = np.asarray(errors[:, some], dtype=np.float32)
        weights = pixel_weights(noise, bits, basis.scatter[some], basis.inflation)
        n_measured[piece] += np.count_nonzero(weights)
        variance = np.where(weights > 0, noise, 0.0) ** 2
        weights *= trust[:, None]
        offset = flux[:, some] - basis.mean[some]
        weighted = weights * offset
        squares[:, some] += seconds.T @ weights
        products[:, some] += terms.T @ weighted
        totals[0, some] += weights.sum(axis=0, dtype=np.float64)
        totals[1, some] += np.einsum("np,np->p", weighted, offset)
        totals[2, some] += np.einsum("np,np->p", weights, variance)
