"""Coordinate descent and its exact line search: by hand on three coordinates, and on random problems."""

import numpy as np
import pytest
import reference

from spfast.kernels.coordinate_descent import descend, exact_step, multiply

GRAM = np.array([[4.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]])


def sweep(gram, gradient, coef, penalties, order=(0, 1, 2), max_sweeps=1, tolerance=0.0):
    """Sweeps, coefficients and gradient after descending from a copy."""
    coef, gradient = np.array(coef, dtype=float), np.array(gradient, dtype=float)
    n = descend(gram, gradient, coef, np.array(penalties, dtype=float), np.array(order), max_sweeps, tolerance)
    return n, coef.tolist(), gradient.tolist()


def test_one_coordinate_moves_by_soft_thresholding():
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


def test_columns_without_curvature_or_not_visited_stay():
    flat = np.diag([0.0, -1.0, 1.0])
    assert sweep(flat, [-5.0, -5.0, -5.0], [0.5, 0.5, 0.0], [1.0] * 3)[1:] == ([0.5, 0.5, 4.0], [-5.0, -5.0, -1.0])
    assert sweep(GRAM, [-5.0, -5.0, -5.0], [0.0] * 3, [1.0] * 3, order=[1])[1] == [0.0, 2.0, 0.0]
    # What follows a column that stays is visited all the same.
    assert sweep(GRAM, [0.5, -5.0, 0.0], [0.0] * 3, [1.0] * 3)[1][1] == 2.0


def test_sweeps_end_when_the_largest_violation_is_within_the_tolerance():
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
def test_descent_reaches_the_known_minimum(dtype):
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


def test_coordinate_descent_reaches_the_optimality_conditions():
    rng = np.random.default_rng(5)
    root = rng.normal(size=(30, 50))
    matrix, q = root @ root.T, 20 * rng.normal(size=30)
    penalties = np.full(30, 5.0)
    penalties[:3] = 0.0
    coef, gradient = np.zeros(30), q.copy()
    sweeps = descend(matrix, gradient, coef, penalties, np.arange(30), 10_000, 1e-9)
    assert sweeps < 10_000
    exact = q + matrix @ coef
    np.testing.assert_allclose(gradient, exact, atol=1e-8)
    assert reference.kkt_violations(coef, exact, penalties).max() < 1e-8
    assert (coef == 0).any()
    best = reference.quadratic(matrix, q, np.zeros(30), penalties, coef)
    for _ in range(20):
        other = coef + 0.1 * rng.normal(size=30)
        assert reference.quadratic(matrix, q, np.zeros(30), penalties, other) > best


@pytest.mark.parametrize("n", [1, 63, 64, 65, 130])
def test_multiply_writes_64_rows_a_piece(n):
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


def test_multiply_gathers_columns():
    rng = np.random.default_rng(6)
    matrix, columns, vector = rng.normal(size=(150, 150)), np.array([3, 77, 149]), rng.normal(size=3)
    out = np.empty(140)
    multiply(0, 3, matrix, columns, vector, out)
    np.testing.assert_allclose(out, (matrix[:, columns] @ vector)[:140])


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


def test_exact_step_where_coefficients_change_sign():
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


def test_exact_step_beats_a_fine_grid():
    rng = np.random.default_rng(7)
    for _ in range(20):
        coef, direction, penalties = rng.normal(size=12), rng.normal(size=12), rng.uniform(0, 1, size=12)
        slope, curvature = -rng.uniform(0, 5), rng.uniform(0.1, 5)

        def along(t, coef=coef, direction=direction, penalties=penalties, slope=slope, curvature=curvature):
            return slope * t + 0.5 * curvature * t * t + penalties @ np.abs(coef + t * direction)

        step = exact_step(coef, direction, penalties, slope, curvature)
        grid = np.linspace(0, 1, 2001)
        assert 0.0 <= step <= 1.0
        assert along(step) <= min(along(t) for t in grid) + 1e-9
