"""The low-rank model of a survey folder is independent of parallaxes, and damaged values of it are refused."""

import gc
import pickle

import numpy as np
import pytest
from tiny import tiny_survey

import spfast
from spfast.data.survey import open_survey
from spfast.errors import BadInputError


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    return tiny_survey(tmp_path_factory.mktemp("low_rank") / "survey", n_stars=80)[0]


@pytest.fixture
def damaged(tmp_path):
    """A survey, and its coordinates mapped for damage."""
    tiny_survey(tmp_path / "survey", n_stars=80)
    return tmp_path / "survey", np.load(tmp_path / "survey" / "coordinates.npy", mmap_mode="r+")


@pytest.mark.parametrize("column", [0, 2, -1])
def test_coordinates_that_are_not_finite_are_refused(damaged, column):
    path, coordinates = damaged
    coordinates[7, column] = np.nan
    with pytest.raises(
        BadInputError, match=r"coordinates.npy: row 7 \(2M00000007.* not finite.*; the survey is damaged"
    ):
        spfast.make_catalog(open_survey(path), threads=1)


def test_a_low_rank_model_that_is_no_archive_is_refused_and_its_file_closed(damaged):
    path, _ = damaged
    whole = (path / "low_rank.npz").read_bytes()
    for content in (whole[:-100], b"PK\x03\x04" + whole[4:-30], b"none"):
        (path / "low_rank.npz").write_bytes(content)
        with pytest.raises(BadInputError, match=r"low_rank\.npz: damaged"):
            _ = open_survey(path).low_rank
    gc.collect()  # an open file would warn now


@pytest.mark.parametrize("name", ["coordinates.npy", "unmeasured.npy"])
def test_files_that_became_shorter_are_refused(damaged, name):
    path, _ = damaged
    survey = open_survey(path)
    assert survey.low_rank is not None
    assert survey.unmeasured is not None
    survey.check_length()
    with open(path / name, "r+b") as file:
        file.truncate((path / name).stat().st_size - 1)
    with pytest.raises(BadInputError, match=f"{name}: became shorter while it was read"):
        survey.check_length()


def test_no_parallax_has_a_say_in_the_model_or_the_coordinates(survey, tmp_path):
    def poison(stars):
        stars["parallax"] += 5.0
        stars["parallax_error"] *= 2.0
        stars["training_set"] = ~stars["training_set"]

    tiny_survey(tmp_path / "survey", n_stars=80, edit=poison)
    for name in ("low_rank.npz", "coordinates.npy", "unmeasured.npy", "features.npy", "feature_errors.npy"):
        assert (tmp_path / "survey" / name).read_bytes() == (survey.path / name).read_bytes(), name


def test_what_is_read_when_it_is_first_asked_for_can_be_asked_for_again(survey):
    for one in (survey, pickle.loads(pickle.dumps(survey))):
        for _ in range(2):
            assert one.unmeasured.shape == (80, 8)
            assert one.low_rank[1].mean.shape == (80, one.low_rank[0].rank)
        np.testing.assert_array_equal(one.low_rank[1].mean, survey.low_rank[1].mean)


def test_a_low_rank_model_that_unpacks_to_too_much_is_refused(damaged):
    path, _ = damaged
    arrays = dict(np.load(path / "low_rank.npz"))
    arrays["filler"] = np.zeros((300 << 20) // 8)
    np.savez_compressed(path / "low_rank.npz", **arrays)
    assert (path / "low_rank.npz").stat().st_size < 2 << 20
    with pytest.raises(BadInputError, match=r"low_rank\.npz: damaged \(it unpacks to more than 256 MiB"):
        _ = open_survey(path).low_rank
