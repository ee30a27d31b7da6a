"""A bus error in one line: what the user reads when a file becomes shorter while a memory map reads it.

The system answers a read from a page that the file no longer has with the signal SIGBUS. A handler set by Python's
``signal`` would never run: it waits for the interpreter's next step, and the read that failed is only repeated. A
thread that waits for Python's wake-up descriptor runs where the read has let go of the interpreter (a sum of numpy) and
waits for ever where it has not (a slice of a map). ``faulthandler`` prints a traceback. A callback of ctypes runs on
the spot: such a read stands in compiled code, from where the interpreter can be entered, so what it does need not be C.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from spfast.cli.outputs import one_line

__all__ = ["bus_error_in_one_line"]


@contextmanager
def bus_error_in_one_line(code: int) -> Iterator[None]:
    """While the block runs, a bus error prints one line that names the file, and ends the process with an exit code.

    Nothing is put away, as after SIGKILL: what has its own name by then is whole, and the next run clears the rest.
    Nothing changes where there is no SIGBUS (Windows).

    Parameters
    ----------
    code : int
        The exit status.
    """
    if not hasattr(signal, "SIGBUS"):
        yield
        return
    import ctypes  # numpy needs it as well, --help does not

    def end(number):
        try:
            os.write(2, os.fsencode(("\n" if os.isatty(2) else "") + f"spfast: {_what_happened()}\n"))
        finally:
            os._exit(code)

    handler, set_handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(end), ctypes.CDLL(None).signal
    set_handler.argtypes, set_handler.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    before = set_handler(signal.SIGBUS, ctypes.cast(handler, ctypes.c_void_p))
    try:
        yield
    finally:
        set_handler(signal.SIGBUS, before)


def _what_happened():
    """The message, with the file's name if the system tells what is mapped and a file is too short for it."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
            short = next(filter(None, map(_too_short, maps)), None)
    except OSError:
        short = None
    if short:
        return f"{one_line(short)}: became shorter while it was read; put the whole file back or make it again"
    return (
        "a file could not be read to its end: it became shorter, or its disk or network folder failed; `spfast info "
        "SURVEY --verify` says which file of a survey has changed"
    )


def _too_short(line):
    """The path of a line of the system's list of maps if its file ends before the map's last page."""
    span, rights, offset, _, _, *path = line.rstrip("\n").split(maxsplit=5)
    # Libraries reserve more than they have, without the right to read it.
    if not path or rights[0] != "r" or not os.path.isfile(path[0]):
        return None
    start, end = (int(address, 16) for address in span.split("-"))
    last_page = int(offset, 16) + end - start - os.sysconf("SC_PAGE_SIZE")
    return path[0] if os.path.getsize(path[0]) <= last_page else None
