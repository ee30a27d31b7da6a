"""Directions of a few columns that are orthonormal under weights: where unpenalised columns stop being degenerate."""

import numpy as np

__all__ = ["whitening"]

#: Eigenvalues of the scaled Gram below this fraction of the largest are directions without data.
_RANK_TOLERANCE = 1e-11


def whitening(columns, weights):
    """Return ``T`` with ``(columns T).T diag(weights) (columns T) = 1``.

    Parameters
    ----------
    columns : float64 array, shape (n_rows, n)
    weights : float64 array, shape (n_rows,)

    Returns
    -------
    transform : float64 array, shape (n, n_directions)
        Directions without data are left out, so a duplicate or empty column costs nothing.
    """
    gram = (columns * weights[:, None]).T @ columns
    scale = np.sqrt(np.where(np.diag(gram) > 0.0, np.diag(gram), 1.0))
    if scale.size == 0:
        return np.empty((0, 0))
    values, vectors = np.linalg.eigh(gram / np.outer(scale, scale))
    kept = values > _RANK_TOLERANCE * max(values.max(), np.finfo(float).tiny)
    return np.ascontiguousarray(vectors[:, kept] / np.sqrt(values[kept]) / scale[:, None])
