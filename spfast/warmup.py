"""Compile every kernel before it is needed, by fits, predictions and spectra that are too small to take time."""

import time
import warnings

import numpy as np

from spfast.data.spectra.bad_pixels import SpectrumFactors
from spfast.data.spectra.features import SpectrumFeatures
from spfast.kernels.jit import compile_seconds
from spfast.model.apogee import N_GRID
from spfast.model.coordinates import CoordinateErrors, CoordinateLayout
from spfast.model.fit import fit
from spfast.model.learn_low_rank import learn_low_rank
from spfast.solvers import SOLVERS

__all__ = ["warm_up"]

#: A problem just large enough for its fits to call every kernel: its support fills more than one panel of the factor.
_N_STARS, _N_FREE, _N_FEATURES = 300, 3, 120
_PENALTY = 0.1
#: As few spectra as a low-rank model can be learned from.
_N_SPECTRA = 60
#: Of features that depend on each other: then coordinate descent gives way to the active set.
_RANK = 5


def warm_up(threads: int | None = None) -> tuple[float, float]:
    """Run every kernel once, in float32 and float64.

    Parameters
    ----------
    threads : int, optional
        All processors by default.

    Returns
    -------
    seconds, compile_seconds : float
        The time that it took, and how much of that was compiling: almost none if all kernels were on disk already.

    Examples
    --------
    >>> from spfast.warmup import warm_up
    >>> seconds, compiling = warm_up(threads=1)
    >>> seconds >= compiling
    True
    """
    begin, before = time.perf_counter(), compile_seconds()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it does not matter whether so small a fit converges
        for dtype in (np.float32, np.float64):
            for solver in SOLVERS:
                _fit_and_predict(dtype, solver, threads)
            _fit_dependent_columns(dtype, threads)
        _normalise()
        _find_coordinates(threads)
    return time.perf_counter() - begin, compile_seconds() - before


def _fit_and_predict(dtype: type, solver: str, threads: int | None) -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(_N_STARS, _N_FEATURES)).astype(dtype)
    features[:, 0] = 1.0
    coef = np.where(np.arange(_N_FEATURES) < 2 * _N_FREE, 0.1, 0.0)
    error = np.full(_N_STARS, 0.05)
    parallax = np.exp(features @ coef) + error * rng.normal(size=_N_STARS)
    penalized = np.arange(_N_FEATURES) >= _N_FREE
    model = fit(features, parallax, error, _PENALTY, penalized=penalized, solver=solver, threads=threads)
    model.predict_error(features, np.full_like(features, 0.01), threads=threads)


def _fit_dependent_columns(dtype: type, threads: int | None) -> None:
    rng = np.random.default_rng(1)
    features = (rng.normal(size=(_N_STARS, _RANK)) @ rng.normal(size=(_RANK, _N_FEATURES))).astype(dtype)
    features[:, 0] = 1.0
    error = np.full(_N_STARS, 0.05)
    parallax = np.exp(0.1 * features[:, : 2 * _N_FREE].sum(axis=1)) + error * rng.normal(size=_N_STARS)
    fit(features, parallax, error, _PENALTY, penalized=np.arange(_N_FEATURES) >= _N_FREE, threads=threads)


def _normalise() -> None:
    maker = SpectrumFeatures(np.arange(0, N_GRID, 3))
    for normalized in (True, False):
        for dtype in (np.float32, np.float64):
            flux, error = np.ones((2, 1, N_GRID), dtype)
            mask = np.zeros((1, N_GRID), np.int32)
            for pixel_mask in (None, mask):
                rows = maker.rows(flux, 0.01 * error, pixel_mask, normalized=normalized)
    SpectrumFactors.of(*rows[:2], 0.05).estimate(*rows[:2])


def _find_coordinates(threads: int | None) -> None:
    rng = np.random.default_rng(1)
    flux = rng.normal(size=(_N_SPECTRA, _N_FEATURES)).astype(np.float32)
    errors = np.full(flux.shape, 0.1, np.float32)
    low_rank = learn_low_rank(flux, errors, rank=2, threads=threads)
    found = low_rank.coordinates(flux, errors, threads=threads)
    layout = CoordinateLayout(low_rank.rank, 0, low_rank.line_weights, low_rank.n_broad, ())
    CoordinateErrors(layout, found, np.zeros((_N_SPECTRA, 0), np.float32)).variance(np.ones(layout.n_features))
