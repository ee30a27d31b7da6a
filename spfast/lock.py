"""One writer at a time for an output: a second one is refused, and told who is writing."""

import json
import os
import platform
import stat
import time
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path

from spfast.errors import BadInputError, LockWarning
from spfast.files import GUARDS, clear_leftovers, writing

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None

__all__ = ["hold"]

#: What may lie where a lock file is made.
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@contextmanager
def hold(path):
    """Keep other processes from writing an output while the block runs.

    The lock is the kernel's (``flock`` of a hidden file beside the output), so it ends with its process, however that
    ends: a lock file that is left behind locks nothing. On Linux it also holds between machines that share a folder
    by NFS. If a file system has no locks, a warning says so and the block runs without one.

    Parameters
    ----------
    path : path-like
        The file or folder to be written.

    Raises
    ------
    BadInputError
        If another process holds it, or the folder cannot be written to.

    Warns
    -----
    LockWarning
        If the file system, or the operating system, has no locks.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from spfast.lock import hold
    >>> with tempfile.TemporaryDirectory() as folder, hold(pathlib.Path(folder, "catalog.fits")):
    ...     sorted(path.name for path in pathlib.Path(folder).iterdir())
    ['.catalog.fits.lock']
    """
    path = Path(path)
    whole = Path(os.path.abspath(path))  # "." has no name
    lock = whole.with_name(f".{whole.name}.lock")
    made = [parent for parent in path.parents if not parent.exists()]
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _acquire(lock, path)

    def still_ours():
        if not _is_still(lock, descriptor):
            raise BadInputError(
                f"{path}: its lock {lock.name} was removed, and another process may be writing it; run this again alone"
            )

    try:
        with writing(path):
            clear_leftovers(path)
        GUARDS[str(whole)] = still_ours
        yield
    finally:
        GUARDS.pop(str(whole), None)
        # Removed while still locked: a process that opened it meanwhile sees that it lost its name, and tries again.
        with suppress(OSError):
            if _is_still(lock, descriptor):  # else it is another process's by now
                lock.unlink()
        os.close(descriptor)
        with suppress(OSError):  # a folder that is not empty stays
            for parent in made:
                parent.rmdir()


def _acquire(lock, path):
    """Return a descriptor of the locked file, after writing this process's name into it."""
    while True:
        descriptor, is_ours = _open(lock)
        try:
            valid = not _lock(descriptor, path) or _is_still(lock, descriptor)
            if valid and not is_ours:
                lock.unlink()  # another user's process left it behind
            elif valid:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, json.dumps(_this_process()).encode(), 0)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _open(lock):
    """Open the lock file, made if need be; return its descriptor and whether we may write to it."""
    # No link is followed: through one that somebody left here, a file elsewhere would be overwritten.
    no_link = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    _check_kind(lock)  # to open a device can do something, and to open a pipe can wait for ever
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT | no_link, 0o644), True
    except PermissionError:
        if not lock.exists():
            raise
        return os.open(lock, os.O_RDONLY | no_link), False


def _check_kind(lock):
    try:
        mode = os.lstat(lock).st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        kind = next((kind for is_kind, kind in _KINDS if is_kind(mode)), "no file")
        raise BadInputError(f"{lock}: is {kind}, expected a lock file; remove it or choose another output")


def _lock(descriptor, path):
    """Lock a file; return False if the system has no locks."""
    try:
        if fcntl is None:
            raise OSError(0, "not on this operating system")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        raise BadInputError(
            f"{path}: {_holder(descriptor)} is writing it; wait until it is done, or choose another output"
        ) from None
    except OSError as error:
        text = f"{path}: the file system has no locks ({error.strerror}); make sure that nothing else writes it"
        warnings.warn(text, LockWarning, stacklevel=2)
        return False


def _is_still(lock, descriptor):
    try:
        return os.path.samestat(os.stat(lock), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _this_process():
    since = time.strftime("%Y-%m-%d %H:%M:%S %z")
    return {"pid": os.getpid(), "host": platform.node() or "this host", "since": since}


def _holder(descriptor):
    try:
        holder = json.loads(os.pread(descriptor, 1000, 0))
        return f"process {holder['pid']} on {holder['host']}, since {holder['since']},"
    except (ValueError, KeyError, TypeError):  # it has not written its name yet
        return "another process"
