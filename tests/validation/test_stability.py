"""Models compared two by two, on coefficients that are made up and on those of two folds."""

from dataclasses import replace

import numpy as np
import pytest

from spfast.errors import BadInputError
from spfast.model.apogee import grid_wavelength
from spfast.model.fitted_model import FittedModel
from spfast.model.layout import MAGNITUDE_SUM, FeatureLayout
from spfast.model.parts import Provenance
from spfast.training.inputs import model_inputs
from spfast.validation.residuals import half_width
from spfast.validation.stability import compare_models, surviving_pixels


def fake_model(pixels, coefs, magnitudes, layout=None, **origin):
    layout = FeatureLayout(tuple(range(1000, 2000))) if layout is None else layout
    coef = np.zeros(layout.n_features)
    coef[1:9] = magnitudes
    for pixel, c in zip(pixels, coefs, strict=True):
        coef[9 + pixel - 1000] = c
    return FittedModel(coef, layout.penalized, 1.0, 0.0, 0, result=None, layout=layout, provenance=Provenance(**origin))


def test_models_are_compared_by_their_pixels_and_coefficients():
    magnitudes = np.linspace(-0.3, 0.2, 8)
    first = fake_model([1010, 1100, 1500, 1999], [1.0, -2.0, 0.5, 0.1], magnitudes)
    second = fake_model([1010, 1102, 1700], [2.0, 1.0, 0.3], 2 * magnitudes)
    row = compare_models({"A": first, "B": second})[0]
    assert (row["pixels_first"], row["pixels_second"], row["pixels_both"]) == (4, 3, 1)
    assert row["pixels_by_chance"] == pytest.approx(12 / 1000)
    assert row["near"] == pytest.approx(2 / 4)
    assert row["near_by_chance"] == pytest.approx(15 / 1000)
    assert row["sum_second"] == pytest.approx(2 * magnitudes.sum())
    assert row["corr_magnitudes"] == pytest.approx(1.0)
    union = np.corrcoef([1.0, -2.0, 0, 0.5, 0, 0.1], [2.0, 0, 1.0, 0, 0.3, 0])[0, 1]
    assert row["corr_pixels"] == pytest.approx(union)
    assert row["n"] == 0

    pixels = surviving_pixels({"A": first, "B": second})
    assert pixels["pixel"].tolist() == [1010, 1100, 1102, 1500, 1700, 1999]
    assert pixels["n_models"].tolist() == [2, 1, 1, 1, 1, 1]
    assert pixels["coef_B"].tolist() == [2.0, 0.0, 1.0, 0.0, 0.3, 0.0]
    np.testing.assert_allclose(pixels["wavelength"], grid_wavelength(pixels["pixel"]))
    assert str(pixels["wavelength"].unit) == "Angstrom"

    none = fake_model([], [], magnitudes)
    row = compare_models({"A": none, "B": none})[0]
    assert row["pixels_both"] == 0
    assert np.isnan(row["near"])
    assert len(surviving_pixels({"A": none})) == 0
    with pytest.raises(BadInputError, match="it takes two"):
        compare_models({"A": first})
    with pytest.raises(BadInputError, match="model A: it has no layout"):
        compare_models({"A": replace(first, layout=None), "B": second})


def test_models_are_compared_on_stars_that_neither_was_trained_on(survey, models):
    row = compare_models(models, survey)[0]
    unseen = ~np.asarray(survey.stars["training_set"])
    assert row["unseen"]
    assert row["n"] == unseen.sum()
    features = {fold: model_inputs(survey, models[fold]).features for fold in "AB"}
    lns = [models[fold].predict_ln(features[fold]) for fold in "AB"]
    first, second = (ln[unseen] for ln in lns)
    assert row["corr_predictions"] == pytest.approx(np.corrcoef(first, second)[0, 1])
    assert row["scatter"] == pytest.approx(half_width(first - second))
    assert row["offset"] == pytest.approx(np.median(first - second))
    assert row["corr_predictions"] > 0.98
    assert row["sum_first"] == pytest.approx(MAGNITUDE_SUM, abs=0.05)
    same = compare_models({"A": models["A"], "again": models["A"]}, survey)[0]
    assert same["scatter"] == 0.0
