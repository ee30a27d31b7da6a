"""Catalogs of other people's making."""

import numpy as np
import pytest
from astropy import units
from astropy.table import Table

from spfast.errors import BadInputError
from spfast.validation.comparison import compare_catalogs
from spfast.validation.read_catalog import TABLE_1, read_catalog, true_parallaxes


def test_units_of_a_catalog_are_converted_or_refused():
    row = ["2M1"], [1e-3], [2e-5], [0.9e-3], [1e-4], [1], ["A"]
    catalog = Table(dict(zip(TABLE_1, row, strict=True)))
    for name in TABLE_1[1:5]:
        catalog[name].unit = "arcsec"
    values = read_catalog(catalog)
    np.testing.assert_allclose([values.gaia[0], values.spec_error[0]], [1.0, 0.1])
    catalog["spec_parallax"].unit = "pc"
    with pytest.raises(BadInputError, match="spec_parallax is in pc, expected mas"):
        read_catalog(catalog)


def in_other_unit(honest, factor, *names):
    catalog = honest[0].copy()
    for name in names:
        catalog[name] = catalog[name] * factor
    return catalog


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (TABLE_1[1:5], "Gaia_parallax_err has the median .* is it in arcsec"),
        (TABLE_1[1:3], "Gaia_parallax_err has the median"),
        (TABLE_1[3:5], "the catalog: column spec_parallax has the median"),
    ],
)
def test_catalogs_in_arcsec_without_a_unit_are_refused(honest, names, message):
    with pytest.raises(BadInputError, match=message):
        read_catalog(in_other_unit(honest, 1e-3, *names))


def test_parallaxes_in_two_units_are_refused(honest):
    with pytest.raises(BadInputError, match=r"spec_parallax is .* times Gaia_parallax"):
        read_catalog(in_other_unit(honest, 1e3, "spec_parallax", "spec_parallax_err"))


def test_truth_in_arcsec_without_a_unit_is_refused(honest):
    catalog, _, truth = honest
    truth = truth.copy()
    truth["true_parallax"] *= 1e-3
    with pytest.raises(BadInputError, match="the truth table: column true_parallax has the median"):
        true_parallaxes(list(catalog["2MASS_ID"]), truth)
    truth["true_parallax"].unit = "arcsec"
    np.testing.assert_allclose(true_parallaxes(list(catalog["2MASS_ID"]), truth), honest[2]["true_parallax"])


def test_another_catalog_has_its_unit_too(honest):
    other = in_other_unit(honest, 1e-3, "spec_parallax", "spec_parallax_err")
    with pytest.raises(BadInputError, match="the other catalog: column spec_parallax has the median"):
        compare_catalogs(honest[0], other)
    for name in ("spec_parallax", "spec_parallax_err"):
        other[name].unit = "arcsec"
    assert abs(compare_catalogs(honest[0], other)["bias"][0]) < 1e-12


def test_the_zero_point_in_a_catalog_may_have_a_unit(honest):
    plain, quantity = (read_catalog(honest[0], zero_point) for zero_point in (0.05, 50 * units.uas))
    np.testing.assert_array_equal(plain.best, quantity.best)
    with pytest.raises(BadInputError, match="zero_point is nan"):
        read_catalog(honest[0], np.nan)
