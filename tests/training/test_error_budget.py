"""Errors that are true: coefficients against repeated noise, scatter and inflation put in and found, coverage."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from forged_model import parts_of
from problems import small_problem
from scipy.special import expit, logit
from tiny import RAW, tiny_survey

from spfast.catalog.make import make_catalog
from spfast.catalog.predict import predict_survey
from spfast.config import Config, resolve_config
from spfast.errors import BadInputError, SpfastWarning
from spfast.files import BLANK_SEAL, seal
from spfast.model.budget import coefficient_variance, dust_colour
from spfast.model.fitted_model import load_model
from spfast.model.layout import FeatureLayout
from spfast.model.mixture import Mixture
from spfast.model.options import FitOptions
from spfast.selection.splits import Split
from spfast.training.coefficient_errors import CoefficientErrors, SplitErrors
from spfast.training.error_budget import (
    coefficient_terms,
    fit_misfit,
    fit_without_like,
    hold_out_like,
    measure_errors,
)
from spfast.training.fold import FoldTraining, fit_folds, fit_stars
from spfast.training.stars import TrainingStars
from spfast.training.tune import tune

SCATTER, INFLATION = 0.12, 1.3


@pytest.fixture(scope="module")
def training():
    """Stars without feature errors whose parallaxes follow the model, and only some of them are trained on."""
    problem = small_problem(n_stars=500, n_pixels=20)
    layout = FeatureLayout(tuple(range(100, 120)))
    errors = np.full_like(problem.design, 1e-9)
    rows = np.arange(0, 500, 2)
    error = problem.error
    stars = (problem.design, errors, layout, problem.parallax, error, error, rows)
    return TrainingStars(*stars, FitOptions(threads=1)), problem


@pytest.fixture(scope="module")
def scattered(tmp_path_factory):
    """A survey whose true parallaxes scatter about the model, with Gaia errors that are too small; and the truth."""
    rng = np.random.default_rng(8)
    offset, noise = np.exp(rng.normal(0.0, SCATTER, 3000)), rng.normal(size=3000)
    true = {}

    def edit(stars):
        errors = np.asarray(stars["parallax_error"])
        true["parallax"] = model_parallax * offset
        stars["parallax"] = true["parallax"] - 0.0483 + INFLATION * errors * noise

    folder = tmp_path_factory.mktemp("scattered")
    model_parallax = np.asarray(tiny_survey(folder / "first", n_stars=3000)[1]["true_parallax"])
    survey, _ = tiny_survey(folder / "survey", n_stars=3000, edit=edit)
    return survey, true["parallax"]


def held_out(predicted, ln_error=0.0):
    """Held-out stars of models whose coefficients have no error."""
    none = np.zeros(predicted.size)
    return np.log(predicted), none + ln_error, dict.fromkeys(("gaia", "features", "intrinsic"), none)


def test_what_was_put_in_comes_back():
    rng = np.random.default_rng(2)
    n = 30_000
    sigma, true = rng.uniform(0.02, 0.1, n), rng.uniform(0.1, 2.0, n)
    unlike, basis = rng.gamma(1.5, 1 / 1.5, (n, 2)), rng.normal(size=(n, 4))
    offset = np.array([0.02, -0.03, 0.0, 0.01])
    of_ln = 0.05**2 + 0.01 * (0.3 + 0.4 * unlike[:, 0] + 0.3 * unlike[:, 1])
    residual = rng.normal(size=n) * np.sqrt((1.2 * sigma) ** 2 + of_ln * true**2)
    residual[::100] *= 8.0
    found = fit_misfit(true + residual, sigma, *held_out(true * np.exp(basis @ offset), 0.05), unlike, basis)
    assert found.gaia_inflation == pytest.approx(1.2, rel=0.03)
    np.testing.assert_allclose(found.variance, [0.003, 0.004, 0.003], atol=0.0006)
    np.testing.assert_allclose(found.offset, offset, atol=0.004)
    assert 0.003 < found.outlier_share < 0.03


def test_slopes_of_the_mixture_are_those_of_its_likelihood():
    rng = np.random.default_rng(4)
    residual, variance = rng.normal(size=30) * 3.0, rng.uniform(0.5, 2.0, 30)
    mixture, step = Mixture(0.05, 6.0, 0.0), 1e-6

    def slope(change):
        return (change(step) - change(-step)) / (2.0 * step)

    by_residual, by_variance, by_share = mixture.slopes(residual, variance)
    for i in range(30):
        one = np.arange(30) == i
        found = slope(lambda by, one=one: mixture.minus_ln_likelihood(residual + by * one, variance))
        assert by_residual[i] == pytest.approx(found, abs=1e-6)
        found = slope(lambda by, one=one: mixture.minus_ln_likelihood(residual, variance + by * one))
        assert by_variance[i] == pytest.approx(found, abs=1e-6)
    found = slope(
        lambda by: replace(mixture, outlier_share=expit(logit(0.05) + by)).minus_ln_likelihood(residual, variance)
    )
    assert by_share.sum() == pytest.approx(found, abs=1e-6)


def test_no_scatter_is_found_where_there_is_none():
    rng = np.random.default_rng(3)
    sigma, predicted = rng.uniform(0.02, 0.1, 5000), np.full(5000, 0.5)
    parallax = predicted + sigma * rng.normal(size=5000)
    found = fit_misfit(parallax, sigma, *held_out(predicted), np.ones((5000, 2)), np.zeros((5000, 4)))
    assert found.gaia_inflation == pytest.approx(1.0, abs=0.04)
    assert found.variance.sum() < 0.02**2


def test_an_offset_counts_as_an_error(training):
    stars, _ = training
    model = stars.fit(1.0, 0.0)
    splits = [Split(0, str(i), np.delete(stars.rows, np.s_[i::5]), stars.rows[i::5]) for i in range(5)]
    budget = measure_errors(model, stars, splits, subtracted=False)
    colour = dust_colour(stars.layout, stars.features)
    names = stars.layout.names
    np.testing.assert_array_equal(
        colour, stars.features[:, names.index("H")].astype(float) - stars.features[:, names.index("W2")].astype(float)
    )
    steep = budget.offset.copy()
    steep[:, 4:] = [[0.1, 0.0], [0.0, 0.05]]
    ln_parallax = model.predict_ln(stars.features)
    offset = replace(budget, offset=steep).ln_offset(colour, ln_parallax)
    (_, high, mean, spread), (ln_low, ln_high, ln_mean, ln_spread) = steep[:, :4]
    star = np.argmax(colour)  # the reddest of all, and so beyond the reddest training stars but for a few
    assert colour[star] > high
    z = (np.clip(ln_parallax[star], ln_low, ln_high) - ln_mean) / ln_spread
    assert offset[star] == pytest.approx(0.1 * (high - mean) / spread + 0.05 * (z**2 - 1.0))
    errors = [
        replace(budget, offset=coefficients).ln_error(model, stars.features, stars.feature_errors, np.ones((500, 2)))
        for coefficients in (steep, np.where(np.arange(6) < 4, steep, 0.0))
    ]
    np.testing.assert_allclose(errors[0] ** 2, errors[1] ** 2 + offset**2, rtol=1e-12)
    assert np.all(dust_colour(None, stars.features) == 0.0)


def test_weak_lines_are_found(scattered):
    survey, _ = scattered
    model = fit_folds(survey, resolve_config(RAW, penalty=20.0))["A"]
    brighter = np.array(survey.features[:50])
    brighter[:, survey.layout.n_unpenalized :] += 0.3
    found = model.extent.unlikeness(model.position(brighter))[:, 1]
    assert np.all(found > model.extent.unlikeness(model.position(survey.features, np.arange(50)))[:, 1])
    u_alone = replace(model.budget, weak_line_growth=0.0)
    with_both = replace(model.budget, weak_line_growth=0.2)
    unlikeness = np.column_stack([np.ones(50), found])
    square = [
        budget.ln_error(model, brighter, survey.feature_errors[:50], unlikeness) ** 2 for budget in (u_alone, with_both)
    ]
    grown = model.budget.intrinsic_scatter**2 * 0.2 * (found - 1.0)
    np.testing.assert_allclose(square[1] - square[0], grown, rtol=1e-6)


def test_coefficient_errors_are_the_spread_over_repeated_noise(training):
    stars, problem = training
    rng = np.random.default_rng(4)
    true = np.exp(problem.design.astype(float) @ problem.truth)
    model = stars.fit(0.02, 0.0)
    others = np.arange(1, 500, 2)
    found = CoefficientErrors(model, stars)
    factor = found.factor(INFLATION, 0.0)
    error = np.sqrt(coefficient_variance(factor, found.columns, stars.features, stars.feature_errors, others))
    spread = []
    for _ in range(150):
        noisy = replace(stars, parallax=true + INFLATION * stars.gaia_error * rng.normal(size=500))
        spread.append(noisy.fit_part(0.02, 0.0, stars.rows, model.coef).predict_ln(problem.design, others))
    assert np.median(np.std(spread, axis=0) / error) == pytest.approx(1.0, abs=0.08)


def test_held_out_terms_are_those_of_the_model_that_did_not_see_the_star(training):
    stars, _ = training
    model = stars.fit(3.0, 0.0)
    splits = [Split(0, str(i), np.delete(stars.rows, np.s_[i::5]), stars.rows[i::5]) for i in range(5)]
    terms = coefficient_terms(hold_out_like(model, stars, splits), stars, splits)
    inner = stars.fit_part(0.8 * model.penalty, model.zero_point, splits[2].train, model.coef)
    columns = np.flatnonzero((inner.coef != 0.0) | ~inner.penalized)
    part = stars.features[splits[2].train][:, columns].astype(float)
    ivar = stars.gaia_error[splits[2].train] ** -2
    weights = ivar * np.exp(2 * inner.predict_ln(stars.features, splits[2].train))
    curvature = (part * weights[:, None]).T @ part
    for i in (0, 11, 42):
        star = stars.features[splits[2].test[i], columns].astype(float)
        shift = part @ np.linalg.solve(curvature, star)
        for source, noise in (("gaia", weights), ("intrinsic", weights**2)):
            assert terms[source][2 + 5 * i] == pytest.approx(np.sum(noise * shift**2), rel=1e-3)


def test_a_star_is_held_out_of_its_own_prediction(training):
    stars, _ = training
    model = stars.fit(3.0, 0.0)
    splits = [Split(0, str(i), np.delete(stars.rows, np.s_[i::5]), stars.rows[i::5]) for i in range(5)]
    poisoned = stars.parallax.copy()
    poisoned[stars.rows[3]] += 3.0
    predicted, of_gaia = [], []
    for some in (stars, replace(stars, parallax=poisoned)):
        held_out = hold_out_like(model, some, splits)
        predicted.append(held_out.ln_parallax)
        of_gaia.append(coefficient_terms(held_out, some, splits)["gaia"])
    for one, other in (predicted, of_gaia):
        np.testing.assert_array_equal(one[3::5], other[3::5])
        assert np.all(np.delete(one != other, np.s_[3::5]))


def test_budget_of_a_model_that_is_right(training):
    stars, _ = training
    splits = [Split(0, str(i), np.delete(stars.rows, np.s_[i::5]), stars.rows[i::5]) for i in range(5)]
    budget = measure_errors(stars.fit(1.0, 0.0), stars, splits)
    assert budget.gaia_inflation == pytest.approx(1.0, abs=0.15)
    assert budget.intrinsic_scatter < 0.06
    assert budget.n_held_out == 250


def test_catalog_errors_are_true(scattered):
    survey, true = scattered
    catalog = make_catalog(survey, penalty=20.0, config=RAW)
    for fold in "AB":
        assert catalog.meta[f"SCATTR_{fold}"] == pytest.approx(SCATTER, abs=0.03)
        assert catalog.meta[f"INFLAT_{fold}"] == pytest.approx(INFLATION, abs=0.12)
    pull = (np.asarray(catalog["ln_spec_parallax"]) - np.log(true)) / catalog["ln_spec_parallax_err"]
    p16, p84 = np.percentile(pull, [16, 84])
    assert (p84 - p16) / 2 == pytest.approx(1.0, abs=0.07)
    assert np.mean(np.abs(pull) < 1.96) == pytest.approx(0.95, abs=0.02)
    assert np.all(catalog["spec_parallax_err_total"] > catalog["spec_parallax_err"])
    combined = (catalog["combined_parallax"] - true) / catalog["combined_parallax_err"]
    p16, p84 = np.percentile(combined, [16, 84])
    assert (p84 - p16) / 2 == pytest.approx(1.0, abs=0.07)


def test_scatter_in_the_weights_helps_where_there_is_scatter(scattered):
    survey, true = scattered
    config = resolve_config(RAW, penalty=20.0).replace(fit={"intrinsic_scatter": True})
    models = fit_folds(survey, config)
    for model in models.values():
        assert model.scatter_weights.intrinsic_scatter == pytest.approx(SCATTER, abs=0.03)
    weighted = make_catalog(survey, config=config, models=models)
    plain = make_catalog(survey, penalty=20.0, config=RAW)
    spread = [np.std(np.log(catalog["spec_parallax"] / true)) for catalog in (weighted, plain)]
    assert spread[0] < spread[1]
    pull = (np.asarray(weighted["ln_spec_parallax"]) - np.log(true)) / weighted["ln_spec_parallax_err"]
    assert np.std(pull) == pytest.approx(1.0, abs=0.1)
    anew = FoldTraining(survey, config, "A").with_error_budget(replace(models["A"], budget=None))
    assert anew.budget.intrinsic_scatter == weighted.meta["SCATTR_A"]


def test_tune_has_the_scatter_in_its_weights_too(scattered):
    survey, _ = scattered
    config = resolve_config(RAW, penalty=20.0)
    points = {"penalties": [20.0], "zero_points": [0.0483], "threads": 1}
    (plain, other), (weighted, table) = (
        tune(survey, config=config.replace(fit={"intrinsic_scatter": scatter}), **points) for scatter in (False, True)
    )
    assert table.meta["SCATTR"] == pytest.approx(SCATTER, abs=0.03)
    assert "SCATTR" not in other.meta
    # Chi-squared per star held out is what Gaia's errors, too small, leave of it: no scatter any more.
    (score,), (unweighted,) = weighted.means.values(), plain.means.values()
    assert 0.9 < score < INFLATION**2 + 0.2 < unweighted
    again, same = tune(survey, config=config.replace(fit={"intrinsic_scatter": True}), **points)
    assert again.points == weighted.points
    assert same.meta == table.meta


def test_unlikeness_is_one_in_the_mean(scattered):
    survey, _ = scattered
    config = resolve_config(RAW, penalty=20.0)
    model = fit_folds(survey, config)["A"]
    rows = FoldTraining(survey, config, "A").stars.rows
    where = model.position(survey.features, rows)
    np.testing.assert_allclose(np.mean(model.extent.unlikeness(where), axis=0), 1.0, atol=1e-6)
    nothing = replace(model.extent, fitted_inverse=None, fitted_centre=None, line_scale=None)
    np.testing.assert_array_equal(nothing.unlikeness(where), 1.0)
    # A model that does not know where its training stars lie has errors as for stars like them.
    unaware = replace(model, extent=None)
    errors = unaware.predict_ln_error(survey.features, survey.feature_errors, rows)
    alike = model.budget.ln_error(model, survey.features, survey.feature_errors, np.ones((rows.size, 2)), rows)
    np.testing.assert_array_equal(errors, alike)


def test_noise_of_features_counts_once(training):
    """x of a star without noise, and the same x seen with noise many times: the mean of the variance must not grow."""
    stars, problem = training
    model = stars.fit(0.02, 0.0)
    found = CoefficientErrors(model, stars)
    factor = found.factor(1.0, 0.1)
    one = problem.design[7:8].astype(float)
    sigma = np.where(np.arange(one.size) < 9, 0.02, 0.03)
    sigma[0] = 0.0
    rng = np.random.default_rng(5)
    noisy = one + sigma * rng.normal(size=(20_000, one.size))
    quiet = coefficient_variance(factor, found.columns, one, np.zeros_like(one))
    raw = coefficient_variance(factor, found.columns, noisy, np.zeros_like(noisy))
    seen = coefficient_variance(factor, found.columns, noisy, np.broadcast_to(sigma, noisy.shape).copy())
    taken_off = np.sum(sigma[found.columns] ** 2 * np.sum(factor**2, axis=1))
    assert taken_off > quiet[0]
    assert np.mean(raw) - taken_off == pytest.approx(quiet[0], rel=0.1)
    np.testing.assert_allclose(seen, np.maximum(raw - taken_off, 0.0), rtol=1e-9, atol=1e-12)


def test_coefficients_that_a_penalty_holds_back_have_smaller_errors(training):
    stars, problem = training
    splits = [Split(0, str(i), np.delete(stars.rows, np.s_[i::5]), stars.rows[i::5]) for i in range(5)]
    model = stars.fit(0.02, 0.0)
    found = hold_out_like(model, stars, splits)
    predictions = [
        stars.fit_part(0.8 * 0.02, 0.0, split.train, model.coef).predict_ln(problem.design, stars.rows)
        for split in splits
    ]
    np.testing.assert_allclose(found.jackknife, 4.0 * np.var(predictions, axis=0), rtol=1e-6)
    sandwich = CoefficientErrors(model, stars)
    terms = sandwich.terms(stars.rows, noise_off=False)
    variance = 1.2**2 * terms["gaia"] + terms["features"] + 0.1**2 * terms["intrinsic"]
    jackknife = variance * np.random.default_rng(9).chisquare(4, variance.size) / 4
    assert sandwich.moved_share(0.4 * jackknife, 5, 1.2, 0.1) == pytest.approx(0.4, abs=0.05)
    assert sandwich.moved_share(3.0 * jackknife, 5, 1.2, 0.1) == 1.0
    spread = np.array([-1.0, 0.0, 0.0, 0.0, 1.0])[:, None] / np.sqrt(1.6)  # its jackknife is 1
    budgets = [
        measure_errors(model, stars, splits, held_out=found._replace(by_model=spread * np.sqrt(part * jackknife)))
        for part in (3.0, 0.05)
    ]
    whole, held_back = (budget.factor @ budget.factor.T for budget in budgets)
    assert np.trace(held_back) < 0.5 * np.trace(whole)


def test_repeated_splits_agree_with_the_sandwich(training):
    stars, _ = training
    model = stars.fit(0.02, 0.0)
    order = np.random.default_rng(6)
    repeats = []
    for repeat in range(4):
        mixed = order.permutation(stars.rows)
        repeats.append([Split(repeat, str(i), np.delete(mixed, np.s_[i::5]), mixed[i::5]) for i in range(5)])
    errors = []
    for found in (
        CoefficientErrors(model, stars),
        SplitErrors(model, stars, [fit_without_like(model, stars, splits) for splits in repeats]),
    ):
        factor = found.factor(1.0, 0.0)
        errors.append(coefficient_variance(factor, found.columns, stars.features, stars.feature_errors) ** 0.5)
    # A jackknife errs on the large side where stars are few.
    assert 1.0 < np.median(errors[1] / errors[0]) < 1.35


@pytest.mark.parametrize(
    ("pixels", "errors"),
    [
        ("low-rank", {}),
        ("low-rank", {"coefficients": "splits", "repeats": 2}),
        ("raw", {}),
        ("raw", {"pixel_correlation": [0.4, 0.1]}),
        ("raw", {"coefficients": "splits", "repeats": 2}),
    ],
)
def test_predictions_have_the_errors_of_the_catalog(tmp_path, pixels, errors):
    survey, _ = tiny_survey(tmp_path / "survey", n_stars=900)
    config = resolve_config(penalty=20.0).replace(errors=errors, fit={"pixels": pixels})
    models = fit_folds(survey, config)
    catalog = make_catalog(survey, config=config, models=models)
    models["A"].save(tmp_path / "model.npz")
    predictions = predict_survey(load_model(tmp_path / "model.npz"), survey)
    there = np.asarray(catalog["sample"]) == "B"
    shared = [name for name in catalog.colnames if name in predictions.colnames]
    assert {"spec_parallax_err_total", "ln_spec_parallax_err", "distance_16", "distance_84", "flags"} <= set(shared)
    for name in shared:
        np.testing.assert_array_equal(predictions[name][there], catalog[name][there], err_msg=name)
    assert predictions.meta["SCATTR"] == catalog.meta["SCATTR_A"]


def test_an_old_model_says_what_is_missing(tmp_path):
    survey, _ = tiny_survey(tmp_path / "survey", n_stars=400)
    models = fit_folds(survey, resolve_config(penalty=20.0))
    old = {fold: replace(model, budget=None) for fold, model in models.items()}
    old["A"].save(tmp_path / "old.npz")
    with pytest.warns(SpfastWarning, match="no total errors; fit it again"):
        predictions = predict_survey(load_model(tmp_path / "old.npz"), survey)
    assert "spec_parallax_err_total" not in predictions.colnames
    assert predictions.meta["ERRCOL"] == "spec_parallax_err"
    # A catalog from such models measures their budgets anew: the same numbers.
    new, anew = (make_catalog(survey, models=some, penalty=20.0) for some in (models, old))
    np.testing.assert_array_equal(new["spec_parallax_err_total"], anew["spec_parallax_err_total"])


def test_a_file_of_the_first_format_is_read_without_its_budget(tmp_path):
    survey, _ = tiny_survey(tmp_path / "survey", n_stars=400)
    model = fit_folds(survey, resolve_config(penalty=20.0))["A"]
    model.save(tmp_path / "model.npz")
    parts = parts_of(tmp_path / "model.npz")
    for schema in (1, 99):
        path = tmp_path / f"{schema}.npz"
        header = json.loads(str(parts["header"])) | {"schema": schema}
        np.savez(path, **(parts | {"header": np.array(json.dumps(header))}))
        with zipfile.ZipFile(path, "a") as archive:
            archive.comment = BLANK_SEAL.encode()
        seal(path)
    old = load_model(tmp_path / "1.npz")
    assert old.budget is None
    np.testing.assert_array_equal(old.coef, model.coef)
    with pytest.raises(BadInputError, match="its schema is 99, this spfast reads 1 to 3"):
        load_model(tmp_path / "99.npz")


def test_a_damaged_budget_is_refused(tmp_path):
    survey, _ = tiny_survey(tmp_path / "survey", n_stars=400)
    model = fit_folds(survey, resolve_config(penalty=20.0))["A"]
    budget = model.budget
    damaged = {"factor": budget.factor[1:], "columns": budget.columns + 10_000, "offset": budget.offset[:, 1:]}
    for name, damage in damaged.items():
        replace(model, budget=replace(budget, **{name: damage})).save(tmp_path / f"{name}.npz")
        with pytest.raises(BadInputError, match=r"budget|covariance"):
            load_model(tmp_path / f"{name}.npz")


def test_a_budget_follows_its_columns_to_another_layout(tmp_path):
    survey, _ = tiny_survey(tmp_path / "survey", n_stars=400)
    model = fit_folds(survey, resolve_config(RAW, penalty=20.0))["A"]
    pixels = tuple(sorted({*survey.layout.pixels, 100, 5000}))
    wider = model.for_layout(FeatureLayout(pixels))
    names, wide_names = survey.layout.names, wider.layout.names
    assert [wide_names[j] for j in wider.budget.columns] == [names[j] for j in model.budget.columns]
    np.testing.assert_array_equal(wider.budget.factor, model.budget.factor)


def test_a_correlation_of_pixels_is_refused_where_a_model_has_none(tmp_path):
    survey, _ = tiny_survey(tmp_path / "survey", n_stars=60)
    config = Config().replace(errors={"pixel_correlation": [0.4, 0.1]})
    with pytest.raises(BadInputError, match=r"pixel correlation 0.4, 0.1: only with --pixels raw"):
        fit_stars(survey, config, threads=1)
    few, _ = tiny_survey(tmp_path / "few", n_stars=59)  # too few for a low-rank model: pixels as they are
    assert fit_stars(few, config, threads=1).pixel_correlation == (0.4, 0.1)


def test_correlated_pixels_make_larger_errors(tmp_path):
    survey, _ = tiny_survey(tmp_path / "survey", n_stars=400)
    model = fit_folds(survey, resolve_config(RAW, penalty=20.0))["A"]
    plain = model.propagate_ln_error(survey.feature_errors)
    correlated = replace(model, pixel_correlation=(0.4, 0.1)).propagate_ln_error(survey.feature_errors)
    assert np.all(correlated > plain)  # the eight true coefficients lie side by side, all of one sign
    with pytest.raises(BadInputError, match="power would be negative"):
        replace(model, pixel_correlation=(0.9,)).propagate_ln_error(survey.feature_errors)
    with pytest.raises(BadInputError, match="needs a layout"):
        replace(model, pixel_correlation=(0.4,), layout=None).propagate_ln_error(survey.feature_errors)
