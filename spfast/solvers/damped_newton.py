"""Damped Newton on a few unpenalised columns, the rest of the predictor held fixed; it needs no pass over the data."""

import numpy as np

from spfast.kernels.stop import raise_if_stopped

__all__ = ["damped_newton"]

_MAX_ITERATIONS = 200
_RELATIVE_DECREASE = 1e-8
_FIRST_DAMPING, _SMALLEST_DAMPING, _LARGEST_DAMPING = 1e-3, 1e-12, 1e12
#: Exponents are cut off above this: a step that leads there is refused anyway.
_LN_LARGE = 300.0


def damped_newton(columns: np.ndarray, objective, coef: np.ndarray, offset: float | np.ndarray) -> np.ndarray:
    """Minimise half chi-squared over a few coefficients (Levenberg-Marquardt with Gauss-Newton weights).

    Parameters
    ----------
    columns : float64 array, shape (n_rows, n)
    objective : spfast.model.objective.Objective
    coef : float64 array, shape (n,)
        Start.
    offset : float or float64 array, shape (n_rows,)
        The rest of the linear predictor.

    Returns
    -------
    coef : float64 array, shape (n,)
    """
    damping = _FIRST_DAMPING
    eta = columns @ coef + offset
    value = objective.chi_squared_half(eta)
    for _ in range(_MAX_ITERATIONS):
        raise_if_stopped()
        weights = objective.curvature(eta)
        gradient = columns.T @ (weights - objective.ivar * objective.parallax * np.exp(np.minimum(eta, _LN_LARGE)))
        hessian = (columns * weights[:, None]).T @ columns
        scale = np.sqrt(np.maximum(np.diag(hessian), np.finfo(float).tiny))
        scaled = hessian / np.outer(scale, scale) + damping * np.eye(scale.size)
        step = -np.linalg.lstsq(scaled, gradient / scale, rcond=1e-12)[0] / scale
        trial_eta = columns @ (coef + step) + offset
        trial_value = objective.chi_squared_half(trial_eta)
        if trial_value < value:
            converged = value - trial_value <= _RELATIVE_DECREASE * value
            coef, eta, value, damping = coef + step, trial_eta, trial_value, max(0.1 * damping, _SMALLEST_DAMPING)
            if converged:
                break
        else:
            damping *= 10.0
            if damping > _LARGEST_DAMPING:
                break
    return coef
