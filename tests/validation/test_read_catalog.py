"""Catalogs of other people's making."""

import numpy as np
import pytest
from astropy.table import Table

from spfast.data.tables.read import read_table
from spfast.errors import BadInputError, MismatchWarning
from spfast.validation.read_catalog import TABLE_1, read_catalog


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


@pytest.fixture
def catalog():
    row = ["2M1"], [1.0], [0.02], [0.9], [0.1], [1], ["A"]
    return Table(dict(zip(TABLE_1, row, strict=True)))


def test_names_of_a_catalog_may_be_in_any_case_and_the_exact_one_wins(catalog):
    catalog["spec_parallax_err_total"], catalog["Gaia_zero_point"] = 0.2, 0.3
    catalog.meta["PRODUCT"] = "spfast catalog"
    expected = read_catalog(catalog)
    for name in list(catalog.colnames):
        catalog.rename_column(name, name.upper())
    values = read_catalog(catalog)
    assert values.total_error.tolist() == expected.total_error.tolist() == [0.2]
    assert values.best.tolist() == expected.best.tolist()
    catalog["spec_parallax"] = 5.0
    assert read_catalog(catalog).spec.tolist() == [5.0]
    catalog.rename_column("spec_parallax", "spec-parallax")
    with pytest.raises(BadInputError, match="has the columns SPEC_PARALLAX and spec-parallax; name the one"):
        read_catalog(catalog)


def test_a_catalog_of_ours_without_its_header_is_warned_of(catalog, tmp_path):
    catalog["spec_parallax_err_total"] = 0.2
    catalog.write(tmp_path / "c.csv")
    with pytest.warns(MismatchWarning, match="has lost its header, as CSV has none, and with it the factor on Gaia"):
        read_catalog(read_table(tmp_path / "c.csv"))


def test_a_column_that_could_not_be_read_is_named(catalog, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {name: catalog[name].tolist() for name in catalog.colnames}
    columns["spec_parallax"] = [[1.0, 2.0]]
    parquet.write_table(pyarrow.table(columns), tmp_path / "c.parquet")
    with pytest.raises(BadInputError, match=r"has a column spec_parallax of the Parquet type list"):
        read_catalog(read_table(tmp_path / "c.parquet"))
