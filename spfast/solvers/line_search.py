"""Step length of a proximal Newton direction, on the true objective."""

import numpy as np

from spfast.kernels.l1 import kkt_violations

__all__ = ["backtrack"]

#: Share of the decrease that the model promises which a step has to keep (Armijo).
_SUFFICIENT = 1e-4
#: A rise below this share of the objective may be rounding of float32 rows: then the less noisy gradient judges.
_ROUNDING = 1e-6
_MAX_HALVINGS = 30


def backtrack(objective, coef, direction, value, violation, eta, gradient):
    """Move along ``direction`` as far as the objective falls enough, halving from the full step.

    The full step is evaluated by a pass, which gives its gradient too. If it is refused, shorter steps are judged on
    the linear predictor alone, which costs exponentials and no pass; the step taken is then passed over once.

    Parameters
    ----------
    objective : spfast.model.objective.Objective
    coef, direction : float64 array, shape (n_features,)
    value, violation : float
        Objective and largest violation of the optimality conditions at ``coef``.
    eta, gradient : float64 array
        At ``coef``; overwritten by those of the new point.

    Returns
    -------
    tuple of (coef, value, whether the full step was taken), or None if no step lowers the objective
    """
    promise = float(gradient @ direction) + objective.penalty(coef + direction) - objective.penalty(coef)
    trial = coef + direction
    old_eta, old_gradient = eta.copy(), gradient.copy()
    trial_value = objective.smooth(trial, eta, gradient) + objective.penalty(trial)
    if trial_value <= value + _SUFFICIENT * promise:
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
        if trial_value <= value + _SUFFICIENT * step * promise:
            return trial, objective.smooth(trial, eta, gradient) + objective.penalty(trial), False
    np.copyto(eta, old_eta)
    np.copyto(gradient, old_gradient)
    return None
