"""Coordinate descent and line search for ``q.d + d.G.d / 2 + sum penalties |coef + d|`` on a Gram matrix."""

import numpy as np

from spfast.kernels.jit import jit
from spfast.kernels.l1 import soft_threshold


@jit
def descend(
    gram: np.ndarray,
    gradient: np.ndarray,
    coef: np.ndarray,
    penalties: np.ndarray,
    order: np.ndarray,
    max_sweeps: int,
    tolerance: float,
) -> int:
    """Sweep cyclically over the coordinates in ``order`` until their violation is small.

    Parameters
    ----------
    gram : float32 or float64 array, C order, shape (>= n, >= n)
        Symmetric.
    gradient : float32 or float64 array, shape (n,)
        Gradient of the smooth part at ``coef``; kept up to date.
    coef : float64 array, shape (n,)
        Kept up to date.
    penalties : float64 array, shape (n,)
    order : int64 array
        Coordinates to visit.
    max_sweeps : int
    tolerance : float
        Stop after a sweep in which no visited coordinate had a larger violation.

    Returns
    -------
    sweeps : int
        Sweeps that were made.
    """
    n = gradient.size
    for sweep in range(max_sweeps):
        worst = 0.0
        for j in order:
            curvature = np.float64(gram[j, j])
            if curvature <= 0.0:  # the unpenalised columns explain this one: it takes no step
                continue
            old = coef[j]
            g = np.float64(gradient[j])
            if old == 0.0 and abs(g) <= penalties[j]:
                continue
            if old > 0.0:
                violation = abs(g + penalties[j])
            elif old < 0.0:
                violation = abs(g - penalties[j])
            else:
                violation = abs(g) - penalties[j]
            worst = max(worst, violation)
            new = soft_threshold(old - g / curvature, penalties[j] / curvature)
            if new != old:
                coef[j] = new
                delta = gradient.dtype.type(new - old)
                row = gram[j, :n]
                for k in range(n):
                    gradient[k] += delta * row[k]
        if worst <= tolerance:
            return sweep + 1
    return max_sweeps


@jit
def multiply(first: int, last: int, gram: np.ndarray, columns: np.ndarray, vector: np.ndarray, out: np.ndarray) -> None:
    """Write ``out[i] = sum_k gram[i, columns[k]] vector[k]`` in float64, 64 rows a piece, ``first <= piece < last``."""
    n = out.size
    for piece in range(first, last):
        for i in range(64 * piece, min(64 * piece + 64, n)):
            row = gram[i]
            total = 0.0
            for k in range(columns.size):
                total += np.float64(row[columns[k]]) * vector[k]
            out[i] = total


@jit
def exact_step(coef: np.ndarray, direction: np.ndarray, penalties: np.ndarray, slope: float, curvature: float) -> float:
    """Return the step along ``direction`` that minimises the quadratic plus the penalty; coefficients may change sign.

    Parameters
    ----------
    coef, direction, penalties : float64 array, shape (n,)
    slope : float
        Derivative of the smooth part along the direction.
    curvature : float
        Second derivative along it.

    Returns
    -------
    step : float
        Between 0 and 1; a coefficient that changes sign at exactly this step becomes exactly zero there.
    """
    crossing = np.empty(coef.size)
    derivative = slope
    n_crossings = 0
    crossing_column = np.empty(coef.size, dtype=np.int64)
    for j in range(coef.size):
        if coef[j] != 0.0:
            derivative += penalties[j] * direction[j] * np.sign(coef[j])
            step = -coef[j] / direction[j] if direction[j] != 0.0 else -1.0
            if 0.0 < step <= 1.0:
                crossing[n_crossings] = step
                crossing_column[n_crossings] = j
                n_crossings += 1
        else:
            derivative += penalties[j] * abs(direction[j])
    if derivative >= 0.0:
        return 0.0
    order = np.argsort(crossing[:n_crossings])
    for k in order:
        if derivative + curvature * crossing[k] >= 0.0:
            break
        derivative += 2.0 * penalties[crossing_column[k]] * abs(direction[crossing_column[k]])
        if derivative + curvature * crossing[k] >= 0.0:
            return crossing[k]
    return min(1.0, -derivative / curvature) if curvature > 0.0 else 1.0
