"""The L1-penalised quadratic subproblem where columns nearly depend on each other and coordinate descent crawls."""

import numpy as np

from spfast.kernels.active_set import descend_active_set
from spfast.kernels.l1 import kkt_violations

__all__ = ["MOST_ACTIVE", "minimize_on_active_set"]

#: At most so many columns are active: a step costs their square, the factor takes 8 MB.
MOST_ACTIVE = 1000
#: Least pivot of the active columns' factor, as a share of the diagonal: well above the rounding of float64 sums.
_LEAST_PIVOT = 1e-8
#: Steps for each column of the working set at most; less than one suffices, unless the model has no minimum.
_STEPS_PER_COLUMN = 4


def minimize_on_active_set(
    store: np.ndarray, gradient: np.ndarray, coef: np.ndarray, penalties: np.ndarray, share: float, tolerance: float
) -> np.ndarray | None:
    """Minimise ``q.d + d.G.d / 2 + sum penalties |coef + d|`` over ``d``.

    Parameters
    ----------
    store : float64 array, C order, shape (>= n, >= n)
    gradient, coef, penalties, share, tolerance
        As in `spfast.solvers.quadratic.minimize_quadratic`.

    Returns
    -------
    step : float64 array, shape (n,)
        None if more than `MOST_ACTIVE` columns would have to be active.
    """
    n = coef.size
    point, current = coef.copy(), gradient.copy()
    tolerance = max(tolerance, share * kkt_violations(point, current, penalties, np.empty(n)))
    factor = np.empty((min(n, MOST_ACTIVE), min(n, MOST_ACTIVE)))
    steps = _STEPS_PER_COLUMN * n
    if not descend_active_set(store, current, point, penalties, factor, _LEAST_PIVOT, steps, tolerance):
        return None
    return point - coef
