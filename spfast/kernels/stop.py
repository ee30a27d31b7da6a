"""A flag that ends a thread's work: set where nobody waits for it any more, looked at wherever work can take long.

Python hands Ctrl-C and SIGTERM to the main thread alone. What that has begun in other threads, fits above all, would go
on to its end. Each thread that is started for work is therefore given a flag, and its work asks for it with every share
of a pass, every block of a Gram matrix and every step of a search.
"""

import threading

__all__ = ["Stopped", "obey", "raise_if_stopped", "this_thread"]

_OF_THREAD = threading.local()


class Stopped(BaseException):
    """The work of this thread is not wanted any more; no error, so that no handler of errors takes it for one."""


def obey(flag: threading.Event | None) -> None:
    """Let this thread's work end once a flag is set; None lets it run."""
    _OF_THREAD.flag = flag


def this_thread() -> threading.Event | None:
    """The flag that this thread's work obeys, None if it has none."""
    return getattr(_OF_THREAD, "flag", None)


def raise_if_stopped() -> None:
    """End this thread's work if its flag is set.

    Raises
    ------
    Stopped
    """
    flag = this_thread()
    if flag is not None and flag.is_set():
        raise Stopped
