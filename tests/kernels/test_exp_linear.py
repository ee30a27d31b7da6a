"""The exp-linear model's kernels on a few stars against plain formulas: exact at every edge of a block and of a range.

Nothing above the kernels is imported: `tests/mutation.py` runs this file hundreds of times without the compiler.
The same kernels on whole problems: `tests/model/test_objective.py`.
"""

import math

import numpy as np
import pytest

from spfast.kernels import exp_linear
from spfast.kernels.exp_linear import LN_OVERFLOW

SHAPES = [(1, 1), (7, 3), (8, 3), (9, 3), (40, 5), (300, 4)]


@pytest.mark.parametrize("n_rows", [0, 1, 7, 8, 9, 63, 64, 65, 255, 256, 1000, 14113])
@pytest.mark.parametrize("n_segments", [1, 2, 3, 32])
def test_segments_cover_all_rows_in_blocks_of_eight(n_rows, n_segments):
    bounds = exp_linear.segment_bounds(n_rows, n_segments)
    assert bounds.dtype == np.int64
    assert bounds.shape == (n_segments + 1,)
    blocks = -(-n_rows // 8)
    assert bounds.tolist() == [min(n_rows, 8 * (blocks * s // n_segments)) for s in range(n_segments + 1)]
    assert (bounds[0], bounds[-1]) == (0, n_rows)
    assert (np.diff(bounds) >= 0).all()
    assert (bounds[:-1] % 8 == 0).all() or n_rows < 8


def few_stars(n_rows, n_features, dtype, seed=0):
    rng = np.random.default_rng(seed)
    design = rng.normal(0, 0.5, (n_rows + 5, n_features)).astype(dtype)
    rows = rng.permutation(n_rows + 5)[:n_rows].astype(np.int64)
    coef, parallax = rng.normal(0, 0.5, n_features), rng.normal(0.5, 0.5, n_rows)
    ivar = rng.uniform(1, 50, n_rows)
    ivar[::3] = 0.0  # in every place of a block of eight, sooner or later
    if n_rows == 1:
        ivar[0] = 3.0
    return design, rows, coef, parallax, ivar


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n_rows", "n_features"), SHAPES)
def test_linear_predictors_of_two_coefficient_vectors_segment_by_segment(n_rows, n_features, dtype):
    design, rows, coef, _, _ = few_stars(n_rows, n_features, dtype)
    bounds = exp_linear.segment_bounds(n_rows, 4)
    coefs, eta = np.array([coef, coef[::-1] ** 2]), np.full((2, n_rows), np.nan)
    exp_linear.linear_predictor_segments(0, 2, design, rows, bounds, coefs, eta)
    assert np.isnan(eta[:, bounds[2] :]).all()
    assert np.isfinite(eta[:, : bounds[2]]).all()
    exp_linear.linear_predictor_segments(2, 4, design, rows, bounds, coefs, eta)
    np.testing.assert_allclose(eta, coefs @ design[rows].astype(float).T, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("wide", [(), (0,)])
@pytest.mark.parametrize(("n_rows", "n_features"), SHAPES)
def test_value_and_gradient_of_each_segment_of_two_passes_match_the_formula(n_rows, n_features, dtype, wide):
    design, rows, coef, parallax, ivar = few_stars(n_rows, n_features, dtype)
    # The second pass has half of the stars, and other coefficients; three segments, of one chunk and of two.
    half, wide = np.arange(0, n_rows, 2), np.array(wide, dtype=np.int64)
    passes = [(rows, parallax, ivar, coef), (rows[half], 2.0 * parallax[half], ivar[half], coef[::-1] ** 2)]
    segments = np.array([0, 1, 3, 4])
    edges = np.array([[at + size * k // 4 for k in range(5)] for at, size in ((0, n_rows), (n_rows, half.size))])
    begins, ends = edges[:, :-1].copy(), edges[:, 1:].copy()
    all_rows, all_parallax, all_ivar = (np.concatenate(part) for part in list(zip(*passes, strict=True))[:3])
    eta, values = np.full(all_rows.size, np.nan), np.full((2, 3), np.nan)
    gradients = np.full((2, 3, n_features), 7.0)  # overwritten
    for first, last in ((0, 1), (1, 3)):
        exp_linear.value_gradient_segments(
            *(first, last, design, segments, all_rows, begins, ends, np.array([coef, coef[::-1] ** 2]), wide),
            *(all_parallax, all_ivar, eta, values, gradients),
        )
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    for m, (rows, parallax, ivar, coef) in enumerate(passes):
        x = design[rows].astype(float)
        mu = np.exp(x @ coef)
        np.testing.assert_allclose(eta[edges[m, 0] : edges[m, 4]], x @ coef, rtol=1e-13, atol=1e-14)
        terms = 0.5 * ivar * (parallax - mu) ** 2
        slopes = (ivar * (mu - parallax) * mu)[:, None] * x
        for s in range(3):
            part = slice(*(edges[m, segments[s : s + 2]] - edges[m, 0]))
            np.testing.assert_allclose(values[m, s], terms[part].sum(), rtol=1e-12)
            scale = np.abs(slopes[part]).sum(axis=0) + 1e-300
            off = np.abs(gradients[m, s] - slopes[part].sum(axis=0))
            np.testing.assert_array_less(off, tolerance * scale + 1e-300)
            assert (off[wide] <= 1e-12 * scale[wide]).all()
        np.testing.assert_allclose(exp_linear.half_chi_squared(x @ coef, parallax, ivar), terms.sum(), rtol=1e-12)


def one_segment(design, coef, parallax, ivar, eta):
    """Value and gradient of all rows as one segment of one chunk."""
    values, gradients, n = np.zeros((1, 1)), np.zeros((1, 1, design.shape[1])), len(design)
    begins, ends = np.zeros((1, 1), np.int64), np.full((1, 1), n)
    exp_linear.value_gradient_segments(
        *(0, 1, design, np.array([0, 1]), np.arange(n), begins, ends, coef[None], np.zeros(0, np.int64)),
        *(parallax, ivar, eta, values, gradients),
    )
    return values[0, 0], gradients[0, 0]


def one_star(eta, parallax=1.0, ivar=2.0, dtype=np.float64, coef=1.0):
    """Value and gradient of one star with one feature."""
    design = np.array([[eta / coef]], dtype=dtype)
    value, gradient = one_segment(design, np.array([coef]), np.array([parallax]), np.array([ivar]), np.zeros(1))
    return value, gradient[0]


def test_chi_squared_is_infinite_where_a_prediction_or_its_slope_overflows():
    # The slope ivar (mu - parallax) mu may reach 1e36 and not pass it.
    edge = math.log(1e18)
    value, gradient = one_star(edge - 0.4, parallax=0.0, ivar=1.0)
    assert value == pytest.approx(0.5 * math.exp(2 * (edge - 0.4)))
    assert gradient == pytest.approx(math.exp(2 * (edge - 0.4)) * (edge - 0.4))
    value, gradient = one_star(edge + 0.4, parallax=0.0, ivar=1.0)
    assert value == math.inf
    assert gradient == 0.0
    # A negative slope likewise.
    assert one_star(math.log(1e10), parallax=1e27, ivar=1.0)[0] == math.inf
    # Beyond LN_OVERFLOW whatever the weight; at it, the plain formula.
    assert one_star(LN_OVERFLOW + 1.0, ivar=1e-300)[0] == math.inf
    assert math.isfinite(one_star(LN_OVERFLOW, ivar=1e-300, parallax=0.0)[0])
    assert one_star(LN_OVERFLOW + 1.0, ivar=0.0) == (0.0, 0.0)
    one = np.ones(1)
    assert exp_linear.half_chi_squared((LN_OVERFLOW + 0.001) * one, one, one) == math.inf
    assert math.isfinite(exp_linear.half_chi_squared(LN_OVERFLOW * one, one, one))
    assert exp_linear.half_chi_squared((LN_OVERFLOW + 1.0) * one, one, 0.0 * one) == 0.0


def test_star_that_overflows_leaves_the_gradient_of_the_others():
    design = np.array([[400.0], [0.5], [0.25]])
    eta = np.zeros(3)
    value, gradient = one_segment(design, np.ones(1), np.ones(3), np.ones(3), eta)
    assert value == math.inf
    assert eta.tolist() == [400.0, 0.5, 0.25]
    mu = np.exp(eta[1:])
    assert gradient[0] == pytest.approx(((mu - 1) * mu * eta[1:]).sum())


def test_curvature_weights_exact_and_gauss_newton():
    eta, parallax = np.array([0.0, 1.0, -1.0, LN_OVERFLOW + 5.0, 0.3]), np.array([0.5, 9.0, -1.0, 0.0, 1.0])
    ivar = np.array([2.0, 3.0, 4.0, 1e-300, 0.0])
    mu = np.exp(np.minimum(eta, LN_OVERFLOW))
    weights = np.full(5, 7.0)
    exp_linear.curvature_weights(eta, parallax, ivar, True, weights)
    np.testing.assert_allclose(weights, ivar * mu * (2 * mu - parallax), rtol=1e-14)
    assert weights[1] < 0
    exp_linear.curvature_weights(eta, parallax, ivar, False, weights)
    np.testing.assert_allclose(weights, ivar * mu**2, rtol=1e-14)
