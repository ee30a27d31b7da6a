"""Products, Cholesky factors and inverses of thousands of columns, in blocks, so that a signal gets through in between.

One call of BLAS or LAPACK with 4,000 columns takes seconds, and nothing can end it: SIGTERM and Ctrl-C wait until it
returns. Here no call has more than `_MOST` multiplications, a tenth of a second's work, and the flag of
`spfast.kernels.stop` is looked at before each. To let the main thread go on while the call runs to its end in a thread
that nobody waits for takes less code, but the process then ends while OpenBLAS works in memory that is taken down.
Matrices of up to some hundred columns are one block, with the bits of the library's own call.
"""

import math
from collections.abc import Iterator

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from spfast.kernels.stop import raise_if_stopped

__all__ = ["add_gram", "cholesky", "inverse", "product"]

#: Multiplications of float64 numbers in one call.
_MOST = 1 << 30
#: Columns that one step of a factorisation or a solution takes.
_STEP = 256


def product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return ``left @ right``.

    Parameters
    ----------
    left, right : float64 array, shape (n, k), (k, m)

    Returns
    -------
    float64 array, shape (n, m)

    Examples
    --------
    >>> import numpy as np
    >>> from spfast.model.in_blocks import product
    >>> product(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]])).tolist()
    [[11.0]]
    """
    out = np.empty((left.shape[0], right.shape[1]))
    for rows in _tiles(left.shape[0], left.shape[1]):
        for columns in _tiles(right.shape[1], left.shape[1]):
            raise_if_stopped()
            np.matmul(left[rows], right[:, columns], out=out[rows, columns])
    return out


def add_gram(gram: np.ndarray, part: np.ndarray) -> None:
    """Add ``part.T @ part`` to a symmetric matrix in place.

    Parameters
    ----------
    gram : float64 array, shape (n, n)
    part : float64 array, shape (n_rows, n)
    """
    tiles = list(_tiles(*part.shape[::-1]))
    for i, rows in enumerate(tiles):
        for columns in tiles[i:]:
            raise_if_stopped()
            tile = part[:, rows].T @ part[:, columns]
            gram[rows, columns] += tile
            if columns != rows:
                gram[columns, rows] += tile.T


def cholesky(matrix: np.ndarray) -> np.ndarray:
    """Return the lower triangle ``L`` with ``L L.T`` a symmetric, positive definite matrix.

    Parameters
    ----------
    matrix : float64 array, shape (n, n)

    Returns
    -------
    float64 array, shape (n, n)

    Raises
    ------
    numpy.linalg.LinAlgError
        If it is not positive definite.

    Examples
    --------
    >>> import numpy as np
    >>> from spfast.model.in_blocks import cholesky
    >>> cholesky(np.array([[4.0, 2.0], [2.0, 5.0]])).tolist()
    [[2.0, 0.0], [1.0, 2.0]]
    """
    n = len(matrix)
    factor = np.zeros((n, n))
    for begin in range(0, n, _STEP):
        end = min(begin + _STEP, n)
        # What the columns before leave of these, a few rows at a time.
        column = matrix[begin:, begin:end].copy()
        if begin:
            column -= product(factor[begin:, :begin], factor[begin:end, :begin].T)
        raise_if_stopped()
        corner = np.linalg.cholesky(column[: end - begin])
        factor[begin:end, begin:end] = corner
        if end < n:
            below = solve_triangular(corner, column[end - begin :].T, lower=True, check_finite=False)
            factor[end:, begin:end] = below.T
    return factor


def inverse(matrix: np.ndarray) -> np.ndarray:
    """Return the inverse of a symmetric, positive definite matrix.

    Parameters
    ----------
    matrix : float64 array, shape (n, n)

    Returns
    -------
    float64 array, shape (n, n)

    Raises
    ------
    numpy.linalg.LinAlgError
        If it is not positive definite.
    ValueError
        If a number in it is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from spfast.model.in_blocks import inverse
    >>> inverse(np.diag([4.0, 16.0])).tolist()
    [[0.25, 0.0], [0.0, 0.0625]]
    """
    matrix = np.asarray_chkfinite(matrix)
    n = len(matrix)
    if n <= _STEP:
        raise_if_stopped()
        return cho_solve(cho_factor(matrix), np.eye(n))
    # The inverse of the factor first, some rows at a time: (L L.T)^-1 = L^-T L^-1.
    factor, lower, out = cholesky(matrix), np.zeros((n, n)), np.zeros((n, n))
    for begin in range(0, n, _STEP):
        end = min(begin + _STEP, n)
        rest = -product(factor[begin:end, :begin], lower[:begin, :begin])
        corner = factor[begin:end, begin:end]
        lower[begin:end, :begin] = solve_triangular(corner, rest, lower=True, check_finite=False)
        lower[begin:end, begin:end] = solve_triangular(corner, np.eye(end - begin), lower=True, check_finite=False)
    add_gram(out, lower)
    return out


def _tiles(n: int, inner: int) -> Iterator[slice]:
    """Slices of ``range(n)``, such that two of them with ``inner`` products for each pair are one call's work."""
    side = max(1, math.isqrt(_MOST // max(inner, 1)))
    for begin in range(0, n, side):
        yield slice(begin, min(begin + side, n))
