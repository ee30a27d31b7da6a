"""The survey folder: what is written comes back, whole or not at all, and what does not fit is named."""

import hashlib
import json

import numpy as np
import pytest
from astropy.table import Table
from tiny import tiny_survey

import spfast
from spfast.config import Config
from spfast.data.columns import DR3_COLUMNS, STAR_COLUMNS
from spfast.data.spectra.features import MAGNITUDE_COLUMNS, fill_features
from spfast.data.survey import open_survey, verify_survey
from spfast.data.write_survey import SurveyWriter
from spfast.errors import BadInputError
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
    np.testing.assert_allclose(survey.feature_errors[2, 1:9], 0.01 * np.arange(1, 9), rtol=1e-6)
    from spfast.data.spectra.continuum import chip_pixels

    columns = np.searchsorted(chip_pixels(), LAYOUT.pixels)
    np.testing.assert_array_equal(survey.features[:, 9:], ln_flux[:, columns])
    np.testing.assert_array_equal(survey.feature_errors[:, 9:], ln_error[:, columns])
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
    both = origin("a", [north, south, north], continuum={"pixels": [300, 301]})
    assert both == {"spectra": ["apStar r12", "aspcapStar dr17"], "continuum": continuum}
    assert origin("b", ["mine/2M1.fits"]) == {"spectra": [], "continuum": None}


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
