"""SIGTERM and Ctrl-C end the command in order: wherever they meet it, what it has begun is put away."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Terminated", "unwinds_when_asked_to_end"]

#: An interruption that has not ended the block is raised again after this time [s], until it has.
_AGAIN = 0.01
#: For how long special methods are left alone [s].
_PATIENCE = 1.0


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM): it ends as by Ctrl-C, in order."""


@contextmanager
def unwinds_when_asked_to_end() -> Iterator[None]:
    """While the block runs, SIGTERM raises ``Terminated`` and Ctrl-C ``KeyboardInterrupt``, and neither gets lost.

    Python alone loses them where C code calls Python: callbacks of weak references and ``__del__`` drop what is raised,
    checks for ``os.PathLike`` make another error of it, and numpy's functions of text take it for an array's
    ``__array_wrap__`` and end in a segmentation fault. So

    1. the signal raises where it meets the code, but not within a special method, until it has waited for a second;
    2. a timer raises again until the block ends, except while an error is handled;
    3. whatever error ends the block after a signal becomes the interruption;
    4. further signals change nothing: what the first one puts away is put away.

    Simpler ways that lose some: to raise again only what Python reports as dropped (code that catches every error, as
    for a damaged spectrum, keeps the interruption); a flag that loops look at (a read or a sleep goes on).
    """
    # Only the main thread may handle signals; Windows has no timer, and Ctrl-C there is Python's own.
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    asked, patient_until, is_over = None, None, False
    before, outer, report_dropped = {}, sys.exception(), sys.unraisablehook

    def end(number, frame):
        nonlocal asked, patient_until
        if asked or is_over:  # a second signal would tear up what the first one puts away; the timer sees to the end
            return
        if signal.SIGALRM not in before:  # until now the caller's
            before[signal.SIGALRM] = signal.signal(signal.SIGALRM, end_again)
        asked = Terminated if number == signal.SIGTERM else KeyboardInterrupt
        patient_until = time.monotonic() + _PATIENCE
        signal.setitimer(signal.ITIMER_REAL, _AGAIN, _AGAIN)
        interrupt(frame)

    def end_again(number, frame):
        if not is_over and sys.exception() is outer:  # else the block has ended, unwinds, or deals with an error
            interrupt(frame)

    def interrupt(frame):
        name = frame.f_code.co_name
        if not (name.startswith("__") and name.endswith("__")) or time.monotonic() > patient_until:
            raise asked

    def dropped(lost):
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            report_dropped(lost)

    before[signal.SIGTERM] = signal.signal(signal.SIGTERM, end)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else somebody wants Ctrl-C ignored
        before[signal.SIGINT] = signal.signal(signal.SIGINT, end)
    sys.unraisablehook = dropped
    try:
        yield
    except Exception as error:
        if asked:
            raise asked from error
        raise
    finally:
        is_over = True
        if signal.SIGALRM in before:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        sys.unraisablehook = report_dropped
        for number, handler in before.items():
            signal.signal(number, handler)
