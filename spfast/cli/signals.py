"""SIGTERM and Ctrl-C unwind the command, so that what is begun is put away, wherever they meet it."""

import signal
import sys
import threading
import time
from contextlib import contextmanager

__all__ = ["Terminated", "unwinds_when_asked_to_end"]

#: An interruption that did not end the block is raised again after this time [s], and again, until it has.
_AGAIN = 0.01
#: How long one waits for a better place than a special method [s].
_PATIENCE = 1.0


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM): it ends as by Ctrl-C, in order."""


@contextmanager
def unwinds_when_asked_to_end():
    """While the block runs, SIGTERM raises ``Terminated`` and Ctrl-C ``KeyboardInterrupt``, and neither gets lost.

    C code that calls Python may drop what is raised there (callbacks of weak references, ``__del__``), make another
    error of it (``os.PathLike`` checks), or take it for an answer and read the wrong memory (numpy's functions of text,
    in the ``__getattribute__`` of an array). So special methods are left alone for a while, what was dropped is raised
    again, and whatever error ends the block after a signal is the interruption.
    """
    # Only the main thread may handle signals; Windows has no timer, and Ctrl-C there is Python's own.
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    asked, since, before = None, None, {}
    outer, hook = sys.exception(), sys.unraisablehook

    def end(number, frame):
        nonlocal asked, since
        if number != signal.SIGALRM:
            if signal.SIGALRM not in before:
                before[signal.SIGALRM] = signal.signal(signal.SIGALRM, end)
            asked, since = Terminated if number == signal.SIGTERM else KeyboardInterrupt, time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, _AGAIN, _AGAIN)
        elif asked is None or sys.exception() is not outer:
            return  # the block has ended, unwinds, or mends what it met
        name = frame.f_code.co_name
        if not (name.startswith("__") and name.endswith("__")) or time.monotonic() - since > _PATIENCE:
            raise asked

    def dropped(lost):
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            hook(lost)

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
        asked = None
        if signal.SIGALRM in before:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)
