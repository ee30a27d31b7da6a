"""The heart of the Gram matrix: products of panels, with the sums in registers.

A panel holds 24 columns of a block of rows, row after row without gaps. The product of two panels is made in pieces of
4 x 24 sums: twelve vectors of eight lanes, which fit the registers of any machine that has 16. A row then costs three
vector loads, four broadcasts and twelve fused multiply-adds, so that arithmetic is the limit and not a cache. Compilers
do not find this in loops over numbers; the piece is therefore written in LLVM's own language.

BLAS would do the same for fewer lines, and is no faster in a whole fit: 14,000 stars by 7,414 columns at penalty 30,
one thread of an AMD EPYC, took 0.78 s of processor time with these panels and 0.77 s with ssyrk (AVX2 alone: 0.80 and
0.80), a path of six penalties 2.9 s and 3.1 s. scipy's ssyrk keeps the interpreter lock, so that two folds side by side
would wait for each other, and its bits depend on the BLAS build. ``docs/benchmarks.rst`` has more numbers.
"""

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, overload

from spfast.kernels.jit import jit

#: Columns of a panel, and columns of the left panel in one piece.
WIDTH, HEIGHT = 24, 4
_LANES = 8
#: Panels of a tile in each direction: those on the left stay in the second-level cache while the others pass.
_TILE = 8
#: A multiplication and an addition may become one instruction.
_FUSED = ("contract",)


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
    panels : float32 or float64 array, C order, shape (n_panels, >= depth, 24)
    depth : int
        Rows that take part, at least one.
    tiles : int64 array, shape (n_tiles, 4)
        From `panel_tiles`.
    sign : float of the panels' type
    gram : array of the panels' type, shape (>= 24 n_panels, >= 24 n_panels)
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
    """``out += sign * left.T @ right`` for ``left`` of shape (depth, 4) and ``right`` of shape (depth, 24)."""
    out += sign * (left.T @ right)


@overload(_add_product)
def _compiled_add_product(left, right, sign, out):
    return lambda left, right, sign, out: _add_in_registers(left, right, sign, out)


@intrinsic
def _add_in_registers(typing_context, left, right, sign, out):
    def generate(context, builder, signature, arguments):
        arrays = [context.make_array(signature.args[k])(context, builder, arguments[k]) for k in (0, 1, 3)]
        _Piece(builder, context.get_value_type(left.dtype), arrays, arguments[2]).emit()
        return context.get_dummy_value()

    return types.void(left, right, sign, out), generate


class _Piece:
    """Writes one loop over the rows, twelve vectors of sums carried through it, and their addition to ``out``."""

    def __init__(self, builder, real, arrays, sign):
        self.builder, self.real, self.sign = builder, real, sign
        self.left, self.right, self.out = arrays
        self.vector = ir.VectorType(real, _LANES)
        self.alignment = 4 if isinstance(real, ir.FloatType) else 8

    def emit(self):
        builder, word = self.builder, ir.IntType(64)
        zero, one = ir.Constant(word, 0), ir.Constant(word, 1)
        depth = builder.extract_value(self.right.shape, 0)
        before = builder.basic_block
        loop, after = builder.append_basic_block("rows"), builder.append_basic_block("rows.end")
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(word)
        sums = [[builder.phi(self.vector) for _ in range(0, WIDTH, _LANES)] for _ in range(HEIGHT)]
        left, right = self._row(self.left, k), self._row(self.right, k)
        vectors = [builder.load(self._lanes(right, v), align=self.alignment) for v in range(0, WIDTH, _LANES)]
        raised = []
        for a in range(HEIGHT):
            number = self._broadcast(builder.load(self._element(left, a)))
            raised.append([self._add(number, x, s) for x, s in zip(vectors, sums[a], strict=True)])
        following = builder.add(k, one)
        k.add_incoming(zero, before)
        k.add_incoming(following, loop)
        for phis, values in zip(sums, raised, strict=True):
            for phi, value in zip(phis, values, strict=True):
                phi.add_incoming(ir.Constant(self.vector, [0.0] * _LANES), before)
                phi.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", following, depth), loop, after)
        builder.position_at_end(after)
        sign = self._broadcast(self.sign)
        for a, values in enumerate(raised):
            row = self._row(self.out, ir.Constant(word, a))
            for v, value in enumerate(values):
                place = self._lanes(row, v * _LANES)
                old = builder.load(place, align=self.alignment)
                builder.store(self._add(sign, value, old), place, align=self.alignment)

    def _add(self, a, b, c):
        return self.builder.fadd(self.builder.fmul(a, b, flags=_FUSED), c, flags=_FUSED)

    def _row(self, array, k):
        """Address of a row, as bytes: slices of a panel are not contiguous."""
        builder, byte = self.builder, ir.IntType(8)
        start = builder.bitcast(array.data, byte.as_pointer())
        offset = builder.mul(k, builder.extract_value(array.strides, 0))
        return builder.bitcast(builder.gep(start, [offset], source_etype=byte), self.real.as_pointer())

    def _element(self, row, j):
        return self.builder.gep(row, [ir.Constant(ir.IntType(64), j)], source_etype=self.real)

    def _lanes(self, row, j):
        return self.builder.bitcast(self._element(row, j), self.vector.as_pointer())

    def _broadcast(self, number):
        index = ir.IntType(32)
        empty = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(empty, number, ir.Constant(index, 0))
        return self.builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(index, _LANES), [0] * _LANES))
