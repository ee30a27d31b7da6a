"""Magnitudes that stars lack: estimated within their errors, flagged, counted, not trained on if too rough."""

import numpy as np
import pytest
from astropy.table import Table
from low_rank_survey import low_rank_stars, write_low_rank_survey
from small_survey import write_download

from spfast.catalog.columns import FLAGS
from spfast.catalog.make import make_catalog
from spfast.catalog.predict import predict_survey
from spfast.config import Config
from spfast.data.cuts import CutFlow, cut_apogee, cut_photometry
from spfast.data.ingest import ingest
from spfast.data.missing_bands import COMPLETE_MIN, ERROR_MAX, estimate_magnitudes
from spfast.data.spectra.features import MAGNITUDE_COLUMNS
from spfast.data.survey import verify_survey
from spfast.errors import BadInputError
from spfast.training.fold import fit_folds

BANDS = list(MAGNITUDE_COLUMNS)
SETS = {"WISE": ["W1", "W2"], "2MASS": ["J", "H", "K"], "BP and RP": ["BP", "RP"], "W2": ["W2"]}


def columns(bands):
    return [BANDS.index(band) for band in bands]


def without(made, share=0.1):
    """A tenth of the stars lack each set of bands; which (int array), -1: none."""
    n_stars = len(made.features)
    lacks = np.full(n_stars, -1)
    step = round(1 / share)
    for k, bands in enumerate(SETS.values()):
        lacks[k::step] = k
        for array in (made.features, made.errors):
            array[np.ix_(lacks == k, np.array(columns(bands)) + 1)] = np.nan
    return lacks


@pytest.mark.parametrize("with_coordinates", [False, True])
def test_estimates_are_right_within_their_errors(with_coordinates):
    made = low_rank_stars(3000, seed=3)
    measured, noise = made.features[:, 1:9].copy(), made.errors[:, 1:9].copy()
    lacks = without(made)
    magnitudes, errors = made.features[:, 1:9].copy(), made.errors[:, 1:9].copy()
    coordinates = made.z.astype(np.float32) if with_coordinates else None
    largest = estimate_magnitudes(magnitudes, errors, coordinates)
    for k, bands in enumerate(SETS.values()):
        rows = np.flatnonzero(lacks == k)
        at = np.ix_(rows, columns(bands))
        pull = (magnitudes[at] - measured[at]) / errors[at]
        np.testing.assert_allclose(pull.std(axis=0), 1.0, atol=0.15)
        np.testing.assert_allclose(pull.mean(axis=0), 0.0, atol=0.2)
        np.testing.assert_array_equal(largest[rows], errors[at].max(axis=1))
        others = np.setdiff1d(np.arange(8), columns(bands))
        np.testing.assert_array_equal(magnitudes[np.ix_(rows, others)], measured[np.ix_(rows, others)])
        np.testing.assert_array_equal(errors[np.ix_(rows, others)], noise[np.ix_(rows, others)])
    none = lacks < 0
    assert not largest[none].any()
    np.testing.assert_array_equal(magnitudes[none], measured[none])


def test_coordinates_make_estimates_better():
    made = low_rank_stars(1000, seed=3)
    without(made)
    found = []
    for coordinates in (None, made.z.astype(np.float32)):
        errors = made.errors[:, 1:9].copy()
        estimate_magnitudes(made.features[:, 1:9].copy(), errors, coordinates)
        found.append(errors[0, columns(["W1"])][0])
    assert found[1] < 0.9 * found[0]


def test_a_deviant_complete_star_changes_estimates_little():
    made = low_rank_stars(600, seed=4)
    lacks = without(made)
    found = []
    for added in (0.0, 5.0):
        magnitudes, errors = made.features[:, 1:9].copy(), made.errors[:, 1:9].copy()
        magnitudes[np.flatnonzero(lacks < 0)[0], 7] += added
        estimate_magnitudes(magnitudes, errors)
        found.append((magnitudes[lacks == 0][:, 7], errors[lacks == 0][:, 7]))
    np.testing.assert_allclose(found[1][0], found[0][0], atol=0.003)
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=0.05)


def test_nothing_is_done_where_nothing_is_missing():
    made = low_rank_stars(5)
    magnitudes, errors = made.features[:, 1:9].copy(), made.errors[:, 1:9].copy()
    assert not estimate_magnitudes(magnitudes, errors).any()
    np.testing.assert_array_equal(magnitudes, made.features[:, 1:9])


@pytest.mark.parametrize("n_complete", [0, 1, 9, 23])
def test_hardly_a_complete_star_is_refused_in_one_line(n_complete):
    made = low_rank_stars(60)
    magnitudes, errors = made.features[:, 1:9].copy(), made.errors[:, 1:9].copy()
    magnitudes[n_complete:, 7] = np.nan
    with pytest.raises(BadInputError, match=f"{60 - n_complete} stars lack some and {n_complete} have all") as caught:
        estimate_magnitudes(magnitudes, errors, made.z.astype(np.float32))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("n_complete", [24, 30, 50])
def test_few_complete_stars_give_errors_that_are_no_smaller_than_they_should(n_complete):
    made = low_rank_stars(300, seed=5)
    measured = made.features[:, 8].copy()
    magnitudes, errors = made.features[:, 1:9].copy(), made.errors[:, 1:9].copy()
    magnitudes[n_complete:, 7] = np.nan
    estimate_magnitudes(magnitudes, errors, made.z.astype(np.float32))
    off = (magnitudes[n_complete:, 7] - measured[n_complete:]) / errors[n_complete:, 7]
    assert 0.7 < off.std() < 1.6


@pytest.fixture(scope="module")
def lacking(tmp_path_factory):
    """A survey in which two fifths of the stars lack bands, which ones, and its catalog; then the same with all."""
    folder = tmp_path_factory.mktemp("bands")
    made, whole = low_rank_stars(400, seed=6), low_rank_stars(400, seed=6)
    colours = 0.06 * np.random.default_rng(0).normal(size=(400, 8))  # that nothing else tells
    for stars in (made, whole):
        stars.features[:, 1:9] += colours
    lacks = without(made)
    config = Config().replace(features={"rank": 8}, fit={"rank": 5, "products": 2})
    surveys = [
        write_low_rank_survey(folder / name, stars, config=config)
        for name, stars in (("lacking", made), ("whole", whole))
    ]
    models = fit_folds(surveys[1], config, 1)
    return surveys, lacks, models, [make_catalog(survey, models=models, threads=1) for survey in surveys]


def test_estimates_stand_in_the_features_and_the_star_table_keeps_what_was_measured(lacking):
    (survey, whole), lacks, _, _ = lacking
    verify_survey(survey.path)
    survey.check_values()
    for k, bands in enumerate(SETS.values()):
        for band, column in zip(bands, columns(bands), strict=True):
            name, error = MAGNITUDE_COLUMNS[band]
            assert np.isnan(survey.stars[name][lacks == k]).all()
            assert np.isnan(survey.stars[error][lacks == k]).all()
            off = survey.features[lacks == k, 1 + column] - whole.features[lacks == k, 1 + column]
            assert off.std() < 0.12
            assert (survey.feature_errors[lacks == k, 1 + column] > 0.01).all()
    np.testing.assert_array_equal(survey.features[lacks < 0], whole.features[lacks < 0])


def test_each_band_that_is_missing_is_flagged(lacking):
    _, lacks, models, (catalog, _) = lacking
    predicted = predict_survey(models["A"], lacking[0][0], threads=1)
    for table in (catalog, predicted):
        flags = np.asarray(table["flags"])
        for band in BANDS:
            flagged = flags & (1 << list(FLAGS).index(f"estimated_{band}")) > 0
            expected = np.isin(lacks, [k for k, bands in enumerate(SETS.values()) if band in bands])
            np.testing.assert_array_equal(flagged, expected)


def test_stars_with_estimated_magnitudes_have_larger_errors_and_good_predictions(lacking):
    _, lacks, _, (catalog, whole) = lacking
    # What the coefficients add can be less: an estimate is nearer to the middle of all stars than a measurement.
    for name, least in (("spec_parallax_err", 1.0), ("spec_parallax_err_total", 0.95)):
        errors = [np.asarray(table[name] / table["spec_parallax"]) for table in (catalog, whole)]
        ratio = errors[0] / errors[1]
        for k in range(len(SETS)):
            assert np.median(ratio[lacks == k]) > least
        np.testing.assert_array_equal(ratio[lacks < 0], 1.0)
    true = low_rank_stars(400, seed=6).true
    off = np.asarray(catalog["spec_parallax"] - true) / np.asarray(catalog["spec_parallax_err_total"])
    assert np.isfinite(off).all()
    assert np.median(np.abs(off[lacks >= 0])) / 0.6745 < 1.5


def test_stars_with_rough_estimates_are_in_no_training_set(tmp_path):
    made = low_rank_stars(300, seed=7)
    # W2 as nothing else tells it.
    made.features[:, 8] += 0.3 * np.random.default_rng(0).normal(size=300).astype(np.float32)
    lacks = without(made)
    survey = write_low_rank_survey(tmp_path / "survey", made)
    error = survey.feature_errors[:, 1:9].max(axis=1)
    without_w2 = np.isin(lacks, [list(SETS).index("WISE"), list(SETS).index("W2")])
    assert (error[without_w2] > ERROR_MAX).all()
    np.testing.assert_array_equal(survey.stars["training_set"], ~without_w2)
    assert survey.stars["training_set"][lacks == list(SETS).index("BP and RP")].all()


def test_bands_are_estimated_by_what_the_survey_that_it_is_like_measured(tmp_path):
    reference, others = low_rank_stars(400, seed=8), low_rank_stars(60, seed=9)
    # Half of its stars lack W2: estimates have no scatter, and are nothing to learn from.
    for array in (reference.features, reference.errors):
        array[::2, 8] = np.nan
    first = write_low_rank_survey(tmp_path / "first", reference)
    measured = others.features[:, 8].copy()
    for array in (others.features, others.errors):
        array[:59, 8] = np.nan
    second = write_low_rank_survey(tmp_path / "second", others, like=first)
    expected = first.feature_errors[0, 8]
    np.testing.assert_allclose(second.feature_errors[:59, 8], expected, rtol=1e-5)
    pull = (second.features[:59, 8] - measured[:59]) / expected
    assert pull.std() == pytest.approx(1.0, abs=0.3)


def test_a_survey_without_coordinates_estimates_from_magnitudes_alone(tmp_path):
    made = low_rank_stars(100, seed=10)
    without(made)
    config = Config().replace(features={"rank": 0}, fit={"pixels": "raw"})
    survey = write_low_rank_survey(tmp_path / "survey", made, config=config)
    survey.check_values()
    assert survey.low_rank is None


#: A star that passes all cuts.
GOOD = {
    **{name: 10.0 for name, _ in MAGNITUDE_COLUMNS.values()},
    **{error: 0.02 for _, error in MAGNITUDE_COLUMNS.values()},
    **{"LOGG": 1.5, "phot_bp_mean_mag": 10.8, "phot_rp_mean_mag": 9.2, "phot_variable_flag": "CONSTANT"},
}


def cut(missing, n_complete=COMPLETE_MIN, **sample):
    """The cut-flow of complete stars and of one star for each set of bands that is missing."""
    rows = [dict(GOOD) for _ in range(n_complete)]
    for bands in missing:
        rows.append({**GOOD, **{MAGNITUDE_COLUMNS[band][0]: np.nan for band in bands}})
    table = Table(rows=rows, names=list(GOOD))
    flow, config = CutFlow([f"s{i}" for i in range(len(table))]), Config().replace(sample=sample)
    left = cut_photometry(cut_apogee(table, flow, config), flow, config)
    assert len(left) == flow.rows.size
    return flow, left


def test_stars_with_few_bands_are_cut_and_those_with_estimates_are_counted():
    missing = [["W2"], ["W1", "W2"], ["J", "H", "K"], BANDS[:4], BANDS[:5], BANDS]
    flow, _ = cut(missing)
    assert dict(flow.counts)["photometry"] == COMPLETE_MIN + 4
    assert dict(flow.counts)["of them with estimated magnitudes: 4"] == COMPLETE_MIN + 4
    assert flow.rows.tolist() == list(range(COMPLETE_MIN + 4))
    assert flow.rejected()["reason"].tolist() == ["photometry"] * 2
    assert dict(cut(missing, bands_min=3)[0].counts)["photometry"] == COMPLETE_MIN + 5
    assert dict(cut(missing, bands_min=8)[0].counts)["photometry"] == COMPLETE_MIN


def test_an_error_that_is_none_makes_the_magnitude_missing():
    _, left = cut([["W2"]])
    assert np.isnan(left["w2mpro"][-1])
    assert np.isnan(left["w2mpro_error"][-1])


def test_stars_without_a_band_are_rejected_where_few_have_them_all():
    flow, _ = cut([["W2"], ["J"]], n_complete=COMPLETE_MIN - 1)
    assert flow.rows.tolist() == list(range(COMPLETE_MIN - 1))
    assert not any("estimated" in name for name, _ in flow.counts)


def test_rejected_is_what_it_was():
    flow, _ = cut([["W2"], ["J"], ["BP"]], missing_bands="rejected")
    assert flow.rows.tolist() == list(range(COMPLETE_MIN))
    assert flow.rejected()["reason"].tolist() == ["WISE photometry", "2MASS photometry", "Gaia photometry"]
    names = [name for name, _ in flow.counts]
    assert {"2MASS photometry", "Gaia photometry", "WISE photometry"} <= set(names)
    assert "photometry" not in names


def test_ingest_keeps_stars_that_lack_bands(tmp_path, config):
    (tmp_path / "in").mkdir()
    allstar, spectra, gaia = write_download(tmp_path / "in", n=COMPLETE_MIN + 3)
    table = Table.read(allstar)
    table["J"][0] = -9999.0
    table.write(allstar, overwrite=True)
    table = Table.read(gaia)
    table["w2mpro_error"][1] = np.nan
    for name in ("w1mpro", "w2mpro", "phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag"):
        table[name][2] = np.nan
    table.write(gaia, overwrite=True)
    config = config.replace(features={"rank": 0})
    survey = ingest(allstar, spectra, gaia, tmp_path / "out", config=config, threads=1, quiet=True)
    survey.check_values()
    assert survey.n_stars == COMPLETE_MIN + 2
    flow = dict(map(tuple, survey.info["cut_flow"]))
    assert flow["photometry"] == flow["of them with estimated magnitudes: 2"] == COMPLETE_MIN + 2
    assert survey.info["n_training"] == np.sum(survey.stars["training_set"])
    config = config.replace(sample={"missing_bands": "rejected"})
    survey = ingest(allstar, spectra, gaia, tmp_path / "old", config=config, threads=1, quiet=True)
    assert survey.n_stars == COMPLETE_MIN
    assert survey.rejected["reason"].tolist() == ["2MASS photometry", "WISE photometry", "Gaia photometry"]
