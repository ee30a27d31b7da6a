"""Long runs say how often the matrix was read, beside whatever bar is shown."""

import io
import re
import time

import numpy as np

from spfast.kernels.team import Team
from spfast.model.predict import predictors_of_rows
from spfast.progress import Progress
from spfast.reads import reader as readers
from spfast.reads.meter import METER
from spfast.reads.reader import Reader
from spfast.reads.rows import OfRows


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_reads_of_a_large_matrix_are_counted_and_shown_beside_the_bar(monkeypatch):
    monkeypatch.setattr(readers, "is_larger_than_memory", lambda design: True)
    monkeypatch.setattr("spfast.progress._NOTES", [])
    design, before, stream = np.ones((100, 3), np.float32), METER.n_reads, Terminal()
    with Team(1) as team, Progress("fit", 1, stream=stream) as bar:
        for _ in range(2):
            Reader(team).read(design, OfRows(np.arange(100), predictors_of_rows, (np.ones((1, 3)),)))
        bar.advance()
        give_up = time.monotonic() + 20.0
        while "GB/s" not in stream.getvalue() and time.monotonic() < give_up:  # a thread shows it
            time.sleep(0.01)
    assert abs(METER.n_reads - before - 2.0) < 1e-9
    assert re.search(r"fit, .*; .* reads, .* GB/s", stream.getvalue())


def test_a_matrix_in_memory_is_not_counted():
    before = METER.n_bytes
    with Team(1) as team:
        Reader(team).read(np.ones((100, 3), np.float32), OfRows(np.arange(100), predictors_of_rows, (np.ones((1, 3)),)))
    assert METER.n_bytes == before
