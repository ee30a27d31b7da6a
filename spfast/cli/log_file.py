"""`--log FILE`: everything that a command says, with the time, whether it is shown or not."""

import os
import shlex
import sys
import time
import traceback
from contextlib import ExitStack
from datetime import UTC, datetime

from spfast import __version__
from spfast.progress import heard_by

__all__ = ["LogFile"]

_PACKAGES = ("numpy", "numba", "scipy", "astropy")


class LogFile:
    """A file that grows by a line for all that is said, as soon as it is; a context manager.

    Until it is opened it takes nothing.

    Examples
    --------
    >>> from spfast.cli.log_file import LogFile
    >>> with LogFile() as log:
    ...     log.ends(0)
    """

    def __init__(self):
        self._file, self._open, self._begin = None, ExitStack(), time.monotonic()

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc, trace):
        self._open.close()

    def open(self, path: str | None, words: list[str]) -> None:
        """Begin to append to a file, if one is given, with the command line and the versions.

        Parameters
        ----------
        path : str, optional
        words : list of str
            The command's, without the program's name.
        """
        if path is None:
            return
        import platform
        from importlib.metadata import version

        file = open(path, "a", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115 (closed by the stack)
        self._file = self._open.enter_context(file)
        self._open.enter_context(heard_by(self._write))
        self._write(f"command: spfast {shlex.join(words)}")
        self._write(f"in {os.getcwd()} on {platform.node()}, process {os.getpid()}")
        versions = {"spfast": __version__, "Python": platform.python_version()}
        versions |= {package: version(package) for package in _PACKAGES}
        self._write("versions: " + ", ".join(f"{name} {version}" for name, version in versions.items()))

    def add_traceback(self) -> None:
        """Write where the error that is being handled came from."""
        if self._file is not None and sys.exception() is not None:
            self._write(traceback.format_exc())

    def ends(self, code: int) -> None:
        """Write the exit status."""
        if self._file is not None:
            self._write(f"exit status {code} after {time.monotonic() - self._begin:.1f} s")

    def _write(self, text):
        now = datetime.now(UTC).isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "Z")
        self._file.writelines(f"{now}  {line}\n" for line in text.splitlines() or [""])
        self._file.flush()
