"""Two catalogs of the same stars, compared."""

import numpy as np
import pytest
from astropy.table import Table, vstack
from mock_catalog import N

from spfast.errors import BadInputError, SpfastWarning
from spfast.validation.comparison import compare_catalogs


def test_two_catalogs_are_compared_by_star_name_overall_and_by_distance(honest):
    catalog, _, _ = honest
    other = catalog[::-1][: N // 2].copy()
    rng = np.random.default_rng(0)
    other["spec_parallax"] = other["spec_parallax"] * np.exp(0.05 + 0.1 * rng.normal(size=len(other)))
    other["spec_parallax_err"] = 0.1 * other["spec_parallax"]
    other["2MASS_ID"] = [f"{name[:10]} + {name[11:]}" for name in other["2MASS_ID"]]
    other["spec_parallax"][:3] = np.nan
    table = compare_catalogs(catalog, other)
    assert table.meta == {"N_THIS": N, "N_OTHER": N // 2, "N_BOTH": N // 2 - 3}
    whole = table[0]
    assert whole["n"] == N // 2 - 3
    assert whole["bias"] == pytest.approx(-0.05, abs=4 * whole["bias_error"])
    assert whole["scatter"] == pytest.approx(0.1, rel=0.05)
    assert whole["error_ratio"] == pytest.approx(0.8, rel=0.05)
    assert table["n"][1:].sum() == whole["n"]
    assert np.all(table["high"][1:-1] <= table["low"][2:])
    nobody = Table([["x"], [1.0], [0.1]], names=["2MASS_ID", "spec_parallax", "spec_parallax_err"])
    for theirs in (nobody, other[:0]):
        with pytest.raises(BadInputError, match="no star in common"):
            compare_catalogs(catalog, theirs)
    with pytest.raises(BadInputError, match="have no parallax or error in one"):
        compare_catalogs(catalog, Table([[catalog["2MASS_ID"][0]], [np.nan], [0.1]], names=nobody.colnames))
    with pytest.raises(BadInputError, match="the other catalog has no column spec_parallax_err"):
        compare_catalogs(catalog, Table([["x"], [1.0]], names=["2MASS_ID", "spec_parallax"]))


FORMS = ["{}", "2M{}", "2m{}", "J{}", "2MASS J{}", "2mass j{}", " {} "]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("column", ["2MASS_ID", "tmass_id", "APOGEE_ID", "apogee_id"])
def test_catalogs_are_compared_however_they_write_the_names(honest, form, column):
    catalog = honest[0][:50]
    other = catalog["2MASS_ID", "spec_parallax", "spec_parallax_err"].copy()
    other["2MASS_ID"] = [form.format(name[2:]) for name in other["2MASS_ID"]]
    other.rename_column("2MASS_ID", column)
    assert compare_catalogs(catalog, other).meta["N_BOTH"] == 50
    assert compare_catalogs(other, catalog).meta["N_BOTH"] == 50


def test_of_a_repeated_star_the_most_precise_row_is_compared_in_any_order(honest):
    catalog = honest[0][:50]
    other = catalog.copy()
    again = catalog[:20].copy()
    again["spec_parallax"] *= 3.0
    again["spec_parallax_err"] *= 9.0
    again["2MASS_ID"] = [name[2:] for name in again["2MASS_ID"]]
    tables = vstack([again, other]), vstack([other, again])
    for this, that in ((catalog, tables[0]), (catalog, tables[1]), (tables[0], catalog), (tables[1], catalog)):
        with pytest.warns(SpfastWarning, match="catalog has 20 more rows than stars: .* smallest spec_parallax_err"):
            table = compare_catalogs(this, that)
        assert table["bias"][0] == table["scatter"][0] == 0.0
        assert table["n"][0] == 50


def test_catalogs_without_a_common_star_are_refused_with_a_name_of_either(honest):
    other = honest[0][:5].copy()
    other["2MASS_ID"] = ["HD 1", "HD 2", "", "nan", "0"]
    with pytest.raises(BadInputError, match=r"one has e\.g\. '2M00000000\+0000000', the other 'HD1'"):
        compare_catalogs(honest[0][:5], other)


def test_parallaxes_of_the_other_catalog_are_brought_to_our_unit(honest):
    catalog = honest[0][:50]
    other = catalog.copy()
    for name in ("spec_parallax", "spec_parallax_err"):
        other[name] /= 1000.0
        other[name].unit = "arcsec"
    table = compare_catalogs(catalog, other)
    assert abs(table["bias"][0]) < 1e-12
    assert table["error_ratio"][0] == pytest.approx(1.0)
