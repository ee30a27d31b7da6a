"""The low-rank model in a survey folder: hashed, checked, taken from another survey, and done without."""

import json
import pickle
import shutil

import numpy as np
import pytest
from low_rank_survey import low_rank_stars, low_rank_survey, write_low_rank_survey
from small_survey import write_download

from spfast.config import Config, resolve_config
from spfast.data.ingest import ingest
from spfast.data.low_rank_files import LOW_RANK_FILES, read_low_rank
from spfast.data.survey import open_survey, verify_survey
from spfast.errors import BadInputError
from spfast.model.learn_low_rank import learn_low_rank
from spfast.training.fold import fit_folds
from spfast.training.inputs import model_inputs, survey_inputs

CONFIG = resolve_config(Config().replace(fit={"rank": 5, "products": 2}))


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    return low_rank_survey(tmp_path_factory.mktemp("low_rank") / "survey")


@pytest.fixture
def folder(survey, tmp_path):
    """A copy to damage."""
    shutil.copytree(survey.path, tmp_path / "copy")
    return tmp_path / "copy"


def old(folder):
    """The folder as an older spfast wrote it."""
    for name in LOW_RANK_FILES:
        (folder / name).unlink()
    return open_survey(folder)


def test_a_survey_holds_bits_a_model_and_coordinates_each_with_its_hash(survey):
    assert {path.name for path in survey.path.iterdir()} >= set(LOW_RANK_FILES)
    verify_survey(survey.path)
    made = low_rank_stars()
    bits = np.unpackbits(survey.unmeasured, axis=1, count=96)
    np.testing.assert_array_equal(bits.astype(bool), made.bits)
    model, coordinates = survey.low_rank
    np.testing.assert_array_equal(model.pixels, survey.layout.pixels)
    assert coordinates.ranks == (model.n_broad, model.fine.rank)
    found = model.coordinates(survey.features[:, 9:], survey.feature_errors[:, 9:], survey.unmeasured)
    for stored, computed in zip(
        (coordinates.mean, coordinates.misfit, *coordinates.roots),
        (found.mean, found.misfit, *found.roots),
        strict=True,
    ):
        np.testing.assert_array_equal(stored, computed)


def test_bits_are_read_twice(survey):
    # An array was compared with a text.
    again = open_survey(survey.path)
    assert again.unmeasured is again.unmeasured
    assert again.low_rank is again.low_rank


@pytest.mark.parametrize("name", LOW_RANK_FILES)
def test_a_changed_file_is_noticed(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[-20] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(BadInputError, match=f"{name}: changed since the survey was built"):
        verify_survey(folder)
    (folder / name).unlink()
    with pytest.raises(BadInputError, match=f"{name}: cannot be read"):
        verify_survey(folder)


@pytest.mark.parametrize(
    ("name", "part"),
    [("coordinates.npy", "low_rank"), ("coordinate_errors.npy", "low_rank"), ("unmeasured.npy", "unmeasured")],
)
def test_an_array_that_does_not_fit_is_refused_in_one_line(folder, name, part):
    whole = np.load(folder / name)
    wrong = [whole[:-1], whole[:, :-1], whole.astype(np.int64), np.asfortranarray(whole), whole[0]]
    for array in wrong:
        np.save(folder / name, array)
        with pytest.raises(BadInputError, match=f"{name}: .* of shape ") as caught:
            getattr(open_survey(folder), part)
        assert "\n" not in str(caught.value)
    for content in (b"", b"nonsense", (folder / "features.npy").read_bytes()[:100]):
        (folder / name).write_bytes(content)
        with pytest.raises(BadInputError, match=name):
            getattr(open_survey(folder), part)


def forged(path, **changes):
    """The file with some parts changed; None takes one away."""
    with np.load(path) as archive:
        parts = {name: archive[name] for name in archive.files}
    parts |= {name: change(parts[name]) for name, change in changes.items() if change is not None}
    for name in [name for name, change in changes.items() if change is None]:
        del parts[name]
    np.savez(path, **parts)


def in_header(*place, value):
    def change(header):
        entries = json.loads(str(header))
        inner = entries
        for name in place[:-1]:
            inner = inner[name]
        inner[place[-1]] = value
        return np.array(json.dumps(entries))

    return change


def with_nan(array):
    array = array.copy()
    array.flat[3] = np.nan
    return array


@pytest.mark.parametrize(
    "changes",
    [
        {"broad_mean": None},
        {"header": None},
        {"pixels": None},
        {"fine_factors": with_nan},
        {"fine_scatter": lambda array: array.astype(np.float64)},
        {"broad_factors": lambda array: array[:, :-1]},
        {"broad_factors": lambda array: array[:1]},
        {"broad_factors": lambda array: array[0]},
        {"pixels": lambda array: array[::-1]},
        {"pixels": lambda array: array.astype(np.int32)},
        {"header": in_header("n_broad", value=99)},
        {"header": in_header("n_broad", value=-1)},
        {"header": in_header("broad", "inflation", value=0.0)},
        {"header": in_header("broad", "inflation", value=float("nan"))},
        {"header": in_header("fine", value=None)},
        {"header": lambda header: np.array("[1]")},
        {"header": lambda header: np.array("{")},
    ],
)
def test_a_damaged_model_is_refused_in_one_line(folder, changes):
    forged(folder / "low_rank.npz", **changes)
    with pytest.raises(BadInputError, match=r"low_rank.npz: damaged .*; build it again with `spfast ingest`") as caught:
        _ = open_survey(folder).low_rank
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["coordinates.npy", "coordinate_errors.npy"])
def test_coordinates_that_are_not_finite_are_refused(folder, name):
    for value in (np.nan, np.inf):
        array = np.load(folder / name)
        array[7, 2] = value
        np.save(folder / name, array)
        with pytest.raises(BadInputError, match=rf"{name}: row 7 .* not finite"):
            open_survey(folder).check_values()
        with pytest.raises(BadInputError, match=rf"{name}: row 7 .* not finite"):
            fit_folds(open_survey(folder), CONFIG, 1)


def test_a_folder_of_an_earlier_version_without_errors_of_coordinates_has_no_low_rank_model(folder):
    (folder / "coordinate_errors.npy").unlink()
    assert open_survey(folder).low_rank is None


def test_a_survey_without_a_model_learns_it_and_gives_the_same_model(survey, folder):
    with_files = fit_folds(
        survey, resolve_config(Config().replace(features={"rank": 8}, fit={"rank": 5, "products": 2})), 1
    )
    assert with_files["A"].low_rank.is_same(survey.low_rank[0])
    verify_survey(survey.path)
    (folder / "low_rank.npz").unlink()
    (folder / "coordinates.npy").unlink()
    without = open_survey(folder)
    assert without.low_rank is None
    inputs = survey_inputs(without, CONFIG.fit, 1)
    assert without.low_rank[0] is inputs.low_rank  # kept as long as it is open
    spectra = without.features[:, 9:], without.feature_errors[:, 9:], without.unmeasured
    expected = learn_low_rank(*spectra, pixels=without.layout.pixels, threads=1)
    assert inputs.low_rank.is_same(expected)
    np.testing.assert_array_equal(inputs.errors.coordinates.mean, expected.coordinates(*spectra).mean)
    assert open_survey(folder).low_rank is None


def test_an_old_survey_opens_and_learns_without_bits(folder):
    survey = old(folder)
    assert survey.unmeasured is None
    assert survey.low_rank is None
    inputs = survey_inputs(survey, CONFIG.fit, 1)
    assert inputs.low_rank.rank == survey.low_rank[0].rank
    with pytest.raises(BadInputError, match="cannot be read"):  # its survey.json says that they were there
        verify_survey(folder)


def test_an_old_survey_with_a_value_that_is_not_finite_is_refused_before_it_is_learned_from(folder):
    for name in LOW_RANK_FILES:
        (folder / name).unlink()
    features = np.load(folder / "features.npy")
    features[5, 30] = np.nan
    np.save(folder / "features.npy", features)
    with pytest.raises(BadInputError, match=r"features.npy: row 5 .* not finite"):
        survey_inputs(open_survey(folder), CONFIG.fit, 1)


def test_a_survey_of_few_stars_has_pixels_as_they_are(tmp_path):
    survey = low_rank_survey(tmp_path / "few", n_stars=59)
    assert not (survey.path / "low_rank.npz").exists()
    verify_survey(survey.path)
    inputs = survey_inputs(survey, CONFIG.fit, 1)
    assert inputs.low_rank is None
    assert inputs.layout == survey.layout
    assert inputs.features is survey.features


def test_a_survey_is_pickled_without_its_coordinates(survey):
    opened = open_survey(survey.path)
    _ = opened.low_rank, opened.unmeasured
    content = pickle.dumps(opened)
    assert len(content) < 200_000 + len(pickle.dumps(opened.stars))
    other = pickle.loads(content)
    np.testing.assert_array_equal(other.low_rank[1].mean, opened.low_rank[1].mean)
    np.testing.assert_array_equal(other.unmeasured, opened.unmeasured)


def test_rows_of_a_survey_do_not_take_the_coordinates_of_all(survey):
    other = open_survey(survey.path)
    other.features, other.feature_errors, other.stars = (
        values[:30] for values in (other.features, other.feature_errors, other.stars)
    )
    assert other.low_rank is None
    assert other.unmeasured is None


def test_another_survey_takes_the_model_of_the_one_it_is_like(survey, tmp_path):
    other = write_low_rank_survey(tmp_path / "other", low_rank_stars(20, seed=1), like=survey)
    assert other.low_rank[0].is_same(survey.low_rank[0])
    verify_survey(other.path)
    model = fit_folds(survey, CONFIG, 1)["A"]
    stored = model_inputs(other, model, 1)
    for name in ("low_rank.npz", "coordinates.npy"):
        (other.path / name).unlink()
    computed = model_inputs(open_survey(other.path), model, 1)
    np.testing.assert_array_equal(stored.features, computed.features)
    np.testing.assert_array_equal(stored.errors.variance(model.coef), computed.errors.variance(model.coef))


def test_ingest_like_takes_the_model_of_the_other_survey(tmp_path, config):
    (tmp_path / "in").mkdir()
    download = write_download(tmp_path / "in", n=64)
    config = config.replace(features={"rank": 4})
    first = ingest(*download, tmp_path / "first", config=config, threads=1, quiet=True)
    assert first.low_rank is not None
    (tmp_path / "more").mkdir()
    few = write_download(tmp_path / "more", n=6, seed=1)
    second = ingest(*few, tmp_path / "second", config=config, threads=1, quiet=True, like=first.path)
    assert second.low_rank[0].is_same(first.low_rank[0])
    assert second.low_rank[1].mean.shape == (6, first.low_rank[0].rank)
    alone = ingest(*few, tmp_path / "alone", config=config, threads=1, quiet=True)
    assert alone.low_rank is None


def test_no_model_is_made_where_none_is_wanted(tmp_path):
    config = Config().replace(features={"rank": 0})
    survey = write_low_rank_survey(tmp_path / "s", low_rank_stars(80), config=config)
    assert survey.low_rank is None
    assert survey.unmeasured is not None
    assert read_low_rank(survey.path, 80) is None
