"""Algebra of the weighted L1 penalty: ``sum penalties[j] |coef[j]|``, its optimality conditions and orthants."""

import math

import numpy as np

from spfast.kernels.jit import jit


@jit
def l1_norm(coef: np.ndarray, penalties: np.ndarray) -> float:
    """Return ``sum penalties |coef|`` (float64)."""
    total = 0.0
    for j in range(coef.size):
        total += penalties[j] * abs(coef[j])
    return total


@jit
def soft_threshold(value: float, threshold: float) -> float:
    """Return ``sign(value) max(|value| - threshold, 0)``."""
    if value > threshold:
        return value - threshold
    if value < -threshold:
        return value + threshold
    return 0.0


@jit
def kkt_violations(coef: np.ndarray, gradient: np.ndarray, penalties: np.ndarray, violations: np.ndarray) -> float:
    """Write each coefficient's distance from optimality and return the largest.

    On the support ``|gradient + penalty sign(coef)|``, off it ``max(|gradient| - penalty, 0)``; all float64 arrays of
    shape (n,), in the units of the gradient.
    """
    worst = 0.0
    for j in range(coef.size):
        if coef[j] > 0.0:
            v = abs(gradient[j] + penalties[j])
        elif coef[j] < 0.0:
            v = abs(gradient[j] - penalties[j])
        else:
            v = abs(gradient[j]) - penalties[j]
            if v < 0.0:
                v = 0.0
        violations[j] = v
        if v > worst or math.isnan(v):
            worst = v
        if math.isnan(worst):
            break
    return worst


@jit
def pseudo_gradient(coef: np.ndarray, gradient: np.ndarray, penalties: np.ndarray, out: np.ndarray) -> None:
    """Write the minimum-norm subgradient of ``smooth + L1`` (Andrew & Gao 2007, Eq. 4)."""
    for j in range(coef.size):
        if coef[j] > 0.0:
            out[j] = gradient[j] + penalties[j]
        elif coef[j] < 0.0:
            out[j] = gradient[j] - penalties[j]
        else:
            out[j] = soft_threshold(gradient[j], penalties[j])


@jit
def align(direction: np.ndarray, pseudo: np.ndarray) -> None:
    """Zero the components of ``direction`` that do not descend, in place (Andrew & Gao 2007, the projection of d)."""
    for j in range(direction.size):
        if direction[j] * pseudo[j] >= 0.0:
            direction[j] = 0.0


@jit
def orthant_step(
    coef: np.ndarray, direction: np.ndarray, step: float, pseudo: np.ndarray, penalties: np.ndarray, out: np.ndarray
) -> None:
    """Write ``coef + step direction``, with penalised components that leave their orthant set to exactly zero.

    The orthant of a zero coefficient is the one that ``-pseudo`` points into (Andrew & Gao 2007).
    """
    for j in range(coef.size):
        moved = coef[j] + step * direction[j]
        if penalties[j] > 0.0:
            side = coef[j] if coef[j] != 0.0 else -pseudo[j]
            if moved * side <= 0.0:
                moved = 0.0
        out[j] = moved
