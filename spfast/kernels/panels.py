"""The heart of the Gram matrix: products of panels, with the sums in registers.

A panel holds 24 columns of a block of rows, row after row without gaps, or 32 where the processor has AVX-512. The
product of two panels is made in pieces of 4 x 24 sums, twelve vectors of eight lanes, which fit 16 registers; with
AVX-512 of 8 x 32 sums, sixteen vectors of sixteen lanes for 32 registers. A row then costs few loads for twelve or
sixteen fused multiply-adds, so that arithmetic is the limit and not a cache. Compilers do not find this in loops over
numbers; the piece is therefore written in LLVM's own language. Both sizes give the same bits.

BLAS would do the same for fewer lines. Its ssyrk is as fast up to 816 columns and 8 to 10% faster for 2,000 and 4,000
(one thread of an AMD EPYC 9004; N K^2 counted: 79, 93, 92, 93 Gflop/s here and 69, 94, 101, 101 there for 200, 816,
2,000, 4,000 columns). scipy's ssyrk keeps the interpreter lock, so that two folds side by side would wait for each
other, and its bits depend on the BLAS build. ``docs/benchmarks.rst`` has more numbers.
"""

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, overload

from spfast.kernels.jit import jit
from spfast.kernels.vectors import VECTOR_BYTES, WORD, Vectors, size_of, zeros

#: Columns of a panel, and columns of the left panel in one piece.
WIDTH, HEIGHT = (32, 8) if VECTOR_BYTES == 64 else (24, 4)
#: Panels of a tile in each direction: those on the left stay in the second-level cache while the others pass.
_TILE = 8


def panel_tiles(column_from: int, n: int) -> np.ndarray:
    """Return tiles of pairs of panels that cover the upper triangle, from the panel of ``column_from`` to column ``n``.

    Returns
    -------
    tiles : int64 array, shape (n_tiles, 4)
        First panel, last panel + 1 of the columns; first panel, last panel + 1 of the rows.
    """
    begin, end = column_from // WIDTH, -(-n // WIDTH)
    across = [(q, min(q + _TILE, end)) for q in range(begin, end, _TILE)]
    tiles = [(*q, p, min(p + _TILE, end)) for q in across for p in range(0, q[1], _TILE)]
    return np.array(tiles, dtype=np.int64).reshape(-1, 4)


@jit
def add_panel_products(
    first: int, last: int, panels: np.ndarray, depth: int, tiles: np.ndarray, sign: float, gram: np.ndarray
) -> None:
    """Add ``sign * panels[p].T @ panels[q]`` for the pairs p <= q of the tiles ``first <= t < last``.

    Parameters
    ----------
    first, last : int
    panels : float32 or float64 array, C order, shape (n_panels, >= depth, WIDTH)
    depth : int
        Rows that take part, at least one.
    tiles : int64 array, shape (n_tiles, 4)
        From `panel_tiles`.
    sign : float of the panels' type
    gram : array of the panels' type, shape (>= WIDTH n_panels, >= WIDTH n_panels)
        Updated on and above the diagonal; some elements below it as well.
    """
    for t in range(first, last):
        q_begin, q_end, p_begin, p_end = tiles[t]
        for q in range(q_begin, q_end):
            right = panels[q, :depth]
            for p in range(p_begin, min(p_end, q + 1)):
                for a in range(0, WIDTH, HEIGHT):
                    i, j = p * WIDTH + a, q * WIDTH
                    _add_product(panels[p, :depth, a : a + HEIGHT], right, sign, gram[i : i + HEIGHT, j : j + WIDTH])


def _add_product(left, right, sign, out):
    """``out += sign * left.T @ right`` for ``left`` of shape (depth, HEIGHT) and ``right`` of shape (depth, WIDTH)."""
    out += sign * (left.T @ right)


@overload(_add_product)
def _compiled_add_product(left, right, sign, out):
    return lambda left, right, sign, out: _add_in_registers(left, right, sign, out)


@intrinsic
def _add_in_registers(typing_context, left, right, sign, out):
    def generate(context, builder, signature, arguments):
        arrays = [context.make_array(signature.args[k])(context, builder, arguments[k]) for k in (0, 1, 3)]
        _emit_product(Vectors(builder), context.get_value_type(left.dtype), arrays, arguments[2])
        return context.get_dummy_value()

    return types.void(left, right, sign, out), generate


def _emit_product(vectors, real, arrays, sign):
    """Write a loop over the rows for as many of the left columns as there are registers for, and the next ones."""
    at_once = HEIGHT * 4 // size_of(real)
    for begin in range(0, HEIGHT, at_once):
        _emit_piece(vectors, real, arrays, sign, range(begin, begin + at_once))


def _emit_piece(vectors, real, arrays, sign, columns):
    """Write one loop over the rows, the vectors of sums carried through it, and their addition to ``out``."""
    left, right, out = arrays
    builder, lanes = vectors.builder, VECTOR_BYTES // size_of(real)
    vector = ir.VectorType(real, lanes)
    places = [WORD(a * size_of(real)) for a in range(0, WIDTH, lanes)]
    depth = builder.extract_value(right.shape, 0)

    def row(array, k):  # slices of a panel are not contiguous
        return vectors.address(array.data, builder.mul(k, builder.extract_value(array.strides, 0)))

    def add_row(k, sums):
        left_row, right_row = row(left, k), row(right, k)
        loaded = [vectors.load(right_row, place, vector) for place in places]
        new = []
        for number, a in enumerate(columns):
            factor = vectors.broadcast(vectors.element(left_row, a, real), lanes)
            old = sums[number * len(places) : (number + 1) * len(places)]
            new += [vectors.add_product(factor, x, total) for x, total in zip(loaded, old, strict=True)]
        return new

    _, sums = vectors.loop(WORD(0), depth, 1, [zeros(vector)] * (len(columns) * len(places)), add_row)
    factor = vectors.broadcast(sign, lanes)
    for number, a in enumerate(columns):
        out_row = row(out, WORD(a))
        for place, total in zip(places, sums[number * len(places) :], strict=False):
            old = vectors.load(out_row, place, vector)
            vectors.store(out_row, place, vectors.add_product(factor, total, old))
