"""Two catalogs of the same stars, compared."""

import numpy as np
import pytest
from astropy.table import Table
from mock_catalog import N

from spfast.errors import BadInputError
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
