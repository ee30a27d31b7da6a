"""Arrays that are used once: small ones in memory, large ones in a file without a name, no room in one line."""

import errno
import os

import numpy as np
import pytest

from spfast import files
from spfast.errors import BadInputError


def test_a_large_array_lies_in_a_file_that_has_no_name(tmp_path, monkeypatch):
    small = files.scratch_array((3, 4), np.float32, tmp_path)
    monkeypatch.setattr(files, "_IN_MEMORY", 1000)
    large = files.scratch_array((300, 4), np.float32, tmp_path)
    large[:] = 7.0
    assert type(small) is type(large) is np.ndarray
    assert large.shape == (300, 4)
    assert large.flags.c_contiguous
    assert (large == 7.0).all()
    assert not any(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_IN_MEMORY", 0)
    for folder in (None, tmp_path / "absent"):
        assert files.scratch_array((2, 2), np.float64, folder).shape == (2, 2)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot reserve room")
def test_no_room_for_a_large_array_is_told_in_one_line(tmp_path, monkeypatch):
    def full(descriptor, begin, n_bytes):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "_IN_MEMORY", 0)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(BadInputError, match=r"GB for a while: cannot be written \(No space left on device\)"):
        files.scratch_array((2, 2), np.float64, tmp_path)
