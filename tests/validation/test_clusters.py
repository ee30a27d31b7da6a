"""Members of star clusters and their mean parallaxes."""

import numpy as np
import pytest
from astropy.table import Table

from spfast.errors import BadInputError
from spfast.validation.cluster_members import listed_members, members_from_table, select_members
from spfast.validation.clusters import cluster_means


def test_members_are_found_by_place_motion_and_metallicity_not_by_parallax():
    star = {"ra": 132.846, "dec": 11.814, "pmra": -10.986, "pmdec": -2.964, "VHELIO_AVG": 34.0, "FE_H": 0.0}
    table = Table({name: [value] * 6 for name, value in star.items()})
    table["spec_parallax"] = 1e-3
    table["dec"][1], table["pmra"][2], table["VHELIO_AVG"][3], table["FE_H"][4] = 14.0, 0.0, 90.0, -1.0
    table["pmdec"][5] = np.nan
    assert {name: rows.tolist() for name, rows in select_members(table).items()} == {"M67": [0]}


def test_cluster_means_weigh_in_the_logarithm():
    parallax = np.array([0.9, 1.0, 1.25])
    catalog = Table(
        {
            "Gaia_parallax": parallax,
            "Gaia_parallax_err": np.full(3, 0.1),
            "spec_parallax": parallax,
            "spec_parallax_err": 0.1 * parallax,
        }
    )
    listed = Table({"2MASS_ID": ["c", "a", "x", "b"], "cluster": ["Mine"] * 4, "distance": [1.0] * 4})
    members = members_from_table(["a", "b", "c"], listed)
    means = cluster_means(catalog, members, listed)[0]
    assert members["Mine"].tolist() == [0, 1, 2]
    assert np.isclose(means["gaia"], parallax.mean())
    assert np.isclose(means["spec"], np.exp(np.log(parallax).mean()))  # equal fractional errors: the geometric mean
    assert np.isclose(means["literature"], 1.0)
    with pytest.raises(BadInputError, match="none of the 4 listed"):
        members_from_table(["y"], listed)
