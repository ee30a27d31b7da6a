"""Blocked Cholesky factorisation of a symmetric positive matrix; its products are those of the Gram matrix's panels.

LAPACK's spotrf is faster alone (14 Gflop/s against 10 for 200 columns, 65 against 61 for 2,000). A whole fit is not
faster with it, since the factor takes 0.02 s of 0.8 s, and for 816 columns and more OpenBLAS gives other bits with two
threads than with one. ``docs/benchmarks.rst`` has the numbers.
"""

import math

import numpy as np

from spfast.kernels.jit import jit
from spfast.kernels.panels import WIDTH

#: Rows that one step factors, and columns (or rows) in one piece of its work.
STEP, PIECE = 64, 64


@jit
def factor_block(matrix: np.ndarray, begin: int, end: int, min_pivot: float) -> bool:
    """Factor rows and columns ``begin`` to ``end`` in place into an upper triangle ``R``, ``R.T R`` the block.

    Parameters
    ----------
    matrix : float32 or float64 array, C order, shape (>= end, >= end)
        Symmetric; its upper triangle is read and overwritten, elements below the diagonal are left as they are.
    begin, end : int
    min_pivot : float
        The block is singular if elimination leaves no more than this share of a diagonal element.

    Returns
    -------
    bool
        False if the block is singular or not positive definite; it is then factored in part.
    """
    for i in range(begin, end):
        diagonal = np.float64(matrix[i, i])
        total = diagonal
        for k in range(begin, i):
            total -= np.float64(matrix[k, i]) * np.float64(matrix[k, i])
        if not total > min_pivot * diagonal:
            return False
        root = math.sqrt(total)
        matrix[i, i] = root
        for j in range(i + 1, end):
            total = np.float64(matrix[i, j])
            for k in range(begin, i):
                total -= np.float64(matrix[k, i]) * np.float64(matrix[k, j])
            matrix[i, j] = total / root
    return True


@jit
def solve_panel(first: int, last: int, matrix: np.ndarray, begin: int, end: int, n: int) -> None:
    """Finish the rows ``begin`` to ``end`` of ``R`` right of the diagonal block, in pieces of 64 columns."""
    for piece in range(first, last):
        left = end + PIECE * piece
        right = min(left + PIECE, n)
        for i in range(begin, end):
            row = matrix[i, left:right]
            for k in range(begin, i):
                factor = matrix[k, i]
                above = matrix[k, left:right]
                for j in range(row.size):
                    row[j] -= factor * above[j]
            inverse = matrix.dtype.type(1.0 / matrix[i, i])
            for j in range(row.size):
                row[j] *= inverse


@jit
def copy_panels(first: int, last: int, matrix: np.ndarray, begin: int, end: int, n: int, panels: np.ndarray) -> None:
    """Copy the rows ``begin`` to ``end`` of ``R`` right of the diagonal block to panels, zeros past ``n``."""
    for p in range(first, last):
        left = end + WIDTH * p
        for i in range(begin, end):
            target = panels[p, i - begin]
            for j in range(WIDTH):
                target[j] = matrix[i, left + j] if left + j < n else 0


@jit
def solve_factored(matrix: np.ndarray, n: int, vector: np.ndarray) -> None:
    """Solve ``R.T R x = vector`` in place (float64 vector, shape (n,))."""
    for i in range(n):
        vector[i] /= matrix[i, i]
        value = vector[i]
        row = matrix[i]
        for j in range(i + 1, n):
            vector[j] -= value * np.float64(row[j])
    for i in range(n - 1, -1, -1):
        row = matrix[i]
        total = vector[i]
        for j in range(i + 1, n):
            total -= np.float64(row[j]) * vector[j]
        vector[i] = total / row[i]


@jit
def gather_square(first: int, last: int, gram: np.ndarray, index: np.ndarray, ridge: float, out: np.ndarray) -> None:
    """Copy 64 rows a piece of ``gram[index][:, index]`` to ``out``, its diagonal times ``1 + ridge``."""
    n = index.size
    for piece in range(first, last):
        for a in range(PIECE * piece, min(PIECE * piece + PIECE, n)):
            row = gram[index[a]]
            target = out[a]
            for b in range(a, n):
                target[b] = row[index[b]]
            target[a] *= 1 + ridge
