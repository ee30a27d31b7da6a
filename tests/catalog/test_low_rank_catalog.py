"""Catalogs of low-rank models: to the bit from stored coordinates or new ones, and no star has a say in its own."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from forged_model import forge, parts_of
from low_rank_survey import low_rank_stars, low_rank_survey, write_low_rank_survey

from spfast import files
from spfast.catalog import predict
from spfast.catalog.columns import FLAGS
from spfast.catalog.make import make_catalog
from spfast.catalog.predict import predict_survey
from spfast.cli import main
from spfast.config import ZERO_POINT, Config
from spfast.data.survey import open_survey
from spfast.data.tables.read import read_table
from spfast.errors import BadInputError
from spfast.model.fitted_model import load_model
from spfast.model.layout import FeatureLayout
from spfast.training import inputs
from spfast.training.fold import fit_folds, fit_stars

#: Everything on auto.
AUTO = Config().replace(
    fit={"penalty_rule": "auto", "zero_point_rule": "auto"},
    tune={"penalties": (3.0, 30.0), "zero_points": (0.03, 0.07)},
)
COLUMNS = ("spec_parallax", "spec_parallax_err", "spec_parallax_err_total", "ln_offset", "distance")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("low_rank")


@pytest.fixture(scope="module")
def survey(folder):
    return low_rank_survey(folder / "survey")


@pytest.fixture(scope="module")
def models(survey):
    return fit_folds(survey, Config(), 1)


@pytest.fixture(scope="module")
def catalog(survey, models):
    return make_catalog(survey, models=models, threads=1)


def assert_same(first, second, rows=slice(None)):
    for name in COLUMNS:
        np.testing.assert_array_equal(first[name][rows], second[name][rows], err_msg=name)


def flagged(table, name):
    return np.asarray(table["flags"]) & (1 << list(FLAGS).index(name)) > 0


def test_parallaxes_are_right_within_their_errors(survey):
    catalog = make_catalog(survey, zero_point=ZERO_POINT, threads=1)  # the true one: its error is none of theirs
    true = low_rank_stars().true
    pull = (catalog["spec_parallax"] - true) / catalog["spec_parallax_err_total"]
    assert np.median(np.abs(pull)) / 0.6745 == pytest.approx(1.0, abs=0.25)
    assert np.median(catalog["spec_parallax_err_total"] / true) < 0.05


def test_models_say_what_they_chose(models):
    for model in models.values():
        assert model.low_rank.rank >= model.layout.rank
        assert model.tuned.summary.startswith(f"{model.layout.rank} of {model.low_rank.rank} coordinates, products of")
        assert "coordinates and" in model.columns_used
        pixels, coef = model.pixel_coefficients
        assert pixels.size == coef.size == 96
        assert np.isfinite(coef).all()


def test_a_model_that_comes_back_from_its_file_predicts_the_same_to_the_bit(survey, models, catalog, tmp_path):
    for fold, model in models.items():
        model.save(tmp_path / f"{fold}.npz")
    loaded = {fold: load_model(tmp_path / f"{fold}.npz") for fold in models}
    assert all(loaded[fold].low_rank.is_same(models[fold].low_rank) for fold in models)
    again = make_catalog(survey, models=loaded, threads=2)
    assert_same(again, catalog)
    np.testing.assert_array_equal(again["flags"], catalog["flags"])


def test_predictions_from_stored_coordinates_are_those_from_new_ones_to_the_bit(survey, models, catalog, tmp_path):
    shutil.copytree(survey.path, tmp_path / "copy")
    for name in ("low_rank.npz", "coordinates.npy"):
        (tmp_path / "copy" / name).unlink()
    without = open_survey(tmp_path / "copy")
    for fold, other in (("A", "B"), ("B", "A")):
        stored = predict_survey(models[other], survey, threads=1)
        computed = predict_survey(models[other], without, threads=2)
        rows = np.asarray(catalog["sample"]) == fold
        names = [name for name in COLUMNS if name in stored.colnames]
        assert set(names) >= {"spec_parallax", "spec_parallax_err_total"}
        for name in names:
            np.testing.assert_array_equal(stored[name], computed[name])
            np.testing.assert_array_equal(stored[name][rows], catalog[name][rows])
        for table in (stored, computed):
            strange = flagged(table, "strange_spectrum")[rows]
            np.testing.assert_array_equal(strange, flagged(catalog, "strange_spectrum")[rows])
    assert without.low_rank is None  # a model brings its own


def test_a_survey_without_stored_coordinates_gives_the_same_catalog(folder, tmp_path):
    config = Config().replace(features={"rank": 48}, fit={"rank": 5, "products": 2})
    survey = low_rank_survey(tmp_path / "survey", n_stars=150, config=config)
    expected = make_catalog(survey, config=config, threads=1)
    shutil.copytree(survey.path, tmp_path / "old")
    for name in ("low_rank.npz", "coordinates.npy"):
        (tmp_path / "old" / name).unlink()
    assert_same(make_catalog(open_survey(tmp_path / "old"), config=config, threads=1), expected)


@pytest.mark.parametrize("pixels", ["low-rank", "raw"])
def test_a_survey_too_large_for_the_memory_gives_the_same_catalog_and_leaves_no_file(survey, monkeypatch, pixels):
    config = Config().replace(fit={"rank": 5, "products": 2, "pixels": pixels})
    expected = make_catalog(open_survey(survey.path), config=config, threads=1)
    names = {path.name for path in survey.path.iterdir()}
    monkeypatch.setattr(files, "_IN_MEMORY", 0)
    monkeypatch.setattr(predict, "_BLOCK", 64)
    monkeypatch.setattr(inputs, "_BLOCK", 50)
    assert_same(make_catalog(open_survey(survey.path), config=config, threads=1), expected)
    assert {path.name for path in survey.path.iterdir()} == names


def test_stars_are_predicted_in_the_order_in_which_they_are_asked_for(models, survey, monkeypatch):
    expected = predict.predict_features(models["A"], survey, threads=1)
    monkeypatch.setattr(predict, "_BLOCK", 64)
    rows = np.random.default_rng(3).permutation(survey.n_stars)[:150]
    found = predict.predict_features(models["A"], survey, rows, threads=1)
    for one, other in zip((*found.predicted, found.misfit), (*expected.predicted, expected.misfit), strict=True):
        np.testing.assert_array_equal(one, other[rows])


def test_a_survey_that_lacks_pixels_is_predicted(models, tmp_path):
    made = low_rank_stars(40, seed=2)
    whole = write_low_rank_survey(tmp_path / "whole", made)
    expected = predict_survey(models["A"], whole, threads=1)
    # Two pixels at an end and the estimates of the others as they were: nearly the same.
    kept = np.arange(96) < 94
    made.layout = FeatureLayout(tuple(np.array(made.layout.pixels)[kept].tolist()))
    made.features, made.errors = (
        np.hstack([array[:, :9], array[:, 9:][:, kept]]) for array in (made.features, made.errors)
    )
    made.bits = made.bits[:, kept]
    some = predict_survey(models["A"], write_low_rank_survey(tmp_path / "some", made), threads=1)
    off = np.log(np.asarray(some["spec_parallax"] / expected["spec_parallax"]))
    error = np.asarray(expected["spec_parallax_err_total"] / expected["spec_parallax"])
    assert np.abs(off).max() > 0.0
    assert np.median(np.abs(off) / error) < 0.5
    assert np.all(some["spec_parallax_err_total"] > 0)
    # A survey with pixels that the model does not have.
    made.layout = FeatureLayout((*range(398, 400), *made.layout.pixels[2:]))
    assert np.isfinite(
        predict_survey(models["A"], write_low_rank_survey(tmp_path / "others", made), threads=1)["spec_parallax"]
    ).all()


def test_a_survey_without_a_magnitude_of_the_model_is_refused_in_one_line(models, tmp_path):
    made = low_rank_stars(20)
    made.layout = FeatureLayout(made.layout.pixels, ("G", "BP", "RP", "J", "H", "K", "W1", "W3"))
    other = write_low_rank_survey(tmp_path / "other", made)
    with pytest.raises(BadInputError, match=r"the survey lacks .*W2"):
        predict_survey(models["A"], other, threads=1)


def test_a_stars_parallax_changes_neither_its_coordinates_nor_its_own_prediction(survey, folder):
    def changed(made):
        made.stars["parallax"][7] += 3.0

    after = low_rank_survey(folder / "after", edit=changed)
    assert after.low_rank[0].is_same(survey.low_rank[0])
    np.testing.assert_array_equal(after.low_rank[1].mean, survey.low_rank[1].mean)
    first, second = (make_catalog(stars, config=AUTO, threads=1) for stars in (survey, after))
    same_fold = np.asarray(first["sample"]) == first["sample"][7]
    assert_same(first, second, same_fold)
    assert (first["spec_parallax"] != second["spec_parallax"])[~same_fold].any()  # their model did see it


def test_a_strange_spectrum_is_flagged(folder, models):
    def strange(made):
        rng = np.random.default_rng(9)
        made.features[3, 9:] += 0.3 * rng.normal(size=96).astype(np.float32)

    survey = low_rank_survey(folder / "strange", edit=strange)
    table = predict_survey(models["A"], survey, threads=1)
    assert flagged(table, "strange_spectrum")[3]
    assert flagged(table, "strange_spectrum").sum() < 5


def with_nan(array):
    array = array.copy()
    array.flat[0] = np.nan
    return array


def set_header(*place, value):
    def change(header):
        entries = json.loads(str(header))
        inner = entries
        for name in place[:-1]:
            inner = inner[name]
        if value is None:
            del inner[place[-1]]
        else:
            inner[place[-1]] = value
        return np.array(json.dumps(entries))

    return change


DAMAGES = {
    "an array is missing": {"low_rank_fine_factors": None},
    "the pixels are missing": {"low_rank_pixels": None},
    "wrong type": {"low_rank_broad_mean": lambda array: array.astype(np.float64)},
    "wrong shape": {"low_rank_broad_scatter": lambda array: array[:-1]},
    "not finite": {"low_rank_broad_factors": with_nan},
    "pixels twice": {"low_rank_pixels": lambda array: np.zeros_like(array)},
    "more broad coordinates than there are": {"header": set_header("low_rank", "n_broad", value=99)},
    "a negative number of broad coordinates": {"header": set_header("low_rank", "n_broad", value=-1)},
    "a true number of broad coordinates": {"header": set_header("low_rank", "n_broad", value=True)},
    "n_broad is missing": {"header": set_header("low_rank", "n_broad", value=None)},
    "a basis is missing": {"header": set_header("low_rank", "broad", value=None)},
    "inflation is negative": {"header": set_header("low_rank", "fine", "inflation", value=-1.0)},
    "no low-rank model": {"header": set_header("low_rank", value=None)},
    "layout of pixels": {"header": set_header("layout", value={"features": []})},
    "no layout": {"header": set_header("layout", value={})},
    "the layout's rank is larger": {
        "header": lambda header: set_header("layout", "rank", value=json.loads(str(header))["layout"]["rank"] + 1)(
            header
        )
    },
    "the layout's products are more": {"header": set_header("layout", "n_products", value=4)},
    "a magnitude twice": {"header": set_header("layout", "magnitudes", value=["G"] * 8)},
    "fewer factors than the layout's rank": {
        "low_rank_fine_factors": lambda array: array[:0],
        "low_rank_broad_factors": lambda array: array[:3],
    },
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_file_is_refused_in_one_line(models, tmp_path, damage):
    path = tmp_path / "model.npz"
    models["A"].save(path)
    parts = parts_of(path)
    for name, change in DAMAGES[damage].items():
        if change is None:
            del parts[name]
        else:
            parts[name] = change(parts[name])
    forge(path, parts)
    with pytest.raises(BadInputError) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: not a whole spfast model")


def test_a_model_that_the_robust_fit_made_predicts_as_well(survey, tmp_path):
    config = Config().replace(fit={"robust": True, "intrinsic_scatter": True, "rank": 5, "products": 2})
    model = fit_stars(survey, config, "A", 1)
    model.save(tmp_path / "model.npz")
    one, two = (predict_survey(m, survey, threads=1) for m in (model, load_model(tmp_path / "model.npz")))
    for name in ("spec_parallax", "spec_parallax_err_total"):
        np.testing.assert_array_equal(one[name], two[name])
        assert np.isfinite(one[name]).all()


def test_an_error_budget_that_a_low_rank_model_lacks_is_measured_again(survey, models, catalog):
    without = {fold: replace(model, budget=None) for fold, model in models.items()}
    assert_same(make_catalog(survey, models=without, threads=1), catalog)


def test_the_command_predicts_what_the_catalog_says(survey, models, catalog, tmp_path):
    models["B"].save(tmp_path / "model_B.npz")
    arguments = ["predict", tmp_path / "model_B.npz", survey.path, "-o", tmp_path / "out.fits", "--threads", "1"]
    assert main(list(map(str, arguments))) == 0
    table, rows = read_table(tmp_path / "out.fits"), np.asarray(catalog["sample"]) == "A"
    for name in ("spec_parallax", "spec_parallax_err", "spec_parallax_err_total"):
        np.testing.assert_array_equal(table[name][rows], catalog[name][rows])
