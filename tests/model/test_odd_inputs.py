"""Parallaxes and errors as callers hold them: units on one side, and numbers that stand for none."""

import numpy as np
import pytest
from astropy import units
from astropy.table import Column, Table

from spfast.data.zero_point import zero_point_covariates
from spfast.errors import BadInputError
from spfast.model.arrays import parallaxes_and_errors

VALUES, ERRORS = np.array([1.0, 2.0]), np.array([0.1, 0.2])


@pytest.mark.parametrize(
    ("parallax", "error"),
    [
        (VALUES / 1000 * units.arcsec, ERRORS * 1000 * units.uas),
        (VALUES * units.mas, ERRORS),
        (VALUES, Column(ERRORS, unit="mas")),
        ((VALUES * units.mas).to(units.rad), (ERRORS * units.mas).to(units.deg)),
        (VALUES.astype(">f8"), ERRORS.astype(np.longdouble)),
    ],
)
def test_parallaxes_and_errors_are_each_converted_by_their_own_unit(parallax, error):
    values, errors = parallaxes_and_errors(parallax, error, 2)
    np.testing.assert_allclose(values, VALUES)
    np.testing.assert_allclose(errors, ERRORS)


@pytest.mark.parametrize(
    ("parallax", "error", "with_unit"),
    [
        (VALUES / 1000 * units.arcsec, ERRORS, "parallax: unit arcsec, and parallax_error has none"),
        (VALUES, Column(ERRORS * 1000, unit="uas"), "parallax_error: unit uas, and parallax has none"),
    ],
)
def test_a_unit_on_one_side_alone_is_refused(parallax, error, with_unit):
    with pytest.raises(BadInputError, match=with_unit):
        parallaxes_and_errors(parallax, error, 2)


@pytest.mark.parametrize("number", [-9999.0, -999.0, -999.99, -99999.0])
def test_numbers_that_stand_for_no_value_are_no_parallax(number):
    assert np.isnan(parallaxes_and_errors([1.0, number], ERRORS, 2)[0]).tolist() == [False, True]


def test_covariates_of_the_zero_point_count_in_their_unit():
    stars = Table({"phot_g_mean_mag": Column([11000.0, 12000.0, 14000.0], unit="mmag")})
    values, pivots, missing = zero_point_covariates(stars, ["G"])
    assert (values[:, 0].round(9).tolist(), pivots, missing.any()) == ([-1.0, 0.0, 2.0], [12.0], False)
    stars = Table({"ecl_lat": Column(np.radians([10.0, 20.0, -9.0]), unit="rad")})
    assert zero_point_covariates(stars, ["ecl_lat"])[1] == [10.0]
    with pytest.raises(BadInputError, match="phot_g_mean_mag is in Jy, expected mag"):
        zero_point_covariates(Table({"phot_g_mean_mag": Column([1.0], unit="Jy")}), ["G"])
