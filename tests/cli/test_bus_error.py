"""A file that becomes shorter while it is read through a memory map: one line and exit 2, whoever reads."""

import faulthandler
import os
import signal
import sys
import threading

import numpy as np
import pytest

from spfast.cli.bus_error import bus_error_in_one_line

pytestmark = pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="needs a safe fork")
crash_runs = pytest.importorskip("crash_runs")


def in_a_child(work, log):
    """Run a function in a process of its own (exit status or minus the signal, what it printed)."""
    pid = os.fork()
    if not pid:
        try:
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, 2)
            faulthandler.enable(2)  # pytest's would write to the terminal
            work()
        finally:
            os._exit(0)
    return crash_runs.wait(pid), log.read_text()


def in_a_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@pytest.mark.parametrize("where", [lambda work: work(), in_a_thread], ids=["main", "thread"])
def test_bus_error_names_the_file_that_became_shorter(tmp_path, where):
    np.save(tmp_path / "two words.npy", np.ones((100, 1000), np.float32))

    def read():
        array = np.load(tmp_path / "two words.npy", mmap_mode="r")
        with bus_error_in_one_line(2):
            os.truncate(tmp_path / "two words.npy", 5000)
            where(array.sum)

    code, said = in_a_child(read, tmp_path / "log")
    assert code == 2
    told = "became shorter while it was read; put the whole file back or make it again"
    assert said == f"spfast: {tmp_path / 'two words.npy'}: {told}\n"


def test_bus_error_without_a_short_file_is_one_line(tmp_path):
    def fail():
        with bus_error_in_one_line(2):
            os.kill(os.getpid(), signal.SIGBUS)

    code, said = in_a_child(fail, tmp_path / "log")
    assert code == 2
    assert said.startswith("spfast: a file could not be read to its end: ")
    assert said.count("\n") == 1


def test_bus_error_after_the_block_ends_the_process_as_before(tmp_path):
    def fail():
        with bus_error_in_one_line(2):
            pass
        os.kill(os.getpid(), signal.SIGBUS)

    code, said = in_a_child(fail, tmp_path / "log")
    assert code == -signal.SIGBUS
    assert "spfast:" not in said


def test_system_without_sigbus_runs_the_block(monkeypatch):
    monkeypatch.delattr(signal, "SIGBUS")
    with bus_error_in_one_line(2):
        pass
