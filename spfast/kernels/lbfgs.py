"""The limited-memory BFGS two-loop recursion (Nocedal 1980), in float64."""

import numpy as np

from spfast.kernels.jit import jit


@jit
def two_loop(
    gradient: np.ndarray,
    steps: np.ndarray,
    changes: np.ndarray,
    products: np.ndarray,
    newest: int,
    count: int,
    scale: np.ndarray,
    direction: np.ndarray,
) -> None:
    """Write ``-H gradient``, where the stored pairs make the inverse Hessian ``H`` from the diagonal ``scale``.

    Parameters
    ----------
    gradient : float64 array, shape (n,)
    steps, changes : float64 array, shape (memory, n)
        Ring buffers of coefficient steps and gradient changes.
    products : float64 array, shape (memory,)
        ``steps[i] . changes[i]``, positive.
    newest, count : int
        Position of the newest pair and the number of pairs.
    scale : float64 array, shape (n,)
        Diagonal inverse Hessian to begin with.
    direction : float64 array, shape (n,)
        Written.
    """
    memory, n = steps.shape
    alphas = np.empty(memory)
    direction[:] = gradient
    for back in range(count):
        i = (newest - back) % memory
        alpha = 0.0
        for j in range(n):
            alpha += steps[i, j] * direction[j]
        alpha /= products[i]
        alphas[i] = alpha
        for j in range(n):
            direction[j] -= alpha * changes[i, j]
    gamma = 1.0
    if count > 0:
        norm = 0.0
        for j in range(n):
            norm += scale[j] * changes[newest, j] * changes[newest, j]
        gamma = products[newest] / norm
    for j in range(n):
        direction[j] *= gamma * scale[j]
    for back in range(count - 1, -1, -1):
        i = (newest - back) % memory
        beta = 0.0
        for j in range(n):
            beta += changes[i, j] * direction[j]
        beta = alphas[i] - beta / products[i]
        for j in range(n):
            direction[j] += beta * steps[i, j]
    for j in range(n):
        direction[j] = -direction[j]
