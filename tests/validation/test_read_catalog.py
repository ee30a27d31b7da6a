"""Catalogs of other people's making."""

import numpy as np
import pytest
from astropy.table import Table

from spfast.errors import BadInputError
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
