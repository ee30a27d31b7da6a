"""Files and folders that are either whole or absent: renamed into place, with room reserved and hashes inside."""

import errno
import gzip
import hashlib
import json
import math
import os
import shutil
import stat
import tempfile
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path

from spfast.errors import BadInputError

__all__ = [
    *(
        "BLANK_CHECKSUM",
        "BLANK_SEAL",
        "GUARDS",
        "RecordFile",
        "check_guard",
        "check_regular",
        "clear_leftovers",
        "file_sha256",
    ),
    *("is_sealed", "new_file", "new_folder", "put_on_disk", "reserve", "scratch_array", "seal", "watch", "writing"),
]

#: Stands in a file where its own sha256 will be; a text that no file is likely to hold otherwise.
BLANK_SEAL = hashlib.sha256(b"spfast").hexdigest()
#: Stands in the FITS card CHECKSUM while the hash of the card before it is taken.
BLANK_CHECKSUM = "0" * 16

_GZIP = b"\x1f\x8b"
#: The beginning of a FITS card of text, and the length of a card.
_CHECKSUM_CARD, _CARD = b"CHECKSUM= '", 80
#: What a file system answers if it cannot reserve room.
_CANNOT_RESERVE = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)
#: Bytes beyond which an array that is used once lies in a file.
_IN_MEMORY = 512 << 20

#: Sizes up to this are read without asking for holes; a larger file may be this many times what it takes on the disk.
_HOLES_FREE, _HOLES_TIMES = 64 << 20, 100

#: What a path may be that a reader would wait for, or read without end, and what to do about it.
_ODD = (
    (stat.S_ISFIFO, "a pipe", "save what comes through it to a file first"),
    (stat.S_ISCHR, "a device", "give the path of a file"),
    (stat.S_ISBLK, "a device", "give the path of a file"),
    (stat.S_ISSOCK, "a socket", "give the path of a file"),
)


def check_regular(path):
    """Refuse a path at which a reader would wait or read without end; every reader of a path calls it first.

    These are pipes, devices, sockets, and files that are nearly all holes. An absent file or a folder passes: whoever
    opens it says so in words of its own.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    BadInputError

    Examples
    --------
    >>> from spfast.files import check_regular
    >>> check_regular("/dev/zero")
    Traceback (most recent call last):
    ...
    spfast.errors.BadInputError: /dev/zero: is a device, expected a regular file; give the path of a file
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return
    for is_odd, what, advice in _ODD:
        if is_odd(status.st_mode):
            raise BadInputError(f"{path}: is {what}, expected a regular file; {advice}")
    # Windows does not tell the room that a file takes.
    on_disk = 512 * getattr(status, "st_blocks", status.st_size)
    if stat.S_ISREG(status.st_mode) and status.st_size > _HOLES_FREE + _HOLES_TIMES * on_disk and _has_hole(path):
        raise BadInputError(
            f"{path}: is {status.st_size >> 20:,} MiB long but {on_disk >> 20:,} MiB are there, the rest are holes; "
            "the file is not whole: copy or download it again"
        )


def _has_hole(path):
    """Whether a file has a hole; a file system that does not know answers that the first is at the file's end."""
    with suppress(OSError), open(path, "rb") as file:
        return os.lseek(file.fileno(), 0, os.SEEK_HOLE) < os.fstat(file.fileno()).st_size
    return False


@contextmanager
def writing(path):
    """Turn the system's refusal to write an output into one line that names the output.

    Raises
    ------
    BadInputError
        For an OSError in the block.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise BadInputError(
            f"{path}: cannot be written ({reason}); check free space and permissions, or choose another output"
        ) from None


@contextmanager
def new_file(path):
    """Yield a temporary name; its file is renamed to ``path`` if the block ends well, and removed if it does not.

    Through a link the file that it leads to is replaced; a file that is replaced hands on its mode.
    """
    target = _target(path)
    partial = _partial(target)
    try:
        with writing(path):
            yield partial
            if target.exists():
                partial.chmod(stat.S_IMODE(target.stat().st_mode))
            put_on_disk(partial)
            check_guard(path)
            os.replace(partial, target)
            put_on_disk(target.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def new_folder(path):
    """Yield an empty folder that takes the name ``path`` if the block ends well, in place of any folder of that name.

    Its many files are not forced to the disk one by one: after a power cut it may have to be made again.

    Raises
    ------
    BadInputError
        For an OSError in the block, or a path without a name (``.``).
    """
    path = Path(path)
    if path.name in ("", ".."):
        raise BadInputError(f"{path}: a folder without a name cannot be replaced; give the output a name of its own")
    target = _target(path)
    partial = _partial(target)
    try:
        with writing(path):
            (partial / "new").mkdir(parents=True)
            yield partial / "new"
            if target.exists():
                (partial / "new").chmod(stat.S_IMODE(target.stat().st_mode))
            check_guard(path)
            if target.exists():
                os.replace(target, partial / "old")
            os.replace(partial / "new", target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _target(path):
    """Where a path leads to (pathlib.Path)."""
    return Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)


#: What is asked right before a path gets its new content: raises if another process may write it by now.
GUARDS = {}


def check_guard(path):
    """Refuse to give a path its new content if its lock was taken away; without a lock nothing is asked.

    Raises
    ------
    BadInputError
    """
    GUARDS.get(os.path.abspath(path), lambda: None)()


def _partial(path):
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def clear_leftovers(path):
    """Remove what killed processes left of `new_file` and `new_folder`; only an output's one writer may call it."""
    path = _target(path)
    start, end = f".{path.name}.", ".partial"
    for child in path.parent.iterdir():
        if child.name.startswith(start) and child.name.endswith(end) and child.name[len(start) : -len(end)].isdigit():
            with suppress(OSError):  # another user's is in nobody's way
                shutil.rmtree(child) if child.is_dir() and not child.is_symlink() else child.unlink()


def put_on_disk(path):
    """Force a file, or a folder's list of names, to the disk: a rename must not get there before the content."""
    if os.name == "nt" and Path(path).is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def reserve(path, n_bytes):
    """Make a file this long and reserve its room on the disk.

    A full disk is an error here. In a later write to a memory map it would end the process without a word.

    Raises
    ------
    OSError
        If there is no room.
    """
    with open(path, "ab") as file:
        _reserve(file, n_bytes)


def _reserve(file, n_bytes):
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, n_bytes)
    except OSError as error:
        if error.errno not in _CANNOT_RESERVE:
            raise
    file.truncate(n_bytes)


def scratch_array(shape, dtype, folder=None):
    """Return an array to be filled and used once: in memory, or, if it is large, in a file that goes with it.

    The file has no name, so that nothing is left of it however the process ends.

    Parameters
    ----------
    shape : tuple of int
    dtype : numpy dtype
    folder : path-like, optional
        Where the file lies, if it can be written; in the folder for temporary files by default.

    Returns
    -------
    array

    Raises
    ------
    BadInputError
        If there is no room.
    """
    import numpy as np

    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if n_bytes <= _IN_MEMORY:
        return np.empty(shape, dtype)
    folder = folder if folder is not None and os.access(folder, os.W_OK) else tempfile.gettempdir()
    with (
        writing(f"{folder}: {n_bytes / 1e9:.1f} GB for a while"),
        tempfile.TemporaryFile(dir=folder) as file,
    ):
        _reserve(file, n_bytes)
        return np.memmap(file, dtype, "r+", shape=shape).view(np.ndarray)


def watch(paths):
    """Remember size and time of files that are about to be read.

    Parameters
    ----------
    paths : iterable of path-like

    Returns
    -------
    callable
        Raises BadInputError if one of them has changed by the time it is called.
    """
    paths = list(paths)
    before = [_state(path) for path in paths]

    def check():
        for path, state in zip(paths, before, strict=True):
            if _state(path) != state:
                raise BadInputError(f"{path}: changed while it was read; run again when it is whole")

    return check


def _state(path):
    """Size and time of a file; None if the system does not tell, and its reader will say why."""
    with suppress(OSError):
        status = os.stat(path)
        return status.st_size, status.st_mtime_ns


#: Bytes of a file that are hashed between two calls of who wants to know.
_PIECE = 1 << 23


def file_sha256(path, say=None):
    """Return the sha256 of a file's bytes (str, hex); ``say`` is called with the number of each few MiB's bytes."""
    check_regular(path)
    with open(path, "rb") as file:
        if say is None:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest, piece = hashlib.sha256(), bytearray(_PIECE)
        while n_bytes := file.readinto(piece):
            digest.update(memoryview(piece)[:n_bytes])
            say(n_bytes)
    return digest.hexdigest()


def seal(path):
    """Write a file's sha256, taken while `BLANK_SEAL` is in it, over that text.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from spfast.files import BLANK_SEAL, is_sealed, seal
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "a.txt")
    ...     _ = path.write_text(f"sha256: {BLANK_SEAL}, one and two")
    ...     seal(path)
    ...     whole = is_sealed(path, path.read_text()[8:72])
    ...     _ = path.write_text(path.read_text().replace("two", "too"))
    ...     whole, is_sealed(path, path.read_text()[8:72])
    (True, False)
    """
    with open(path, "r+b") as file:
        place = file.read().index(BLANK_SEAL.encode())
        digest = file_sha256(path)
        file.seek(place)
        file.write(digest.encode())


def is_sealed(path, digest):
    """Whether a file holds this sha256 (str, hex) of itself, as `seal` wrote it; of FITS with `BLANK_CHECKSUM`."""
    check_regular(path)
    content = Path(path).read_bytes()
    if content.startswith(_GZIP):  # packed by its owner
        content = gzip.decompress(content)
    place = content.find(digest.encode())
    unsealed = bytearray(content)
    unsealed[place : place + len(digest)] = BLANK_SEAL.encode()
    next_card = place + _CARD
    if content[next_card - len(_CHECKSUM_CARD) : next_card] == _CHECKSUM_CARD:
        unsealed[next_card : next_card + len(BLANK_CHECKSUM)] = BLANK_CHECKSUM.encode()
    return place >= 0 and hashlib.sha256(unsealed).hexdigest() == digest


class RecordFile:
    """A growing file of JSON records, one a line after its checksum; a damaged line and all after it do not count.

    Parameters
    ----------
    path : path-like
    """

    def __init__(self, path: str | os.PathLike):
        self.path, self._length = Path(path), 0

    def read(self):
        """Return the records before the first damaged one (list)."""
        records, self._length = [], 0
        check_regular(self.path)
        content = self.path.read_bytes() if self.path.is_file() else b""
        for line in content.splitlines(keepends=True):
            checksum, _, text = line.partition(b" ")
            if not line.endswith(b"\n") or checksum != _checksum(text.rstrip(b"\n")):
                break
            try:
                records.append(json.loads(text))
            except (ValueError, RecursionError):
                break
            self._length += len(line)
        return records

    def begin(self, head):
        """Start the file anew with one record, and remove what a killed writer left; only its one writer may."""
        clear_leftovers(self.path)
        content = _line(head)
        with new_file(self.path) as partial:
            partial.write_bytes(content)
        self._length = len(content)

    def append(self, records):
        """Add records after the last whole one and force them to the disk; call `read` or `begin` before."""
        content = b"".join(map(_line, records))
        with writing(self.path), open(self.path, "r+b") as file:
            file.truncate(self._length)
            file.seek(self._length)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self._length += len(content)


def _line(record):
    text = json.dumps(record).encode("ascii")
    return _checksum(text) + b" " + text + b"\n"


def _checksum(text):
    return b"%08x" % zlib.crc32(text)
