"""The zero point fitted jointly with the coefficients."""

import numpy as np
import pytest
from problems import small_problem
from tiny import ZERO_POINT, tiny_survey

import spfast
import spfast.products.catalog
import spfast.products.fitting
from spfast.errors import BadInputError


def shifted_problem(seed, n_stars=1200):
    """A problem whose parallaxes are too small by 0.05 + 0.02 (G - mean G), as Gaia would publish them."""
    problem = small_problem(n_stars, 30, seed=seed)
    covariates = np.column_stack([np.ones(n_stars), problem.design[:, 1] - problem.design[:, 1].mean()])
    problem.parallax = problem.parallax - covariates @ [0.05, 0.02]
    return problem, covariates


def test_truth_comes_back_with_an_honest_covariance():
    pulls = []
    for seed in range(20):
        problem, covariates = shifted_problem(seed)
        result = spfast.fit_zero_point(*problem.arguments, 3.0, covariates, problem.penalized)
        assert result.converged
        pulls.append((result.offsets - [0.05, 0.02]) / np.sqrt(np.diag(result.covariance)))
    pulls = np.array(pulls)
    assert ((np.abs(pulls) < 2).sum(axis=0) >= 17).all()
    assert (np.abs(pulls.mean(axis=0)) < 0.7).all()
    assert (pulls.std(axis=0) < 1.5).all()


def test_joint_optimum_is_the_best_over_a_grid_of_offsets():
    problem, _ = shifted_problem(3, 600)
    result = spfast.fit_zero_point(*problem.arguments, 3.0, penalized=problem.penalized)

    def profile(offset):
        fixed = spfast.fit(*problem.arguments, 3.0, problem.penalized, zero_point=offset, tolerance=1e-5)
        return fixed.result.objective

    best, sigma = result.offsets[0], result.covariance[0, 0] ** 0.5
    lowest = profile(best)
    for distance in (-2.0, -1.0, 1.0, 2.0):
        # On a parabola the profile rises by half the square of the distance in sigmas.
        assert profile(best + distance * sigma) - lowest == pytest.approx(0.5 * distance**2, rel=0.25)
    assert result.model.zero_point == pytest.approx(best)


def test_starting_value_does_not_matter():
    problem, covariates = shifted_problem(4, 600)
    near, far = (
        spfast.fit_zero_point(*problem.arguments, 3.0, covariates, problem.penalized, first=first)
        for first in (0.05, -0.1)
    )
    np.testing.assert_allclose(near.offsets, far.offsets, atol=5e-3 * np.sqrt(near.covariance[0, 0]))


def test_bad_covariates_are_refused():
    problem = small_problem(100, 10)
    with pytest.raises(BadInputError, match="covariates: shape"):
        spfast.fit_zero_point(*problem.arguments, 3.0, np.ones(100), problem.penalized)
    with pytest.raises(BadInputError, match="not finite"):
        spfast.fit_zero_point(*problem.arguments, 3.0, np.full((100, 1), np.nan), problem.penalized)


def test_catalog_fits_its_zero_points(tmp_path):
    survey, _ = tiny_survey(tmp_path / "survey", 1500)
    models = {}
    for fold in "AB":
        models[fold] = spfast.products.catalog.fit_stars(survey, fold=fold, config=fitted_config())
        sigma = models[fold].metadata["zero_point_fit"]["covariance"][0][0] ** 0.5
        assert abs(models[fold].zero_point + ZERO_POINT) < 3 * sigma
        assert abs(models[fold].coef[1:9].sum() + 0.2 * np.log(10)) < 1e-9
    catalog = spfast.make_catalog(survey, zero_point="fit", models=models)
    for fold, other in (("A", "B"), ("B", "A")):
        rows = np.asarray(catalog["sample"]) == fold
        added = np.asarray(catalog["Gaia_parallax"])[rows] - np.asarray(survey.stars["parallax"])[rows]
        np.testing.assert_allclose(added, models[other].zero_point, atol=1e-9)
        assert catalog.meta[f"ZEROPT_{fold}"] == models[fold].zero_point
        assert "fitted with the coefficients" in catalog.meta[f"TUNED_{fold}"]


def fitted_config():
    return spfast.products.fitting.resolve_config(zero_point="fit")
