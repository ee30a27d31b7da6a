"""Catalogs of surveys with few stars, or with stars that lack a parallax."""

import warnings

import numpy as np
import pytest
from tiny import tiny_survey

import spfast
from spfast.errors import BadInputError, SpfastWarning


def test_a_survey_of_one_star_is_refused(tmp_path):
    survey, _ = tiny_survey(tmp_path / "s", n_stars=1)
    with pytest.raises(BadInputError, match=r"no training star in fold [AB]; loosen"):
        spfast.make_catalog(survey, threads=1)


def test_a_fold_without_training_stars_is_refused(tmp_path):
    def only_even(stars):
        stars["training_set"] = stars["random_index"] % 2 == 0

    survey, _ = tiny_survey(tmp_path / "s", n_stars=60, edit=only_even)
    with pytest.raises(BadInputError, match="no training star in fold B; loosen"):
        spfast.make_catalog(survey, threads=1)


def test_more_features_than_stars_give_a_finite_catalog(tmp_path):
    survey, truth = tiny_survey(tmp_path / "s", n_stars=60)
    assert survey.n_features > survey.n_stars
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpfastWarning)
        catalog = spfast.make_catalog(survey, threads=1)
    for name in ("spec_parallax", "spec_parallax_err", "spec_parallax_err_total", "combined_parallax"):
        assert np.isfinite(catalog[name]).all()
    assert np.median(np.abs(np.log(catalog["spec_parallax"] / truth["true_parallax"]))) < 0.3


def test_a_star_without_a_gaia_parallax_is_flagged(tmp_path):
    def spoil(stars):
        stars["parallax"][:2], stars["parallax_error"][2:5] = (np.nan, np.inf), (0.0, -1.0, np.nan)

    survey, _ = tiny_survey(tmp_path / "s", n_stars=120, edit=spoil)
    catalog = spfast.make_catalog(survey, threads=1)
    bit = next(int(key[4:]) for key, text in catalog.meta.items() if key.startswith("FLAG") and "no_gaia" in str(text))
    assert np.flatnonzero(catalog["flags"] >> bit & 1).tolist() == [0, 1, 2, 3, 4]
    assert np.isfinite(catalog["spec_parallax"]).all()
    assert np.isnan(catalog["Gaia_parallax"][:5]).all()
