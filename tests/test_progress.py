"""What is said while something goes on: on a terminal, in a log, and to nobody."""

import io
import threading
import time

import pytest

from spfast import progress
from spfast.progress import Stages


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    monkeypatch.setattr(progress, "_LOG_INTERVAL", 0.01)
    monkeypatch.setattr(progress, "_BAR_INTERVAL", 0.01)


def wait_for(stream, text):
    end = time.monotonic() + 5.0
    while text not in stream.getvalue():
        assert time.monotonic() < end, stream.getvalue()
        time.sleep(0.005)


def test_a_log_names_each_stage_that_lasts_and_counts_its_steps():
    stream = io.StringIO()
    stages = Stages(stream=stream)
    with stages.stage("fold A: fit"):
        wait_for(stream, "fold A: fit, 0 s\n")
        with stages.stage("fold B: held-out fits", 5) as stage:
            stage.advance(2)
            wait_for(stream, "fold A: fit, 0 s; fold B: held-out fits 2/5, 0 s\n")
    said = stream.getvalue()
    time.sleep(0.05)
    assert stream.getvalue() == said


def test_a_terminal_has_one_line_and_none_in_the_end():
    stream = Terminal()
    with Stages(stream=stream).stage("fold A: errors"):
        wait_for(stream, "fold A: errors")
    assert "\n" not in stream.getvalue()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_a_stage_that_is_over_soon_and_a_quiet_one_say_nothing(monkeypatch):
    stream, running = io.StringIO(), threading.active_count()
    with Stages(quiet=True, stream=stream).stage("fit"):
        time.sleep(0.05)
    monkeypatch.setattr(progress, "_LOG_INTERVAL", 60.0)
    with pytest.raises(KeyError), Stages(stream=stream).stage("fit"):
        raise KeyError
    assert stream.getvalue() == ""
    assert threading.active_count() == running
