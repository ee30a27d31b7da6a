"""Combine a few columns, degenerate ones too, into directions that are orthonormal under weights."""

import numpy as np

from spfast.reads.reader import read_values

__all__ = ["explained_by", "whitening"]

#: Rows of the sample that `explained_by` fits.
_SAMPLE_ROWS = 384
#: Eigenvalues of the scaled Gram below this fraction of the largest are directions without data.
_RANK_TOLERANCE = 1e-11


def whitening(columns: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return ``T`` with ``(columns T).T diag(weights) (columns T) = 1``.

    Parameters
    ----------
    columns : float64 array, shape (n_rows, n)
    weights : float64 array, shape (n_rows,)

    Returns
    -------
    transform : float64 array, shape (n, n_directions)
        Directions without data are left out, so duplicate and empty columns do no harm.
    """
    gram = (columns * weights[:, None]).T @ columns
    scale = np.sqrt(np.where(np.diag(gram) > 0.0, np.diag(gram), 1.0))
    if scale.size == 0:
        return np.empty((0, 0))
    values, vectors = np.linalg.eigh(gram / np.outer(scale, scale))
    kept = values > _RANK_TOLERANCE * max(values.max(), np.finfo(float).tiny)
    return np.ascontiguousarray(vectors[:, kept] / np.sqrt(values[kept]) / scale[:, None])


def explained_by(
    directions: np.ndarray, weights: np.ndarray, design: np.ndarray, rows: np.ndarray, columns: np.ndarray | None
) -> np.ndarray:
    """Fit other columns by directions, on a sample of the rows.

    Parameters
    ----------
    directions : float64 array, shape (n_rows, n_directions)
    weights : float64 array, shape (n_rows,)
    design, rows
        The design matrix and its selected rows.
    columns : int64 array or None
        The columns of ``design`` to fit; None for all.

    Returns
    -------
    explained : float64 array, shape (n_directions, n_columns)
        Least-squares coefficients.
    """
    used = np.flatnonzero(weights)
    sample = used[np.linspace(0, used.size - 1, min(used.size, _SAMPLE_ROWS)).astype(np.int64)]
    part = read_values(design, rows[sample], columns)
    weighted = (directions[sample] * weights[sample][:, None]).T
    return np.linalg.pinv(weighted @ directions[sample], rcond=1e-10, hermitian=True) @ (weighted @ part)
