"""Weighted Gram matrix of chosen columns over row blocks: gather, subtract the unpenalised part, multiply panels.

For a block of rows the chosen columns are gathered, the part that the unpenalised columns explain is subtracted and
the rest scaled by the square root of the row's weight. The block then adds its outer product to the upper triangle of
the Gram matrix (`spfast.kernels.panels`). Memory is the Gram matrix and one block, whatever the number of rows.
"""

import math

import numpy as np
from numpy.typing import DTypeLike

from spfast.kernels.jit import jit
from spfast.kernels.panels import WIDTH
from spfast.kernels.vectors import ask_for

#: A block's elements at most and its rows: the block stays in the caches, one of its panels in the first-level cache.
_BLOCK_SIZE, _LEAST_ROWS, _MOST_ROWS = 1 << 19, 256, 2048
#: How many rows ahead the memory is asked for the columns. Measured; twice, as in `spfast.kernels.eight_rows`.
_AHEAD = (4, 2)
#: Columns and rows of a piece of `complement_columns`.
COMPLEMENT_COLUMNS, _COMPLEMENT_ROWS = 64, 32


def new_block(n_columns: int, n_rows: int, dtype: DTypeLike) -> np.ndarray:
    """Return a block of panels for ``n_columns``; its number of rows does not depend on the threads."""
    n_panels = -(-n_columns // WIDTH)
    depth = max(_LEAST_ROWS, min(_MOST_ROWS, _BLOCK_SIZE // n_columns))
    return np.zeros((n_panels, max(1, min(depth, n_rows)), WIDTH), dtype=dtype)


@jit
def gather_rows(
    first: int,
    last: int,
    design: np.ndarray,
    rows: np.ndarray,
    weights: np.ndarray,
    unpenalized: np.ndarray,
    whiten: np.ndarray,
    columns: np.ndarray,
    explained: np.ndarray,
    block: np.ndarray,
) -> None:
    """Fill rows ``first <= k < last`` of a block from ``design[rows[k]]``.

    Parameters
    ----------
    first, last : int
    design
        As in `spfast.kernels.exp_linear.linear_predictor_segments`.
    rows : int64 array, shape (>= last,)
        Rows of ``design`` of this block.
    weights : float64 array, shape (>= last,)
        Absolute values of the rows' second derivatives.
    unpenalized : int64 array, shape (n_unpenalized,)
        Columns to eliminate.
    whiten : float64 array, shape (n_unpenalized, n_directions)
        Combines them into directions that are orthonormal under the weights.
    columns : int64 array, shape (n_columns,)
    explained : array of the block's type, shape (n_directions, n_columns)
        Each column's coefficients on the directions; that part of the column is subtracted.
    block : float array, C order, shape (n_panels, >= last, WIDTH)
        Written: the directions, then what is left of the columns, all times the square root of the weight.
    """
    n_directions, n_columns = whiten.shape[1], columns.size
    n = n_directions + n_columns
    direction = np.empty(n_directions)
    out = np.empty(n, dtype=block.dtype)
    part = out[n_directions:]
    for k in range(first, last):
        row = design[rows[k]]
        scale = block.dtype.type(math.sqrt(weights[k]))
        direction[:] = 0.0
        for a in range(unpenalized.size):
            value = np.float64(row[unpenalized[a]])
            for b in range(n_directions):
                direction[b] += value * whiten[a, b]
        soon, sooner = rows[min(k + _AHEAD[0], last - 1)], rows[min(k + _AHEAD[1], last - 1)]
        for j in range(n_columns):
            part[j] = row[columns[j]]
            ask_for(design, soon, columns[j])
            ask_for(design, sooner, columns[j])
        for b in range(n_directions):
            out[b] = direction[b]
        in_threes = n_directions - n_directions % 3
        for b in range(0, in_threes, 3):
            d0, d1, d2 = out[b], out[b + 1], out[b + 2]
            e0, e1, e2 = explained[b], explained[b + 1], explained[b + 2]
            for j in range(n_columns):
                part[j] -= d0 * e0[j] + d1 * e1[j] + d2 * e2[j]
        for b in range(in_threes, n_directions):
            d, e = out[b], explained[b]
            for j in range(n_columns):
                part[j] -= d * e[j]
        for p in range(block.shape[0]):
            target = block[p, k]
            begin = p * WIDTH
            for j in range(min(WIDTH, n - begin)):
                target[j] = scale * out[begin + j]


@jit
def complement_columns(
    first: int,
    last: int,
    raw: np.ndarray,
    n_directions: int,
    remainder: np.ndarray,
    old: int,
    n: int,
    store: np.ndarray,
) -> None:
    """Compute columns ``old`` to ``n`` of the Schur complement and the rows that mirror them, 64 columns a piece.

    Parameters
    ----------
    first, last : int
        Pieces to do.
    raw : float array, shape (>= n_directions + n, >= n_directions + n)
        Upper triangle of the Gram matrix of directions and columns.
    n_directions : int
    remainder : float64 array, shape (n_directions, n)
        Inner products of the directions with what `gather_rows` left of each column.
    old, n : int
    store : array of ``raw``'s type, shape (>= n, >= n)
        Written on both sides of the diagonal: ``raw`` of the columns minus ``remainder.T @ remainder``.
    """
    for piece in range(first, last):
        left = old + COMPLEMENT_COLUMNS * piece
        right = min(left + COMPLEMENT_COLUMNS, n)
        for top in range(0, right, _COMPLEMENT_ROWS):
            for i in range(top, min(top + _COMPLEMENT_ROWS, right)):
                begin = max(left, i)
                source = raw[n_directions + i, n_directions + begin : n_directions + right]
                target = store[i, begin:right]
                for j in range(target.size):
                    target[j] = source[j]
                for b in range(n_directions):
                    here, there = remainder[b, i], remainder[b, begin:right]
                    for j in range(target.size):
                        target[j] -= here * there[j]
            for i in range(top, min(top + _COMPLEMENT_ROWS, right)):
                for j in range(max(left, i + 1), right):
                    store[j, i] = store[i, j]
