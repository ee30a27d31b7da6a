"""The reddening test against slopes that follow from the coefficients."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from mock_catalog import one

from spfast.errors import BadInputError
from spfast.model.layout import MAGNITUDE_SUM, MAGNITUDES
from spfast.validation.reddening import LAWS, reddening_test


def plain(models):
    """The models as they are, nothing subtracted from what they predict."""
    return {name: replace(model, budget=replace(model.budget, subtracted=False)) for name, model in models.items()}


def test_reddening_slope_is_that_of_the_coefficients(survey, models):
    models = plain(models)
    for law in LAWS:
        table = reddening_test(survey, models, law)
        for name, model in models.items():
            row = one(table, model=name)
            expected = sum(c * LAWS[law][band] for band, c in zip(MAGNITUDES, model.coef[1:9], strict=True))
            assert row["slope"] == pytest.approx(expected, rel=1e-6)
            assert row["modulus"] == pytest.approx(expected / MAGNITUDE_SUM, rel=1e-6)
            assert row["at_half"] == pytest.approx(np.exp(expected / 2) - 1, rel=1e-6)
            assert row["curvature"] < 1e-6
            assert row["spread"] < 1e-6
    # Stars of low extinction that the model was not trained on: not one more.
    extinction = 0.918 * np.asarray(survey.stars["H"] - survey.stars["w2mpro"] - 0.05)
    fold_a = np.asarray(survey.stars["random_index"]) % 2 == 0
    held_out = ~(fold_a & np.asarray(survey.stars["training_set"]))
    assert one(table, model="A")["n"] == np.sum(held_out & (extinction < 0.1))


def test_reddening_slope_includes_the_offset_that_the_catalog_subtracts(survey, models):
    steep = np.array([[-9.0, 9.0, 0.5, 1.0, 0.2, 0.0], [-9.0, 9.0, 0.0, 1.0, 0.0, 0.0]])
    model = replace(models["A"], budget=replace(models["A"].budget, offset=steep))
    without, with_offset = (
        one(reddening_test(survey, {"A": m}), model="A")["slope"] for m in (plain({"A": model})["A"], model)
    )
    assert with_offset - without == pytest.approx(-0.2 * (LAWS["wang2019"]["H"] - LAWS["wang2019"]["W2"]), rel=1e-4)


def test_reddening_test_takes_any_law_and_refuses_bad_laws_and_reddened_stars(survey, models):
    models = plain(models)
    grey = dict.fromkeys(MAGNITUDES, 1.0)
    table = reddening_test(survey, models, grey)
    assert table["law"][0] == "given"
    assert table["slope"][0] == pytest.approx(models["A"].coef[1:9].sum(), rel=1e-6)
    with pytest.raises(BadInputError, match="expected one of wang2019, yuan2013"):
        reddening_test(survey, models, "mine")
    with pytest.raises(BadInputError, match="lacks RP"):
        reddening_test(survey, models, {band: 1.0 for band in MAGNITUDES if band != "RP"})
    red = SimpleNamespace(stars=survey.stars.copy(), layout=survey.layout, features=survey.features)
    red.stars["w2mpro"] = red.stars["H"] - 1.0
    with pytest.raises(BadInputError, match=r"model A: no star with A_K < 0\.1"):
        reddening_test(red, models)


def test_extinction_falls_with_wavelength_in_every_law():
    for law in LAWS.values():
        assert law["K"] == 1.0
        assert list(law) == list(MAGNITUDES)
        assert law["BP"] > law["G"] > law["RP"] > law["J"] > law["H"] > law["K"] > law["W1"] > law["W2"]
