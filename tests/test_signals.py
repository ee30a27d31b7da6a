"""Ctrl-C and SIGTERM where Python cannot raise, or raises something else."""

import argparse
import signal
import threading
import time
import weakref

import pytest

from spfast import cli
from spfast.cli import signals

SIGNALS = [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]


@pytest.fixture(autouse=True)
def _ctrl_c():
    """Ctrl-C is heard, even where a shell has started the suite in its background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def ends(monkeypatch, work):
    """Run the command line with a command of our own."""

    class Parser:
        def parse_args(self, argv):
            return argparse.Namespace(debug=False, quiet=False, run=lambda args: work())

    monkeypatch.setattr(cli, "make_parser", Parser)
    return cli.main([])


class Thing:
    """What can be referred to weakly."""


class Heavy:
    """What sends a signal when it goes."""

    def __init__(self, number):
        self.number = number

    def __del__(self):
        signal.raise_signal(self.number)


@pytest.mark.parametrize(("number", "code", "said"), SIGNALS)
@pytest.mark.parametrize("where", ["weak reference", "finalizer"])
def test_a_signal_within_a_callback_is_not_lost(monkeypatch, capsys, number, code, said, where):
    went_on = []
    monkeypatch.setattr(signals, "_AGAIN", 0.5)

    def work():
        if where == "finalizer":
            Heavy(number)
        else:
            thing = Thing()
            kept = weakref.ref(thing, lambda _: signal.raise_signal(number))
            del thing
            assert kept() is None
        went_on.append(True)  # Python has swallowed the first one
        time.sleep(20.0)

    start = time.monotonic()
    assert ends(monkeypatch, work) == code
    assert went_on
    assert time.monotonic() - start < 10.0
    assert capsys.readouterr().err == f"spfast: {said}\n"


def test_other_faults_of_a_callback_are_told_as_ever(monkeypatch, capsys):
    told = []
    monkeypatch.setattr("sys.unraisablehook", lambda lost: told.append(lost.exc_type))

    def work():
        thing = Thing()
        kept = weakref.ref(thing, lambda _: 1 / 0)
        del thing
        assert kept() is None

    assert ends(monkeypatch, work) == 0
    assert told == [ZeroDivisionError]


@pytest.mark.parametrize(("number", "code", "said"), SIGNALS)
def test_a_signal_that_ends_as_another_error(monkeypatch, capsys, number, code, said):
    lock = threading.Lock()

    def work():
        lock.acquire()
        try:
            lock.release()
            signal.raise_signal(number)
        finally:
            lock.release()

    assert ends(monkeypatch, work) == code
    assert capsys.readouterr().err == f"spfast: {said}\n"


def test_an_error_of_its_own_is_a_fault(monkeypatch, capsys):
    def work():
        try:
            raise ValueError("the first")
        finally:
            threading.Lock().release()

    assert ends(monkeypatch, work) == 1
    assert "RuntimeError: release unlocked lock (a fault of spfast" in capsys.readouterr().err
