"""How every kernel is compiled: one decorator, one set of floating-point liberties."""

import numba

#: Liberties that keep NaN and infinity: sums may be re-ordered into lanes and fused, signed zeros merged.
FASTMATH = frozenset({"reassoc", "contract", "arcp", "nsz"})

jit = numba.njit(nogil=True, cache=True, fastmath=set(FASTMATH), error_model="numpy")
