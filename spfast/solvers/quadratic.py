"""The L1-penalised quadratic subproblem: bursts of coordinate descent, then Newton steps on the support."""

import numpy as np
from numpy.typing import DTypeLike

from spfast.kernels import cholesky
from spfast.kernels.coordinate_descent import descend, exact_step, multiply
from spfast.kernels.l1 import kkt_violations
from spfast.kernels.panels import WIDTH, add_panel_products, panel_tiles
from spfast.kernels.team import Team

__all__ = ["minimize_quadratic"]

#: Relative ridge on the support's Gram: float32 products leave eigenvalues uncertain at this level.
_RIDGE = 1e-6
#: The support is taken to be singular if elimination leaves no more than this of a diagonal element: the ridge, mostly.
_SINGULAR = 2 * _RIDGE
#: Coordinate descent crawls if it leaves more than this share of the violation after all rounds.
_CRAWLS = 0.8
#: Sweeps of one burst, and how many rounds of a burst and a Newton step one subproblem gets.
_BURST_SWEEPS = 10
_MAX_ROUNDS = 12
#: With a larger violation the iteration has diverged: the model has no minimum.
_NO_MINIMUM = 1e30


class _Scratch:
    """Buffers for the support's factor that are kept between calls."""

    def __init__(self):
        self.factor = np.zeros((0, 0))

    def square(self, n: int, dtype: DTypeLike) -> np.ndarray:
        """Return a square buffer with room for ``n`` rows and for the rest of the panel that the last one is in."""
        if self.factor.shape[0] < n + WIDTH or self.factor.dtype != dtype:
            size = n + n // 4 + WIDTH
            self.factor = np.zeros((size, size), dtype=dtype)
            self.panels = np.empty((-(-size // WIDTH), cholesky.STEP, WIDTH), dtype=dtype)
        return self.factor


def minimize_quadratic(
    store: np.ndarray,
    gradient: np.ndarray,
    coef: np.ndarray,
    penalties: np.ndarray,
    share: float,
    tolerance: float,
    team: Team,
    scratch: _Scratch | None = None,
) -> tuple[np.ndarray, float, bool]:
    """Minimise ``q.d + d.G.d / 2 + sum penalties |coef + d|`` over ``d``.

    Parameters
    ----------
    store : float32 or float64 array, C order, shape (>= n, >= n)
        ``G`` in its first n rows and columns.
    gradient : float64 array, shape (n,)
        ``q``.
    coef : float64 array, shape (n,)
        The point around which the model is expanded.
    penalties : float64 array, shape (n,)
    share, tolerance : float
        Stop when the largest violation of the subproblem's optimality conditions is below ``share`` of what it was,
        or below ``tolerance``.
    team : spfast.kernels.team.Team
    scratch : object, optional
        From `new_scratch`, to reuse its buffers.

    Returns
    -------
    step : float64 array, shape (n,)
    violation : float
        The largest violation that was left, before the last burst if the rounds ran out.
    crawls : bool
        Whether the rounds ran out with a support that is singular, or with most of the violation left.
    """
    scratch = scratch or _Scratch()
    n = coef.size
    point = coef.copy()
    violations = np.empty(n)
    gram_times_step = np.empty(n)
    is_singular = False
    for round_ in range(_MAX_ROUNDS):
        moved = np.flatnonzero(point != coef)
        team.run(multiply, -(-n // 64), store, moved, (point - coef)[moved], gram_times_step)
        current = gradient + gram_times_step
        worst = kkt_violations(point, current, penalties, violations)
        if not worst < _NO_MINIMUM:
            break  # the model is not convex
        if round_ == 0:
            first = worst
            tolerance = max(tolerance, share * worst)
        if worst <= tolerance:
            break
        descent_gradient = current.astype(store.dtype)
        order = np.flatnonzero((point != 0.0) | (violations > 0.0))
        descend(store, descent_gradient, point, penalties, order, _BURST_SWEEPS, tolerance)
        is_singular = not _newton_on_support(store, gradient, coef, point, penalties, team, scratch)
    crawls = tolerance < worst < _NO_MINIMUM and (is_singular or worst > _CRAWLS * first)
    return point - coef, worst, crawls


def new_scratch() -> _Scratch:
    """Return buffers that `minimize_quadratic` can use again from call to call."""
    return _Scratch()


def _newton_on_support(store, gradient, coef, point, penalties, team, scratch):
    """One Newton step on the non-zero coefficients of ``point``, in place; False if their Gram is singular."""
    support = np.flatnonzero(point)
    n = support.size
    if n == 0:
        return True
    delta = point - coef
    moved = np.flatnonzero(delta)
    gram_times_step = np.empty(point.size)
    team.run(multiply, -(-point.size // 64), store, moved, delta[moved], gram_times_step)
    slope = gradient[support] + gram_times_step[support]
    target = slope + penalties[support] * np.sign(point[support])
    factor = factor_support(store, support, scratch, team)
    if factor is None:
        return False
    direction = -target
    cholesky.solve_factored(factor, n, direction)
    if not np.isfinite(direction).all():
        return False
    curvature = -float(direction @ target)
    step = exact_step(point[support], direction, penalties[support], float(slope @ direction), curvature)
    moved_to = point[support] + step * direction
    # A coefficient that changes sign at exactly this step becomes exactly zero.
    crossed = np.abs(moved_to) <= 1e-12 * np.abs(step * direction)
    moved_to[crossed] = 0.0
    point[support] = moved_to
    return True


def factor_support(store: np.ndarray, support: np.ndarray, scratch: _Scratch, team: Team) -> np.ndarray | None:
    """Factor the Gram matrix of the support; None if it is singular."""
    n = support.size
    factor = scratch.square(n, store.dtype)
    team.run(cholesky.gather_square, -(-n // cholesky.PIECE), store, support, _RIDGE, factor)
    for begin in range(0, n, cholesky.STEP):
        end = min(begin + cholesky.STEP, n)
        if not cholesky.factor_block(factor, begin, end, _SINGULAR):
            return None
        if end < n:
            team.run(cholesky.solve_panel, -(-(n - end) // cholesky.PIECE), factor, begin, end, n)
            n_panels = -(-(n - end) // WIDTH)
            team.run(cholesky.copy_panels, n_panels, factor, begin, end, n, scratch.panels)
            tiles = panel_tiles(0, n - end)
            minus = factor.dtype.type(-1)
            team.run(add_panel_products, len(tiles), scratch.panels, end - begin, tiles, minus, factor[end:, end:])
    return factor
