"""Propagation of feature errors into a linear combination of features (Hogg, Eilers & Rix 2019, Eq. 5), row by row."""

import numpy as np

from spfast.kernels.jit import jit

__all__ = ["ROWS_A_PIECE", "noise_variance_rows"]

#: Rows that one piece of work has.
ROWS_A_PIECE = 256


@jit
def noise_variance_rows(
    first: int,
    last: int,
    feature_errors: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    weights: np.ndarray,
    pairs: np.ndarray,
    pair_weights: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write ``sum_k weights_k e_k^2 + sum_p pair_weights_p e_a e_b`` for the pieces ``first <= piece < last``.

    e are the errors of one row in ``columns``, and (a, b) the p-th of ``pairs``. With ``weights = coef^2`` this is the
    square of Eq. 5; with ``pair_weights = 2 rho coef_a coef_b`` features may be correlated with their neighbours.

    Parameters
    ----------
    first, last : int
        Pieces of 256 rows to do.
    feature_errors : float32 or float64 array, C order, shape (n_stars, n_features)
    rows : int64 array, shape (n_rows,)
    columns : int64 array, shape (n_columns,)
        Columns that have a weight.
    weights : float64 array, shape (n_columns,)
    pairs : int64 array, C order, shape (n_pairs, 2)
        Positions in ``columns``.
    pair_weights : float64 array, shape (n_pairs,)
    out : float64 array, shape (n_rows,)
        Written: the variance.
    """
    errors = np.empty(columns.size)
    for i in range(ROWS_A_PIECE * first, min(ROWS_A_PIECE * last, rows.size)):
        row = feature_errors[rows[i]]
        total = 0.0
        for k in range(columns.size):
            errors[k] = row[columns[k]]
            total += weights[k] * errors[k] * errors[k]
        for p in range(pair_weights.size):
            total += pair_weights[p] * errors[pairs[p, 0]] * errors[pairs[p, 1]]
        out[i] = total
