"""Predictions and propagation of feature errors on a handful of numbers, pieces and neighbouring pixels included."""

import numpy as np
import pytest

from spfast.errors import BadInputError
from spfast.model import predict


@pytest.mark.parametrize("n_rows", [1, 255, 256, 257, 600])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_variance(n_rows, dtype):
    rng = np.random.default_rng(0)
    errors = rng.uniform(0.01, 1, (n_rows + 3, 6)).astype(dtype)
    rows, columns = rng.permutation(n_rows + 3)[:n_rows], np.array([0, 2, 5])
    weights = np.array([4.0, 0.25, 1.0])
    pairs, pair_weights = np.array([[0, 1], [1, 2]]), np.array([0.5, -0.125])
    e = errors[rows][:, columns].astype(float)
    plain = e**2 @ weights
    expected = plain + 0.5 * e[:, 0] * e[:, 1] - 0.125 * e[:, 1] * e[:, 2]
    for threads in (1, 2):
        out = predict.noise_variance(errors, columns, weights, pairs, pair_weights, rows, threads)
        np.testing.assert_allclose(out, expected, rtol=1e-13)
    out = predict.noise_variance(errors, columns, weights, pairs[:0], pair_weights[:0], rows)
    np.testing.assert_allclose(out, plain, rtol=1e-13)


# From a model's coefficients to these weights


def test_rows_are_a_mask_or_indices():
    assert predict.resolve_rows(None, 3).tolist() == [0, 1, 2]
    assert predict.resolve_rows(np.array([True, False, True]), 3).tolist() == [0, 2]
    assert predict.resolve_rows([2, 0, 2], 3).tolist() == [2, 0, 2]
    assert predict.resolve_rows(np.int32([0]), 1).dtype == np.int64
    assert predict.resolve_rows([], 3).tolist() == []
    refused = {
        "the mask has shape": ([True, False],),
        "expected a boolean mask": ([0.0, 1.0], [[0, 1]], [[]], 1),
        "indices go from -1 to 2": ([2, -1],),
        "indices go from 0 to 3, expected 0 to 2": ([0, 3],),
        "indices go from 1 to 3": ([1, 3],),
    }
    for message, cases in refused.items():
        for rows in cases:
            with pytest.raises(BadInputError, match=message):
                predict.resolve_rows(rows, 3)


def test_design_is_one_kind_of_array_and_stays_as_it_is():
    design = np.ones((2, 3), dtype=np.float32)
    view = predict.check_design(design)
    assert np.shares_memory(view, design)
    assert design.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        view[0, 0] = 2.0
    assert predict.check_design(np.ones((2, 3))).dtype == np.float64
    for bad in (np.ones(3), np.ones((2, 2, 2)), np.ones((2, 3), int), design.astype(">f4")):
        with pytest.raises(BadInputError, match="expected a 2-D array of float32 or float64"):
            predict.check_design(bad)
    with pytest.raises(BadInputError, match="feature errors: rows are not contiguous"):
        predict.check_design(np.ones((3, 2)).T, "feature errors")


@pytest.mark.parametrize("threads", [1, 2])
def test_linear_predictor(threads):
    rng = np.random.default_rng(1)
    design, coef = rng.normal(size=(70, 4)), np.array([1.0, -0.5, 0.0, 2.0])
    rows = rng.permutation(70)[:40]
    found = predict.linear_predictor(design, coef, rows, threads)
    np.testing.assert_allclose(found, design[rows] @ coef, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(predict.linear_predictor(design, coef), design @ coef, rtol=1e-12, atol=1e-12)
    # Several in one pass, each the same bits as alone.
    both = predict.linear_predictors(design, np.array([coef[::-1], coef]), rows, threads)
    np.testing.assert_array_equal(both, [predict.linear_predictor(design, coef[::-1], rows), found])
    with pytest.raises(BadInputError, match="4 columns, the model has 5"):
        predict.linear_predictor(design, np.ones(5))
    with pytest.raises(BadInputError, match="4 columns, the model has 3"):
        predict.linear_predictor(design, np.ones(3))


@pytest.mark.parametrize("threads", [1, 2])
def test_ln_error_with_and_without_neighbours(threads):
    errors = np.random.default_rng(2).uniform(0.01, 1, (600, 5))
    coef, rows = np.array([2.0, 0.0, -1.0, 0.5, 3.0]), np.arange(599, -1, -2)
    e = (errors * coef)[rows]
    plain = np.sum(e**2, axis=1)
    np.testing.assert_allclose(predict.ln_error(errors, coef, rows, threads), np.sqrt(plain), rtol=1e-12)
    neighbours = predict.Neighbours([-1, 7, 8, 9, 11], (0.4, 0.2))
    found = predict.ln_error(errors, coef, rows, threads, neighbours)
    expected = plain + 2 * 0.4 * e[:, 2] * e[:, 3] + 2 * 0.2 * e[:, 3] * e[:, 4]
    np.testing.assert_allclose(found, np.sqrt(expected), rtol=1e-12)
    for n in (4, 6):
        with pytest.raises(BadInputError, match=f"feature errors: 5 columns, the model has {n}"):
            predict.ln_error(errors, np.ones(n))


def test_variance_of_every_row_and_never_below_zero():
    errors = np.random.default_rng(3).uniform(0.5, 1, (700, 2))
    columns, weights, pairs = np.array([0, 1]), np.ones(2), np.array([[0, 1]])
    for rho in (1.0, -4.0):
        found = predict.noise_variance(errors, columns, weights, pairs, np.array([rho]))
        expected = np.sum(errors**2, axis=1) + rho * errors[:, 0] * errors[:, 1]
        np.testing.assert_allclose(found, np.maximum(expected, 0.0), rtol=1e-12)
    assert found.tolist() == [0.0] * 700
    assert predict.noise_variance(errors, columns, weights, pairs, np.ones(1), []).size == 0


def test_pairs_of_neighbours():
    # Columns in any order of the grid; those without a place (any negative number) have no neighbours.
    neighbours = predict.Neighbours([-3, -2, -1, 0, 1, 3, 2, 8000], (0.5, 0.25, 0.0625))
    pairs, rho = neighbours.pairs(np.arange(8))
    assert pairs.dtype == np.int64
    assert pairs.flags.c_contiguous
    found = {tuple(pair): value for pair, value in zip(pairs.tolist(), rho.tolist(), strict=True)}
    assert found == {(3, 4): 0.5, (4, 6): 0.5, (6, 5): 0.5, (3, 6): 0.25, (4, 5): 0.25, (3, 5): 0.0625}
    pairs, rho = neighbours.pairs(np.array([0, 3, 6]))
    assert (pairs.tolist(), rho.tolist()) == ([[1, 2]], [0.25])
    for columns in ([], [0], [3], [0, 1, 7]):
        pairs, rho = neighbours.pairs(np.array(columns, dtype=int))
        assert (pairs.shape, rho.size) == ((0, 2), 0)
    assert predict.Neighbours([5, 6], ()).pairs(np.arange(2))[0].shape == (0, 2)
    assert [part.size for part in predict.NO_NEIGHBOURS] == [0, 0]


def test_correlation_that_noise_can_have():
    for possible in ((), (0.5,), (-0.5,), (0.0, 0.5), (0.0, -0.5), (0.5, 0.0), (0.4, 0.4)):
        predict.check_correlation(possible)
    for impossible in ((0.51,), (-0.51,), (0.0, 0.51), (0.0, -0.51), (0.5, 0.5), (0.6, 0.05), (np.nan,)):
        with pytest.raises(BadInputError, match="its power would be negative"):
            predict.check_correlation(impossible)
    with pytest.raises(BadInputError, match=r"pixel_correlation is \[0\.9\]"):
        predict.Neighbours([1, 2], (0.9,))
