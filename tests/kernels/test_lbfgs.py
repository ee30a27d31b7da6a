"""The two-loop recursion against the update of the dense inverse Hessian."""

import numpy as np
import reference

from spfast.kernels.lbfgs import two_loop


def test_two_loop_with_zero_one_or_two_pairs_equals_the_bfgs_formula():
    gradient, scale = np.array([1.0, -2.0, 0.5]), np.array([1.0, 0.5, 2.0])
    steps, changes = np.full((2, 3, 3), np.nan)
    products, direction = np.full(3, np.nan), np.full(3, np.nan)
    two_loop(gradient, steps, changes, products, 0, 0, scale, direction)
    assert direction.tolist() == [-1.0, 1.0, -1.0]
    hessian = np.array([[3.0, 0.5, 0.0], [0.5, 2.0, 0.25], [0.0, 0.25, 1.0]])
    rng = np.random.default_rng(0)
    used = []
    for k in range(5):  # a ring of three: the fourth takes the place of the first
        steps[k % 3] = rng.normal(size=3)
        changes[k % 3] = hessian @ steps[k % 3]
        products[k % 3] = steps[k % 3] @ changes[k % 3]
        used = [*used, (steps[k % 3].copy(), changes[k % 3].copy())][-2:]
        two_loop(gradient, steps, changes, products, k % 3, len(used), scale, direction)
        newest = used[-1]
        inverse = np.diag(scale) * (newest[0] @ newest[1]) / (newest[1] @ (scale * newest[1]))
        for s, y in used:
            rho = 1.0 / (s @ y)
            left = np.eye(3) - rho * np.outer(s, y)
            inverse = left @ inverse @ left.T + rho * np.outer(s, s)
        np.testing.assert_allclose(direction, -inverse @ gradient, rtol=1e-11)


def test_two_loop_equals_the_dense_bfgs_update():
    rng = np.random.default_rng(9)
    n, memory = 7, 4
    root = rng.normal(size=(n, n))
    hessian = root @ root.T + np.eye(n)
    ring_steps, ring_changes, products = np.zeros((memory, n)), np.zeros((memory, n)), np.ones(memory)
    pairs = []
    scale = rng.uniform(0.5, 2.0, size=n)
    gradient, direction = rng.normal(size=n), np.empty(n)
    for k in range(6):
        step = rng.normal(size=n)
        change = hessian @ step
        ring_steps[k % memory], ring_changes[k % memory], products[k % memory] = step, change, step @ change
        pairs = [*pairs, (step, change)][-memory:]
        two_loop(gradient, ring_steps, ring_changes, products, k % memory, len(pairs), scale, direction)
        expected = reference.inverse_hessian_product(gradient, *zip(*pairs, strict=True), scale)
        np.testing.assert_allclose(direction, expected, rtol=1e-8)
