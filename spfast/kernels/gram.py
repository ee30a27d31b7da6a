"""Weighted Gram matrix of chosen columns over row blocks: gather, take out the unpenalised part, rank-8 updates.

For a block of rows the chosen columns are gathered, the part that the unpenalised columns explain is subtracted and
the rest scaled by the square root of the row's weight. The block then adds its outer product to the upper triangle of
the Gram matrix, tile by tile. Memory is the Gram matrix and one block, whatever the number of rows.
"""

import math

import numpy as np

from spfast.kernels.jit import jit

#: Elements of one block, and most rows of it: it stays in the third-level cache.
_BLOCK_SIZE, _MOST_ROWS, _LEAST_ROWS = 1 << 22, 2048, 128
#: Rows and columns of one tile of the Gram matrix.
TILE_ROWS, TILE_COLUMNS = 64, 512


def block_rows(n_columns, n_rows):
    """Return the rows of one block, a multiple of eight that depends on the problem alone."""
    fitting = max(_LEAST_ROWS, min(_MOST_ROWS, _BLOCK_SIZE // max(n_columns, 1)))
    return 8 * -(-min(fitting, n_rows) // 8)


@jit
def gather_rows(first, last, design, rows, begin, weights, unpenalized, whiten, columns, explained, block, signs):
    """Fill rows ``first <= k < last`` of a block.

    Parameters
    ----------
    first, last : int
        Rows of the block to fill; ``begin + k`` is the selected row.
    design, rows
        As in `spfast.kernels.exp_linear.linear_predictor_segments`.
    begin : int
        First selected row of the block.
    weights : float64 array, shape (n_rows,)
        Second derivatives; past the last row a block is filled with zeros.
    unpenalized : int64 array, shape (n_unpenalized,)
        Columns taken out.
    whiten : float64 array, shape (n_unpenalized, n_directions)
        Turns them into directions that are orthonormal under the weights.
    columns : int64 array, shape (n_columns,)
    explained : array of the block's type, shape (n_directions, n_columns)
        Coefficients of each column on the directions, subtracted.
    block : float array, shape (n_block_rows, >= n_directions + n_columns)
        Written: directions, then columns, times the root of the weight's size.
    signs : float array of the block's type, shape (n_block_rows,)
        Written: the weight's sign.
    """
    n_directions = whiten.shape[1]
    n_columns = columns.size
    direction = np.empty(n_directions)
    for k in range(first, last):
        out = block[k]
        i = begin + k
        weight = weights[i] if i < rows.size else 0.0
        signs[k] = -1.0 if weight < 0.0 else 1.0
        if weight == 0.0:
            out[: n_directions + n_columns] = 0
            continue
        row = design[rows[i]]
        scale = block.dtype.type(math.sqrt(abs(weight)))
        direction[:] = 0.0
        for a in range(unpenalized.size):
            value = np.float64(row[unpenalized[a]])
            for b in range(n_directions):
                direction[b] += value * whiten[a, b]
        part = out[n_directions : n_directions + n_columns]
        for j in range(n_columns):
            part[j] = row[columns[j]]
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
        for j in range(n_directions + n_columns):
            out[j] *= scale


@jit
def _add_rank8(block, k, i, begin, end, signs, gram):
    """Add eight block rows' outer product to two rows of the Gram matrix, columns ``begin`` to ``end``."""
    s0, s1, s2, s3 = signs[k], signs[k + 1], signs[k + 2], signs[k + 3]
    s4, s5, s6, s7 = signs[k + 4], signs[k + 5], signs[k + 6], signs[k + 7]
    a0, a1, a2, a3 = s0 * block[k, i], s1 * block[k + 1, i], s2 * block[k + 2, i], s3 * block[k + 3, i]
    a4, a5, a6, a7 = s4 * block[k + 4, i], s5 * block[k + 5, i], s6 * block[k + 6, i], s7 * block[k + 7, i]
    i += 1
    b0, b1, b2, b3 = s0 * block[k, i], s1 * block[k + 1, i], s2 * block[k + 2, i], s3 * block[k + 3, i]
    b4, b5, b6, b7 = s4 * block[k + 4, i], s5 * block[k + 5, i], s6 * block[k + 6, i], s7 * block[k + 7, i]
    p0, p1, p2, p3 = block[k, begin:end], block[k + 1, begin:end], block[k + 2, begin:end], block[k + 3, begin:end]
    p4, p5, p6, p7 = block[k + 4, begin:end], block[k + 5, begin:end], block[k + 6, begin:end], block[k + 7, begin:end]
    upper, lower = gram[i - 1, begin:end], gram[i, begin:end]
    for j in range(upper.size):
        x0, x1, x2, x3, x4, x5, x6, x7 = p0[j], p1[j], p2[j], p3[j], p4[j], p5[j], p6[j], p7[j]
        upper[j] += (a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3) + (a4 * x4 + a5 * x5 + a6 * x6 + a7 * x7)
        lower[j] += (b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3) + (b4 * x4 + b5 * x5 + b6 * x6 + b7 * x7)


@jit
def add_outer_tiles(first, last, block, n_block_rows, tiles, signs, gram):
    """Add ``block.T @ diag(signs) @ block`` to the tiles ``first <= t < last`` of the upper triangle of ``gram``.

    Parameters
    ----------
    first, last : int
    block : float array, shape (>= n_block_rows, n)
    n_block_rows : int
        A multiple of eight.
    tiles : int64 array, shape (n_tiles, 4)
        First row, last row + 1, first column, last column + 1 of each tile; rows come in pairs.
    signs : float array of the block's type, shape (>= n_block_rows,)
        1 or -1.
    gram : float array, shape (>= n, >= n)
        Updated on and above the diagonal; some elements below it as well.
    """
    for t in range(first, last):
        row_begin, row_end, column_begin, column_end = tiles[t]
        for k in range(0, n_block_rows, 8):
            for i in range(row_begin, row_end, 2):
                begin = max(column_begin, i & ~15)  # whole cache lines, from the diagonal on
                if begin < column_end:
                    _add_rank8(block, k, i, begin, column_end, signs, gram)


@jit
def upper_tiles(row_from, column_from, n):
    """Return the tiles of the upper triangle with rows from ``row_from`` and columns from ``column_from`` to ``n``.

    ``row_from`` is even; ``gram`` needs an even number of rows, the last one past ``n`` if that is odd.
    """
    tiles = np.empty((((n + TILE_ROWS) // TILE_ROWS + 1) * ((n + TILE_COLUMNS) // TILE_COLUMNS + 1), 4), dtype=np.int64)
    count = 0
    for column_begin in range(column_from, n, TILE_COLUMNS):
        column_end = min(column_begin + TILE_COLUMNS, n)
        for row_begin in range(row_from, column_end, TILE_ROWS):
            row_end = min(row_begin + TILE_ROWS, column_end)
            row_end += (row_end - row_begin) % 2
            tiles[count, 0], tiles[count, 1] = row_begin, row_end
            tiles[count, 2], tiles[count, 3] = column_begin, column_end
            count += 1
    return tiles[:count]


@jit
def mirror(gram, column_from, n):
    """Copy the upper triangle below the diagonal, for the columns from ``column_from`` to ``n``."""
    for tile in range(column_from, n, 32):
        end = min(tile + 32, n)
        for i in range(end):
            for j in range(max(tile, i + 1), end):
                gram[j, i] = gram[i, j]
