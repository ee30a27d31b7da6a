"""Fits along a grid of penalties, each started from the one before, with the Gram matrix in common."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from spfast.errors import BadInputError
from spfast.kernels.team import Team
from spfast.model.fit import Fitter, warn_unconverged
from spfast.model.fit_data import FitData
from spfast.model.fitted_model import FittedModel
from spfast.model.layout import FeatureLayout
from spfast.model.options import FitOptions
from spfast.model.start import photometric_start

__all__ = ["fit_path", "penalty_max"]


def fit_path(
    features: np.ndarray,
    parallax: np.ndarray,
    parallax_error: np.ndarray,
    penalties: Sequence[float],
    *,
    penalized: np.ndarray | None = None,
    rows: np.ndarray | None = None,
    layout: FeatureLayout | None = None,
    zero_point: float = 0.0,
    metadata: dict | None = None,
    options: FitOptions | None = None,
    **named: Any,
) -> list[FittedModel]:
    """Fit a model for each penalty of a grid, from the largest to the smallest.

    Parameters
    ----------
    penalties : sequence of float
        The grid of lambda, in any order; all positive.
    features, parallax, parallax_error, penalized, rows, layout, zero_point, metadata, options, **named
        As in `spfast.fit`; ``start`` is that of the largest penalty. No fit can be robust.

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
    try:
        grid = np.asarray(penalties, dtype=np.float64)
    except (TypeError, ValueError):
        grid = np.empty(0)
    if grid.ndim != 1 or grid.size == 0 or not (np.isfinite(grid).all() and (grid > 0).all()):
        raise BadInputError(f"penalties: got {penalties!r}, expected a list of positive numbers")
    models = [None] * grid.size
    options = FitOptions.of(options, **named)
    start = options.start
    stars = {"penalized": penalized, "rows": rows, "layout": layout}
    with Fitter(features, parallax, parallax_error, **stars, options=options) as fitter:
        for i in np.argsort(-grid, kind="stable"):
            models[i] = fitter.fit(grid[i], zero_point=zero_point, start=start, metadata=metadata)
            warn_unconverged(models[i].result, options.solver.name)
            start = None  # from the last one
    return models


def penalty_max(
    features: np.ndarray,
    parallax: np.ndarray,
    parallax_error: np.ndarray,
    *,
    penalized: np.ndarray | None = None,
    rows: np.ndarray | None = None,
    layout: FeatureLayout | None = None,
    zero_point: float = 0.0,
    threads: int | None = None,
) -> float:
    """Return the smallest penalty for which every penalised coefficient is zero.

    Parameters
    ----------
    features, parallax, parallax_error, penalized, rows, layout, zero_point, threads
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
        stars = {"penalized": penalized, "rows": rows, "layout": layout, "zero_point": zero_point}
        data = FitData(features, parallax, parallax_error, team, **stars)
        gradient = np.empty(data.objective.n_features)
        value = data.objective.smooth(photometric_start(data.objective), np.empty(data.rows.size), gradient)
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            data.refuse_features()
            raise BadInputError("features: the gradient of their sum is not finite; check their units")
    return float(np.abs(gradient[data.penalized]).max(initial=0.0))
