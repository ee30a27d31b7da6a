"""Propagation of independent feature errors into ln parallax (Hogg, Eilers & Rix 2019, Eq. 5), row by row."""

import math

import numpy as np

from spfast.kernels.jit import jit


@jit
def ln_error_rows(first, last, feature_errors, rows, columns, coef_squared, out):
    """Write ``sqrt(sum_j coef_j^2 error_nj^2)`` for 256 rows a piece, ``first <= piece < last``.

    Parameters
    ----------
    first, last : int
    feature_errors : float32 or float64 array, C order, shape (n_stars, n_features)
    rows : int64 array, shape (n_rows,)
    columns : int64 array, shape (n_columns,)
        Those with a non-zero coefficient.
    coef_squared : float64 array, shape (n_columns,)
    out : float64 array, shape (n_rows,)
        Written: standard deviation of ln parallax from the features' errors.
    """
    for piece in range(first, last):
        for i in range(256 * piece, min(256 * piece + 256, rows.size)):
            row = feature_errors[rows[i]]
            total = 0.0
            for k in range(columns.size):
                error = np.float64(row[columns[k]])
                total += coef_squared[k] * error * error
            out[i] = math.sqrt(total)
