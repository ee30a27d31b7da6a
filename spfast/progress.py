"""What is said while work goes on: one line on a terminal, again and again, plain lines in a log, nothing when quiet.

Whoever works says what it does by `Progress`, and lines by `say`, without asking where they go. All that goes on at a
time shares one line, so that bars and lines do not tear each other. A thread looks at the clock, so that a long step is
not silent.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

#: Seconds between two updates of the line on a terminal.
_BAR_INTERVAL = 0.1
#: Seconds between two lines in a log.
_LOG_INTERVAL = 10.0
_BAR_WIDTH = 20
#: What took fewer seconds leaves no line.
_WORTH_A_LINE = 1.0
#: A guess at the time left needs so many seconds and steps after the first step, which pays for opening and compiling.
_TELLING_SECONDS, _TELLING_STEPS = 2.0, 3
#: Said beside whatever is shown.
_NOTES = []
#: Called with each line that is said, and with what begins and ends.
_LISTENERS = []


def note(text: str) -> None:
    """Say something that concerns all that is going on beside whatever is shown, from now on."""
    _NOTES[:] = [text]


def say(text: str, quiet: bool = False, stream=None) -> None:
    """Print a text as lines of their own; listeners get it even when quiet.

    Parameters
    ----------
    text : str
    quiet : bool
        Print nothing.
    stream : file, optional
        Standard output by default.
    """
    _tell(text)
    if not quiet:
        with ExitStack() as hidden:
            for board in list(_BOARDS.values()):
                hidden.enter_context(board.hidden())
            print(text, file=sys.stdout if stream is None else stream, flush=True)


@contextmanager
def heard_by(listener: Callable[[str], None]) -> Iterator[None]:
    """While the block runs, a function gets every line that is said, and a line for what begins and what ends.

    Examples
    --------
    >>> from spfast.progress import Progress, heard_by
    >>> lines = []
    >>> with heard_by(lines.append), Progress("read Gaia", quiet=True):
    ...     pass
    >>> lines
    ['begin: read Gaia', 'read Gaia in 0.0 s']
    """
    _LISTENERS.append(listener)
    try:
        yield
    finally:
        _LISTENERS.remove(listener)


def _tell(text):
    for listener in _LISTENERS:
        listener(text)


class Progress:
    """One task that goes on, and counts its steps if it has several; a context manager.

    Parameters
    ----------
    label : str
        What is being done, e.g. ``"normalise spectra"``.
    total : int
        Number of steps; more can be added while it goes on (``progress.total += 2``).
    quiet : bool
        Show nothing.
    stream : file, optional
        Where to show it; standard error by default, so that standard output stays clean.
    leaves_line : bool
        Say in a line how long it took, if it took more than a second.

    Attributes
    ----------
    detail : str
        What the task is at; to be set by whoever does it.

    Examples
    --------
    >>> from spfast.progress import Progress
    >>> with Progress("fold A: held-out fits", 5, quiet=True) as progress:
    ...     progress.advance()
    """

    def __init__(self, label: str, total: int = 1, quiet: bool = False, stream=None, leaves_line: bool = True):
        self.label, self.total, self.quiet, self.leaves_line = label, int(total), quiet, leaves_line
        self.done, self.detail = 0, ""
        self._stream, self._first, self._last, self._lock = stream, None, 0.0, threading.Lock()

    def __enter__(self):
        self._begin = time.monotonic()
        _tell(f"begin: {self.label}{self._count()}")
        if not self.quiet:
            self._stream = sys.stderr if self._stream is None else self._stream
            _Board.begin(self, self._stream)
        return self

    def __exit__(self, exc_type, exc, traceback):
        seconds = time.monotonic() - self._begin
        whole = f": {self.done:,}" if self.done == self.total else f": {self.done:,} of {self.total:,}"
        text = f"{self.label}{whole if self.total > 1 else ''} in {_duration(seconds, '.1f')}"
        lasted = exc_type is None and seconds >= _WORTH_A_LINE
        if not self.quiet:
            _Board.end(self, self._stream, text if lasted and self.leaves_line else "")
        _tell(text if exc_type is None else f"{text}, ended by {exc_type.__name__}")

    def advance(self, n: int = 1) -> None:
        """Count ``n`` more steps as done."""
        with self._lock:
            self.done += n
            self._last = time.monotonic()
            if self._first is None:
                self._first = self._last, self.done

    def __str__(self):
        detail = f" ({self.detail})" if self.detail else ""
        lasts = self._pace() or _duration(time.monotonic() - self._begin)
        return f"{self.label}{self._count()}, {lasts}{detail}"

    def _count(self):
        return f" {self.done:,}/{self.total:,}" if self.total > 1 else ""

    def _pace(self):
        """How fast it goes and how long it will take, as soon as that can be told (str)."""
        if self._first is None or self.done >= self.total:
            return ""
        begun, before = self._first
        seconds, steps = self._last - begun, self.done - before
        if seconds < _TELLING_SECONDS or steps < _TELLING_STEPS:
            return ""
        rate = steps / seconds
        fast = f"{rate:,.0f} a second, " if rate >= 1.0 else ""
        left = (self.total - self.done) / rate - (time.monotonic() - self._last)
        return f"{fast}{_duration(max(left, 0.0))} left"


def _duration(seconds, digits=".0f"):
    """A time as one reads it: 8 s, 5 min, 2.5 h (str)."""
    if seconds < 120.0:
        return f"{seconds:{digits}} s"
    return f"{seconds / 60.0:.0f} min" if seconds < 7200.0 else f"{seconds / 3600.0:.1f} h"


#: Of each stream on which something is shown, by its id.
_BOARDS: dict[int, "_Board"] = {}
_BOARDS_LOCK = threading.Lock()


class _Board:
    """All that goes on at a time, in one line on one stream; it exists while something does."""

    def __init__(self, stream):
        self._stream, self._running, self._lock = stream, [], threading.RLock()
        self._is_terminal = hasattr(stream, "isatty") and stream.isatty()
        self._over = threading.Event()
        self._clock = threading.Thread(target=self._watch, daemon=True)

    @staticmethod
    def begin(task, stream):
        with _BOARDS_LOCK:
            board = _BOARDS.get(id(stream))
            if board is None:
                board = _BOARDS[id(stream)] = _Board(stream)
                _NOTES.clear()
                board._clock.start()
            board._running.append(task)

    @staticmethod
    def end(task, stream, text):
        with _BOARDS_LOCK:
            board = _BOARDS[id(stream)]
            board._running.remove(task)
            if not board._running:
                del _BOARDS[id(stream)]
                board._over.set()
        if board._over.is_set():
            board._clock.join()
        with board.hidden():
            if text:
                stream.write("; ".join([text, *_NOTES]) + "\n")
                stream.flush()

    @contextmanager
    def hidden(self):
        """While the block runs, the line is not there."""
        with self._lock:
            if self._is_terminal:
                self._stream.write("\r\x1b[K")
                self._stream.flush()
            yield

    def _watch(self):
        while not self._over.wait(_BAR_INTERVAL if self._is_terminal else _LOG_INTERVAL):
            with self._lock:
                text = self._text()
                self._stream.write(f"\r\x1b[K{text[: self._width()]}" if self._is_terminal else f"{text}\n")
                self._stream.flush()

    def _text(self):
        running = list(self._running)
        text = "; ".join([*map(str, running), *_NOTES])
        counted = [task for task in running if task.total > 1]
        if self._is_terminal and len(counted) == 1:
            filled = min(_BAR_WIDTH * counted[0].done // counted[0].total, _BAR_WIDTH)
            text = f"[{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] {text}"
        return text

    def _width(self):
        """Characters that the terminal's line has; a longer text would leave a line at each update."""
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns
        except (OSError, ValueError, AttributeError):
            columns = 0
        return (columns or 80) - 1


def shown(steps, label: str, quiet: bool = False):
    """Yield each of a sequence's items, and count those that are done.

    Examples
    --------
    >>> from spfast.progress import shown
    >>> list(shown([1, 2], "find spectra", quiet=True))
    [1, 2]
    """
    with Progress(label, len(steps), quiet) as progress:
        for step in steps:
            yield step
            progress.advance()
