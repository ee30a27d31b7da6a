"""The catalog: independence of the folds, columns, flags, formats, the same bytes twice; saved models on new stars."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.io.votable.ucd import parse_ucd
from astropy.table import Table
from tiny import RAW, tiny_survey

from spfast import load_model
from spfast.catalog.columns import COLUMNS, FLAGS
from spfast.catalog.labels import EXTRA_COMMENTS
from spfast.catalog.make import HEADER_COMMENTS, make_catalog
from spfast.catalog.predict import predict_survey
from spfast.config import Config, load_config, resolve_config
from spfast.data.tables.read import read_table
from spfast.data.tables.write import SUFFIXES, check_output, write_table
from spfast.errors import BadInputError, SpfastWarning
from spfast.files import new_file
from spfast.model.parts import FittedZeroPoint, Provenance
from spfast.training.fold import fit_folds, fit_stars
from spfast.training.inputs import model_inputs
from spfast.validation.read_catalog import TABLE_1

PENALTY = 20.0


def mess(stars):
    """Stars that deserve a flag: 0 no parallax, 1 and 2 bad bits, 3 masked pixels, 4 an outlier, 5 a warning bit."""
    stars["parallax"][0] = stars["parallax_error"][0] = np.nan
    stars["STARFLAG"][[1, 5]] = 1 << 3, 1 << 9
    stars["ASPCAPFLAG"][2] = 1 << 41
    stars["n_bad_pixels"][3] = 31
    stars["parallax"][4] += 40.0
    stars["training_set"][:5] = False
    stars["STARFLAG"][6] = stars["ASPCAPFLAG"][6] = -1  # none known


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    return tiny_survey(tmp_path_factory.mktemp("tiny") / "survey", edit=mess)[0]


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return tiny_survey(tmp_path_factory.mktemp("truth") / "survey")[1]


@pytest.fixture(scope="module")
def models(survey):
    return fit_folds(survey, resolve_config(penalty=PENALTY), threads=1)


@pytest.fixture(scope="module")
def catalog(survey, models):
    return make_catalog(survey, penalty=PENALTY, models=models)


def test_models_that_saw_the_stars_they_would_predict_are_refused(survey, models, tmp_path, catalog):
    for fold, model in models.items():
        model.save(tmp_path / f"{fold}.npz")
    paths = {fold: tmp_path / f"{fold}.npz" for fold in models}
    again = make_catalog(survey, penalty=PENALTY, models=paths, threads=1)
    np.testing.assert_array_equal(again["spec_parallax"], catalog["spec_parallax"])
    for wrong in ({"A": models["B"], "B": models["A"]}, dict.fromkeys("AB", models["A"])):
        with pytest.raises(BadInputError, match=r"models\['.'\]: saw \d+ of the \d+ stars of fold . that it would"):
            make_catalog(survey, models=wrong)
    other = Config().replace(folds={"split": "hash", "seed": 5})
    with pytest.raises(BadInputError, match=r"and the same \[folds\]"):
        make_catalog(survey, config=other, models=models)
    for wrong in ({"A": models["A"]}, list(models.values())):
        with pytest.raises(BadInputError, match=r"models: got .*, expected one of each fold"):
            make_catalog(survey, models=wrong)


@pytest.mark.parametrize(("rule", "value"), [("lindegren2021", 0.029), ("fit", 0.05)])
def test_stars_that_lack_what_the_models_zero_point_needs_are_predicted(models, tmp_path, rule, value):
    def without_colour(stars):
        stars["phot_bp_mean_mag"] = np.nan

    survey, _ = tiny_survey(tmp_path / "survey", n_stars=20, edit=without_colour)
    fitted = FittedZeroPoint(["BP-RP"], ["mag"], [1.0], [0.05, 0.01], np.eye(2).tolist())
    model = replace(models["A"], zero_point_rule=rule, fitted_zero_point=fitted)
    with pytest.warns(SpfastWarning, match=f"compared with Gaia by a zero point of {value} mas for all stars"):
        table = predict_survey(model, survey, threads=1)
    constant = replace(models["A"], zero_point=value)
    expected = predict_survey(constant, survey, threads=1)
    for name in table.colnames:
        np.testing.assert_array_equal(np.asarray(table[name]), np.asarray(expected[name]), err_msg=name)
    assert table.meta["ZPRULE"] == rule


def flagged(catalog, name):
    return np.flatnonzero(catalog["flags"] & (1 << list(FLAGS).index(name))).tolist()


def test_columns(catalog, survey):
    assert tuple(catalog.colnames[:7]) == TABLE_1
    assert catalog.colnames == [name for name in COLUMNS if name != "outlier_probability"]  # only of a robust fit
    assert len(catalog) == survey.n_stars
    for column in catalog.itercols():
        assert column.description
        parse_ucd(column.meta["ucd"], check_controlled_vocabulary=True)
        unit = {"parallax": units.mas, "distance": units.kpc}
        for part, expected in unit.items():
            if part in column.name and not column.name.startswith("ln_"):
                assert column.unit == expected
    np.testing.assert_array_equal(catalog["2MASS_ID"], survey.stars["APOGEE_ID"])
    np.testing.assert_allclose(catalog["Gaia_parallax"], survey.stars["parallax"] + 0.0483, rtol=1e-15)
    assert set(catalog["sample"]) == {"A", "B"}
    assert set(catalog["training_set"]) == {0, 1}


def test_values_follow_from_each_other(catalog):
    spec, error = catalog["spec_parallax"], catalog["spec_parallax_err_total"]
    factor = np.where(catalog["sample"] == "A", catalog.meta["FEATIN_B"], catalog.meta["FEATIN_A"])
    assert np.all(error > factor * catalog["spec_parallax_err"])
    np.testing.assert_allclose(np.exp(catalog["ln_spec_parallax"]), spec, rtol=1e-14)
    np.testing.assert_allclose(catalog["ln_spec_parallax_err"] * spec, error, rtol=1e-14)
    np.testing.assert_allclose(catalog["distance"] * spec, 1.0, rtol=1e-14)
    ln_ratio = np.log(catalog["distance_84"] / catalog["distance_16"])
    np.testing.assert_allclose(ln_ratio, 2 * catalog["ln_spec_parallax_err"], rtol=1e-10)

    inflation = np.where(catalog["sample"] == "A", catalog.meta["INFLAT_B"], catalog.meta["INFLAT_A"])
    gaia, gaia_error = catalog["Gaia_parallax"], inflation * catalog["Gaia_parallax_err"]
    weights = np.array([1 / error**2, 1 / gaia_error**2])
    mean = (weights * [spec, gaia]).sum(axis=0) / weights.sum(axis=0)
    np.testing.assert_allclose(catalog["combined_parallax"][1:], mean[1:], rtol=1e-13)
    np.testing.assert_allclose(catalog["combined_parallax_err"][1:], weights.sum(axis=0)[1:] ** -0.5, rtol=1e-13)
    assert catalog["combined_parallax"][0] == spec[0]
    assert catalog["combined_parallax_err"][0] == error[0]


def test_predictions_are_good(survey, truth):
    catalog = make_catalog(survey, penalty=PENALTY, config=RAW, threads=1)
    assert np.std(catalog["spec_parallax"] / truth["true_parallax"] - 1) < 0.06


def test_flags(catalog):
    assert flagged(catalog, "no_gaia_parallax") == [0]
    assert flagged(catalog, "starflag_bad") == [1]
    assert flagged(catalog, "aspcapflag_bad") == [2]
    assert flagged(catalog, "many_masked_pixels") == [3]
    assert flagged(catalog, "parallax_outlier") == [4]
    assert flagged(catalog, "not_converged") == []
    assert flagged(catalog, "starflag_warning") == [5]
    assert catalog["flags"][6] == 0
    assert catalog.meta["FLAG0"].startswith("no_gaia_parallax: ")
    assert "FLAG6" not in catalog.meta  # seen_in_training cannot happen here


def test_header(catalog, survey, models):
    meta = catalog.meta
    assert set(meta) - {f"FLAG{i}" for i in range(len(FLAGS))} == {
        key
        for key in HEADER_COMMENTS
        if not key.startswith("ROB") and key not in EXTRA_COMMENTS  # of other fits, and of columns on request
    }
    assert meta["SURVHASH"] == survey.survey_hash
    assert json.loads(meta["CONFIG"])["fit"]["penalty"] == PENALTY
    assert json.loads(meta["SURVCONF"])["sample"]["logg_max"] == 2.2
    labels = catalog["sample"]
    for fold, model in models.items():
        assert meta[f"NTRAIN_{fold}"] == np.sum((labels == fold) & (catalog["training_set"] == 1))
        assert meta[f"NNONZ_{fold}"] == model.n_nonzero
        assert meta[f"CONVRG_{fold}"] is True


def test_each_fold_is_predicted_by_the_other_model(catalog, survey, models):
    for fold, other in (("A", "B"), ("B", "A")):
        own = np.asarray(catalog["sample"] == fold)
        features = model_inputs(survey, models[other]).features[own]
        np.testing.assert_array_equal(models[other].predict_offset(features), catalog["ln_offset"][own])
        expected = models[other].linear_predictor(features) - catalog["ln_offset"][own]
        np.testing.assert_array_equal(expected, catalog["ln_spec_parallax"][own])
        features = model_inputs(survey, models[fold]).features[own]
        assert np.any(models[fold].predict_ln(features) != expected)


def test_a_model_predicts_the_numbers_of_the_catalog_to_the_bit(catalog, survey, models):
    assert np.any(catalog["ln_offset"] != 0.0)
    for fold, other in (("A", "B"), ("B", "A")):
        own, model = np.asarray(catalog["sample"] == fold), models[other]
        features, errors, *_ = model_inputs(survey, model)
        parallax = model.predict(features, own)
        for name, values in {
            "spec_parallax": parallax,
            "ln_spec_parallax": model.predict_ln(features, own),
            "ln_spec_parallax_err": model.predict_ln_error(features, errors, own),
            "spec_parallax_err_total": model.predict_error(features, errors, own),
            "spec_parallax_err": parallax * model.propagate_ln_error(errors, own),
        }.items():
            np.testing.assert_array_equal(values, catalog[name][own])


def test_an_offset_that_is_counted_leaves_the_models_prediction(catalog, survey, models):
    config = load_config(overrides={"fit": {"penalty": PENALTY}, "errors": {"offset": "counted"}})
    counted = make_catalog(survey, config=config, threads=1)
    assert np.all(counted["ln_offset"] == 0.0)
    own = np.asarray(counted["sample"] == "A")
    features = model_inputs(survey, models["B"]).features[own]
    np.testing.assert_array_equal(np.exp(models["B"].linear_predictor(features)), counted["spec_parallax"][own])
    offset = models["B"].predict_offset(features)
    assert np.ptp(offset) > 0.001
    both = [np.asarray(table["ln_spec_parallax_err"][own]) for table in (counted, catalog)]
    np.testing.assert_allclose(both[0] ** 2, both[1] ** 2 + offset**2, rtol=1e-9)
    # An exact distance modulus is not bent either.
    exact = config.replace(errors={"offset": "subtracted"}, fit={"exact_distance_modulus": True})
    assert np.all(make_catalog(survey, config=exact, threads=1)["ln_offset"] == 0.0)


def test_no_star_is_predicted_by_a_model_that_saw_it(survey, models, catalog, tmp_path):
    for fold, model in models.items():
        table = predict_survey(model, survey)
        seen = np.zeros(len(table), dtype=bool)
        seen[flagged(table, "seen_in_training")] = True
        np.testing.assert_array_equal(seen, (catalog["sample"] == fold) & (catalog["training_set"] == 1))


def test_a_poisoned_parallax_does_not_move_its_own_prediction(catalog, tmp_path):
    star = int(np.flatnonzero(catalog["training_set"] == 1)[7])

    def poison(stars):
        mess(stars)
        stars["parallax"][star] += 5.0

    poisoned = make_catalog(tiny_survey(tmp_path / "survey", edit=poison)[0], penalty=PENALTY, threads=1)
    same_fold = np.asarray(catalog["sample"] == catalog["sample"][star])
    for name in ("spec_parallax", "spec_parallax_err", "spec_parallax_err_total", "distance", "distance_84"):
        np.testing.assert_array_equal(poisoned[name][same_fold], catalog[name][same_fold])
    # The poison did something: to the model of the star's fold, which predicts the others.
    assert np.all(poisoned["spec_parallax"][~same_fold] != catalog["spec_parallax"][~same_fold])


def test_threads_do_not_matter(survey, catalog):
    again = make_catalog(survey, penalty=PENALTY, threads=2)
    for name in catalog.colnames:
        np.testing.assert_array_equal(again[name], catalog[name])
    assert again.meta == catalog.meta


def test_zero_point_and_penalty_are_the_callers(survey):
    config = Config().replace(fit={"penalty": 50.0, "zero_point": 0.1})
    table = make_catalog(survey, config=config, zero_point=0.2)
    assert table.meta["PENALT_A"] == 50.0
    assert table.meta["ZEROPT_B"] == 0.2
    np.testing.assert_allclose(table["Gaia_parallax"], survey.stars["parallax"] + 0.2, rtol=1e-15)


def test_without_training_stars(tmp_path):
    def none(stars):
        stars["training_set"] = stars["random_index"] % 2 == 0

    survey, _ = tiny_survey(tmp_path / "survey", n_stars=60, edit=none)
    with pytest.raises(BadInputError, match="no training star in fold B"):
        make_catalog(survey)
    with pytest.raises(BadInputError, match="fold is 'C'"):
        fit_stars(survey, fold="C")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_keeps_the_table_and_its_bytes(catalog, tmp_path, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path, second = tmp_path / f"catalog{suffix}", tmp_path / f"second{suffix}"
    write_table(catalog, path, comments=HEADER_COMMENTS)
    write_table(catalog.copy(), second, comments=HEADER_COMMENTS)
    assert path.read_bytes() == second.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name, second.name]
    back = read_table(path)
    assert back.colnames == catalog.colnames
    for name in catalog.colnames:
        values = np.ma.filled(back[name], np.nan) if back[name].dtype.kind == "f" else back[name]
        np.testing.assert_array_equal(values, catalog[name])
        if suffix != ".csv":
            assert (back[name].unit or "") == (catalog[name].unit or "")
            assert back[name].meta["ucd"] == catalog[name].meta["ucd"]
            assert " ".join(back[name].description.split()) == catalog[name].description
    if suffix != ".csv":
        assert set(back.meta) == {*catalog.meta, "SHA256"}
        for key, value in catalog.meta.items():
            stored = float(back.meta[key]) if isinstance(value, float) else str(back.meta[key])
            # A FITS card has 16 digits.
            assert stored == (pytest.approx(value, rel=1e-15) if isinstance(value, float) else str(value))


def test_fits_is_read_by_astropy_alone(catalog, tmp_path):
    write_table(catalog, tmp_path / "catalog.fits", comments=HEADER_COMMENTS)
    table = Table.read(tmp_path / "catalog.fits")
    assert table["distance"].unit == units.kpc
    header = fits.getheader(tmp_path / "catalog.fits", 1)
    assert header["TUCD4"] == "pos.parallax.spect"
    assert header["TCOMM4"].startswith("Spectrophotometric parallax")
    assert header.comments["PENALT_A"] == "L1 penalty of model A"
    assert not {"DATE", "COMMENT"} & set(header)


def test_outputs_are_refused_before_any_work(tmp_path, catalog, monkeypatch):
    existing = tmp_path / "catalog.fits"
    existing.write_text("mine")
    for path, message in [
        (existing, "already exists; give another name or --overwrite"),
        (tmp_path / "no" / "catalog.fits", "does not exist; create it first"),
        (tmp_path / "catalog.txt", "cannot write .txt; use .fits"),
        (tmp_path / "catalog", "a name without suffix"),
    ]:
        with pytest.raises(BadInputError, match=message):
            write_table(catalog, path)
    assert existing.read_text() == "mine"
    assert check_output(existing, overwrite=True) == existing
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BadInputError, match=r"spfast\[parquet"):
        check_output(tmp_path / "catalog.parquet")


def test_nothing_is_left_of_a_table_that_fails(tmp_path):
    path = tmp_path / "out.fits"
    path.write_text("the old one")

    def fail():
        with new_file(path) as partial:
            partial.write_text("half")
            raise OSError("disk full")

    with pytest.raises(BadInputError, match=r"out\.fits: cannot be written \(disk full\)"):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == ["out.fits"]
    assert path.read_text() == "the old one"


def test_bad_tables_are_refused_in_one_line(tmp_path, catalog):
    good = tmp_path / "good.fits"
    write_table(catalog, good)
    (tmp_path / "short.fits").write_bytes(good.read_bytes()[: 3 * 2880 + 5000])
    (tmp_path / "text.fits").write_text("not a table")
    (tmp_path / "text.vot").write_text("not a table")
    (tmp_path / "text.ecsv").write_text("not a table")
    (tmp_path / "table.xyz").write_text("a b\n1 2\n")
    fits.PrimaryHDU(np.zeros((3, 3))).writeto(tmp_path / "image.fits")
    for path in sorted(tmp_path.iterdir()):
        if path != good:
            with pytest.raises(BadInputError, match=path.name) as caught:
                read_table(path)
            assert "\n" not in str(caught.value)
    with pytest.raises(BadInputError, match="no such file"):
        read_table(tmp_path / "none.fits")


def test_a_saved_model_predicts_another_survey(models, survey, tmp_path):
    models["A"].save(tmp_path / "a.npz")
    model = load_model(tmp_path / "a.npz")
    other, truth = tiny_survey(tmp_path / "other", n_stars=50, seed=11)
    raw = predict_survey(fit_stars(survey, resolve_config(RAW, penalty=PENALTY), "A", threads=1), other)
    assert np.std(raw["spec_parallax"] / truth["true_parallax"] - 1) < 0.06
    table = predict_survey(model, other)
    assert table.colnames == [name for name in COLUMNS if name in table.colnames]
    assert "Gaia_parallax" not in table.colnames
    # Eight pixels move ln parallax by 0.1 (standard deviation); four coordinates of sixty pixels see little of it.
    assert np.std(table["spec_parallax"] / truth["true_parallax"] - 1) < 0.2
    assert table.meta["MODSURV"] == survey.survey_hash
    assert table.meta["MODFOLD"] == "A"


def test_a_model_that_does_not_know_its_stars_says_so(models, survey):
    model = models["A"].for_layout(survey.layout)
    stripped = replace(model, provenance=Provenance())
    with pytest.warns(SpfastWarning, match="does not say which stars"):
        table = predict_survey(stripped, survey)
    assert "FLAG6" not in table.meta


ROWS_OF_EVERY_LENGTH = """
import sys
from astropy.table import Table
from spfast.data.tables.write import write_table
for length in range(160, 260):
    write_table(Table({"a": ["x" * length]}), sys.argv[1], overwrite=True)
"""


def test_votables_are_written_within_their_buffers(tmp_path):
    # astropy's buffer is a power of two from 256 on.
    call = [sys.executable, "-c", ROWS_OF_EVERY_LENGTH, str(tmp_path / "t.vot")]
    environment = os.environ | {"PYTHONMALLOC": "debug"}
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert read_table(tmp_path / "t.vot")["a"][0] == "x" * 259
