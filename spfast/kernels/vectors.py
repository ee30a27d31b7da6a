"""Loops written in LLVM's own vectors, for the few places where a compiler does not find them in loops over numbers."""

from collections.abc import Callable, Sequence

import numpy as np
from llvmlite import ir
from numba.core import cgutils, config, types
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic, overload

__all__ = ["VECTOR_BYTES", "WORD", "Vectors", "ask_for", "size_of", "zeros"]

WORD, _BYTE, _INDEX = ir.IntType(64), ir.IntType(8), ir.IntType(32)
#: A multiplication and an addition may become one instruction; sums stay in the order in which they are written.
_FUSED = ("contract",)
#: Into the second-level cache: the first is too small for what is asked for ahead.
_LOCALITY = 2
#: Bytes of a line of the caches.
_LINE = 64


def _vector_bytes() -> int:
    """Bytes of the widest vectors of the processor that numba compiles for."""
    features = get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES
    return 64 if "+avx512f" in features.split(",") else 32


#: Of the machine; the same for all kernels of a process.
VECTOR_BYTES = _vector_bytes()


class Vectors:
    """Emits loads, stores and arithmetic on vectors of one type; addresses are bytes.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
    """

    def __init__(self, builder: ir.IRBuilder):
        self.builder = builder

    def address(self, base, offset):
        """Return the address ``offset`` bytes after ``base``."""
        base = self.builder.bitcast(base, _BYTE.as_pointer())
        return self.builder.gep(base, [offset], source_etype=_BYTE)

    def element(self, base, number: int, kind):
        """Load number ``number`` (known when compiling) of type ``kind`` that is stored from ``base`` on."""
        return self.builder.load(self._typed(base, WORD(number * size_of(kind)), kind))

    def put_element(self, base, number: int, value):
        """Store a number as number ``number`` (known when compiling) from ``base`` on."""
        self.builder.store(value, self._typed(base, WORD(number * size_of(value.type)), value.type))

    def load(self, base, offset, vector, mask=None):
        """Load a vector that need not be aligned; where the mask is false, it is zero and nothing is read."""
        place = self._typed(base, offset, vector)
        alignment = size_of(vector.element)
        if mask is None:
            return self.builder.load(place, align=alignment)
        kinds = [place.type, _INDEX, mask.type, vector]
        return self._call("masked.load", vector, kinds, [place, _INDEX(alignment), mask, zeros(vector)])

    def store(self, base, offset, value, mask=None):
        """Store a vector that need not be aligned, where the mask is true."""
        place = self._typed(base, offset, value.type)
        alignment = size_of(value.type.element)
        if mask is None:
            self.builder.store(value, place, align=alignment)
        else:
            kinds = [value.type, place.type, _INDEX, mask.type]
            self._call("masked.store", ir.VoidType(), kinds, [value, place, _INDEX(alignment), mask], value.type)

    def first_lanes(self, number, lanes: int):
        """Return the mask that is true in the first ``number`` lanes."""
        lane = ir.Constant(ir.VectorType(WORD, lanes), list(range(lanes)))
        return self.builder.icmp_signed("<", lane, self.broadcast(number, lanes))

    def broadcast(self, number, lanes: int):
        """Return a vector of equal numbers."""
        empty = ir.Constant(ir.VectorType(number.type, lanes), ir.Undefined)
        first = self.builder.insert_element(empty, number, _INDEX(0))
        return self.builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(_INDEX, lanes), [0] * lanes))

    def add_product(self, a, b, c):
        """Return ``a * b + c``."""
        return self.builder.fadd(self.builder.fmul(a, b, flags=_FUSED), c, flags=_FUSED)

    def total(self, vector):
        """Return the sum of a vector's numbers, in pairs."""
        kind = vector.type.element
        name = f"vector.reduce.fadd.v{vector.type.count}{_name(kind)}"
        function = self._declare(f"llvm.{name}", kind, [kind, vector.type])
        return self.builder.call(function, [kind(0.0), vector], fastmath=("reassoc",))

    def prefetch(self, base, offset, size: int):
        """Ask for the lines of the next ``size`` bytes."""
        function = self._declare("llvm.prefetch.p0", ir.VoidType(), [_BYTE.as_pointer(), _INDEX, _INDEX, _INDEX])
        for line in range(0, size, _LINE):
            place = self.address(base, self.builder.add(offset, WORD(line)))
            self.builder.call(function, [place, _INDEX(0), _INDEX(_LOCALITY), _INDEX(1)])

    def loop(self, begin, end, step: int, carried: Sequence, body: Callable):
        """Emit ``while j + step <= end`` from ``j = begin``; ``body(j, carried)`` returns the new values it carries.

        Returns
        -------
        j, carried
            After the loop.
        """
        builder = self.builder
        before = builder.basic_block
        head, inside, after = (builder.append_basic_block(f"loop.{name}") for name in ("head", "inside", "after"))
        builder.branch(head)
        builder.position_at_end(head)
        j, values = builder.phi(WORD), [builder.phi(value.type) for value in carried]
        for phi, value in zip([j, *values], [begin, *carried], strict=True):
            phi.add_incoming(value, before)
        following = builder.add(j, WORD(step))
        builder.cbranch(builder.icmp_signed("<=", following, end), inside, after)
        builder.position_at_end(inside)
        new = body(j, values)
        for phi, value in zip([j, *values], [following, *new], strict=True):
            phi.add_incoming(value, builder.basic_block)
        builder.branch(head)
        builder.position_at_end(after)
        return j, values

    def _typed(self, base, offset, kind):
        return self.builder.bitcast(self.address(base, offset), kind.as_pointer())

    def _call(self, name, result, kinds, arguments, overloaded=None):
        vector = overloaded or result
        function = self._declare(f"llvm.{name}.v{vector.count}{_name(vector.element)}.p0", result, kinds)
        return self.builder.call(function, arguments)

    def _declare(self, name, result, kinds):
        return cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(result, kinds), name)


def size_of(kind) -> int:
    """Bytes of a number."""
    return {"float": 4, "double": 8, "i64": 8}[str(kind)]


def zeros(vector):
    """Return a vector of zeros."""
    return ir.Constant(vector, [0.0] * vector.count)


def _name(kind):
    return {"float": "f32", "double": "f64"}[str(kind)]


def ask_for(design: np.ndarray, i: int, j: int) -> None:
    """Ask the memory for the line that an element of a matrix is in."""


@overload(ask_for)
def _compiled_ask_for(design, i, j):
    return lambda design, i, j: _ask_for(design, i, j)


@intrinsic
def _ask_for(typing_context, design, i, j):
    def generate(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        strides = (builder.extract_value(array.strides, k) for k in range(2))
        offsets = [builder.mul(index, stride) for index, stride in zip(arguments[1:], strides, strict=True)]
        Vectors(builder).prefetch(array.data, builder.add(*offsets), _LINE)
        return context.get_dummy_value()

    return types.void(design, types.int64, types.int64), generate
