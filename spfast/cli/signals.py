"""SIGTERM and Ctrl-C unwind the command, so that what is begun is put away, wherever in Python they are met."""

import os
import signal
import sys
import threading
from contextlib import contextmanager

__all__ = ["Terminated", "interruption", "unwinds_when_asked_to_end"]

#: Time until a signal is sent again [s]: long enough to be out of the callback that swallowed it.
_AGAIN = 0.01


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM): it ends as by Ctrl-C, in order."""


@contextmanager
def unwinds_when_asked_to_end():
    """While the block runs, SIGTERM raises ``Terminated``; neither it nor Ctrl-C gets lost in a callback.

    What is raised in a callback of a weak reference or in ``__del__`` ends nowhere but in ``sys.unraisablehook``, and
    the program would go on: such a signal is sent again.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield
        return

    def terminate(number, frame):
        raise Terminated

    def send_again(lost):
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            hook(lost)
            return
        number = signal.SIGTERM if issubclass(lost.exc_type, Terminated) else signal.SIGINT
        threading.Timer(_AGAIN, os.kill, (os.getpid(), number)).start()

    before, hook = signal.signal(signal.SIGTERM, terminate), sys.unraisablehook
    sys.unraisablehook = send_again
    try:
        yield
    finally:
        sys.unraisablehook = hook
        signal.signal(signal.SIGTERM, before)


def interruption(error):
    """The ``KeyboardInterrupt`` that an error is or that it was raised upon; None if there is none.

    An interruption between a lock and the code that releases it ends as an error about that lock.
    """
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error
