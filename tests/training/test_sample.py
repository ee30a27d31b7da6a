"""What is measured on a sample of the training stars is what all of them say."""

from dataclasses import replace

import numpy as np
import pytest
from tiny import RAW, tiny_survey

from spfast import progress
from spfast.config import resolve_config
from spfast.model.budget import coefficient_variance
from spfast.model.layout import MAGNITUDE
from spfast.selection.sample import sample_rows
from spfast.training import fold as fold_module
from spfast.training.coefficient_errors import CoefficientErrors
from spfast.training.error_budget import measure_errors
from spfast.training.fold import FoldTraining, fit_folds
from spfast.training.sample import Sample

CONFIG = resolve_config(RAW, penalty=20.0)


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    return tiny_survey(tmp_path_factory.mktemp("sample") / "survey", n_stars=3000)[0]


@pytest.fixture(scope="module")
def fitted(survey):
    training = FoldTraining(survey, CONFIG, "A", 1)
    return training, training.stars.fit(20.0, 0.05)


def test_a_sample_is_even_and_does_not_depend_on_the_order(survey):
    rows = np.arange(1, survey.n_stars, 2)
    drawn = sample_rows(survey.stars, rows, 300)
    assert drawn.size == 300
    assert np.all(np.diff(drawn) > 0)
    assert np.all(np.isin(drawn, rows))
    turned = sample_rows(survey.stars[::-1], survey.n_stars - 1 - rows[::-1], 300)
    np.testing.assert_array_equal(np.sort(survey.n_stars - 1 - turned), drawn)
    assert abs(np.median(drawn) / survey.n_stars - 0.5) < 0.06
    assert not np.array_equal(sample_rows(survey.stars, rows, 300, seed=1), drawn)
    assert sample_rows(survey.stars, rows, rows.size) is rows


def test_a_sample_is_even_in_folds_and_inner_folds(survey):
    training = FoldTraining(survey, CONFIG.replace(folds={"split": "hash"}), "A", 1)
    drawn = sample_rows(survey.stars, training.stars.rows, 400, CONFIG.folds.seed)
    shares = [np.isin(drawn, split.test).mean() for split in training.splits]
    np.testing.assert_allclose(shares, 0.2, atol=0.07)


def test_errors_of_coefficients_do_not_grow_where_a_sample_tells_them(survey, fitted):
    training, model = fitted
    stars, others = training.stars, np.setdiff1d(np.arange(survey.n_stars), training.stars.rows)
    errors = []
    for n_stars in (stars.rows.size, stars.rows.size // 2):
        sample = Sample.of(stars, sample_rows(survey.stars, stars.rows, n_stars), [model])
        found = CoefficientErrors(sample.model(model), sample.stars)
        factor, columns = found.factor(1.0, 0.1), sample.columns[found.columns]
        errors.append(coefficient_variance(factor, columns, survey.features, None, others) ** 0.5)
    assert np.median(errors[1] / errors[0]) == pytest.approx(1.0, abs=0.08)


def test_a_sample_of_all_stars_has_the_budget_of_all_stars(fitted):
    training, model = fitted
    stars = training.stars
    model = replace(model, extent=training._sample(stars, [model]).extent(model))
    whole = measure_errors(model, stars, training.splits, zero_point_error=0.005)
    found = training._error_budget(stars, model, 0.005)
    np.testing.assert_array_equal(found.columns, whole.columns)
    errors = [
        replace(model, budget=one).predict_ln_error(stars.features, stars.feature_errors) for one in (found, whole)
    ]
    np.testing.assert_allclose(errors[0], errors[1], rtol=1e-3)


@pytest.mark.parametrize("pixels", ["raw", "low-rank"])
def test_a_budget_measured_on_a_sample_says_so_and_agrees(survey, pixels, monkeypatch):
    config = CONFIG.replace(fit={"pixels": pixels})
    errors = []
    for n_stars in (fold_module.SAMPLE_STARS, 600):
        monkeypatch.setattr(fold_module, "SAMPLE_STARS", n_stars)
        monkeypatch.setattr(fold_module, "_STARS_PER_COLUMN", 1)
        training = FoldTraining(survey, config, "A", 1)
        model = training.fit()
        assert model.budget.n_held_out == min(n_stars, model.n_stars)
        features, feature_errors = training.inputs.features, training.inputs.errors
        if pixels == "low-rank":
            kept = training.inputs.within(model.layout.rank, model.layout.n_products)
            features, feature_errors = kept.features, kept.errors
        errors.append(model.predict_ln_error(features, feature_errors))
    assert np.median(errors[1] / errors[0]) == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("exact", [False, True])
def test_an_error_of_the_zero_point_moves_coefficients_as_another_fit_would(survey, exact):
    training = FoldTraining(survey, CONFIG.replace(fit={"exact_distance_modulus": exact}), "A", 1)
    stars = training.stars
    model = stars.fit(20.0, 0.05)
    refit = stars.fit_part(20.0, 0.055, stars.rows, model.coef).coef - model.coef
    moved = CoefficientErrors(model, stars).moved_by(0.005)
    features = survey.features.astype(float)
    difference = features @ (moved - refit)
    assert np.std(difference) < 0.2 * np.std(features @ refit)
    assert abs(np.mean(difference)) < 0.1 * np.abs(np.mean(features @ refit))
    if exact:
        assert moved[np.array(stars.layout.kinds) == MAGNITUDE].sum() == pytest.approx(0.0, abs=1e-9)


def test_training_says_what_it_does_in_each_fold(survey, capsys):
    heard = []
    with progress.heard_by(heard.append):
        fit_folds(survey, CONFIG, threads=1)
    said = "\n".join(heard)
    for fold in "AB":
        for name in ("fit", "held-out fits", "errors"):
            assert f"begin: fold {fold}: {name}" in said
    assert capsys.readouterr().err == ""
