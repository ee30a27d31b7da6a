"""Propagation of feature errors into a linear combination of features (Hogg, Eilers & Rix 2019, Eq. 5), row by row."""

import numpy as np

from spfast.kernels.jit import jit

__all__ = ["noise_variance_rows"]


@jit
def noise_variance_rows(
    errors: np.ndarray,
    weights: np.ndarray,
    pairs: np.ndarray,
    pair_weights: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write ``sum_k weights_k e_k^2 + sum_p pair_weights_p e_a e_b`` of each row.

    e are the errors of one row, and (a, b) the p-th of ``pairs``. With ``weights = coef^2`` this is the
    square of Eq. 5; with ``pair_weights = 2 rho coef_a coef_b`` features may be correlated with their neighbours.

    Parameters
    ----------
    errors : float32 or float64 array, C order, shape (n_rows, n_columns)
        Of the columns that have a weight alone.
    weights : float64 array, shape (n_columns,)
    pairs : int64 array, C order, shape (n_pairs, 2)
        Columns.
    pair_weights : float64 array, shape (n_pairs,)
    out : float64 array, shape (n_rows,)
        Written: the variance.
    """
    for i in range(errors.shape[0]):
        row = errors[i]
        total = 0.0
        for k in range(weights.size):
            total += weights[k] * np.float64(row[k]) * np.float64(row[k])
        for p in range(pair_weights.size):
            total += pair_weights[p] * np.float64(row[pairs[p, 0]]) * np.float64(row[pairs[p, 1]])
        out[i] = total
