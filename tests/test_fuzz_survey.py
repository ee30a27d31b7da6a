"""Survey and model, damaged, changed and forged: one line or a right answer."""

import json
import shutil
import zipfile

import numpy as np
import pytest
from astropy.table import Table
from fuzzing import HOW, NUMBERS, command, damaged, edited, fuzz, miswritten_cards, outcome, write
from hypothesis import strategies as st
from tiny import tiny_survey

import spfast
from spfast.data.survey import open_survey
from spfast.files import BLANK_SEAL, seal
from spfast.model.result import load_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def survey(folder):
    return tiny_survey(folder / "whole", n_stars=60)[0]


@pytest.fixture(scope="module")
def model(folder, survey):
    stars = survey.stars
    path = folder / "whole.npz"
    spfast.fit(
        survey.features,
        np.array(stars["parallax"]),
        np.array(stars["parallax_error"]),
        penalty=30.0,
        penalized=survey.layout.penalized,
        layout=survey.layout,
        threads=1,
    ).save(path)
    return path.read_bytes()


def json_values():
    leaves = st.none() | st.booleans() | st.sampled_from((*NUMBERS, -1, 10**30)) | st.text(max_size=8)
    return leaves | st.lists(leaves, max_size=3) | st.dictionaries(st.text(max_size=5), leaves, max_size=3)


@st.composite
def changed_json(draw, text):
    """A JSON object with one value somewhere in it replaced or gone; or nested deeper than a parser can follow."""
    record = json.loads(text)
    if draw(st.integers(0, 19)) == 0:
        return "[" * 100_000
    place = record
    while True:
        key = draw(st.sampled_from(sorted(place)) if isinstance(place, dict) else st.integers(0, len(place) - 1))
        if isinstance(place[key], dict | list) and place[key] and draw(st.booleans()):
            place = place[key]
            continue
        if draw(st.booleans()):
            del place[key]
        else:
            place[key] = draw(json_values())
        return json.dumps(record)


@fuzz
def test_survey(folder, survey, data):
    path = folder / "survey"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(folder / "whole", path)
    name = data.draw(
        st.sampled_from(("survey.json", "survey.json", "stars.fits", "features.npy", "feature_errors.npy"))
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
        assert command("info", path) == 0
    if file.read_bytes() != (folder / "whole" / name).read_bytes():
        assert command("info", path, "--verify") == 2


@fuzz
def test_model(folder, survey, model, data):
    path = folder / "model.npz"
    path.write_bytes(data.draw(damaged(model)))
    read = outcome(load_model, path)
    # Every byte of a model is sealed.
    assert read is None or path.read_bytes() == model
    assert command("info", path) == (2 if read is None else 0)


@fuzz
def test_model_that_was_written_wrong(folder, survey, model, data):
    """Sealed, so that nothing but its content speaks against it."""
    path = folder / "forged.npz"
    (folder / "plain.npz").write_bytes(model)
    with np.load(folder / "plain.npz") as archive:
        parts = {name: archive[name] for name in archive.files}
    name = data.draw(st.sampled_from(("header", "header", "coef", "penalized", "history", "none")))
    if name == "header":
        parts["header"] = np.array(data.draw(changed_json(str(parts["header"]))))
    elif name == "none":
        del parts[data.draw(st.sampled_from(sorted(parts)))]
    else:
        parts[name] = np.resize(parts[name], data.draw(st.sampled_from(((0,), (3,), (2, 2), (69,), (1, 69)))))
        if name == "coef" and parts[name].size and data.draw(st.booleans()):
            parts[name].flat[0] = data.draw(st.sampled_from(NUMBERS))
    np.savez(path, **parts)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = BLANK_SEAL.encode()
    seal(path)
    read = outcome(load_model, path)
    if read is not None:
        assert np.isfinite(read.coef).all()
        assert np.isfinite(read.predict(survey.features[:3], threads=1)).all() or np.abs(read.coef).max() > 10
        assert command("info", path) == 0
