"""``spfast simulate``: kinds of noise, the zero point of Gaia DR3, and unWISE."""

import numpy as np
import pytest

import spfast
from spfast.cli import simulate
from spfast.data.tables.read import read_table
from spfast.data.zero_point import added_to_parallax
from spfast.simulate.spectrograph import NOISE
from spfast.simulate.stars import WISE

SURVEY = ("--survey", "--stars", 30, "--threads", 1, "--quiet")


def test_choices_in_the_help_are_those_of_the_simulator():
    assert tuple(NOISE) == simulate.NOISE
    assert simulate.WISE == WISE


def test_real_noise_is_the_default_and_makes_more_bad_pixels(tmp_path, run):
    for name, options in (("default", ()), ("real", ("--noise", "real")), ("ideal", ("--noise", "ideal"))):
        assert run("simulate", tmp_path / name, *SURVEY, *options) == 0
    default, real, ideal = (spfast.open_survey(tmp_path / name) for name in ("default", "real", "ideal"))
    np.testing.assert_array_equal(default.features, real.features)
    assert np.median(real.stars["n_bad_pixels"]) > 400
    assert np.median(ideal.stars["n_bad_pixels"]) < 100
    truths = [read_table(tmp_path / name / "truth.fits")["true_parallax"] for name in ("real", "ideal")]
    np.testing.assert_array_equal(*truths)


def test_a_survey_with_the_zero_point_of_dr3_has_what_takes_it_off(tmp_path, run):
    pytest.importorskip("zero_point")
    assert run("simulate", tmp_path / "s", *SURVEY, "--zero-point", "lindegren2021", "--wise", "unwise") == 0
    survey = spfast.open_survey(tmp_path / "s")
    truth = np.asarray(read_table(tmp_path / "s" / "truth.fits")["true_parallax"])
    added, _ = added_to_parallax(survey.stars, "lindegren2021")
    pulls = (np.asarray(survey.stars["parallax"]) + added - truth) / np.asarray(survey.stars["parallax_error"])
    assert np.abs(np.mean(pulls)) < 4.0 / np.sqrt(30)
    assert survey.info["config"]["fit"]["zero_point_rule"] == "lindegren2021"


def test_a_zero_point_that_the_mock_cannot_have_is_refused(tmp_path, refused):
    dr3 = ("--zero-point", "lindegren2021")
    assert "leave out --zero-point-slope" in refused("simulate", tmp_path / "s", *dr3, "--zero-point-slope", 0.01)
    assert "dr17 or dr19 or dr20" in refused("simulate", tmp_path / "s", *dr3, "--release", "dr14")
    assert not (tmp_path / "s").exists()
