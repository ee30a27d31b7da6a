"""Locks of outputs: left behind by a dead process, of another user, or none at all."""

import errno
import os
import signal
import socket
import stat
import sys
import tempfile
from pathlib import Path

import pytest

from spfast.errors import BadInputError, LockWarning
from spfast.lock import hold

pytestmark = pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="needs a safe fork")
crash_runs = pytest.importorskip("crash_runs")


def test_lock_of_a_dead_process_locks_nothing(tmp_path):
    path = tmp_path / "catalog.fits"
    pid = os.fork()
    if not pid:
        with hold(path):
            (tmp_path / f".catalog.fits.{os.getpid()}.partial").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2
    with hold(path):
        assert [child.name for child in tmp_path.iterdir()] == [".catalog.fits.lock"]
        with pytest.raises(BadInputError, match=f"process {os.getpid()} on"), hold(path):
            pass
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / ".catalog.fits.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInputError, match="lock: is a link"), hold(path):
        pass
    assert (tmp_path / "elsewhere").read_text() == "mine"


@pytest.mark.parametrize("kind", ["a pipe", "a folder", "a socket", "a device"])
def test_lock_that_is_no_file_is_refused_at_once(tmp_path, kind):
    path, lock = tmp_path / "out", tmp_path / ".out.lock"
    if kind == "a pipe":
        os.mkfifo(lock)
    elif kind == "a folder":
        lock.mkdir()
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(lock))  # absolute ones may be too long
    else:
        try:
            os.mknod(lock, 0o600 | stat.S_IFCHR, os.makedev(1, 3))  # null
        except PermissionError:
            pytest.skip("only root can make a device")
    with pytest.raises(BadInputError, match=rf"\.out\.lock: is {kind}, expected a lock file; remove it or"), hold(path):
        pass
    assert [child.name for child in tmp_path.iterdir()] == [".out.lock"]


def test_file_system_without_locks_gives_a_warning(tmp_path, monkeypatch):
    def flock(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.warns(LockWarning, match=r"no locks \(No locks available\)"), hold(tmp_path / "new" / "out"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user")
def test_lock_of_another_user_holds_and_is_taken_over_when_left_behind():
    with tempfile.TemporaryDirectory() as name:  # not pytest's own, which others may not enter
        folder = Path(name)
        folder.chmod(0o777)
        path = folder / "out"

        def taken():
            pid = os.fork()
            if not pid:
                code = 1
                try:
                    os.setuid(65534)
                    with hold(path):
                        path.touch()
                    code = 0
                except BadInputError as error:
                    (folder / "said").write_text(str(error))
                    code = 2
                finally:
                    os._exit(code)
            return crash_runs.wait(pid)

        with hold(path):
            assert taken() == 2
        assert f"process {os.getpid()} on" in (folder / "said").read_text()
        assert "is writing it" in (folder / "said").read_text()
        (folder / ".out.lock").touch(0o644)  # left behind
        assert taken() == 0
        assert sorted(child.name for child in folder.iterdir()) == ["out", "said"]
