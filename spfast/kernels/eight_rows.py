"""Eight rows at a time: the weighted sum of a block's rows, joined with the dot products of the next block's.

Dot products read rows from memory; the weighted sum reads them again, from the second-level cache. One after the other,
the memory rests during every sum. Joined in one loop that asks the memory for columns ahead, the sum costs a tenth of
the read. Processors do not ask well by themselves when sixteen rows are read at once.
"""

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, overload

from spfast.kernels.jit import jit
from spfast.kernels.vectors import VECTOR_BYTES, WORD, Vectors, size_of, zeros

#: Rows of a block.
N_ROWS = 8
#: Columns of a turn of the loop, and how far ahead the memory is asked for them [columns]. Measured; twice, because
#: processors drop requests while many wait: once alone leaves half of the gain.
_STEP, _AHEAD = 32, (768, 512)


@jit
def dot_rows(design: np.ndarray, r: np.ndarray, coef: np.ndarray, dots: np.ndarray) -> None:
    """Write the dot products of eight rows with the coefficients to ``dots`` (float64, shape (8,)).

    Parameters
    ----------
    design : float32 or float64 array, C order, shape (n_stars, n_features)
    r : int64 array, shape (8,)
        Rows of ``design``.
    coef : float64 array, shape (n_features,)
    dots : float64 array, shape (8,)
        Written.
    """
    x0, x1, x2, x3 = design[r[0]], design[r[1]], design[r[2]], design[r[3]]
    x4, x5, x6, x7 = design[r[4]], design[r[5]], design[r[6]], design[r[7]]
    s0, s1, s2, s3, s4, s5, s6, s7 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for j in range(coef.size):
        c = coef[j]
        s0 += x0[j] * c
        s1 += x1[j] * c
        s2 += x2[j] * c
        s3 += x3[j] * c
        s4 += x4[j] * c
        s5 += x5[j] * c
        s6 += x6[j] * c
        s7 += x7[j] * c
    dots[0], dots[1], dots[2], dots[3], dots[4], dots[5], dots[6], dots[7] = s0, s1, s2, s3, s4, s5, s6, s7


def add_and_dot(design, blocks, factor, gradient, coef, dots):
    """Add ``factor[k] * row k`` of a block to ``gradient``, and write the dot products of the next block.

    Parameters
    ----------
    design, coef, dots
        As in `dot_rows`; ``dots`` of the next block.
    blocks : int64 array, shape (3, 8)
        Rows of ``design``: the block to add, the next one, and the one after that, whose first columns are asked for.
        After the last block they may be any rows.
    factor : array of the matrix's type, shape (8,)
    gradient : array of the matrix's type, shape (n_features,)
    """
    gradient += factor @ design[blocks[0]]
    dots[:] = design[blocks[1]] @ coef


@overload(add_and_dot)
def _compiled_add_and_dot(design, blocks, factor, gradient, coef, dots):
    return lambda design, blocks, factor, gradient, coef, dots: _add_and_dot(
        design, blocks, factor, gradient, coef, dots
    )


@intrinsic
def _add_and_dot(typing_context, design, blocks, factor, gradient, coef, dots):
    def generate(context, builder, signature, arguments):
        arrays = [context.make_array(k)(context, builder, a) for k, a in zip(signature.args, arguments, strict=True)]
        _Joined(builder, context.get_value_type(design.dtype), arrays).emit()
        return context.get_dummy_value()

    return types.void(design, blocks, factor, gradient, coef, dots), generate


class _Joined:
    """Writes the joined loop over the columns; eight vectors of sums are carried through it."""

    def __init__(self, builder, real, arrays):
        design, blocks, factor, gradient, coef, dots = arrays
        self.builder, self.vectors, self.real = builder, Vectors(builder), real
        self.narrow = ir.VectorType(real, VECTOR_BYTES // size_of(real))
        self.sums = ir.VectorType(ir.DoubleType(), VECTOR_BYTES // 8)
        self.loaded = ir.VectorType(real, VECTOR_BYTES // 8)
        stride = builder.extract_value(design.strides, 0)
        rows = [self.vectors.element(blocks.data, k, WORD) for k in range(3 * N_ROWS)]
        addresses = [self.vectors.address(design.data, builder.mul(row, stride)) for row in rows]
        self.old, self.new, self.later = (addresses[k : k + N_ROWS] for k in range(0, 3 * N_ROWS, N_ROWS))
        self.factors = [
            self.vectors.broadcast(self.vectors.element(factor.data, k, real), self.narrow.count) for k in range(N_ROWS)
        ]
        self.gradient, self.coef, self.dots = gradient.data, coef.data, dots.data
        self.n = builder.extract_value(gradient.shape, 0)

    def emit(self):
        lanes = self.narrow.count
        middle = self.builder.sub(self.n, WORD(_AHEAD[0]))
        turned, sums = self.vectors.loop(WORD(0), middle, _STEP, [zeros(self.sums)] * N_ROWS, self._ask_ahead)
        self.turned = turned
        done, sums = self.vectors.loop(turned, self.n, _STEP, sums, self._ask_for_later)
        _, sums = self.vectors.loop(done, self.builder.add(self.n, WORD(lanes - 1)), lanes, sums, self._last_columns)
        for k in range(N_ROWS):
            self.vectors.put_element(self.dots, k, self.vectors.total(sums[k]))

    def _ask_ahead(self, j, sums):
        for ahead in _AHEAD:
            self._ask(self.new, self.builder.add(j, WORD(ahead)))
        return self._step(j, sums)

    def _ask_for_later(self, j, sums):
        """Near the rows' ends: nothing is left to ask for but the block after the next, from its first column on."""
        self._ask(self.later, self.builder.sub(j, self.turned))
        return self._step(j, sums)

    def _ask(self, rows, j):
        size = size_of(self.real)
        for row in rows:
            self.vectors.prefetch(row, self.builder.mul(j, WORD(size)), _STEP * size)

    def _step(self, j, sums):
        for a in range(0, _STEP, self.narrow.count):
            sums = self._columns(self.builder.add(j, WORD(a)), sums, masked=False)
        return sums

    def _last_columns(self, j, sums):
        return self._columns(j, sums, masked=True)

    def _columns(self, j, sums, masked):
        """A vector of columns: their part of the dot products, and their gradient."""
        for a in range(0, self.narrow.count, self.sums.count):
            sums = self._dot(self.builder.add(j, WORD(a)), sums, masked)
        self._add(j, masked)
        return sums

    def _dot(self, j, sums, masked):
        mask = self._mask(j, self.sums.count, masked)
        here = self.builder.mul(j, WORD(size_of(self.real)))
        coef = self.vectors.load(self.coef, self.builder.mul(j, WORD(8)), self.sums, mask)
        new = []
        for row, total in zip(self.new, sums, strict=True):
            x = self.vectors.load(row, here, self.loaded, mask)
            if self.loaded != self.sums:
                x = self.builder.fpext(x, self.sums)
            new.append(self.vectors.add_product(x, coef, total))
        return new

    def _add(self, j, masked):
        mask = self._mask(j, self.narrow.count, masked)
        here = self.builder.mul(j, WORD(size_of(self.real)))
        # Two chains: half of the latency.
        chains = [zeros(self.narrow), self.vectors.load(self.gradient, here, self.narrow, mask)]
        for k in range(N_ROWS):
            x = self.vectors.load(self.old[k], here, self.narrow, mask)
            chains[k % 2] = self.vectors.add_product(self.factors[k], x, chains[k % 2])
        self.vectors.store(self.gradient, here, self.builder.fadd(*chains), mask)

    def _mask(self, j, lanes, masked):
        return self.vectors.first_lanes(self.builder.sub(self.n, j), lanes) if masked else None
