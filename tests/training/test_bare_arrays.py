"""Cross-validation of bare arrays is that of a survey; doors that take a survey take its path."""

import numpy as np
import pytest
from astropy import units
from tiny import tiny_survey

import spfast
from spfast.config import Config
from spfast.data.tables.write import write_table
from spfast.errors import BadInputError
from spfast.selection.folds import fold_labels

RAW = Config().replace(fit={"pixels": "raw"})
GRID = {"penalties": [200.0, 20.0], "zero_points": [0.0, 0.05]}


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    return tiny_survey(tmp_path_factory.mktemp("arrays") / "survey", n_stars=400)


@pytest.fixture(scope="module")
def arrays(survey):
    stars = survey[0].stars
    return survey[0].features, stars["parallax"], stars["parallax_error"]


@pytest.fixture(scope="module")
def options(survey):
    return {"rows": survey[0].stars["training_set"], "layout": survey[0].layout, "threads": 1}


@pytest.fixture(scope="module")
def tuning(survey):
    return spfast.tune(survey[0].path, **GRID, config=RAW, threads=1)[0]


def test_arrays_and_survey_give_the_same_scores(survey, arrays, options, tuning):
    labels = fold_labels(survey[0].stars, RAW.folds).labels
    found = spfast.cross_validate(*arrays, **GRID, folds=labels, **options)
    assert found.points == tuning.points
    assert (found.penalty, found.zero_point) == (tuning.penalty, tuning.zero_point)
    assert found.summary == tuning.summary


def test_folds_are_labels_or_pairs_or_a_number(survey, arrays, options, tuning):
    labels = fold_labels(survey[0].stars, RAW.folds).labels
    training = np.asarray(options["rows"])
    pairs = [(np.flatnonzero(training & (labels != name)), training & (labels == name)) for name in "AB"]
    found = spfast.cross_validate(*arrays, **GRID, folds=iter(pairs), **options)
    scores = [point["chi_squared"] for point in tuning.points]
    assert [point["chi_squared"] for point in found.points] == scores
    random = [spfast.cross_validate(*arrays, [20.0], folds=3, seed=seed, **options) for seed in (0, 0, 1)]
    assert [point["n_test"] for point in random[0].points] == [point["n_test"] for point in random[1].points]
    assert sum(point["n_test"] for point in random[0].points) == training.sum()
    assert random[0].points == random[1].points != random[2].points


def test_labels_of_pandas_and_numbers_that_are_no_lists(arrays, options, tuning):
    pandas = pytest.importorskip("pandas")
    labels = np.arange(400) % 2
    expected = spfast.cross_validate(*arrays, [20.0], zero_points=[0.05], folds=labels, **options)
    for given in (pandas.Series(labels, index=np.arange(400)[::-1]), pandas.Categorical.from_codes(labels, ["a", "b"])):
        found = spfast.cross_validate(*arrays, 20.0, zero_points=50 * units.uas, folds=given, **options)
        assert found.means == expected.means


def test_pairs_hold_only_stars_of_rows(arrays, options):
    training = np.asarray(options["rows"])
    values = np.where(training, arrays[1], np.nan)
    splits = [(np.arange(200), np.arange(200, 400)), (np.arange(200, 400), np.arange(200))]  # scikit-learn sees all
    found = spfast.cross_validate(arrays[0], values, arrays[2], [20.0], folds=splits, **options)
    assert [point["n_test"] for point in found.points[:2]] == [training[200:].sum(), training[:200].sum()]


def test_units_count(arrays, options):
    features, parallax, error = arrays
    in_uas = [np.asarray(values) * 1000 * units.uas for values in (parallax, error)]
    plain = spfast.cross_validate(*arrays, [20.0], folds=2, **options)
    found = spfast.cross_validate(features, *in_uas, [20.0], folds=2, **options)
    assert found.means[20.0, 0.0] == pytest.approx(plain.means[20.0, 0.0], rel=1e-6)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"folds": 1}, "1 folds of 400 stars, expected 2 or more"),
        ({"folds": 500}, "500 folds of 400 stars"),
        ({"folds": np.zeros(400, int)}, "all stars have the label 0"),
        ({"folds": np.zeros(7, int)}, "expected a number of folds, one label for each of the 400"),
        ({"folds": [([0, 1], [1, 2])]}, "1 of them trained on"),
        ({"folds": [([0, 1], [500])]}, "expected 0 to 399"),
        ({"folds": np.where(np.arange(400) < 3, np.nan, np.arange(400) % 2)}, "3 of the 400 training stars have none"),
        ({"folds": np.ma.masked_less(np.arange(400) % 4, 1)}, "100 of the 400 training stars have none"),
        ({"folds": 3, "seed": -1}, "seed: got -1, expected a whole number"),
        ({"penalties": "auto"}, "penalties: got"),
        ({"folds": []}, "no pair of train and test rows"),
        ({"penalties": []}, "penalties: got"),
        ({"penalties": [-1.0, 2.0]}, "expected positive numbers"),
        ({"parallax": np.full(400, np.nan)}, "400 of the 400 training stars have none"),
        ({"parallax_error": np.zeros(400)}, "a positive number in mas"),
        ({"score": "best"}, "best"),
    ],
)
def test_what_cannot_be_used_is_refused(arrays, changed, message):
    given = dict(zip(("features", "parallax", "parallax_error"), arrays, strict=True)) | {"penalties": [20.0]}
    with pytest.raises(BadInputError, match=message):
        spfast.cross_validate(**given | changed, threads=1)


def test_doors_take_a_survey_or_its_path(survey, arrays, tmp_path):
    catalog = spfast.make_catalog(str(survey[0].path), 20.0, config=RAW, threads=1)
    write_table(catalog, tmp_path / "catalog.fits")
    write_table(survey[1], tmp_path / "truth.fits")
    measures = spfast.validate(tmp_path / "catalog.fits", str(tmp_path / "truth.fits"))
    assert measures.as_array().tolist() == spfast.validate(catalog, survey[1]).as_array().tolist()
    for door in (spfast.make_catalog, spfast.tune):
        with pytest.raises(BadInputError, match=r"got memmap, expected a survey .* spfast\.cross_validate"):
            door(arrays[0])
        with pytest.raises(BadInputError, match="no such folder"):
            door(tmp_path / "none")
    with pytest.raises(BadInputError, match="got memmap, expected an astropy Table or the path of a file"):
        spfast.validate(arrays[0])
    with pytest.raises(BadInputError, match="got int, expected a fitted model or the path of its file"):
        spfast.predict_survey(3, survey[0])
