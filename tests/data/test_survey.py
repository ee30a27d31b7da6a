"""The survey folder: what is written comes back, whole or not at all, and what does not fit is named."""

import copy
import hashlib
import json
import multiprocessing
import pickle
import shutil

import numpy as np
import pytest
from astropy.table import Table
from tiny import tiny_survey

import spfast
from spfast.config import Config
from spfast.data.columns import DR3_COLUMNS, STAR_COLUMNS
from spfast.data.spectra.features import MAGNITUDE_COLUMNS, fill_features, rounded_errors
from spfast.data.survey import open_survey, verify_survey
from spfast.data.write_survey import SurveyWriter
from spfast.errors import BadInputError
from spfast.lock import hold
from spfast.model.layout import FeatureLayout

LAYOUT = FeatureLayout((300, 301, 5000))


CHIP = 7451


def star_table(n=4):
    stars = Table({"APOGEE_ID": [f"2M{i}" for i in range(n)], "source_id": np.arange(n) + 2**60, "ruwe": np.ones(n)})
    for i, (value, error) in enumerate(MAGNITUDE_COLUMNS.values()):
        stars[value], stars[error] = 10.0 + i + np.arange(n), 0.01 * (i + 1)
    return stars


def write(path, n=4, **options):
    rng = np.random.default_rng(0)
    ln_flux, ln_error = rng.normal(size=(2, n, CHIP)).astype(np.float32)
    stars = star_table(n)
    with SurveyWriter(path, LAYOUT, n) as writer:
        fill_features(LAYOUT, stars, ln_flux, ln_error, writer.features, writer.feature_errors)
        return writer.finish(stars, **options), ln_flux, ln_error


def test_a_survey_that_is_written_comes_back(tmp_path):
    rejected = Table({"APOGEE_ID": ["a"], "row": [7], "reason": ["log g"], "detail": ["LOGG = 3.0"]})
    survey, ln_flux, ln_error = write(
        tmp_path / "s", rejected=rejected, cut_flow=[("rows", 5), ("log g", 4)], config=Config(), provenance={"x": 1}
    )
    assert [child.name for child in tmp_path.iterdir()] == ["s"]
    assert survey.n_stars == 4
    assert survey.n_features == 12
    assert survey.layout == LAYOUT
    assert survey.features.dtype == np.float32
    assert not survey.features.flags.writeable
    np.testing.assert_array_equal(survey.features[:, 0], 1)
    np.testing.assert_array_equal(survey.feature_errors[:, 0], 0)
    np.testing.assert_array_equal(survey.features[2, 1:9], 12.0 + np.arange(8))
    np.testing.assert_allclose(survey.feature_errors[2, 1:9], 0.01 * np.arange(1, 9), rtol=2**-11)
    from spfast.data.spectra.continuum import chip_pixels

    columns = np.searchsorted(chip_pixels(), LAYOUT.pixels)
    np.testing.assert_array_equal(survey.features[:, 9:], ln_flux[:, columns])
    np.testing.assert_array_equal(survey.feature_errors[:, 9:], ln_error[:, columns].astype(np.float16))
    assert np.load(tmp_path / "s" / "features.npy").shape == (4, 12)
    assert survey.info["cut_flow"] == [["rows", 5], ["log g", 4]]
    assert survey.info["config"]["normalization"]["chebyshev_degree"] == 2
    assert survey.info["x"] == 1
    assert survey.rejected["detail"].tolist() == ["LOGG = 3.0"]
    verify_survey(survey.path)


def test_star_table_has_every_column_with_unit_and_description(tmp_path):
    stars = write(tmp_path / "s")[0].stars
    assert stars.colnames == [*STAR_COLUMNS, "ruwe"]
    for name in stars.colnames:
        column = {**STAR_COLUMNS, **DR3_COLUMNS}[name]
        assert stars[name].description == column.description
        assert str(stars[name].unit or "") == column.unit.replace("um-1", "1 / um").replace("km/s", "km / s").replace(
            "mas/yr", "mas / yr"
        )
    assert stars["source_id"].tolist() == [2**60 + i for i in range(4)]
    assert np.isnan(stars["parallax"]).all()
    assert stars["random_index"].tolist() == [-1] * 4
    assert stars["TELESCOPE"].tolist() == [""] * 4
    assert stars["training_set"].dtype == bool
    assert not hasattr(stars["parallax"], "mask")


def test_the_same_input_gives_the_same_bytes(tmp_path):
    first, second = write(tmp_path / "a")[0], write(tmp_path / "b")[0]
    assert first.survey_hash == second.survey_hash
    for name in ("features.npy", "feature_errors.npy", "stars.fits", "rejected.ecsv", "survey.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_origin_of_the_features_is_kind_and_release_of_the_spectra_and_a_hash_of_the_continuum_pixels(tmp_path):
    def origin(name, files, **provenance):
        stars = star_table(len(files))
        stars["FILE"] = files
        with SurveyWriter(tmp_path / name, LAYOUT, len(files)) as writer:
            writer.features[:, 0] = 1
            return writer.finish(stars, provenance=provenance).features_origin

    south, north = "lco/asStar-r12-2M1.fits", "apo/aspcapStar-dr17-2M2.fits.gz"
    continuum = hashlib.sha256(b"[300, 301]").hexdigest()
    both = origin("a", [north, south, north], continuum={"pixels": [300, 301]}, wise="AllWISE")
    assert both == {
        "spectra": ["apStar r12", "aspcapStar dr17"],
        "wise": "AllWISE",
        "continuum": continuum,
        "gaia_release": None,
    }
    assert origin("b", ["mine/2M1.fits"]) == {"spectra": [], "wise": None, "continuum": None, "gaia_release": None}
    assert origin("c", ["25/44/mwmStar-0.8.1-54392544.fits.gz"])["spectra"] == ["mwmStar 0.8.1"]


def test_an_error_while_writing_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), SurveyWriter(tmp_path / "s", LAYOUT, 3) as writer:
        writer.features[0] = 1 / (0 if writer.partial.is_dir() else 1)
    assert not list(tmp_path.iterdir())
    with pytest.raises(BadInputError, match="2 stars for 3 feature rows"), SurveyWriter(tmp_path / "s", LAYOUT, 3) as w:
        w.finish(star_table(2))
    assert not list(tmp_path.iterdir())


def test_a_path_that_exists_or_cannot_be_made_and_no_star_are_refused(tmp_path):
    (tmp_path / "s").mkdir()
    with pytest.raises(BadInputError, match="exists already"):
        SurveyWriter(tmp_path / "s", LAYOUT, 3)
    with pytest.raises(BadInputError, match="no star"):
        SurveyWriter(tmp_path / "t", LAYOUT, 0)
    (tmp_path / "file").touch()
    with pytest.raises(BadInputError, match="cannot be written"):
        SurveyWriter(tmp_path / "file" / "s", LAYOUT, 3)


def test_a_damaged_survey_is_refused_with_the_name_of_the_file(tmp_path):
    path = tmp_path / "s"
    write(path)
    with pytest.raises(BadInputError, match="no such folder"):
        open_survey(tmp_path / "none")
    with pytest.raises(BadInputError, match=r"has no survey\.json"):
        open_survey(tmp_path)
    whole = {child.name: child.read_bytes() for child in path.iterdir()}

    def refused(name, content, message):
        (path / name).write_bytes(content)
        with pytest.raises(BadInputError, match=message) as caught:
            open_survey(path)
        assert "\n" not in str(caught.value)
        (path / name).write_bytes(whole[name])

    refused("survey.json", b"{", r"survey\.json: damaged")
    refused("survey.json", b"{}", r"survey\.json: damaged")
    other = json.dumps({**json.loads(whole["survey.json"]), "schema": 99}).encode()
    refused("survey.json", other, "survey format 99, expected 1")
    refused("features.npy", whole["features.npy"][:-4], r"features\.npy: cannot be read")
    refused("stars.fits", b"", r"stars\.fits: cannot be read")
    for array, message in [
        (np.zeros((4, 11), "f4"), r"features\.npy: 11 columns, the survey's layout 12; build it again"),
        (np.zeros((4, 12)), "float64 of shape"),
        (np.zeros((4, 12), "f4", order="F"), "C order"),
        (np.zeros((3, 12), "f4"), r"feature_errors\.npy: 4 rows, features\.npy has 3"),
    ]:
        np.save(tmp_path / "other.npy", array)
        refused("features.npy", (tmp_path / "other.npy").read_bytes(), message)
    (path / "features.npy").unlink()
    with pytest.raises(BadInputError, match=r"features\.npy: cannot be read"):
        open_survey(path)
    (path / "features.npy").write_bytes(whole["features.npy"][:-1] + b"\x11")
    with pytest.raises(BadInputError, match=r"features\.npy: changed since"):
        verify_survey(path)


@pytest.mark.parametrize(
    ("name", "value"), [("features", np.nan), ("features", -np.inf), ("feature_errors", np.inf), ("feature_errors", -1)]
)
def test_a_survey_with_nan_infinite_or_negative_values_is_refused(tmp_path, name, value):
    tiny_survey(tmp_path / "s", n_stars=40)
    array = np.load(tmp_path / "s" / f"{name}.npy", mmap_mode="r+")
    array[7, 20] = value
    del array
    survey = open_survey(tmp_path / "s")
    with pytest.raises(
        BadInputError, match=rf"{name}\.npy: row 7 \(2M00000007\+0000007\) has a value that is not finite"
    ):
        spfast.make_catalog(survey, threads=1)


def test_errors_are_kept_in_half_of_the_room_and_what_is_finite_stays_finite():
    errors = np.array([0.0, 3e-4, 0.0123, 7.0, 65504.0, 65519.9, 65520.0, 1e5, 3e38, np.inf, np.nan], np.float32)
    found = rounded_errors(errors)
    assert found.dtype == np.float16
    assert found[0] == 0.0
    np.testing.assert_allclose(found[1:5], errors[1:5], rtol=2**-11)
    assert (found[4:9] == 65504.0).all()
    assert found[9] == np.inf
    assert np.isnan(found[10])


def test_a_survey_of_an_earlier_version_with_float32_errors_gives_the_same_catalog(tmp_path):
    tiny_survey(tmp_path / "s", n_stars=60)
    survey = open_survey(tmp_path / "s")
    expected = spfast.make_catalog(survey, 1.0, threads=1)
    errors = np.load(survey.path / "feature_errors.npy")
    assert errors.dtype == np.float16
    np.save(survey.path / "feature_errors.npy", errors.astype(np.float32))
    older = open_survey(survey.path)
    assert older.feature_errors.dtype == np.float32
    found = spfast.make_catalog(older, 1.0, threads=1)
    for name in expected.colnames:
        np.testing.assert_array_equal(found[name], expected[name])


# Damage that is noticed where it is cheap, without --verify


def edit_array(path, name, row, column, value):
    array = np.load(path / f"{name}.npy", mmap_mode="r+")
    array[row, column] = value


def edit_stars(path, edit, keep_hash=True):
    """Change the star table; with ``keep_hash``, as somebody who also forges its hash."""
    stars = Table.read(path / "stars.fits")
    edit(stars)
    stars.write(path / "stars.fits", overwrite=True)
    if keep_hash:
        info = json.loads((path / "survey.json").read_text())
        info["sha256"]["stars.fits"] = hashlib.sha256((path / "stars.fits").read_bytes()).hexdigest()
        (path / "survey.json").write_text(json.dumps(info))


@pytest.mark.parametrize(
    ("name", "value", "expected"), [("features", 2, 1), ("features", 0, 1), ("feature_errors", 1, 0)]
)
@pytest.mark.parametrize("row", [0, 7, 39])
def test_survey_whose_first_column_is_no_constant_is_refused(tmp_path, name, value, expected, row):
    tiny_survey(tmp_path / "s", n_stars=40)
    edit_array(tmp_path / "s", name, row, 0, value)
    with pytest.raises(
        BadInputError, match=rf"{name}\.npy: row {row} \(2M.*\) begins with {value}, expected {expected}"
    ):
        open_survey(tmp_path / "s")


def test_constant_is_looked_at_in_a_sample_of_rows_and_then_in_all(tmp_path):
    tiny_survey(tmp_path / "s", n_stars=600)
    edit_array(tmp_path / "s", "features", 1, 0, 3)
    survey = open_survey(tmp_path / "s")  # of 600 rows 256 are looked at
    with pytest.raises(BadInputError, match=r"features\.npy: row 1 \(2M00000001\+0000001\) begins with 3, expected 1"):
        spfast.make_catalog(survey, threads=1)


def test_star_table_that_changed_is_refused(tmp_path):
    tiny_survey(tmp_path / "s", n_stars=40)
    edit_stars(tmp_path / "s", lambda stars: stars["parallax"].__imul__(1.0001), keep_hash=False)
    with pytest.raises(BadInputError, match=r"stars\.fits: changed since the survey was built; build it again"):
        open_survey(tmp_path / "s")


@pytest.mark.parametrize("name", ["2M00000003+0000003", ""])
def test_star_table_with_a_star_twice_or_without_a_name_is_refused(tmp_path, name):
    def edit(stars):
        stars["APOGEE_ID"][[4, 5]] = name

    tiny_survey(tmp_path / "s", n_stars=40)
    edit_stars(tmp_path / "s", edit)
    with pytest.raises(BadInputError, match=rf"stars\.fits: 1 APOGEE_ID stand .*first '{name.replace('+', '.')}'"):
        open_survey(tmp_path / "s")
    with pytest.raises(BadInputError, match="expected one row a star"):
        tiny_survey(tmp_path / "t", n_stars=40, edit=edit)
    assert not list(tmp_path.glob("t*"))


# Surveys go to worker processes


def total(survey):
    return type(survey.features).__name__, float(survey.features.sum()), survey.survey_hash, survey.n_stars


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_survey_arrives_in_a_worker_process_with_its_maps(tmp_path, monkeypatch, method):
    tiny_survey(tmp_path / "s", n_stars=40)
    monkeypatch.chdir(tmp_path)
    survey = open_survey("s")
    monkeypatch.chdir(tmp_path.parent)  # a worker may stand elsewhere
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.map(total, [survey]) == [total(survey)]
    assert total(survey)[0] == "memmap"


def test_survey_is_pickled_without_its_arrays(tmp_path):
    survey = tiny_survey(tmp_path / "s", n_stars=3000)[0]
    content = pickle.dumps(survey.__getstate__() | {"stars": None})
    assert len(content) < 3000
    for other in (pickle.loads(pickle.dumps(survey)), copy.copy(survey), copy.deepcopy(survey)):
        assert other.info == survey.info
        assert other.layout == survey.layout
        assert not other.features.flags.writeable
        np.testing.assert_array_equal(other.features, survey.features)
        np.testing.assert_array_equal(other.feature_errors, survey.feature_errors)
        np.testing.assert_array_equal(other.stars["parallax"], survey.stars["parallax"])
    assert isinstance(survey.features, np.memmap)  # of what was sent nothing changed
    assert survey.info is not None


def test_what_a_caller_changed_in_a_survey_goes_along(tmp_path):
    survey = tiny_survey(tmp_path / "s", n_stars=40)[0]
    survey.stars["parallax"][0] = 77.0
    survey.features = survey.features[5:25]
    survey.feature_errors = np.array(survey.feature_errors[5:25])
    other = pickle.loads(pickle.dumps(survey))
    assert other.stars["parallax"][0] == 77.0
    assert other.n_stars == 20
    np.testing.assert_array_equal(other.features, survey.features)
    np.testing.assert_array_equal(other.feature_errors, survey.feature_errors)


def test_survey_that_was_replaced_meanwhile_does_not_arrive(tmp_path):
    content = pickle.dumps(tiny_survey(tmp_path / "s", n_stars=40)[0])
    shutil.rmtree(tmp_path / "s")
    with pytest.raises(BadInputError, match="no such folder"):
        pickle.loads(content)
    tiny_survey(tmp_path / "s", n_stars=40, seed=4)
    with pytest.raises(BadInputError, match="holds another survey than when this one was opened; open it again"):
        pickle.loads(content)


@pytest.mark.parametrize("how", ["removed", "of another"])
def test_lock_taken_away_is_noticed_before_the_survey_gets_its_name(tmp_path, how):
    path, lock = tmp_path / "s", tmp_path / ".s.lock"
    stars = star_table(3)

    def build():
        with hold(path), SurveyWriter(path, LAYOUT, 3) as writer:
            writer.features[:, 0] = 1
            lock.unlink()
            if how == "of another":
                lock.touch()
            writer.finish(stars)

    with pytest.raises(BadInputError, match=r"its lock \.s\.lock was removed, and another process may be writing"):
        build()
    # What is in the partial folder by now may be the other process's.
    assert not path.exists()
    assert (tmp_path / "s.partial").is_dir()
