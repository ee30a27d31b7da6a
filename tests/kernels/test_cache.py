"""The compiler's cache: whatever became of its files, kernels run, give the same, and one line says what is wrong."""

import importlib.util
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import spfast

#: A kernel of few lines, under another folder's name: it compiles in a blink, and its cache is its own.
KERNEL = """
from spfast.kernels.jit import jit

@jit
def inner(x):
    return x + 1.0

@jit
def add(x):
    return inner(x) * 2.0
"""
RUN = "import mine; assert mine.add(2.0) == mine.add(2) == 6.0; print(sum(mine.add.stats.cache_hits.values()))"


@pytest.fixture
def place(tmp_path):
    """A folder with a module of kernels and a filled cache."""
    (tmp_path / "mine.py").write_text(KERNEL)
    assert run(tmp_path).stdout.split() == ["0"]
    assert run(tmp_path).stdout.split() == ["2"]
    return tmp_path


def run(folder, preparation="", cache="cache", wait=True):
    """Run the kernels in a process of their own."""
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(folder / cache),
        "PYTHONPATH": str(Path(spfast.__file__).parents[1]),
    }
    words = [sys.executable, "-c", f"{textwrap.dedent(preparation)}\n{RUN}"]
    process = subprocess.Popen(words, cwd=folder, env=environment, stdout=-1, stderr=-1, text=True)
    if not wait:
        return process
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return subprocess.CompletedProcess(words, 0, out, err)


def files(folder, kind="*"):
    return sorted(path for path in (folder / "cache").rglob(f"*.{kind}") if path.is_file())


def middle_zeroed(content):
    at = len(content) // 2
    return content[:at] + bytes(8) + content[at + 8 :]


DAMAGES = {
    "empty": lambda content: b"",
    "one byte": lambda content: content[:1],
    "cut": lambda content: content[: len(content) // 2],
    "last byte cut": lambda content: content[:-1],
    "longer": lambda content: content + b"\n",
    "zeros inside": middle_zeroed,
    "one bit": lambda content: content[:200] + bytes([content[200] ^ 1]) + content[201:],
    "text": lambda content: b"<html>404</html>",
    "of numba without a hash": lambda content: content[:-32],
}


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_cache_is_filled_anew_and_said_once(place, kind, damage):
    for path in files(place, kind):
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
    done = run(place)
    assert done.stdout.split() == ["0"]
    assert done.stderr.count("\n") == 1
    assert str(place / "cache") in done.stderr
    assert "is damaged: going on without" in done.stderr
    again = run(place)
    assert (again.stdout.split(), again.stderr) == (["2"], "")


def test_code_under_another_kernels_name_is_not_run(place):
    first, *others = files(place, "nbc")
    for path in others:
        shutil.copy(first, path)
    assert run(place).returncode == 0


@pytest.mark.parametrize("kind", ["nbi", "nbc", "*"])
def test_files_that_are_gone_are_made_again_without_a_word(place, kind):
    for path in files(place, kind):
        path.unlink()
    assert run(place).stderr == ""
    assert run(place).stdout.split() == ["2"]


def test_folder_in_place_of_a_file_is_said(place):
    for path in files(place):
        path.unlink()
        path.mkdir()
    done = run(place)
    assert done.stderr.count("\n") == 1
    assert "cannot be used (Is a directory): going on without; see to its room and rights" in done.stderr


@pytest.mark.parametrize("cache", ["mine.py", "mine.py/below", "missing/below", "", "with space", "x" * 300])
def test_cache_that_cannot_be_a_folder(place, cache):
    assert run(place, cache=cache).stderr == ""


FULL = """
    import errno, builtins
    real = builtins.open
    def full(path, mode="r", *args, **named):
        if "w" in mode and ".nb" in str(path):
            raise OSError(errno.{}, os.strerror(errno.{}), path)
        return real(path, mode, *args, **named)
    import os
    builtins.open = full
"""


@pytest.mark.parametrize("error", ["ENOSPC", "EDQUOT", "EROFS", "EACCES", "EIO"])
def test_cache_without_room_or_rights_is_said_once(tmp_path, error):
    (tmp_path / "mine.py").write_text(KERNEL)
    done = run(tmp_path, FULL.format(error, error))
    assert done.stdout.split() == ["0"]
    assert done.stderr.count("\n") == 1
    assert f"{tmp_path / 'cache'}" in done.stderr
    assert f"cannot be used ({os.strerror(getattr(__import__('errno'), error))})" in done.stderr
    assert not [path for path in files(tmp_path) if ".tmp." in path.name]


def test_disk_that_fills_while_a_file_is_written_leaves_no_part(tmp_path):
    (tmp_path / "mine.py").write_text(KERNEL)
    limit = """
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
    """
    done = run(tmp_path, limit)
    assert "cannot be used (File too large)" in done.stderr
    assert done.stderr.count("\n") == 1
    assert all(path.stat().st_size < 3000 and ".tmp." not in path.name for path in files(tmp_path))
    assert run(tmp_path).stderr == ""


def test_first_runs_at_once_share_one_cache(tmp_path):
    (tmp_path / "mine.py").write_text(KERNEL)
    at_once = [run(tmp_path, wait=False) for _ in range(4)]
    said = [process.communicate(timeout=120)[1] for process in at_once]
    assert [process.returncode for process in at_once] == [0] * 4
    assert said == [""] * 4
    assert run(tmp_path).returncode == 0
    assert run(tmp_path).stdout.split() == ["2"]


def test_types_have_files_of_their_own_names_so_that_processes_do_not_mix_them(place):
    names = [path.name for path in files(place, "nbc")]
    before = {path: path.read_bytes() for path in files(place, "nbi")}
    for path in before:
        path.unlink()  # as if another process had written its own index over it
    run(place)
    assert [path.name for path in files(place, "nbc")] == names


def test_cache_of_another_state_of_the_kernels_is_not_used(place):
    other = "import spfast.kernels.cache as c; c._kernels_sha256 = lambda: 'other'"
    done = run(place, other)
    assert (done.stdout.split(), done.stderr) == (["0"], "")


def test_kernels_of_the_package_have_this_cache():
    from spfast.kernels.cache import KernelCache
    from spfast.kernels.l1 import l1_norm

    assert importlib.util.find_spec("numba")
    assert isinstance(l1_norm._cache, KernelCache)
