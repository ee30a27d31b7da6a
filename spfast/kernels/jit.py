"""How every kernel is compiled: one decorator, one set of floating-point liberties, one line on how long it took."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress

import numba
from numba.core import event

from spfast.kernels.cache import KernelCache
from spfast.kernels.stop import raise_if_stopped

#: Liberties that keep NaN and infinity: sums may be re-ordered into lanes and fused, signed zeros merged.
FASTMATH = frozenset({"reassoc", "contract", "arcp", "nsz"})
#: Compiling for longer than this is worth a line [s].
_WORTH_A_LINE = 1.0


def jit(function: Callable) -> Callable:
    """Compile a kernel at its first call and keep it on disk; where that is impossible, each process compiles it."""
    kernel = numba.njit(nogil=True, fastmath=set(FASTMATH), error_model="numpy")(function)
    with suppress(RuntimeError, OSError):  # neither the package's folder nor the user's can be written to
        kernel._cache = KernelCache(function)
    return kernel


class _CompileClock(event.Listener):
    """Adds up the time that numba compiles functions of this package; one compiled within another counts once."""

    def __init__(self):
        self.seconds, self._depth, self._said = 0.0, 0, False

    def on_start(self, event):
        if self._is_ours(event):
            raise_if_stopped()  # compiling takes seconds
            if self._depth == 0:
                self._begin = time.perf_counter()
            self._depth += 1

    def on_end(self, event):
        if self._is_ours(event) and self._depth > 0:
            self._depth -= 1
            if self._depth == 0:
                self.seconds += time.perf_counter() - self._begin

    def say(self):
        if self.seconds > _WORTH_A_LINE and not self._said:
            self._said = True
            # A warning's level, so that it is seen where no logging is set up; `logging` turns it off.
            logging.getLogger("spfast").warning(
                "spfast: compiled its kernels in %.0f s; kept on disk for the next time where that can be written",
                self.seconds,
            )

    @staticmethod
    def _is_ours(event):
        # A method of somebody else's jitclass has no module.
        return (event.data["dispatcher"].py_func.__module__ or "").startswith("spfast.")


_CLOCK = _CompileClock()
event.register("numba:compile", _CLOCK)


def compile_seconds() -> float:
    """Return the seconds that this process has spent on compiling kernels."""
    return _CLOCK.seconds


def say_compile_time() -> None:
    """Log one line, at most once a process, if compiling took more than a second."""
    _CLOCK.say()
