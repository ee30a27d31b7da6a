"""What spfast is compared with in the same run: the fastest read of the matrix, and the paper's way."""

import contextlib
import time
from collections.abc import Callable

import numba
import numpy as np
from scipy.optimize import minimize

#: The paper's burn-in uses stars above this raw parallax signal-to-noise and starts with coefficients of 0.001/D.
_BURN_IN_SIGNAL, _START = 20.0, 1e-3
_MAX_RESTARTS = 1000


@numba.njit(nogil=True, cache=True, fastmath=True)
def _dot_eight_rows(first, last, design, rows, coef, out):
    for block in range(first, last):
        i = min(8 * block, rows.size - 8)
        x0, x1, x2, x3 = design[rows[i]], design[rows[i + 1]], design[rows[i + 2]], design[rows[i + 3]]
        x4, x5, x6, x7 = design[rows[i + 4]], design[rows[i + 5]], design[rows[i + 6]], design[rows[i + 7]]
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = np.float32(0.0)
        for j in range(coef.size):
            c = coef[j]
            s0 += x0[j] * c
            s1 += x1[j] * c
            s2 += x2[j] * c
            s3 += x3[j] * c
            s4 += x4[j] * c
            s5 += x5[j] * c
            s6 += x6[j] * c
            s7 += x7[j] * c
        out[i : i + 8] = s0, s1, s2, s3, s4, s5, s6, s7


def reads(objective, coef: np.ndarray) -> dict[str, Callable[[], object]]:
    """Return the ways to read every training row once that may be the fastest, each with one product a number.

    Returns
    -------
    dict
        Name to function: BLAS's product of a float32 matrix with a vector, on a contiguous copy of the rows and with
        BLAS's own threads; float32 dot products of eight rows at a time, by the objective's threads.
    """
    design, rows, team = objective.design, objective.rows, objective.team
    matrix, coef = np.ascontiguousarray(design[rows]), coef.astype(design.dtype)
    out = np.empty(rows.size, dtype=design.dtype)
    return {
        "float32 gemv": lambda: matrix @ coef,
        "float32 dots of 8 rows": lambda: team.run(_dot_eight_rows, -(-rows.size // 8), design, rows, coef, out),
    }


class TimeIsUp(Exception):
    """Ends scipy's minimiser."""


class Clock:
    """Stops a minimiser at its limit and keeps a row (seconds, objective) each time the objective has fallen."""

    def __init__(self, limit: float):
        self.start, self.limit, self.best, self.rows = time.perf_counter(), limit, np.inf, []

    def seconds(self) -> float:
        return time.perf_counter() - self.start

    def is_over(self) -> bool:
        return self.seconds() > self.limit

    def tick(self, value: float, coef: np.ndarray | None = None) -> None:
        if value < self.best:
            self.best, self.best_coef = value, None if coef is None else coef.copy()
            self.rows.append((self.seconds(), float(value)))
        if self.is_over():
            raise TimeIsUp


def float64_problem(problem, fold: int = 0) -> tuple[np.ndarray, ...]:
    """Return the training rows as the paper's code has them: (float64 matrix, parallax, ivar, raw signal-to-noise)."""
    from benchmarks.problem import ZERO_POINT

    rows = problem.folds[fold]
    design = problem.features[rows].astype(np.float64)
    parallax, error = problem.parallax[rows], problem.parallax_error[rows]
    return design, parallax + ZERO_POINT, error**-2.0, parallax / error


def paper_way(problem, penalty: float, limit: float) -> list[tuple[float, float]]:
    """Minimise as the paper did: float64 numpy, scipy's L-BFGS-B, ``penalty sign(coef)`` as the penalty's gradient.

    There are two stages: the first starts from 0.001/D with the stars above signal-to-noise 20, the second goes on from
    there with all stars. The matrix is made before the clock starts; the clock runs through both stages.

    Returns
    -------
    list of (seconds, objective of all stars)
        One row each time the objective fell. The burn-in minimises another objective and has one row, at its end.
    """
    design, parallax, ivar, signal = float64_problem(problem)
    penalties = np.where(problem.layout.penalized, penalty, 0.0)

    def function(coef, design, parallax, ivar):
        with np.errstate(over="ignore"):
            mu = np.exp(design @ coef)
        residual = mu - parallax
        value = 0.5 * ivar @ residual**2 + penalties @ np.abs(coef)
        return value, (ivar * residual * mu) @ design + penalties * np.sign(coef)

    clock = Clock(limit)
    every = design, parallax, ivar
    bright = tuple(part[signal > _BURN_IN_SIGNAL] for part in every)
    best = [np.inf, np.full(design.shape[1], _START / design.shape[1])]
    clock.tick(function(best[1], *every)[0])

    def burn_in(coef):
        value, gradient = function(coef, *bright)
        if value < best[0]:
            best[:] = value, coef.copy()
        if clock.is_over():
            raise TimeIsUp
        return value, gradient

    try:
        minimize(burn_in, best[1], jac=True, method="L-BFGS-B", options={"maxiter": 10**6, "maxfun": 10**7})
        clock.tick(function(best[1], *every)[0])
        _scipy(lambda coef: function(coef, *every), best[1], None, clock)
    except TimeIsUp:
        if len(clock.rows) == 1:  # the burn-in took all the time
            clock.rows.append((clock.seconds(), function(best[1], *every)[0]))
    return clock.rows


def split_form(problem, penalty: float, limit: float, start: np.ndarray) -> list[tuple[float, float]]:
    """Minimise over ``coef = u - v`` with ``u, v >= 0`` by scipy's L-BFGS-B with bounds, from ``start``.

    Returns
    -------
    list of (seconds, objective)
    """
    design, parallax, ivar, _ = float64_problem(problem)
    penalized = problem.layout.penalized
    clock = Clock(limit)

    def function(both):
        coef = both[: penalized.size].copy()
        coef[penalized] -= both[penalized.size :]
        with np.errstate(over="ignore"):
            mu = np.exp(design @ coef)
        residual = mu - parallax
        value = 0.5 * ivar @ residual**2 + penalty * (
            both[: penalized.size][penalized].sum() + both[penalized.size :].sum()
        )
        gradient = (ivar * residual * mu) @ design
        return value, np.concatenate([gradient + penalty * penalized, penalty - gradient[penalized]])

    both = np.concatenate([np.where(penalized, np.maximum(start, 0.0), start), np.maximum(-start[penalized], 0.0)])
    bounds = [(0.0, None) if p else (None, None) for p in penalized] + [(0.0, None)] * int(penalized.sum())
    with contextlib.suppress(TimeIsUp):
        _scipy(function, both, bounds, clock)
    return clock.rows


def _scipy(function, coef, bounds, clock):
    """Run L-BFGS-B again and again from the best point so far, until the time is up or it finds no lower point.

    Where sign() is the gradient its line search fails now and then; it goes on from there with a new history.
    """

    def ticking(coef):
        value, gradient = function(coef)
        clock.tick(value, coef)
        return value, gradient

    options = {"maxiter": 10**6, "maxfun": 10**7, "ftol": 1e-12, "gtol": 1e-8}
    for _ in range(_MAX_RESTARTS):
        before = clock.best
        minimize(ticking, coef, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        if not clock.best < before:
            break
        coef = clock.best_coef
