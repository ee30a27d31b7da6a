"""What is said while something goes on: on a terminal, in a log, and to nobody."""

import io
import threading
import time

import pytest

from spfast import progress
from spfast.progress import Progress, heard_by, say


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def shown(self):
        """What the terminal's lines have shown (list of str)."""
        return self.getvalue().replace("\n", "\r\x1b[K").split("\r\x1b[K")


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    monkeypatch.setattr(progress, "_LOG_INTERVAL", 0.01)
    monkeypatch.setattr(progress, "_BAR_INTERVAL", 0.01)


def wait_for(stream, text):
    end = time.monotonic() + 5.0
    while text not in stream.getvalue():
        assert time.monotonic() < end, stream.getvalue()
        time.sleep(0.005)


def test_a_log_names_all_that_lasts_and_counts_its_steps():
    stream = io.StringIO()
    with Progress("fold A: fit", stream=stream):
        wait_for(stream, "fold A: fit, 0 s\n")
        with Progress("fold B: held-out fits", 5, stream=stream) as stage:
            stage.advance(2)
            stage.detail = "penalty 30"
            wait_for(stream, "fold A: fit, 0 s; fold B: held-out fits 2/5, 0 s (penalty 30)\n")
    said = stream.getvalue()
    time.sleep(0.05)
    assert stream.getvalue() == said


def test_a_terminal_has_one_line_however_much_goes_on_and_none_in_the_end():
    stream = Terminal()
    with Progress("fold A: errors", stream=stream), Progress(f"fits {'x' * 100}", 4, stream=stream) as fits:
        fits.advance(2)
        wait_for(stream, "[##########..........] fold A: errors, 0 s; fits xxx")
    assert "\n" not in stream.getvalue()
    assert max(map(len, stream.shown())) == 79
    assert stream.shown()[-1] == ""


def test_a_line_is_printed_whole_beside_a_bar(capsys):
    stream = Terminal()
    with Progress("fit", stream=stream):
        wait_for(stream, "fit, 0 s")
        say("going on")
        assert stream.getvalue().endswith("\r\x1b[K")
    assert capsys.readouterr().out == "going on\n"


def test_what_lasted_leaves_a_line_with_its_time(monkeypatch):
    monkeypatch.setattr(progress, "_WORTH_A_LINE", 0.0)
    stream = Terminal()
    with Progress("read Gaia", stream=stream):
        pass
    with Progress("spectra", 4, stream=stream) as spectra:
        spectra.advance(3)
    with Progress("stage", stream=stream, leaves_line=False):
        pass
    with pytest.raises(KeyError), Progress("fit", stream=stream):
        raise KeyError
    assert [line for line in stream.shown() if line] == ["read Gaia in 0.0 s", "spectra: 3 of 4 in 0.0 s"]


def test_what_is_over_soon_and_what_is_quiet_show_nothing_but_listeners_hear_it(monkeypatch, capsys):
    stream, heard, running = io.StringIO(), [], threading.active_count()
    with heard_by(heard.append):
        with Progress("fit", quiet=True, stream=stream):
            time.sleep(0.05)
        monkeypatch.setattr(progress, "_LOG_INTERVAL", 60.0)
        with pytest.raises(KeyError), Progress("read", 3, stream=stream):
            raise KeyError
        say("wrote it", quiet=True)
    assert stream.getvalue() == capsys.readouterr().out == ""
    assert heard[0] == "begin: fit"
    assert heard[1].startswith("fit in 0.")
    assert heard[2:] == ["begin: read 0/3", "read: 0 of 3 in 0.0 s, ended by KeyError", "wrote it"]
    assert threading.active_count() == running


def test_time_left_is_told_when_it_can_be_and_not_from_the_first_step(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def after(seconds, n):
        now[0] += seconds
        task.advance(n)
        return str(task)

    with Progress("spectra", 1000, quiet=True) as task:
        assert after(60.0, 1) == "spectra 1/1,000, 60 s"  # it compiled
        assert after(1.0, 99) == "spectra 100/1,000, 61 s"
        assert after(1.0, 101) == "spectra 201/1,000, 100 a second, 8 s left"
    with Progress("figures", 14, quiet=True) as task:
        assert after(30.0, 1) == "figures 1/14, 30 s"
        assert after(30.0, 1) == "figures 2/14, 60 s"
        after(30.0, 1)
        assert after(30.0, 1) == "figures 4/14, 5 min left"
