"""Ctrl-C and SIGTERM where nothing can be raised, or what is raised becomes something else."""

import argparse
import contextlib
import signal
import sys
import threading
import time
import weakref

import numpy as np
import pytest

from spfast import cli
from spfast.cli import signals
from spfast.errors import BadInputError

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
            return argparse.Namespace(debug=False, quiet=False, log=None, command="", run=lambda args: work())

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
def test_signal_within_a_callback_is_not_lost(monkeypatch, capsys, number, code, said, where):
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


def test_other_errors_of_a_callback_are_reported_by_python(monkeypatch, capsys):
    told = []
    monkeypatch.setattr("sys.unraisablehook", lambda lost: told.append(lost.exc_type))

    def work():
        thing = Thing()
        kept = weakref.ref(thing, lambda _: 1 / 0)
        del thing
        assert kept() is None

    assert ends(monkeypatch, work) == 0
    assert told == [ZeroDivisionError]


class Text(np.ndarray):
    """Like astropy's arrays of text: numpy's C code calls Python for an attribute."""

    number = None

    def __getattribute__(self, name):
        if name == "__array_wrap__" and Text.number is not None:
            number, Text.number = Text.number, None
            signal.raise_signal(number)
        return super().__getattribute__(name)


@pytest.mark.parametrize(("number", "code", "said"), SIGNALS)
def test_signal_within_an_attribute_that_numpy_asks_for_does_not_crash(monkeypatch, capsys, number, code, said):
    stripped = []

    def work():
        text = np.full(100, b"ab ", "S5").view(Text)
        Text.number = number
        stripped.append(np.strings.rstrip(text))  # ends in a segmentation fault if anything is raised within
        time.sleep(20.0)

    assert ends(monkeypatch, work) == code
    assert Text.number is None
    assert (np.asarray(stripped[0]) == b"ab").all()
    assert capsys.readouterr().err == f"spfast: {said}\n"


def test_special_method_is_interrupted_after_a_second(monkeypatch):
    monkeypatch.setattr(signals, "_PATIENCE", 0.2)

    class Slow:
        def __call__(self):
            signal.raise_signal(signal.SIGTERM)
            time.sleep(20.0)

    start = time.monotonic()
    assert ends(monkeypatch, Slow()) == 143
    assert 0.2 <= time.monotonic() - start < 10.0


@pytest.mark.parametrize(("number", "code", "said"), SIGNALS)
@pytest.mark.parametrize(
    "error", [BadInputError("stars.fits: cannot be read"), OSError("short"), RuntimeError("locked")]
)
def test_error_that_replaced_a_signal_exits_as_the_signal(monkeypatch, capsys, number, code, said, error):
    def work():
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            replaced = error
        raise replaced  # as C code does: without a trace of the first

    assert ends(monkeypatch, work) == code
    assert capsys.readouterr().err == f"spfast: {said}\n"


@pytest.mark.parametrize(("number", "code", "said"), SIGNALS)
def test_error_while_a_signal_unwinds_exits_as_the_signal(monkeypatch, capsys, number, code, said):
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


@pytest.mark.parametrize(("number", "code", "said"), SIGNALS)
def test_signal_that_other_code_swallows_is_raised_again(monkeypatch, capsys, number, code, said):
    went_on = []

    def work():
        with contextlib.suppress(BaseException):  # as where a damaged file is counted and the next one read
            signal.raise_signal(number)
        went_on.append(True)
        time.sleep(20.0)

    start = time.monotonic()
    assert ends(monkeypatch, work) == code
    assert went_on
    assert time.monotonic() - start < 10.0
    assert capsys.readouterr().err == f"spfast: {said}\n"


@pytest.mark.parametrize(("number", "code"), [(number, code) for number, code, _ in SIGNALS])
def test_cleaning_up_is_not_interrupted_again(monkeypatch, number, code):
    monkeypatch.setattr(signals, "_AGAIN", 0.01)
    put_away = []

    def work():
        try:
            signal.raise_signal(number)
        finally:
            time.sleep(0.3)
            put_away.append(True)

    assert ends(monkeypatch, work) == code
    assert put_away


def test_dropped_signal_is_raised_again_where_the_caller_handles_an_error(monkeypatch):
    def work():
        kept = weakref.ref(thing := Thing(), lambda _: signal.raise_signal(signal.SIGTERM))
        del thing
        assert kept() is None
        time.sleep(20.0)

    start = time.monotonic()
    try:
        raise ValueError("of whoever calls")
    except ValueError:
        assert ends(monkeypatch, work) == 143
    assert time.monotonic() - start < 10.0


def test_error_without_a_signal_is_a_fault(monkeypatch, capsys):
    def work():
        try:
            raise ValueError("the first")
        finally:
            threading.Lock().release()

    assert ends(monkeypatch, work) == 1
    assert "RuntimeError: release unlocked lock (a fault of spfast" in capsys.readouterr().err


def test_ctrl_c_that_the_caller_ignores_stays_ignored(monkeypatch):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert ends(monkeypatch, lambda: signal.raise_signal(signal.SIGINT)) == 0
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_alarm_of_the_caller_is_left_alone(monkeypatch):
    heard = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: heard.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        assert ends(monkeypatch, lambda: time.sleep(0.3)) == 0
        signal.setitimer(signal.ITIMER_REAL, 100.0)
        assert ends(monkeypatch, lambda: None) == 0
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0.0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert heard == [signal.SIGALRM]


def test_handlers_and_timer_are_as_before_afterwards(monkeypatch):
    numbers = signal.SIGINT, signal.SIGTERM, signal.SIGALRM
    before, hook = [signal.getsignal(number) for number in numbers], sys.unraisablehook
    assert ends(monkeypatch, lambda: signal.raise_signal(signal.SIGTERM)) == 143
    assert [signal.getsignal(number) for number in numbers] == before
    assert sys.unraisablehook is hook
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
