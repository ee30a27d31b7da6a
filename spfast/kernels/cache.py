"""Compiled kernels on disk: a convenience that never ends a run, and never hands out code that was changed.

Numba alone stops at an index that is empty or cut, and where a file cannot be written, and runs machine code that is
damaged. Two processes that fill one folder may take the same name for the code of different types. Here every file ends
in the sha256 of the rest, the name of a file follows from what is in it, and whatever goes wrong means to compile anew.
"""

import hashlib
import io
import logging
import os
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from numba.core.caching import FunctionCache, IndexDataCacheFile

__all__ = ["KernelCache"]

_DIGEST_SIZE = hashlib.sha256().digest_size
#: Bytes of a hash that make a file's number.
_NUMBER_SIZE = 8


class KernelCache(FunctionCache):
    """The compiled versions of one kernel, in the folder that numba chooses (``NUMBA_CACHE_DIR`` comes first).

    Parameters
    ----------
    function : callable
        Not compiled yet.

    Raises
    ------
    RuntimeError
        If no folder can be written to.
    """

    def __init__(self, function):
        super().__init__(function)
        stamp = self._impl.locator.get_source_stamp(), _kernels_sha256()
        self._cache_file = _SealedFiles(self._cache_path, f"{self._impl.filename_base}.sealed", stamp)

    @contextmanager
    def _guard_against_spurious_io_errors(self):
        # Numba reads and writes within this. What is dropped while it reads means that nothing is there.
        try:
            yield
        except Exception as error:  # noqa: BLE001 (whatever it is, the kernel can be compiled)
            reason = getattr(error, "strerror", None) or type(error).__name__
            _say(self._cache_path, f"cannot be used ({reason})", "see to its room and rights, or remove it")


class _SealedFiles(IndexDataCacheFile):
    """Numba's index and code files, each with the sha256 of its content at its end, where unpickling does not look."""

    def save(self, key, data):
        number = int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:_NUMBER_SIZE], "big")
        name = self._data_name(number)
        self._save_data(name, data)
        self._save_index({**self._load_index(), key: name})

    def _load_index(self):
        return super()._load_index() if self._is_whole(self._index_path) else {}

    def _load_data(self, name):
        return super()._load_data(name) if self._is_whole(self._data_path(name)) else None

    def _is_whole(self, path):
        if not os.path.exists(path):
            return True  # absent is not damaged
        content = Path(path).read_bytes()
        if hashlib.sha256(content[:-_DIGEST_SIZE]).digest() == content[-_DIGEST_SIZE:]:
            return True
        _say(self._cache_path, "is damaged", "it is filled anew; should this come again, remove it")
        return False

    @contextmanager
    def _open_for_write(self, filepath):
        with super()._open_for_write(filepath) as file:
            content = io.BytesIO()
            yield content
            file.write(content.getvalue() + hashlib.sha256(content.getvalue()).digest())


@cache
def _kernels_sha256():
    """Hash of all files of kernels: the code of one may be inside another's, and numba looks at its own file alone."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


@cache
def _say(folder, what, advice):
    """Log one line on a folder, once a process."""
    # A warning's level, so that it is seen where no logging is set up; `logging` turns it off.
    text = "spfast: the folder of compiled kernels %s %s: going on without; %s"
    logging.getLogger("spfast").warning(text, folder, what, advice)
