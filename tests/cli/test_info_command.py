"""``spfast info``: what it says of each product, and what ``--verify`` finds."""

import os

from tiny import tiny_survey


def test_info_describes_survey_model_and_catalog(work, tmp_path, capsys, run):
    assert run("fit", work / "survey", "-o", tmp_path / "model.npz", "--fold", "A", "--quiet") == 0
    expected = {
        work / "survey": ["a survey", "400, of which 266 in the training set", "60 pixels", "rows of allStar"],
        tmp_path / "model.npz": ["a model", "fold          A", "penalty       30", "converged     yes", "random_index"],
        work / "catalog.fits": [
            "spfast catalog",
            "rows          400",
            "PENALT_A",
            "distance_16 [kpc]",
            "not_converged:",
        ],
    }
    for path, texts in expected.items():
        assert run("info", path) == 0
        printed = capsys.readouterr().out
        for text in texts:
            assert text in printed


def test_info_verify_finds_a_changed_byte(tmp_path, capsys, run, refused):
    tiny_survey(tmp_path / "survey", n_stars=40)
    assert run("info", tmp_path / "survey", "--verify") == 0
    assert "every byte as it was written" in capsys.readouterr().out
    with open(tmp_path / "survey" / "features.npy", "r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\x00\x00\x00\x01")
    assert run("info", tmp_path / "survey") == 0
    capsys.readouterr()
    assert "changed since the survey was built" in refused("info", tmp_path / "survey", "--verify")
