"""What is added to Gaia's parallaxes: rules, covariates, and columns that a survey lacks."""

import numpy as np
import pytest
from astropy.table import Table

from spfast.data.zero_point import added_to_parallax, lindegren_zero_point, zero_point_covariates
from spfast.errors import BadInputError


def test_an_unknown_rule_of_the_zero_point_is_refused():
    with pytest.raises(BadInputError, match="zero point rule 'x': expected one of"):
        added_to_parallax(Table({"source_id": [1]}), "x")


def test_covariates_are_relative_to_their_pivots_and_refused_where_a_survey_lacks_them():
    stars = Table({"phot_g_mean_mag": [10.0, 12.0, np.nan, 14.0], "ecl_lat": [1.0, 2.0, 3.0, 5.0]})
    values, pivots, missing = zero_point_covariates(stars, ["G", "ecl_lat"], rows=[0, 1])
    assert pivots == [11.0, 1.5]
    assert values.tolist() == [[-1.0, -0.5], [1.0, 0.5], [0.0, 1.5], [3.0, 3.5]]
    assert missing.tolist() == [False, False, True, False]
    with pytest.raises(BadInputError, match="covariate G: no training star has it; leave it out"):
        zero_point_covariates(stars, ["ecl_lat", "G"], rows=[2])
    with pytest.raises(BadInputError, match="covariate BP-RP: the survey has no column phot_bp_mean_mag"):
        zero_point_covariates(stars, ["BP-RP"])
    values, pivots, missing = zero_point_covariates(stars, [])
    assert (values.shape, pivots, missing.any()) == ((4, 0), [], False)


def test_the_zero_point_of_dr3_is_refused_on_the_columns_of_dr2():
    pytest.importorskip("zero_point")
    with pytest.raises(BadInputError, match="nu_eff_used_in_astrometry"):
        lindegren_zero_point(Table({"phot_g_mean_mag": [12.0]}))
