"""A progress bar on a terminal, plain lines in a log, nothing when quiet; callers never ask which."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

#: Seconds between two updates of a bar on a terminal.
_BAR_INTERVAL = 0.1
#: Seconds between two lines in a log.
_LOG_INTERVAL = 10.0
_BAR_WIDTH = 30
#: What took fewer seconds, or ended by an error that says it all, leaves no line in a log.
_WORTH_A_LINE = 1.0
#: What is said beside each bar and each line of stages.
_NOTES = []


def note(text: str) -> None:
    """Say something that concerns all that is going on beside whatever is shown, from now on."""
    _NOTES[:] = [text]


class Progress:
    """Counts the steps of one long task and shows them; a context manager.

    Parameters
    ----------
    label : str
        What is being done, e.g. ``"ingest"``.
    total : int
        Number of steps.
    quiet : bool
        Print nothing.
    stream : file, optional
        Where to print; standard error by default, so that standard output stays clean.
    """

    def __init__(self, label: str, total: int, quiet: bool = False, stream=None):
        self.label, self.total, self.quiet = label, int(total), quiet
        self.stream = sys.stderr if stream is None else stream
        self.done = 0
        self._terminal = hasattr(self.stream, "isatty") and self.stream.isatty()
        self._interval = _BAR_INTERVAL if self._terminal else _LOG_INTERVAL

    def __enter__(self):
        self._start = self._shown = time.monotonic()
        _NOTES.clear()
        if self._terminal and not self.quiet:
            self._show()
        return self

    def __exit__(self, exc_type, exc, traceback):
        lasted = exc_type is None and time.monotonic() - self._start >= _WORTH_A_LINE
        if not self.quiet and (lasted or self._terminal):
            self._show(final=True)

    def advance(self, n: int = 1) -> None:
        """Count ``n`` more steps as done."""
        self.done += n
        now = time.monotonic()
        if not self.quiet and now - self._shown >= self._interval:
            self._shown = now
            self._show()

    def _show(self, final=False):
        seconds = time.monotonic() - self._start
        text = f"{self.label}: {self.done:,}/{self.total:,}"
        if final:
            text += f" in {seconds:.1f} s"
        elif self.done:
            rate = self.done / seconds
            text += f", {rate:,.0f} a second" if rate >= 1.0 else ""
            text += f", {(self.total - self.done) / rate:.0f} s left"
        text = "; ".join([text, *_NOTES])
        if self._terminal:
            filled = _BAR_WIDTH * self.done // max(self.total, 1)
            text = f"\r\x1b[K[{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] {text}" + ("\n" if final else "")
        else:
            text += "\n"
        self.stream.write(text)
        self.stream.flush()


class Stages:
    """Says what is going on where tasks go through stages side by side: one line for all of them, again and again.

    A stage may be one long fit that counts nothing, so a thread looks at the clock. What is over sooner than that looks
    leaves no line.

    Parameters
    ----------
    quiet : bool
        Print nothing.
    stream : file, optional
        Where to print; standard error by default.

    Examples
    --------
    >>> from spfast.progress import Stages
    >>> stages = Stages(quiet=True)
    >>> with stages.stage("fold A: held-out fits", 5) as stage:
    ...     stage.advance()
    """

    def __init__(self, quiet: bool = False, stream=None):
        self.quiet = quiet
        self._stream = sys.stderr if stream is None else stream
        self._terminal = hasattr(self._stream, "isatty") and self._stream.isatty()
        self._running, self._lock, self._clock = [], threading.Lock(), None

    @contextmanager
    def stage(self, name: str, total: int = 0) -> Iterator["Stage"]:
        """One stage of one task, of ``total`` steps if they are counted.

        Parameters
        ----------
        name : str
        total : int
        """
        stage = Stage(name, total)
        with self._lock:
            self._running.append(stage)
            if self._clock is None and not self.quiet:
                _NOTES.clear()
                self._clock = _Clock(self._show, _BAR_INTERVAL if self._terminal else _LOG_INTERVAL)
        try:
            yield stage
        finally:
            with self._lock:
                self._running.remove(stage)
                last, self._clock = (None, self._clock) if self._running else (self._clock, None)
            if last is not None:
                last.end()
                if self._terminal:
                    self._stream.write("\r\x1b[K")
                    self._stream.flush()

    def _show(self):
        with self._lock:
            text = "; ".join([*map(str, self._running), *_NOTES])
        self._stream.write(f"\r\x1b[K{text}" if self._terminal else f"{text}\n")
        self._stream.flush()


class Stage:
    """A stage that is going on."""

    def __init__(self, name: str, total: int):
        self.name, self.total, self.done = name, total, 0
        self._begin, self._lock = time.monotonic(), threading.Lock()

    def advance(self, n: int = 1) -> None:
        """Count ``n`` more steps as done."""
        with self._lock:
            self.done += n

    def __str__(self):
        count = f" {self.done:,}/{self.total:,}" if self.total else ""
        return f"{self.name}{count}, {time.monotonic() - self._begin:.0f} s"


class _Clock:
    """Calls a function every so many seconds, in a thread of its own, until its end."""

    def __init__(self, function, seconds):
        self._over = threading.Event()

        def run():
            while not self._over.wait(seconds):
                function()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def end(self):
        self._over.set()
        self._thread.join()


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
