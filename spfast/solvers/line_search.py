"""Step length of a proximal Newton direction, on the true objective."""

import numpy as np

from spfast.kernels.l1 import kkt_violations

__all__ = ["backtrack"]

#: A step has to achieve this share of the decrease that the model predicts (Armijo).
_SUFFICIENT = 1e-4
#: A rise below this share of the objective may be rounding of float32 rows: the gradient, less noisy, then decides.
_ROUNDING = 1e-6
_MAX_HALVINGS = 30


def backtrack(
    objective,
    coef: np.ndarray,
    direction: np.ndarray,
    value: float,
    violation: float,
    eta: np.ndarray,
    gradient: np.ndarray,
) -> tuple[np.ndarray, float, bool] | None:
    """Take the full step along ``direction``, or halve it until the objective falls enough.

    A pass over the data evaluates the full step, and gives the gradient there too. If that step is refused, shorter
    steps are judged by the linear predictor alone, without a pass; the one that is taken costs another pass.

    Parameters
    ----------
    objective : spfast.model.objective.Objective
    coef, direction : float64 array, shape (n_features,)
    value, violation : float
        Objective and largest violation of the optimality conditions at ``coef``.
    eta, gradient : float64 array
        Linear predictor and gradient at ``coef``; overwritten by those of the new point.

    Returns
    -------
    coef : float64 array, shape (n_features,)
        The new point.
    value : float
        The objective there.
    full_step : bool
        Whether the full step was taken.

    None instead of the three if no step lowers the objective.
    """
    predicted_change = float(gradient @ direction) + objective.penalty(coef + direction) - objective.penalty(coef)
    trial = coef + direction
    old_eta, old_gradient = eta.copy(), gradient.copy()
    trial_value = objective.smooth(trial, eta, gradient) + objective.penalty(trial)
    if trial_value <= value + _SUFFICIENT * predicted_change:
        return trial, trial_value, True
    if trial_value <= value + _ROUNDING * abs(value):
        scratch = np.empty_like(coef)
        if kkt_violations(trial, gradient, objective.penalties, scratch) < violation:
            return trial, trial_value, True
    slope = eta - old_eta
    step = 1.0
    for _ in range(_MAX_HALVINGS):
        step *= 0.5
        trial = coef + step * direction
        trial_value = objective.chi_squared_half(old_eta + step * slope) + objective.penalty(trial)
        if trial_value <= value + _SUFFICIENT * step * predicted_change:
            return trial, objective.smooth(trial, eta, gradient) + objective.penalty(trial), False
    np.copyto(eta, old_eta)
    np.copyto(gradient, old_gradient)
    return None
