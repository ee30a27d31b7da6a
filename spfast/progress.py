"""A progress bar on a terminal, plain lines in a log, nothing when quiet; callers never ask which."""

import sys
import time

#: Seconds between two updates of a bar on a terminal.
_BAR_INTERVAL = 0.1
#: Seconds between two lines in a log.
_LOG_INTERVAL = 10.0
_BAR_WIDTH = 30
#: The bars that are shown now, the innermost last.
_SHOWN = []


def note(text: str) -> None:
    """Say something that concerns what is going on, beside the bar that is shown now."""
    for bar in _SHOWN[-1:]:
        bar.note = text
        bar.advance(0)


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
        self.done, self.note = 0, ""
        self._terminal = hasattr(self.stream, "isatty") and self.stream.isatty()
        self._interval = _BAR_INTERVAL if self._terminal else _LOG_INTERVAL

    def __enter__(self):
        self._start = self._shown = time.monotonic()
        if not self.quiet:
            _SHOWN.append(self)
        return self

    def __exit__(self, exc_type, exc, traceback):
        if not self.quiet:
            _SHOWN.remove(self)
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
        if self.note:
            text += f"; {self.note}"
        if self._terminal:
            filled = _BAR_WIDTH * self.done // max(self.total, 1)
            text = f"\r\x1b[K[{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] {text}" + ("\n" if final else "")
        else:
            text += "\n"
        self.stream.write(text)
        self.stream.flush()
