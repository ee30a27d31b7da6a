"""Trends on catalogs with and without one, and the quantities that they are fitted against."""

import numpy as np
import pytest
from mock_catalog import N, mock, one

from spfast.errors import BadInputError
from spfast.validation.quantities import QUANTITIES, star_quantities
from spfast.validation.trends import residual_trends


def test_star_quantities_follow_their_stars(honest):
    catalog, stars, _ = honest
    names = [*catalog["2MASS_ID"][:5], "stranger"]
    quantities = star_quantities(names, stars[::-1])
    assert list(quantities) == list(QUANTITIES)
    np.testing.assert_allclose(quantities["G"][:5], stars["phot_g_mean_mag"][:5])
    np.testing.assert_allclose(quantities["BP-RP"][:5], (stars["phot_bp_mean_mag"] - stars["phot_rp_mean_mag"])[:5])
    np.testing.assert_allclose(quantities["|b|"][:5], np.abs(stars["glat"][:5]))
    assert np.isnan(quantities["[Fe/H]"][0])  # -9999
    assert all(np.isnan(values[5]) for values in quantities.values())
    assert "S/N" not in star_quantities(names, stars["APOGEE_ID", "H", "w2mpro"])
    with pytest.raises(BadInputError, match="no star of the catalog is in the survey"):
        star_quantities(["stranger"], stars)


def test_a_trend_with_g_is_measured_with_its_slope_and_change():
    catalog, stars, truth = mock(seed=4, slope=0.02)
    table = residual_trends(catalog, stars, truth)
    slope = one(table, reference="truth", quantity="G")
    assert slope["slope"] == pytest.approx(0.02, abs=4 * slope["slope_error"])
    assert slope["significance"] > 20
    low, high = np.percentile(stars["phot_g_mean_mag"], [10, 90])
    assert slope["change"] == pytest.approx(slope["slope"] * (high - low), rel=1e-9)
    assert one(table, reference="gaia", quantity="G")["significance"] > 5
    assert one(table, reference="truth", quantity="Teff")["per"] == "1000 K"
    assert one(table, reference="truth", quantity="[Fe/H]")["n"] == N - N // 50


def test_slopes_of_trends_scatter_as_their_errors_say():
    """Over seeds, slopes against the truth are N(0, 1) in their errors, whatever the catalog's errors say."""
    significance = []
    for seed in range(25):
        catalog, stars, truth = mock(seed=seed, n=800)
        catalog["spec_parallax_err"] /= 3
        table = residual_trends(catalog, stars, truth)
        significance.append(table["significance"][table["reference"] == "truth"])
    spread = np.std(np.concatenate(significance))
    assert spread == pytest.approx(1.0, abs=0.2)


def test_a_few_wrong_parallaxes_make_no_trend():
    catalog, stars, truth = mock(seed=9, n=3000)
    faint = np.argsort(stars["phot_g_mean_mag"])[-15:]
    catalog["Gaia_parallax"][faint] = 8.0
    slope = one(residual_trends(catalog, stars, truth), reference="gaia", quantity="G")
    assert abs(slope["significance"]) < 4


def test_trends_of_few_stars_are_left_out_and_a_foreign_survey_is_refused():
    catalog, stars, truth = mock(n=9)
    assert len(residual_trends(catalog, stars, truth)) == 0
    stars["APOGEE_ID"] = [f"x{i}" for i in range(9)]
    with pytest.raises(BadInputError, match="no star of the catalog is in the survey"):
        residual_trends(catalog, stars, truth)
