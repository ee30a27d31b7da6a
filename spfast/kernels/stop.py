"""A flag that ends a thread's work: set where nobody waits for it any more, looked at wherever work can take long.

Python hands Ctrl-C and SIGTERM to the main thread alone. What that has begun in other threads, fits above all, would go
on to its end. Each thread that is started for work is therefore given a flag, and its work asks for it with every share
of a pass, every block of a Gram matrix and every step of a search.
"""

import threading

__all__ = ["Flag", "Stopped", "obey", "raise_if_stopped", "this_thread"]

_OF_THREAD = threading.local()


class Stopped(BaseException):
    """The work of this thread is not wanted any more; no error, so that no handler of errors takes it for one."""


class Flag:
    """Set once, for good: by itself, or where the flag is set that the thread obeys which has begun the work.

    Parameters
    ----------
    above : Flag, optional
    """

    def __init__(self, above: "Flag | None" = None):
        self._set, self._above = False, above

    def set(self) -> None:
        """Set the flag."""
        self._set = True

    def is_set(self) -> bool:
        """Say whether this flag or one above it is set."""
        return self._set or (self._above is not None and self._above.is_set())


def obey(flag: Flag | None) -> None:
    """Let this thread's work end once a flag is set; None lets it run."""
    _OF_THREAD.flag = flag


def this_thread() -> Flag | None:
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
