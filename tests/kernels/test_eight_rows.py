"""Blocks of eight rows against plain formulas, at every edge of a vector and of a loop."""

import numpy as np
import pytest

from spfast.kernels.eight_rows import add_and_dot, dot_rows
from spfast.kernels.jit import jit


@jit
def compiled(design, blocks, factor, gradient, coef, dots):
    add_and_dot(design, blocks, factor, gradient, coef, dots)


WIDTHS = [1, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 767, 768, 769, 799, 800, 801, 1600]


def some_rows(n_features, dtype):
    rng = np.random.default_rng(n_features)
    design = rng.normal(size=(40, n_features)).astype(dtype)
    blocks = rng.permutation(40)[:24].reshape(3, 8).astype(np.int64)
    return design, blocks, rng.normal(size=8).astype(dtype), rng.normal(size=n_features)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_features", WIDTHS)
def test_a_block_is_added_and_the_next_one_multiplied(n_features, dtype):
    design, blocks, factor, coef = some_rows(n_features, dtype)
    around = np.full(n_features + 64, 7.0, dtype=dtype)  # nothing outside of the gradient may be written
    gradient, dots = around[32 : 32 + n_features], np.empty(8)
    gradient[:] = coef
    compiled(design, blocks, factor, gradient, coef, dots)
    exact = coef.astype(dtype) + factor.astype(float) @ design[blocks[0]].astype(float)
    np.testing.assert_allclose(gradient, exact, rtol=0, atol=30 * np.finfo(dtype).eps)
    np.testing.assert_allclose(dots, design[blocks[1]].astype(float) @ coef, rtol=1e-12, atol=1e-12)
    assert (around[:32] == 7.0).all()
    assert (around[32 + n_features :] == 7.0).all()


@pytest.mark.parametrize("n_features", [5, 40, 700])
def test_both_ways_to_multiply_a_block_agree(n_features):
    design, blocks, factor, coef = some_rows(n_features, np.float32)
    one, other = np.empty(8), np.empty(8)
    dot_rows(design, blocks[1], coef, one)
    compiled(design, blocks, factor, np.zeros(n_features, np.float32), coef, other)
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-13 * n_features)


def test_numbers_that_are_not_finite_reach_the_sums():
    design, blocks, factor, coef = some_rows(37, np.float32)
    design[blocks[0, 2], 36] = np.inf
    design[blocks[1, 5], 33] = np.nan
    gradient, dots = np.zeros(37, np.float32), np.empty(8)
    compiled(design, blocks, factor, gradient, coef, dots)
    assert np.flatnonzero(~np.isfinite(gradient)).tolist() == [36]
    assert np.flatnonzero(np.isnan(dots)).tolist() == [5]
