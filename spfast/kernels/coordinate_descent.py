"""Coordinate descent and line search for ``q.d + d.G.d / 2 + sum penalties |coef + d|`` on a Gram matrix."""

import numpy as np

from spfast.kernels.jit import jit
from spfast.kernels.l1 import soft_threshold


@jit
def descend(gram, gradient, coef, penalties, order, max_sweeps, tolerance):
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
        Stop when no visited coordinate had a larger violation in a sweep.

    Returns
    -------
    sweeps : int
    """
    n = gradient.size
    for sweep in range(max_sweeps):
        worst = 0.0
        for j in order:
            curvature = np.float64(gram[j, j])
            if curvature <= 0.0:  # a column that the unpenalised ones explain: no curvature, no step
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
def multiply(first, last, gram, columns, vector, out):
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
def exact_step(coef, direction, penalties, slope, curvature):
    """Return the step along ``direction`` that minimises the quadratic plus the penalty, signs free to change.

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
        Between 0 and 1; a coefficient whose sign changes at exactly this step becomes exactly zero there.
    """
    crossing = np.empty(coef.size)
    total = slope
    n_crossings = 0
    where = np.empty(coef.size, dtype=np.int64)
    for j in range(coef.size):
        if coef[j] != 0.0:
            total += penalties[j] * direction[j] * np.sign(coef[j])
            step = -coef[j] / direction[j] if direction[j] != 0.0 else -1.0
            if 0.0 < step <= 1.0:
                crossing[n_crossings] = step
                where[n_crossings] = j
                n_crossings += 1
        else:
            total += penalties[j] * abs(direction[j])
    if total >= 0.0:
        return 0.0
    order = np.argsort(crossing[:n_crossings])
    for k in order:
        if total + curvature * crossing[k] >= 0.0:
            break
        total += 2.0 * penalties[where[k]] * abs(direction[where[k]])
        if total + curvature * crossing[k] >= 0.0:
            return crossing[k]
    return min(1.0, -total / curvature) if curvature > 0.0 else 1.0
