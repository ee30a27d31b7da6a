"""Propagated feature errors against the reference."""

import numpy as np
import pytest
import reference

from spfast.kernels import uncertainty
from spfast.model.predict import Neighbours


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_noise_variance_with_and_without_correlation_matches_the_reference(dtype):
    rng = np.random.default_rng(10)
    errors = rng.uniform(0, 0.05, size=(300, 40)).astype(dtype)
    coef = np.where(rng.random(40) < 0.6, rng.normal(size=40), 0.0)
    grid = np.concatenate([[-1, -1, -1], 500 + np.arange(20), 700 + np.arange(17)])
    columns, rows, out = np.flatnonzero(coef), rng.permutation(300), np.empty(300)
    for correlation in ((), (0.4,), (0.5, 0.2)):
        pairs, rho = Neighbours(grid, correlation).pairs(columns)
        used = coef[columns]
        products = 2.0 * rho * used[pairs[:, 0]] * used[pairs[:, 1]]
        some = errors[rows[:, None], columns]
        uncertainty.noise_variance_rows(some, used**2, pairs, products, out)
        expected = reference.correlated_ln_error(errors[rows], coef, grid, correlation)
        np.testing.assert_allclose(np.sqrt(out), expected, rtol=1e-12)
    uncertainty.noise_variance_rows(some, used**2, pairs[:0], rho[:0], out)
    np.testing.assert_allclose(np.sqrt(out), reference.ln_error(errors[rows], coef))
