"""A survey, damaged, changed and forged: one line or a right answer."""

import shutil

import pytest
from astropy.table import Table
from fuzzing import HOW, changed_json, command, damaged, edited, fuzz, miswritten_cards, outcome, write
from hypothesis import strategies as st
from tiny import tiny_survey

from spfast.data.low_rank_files import LOW_RANK_FILES
from spfast.data.survey import open_survey


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def survey(folder):
    return tiny_survey(folder / "whole", n_stars=60)[0]


@fuzz
def test_survey(folder, survey, data):
    path = folder / "survey"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(folder / "whole", path)
    name = data.draw(
        st.sampled_from(
            ("survey.json", "survey.json", "stars.fits", "features.npy", "feature_errors.npy", *LOW_RANK_FILES)
        )
    )
    file, how = path / name, data.draw(HOW)
    if name == "stars.fits" and how == "columns":
        write(data.draw(edited(Table.read(file, character_as_bytes=False))).table, file)
    elif name == "stars.fits" and how == "cards":
        file.write_bytes(data.draw(miswritten_cards(file.read_bytes())))
    elif name == "survey.json" and how != "bytes":
        file.write_text(data.draw(changed_json(file.read_text())))
    else:
        file.write_bytes(data.draw(damaged(file.read_bytes())))
    opened = outcome(open_survey, path)
    if opened is not None:
        assert opened.features.shape == opened.feature_errors.shape == (len(opened.stars), opened.layout.n_features)
        assert opened.stars.colnames[: len(survey.stars.colnames)] == survey.stars.colnames
        low_rank = outcome(lambda _: opened.low_rank, path)
        assert command("info", path) == (2 if low_rank is None else 0)
    if file.read_bytes() != (folder / "whole" / name).read_bytes():
        assert command("info", path, "--verify") == 2
