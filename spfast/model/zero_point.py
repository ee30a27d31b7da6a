"""The parallax zero point fitted jointly with the coefficients, by variable projection.

    minimise over (offsets, coef)   0.5 sum ivar (parallax + covariates . offsets - exp(x . coef))^2 + L1

For given offsets the coefficients are a fit like any other; the offsets then take a Newton step on the profile, whose
second derivative is ``C'WC - M' H^-1 M`` with ``M`` the mixed derivatives and ``H`` the curvature of the coefficients
on their support. Its inverse is the offsets' covariance.
"""

from dataclasses import dataclass

import numpy as np

from spfast.errors import BadInputError
from spfast.kernels.team import Team
from spfast.model.fit import SOLVERS, TrainingData, find_start, make_model, run_solver
from spfast.model.result import FittedModel
from spfast.solvers.prox_newton import NewtonState

__all__ = ["ZeroPointFit", "fit_zero_point"]

_MAX_STEPS = 20
#: The offsets have converged when a step moves none by this share of its error.
_SMALL_STEP = 1e-3


@dataclass(frozen=True)
class ZeroPointFit:
    """Offsets that were fitted jointly with a model.

    Attributes
    ----------
    model : FittedModel
        Its ``zero_point`` is the mean offset of the training stars [mas]; ``metadata["zero_point_fit"]`` has the rest.
    offsets : float64 array, shape (n_covariates,) [mas per unit of the covariate]
        Added to a star's parallax: ``covariates . offsets``.
    covariance : float64 array, shape (n_covariates, n_covariates)
    n_steps : int
    converged : bool
    """

    model: FittedModel
    offsets: np.ndarray
    covariance: np.ndarray
    n_steps: int
    converged: bool


def fit_zero_point(
    features,
    parallax,
    parallax_error,
    penalty,
    covariates=None,
    penalized=None,
    rows=None,
    first=0.0483,
    tolerance=1e-3,
    exact_distance_modulus=None,
    threads=None,
    layout=None,
    metadata=None,
):
    """Fit coefficients and zero point together.

    Parameters
    ----------
    features, parallax, parallax_error, penalty, penalized, rows, tolerance, threads, layout, metadata
        As in `spfast.fit`.
    exact_distance_modulus : bool, optional
        As in `spfast.fit`; by default True where the layout has magnitudes. Without it the magnitudes' sum and the
        offset do each other's work: on a mock the offset comes out 0.013 mas (six of its errors) too large, with it
        0.004 mas too small.
    covariates : float array, shape (n_stars, n_covariates), optional
        What the offset is linear in, one row for each row of ``features``; a column of ones (a constant offset) by
        default. Centre them, so that the constant is the offset of a typical star.
    first : float [mas]
        Where the first covariate's offset begins; the answer does not depend on it.

    Returns
    -------
    ZeroPointFit

    Raises
    ------
    BadInputError
        If the input cannot be used.

    Examples
    --------
    >>> import numpy as np, spfast
    >>> rng = np.random.default_rng(1)
    >>> x = np.column_stack([np.ones(3000), rng.normal(size=(3000, 20))])
    >>> parallax = np.exp(-1.0 + 0.8 * x[:, 1]) - 0.05 + 0.02 * rng.normal(size=3000)
    >>> result = spfast.fit_zero_point(x, parallax, np.full(3000, 0.02), 2000.0, penalized=np.arange(21) > 1)
    >>> bool(abs(result.offsets[0] - 0.05) < 3 * result.covariance[0, 0] ** 0.5)
    True
    """
    n_stars = len(features)
    covariates = np.ones((n_stars, 1)) if covariates is None else np.asarray(covariates, dtype=np.float64)
    if covariates.ndim != 2 or covariates.shape[0] != n_stars or covariates.shape[1] == 0:
        raise BadInputError(f"covariates: shape {covariates.shape}, expected ({n_stars}, n_covariates)")
    with Team(threads) as team:
        if exact_distance_modulus is None:
            exact_distance_modulus = layout is not None and bool(layout.magnitudes)
        data = TrainingData(
            features,
            parallax,
            parallax_error,
            penalty,
            penalized,
            rows,
            0.0,
            layout,
            team,
            exact_distance_modulus,
        )
        chosen = covariates[data.rows]
        if not np.isfinite(chosen).all():
            raise BadInputError("covariates: not finite for some training stars; leave those stars out with rows=")
        raw = data.objective.parallax
        offsets = np.zeros(chosen.shape[1])
        offsets[0] = first
        coef, state, converged = None, NewtonState(data.objective), False
        for n_steps in range(1, _MAX_STEPS + 1):  # noqa: B007 - its last value is in the result
            objective = data.objective.with_parallax(raw + chosen @ offsets)
            if coef is None:
                data.objective = objective
                coef = find_start(data, "photometric", SOLVERS["prox-newton"], tolerance)
            result = run_solver(objective, coef, "prox-newton", tolerance, state=state)
            coef = result.coef
            slope, covariance = _profile(objective, coef, chosen, state)
            move = -covariance @ slope
            offsets = offsets + move
            if np.all(np.abs(move) <= _SMALL_STEP * np.sqrt(np.diag(covariance))):
                converged = True
                break
        data.zero_point = float(np.mean(chosen @ offsets))
        found = {"offsets": offsets.tolist(), "covariance": covariance.tolist(), "converged": converged}
        model = make_model(data, penalty, result, layout, {**(metadata or {}), "zero_point_fit": found})
    return ZeroPointFit(model, offsets, covariance, n_steps, converged)


def _profile(objective, coef, covariates, state):
    """Slope of the profile in the offsets, and the inverse of its second derivative."""
    eta, gradient = np.empty(objective.n_rows), np.empty(objective.n_features)
    objective.smooth(coef, eta, gradient)
    mu = np.exp(eta)
    residual = objective.parallax - mu
    weighted = covariates * objective.ivar[:, None]
    mixed = np.empty((objective.n_features, covariates.shape[1]))
    for k in range(covariates.shape[1]):
        # With parallax mu - c the residual is c: the kernel's gradient is then sum ivar c mu x.
        objective.with_parallax(mu - covariates[:, k]).smooth(coef, np.empty(objective.n_rows), gradient)
        mixed[:, k] = gradient
    state.gram.reset(objective.curvature(eta), np.flatnonzero(coef * (objective.penalties > 0)))
    curvature = weighted.T @ covariates - state.gram.inverse_products(mixed)
    return weighted.T @ residual, np.linalg.inv(curvature)
