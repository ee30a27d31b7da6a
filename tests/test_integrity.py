"""One bit that flips, anywhere in a survey, a model or a table, is found, and the file it is in is named."""

import numpy as np
import pytest
from tiny import tiny_survey

from spfast import cli
from spfast.cli.info import describe, open_product
from spfast.data.survey import verify_survey
from spfast.errors import BadInputError
from spfast.files import RecordFile
from spfast.model.fitted_model import load_model

FLIPS = 40


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with a survey, a model and a catalog in each format that keeps a hash."""
    folder = tmp_path_factory.mktemp("integrity")
    survey, _ = tiny_survey(folder / "survey", n_stars=120)
    for suffix in (".fits", ".ecsv", ".vot"):
        arguments = ["catalog", survey.path, "-o", folder / f"catalog{suffix}", "--quiet"]
        assert cli.main([str(argument) for argument in arguments]) == 0
    assert cli.main(["fit", str(survey.path), "-o", str(folder / "model.npz"), "--quiet"]) == 0
    return folder


def flips(path, seed):
    """Flip one bit after the other in a file; yield with each, and put it back."""
    whole = path.read_bytes()
    rng = np.random.default_rng(seed)
    try:
        for position in rng.integers(0, len(whole), FLIPS):
            content = bytearray(whole)
            content[position] ^= 1 << rng.integers(8)
            path.write_bytes(content)
            yield position
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize(
    "name",
    [
        *("features.npy", "feature_errors.npy", "unmeasured.npy", "low_rank.npz", "coordinates.npy"),
        *("coordinate_errors.npy", "estimates.npz"),
        *("stars.fits", "rejected.ecsv", "survey.json", "the hashes"),
    ],
)
def test_a_flipped_bit_in_a_survey_is_noticed(work, name):
    path = work / "survey" / ("survey.json" if name == "the hashes" else name)
    whole = path.read_bytes()
    for position in flips(path, seed=1):
        if name == "the hashes":  # the part of survey.json that says what the others must be
            content = bytearray(whole)
            content[whole.index(b'"sha256"') + position % 400] ^= 4
            path.write_bytes(content)
        with pytest.raises(BadInputError, match=path.name) as caught:
            open_product(work / "survey", verify=True)
        assert "\n" not in str(caught.value)
    verify_survey(work / "survey")


@pytest.mark.parametrize("name", ["catalog.fits", "catalog.ecsv", "catalog.vot", "model.npz"])
def test_a_flipped_bit_in_a_table_or_model_is_noticed(work, name):
    assert ("whole", "yes, every byte as it was written") in describe(
        open_product(work / name, verify=True), verified=True
    )
    for _ in flips(work / name, seed=2):
        with pytest.raises(BadInputError, match=name):
            open_product(work / name, verify=True)
        if name == "model.npz":  # a model is never used unless it is whole
            with pytest.raises(BadInputError, match=name):
                load_model(work / name)


def test_a_flipped_bit_in_parquet_is_noticed(work):
    pytest.importorskip("pyarrow")
    path = work / "catalog.parquet"
    assert cli.main(["catalog", str(work / "survey"), "-o", str(path), "--quiet"]) == 0
    for _ in flips(path, seed=3):
        with pytest.raises(BadInputError, match=path.name):
            open_product(path, verify=True)


def test_a_missing_file_a_missing_hash_and_csv_are_refused(work, tmp_path):
    survey, _ = tiny_survey(tmp_path / "survey", n_stars=20)
    (survey.path / "rejected.ecsv").unlink()
    with pytest.raises(BadInputError, match=r"rejected\.ecsv: cannot be read"):
        verify_survey(survey.path)
    path = survey.path / "survey.json"
    path.write_text(path.read_text().replace('"rejected.ecsv"', '"rejected.csv"'))
    with pytest.raises(BadInputError, match="has no hash of every file"):
        verify_survey(survey.path)
    assert cli.main(["catalog", str(work / "survey"), "-o", str(tmp_path / "catalog.csv"), "--quiet"]) == 0
    with pytest.raises(BadInputError, match="has no SHA256 to compare with: a CSV table"):
        open_product(tmp_path / "catalog.csv", verify=True)


def test_records_end_where_they_are_damaged(tmp_path):
    path = tmp_path / "records"
    file = RecordFile(path)
    file.begin({"head": 1})
    file.append([{"a": [0.1, None]}, {"a": 2}])
    assert RecordFile(path).read() == [{"head": 1}, {"a": [0.1, None]}, {"a": 2}]
    for position in flips(path, seed=4):
        kept = RecordFile(path).read()
        assert kept == [{"head": 1}, {"a": [0.1, None]}, {"a": 2}][: len(kept)]
        assert len(kept) < 3, position
    # What comes after a line that was cut short is written over it, and is read.
    path.write_bytes(path.read_bytes()[:-3])
    file = RecordFile(path)
    assert len(file.read()) == 2
    file.append([{"a": 3}])
    assert RecordFile(path).read()[-1] == {"a": 3}
    assert RecordFile(tmp_path / "none").read() == []
