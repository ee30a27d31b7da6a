"""Arrays by path: what goes to another process is the place of an array in a file, never the array.

Processes that share a disk map the same file. A matrix that is mapped already has its place; whatever else is large is
written once to a folder that all of them see.
"""

import hashlib
import io
import itertools
import mmap
import os
import pickle
import socket
import tempfile
import weakref
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spfast.errors import BadInputError
from spfast.files import writing

__all__ = ["ArrayFiles", "OpenArray", "Place", "open_place", "unpack"]

#: Bytes at each end of an array by which another process sees that it opened the same one.
_END_BYTES = 4096
#: Larger arrays within other things go by path, and so do larger things.
_ARRAY_BYTES, _THING_BYTES = 1 << 16, 1 << 12
#: A file that no read has needed for so many reads is removed.
_KEPT_READS = 20
#: Files that a process keeps open.
_OPEN_FILES = 64


class Place(NamedTuple):
    """Where an array is.

    Attributes
    ----------
    path : str
    offset : int
        Of its first byte.
    shape, strides : tuple of int
    dtype : str
    ends : str
        Digest of its first and last rows.
    changed : int
        When the file was last changed: one that is opened already is not taken for a later one of its name.
    """

    path: str
    offset: int
    shape: tuple
    strides: tuple
    dtype: str
    ends: str
    changed: int


class OpenArray(NamedTuple):
    """An array in a file that another process has named.

    Attributes
    ----------
    array : array
        Read-only.
    map : mmap.mmap
        Of the file.
    """

    array: np.ndarray
    map: mmap.mmap


@lru_cache(maxsize=_OPEN_FILES)
def open_place(place: Place) -> OpenArray:
    """Open an array by its place.

    Raises
    ------
    BadInputError
        If the file is not there, or is another one.
    """
    here, advice = socket.gethostname(), "all workers must see the same files under the same paths, on a shared disk"
    try:
        with open(place.path, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        array = np.ndarray(place.shape, place.dtype, mapped, place.offset, place.strides)
    except (OSError, ValueError, TypeError) as error:
        reason = getattr(error, "strerror", None) or "it is shorter"
        raise BadInputError(f"{place.path}: cannot be read by a worker on {here} ({reason}); {advice}") from None
    if _ends_of(array) != place.ends:
        raise BadInputError(f"{place.path}: is another file for a worker on {here}; {advice}")
    return OpenArray(array, mapped)


def _ends_of(array):
    """Digest of the first and last rows of an array."""
    n_rows = max(1, _END_BYTES // max(1, array[:1].nbytes))
    return hashlib.sha256(array[:n_rows].tobytes() + array[-n_rows:].tobytes()).hexdigest()


def _mapped_place(array):
    """The place of an array in the file that it is mapped from, None if there is none that others could open."""
    base = array
    while isinstance(base, np.ndarray) and not (isinstance(base, np.memmap) and isinstance(base.base, mmap.mmap)):
        base = base.base
    # What is changed in a copy-on-write map stands in no file.
    if not isinstance(base, np.memmap) or base.mode == "c" or not base.filename or min(array.strides) < 0:
        return None
    base.flush()
    offset = base.offset + array.ctypes.data - base.ctypes.data
    return _place(os.path.abspath(base.filename), offset, array)


def _place(path, offset, array):
    changed = os.stat(path).st_mtime_ns
    return Place(path, offset, array.shape, array.strides, array.dtype.str, _ends_of(array), changed)


class ArrayFiles:
    """Files of arrays, in a folder of their own that goes when the context ends.

    Parameters
    ----------
    folder : path-like
        Where to make that folder.
    """

    def __init__(self, folder: str | os.PathLike):
        self._parent = folder
        self._by_content, self._matrices = {}, {}
        self._n_reads, self._number = 0, itertools.count()

    def __enter__(self) -> "ArrayFiles":
        with writing(self._parent):
            self._folder = tempfile.TemporaryDirectory(prefix=".spfast-cluster-", dir=os.path.abspath(self._parent))
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._folder.cleanup()

    def matrix(self, array: np.ndarray) -> Place:
        """The place of a matrix, which is written if it is in memory, and once as long as it lives there.

        Parameters
        ----------
        array : array
            It is not changed while it is used.
        """
        place = _mapped_place(array)
        if place is not None:
            return place
        key = array.ctypes.data, array.shape, array.strides, array.dtype.str
        if key not in self._matrices:
            owner = array
            while isinstance(owner.base, np.ndarray):
                owner = owner.base
            self._matrices[key] = self._write(array, f"matrix-{next(self._number)}")
            weakref.finalize(owner, self._forget, key)
        return self._matrices[key]

    def pack(self, thing: Any) -> bytes | Place:
        """What `unpack` makes the same thing of in another process: bytes, or the place of these if they are many."""
        self._n_reads += 1
        for name in [name for name, (_, last) in self._by_content.items() if last + _KEPT_READS < self._n_reads]:
            self._remove(self._by_content.pop(name)[0])
        packed = io.BytesIO()
        _Pickler(packed, self).dump(thing)
        packed = packed.getvalue()
        return packed if len(packed) < _THING_BYTES else self.place(np.frombuffer(packed, np.uint8))

    def place(self, array: np.ndarray) -> Place:
        """The place of an array, which is written if no file has the same content."""
        place = _mapped_place(array)
        if place is not None:
            return place
        # By its content, for solvers change their arrays between two reads.
        digest = hashlib.sha256(f"{array.dtype.str} {array.shape} {_order(array)}".encode())
        digest.update(array.tobytes(_order(array)))
        name = digest.hexdigest()
        place = self._by_content[name][0] if name in self._by_content else self._write(array, name)
        self._by_content[name] = place, self._n_reads
        return place

    def _write(self, array, name):
        path, order = os.path.join(self._folder.name, name), _order(array)
        array = np.asarray(array, order=order)
        with writing(path), open(path, "wb") as file:
            file.write(memoryview(array.T if order == "F" else array).cast("B"))
        return _place(path, 0, array)

    def _forget(self, key):
        self._remove(self._matrices.pop(key))

    @staticmethod
    def _remove(place):
        Path(place.path).unlink(missing_ok=True)


def _order(array):
    """Fortran's for arrays that are in it, on which the bits of products depend; else C's."""
    return "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"


class _Pickler(pickle.Pickler):
    def __init__(self, file, files):
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._files = files

    def persistent_id(self, value):
        if isinstance(value, np.ndarray) and value.nbytes >= _ARRAY_BYTES:
            return tuple(self._files.place(value))
        return None


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, saved):
        return open_place(Place(*saved)).array


def unpack(packed: bytes | Place) -> Any:
    """What `ArrayFiles.pack` was given; arrays that went by path are read-only."""
    if isinstance(packed, Place):
        packed = open_place(packed).array
    return _Unpickler(io.BytesIO(packed)).load()
