"""The blocked Cholesky factorisation: each of its steps against numpy, and a whole system solved."""

import numpy as np
import pytest

from spfast.kernels import cholesky
from spfast.kernels.panels import WIDTH
from spfast.kernels.team import Team
from spfast.solvers.quadratic import factor_support, new_scratch


def positive(n, seed=0):
    root = np.random.default_rng(seed).normal(size=(n, n + 4))
    return root @ root.T / n + np.eye(n)


def test_diagonal_block_is_factored_or_refused_as_singular():
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
def test_rows_right_of_the_diagonal_block_are_solved_64_columns_a_piece(n):
    begin, end = 1, 4
    matrix = np.triu(positive(n))
    assert cholesky.factor_block(matrix, begin, end, 0.0)
    before, factor = matrix.copy(), matrix[begin:end, begin:end]
    expected = np.linalg.solve(factor.T, before[begin:end, end:])
    n_pieces = -(-(n - end) // 64)
    if n_pieces > 1:
        cholesky.solve_panel(1, n_pieces, matrix, begin, end, n)
        np.testing.assert_array_equal(matrix[:, : end + 64], before[:, : end + 64])
        assert (matrix[begin:end, end + 64] != before[begin:end, end + 64]).all()
        cholesky.solve_panel(0, 1, matrix, begin, end, n)
    else:
        cholesky.solve_panel(0, n_pieces, matrix, begin, end, n)
    np.testing.assert_allclose(matrix[begin:end, end:], expected, rtol=1e-10, atol=1e-14)
    untouched = np.ones(n, bool)
    untouched[begin:end] = False
    np.testing.assert_array_equal(matrix[untouched], before[untouched])
    np.testing.assert_array_equal(matrix[:, :end], before[:, :end])


def test_copied_panels_have_zeros_past_the_last_column():
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
def test_solve_factored_inverts_the_matrix(n):
    matrix = positive(n, seed=n)
    factor = np.full((n + 1, n + 1), np.nan)
    factor[:n, :n] = np.linalg.cholesky(matrix).T
    factor[np.tril_indices(n, -1)] = np.nan  # below the diagonal there is anything
    truth = np.arange(1.0, n + 1.0)
    vector = matrix @ truth
    cholesky.solve_factored(factor, n, vector)
    np.testing.assert_allclose(vector, truth, rtol=1e-10)


@pytest.mark.parametrize("n", [1, 64, 65, 130])
def test_gather_square_copies_64_rows_a_piece_and_raises_the_diagonal(n):
    rng = np.random.default_rng(n)
    gram, index = rng.normal(size=(n + 9, n + 9)), rng.permutation(n + 9)[:n]
    out = np.full((n, n), np.nan)
    cholesky.gather_square(1, 3, gram, index, 0.5, out)
    assert np.isnan(out[:64]).all()
    assert np.isfinite(out[64:, -1]).all()
    cholesky.gather_square(0, 1, gram, index, 0.5, out)
    expected = gram[np.ix_(index, index)]
    expected[np.diag_indices(n)] *= 1.5
    upper = np.triu_indices(n)
    np.testing.assert_array_equal(out[upper], expected[upper])
    assert np.isnan(out[np.tril_indices(n, -1)]).all()


@pytest.mark.parametrize("n", [1, 5, 64, 65, 200])
def test_factor_of_a_support_solves_its_system_and_a_negative_diagonal_is_refused(n):
    rng = np.random.default_rng(n)
    root = rng.normal(size=(n, 2 * n + 3))
    matrix = root @ root.T
    store = np.zeros((n + 3, n + 3))
    store[:n, :n] = matrix
    scratch = new_scratch()
    factor = factor_support(store, np.arange(n), scratch, Team(2))
    vector = rng.normal(size=n)
    solved = vector.copy()
    cholesky.solve_factored(factor, n, solved)
    np.testing.assert_allclose(matrix @ solved, vector, atol=1e-4 * np.abs(vector).max())
    store[0, 0] = -1.0
    assert factor_support(store, np.arange(n), scratch, Team(1)) is None
