"""Kernels, solvers, path, prediction, normalisation, ingest, start-up: by number of training stars and of threads.

Ratios (``track_``) compare times of one moment on one machine; times (``time_``) only help to compare commits.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.problem import PENALTY, SEED, make_survey, open_problem
from benchmarks.yardsticks import reads

#: Training stars and threads. Problem F itself (14,113) takes minutes: asv_bench/problem_f.py.
SIZES, THREADS = [1000, 4000], [1, 2]
ROUNDS = 15


def _median_ratio(function: Callable, yardstick: Callable, rounds: int = ROUNDS) -> float:
    """Time two functions in turn and return the median ratio."""
    function(), yardstick()
    ratios = []
    for _ in range(rounds):
        begin = time.perf_counter()
        function()
        middle = time.perf_counter()
        yardstick()
        ratios.append((middle - begin) / (time.perf_counter() - middle))
    return float(np.median(ratios))


class _OnSurvey:
    """Benchmarks on surveys that are simulated once, with a fixed seed, and memory-mapped."""

    params = (SIZES, THREADS)
    param_names = ("N", "threads")
    timeout = 600

    def setup_cache(self):
        folder = Path("surveys").resolve()  # asv runs this in a folder of its own and keeps it for all benchmarks
        return {n: str(make_survey(n, n_folds=1, folder=folder)) for n in SIZES}

    def setup(self, surveys, n, threads):
        import spfast

        self.problem = open_problem(surveys[n], n).warm()
        self.options = self.problem.arguments(threads=threads) | {"penalty": self.penalty(n)}
        self.fit = lambda **more: spfast.fit(*self.problem.data, **(self.options | more))

    @staticmethod
    def penalty(n: int) -> float:
        """Return a penalty that is as strong for ``n`` stars as Problem F's is for its 14,113."""
        return PENALTY * np.sqrt(n / 14113)


class Kernels(_OnSurvey):
    def setup(self, surveys, n, threads):
        from spfast.kernels.team import Team

        super().setup(surveys, n, threads)
        objective = self.problem.objective(Team(threads), self.penalty(n))
        coef = self.fit().coef
        eta, gradient = np.empty(objective.n_rows), np.empty(objective.n_features)
        self.fused = lambda: objective.smooth(coef, eta, gradient)
        self.reads = reads(objective, coef)
        if threads != int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())):
            del self.reads["float32 gemv"]  # BLAS has its own number of threads, fixed when numpy is imported
        self.fused()

    def time_fused(self, surveys, n, threads):
        self.fused()

    def track_fused_in_fastest_reads(self, surveys, n, threads):
        return max(_median_ratio(self.fused, read) for read in self.reads.values())


class Solvers(_OnSurvey):
    def setup(self, surveys, n, threads):
        super().setup(surveys, n, threads)
        self.model = self.fit()

    def time_cold_fit(self, surveys, n, threads):
        self.fit()

    def track_further_zero_point_in_cold_fits(self, surveys, n, threads):
        import spfast

        options = dict(self.options)
        penalty, zero_point = options.pop("penalty"), options.pop("zero_point")
        seconds = []
        with spfast.Fitter(*self.problem.data, **options) as fitter:
            for k in range(6):
                seconds.append(fitter.fit(penalty, zero_point=zero_point + 0.02 * k).result.seconds)
        return float(np.median(seconds[1:]) / seconds[0])

    def track_cold_fit_reads_of_x(self, surveys, n, threads):
        return self.model.result.n_passes

    def track_owlqn_above_optimum_after_200_iterations(self, surveys, n, threads):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = self.fit(solver="owlqn", max_iterations=200).result.objective
        return value / self.model.result.objective - 1.0

    def time_path(self, surveys, n, threads):
        import spfast

        options = {name: value for name, value in self.options.items() if name != "penalty"}
        spfast.fit_path(*self.problem.data, penalties=self.penalty(n) * np.geomspace(10.0, 0.5, 6), **options)

    def time_predict(self, surveys, n, threads):
        self.model.predict(self.problem.features, threads=threads)

    def time_predict_error(self, surveys, n, threads):
        self.model.predict_error(self.problem.features, self.problem.feature_errors, threads=threads)


class Catalog(_OnSurvey):
    """A model with its error budget on all stars: predictions, total errors, flags."""

    def setup(self, surveys, n, threads):
        import spfast
        from spfast.catalog.predict import predict_stars
        from spfast.config import resolve_config
        from spfast.training.fold import fit_stars

        super().setup(surveys, n, threads)
        survey = spfast.open_survey(surveys[n])
        model = fit_stars(survey, resolve_config(penalty=self.penalty(n)), threads=threads)
        self.apply = lambda: predict_stars(model, survey, threads=threads)
        self.apply()

    def time_apply(self, surveys, n, threads):
        self.apply()

    def track_apply_in_sums_of_the_features(self, surveys, n, threads):
        features = self.problem.features.view(np.ndarray)
        return _median_ratio(self.apply, features.sum)


class PeakMemory(_OnSurvey):
    params = (SIZES, [2])

    def track_anonymous_memory_of_a_fit(self, surveys, n, threads):
        code = (
            "import sys; sys.argv = ['', '--threads', '2', '--peak-of', *sys.argv[1:]]; "
            "import problem_f; problem_f.main()"
        )
        folder = str(Path(__file__).resolve().parents[1])
        call = [sys.executable, "-c", code, surveys[n], str(n)]
        return json.loads(subprocess.run(call, cwd=folder, check=True, capture_output=True, text=True).stdout)["peak"]

    track_anonymous_memory_of_a_fit.unit = "MiB"


class Normalisation:
    params = ([100],)
    param_names = ("spectra",)

    def setup(self, n_spectra):
        from spfast.data.spectra.features import SpectrumFeatures
        from spfast.model.apogee import N_GRID

        rng = np.random.default_rng(SEED)
        self.flux = (1.0 + 0.05 * rng.normal(size=(n_spectra, N_GRID))).astype(np.float32)
        self.error = np.full_like(self.flux, 0.01)
        self.maker = SpectrumFeatures(np.arange(0, N_GRID, 3))
        self.rows = self.maker.rows(self.flux, self.error)[:2]

    def time_rows(self, n_spectra):
        self.maker.rows(self.flux, self.error)

    def track_estimate_of_bad_pixels_in_rows(self, n_spectra):
        from spfast.data.spectra.bad_pixels import SpectrumFactors

        ln_flux, ln_error = self.rows
        ln_error[np.random.default_rng(SEED).random(ln_error.shape) < 0.01] = np.inf
        factors = SpectrumFactors.of(ln_flux, ln_error, 0.05)
        return _median_ratio(
            lambda: factors.estimate(ln_flux.copy(), ln_error.copy()), lambda: self.maker.rows(self.flux, self.error)
        )


class Ingest:
    params = ([100], THREADS)
    param_names = ("stars", "threads")
    number, repeat, timeout = 1, 3, 600

    def setup_cache(self):
        from spfast.simulate import simulate_download

        folder = Path("download").resolve()
        simulate_download(folder, 100, seed=SEED, quiet=True)
        return str(folder)

    def time_ingest(self, download, n_stars, threads):
        from spfast.data.ingest import ingest

        folder = Path(download)
        with tempfile.TemporaryDirectory() as out:
            ingest(
                next(folder.glob("allStar-*.fits")),
                folder,
                folder / "gaia.fits",
                Path(out) / "survey",
                threads=threads,
                quiet=True,
            )


class MwmStar:
    """Spectra of SDSS-V: one row of a file, of which three columns are read."""

    params = (["astropy", "fitsio"],)
    param_names = ("library",)
    timeout = 600

    def setup_cache(self):
        from spfast.data.tables.read import read_table
        from spfast.simulate import simulate_download

        folder = Path("mwm").resolve()
        simulate_download(folder, 100, seed=SEED, release="dr19", quiet=True)
        paths = {int(path.stem.rpartition("-")[2]): str(path) for path in folder.rglob("mwmStar-*.fits")}
        table = read_table(next(folder.rglob("astraAllStarASPCAP-*")), ["sdss_id"])
        names = table["sdss_id"].tolist(), table["telescope"].tolist(), table["release"].tolist()
        rows = [(paths[star], *own) for star, *own in zip(*names, strict=True) if star in paths]
        return [row for row in rows if _is_readable(*row)]

    def setup(self, rows, library):
        from spfast.data.sdss5 import read_mwm_star

        self.read = lambda: [read_mwm_star(*row) for row in rows]
        self.bare = lambda: [_BARE[library](path, 4 if telescope == "lco25m" else 3) for path, telescope, _ in rows]

    def time_read(self, rows, library):
        self.read()

    def track_rate_in_bare_reads(self, rows, library):
        return 1.0 / _median_ratio(self.read, self.bare, 5)


def _is_readable(*row):
    from spfast.data.sdss5 import read_mwm_star
    from spfast.errors import BadInputError

    try:
        return bool(read_mwm_star(*row))
    except BadInputError:
        return False


def _bare_astropy(path, number):
    from astropy.io import fits

    with fits.open(path, memmap=False) as hdus:
        data = hdus[number].data
        return [np.array(data[name][0]) for name in ("flux", "ivar", "pixel_flags")]


def _bare_fitsio(path, number):
    import fitsio

    with fitsio.FITS(path) as hdus:
        return hdus[number].read(columns=["flux", "ivar", "pixel_flags"], rows=[0])


_BARE = {"astropy": _bare_astropy, "fitsio": _bare_fitsio}


class StartUp:
    timeout = 600

    def time_import(self):
        subprocess.run([sys.executable, "-c", "import spfast"], check=True)

    def track_compile_seconds(self):
        with tempfile.TemporaryDirectory() as cache:
            code = "from spfast.warmup import warm_up; print(warm_up()[1])"
            environment = os.environ | {"NUMBA_CACHE_DIR": cache}
            call = [sys.executable, "-c", code]
            return float(subprocess.run(call, env=environment, check=True, capture_output=True, text=True).stdout)

    track_compile_seconds.unit = "s"
