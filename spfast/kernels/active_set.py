"""Active-set descent on ``q.d + d.G.d / 2 + sum penalties |coef + d|``, for columns that nearly depend on each other.

The active columns have a Cholesky factor that grows and shrinks with them. A step leads to the minimum that the signs
of their coefficients allow, or to the first coefficient that reaches zero, which then leaves. At the minimum the column
that violates its condition most enters (Osborne, Presnell & Turlach 2000; Lee et al. 2006, "feature-sign search"). A
column that depends on the active ones enters with a tiny pivot: the step runs along the direction that changes no
prediction, until one of them leaves. So hardly more columns are active than the rank of ``G``, and a step is cheap.
"""

import math

import numpy as np

from spfast.kernels.jit import jit

#: The active columns are at their minimum at this share of the tolerance.
_ACTIVE_SHARE = 0.1


@jit
def descend_active_set(
    gram: np.ndarray,
    gradient: np.ndarray,
    coef: np.ndarray,
    penalties: np.ndarray,
    factor: np.ndarray,
    least_pivot: float,
    max_steps: int,
    tolerance: float,
) -> bool:
    """Step until no column violates its condition by more than ``tolerance``.

    Parameters
    ----------
    gram : float64 array, C order, shape (>= n, >= n)
        Symmetric.
    gradient : float64 array, shape (n,)
        Gradient of the smooth part at ``coef``; kept up to date.
    coef : float64 array, shape (n,)
        Kept up to date.
    penalties : float64 array, shape (n,)
    factor : float64 array, C order, shape (m, m)
        Room for the factor of m active columns.
    least_pivot : float
        Smaller pivots, as shares of the diagonal element, are raised to this. Non-zeros with such a pivot are not
        active from the start: they enter if they violate their condition.
    max_steps : int
    tolerance : float

    Returns
    -------
    has_room : bool
        False if more than m columns would have to be active.
    """
    n, room = gradient.size, factor.shape[0]
    active = np.empty(room, dtype=np.int64)
    side = np.empty(room)
    is_active = np.zeros(n, dtype=np.bool_)
    size = 0
    for j in range(n):
        if coef[j] == 0.0 or not gram[j, j] > 0.0:
            continue
        if size == room:
            return False
        if append_row(factor, gram, active, size, j, least_pivot) >= least_pivot:
            active[size], side[size], is_active[j] = j, np.sign(coef[j]), True
            size += 1
    for _ in range(max_steps):
        direction = np.empty(size)
        worst = 0.0
        for a in range(size):
            j = active[a]
            direction[a] = -gradient[j] - penalties[j] * side[a]
            worst = max(worst, abs(direction[a]))
        if worst <= _ACTIVE_SHARE * tolerance:
            entering = _worst_violator(gram, gradient, coef, penalties, is_active, tolerance)
            if entering < 0:
                return True
            if size == room:
                return False
            append_row(factor, gram, active, size, entering, least_pivot)
            active[size], is_active[entering] = entering, True
            side[size] = np.sign(coef[entering]) if coef[entering] != 0.0 else -np.sign(gradient[entering])
            size += 1
            continue
        solve_rows(factor, size, direction)
        length, leaving = 1.0, -1
        for a in range(size):
            if direction[a] * side[a] < 0.0 and -coef[active[a]] / direction[a] < length:
                length, leaving = -coef[active[a]] / direction[a], a
        for a in range(size):
            j = active[a]
            delta = length * direction[a] if a != leaving else -coef[j]
            coef[j] = coef[j] + delta if a != leaving else 0.0
            row = gram[j, :n]
            for k in range(n):
                gradient[k] += delta * row[k]
        if leaving >= 0:
            is_active[active[leaving]] = False
            drop_row(factor, size, leaving)
            size -= 1
            for a in range(leaving, size):
                active[a], side[a] = active[a + 1], side[a + 1]
    return True


@jit
def _worst_violator(gram, gradient, coef, penalties, is_active, tolerance):
    """The column that violates its condition most, of those that are not active; -1 if none does."""
    entering, worst = -1, tolerance
    for j in range(gradient.size):
        if is_active[j] or not gram[j, j] > 0.0:  # the unpenalised columns explain this one: it takes no step
            continue
        if coef[j] != 0.0:
            violation = abs(gradient[j] + penalties[j] * np.sign(coef[j]))
        else:
            violation = abs(gradient[j]) - penalties[j]
        if violation > worst:
            entering, worst = j, violation
    return entering


@jit
def append_row(
    factor: np.ndarray, gram: np.ndarray, index: np.ndarray, n: int, column: int, least_pivot: float
) -> float:
    """Add a column to the lower triangle ``L``, with ``L L.T`` the Gram matrix of the columns ``index[:n]``.

    Parameters
    ----------
    factor : float64 array, C order, shape (> n, > n)
    gram : float64 array, C order
        Its diagonal element of ``column`` is positive.
    index : int64 array, shape (>= n,)
    n, column : int
    least_pivot : float
        A smaller pivot is raised to this share of the diagonal element.

    Returns
    -------
    pivot : float
        What the columns before leave of the diagonal element, as a share of it.
    """
    row, new = gram[column], factor[n]
    diagonal = row[column]
    total = diagonal
    for i in range(n):
        other = factor[i]
        value = row[index[i]]
        for k in range(i):
            value -= other[k] * new[k]
        value /= other[i]
        new[i] = value
        total -= value * value
    new[n] = math.sqrt(max(total, least_pivot * diagonal))
    return total / diagonal


@jit
def drop_row(factor: np.ndarray, n: int, at: int) -> None:
    """Take the column at place ``at`` out of a factor of ``n`` columns: rotations restore the triangle."""
    for i in range(at, n - 1):
        for k in range(i + 2):
            factor[i, k] = factor[i + 1, k]
    for i in range(at, n - 1):
        first, second = factor[i, i], factor[i, i + 1]
        length = math.hypot(first, second)
        cosine, sine = first / length, second / length
        for j in range(i, n - 1):
            first, second = factor[j, i], factor[j, i + 1]
            factor[j, i] = cosine * first + sine * second
            factor[j, i + 1] = cosine * second - sine * first


@jit
def solve_rows(factor: np.ndarray, n: int, vector: np.ndarray) -> None:
    """Solve ``L L.T x = vector`` in place (float64 vector, shape (n,))."""
    for i in range(n):
        row = factor[i]
        total = vector[i]
        for k in range(i):
            total -= row[k] * vector[k]
        vector[i] = total / row[i]
    for i in range(n - 1, -1, -1):
        row = factor[i]
        value = vector[i] / row[i]
        vector[i] = value
        for k in range(i):
            vector[k] -= value * row[k]
