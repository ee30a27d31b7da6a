"""Kernels of the solvers on a handful of numbers against plain formulas: fast even without numba's compiler."""

import numpy as np
import pytest

from spfast.kernels import cholesky
from spfast.kernels.coordinate_descent import descend, exact_step, multiply
from spfast.kernels.lbfgs import two_loop
from spfast.kernels.panels import WIDTH

GRAM = np.array([[4.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]])


def sweep(gram, gradient, coef, penalties, order=(0, 1, 2), max_sweeps=1, tolerance=0.0):
    """Sweeps, coefficients and gradient after descending from a copy."""
    coef, gradient = np.array(coef, dtype=float), np.array(gradient, dtype=float)
    n = descend(gram, gradient, coef, np.array(penalties, dtype=float), np.array(order), max_sweeps, tolerance)
    return n, coef.tolist(), gradient.tolist()


def test_one_coordinate_by_soft_thresholding():
    # A step of -(g + penalty) / curvature, stopped at zero; from either sign and from zero.
    for coef, gradient, moved in (
        (0.0, -6.0, 1.0),
        (0.0, 6.0, -1.0),
        (0.0, 2.0, 0.0),
        (0.0, -1.5, 0.0),
        (0.5, 1.0, 0.0),
        (0.5, -6.0, 1.5),
        (-0.5, 6.0, -1.5),
        (-0.5, -1.0, 0.0),
        (1.0, -2.0, 1.0),
    ):
        n, after, slope = sweep(GRAM, [gradient, 0.0, 0.0], [coef, 0.0, 0.0], [2.0] * 3, order=[0])
        assert (n, after) == (1, [moved, 0.0, 0.0])
        assert slope == (np.array([gradient, 0.0, 0.0]) + (moved - coef) * GRAM[0]).tolist()


def test_columns_without_curvature_stay_and_so_do_those_that_are_not_visited():
    flat = np.diag([0.0, -1.0, 1.0])
    assert sweep(flat, [-5.0, -5.0, -5.0], [0.5, 0.5, 0.0], [1.0] * 3)[1:] == ([0.5, 0.5, 4.0], [-5.0, -5.0, -1.0])
    assert sweep(GRAM, [-5.0, -5.0, -5.0], [0.0] * 3, [1.0] * 3, order=[1])[1] == [0.0, 2.0, 0.0]
    # What follows a column that stays is visited all the same.
    assert sweep(GRAM, [0.5, -5.0, 0.0], [0.0] * 3, [1.0] * 3)[1][1] == 2.0


def test_sweeps_end_by_the_largest_violation_before_the_steps():
    diagonal = np.diag([1.0, 2.0, 4.0])
    for gradient, coef, violation in (
        ([-3.0, 0.0, 0.0], [0.0] * 3, 2.0),
        ([0.0, 3.5, -1.5], [0.0] * 3, 2.5),
        ([0.0, 0.5, 0.0], [0.0, 1.0, 0.0], 1.5),
        ([0.0, 0.0, -0.5], [0.0, 0.0, -1.0], 1.5),
        ([0.0, 0.0, 0.5], [0.0, 0.0, -1.0], 0.5),
        ([-1.5, 0.0, 0.0], [2.0, 0.0, 0.0], 0.5),
    ):
        arguments = (diagonal, gradient, coef, [1.0] * 3)
        assert sweep(*arguments, max_sweeps=5, tolerance=violation)[0] == 1
        # A diagonal matrix is solved in one sweep; the next one sees it.
        assert sweep(*arguments, max_sweeps=5, tolerance=violation * 0.999)[0] == 2
        assert sweep(*arguments, max_sweeps=1, tolerance=violation * 0.999)[0] == 1
    assert sweep(diagonal, [9.0] * 3, [0.0] * 3, [1.0] * 3, max_sweeps=0)[:2] == (0, [0.0] * 3)
    assert sweep(diagonal, [1.0, -1.0, 0.0], [0.0] * 3, [1.0] * 3, max_sweeps=5)[0] == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_descent_ends_at_the_minimum(dtype):
    gram = np.zeros((5, 5), dtype=dtype)  # larger than what is used of it
    gram[:3, :3] = GRAM
    truth, penalties = np.array([0.5, 0.0, -2.0]), np.array([1.0, 3.0, 0.0])
    start = np.array([-1.0, 0.25, 0.0])
    # The gradient at the minimum is -penalty sign(coef), and within the penalty where coef is 0.
    gradient = (np.array([-1.0, 2.0, 0.0]) + GRAM @ (start - truth)).astype(dtype)
    coef = start.copy()
    sweeps = descend(gram, gradient, coef, penalties, np.array([0, 1, 2]), 200, 1e-6)
    assert 1 < sweeps < 60
    np.testing.assert_allclose(coef, truth, atol=1e-5)
    np.testing.assert_allclose(gradient, [-1.0, 2.0, 0.0], atol=1e-5)


@pytest.mark.parametrize("n", [1, 63, 64, 65, 130])
def test_multiply_in_pieces_of_64(n):
    rng = np.random.default_rng(n)
    gram, columns, vector = rng.normal(size=(n + 2, n + 2)), np.array([0, n + 1]), np.array([2.0, -3.0])
    expected = gram[:n][:, columns] @ vector
    out = np.full(n, np.nan)
    multiply(1, 2, gram, columns, vector, out)
    np.testing.assert_allclose(out[64:128], expected[64:128], rtol=1e-12)
    assert np.isnan(out[:64]).all()
    assert np.isnan(out[128:]).all()
    multiply(0, 3, gram, columns, vector, out)
    np.testing.assert_allclose(out, expected, rtol=1e-12)


def step(coef, direction, penalties, slope, curvature):
    arrays = (np.array(x, dtype=float) for x in (coef, direction, penalties))
    return exact_step(*arrays, slope, curvature)


def test_exact_step_without_a_change_of_sign():
    # slope + 2 * 1 * (+1) from the penalty of a coefficient that grows.
    assert step([1.0], [1.0], [2.0], -6.0, 8.0) == 0.5
    assert step([-1.0], [-1.0], [2.0], -6.0, 8.0) == 0.5
    assert step([0.0], [-1.0], [2.0], -6.0, 8.0) == 0.5  # one that leaves zero, either way
    assert step([0.0], [1.0], [2.0], -6.0, 8.0) == 0.5
    assert step([0.0], [2.0], [2.0], -6.0, 8.0) == 0.25
    assert step([1.0], [4.0], [0.5], -6.0, 8.0) == 0.5
    assert step([1.0], [0.0], [2.0], -6.0, 8.0) == 0.75  # one that stays
    assert step([1.0], [1.0], [2.0], -6.0, 2.0) == 1.0  # never more than 1
    assert step([1.0], [1.0], [2.0], -6.0, 0.0) == 1.0
    assert step([1.0], [1.0], [2.0], -6.0, -1.0) == 1.0
    assert step([1.0], [1.0], [2.0], -2.0, 4.0) == 0.0  # no descent
    assert step([1.0], [1.0], [2.0], -2.0, 0.0) == 0.0
    assert step([1.0], [1.0], [2.0], -1.5, 4.0) == 0.0
    assert step([1.0], [1.0], [2.0], 5.0, 4.0) == 0.0
    assert step([1.0], [1.0], [2.0], -2.5, 1.0) == 0.5


def test_exact_step_over_zeros():
    # Shrinks until zero at 1/2: slope -1 - 2 before and -1 + 2 after it, so it ends there.
    assert step([1.0], [-2.0], [1.0], -1.0, 0.0) == 0.5
    assert step([-1.0], [2.0], [1.0], -1.0, 0.0) == 0.5
    # Before zero if the curvature is large, beyond it if the slope is.
    assert step([1.0], [-2.0], [1.0], -1.0, 12.0) == 0.25
    assert step([1.0], [-2.0], [1.0], -6.0, 5.0) == 0.8
    assert step([1.0], [-2.0], [1.0], -1.0, 7.0) == 3.0 / 7.0
    assert step([1.0], [-2.0], [1.0], -2.5, 0.0) == 1.0
    # At zero, where the slope changes its sign: by half a unit on either side, or to nothing.
    assert step([1.0], [-2.0], [1.0], -1.0, 5.0) == 0.5
    assert step([1.0], [-2.0], [1.0], -1.5, 0.0) == 0.5
    assert step([1.0], [-2.0], [1.0], -2.0, 0.0) == 0.5
    # Exactly there, by either of the two conditions.
    assert step([1.0], [-2.0], [1.0], -1.0, 6.0) == 0.5
    assert step([1.0], [-2.0], [1.0], -4.0, 4.0) == 0.5
    # The penalty grows by twice its share at each zero, in the order of the zeros: slopes -9, -7, -1.
    assert step([2.0, 1.0], [-4.0, -4.0], [0.75, 0.25], -5.0, 1.0) == 1.0
    assert step([2.0, 1.0], [-4.0, -4.0], [0.75, 0.25], -5.0, 10.0) == pytest.approx(0.5)
    assert step([2.0, 1.0], [-4.0, -4.0], [0.75, 0.25], -5.0, 16.0) == pytest.approx(7 / 16)
    assert step([2.0, 1.0], [-4.0, -4.0], [0.75, 0.25], -5.0, 1.25) == pytest.approx(0.8)
    # Zeros beyond the whole step, and one at its very end.
    assert step([3.0], [-1.0], [1.0], -1.0, 0.0) == 1.0
    assert step([3.0], [-2.0], [1.0], -1.0, 0.0) == 1.0
    assert step([1.0], [-1.0], [1.0], -1.0, 0.0) == 1.0


def test_two_loop_with_no_one_and_two_pairs():
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


def positive(n, seed=0):
    root = np.random.default_rng(seed).normal(size=(n, n + 4))
    return root @ root.T / n + np.eye(n)


def test_diagonal_block():
    matrix = positive(7)
    begin, end = 2, 6
    whole = matrix.copy()
    assert cholesky.factor_block(whole, begin, end, 0.0)
    block = slice(begin, end)
    upper = np.linalg.cholesky(matrix[block, block]).T
    np.testing.assert_allclose(np.triu(whole[block, block]), upper, rtol=1e-12, atol=1e-15)
    outside = np.ones((7, 7), bool)
    outside[block, block] = np.tri(4, k=-1, dtype=bool)
    np.testing.assert_array_equal(whole[outside], matrix[outside])
    small = np.diag([1.0, 1e-6])
    assert cholesky.factor_block(small, 0, 2, 0.0)
    np.testing.assert_allclose(small, np.diag([1.0, 1e-3]))
    for bad in (0.0, -1.0, np.nan):
        spoiled = matrix.copy()
        spoiled[3, 3] = bad
        assert not cholesky.factor_block(spoiled, begin, end, 0.0)
    assert not cholesky.factor_block(np.ones((2, 2)), 0, 2, 0.0)
    for min_pivot, is_regular in ((0.49, True), (0.5, False), (0.51, False)):
        halved = np.array([[1.0, 0.5], [0.5, 0.5]])  # the second pivot is 0.25
        assert cholesky.factor_block(halved, 0, 2, min_pivot) == is_regular


@pytest.mark.parametrize("n", [4, 5, 67, 68, 69, 140])
def test_panel_right_of_the_diagonal_block(n):
    begin, end = 1, 4
    matrix = np.triu(positive(n))
    assert cholesky.factor_block(matrix, begin, end, 0.0)
    before, factor = matrix.copy(), matrix[begin:end, begin:end]
    expected = np.linalg.solve(factor.T, before[begin:end, end:])
    n_pieces = -(-(n - end) // 64)
    if n_pieces > 1:
        cholesky.solve_panel(1, n_pieces, matrix, begin, end, n)
        np.testing.assert_array_equal(matrix[:, : end + 64], before[:, : end + 64])
        cholesky.solve_panel(0, 1, matrix, begin, end, n)
    else:
        cholesky.solve_panel(0, n_pieces, matrix, begin, end, n)
    np.testing.assert_allclose(matrix[begin:end, end:], expected, rtol=1e-10, atol=1e-14)
    untouched = np.ones(n, bool)
    untouched[begin:end] = False
    np.testing.assert_array_equal(matrix[untouched], before[untouched])
    np.testing.assert_array_equal(matrix[:, :end], before[:, :end])


def test_panels_are_filled_with_zeros_past_the_end():
    n, begin, end = 60, 3, 7
    matrix = np.random.default_rng(1).normal(size=(n + 5, n + 5))
    n_panels = -(-(n - end) // WIDTH)
    panels = np.full((n_panels, 6, WIDTH), np.nan)
    cholesky.copy_panels(1, n_panels, matrix, begin, end, n, panels)
    assert np.isnan(panels[0]).all()
    cholesky.copy_panels(0, 1, matrix, begin, end, n, panels)
    assert np.isnan(panels[:, end - begin :]).all()
    rows = panels[:, : end - begin].transpose(1, 0, 2).reshape(end - begin, -1)
    np.testing.assert_array_equal(rows[:, : n - end], matrix[begin:end, end:n])
    assert (rows[:, n - end :] == 0.0).all()
    assert rows.shape[1] > n - end


@pytest.mark.parametrize("n", [1, 2, 9])
def test_solve_factored(n):
    matrix = positive(n, seed=n)
    factor = np.full((n + 1, n + 1), np.nan)
    factor[:n, :n] = np.linalg.cholesky(matrix).T
    factor[np.tril_indices(n, -1)] = np.nan  # below the diagonal there is anything
    truth = np.arange(1.0, n + 1.0)
    vector = matrix @ truth
    cholesky.solve_factored(factor, n, vector)
    np.testing.assert_allclose(vector, truth, rtol=1e-10)


@pytest.mark.parametrize("n", [1, 64, 65, 130])
def test_gather_square(n):
    rng = np.random.default_rng(n)
    gram, index = rng.normal(size=(n + 9, n + 9)), rng.permutation(n + 9)[:n]
    out = np.full((n, n), np.nan)
    cholesky.gather_square(1, 3, gram, index, 0.5, out)
    assert np.isnan(out[:64]).all()
    cholesky.gather_square(0, 1, gram, index, 0.5, out)
    expected = gram[np.ix_(index, index)]
    expected[np.diag_indices(n)] *= 1.5
    upper = np.triu_indices(n)
    np.testing.assert_array_equal(out[upper], expected[upper])
    assert np.isnan(out[np.tril_indices(n, -1)]).all()


def test_sizes_of_the_work():
    assert (cholesky.STEP, cholesky.PIECE) == (64, 64)
