"""The active set: its growing and shrinking factor, and minima on singular Gram matrices against plain numpy."""

import numpy as np
import pytest
import reference

from spfast.kernels.active_set import append_row, descend_active_set, drop_row, solve_rows


def dependent_columns(n_columns, rank, seed, noise=0.0):
    """A Gram matrix of the given rank and a gradient that it can undo."""
    rng = np.random.default_rng(seed)
    design = rng.normal(size=(60, rank)) @ rng.normal(size=(rank, n_columns))
    design += noise * rng.normal(size=design.shape)
    return design.T @ design, -design.T @ rng.normal(size=60)


def accelerated_proximal_gradient(gram, gradient, penalties, iterations):
    """Minimise ``gradient.x + x.gram.x / 2 + sum penalties |x|`` (Beck & Teboulle 2009, FISTA)."""
    step = 1.0 / np.linalg.eigvalsh(gram)[-1]
    point = ahead = np.zeros(gradient.size)
    momentum = 1.0
    for _ in range(iterations):
        moved = ahead - step * (gradient + gram @ ahead)
        new = np.sign(moved) * np.maximum(np.abs(moved) - step * penalties, 0.0)
        next_momentum = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum**2))
        ahead = new + (momentum - 1.0) / next_momentum * (new - point)
        point, momentum = new, next_momentum
    return point


def descend(gram, gradient, penalties, coef, room, tolerance=1e-8):
    n = gradient.size
    point, current = coef.copy(), gradient.copy()
    has_room = descend_active_set(gram, current, point, penalties, np.empty((room, room)), 1e-8, 10 * n, tolerance)
    return point, current, has_room


@pytest.mark.parametrize(("rank", "noise"), [(1, 0.0), (6, 0.0), (6, 1e-5), (6, 1e-2), (40, 0.0)])
@pytest.mark.parametrize("start", ["zeros", "everywhere"])
def test_minimum_on_dependent_columns_is_that_of_proximal_gradients(rank, noise, start):
    gram, gradient = dependent_columns(40, rank, 3, noise)
    penalties = np.full(40, 0.05 * np.abs(gradient).max())
    coef = np.zeros(40) if start == "zeros" else np.random.default_rng(1).normal(size=40)
    shifted = gradient - gram @ coef  # the same minimum from any start
    point, current, has_room = descend(gram, gradient, penalties, coef, 40)
    assert has_room
    np.testing.assert_allclose(current, shifted + gram @ point, atol=1e-7 * np.abs(gradient).max())
    assert reference.kkt_violations(point, shifted + gram @ point, penalties).max() < 1e-6
    expected = accelerated_proximal_gradient(gram, shifted, penalties, 20_000)

    def value(x):
        return shifted @ x + 0.5 * x @ gram @ x + penalties @ np.abs(x)

    assert value(point) == pytest.approx(value(expected), rel=1e-7)


def test_from_zeros_no_more_columns_than_ranks_are_used():
    gram, gradient = dependent_columns(100, 7, 5)
    point, _, _ = descend(gram, gradient, np.full(100, 1e-3 * np.abs(gradient).max()), np.zeros(100), 20)
    assert 0 < np.count_nonzero(point) <= 7


def test_a_column_without_curvature_stays_and_no_column_is_no_work():
    gram, gradient = dependent_columns(10, 4, 2)
    gram[3], gram[:, 3], gradient[3] = 0.0, 0.0, 100.0
    point, _, has_room = descend(gram, gradient, np.full(10, 0.1), np.zeros(10), 10)
    assert has_room
    assert point[3] == 0.0
    assert np.count_nonzero(point) > 0
    assert descend(gram[:0, :0].copy(), gradient[:0], np.empty(0), np.empty(0), 0)[2]


@pytest.mark.parametrize("coef", [np.zeros(40), np.ones(40)])
def test_too_little_room_is_said(coef):
    gram, gradient = dependent_columns(40, 40, 3)
    assert not descend(gram, gradient, np.full(40, 0.01), coef, 5)[2]


def test_factor_follows_columns_that_come_and_go():
    gram, vector = dependent_columns(30, 30, 7)
    index = np.arange(30)[::-1].copy()
    factor = np.full((30, 30), np.nan)
    for n in range(12):
        assert append_row(factor, gram, index, n, index[n], 1e-8) > 1e-8
    for n, at in ((12, 0), (11, 10), (10, 4)):
        drop_row(factor, n, at)
        index = np.delete(index, at)
    append_row(factor, gram, index, 9, index[9], 1e-8)
    used = index[:10]
    lower = np.tril(factor[:10, :10])
    np.testing.assert_allclose(lower @ lower.T, gram[np.ix_(used, used)], rtol=1e-10, atol=1e-10 * gram.max())
    solved = vector[:10].copy()
    solve_rows(factor, 10, solved)
    np.testing.assert_allclose(solved, np.linalg.solve(gram[np.ix_(used, used)], vector[:10]), rtol=1e-8)


def test_pivot_of_a_column_that_depends_on_others_is_raised():
    gram, _ = dependent_columns(5, 3, 1)
    index, factor = np.arange(5), np.empty((5, 5))
    shares = [append_row(factor, gram, index, n, n, 1e-6) for n in range(5)]
    assert shares[0] == 1.0
    assert min(shares[:3]) > 1e-6
    assert abs(shares[3]) < 1e-10
    assert factor[3, 3] == pytest.approx(np.sqrt(1e-6 * gram[3, 3]))
