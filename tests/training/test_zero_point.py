"""The zero point fitted with the coefficients."""

import json
from functools import partial

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Column
from problems import small_problem
from tiny import RAW, ZERO_POINT, tiny_survey

import spfast
import spfast.catalog.make
from spfast.cli import main
from spfast.config import resolve_config
from spfast.data.tables.read import read_table
from spfast.data.zero_point import zero_point_covariates
from spfast.errors import BadInputError, SpfastWarning
from spfast.model.fitted_model import load_model
from spfast.model.layout import FeatureLayout
from spfast.simulate.stars import draw_chunk
from spfast.training.fold import fit_stars

SLOPE = 0.02


def shifted_problem(seed, n_stars=1200):
    """A problem whose parallaxes are too small by 0.05 + 0.02 (G - mean G), as Gaia would publish them."""
    problem = small_problem(n_stars, 30, seed=seed)
    covariate = problem.design[:, [1]].astype(np.float64) - problem.design[:, 1].mean()
    problem.parallax = problem.parallax - 0.05 - SLOPE * covariate[:, 0]
    return problem, covariate


def test_truth_comes_back_with_an_honest_covariance():
    pulls = []
    for seed in range(20):
        problem, covariate = shifted_problem(seed)
        result = spfast.fit_zero_point(*problem.arguments, 3.0, covariates=covariate, penalized=problem.penalized)
        assert result.converged
        pulls.append((result.offsets - [0.05, SLOPE]) / np.sqrt(np.diag(result.covariance)))
    pulls = np.array(pulls)
    assert ((np.abs(pulls) < 2).sum(axis=0) >= 18).all()
    assert (np.abs(pulls.mean(axis=0)) < 0.6).all()
    assert (np.abs(pulls.std(axis=0) - 1.0) < 0.5).all()


def test_starting_value_does_not_matter():
    problem, covariate = shifted_problem(4, 600)
    near, far = (
        spfast.fit_zero_point(*problem.arguments, 3.0, covariates=covariate, penalized=problem.penalized, first=first)
        for first in (0.05, -0.1)
    )
    np.testing.assert_allclose(near.offsets, far.offsets, atol=0.1 * np.sqrt(near.covariance[0, 0]))


def test_a_star_of_tiny_error_and_wrong_parallax_does_not_rule():
    problem, _ = shifted_problem(5)
    before = spfast.fit_zero_point(*problem.arguments, 3.0, penalized=problem.penalized)
    near = int(np.argmax(problem.parallax))
    problem.error[near] = 1e-4
    problem.parallax[near] *= 1.2
    after = spfast.fit_zero_point(*problem.arguments, 3.0, penalized=problem.penalized)
    assert abs(after.offsets[0] - before.offsets[0]) < 2.0 * before.covariance[0, 0] ** 0.5


def test_scatter_in_brightness_is_taken_back():
    # At its magnitude a star brighter than its spectrum tells is farther away; the offset pays for it.
    rng, n_stars, raw, pulls = np.random.default_rng(6), 2500, [], []
    layout = FeatureLayout(tuple(range(300, 340)))
    for _ in range(3):
        pixels = 0.1 * rng.normal(size=(n_stars, 40))
        luminosity = pixels[:, :6].sum(axis=1)
        modulus = rng.normal(11.5, 0.9, n_stars)
        magnitudes = (modulus - 5.0 * (luminosity + 0.12 * rng.normal(size=n_stars)) / np.log(10.0))[:, None]
        magnitudes = magnitudes + 0.2 * rng.normal(size=(n_stars, 1)) * np.linspace(1.0, 0.0, 8)
        features = np.column_stack([np.ones(n_stars), magnitudes, pixels]).astype(np.float32)
        g = magnitudes[:, :1] - magnitudes[:, :1].mean()
        error = rng.uniform(0.02, 0.06, n_stars)
        parallax = 10 ** (2.0 - 0.2 * modulus) - 0.05 - 0.01 * g[:, 0] + error * rng.normal(size=n_stars)
        found = spfast.fit_zero_point(features, parallax, error, 30.0, covariates=g, layout=layout)
        assert found.converged
        off, sigma = found.offsets - [0.05, 0.01], np.sqrt(np.diag(found.covariance))
        raw.append((off - found.correction) / sigma)
        pulls.append(off / sigma)
    assert (np.abs(pulls) < 2.0).all()
    assert (np.abs(np.mean(raw, axis=0)) > np.abs(np.mean(pulls, axis=0)) + 0.3).all()


def test_bad_covariates_are_refused():
    problem = small_problem(100, 10)
    with pytest.raises(BadInputError, match="covariates: shape"):
        spfast.fit_zero_point(*problem.arguments, 3.0, covariates=np.ones(100), penalized=problem.penalized)
    with pytest.raises(BadInputError, match="not finite"):
        spfast.fit_zero_point(
            *problem.arguments, 3.0, covariates=np.full((100, 1), np.nan), penalized=problem.penalized
        )
    with pytest.raises(BadInputError, match="the constant is there"):
        spfast.fit_zero_point(*problem.arguments, 3.0, covariates=np.ones((100, 1)), penalized=problem.penalized)


def test_columns_that_tell_no_distance_are_refused():
    problem = small_problem(200, 10)
    with pytest.raises(BadInputError, match="near stars from far ones"):
        spfast.fit_zero_point(*problem.arguments, 3.0, penalized=np.arange(19) > 0)


def test_a_layout_says_which_columns_are_free():
    problem = small_problem(300, 10)
    layout = FeatureLayout(tuple(range(10)))
    by_mask = spfast.fit_zero_point(*problem.arguments, 3.0, penalized=problem.penalized)
    by_layout = spfast.fit_zero_point(*problem.arguments, 3.0, layout=layout)
    assert abs(by_layout.offsets[0] - by_mask.offsets[0]) < 2 * np.sqrt(by_mask.covariance[0, 0])
    with pytest.raises(BadInputError, match="near stars from far ones"):  # without either no column is
        spfast.fit_zero_point(*problem.arguments, 3.0)


def test_covariates_of_a_survey(tmp_path):
    survey, _ = tiny_survey(tmp_path / "survey", 200, edit=magnitudes_of)
    values, pivots, missing = zero_point_covariates(survey.stars, ["G", "BP-RP", "ecl_lat"])
    g = np.asarray(survey.stars["phot_g_mean_mag"])
    assert pivots[0] == pytest.approx(np.median(g), abs=0.01)
    np.testing.assert_allclose(values[:, 0], g - pivots[0], atol=1e-5)
    # The north pole of the ecliptic is 23.44 degrees from the celestial one.
    latitude = values[:, 2] + pivots[2]
    assert np.abs(latitude - np.asarray(survey.stars["dec"])).max() <= 23.45
    assert not missing.any()
    with pytest.raises(BadInputError, match="expected one of G, BP-RP, ecl_lat"):
        zero_point_covariates(survey.stars, ["J"])


def magnitudes_of(stars):
    rng = np.random.default_rng(8)
    stars["phot_g_mean_mag"] = rng.uniform(8.0, 14.0, len(stars))
    stars["phot_bp_mean_mag"] = stars["phot_g_mean_mag"] + 0.7
    stars["phot_rp_mean_mag"] = stars["phot_g_mean_mag"] - rng.uniform(0.6, 1.2, len(stars))


def sloping(stars):
    """Parallaxes too small by SLOPE per magnitude more, besides; one training star has no G."""
    magnitudes_of(stars)
    stars["parallax"] -= SLOPE * (stars["phot_g_mean_mag"] - 11.0)
    stars["phot_g_mean_mag"][4] = np.nan


def spoiled(stars):
    """Every thirtieth parallax is far too large."""
    wrong = np.arange(len(stars)) % 30 == 1
    stars["parallax"] += np.where(wrong, 40.0, 0.0) * stars["parallax_error"]


def test_robust_keeps_wrong_parallaxes_out_of_the_zero_point(tmp_path):
    config = resolve_config(RAW, zero_point="fit")
    found = []
    for edit, robust in ((None, False), (spoiled, True), (spoiled, False)):
        survey, _ = tiny_survey(tmp_path / f"survey{len(found)}", 900, edit=edit)
        fitted = fit_stars(survey, config.replace(fit={"robust": robust})).fitted_zero_point
        found.append((fitted.offsets[0], fitted.covariance[0][0] ** 0.5))
    (clean, sigma), (robust, robust_sigma), (plain, _) = found
    assert abs(robust - clean) < sigma
    assert robust_sigma < 1.5 * sigma
    assert abs(plain - clean) > 3.0 * sigma


def test_catalog_fits_its_zero_points(tmp_path):
    survey, _ = tiny_survey(tmp_path / "survey", 1500)
    config = resolve_config(RAW, zero_point="fit")
    models = spfast.catalog.make.fit_folds(survey, config)
    for model in models.values():
        sigma = model.fitted_zero_point.covariance[0][0] ** 0.5
        assert abs(model.zero_point + ZERO_POINT) < 3 * sigma
        assert abs(model.coef[1:9].sum() + 0.2 * np.log(10)) < 1e-9
    catalog = spfast.make_catalog(survey, config=config, models=models)
    for fold, other in (("A", "B"), ("B", "A")):
        rows = np.asarray(catalog["sample"]) == fold
        added = np.asarray(catalog["Gaia_parallax"])[rows] - np.asarray(survey.stars["parallax"])[rows]
        np.testing.assert_allclose(added, models[other].zero_point, atol=1e-9)
        assert catalog.meta[f"ZEROPT_{fold}"] == models[fold].zero_point
        assert "fitted with the coefficients" in catalog.meta[f"TUNED_{fold}"]


def test_covariates_from_the_command_to_every_star_of_the_catalog(tmp_path, capsys):
    survey, truth = tiny_survey(tmp_path / "survey", 1500, edit=sloping)
    path, folder = tmp_path / "catalog.fits", tmp_path / "models"
    options = ["--zero-point", "fit", "--zero-point-covariates", "G", "G", "--pixels", "raw", "--quiet"]
    assert main(["catalog", str(survey.path), "-o", str(path), "--models", str(folder), *options]) == 0
    assert "lack G: taken to lie at the pivot" in capsys.readouterr().err
    catalog, models = read_table(path), {fold: load_model(folder / f"model_{fold}.npz") for fold in "AB"}
    g = np.asarray(survey.stars["phot_g_mean_mag"], dtype=np.float64)
    for fold, other in (("A", "B"), ("B", "A")):
        fitted = json.loads(catalog.meta[f"ZPFIT_{other}"])
        assert (fitted["covariates"], fitted["units"]) == (["G"], ["mag"])
        kept = models[other].fitted_zero_point
        assert all(fitted[key] == getattr(kept, key) for key in fitted)
        sigma = np.sqrt(np.diag(fitted["covariance"]))
        expected = [-ZERO_POINT + SLOPE * (fitted["pivots"][0] - 11.0), SLOPE]
        assert (np.abs(fitted["offsets"] - np.array(expected)) < 3.0 * sigma).all()
        rows = np.asarray(catalog["sample"]) == fold
        line = fitted["offsets"][0] + fitted["offsets"][1] * (g - fitted["pivots"][0])
        added = np.where(np.isfinite(g), line, fitted["offsets"][0])
        np.testing.assert_allclose(np.asarray(catalog["Gaia_zero_point"])[rows], added[rows], atol=1e-9)
    scores = spfast.validate(catalog, truth)
    assert len(scores)
    assert main(["info", str(folder / "model_A.npz")]) == 0
    assert "mas/mag" in capsys.readouterr().out


def test_covariates_without_a_fitted_zero_point_are_refused(tmp_path, capsys):
    survey, _ = tiny_survey(tmp_path / "survey", 100)
    assert main(["fit", str(survey.path), "-o", str(tmp_path / "m.npz"), "--zero-point-covariates", "G"]) == 2
    assert "only with --zero-point fit" in capsys.readouterr().err


def test_mock_with_a_slope_in_g():
    plain, sloping_chunk = draw_chunk(3, 0), draw_chunk(3, 0, zero_point=(0.03, 0.005))
    expected = 0.0483 - (0.03 + 0.005 * (plain["G"] - 14.0))
    np.testing.assert_allclose(sloping_chunk["parallax"] - plain["parallax"], expected, atol=1e-12)
    for name in plain.keys() - {"parallax"}:
        np.testing.assert_array_equal(plain[name], sloping_chunk[name])


def test_units_and_masks_are_honoured_beside_a_zero_point():
    problem, covariate = shifted_problem(7, 400)
    fit = partial(spfast.fit_zero_point, penalty=3.0, covariates=covariate, penalized=problem.penalized)
    plain = fit(*problem.arguments, first=0.05)
    inputs = (problem.parallax * u.mas).to(u.arcsec), Column(1e3 * problem.error, unit="uas")
    found = fit(problem.design, *inputs, first=50 * u.uas)
    np.testing.assert_allclose(found.offsets, plain.offsets, atol=1e-6)
    masked = np.ma.array(problem.parallax, mask=np.arange(400) == 3)
    with pytest.raises(BadInputError, match=r"parallax: 1 of the .* have none"):
        fit(problem.design, masked, problem.error)
    with pytest.raises(BadInputError, match="covariates: not finite"):
        fit(*problem.arguments, covariates=np.ma.array(covariate, mask=np.arange(400)[:, None] == 3))


@pytest.mark.parametrize("n_folds", [0, 1, 2.5, True, "5", 401])
def test_folds_that_there_cannot_be_are_refused(n_folds):
    problem = small_problem(400, 10)
    with pytest.raises(BadInputError, match="n_folds is"):
        spfast.fit_zero_point(*problem.arguments, 3.0, penalized=problem.penalized, n_folds=n_folds)


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_parallaxes_that_are_all_alike_tell_no_zero_point(noise):
    problem = small_problem(400, 10)
    parallax = 0.5 + noise * problem.error * np.random.default_rng(0).normal(size=400)
    with pytest.raises(BadInputError, match="differ by no more than their errors"):
        spfast.fit_zero_point(problem.design, parallax, problem.error, 3.0, penalized=problem.penalized)


@pytest.mark.parametrize("rule", ["auto", "fit"])
def test_a_survey_of_parallaxes_that_are_all_alike_is_refused(tmp_path, rule):
    def alike(stars):
        stars["parallax"] = 0.5

    survey = tiny_survey(tmp_path / "survey", edit=alike)[0]
    with pytest.raises(BadInputError, match="differ by no more than their errors"):
        fit_stars(survey, resolve_config(penalty=5.0, zero_point=rule), threads=1)


def test_training_stars_with_errors_that_gaia_cannot_have_are_left_out_with_a_count(tmp_path):
    def tiny(stars):
        stars["parallax_error"][np.flatnonzero(stars["training_set"])[:2]] = 1e-12

    survey, plain = (tiny_survey(tmp_path / name, edit=edit)[0] for name, edit in (("a", tiny), ("b", None)))
    with pytest.warns(SpfastWarning, match="2 training stars have a parallax_error below 0.001 mas"):
        model = fit_stars(survey, resolve_config(penalty=5.0), threads=1)
    assert model.n_stars == fit_stars(plain, resolve_config(penalty=5.0), threads=1).n_stars - 2


def test_parallaxes_that_are_noise_are_refused_in_a_line(tmp_path):
    def only_noise(stars):
        rng = np.random.default_rng(3)
        stars["parallax"], stars["parallax_error"] = rng.normal(0.4, 1.0, 40), rng.uniform(0.02, 0.12, 40)

    survey, _ = tiny_survey(tmp_path / "survey", n_stars=40, edit=only_noise)
    with pytest.raises(BadInputError, match="no zero point can be fitted: its moments have no solution"):
        fit_stars(survey, RAW.replace(fit={"zero_point_rule": "fit"}), threads=1)
