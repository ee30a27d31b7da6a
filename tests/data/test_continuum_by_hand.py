"""The continuum kernel in small pieces, at its limits: what whole spectra cannot tell apart."""

import numpy as np
import pytest

from spfast.kernels import cholesky
from spfast.kernels import continuum as kernel

ERROR = np.float32(0.25)


def chebyshev(n_pixels, degree):
    x = np.linspace(-1, 1, n_pixels)
    return np.polynomial.chebyshev.chebvander(x, 2 * degree).T.astype(np.float32)


def row(flux, error=ERROR, continuum=None, normalized=True, min_continuum=3, error_max=0.5, bad_error=0.5):
    """`spectrum_row` of two chips of the same pixels, the first one all ones: status, chip, n_bad, ln flux, error."""
    flux = np.asarray(flux, np.float32)
    n = flux.size
    flux, error = np.concatenate([np.ones(n, np.float32), flux]), np.full(2 * n, error, np.float32)
    error[n:][flux[n:] == -9.0] = 0.0  # a bad pixel
    variance = np.full(2 * n, 100.0, np.float32)
    variance[:n] = 0.0
    variance[n:][np.arange(n) if continuum is None else continuum] = 0.0
    usable, out = np.zeros(2 * n, np.uint8), np.empty((2, 2 * n), np.float32)
    found = kernel.spectrum_row(
        *(flux, error, np.zeros(0, np.int32), 0, normalized, np.array([0, n]), np.array([n, 2 * n])),
        *(np.tile(chebyshev(n, 0), 2), variance, 1, min_continuum, bad_error, error_max, 0, 0.01, 1.2, bad_error),
        *(usable, *out),
    )
    return *found, out[0, n:], out[1, n:]


def test_logarithm():
    middle = np.linspace(0.70711, 1.41421, 2001).astype(np.float32)
    values = middle.copy()
    kernel._ln(values)
    # The series is longest at the ends, where its term of the seventh power is 1e-6.
    np.testing.assert_allclose(values, np.log(middle.astype(float)), atol=6e-8)
    wide = np.geomspace(1e-3, 1e3, 500).astype(np.float32)
    values = wide.copy()
    kernel._ln(values)
    np.testing.assert_allclose(values, np.log(wide.astype(float)), atol=5e-7)


@pytest.mark.parametrize(
    "matrix",
    [
        [[0.0, 0.0], [0.0, 0.0]],
        [[1.0, 1.0], [1.0, 1.0]],
        [[1e6, 1e6], [1e6, 1e6 * (1 + 1e-12)]],
        [[np.nan, 0.0], [0.0, 1.0]],
    ],
)
def test_singular_systems(matrix):
    assert not cholesky.factor_block(np.array(matrix), 0, 2, kernel._MIN_PIVOT)


def test_systems():
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(4, 4))
    matrix, right = factor @ factor.T + np.eye(4), rng.normal(size=4)
    expected = np.linalg.solve(matrix, right)
    assert cholesky.factor_block(matrix, 0, 4, kernel._MIN_PIVOT)
    cholesky.solve_factored(matrix, 4, right)
    np.testing.assert_allclose(right, expected, rtol=1e-12)
    almost = np.array([[1.0, 1.0], [1.0, 1.0 + 1e-8]])
    assert cholesky.factor_block(almost, 0, 2, kernel._MIN_PIVOT)


def test_bad_pixels_grow_to_either_side_within_the_chip():
    for n_grow, bad in ((0, [1, 0, 0, 0, 1]), (1, [1, 1, 0, 1, 1])):
        found = np.array([1, 0, 0, 0, 1], np.uint8)
        kernel._grow(found, n_grow)
        assert found.tolist() == bad
    found = np.array([0, 0, 1, 0, 0, 0], np.uint8)
    kernel._grow(found, 2)
    assert found.tolist() == [1, 1, 1, 1, 1, 0]


@pytest.mark.parametrize("weight_power", [1, 2])
def test_fit_with_small_weights(weight_power):
    rng = np.random.default_rng(1)
    n, degree = 12, 2
    flux, error = rng.normal(1.0, 0.1, n).astype(np.float32), rng.uniform(2.0, 4.0, n).astype(np.float32)
    variance = np.where(np.arange(n) % 3, 0.0, 10.0).astype(np.float32)
    basis, coefficients = chebyshev(n, degree), np.empty(degree + 1)
    # The chip begins two pixels into the basis.
    padded = np.concatenate([np.full((5, 2), 7.0, np.float32), basis], axis=1)
    assert kernel._fit_continuum(flux, error, variance, padded, 2, weight_power, coefficients)
    weight = (error.astype(float) ** 2 + variance) ** -weight_power
    design = basis[: degree + 1].T.astype(float)
    expected = np.linalg.solve(design.T @ (weight[:, None] * design), design.T @ (weight * flux))
    np.testing.assert_allclose(coefficients, expected, rtol=1e-5)


@pytest.mark.parametrize("level", [0.0, -0.5, np.nan])
def test_a_continuum_that_is_not_positive_divides_nothing(level):
    flux, error = np.ones(4, np.float32), np.ones(4, np.float32)
    arguments = flux, error, chebyshev(4, 0), 0, np.array([level]), np.empty(4, np.float32)
    assert not kernel._divide(*arguments)
    assert flux.tolist() == error.tolist() == [1, 1, 1, 1]
    arguments[4][0] = 4.0
    assert kernel._divide(*arguments)
    assert flux.tolist() == error.tolist() == [0.25] * 4


def test_a_good_row_says_how_many_pixels_are_bad():
    status, chip, n_bad, ln_flux, ln_error = row([1, 1, -9, 1, 1])
    assert (status, chip, n_bad) == (kernel.OK, 0, 1)
    np.testing.assert_allclose(ln_flux, 0.0, atol=1e-7)
    assert ln_error.tolist() == [ERROR, ERROR, 0.5, ERROR, ERROR]


def test_as_many_continuum_pixels_as_are_needed():
    flux, continuum = [1, -9, 1, 1, 1, 1, 1], [0, 1, 2, 3]  # one is bad, others are no continuum
    assert row(flux, continuum=continuum, min_continuum=3)[:3] == (kernel.OK, 0, 1)
    assert row(flux, continuum=continuum, min_continuum=4)[:3] == (kernel.FEW_CONTINUUM_PIXELS, 1, 0)


@pytest.mark.parametrize("level", [0.0, -0.5])
def test_a_level_that_is_not_positive(level):
    assert row([level] * 5, normalized=False)[:3] == (kernel.NOT_POSITIVE, 1, 0)
    assert row([level] * 5)[:3] == (kernel.NOT_POSITIVE, 1, 0)


def test_errors_that_leave_no_weight():
    found = row([1] * 5, error=1e30, error_max=np.inf)
    assert found[:2] == (kernel.SINGULAR, 0)
    assert found[2] == 0


def test_the_level_is_that_of_good_continuum_pixels():
    # Off the continuum the flux is half; a bad pixel counts as 1 in units of the level.
    flux = np.array([8, 8, -9, 8, 4, 4, 4, 4, 4], dtype=float)
    ln_flux = row(flux, error=0.8, continuum=[0, 1, 2, 3], normalized=False, error_max=2.0)[3]
    weight = np.where(np.arange(9) < 4, 1 / 0.1**2, 1 / (0.1**2 + 100.0))
    weight[2] = 1 / 0.5**2
    scaled = np.where(flux < 0, 1.0, flux / 8)
    fitted = np.sum(weight * scaled) / weight.sum()
    expected = np.log(np.where(flux < 0, 1.0, scaled / fitted))
    np.testing.assert_allclose(ln_flux, expected, atol=1e-6)


def test_an_error_at_the_limit_is_not_too_large():
    below = np.nextafter(ERROR, np.float32(0))
    assert row([1] * 5, error_max=float(ERROR))[:3] == (kernel.OK, 0, 0)
    assert row([1] * 5, error_max=float(below))[:3] == (kernel.OK, 0, 10)
