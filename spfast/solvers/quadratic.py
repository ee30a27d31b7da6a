"""The L1-penalised quadratic subproblem: bursts of coordinate descent, then Newton steps on the support."""

import numpy as np

from spfast.kernels import cholesky, gram
from spfast.kernels.coordinate_descent import descend, exact_step, multiply
from spfast.kernels.l1 import kkt_violations

__all__ = ["minimize_quadratic"]

#: Relative ridge on the support's Gram: float32 products leave eigenvalues uncertain at this level.
_RIDGE = 1e-6
#: Sweeps of one burst, and how many rounds of burst and Newton step before giving the outer iteration its turn.
_BURST_SWEEPS = 10
_MAX_ROUNDS = 60


class _Scratch:
    """A buffer for the support's factor that is kept between calls."""

    def __init__(self):
        self.factor = np.zeros((0, 0))

    def square(self, n, dtype):
        if self.factor.shape[0] < n + 2 or self.factor.dtype != dtype:
            size = n + n // 4 + 2
            self.factor = np.zeros((size + size % 2, size + size % 2), dtype=dtype)
        return self.factor


def minimize_quadratic(store, gradient, coef, penalties, share, tolerance, team, scratch=None):
    """Minimise ``q.d + d.G.d / 2 + sum penalties |coef + d|`` over ``d``.

    Parameters
    ----------
    store : float32 or float64 array, C order, shape (>= n, >= n)
        ``G`` in its first n rows and columns.
    gradient : float64 array, shape (n,)
        ``q``.
    coef : float64 array, shape (n,)
        Where the model is expanded.
    penalties : float64 array, shape (n,)
    share, tolerance : float
        Stop when the largest violation of the subproblem's optimality conditions is below ``share`` of what it was,
        or below ``tolerance``.
    team : spfast.kernels.team.Team
    scratch : object, optional
        From `new_scratch`, to reuse its buffer.

    Returns
    -------
    step : float64 array, shape (n,)
    violation : float
        What was reached.
    """
    scratch = scratch or _Scratch()
    n = coef.size
    point = coef.copy()
    violations = np.empty(n)
    image = np.empty(n)
    for round_ in range(_MAX_ROUNDS):
        moved = np.flatnonzero(point != coef)
        team.run(multiply, -(-n // 64), store, moved, (point - coef)[moved], image)
        current = gradient + image
        worst = kkt_violations(point, current, penalties, violations)
        if round_ == 0:
            tolerance = max(tolerance, share * worst)
        if worst <= tolerance:
            break
        lanes = current.astype(store.dtype)
        order = np.flatnonzero((point != 0.0) | (violations > 0.0))
        descend(store, lanes, point, penalties, order, _BURST_SWEEPS, tolerance)
        _newton_on_support(store, gradient, coef, point, penalties, team, scratch)
    return point - coef, worst


def new_scratch():
    """A buffer that `minimize_quadratic` may keep between calls."""
    return _Scratch()


def _newton_on_support(store, gradient, coef, point, penalties, team, scratch):
    """One Newton step on the non-zero coefficients of ``point``, in place."""
    support = np.flatnonzero(point)
    n = support.size
    if n == 0:
        return
    delta = point - coef
    moved = np.flatnonzero(delta)
    image = np.empty(point.size)
    team.run(multiply, -(-point.size // 64), store, moved, delta[moved], image)
    slope = gradient[support] + image[support]
    target = slope + penalties[support] * np.sign(point[support])
    factor = scratch.square(n, store.dtype)
    if not factor_support(store, support, factor, team):
        return
    direction = -target
    cholesky.solve_factored(factor, n, direction)
    curvature = -float(direction @ target)
    step = exact_step(point[support], direction, penalties[support], float(slope @ direction), curvature)
    moved_to = point[support] + step * direction
    # A coefficient whose sign changes at the chosen step is exactly zero there.
    crossed = np.abs(moved_to) <= 1e-12 * np.abs(step * direction)
    moved_to[crossed] = 0.0
    point[support] = moved_to


def factor_support(store, support, factor, team):
    n = support.size
    minus = np.full(cholesky.PANEL, -1, dtype=factor.dtype)
    team.run(cholesky.gather_square, -(-n // 64), store, support, _RIDGE, factor)
    for begin in range(0, n, cholesky.PANEL):
        end = min(begin + cholesky.PANEL, n)
        if not cholesky.factor_diagonal(factor, begin, end):
            return False
        if end < n:
            team.run(cholesky.solve_panel, -(-(n - end) // 64), factor, begin, end, n)
            tiles = gram.upper_tiles(end, end, n)
            team.run(gram.add_outer_tiles, len(tiles), factor[begin:end], end - begin, tiles, minus, factor)
    return True
