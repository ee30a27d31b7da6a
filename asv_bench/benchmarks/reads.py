"""Features larger than memory: how many reads a catalog takes, and what a read that several fits share costs.

The survey is small; the reader is told that it has less memory than that, and does what it does for a million stars.
"""

from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.bench import _median_ratio
from benchmarks.problem import PENALTY, make_survey, open_problem

#: Training stars of each of two folds, and fits that share a read.
N_FOLD, N_FITS = 2000, 5


@contextmanager
def _little_memory():
    from spfast.reads import reader

    before, reader._MEMORY_SHARE = reader._MEMORY_SHARE, 0.0
    try:
        yield
    finally:
        reader._MEMORY_SHARE = before


class Reads:
    timeout = 600

    def setup_cache(self):
        return str(make_survey(N_FOLD, n_folds=2, folder=Path("surveys").resolve()))

    def _reads_of_a_catalog(self, survey, penalty):
        import spfast
        from spfast.config import Config
        from spfast.reads import reader

        survey, reads, read = spfast.open_survey(survey), [], reader.Reader._read

        def counted(own, design, jobs):
            reads.append(design.shape == survey.features.shape)
            return read(own, design, jobs)

        reader.Reader._read = counted
        try:
            with _little_memory():
                spfast.make_catalog(survey, penalty, config=Config().replace(fit={"pixels": "raw"}), threads=2)
        finally:
            reader.Reader._read = read
        return sum(reads)

    def track_reads_of_a_catalog(self, survey):
        return self._reads_of_a_catalog(survey, PENALTY)

    def track_reads_of_a_catalog_with_its_own_penalty(self, survey):
        return self._reads_of_a_catalog(survey, "auto")

    def track_shared_pass_in_passes_alone(self, survey):
        """One read for five fits to four fifths of a fold each, in units of five reads."""
        from spfast.kernels.team import Team
        from spfast.reads.jobs import ValueGradient
        from spfast.reads.reader import Reader

        problem = open_problem(survey, N_FOLD, 2).warm()
        rows, rng = problem.rows, np.random.default_rng(1)
        parallax, ivar = problem.parallax[rows], problem.parallax_error[rows] ** -2.0
        jobs = []
        for fold in range(N_FITS):
            part = np.arange(rows.size) % N_FITS != fold
            coef = 1e-4 * rng.normal(size=problem.features.shape[1])
            jobs.append(ValueGradient(rows[part], parallax[part], ivar[part], coef, np.arange(8)))
        with Team(1) as team:
            reader, design = Reader(team), problem.features.view(np.ndarray)
            return _median_ratio(lambda: reader._read(design, jobs), lambda: [reader.read(design, job) for job in jobs])
