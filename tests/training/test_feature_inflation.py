"""Errors from the features that are too small are found by the stars held out, beside Gaia's and the scatter."""

import numpy as np
import pytest

from spfast.training.error_budget import fit_misfit

#: Stars whose errors from the features span a factor of ten: they tell it from a scatter that is the same for all.
N_STARS = 20_000


def found(feature_inflation, gaia_inflation=1.0, scatter=0.03, seed=0):
    rng = np.random.default_rng(seed)
    gaia_error, true = rng.uniform(0.005, 0.02, N_STARS), rng.uniform(0.3, 2.0, N_STARS)
    ln_error = 10.0 ** rng.uniform(-2.0, -1.0, N_STARS)
    ln_predicted = np.log(true) + np.hypot(feature_inflation * ln_error, scatter) * rng.normal(size=N_STARS)
    parallax = true + gaia_inflation * gaia_error * rng.normal(size=N_STARS)
    none = np.zeros(N_STARS)
    terms = {"gaia": none, "features": none, "intrinsic": none}
    unlikeness, basis = np.ones((N_STARS, 2)), np.zeros((N_STARS, 4))
    return fit_misfit(parallax, gaia_error, ln_predicted, ln_error, terms, unlikeness, basis)


@pytest.mark.parametrize(("feature_inflation", "gaia_inflation"), [(1.0, 1.0), (1.3, 1.0), (1.3, 1.2), (1.8, 1.0)])
def test_what_was_put_in_comes_back(feature_inflation, gaia_inflation):
    misfit = found(feature_inflation, gaia_inflation)
    assert misfit.feature_inflation == pytest.approx(feature_inflation, rel=0.05)
    assert misfit.gaia_inflation == pytest.approx(gaia_inflation, abs=0.25)
    assert misfit.variance.sum() ** 0.5 == pytest.approx(0.03, abs=0.01)


def test_an_inflation_that_stars_without_feature_errors_do_not_tell_stays_where_it_began():
    rng = np.random.default_rng(1)
    gaia_error, true = np.full(2000, 0.02), rng.uniform(0.3, 2.0, 2000)
    none = np.zeros(2000)
    terms = {"gaia": none, "features": none, "intrinsic": none}
    parallax = true + gaia_error * rng.normal(size=2000)
    misfit = fit_misfit(parallax, gaia_error, np.log(true), none, terms, np.ones((2000, 2)), np.zeros((2000, 4)))
    assert misfit.feature_inflation == 1.0
