"""Fits along a grid of penalties, each warm-started from the one before and sharing what can be shared."""

import numpy as np

from spfast.errors import BadInputError
from spfast.kernels.team import Team
from spfast.model.arrays import TrainingData
from spfast.model.fit import Fitter, warn_unconverged
from spfast.model.start import photometric_start

__all__ = ["fit_path", "penalty_max"]


def fit_path(
    features,
    parallax,
    parallax_error,
    penalties,
    penalized=None,
    rows=None,
    zero_point=0.0,
    solver="prox-newton",
    start="photometric",
    tolerance=1e-3,
    max_iterations=None,
    exact_distance_modulus=False,
    threads=None,
    layout=None,
    metadata=None,
):
    """Fit a model for each penalty of a grid, from the largest to the smallest.

    Parameters
    ----------
    penalties : sequence of float
        The grid of lambda, in any order; all positive.
    features, parallax, parallax_error, penalized, rows, zero_point, solver, tolerance
        As in `spfast.fit`.
    start
        As in `spfast.fit`, of the largest penalty.
    max_iterations, exact_distance_modulus, threads, layout, metadata
        As in `spfast.fit`.

    Returns
    -------
    list of FittedModel
        In the order of ``penalties``.

    Raises
    ------
    BadInputError
        If the input cannot be used.

    Examples
    --------
    >>> import numpy as np, spfast
    >>> rng = np.random.default_rng(1)
    >>> x = np.column_stack([np.ones(300), rng.normal(size=(300, 20))])
    >>> parallax = np.exp(-1.0 + 0.5 * x[:, 1] - 0.1 * x[:, 2]) + 0.02 * rng.normal(size=300)
    >>> path = spfast.fit_path(x, parallax, np.full(300, 0.02), [1e5, 2000.0], penalized=np.arange(21) > 0)
    >>> [model.n_nonzero for model in path]
    [0, 2]
    """
    grid = np.asarray(penalties, dtype=np.float64)
    if grid.ndim != 1 or grid.size == 0 or not (np.isfinite(grid).all() and (grid > 0).all()):
        raise BadInputError(f"penalties: got {penalties!r}, expected a list of positive numbers")
    models = [None] * grid.size
    stars = (features, parallax, parallax_error, penalized, rows)
    with Fitter(*stars, solver, tolerance, max_iterations, exact_distance_modulus, threads, layout) as fitter:
        for i in np.argsort(-grid, kind="stable"):
            models[i] = fitter.fit(grid[i], zero_point, start, metadata)
            warn_unconverged(models[i].result, solver)
            start = None  # from the last one
    return models


def penalty_max(
    features, parallax, parallax_error, penalized=None, rows=None, zero_point=0.0, threads=None, layout=None
):
    """Return the smallest penalty for which every penalised coefficient is zero.

    Parameters
    ----------
    features, parallax, parallax_error, penalized, rows, zero_point, threads, layout
        As in `spfast.fit`.

    Returns
    -------
    float
        The largest gradient on the penalised columns at the fit of the unpenalised ones alone.

    Examples
    --------
    >>> import numpy as np, spfast
    >>> rng = np.random.default_rng(1)
    >>> x = np.column_stack([np.ones(300), rng.normal(size=(300, 20))])
    >>> parallax = np.exp(-1.0 + 0.5 * x[:, 1]) + 0.02 * rng.normal(size=300)
    >>> error, free = np.full(300, 0.02), np.arange(21) == 0
    >>> largest = spfast.penalty_max(x, parallax, error, penalized=~free)
    >>> spfast.fit(x, parallax, error, penalty=1.01 * largest, penalized=~free).n_nonzero
    0
    """
    with Team(threads) as team:
        data = TrainingData(features, parallax, parallax_error, 1.0, penalized, rows, zero_point, layout, team)
        gradient = np.empty(data.objective.n_features)
        data.objective.smooth(photometric_start(data.objective), np.empty(data.rows.size), gradient)
    return float(np.abs(gradient[data.penalized]).max(initial=0.0))
