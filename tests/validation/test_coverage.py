"""Calibration and coverage on catalogs whose errors are honest, too small, or inflated by the header."""

import numpy as np
import pytest
from mock_catalog import N, one

from spfast.catalog.columns import FLAGS
from spfast.validation.coverage import calibration, coverage


def test_honest_errors_cover_the_nominal_share_of_stars(honest):
    catalog, stars, truth = honest
    table = calibration(catalog, truth)
    assert table.meta["ERRCOL"] == "spec_parallax_err"
    assert np.all(np.abs(table["share"] - table["level"]) < 4 * table["share_error"])
    shares = coverage(catalog, truth, stars)
    fifths = {"G", "H-W2", "S/N", "[Fe/H]", "parallax"}
    assert set(shares["stars"]) == {"all", "training", "rest"} | fifths
    for name in fifths:
        assert len(shares[shares["stars"] == name]) == 10
    assert np.all(np.abs(shares["within_68"] - 0.68) < 4.5 * shares["error_68"])
    assert np.all(np.abs(shares["within_95"] - 0.95) < 4.5 * shares["error_95"])
    assert one(shares, reference="truth", stars="all")["pull"] == pytest.approx(1.0, abs=0.03)
    g = shares[(shares["stars"] == "G") & (shares["reference"] == "truth")]
    assert g["n"].tolist() == [N // 5] * 5
    np.testing.assert_array_equal(g["low"][1:], g["high"][:-1])


def test_coverage_shows_errors_that_are_too_small_and_uses_the_total_error(honest):
    catalog, _, truth = honest
    half = catalog.copy()
    half["spec_parallax_err"] /= 2
    share = one(coverage(half, truth), reference="truth", stars="all")
    assert share["within_68"] == pytest.approx(0.3829, abs=0.02)  # within half a sigma
    assert share["pull"] == pytest.approx(2.0, rel=0.03)
    half["flags"] = np.where(np.arange(N) % 10, 0, 1 << list(FLAGS).index("extrapolation"))
    assert "inside" not in coverage(half)["stars"]  # no header says what the bits mean
    half.meta["FLAG7"] = "extrapolation"
    table = coverage(half, truth)
    assert one(table, reference="truth", stars="extrapolation")["n"] == N // 10
    assert one(table, reference="truth", stars="inside")["n"] == N - N // 10
    half["spec_parallax_err_total"] = catalog["spec_parallax_err"]
    table = coverage(half, truth)
    assert table.meta["ERRCOL"] == "spec_parallax_err_total"
    assert one(table, reference="truth", stars="all")["within_68"] == pytest.approx(0.68, abs=0.015)


def test_gaia_errors_are_inflated_as_the_header_says(honest):
    catalog = honest[0].copy()
    catalog["Gaia_parallax_err"] /= np.where(catalog["sample"] == "A", 1.5, 2.0)
    small = one(coverage(catalog), reference="gaia", stars="all")
    assert small["within_68"] < 0.62
    catalog.meta.update(INFLAT_B=1.5, INFLAT_A=2.0)  # stars of fold A are predicted by model B
    table = coverage(catalog)
    assert one(table, reference="gaia", stars="all")["within_68"] == pytest.approx(0.68, abs=0.015)
    assert 1.5 < table.meta["INFLAT"] < 2.0
