"""Members of star clusters and their mean parallaxes."""

import numpy as np
import pytest
from astropy.table import Table

from spfast.errors import BadInputError
from spfast.validation.clusters import cluster_means, members_from_table, select_members


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


def near_cluster(distance, unit=None, n=3):
    """A catalog of members at 1.8 kpc, and their list with a distance."""
    catalog = Table(
        {
            "Gaia_parallax": np.full(n, 1 / 1.8),
            "Gaia_parallax_err": np.full(n, 0.05),
            "spec_parallax": np.full(n, 1 / 1.8),
            "spec_parallax_err": np.full(n, 0.05),
        }
    )
    listed = Table({"2MASS_ID": [f"s{i}" for i in range(n)], "cluster": ["Mine"] * n, "distance": [distance] * n})
    listed["distance"].unit = unit
    return catalog, members_from_table(listed["2MASS_ID"], listed), listed


@pytest.mark.parametrize("distance", [1800.0, 180.0, 1.8e-3], ids=["pc", "off by a hundred", "Mpc"])
def test_distances_in_another_unit_are_refused(distance):
    with pytest.raises(BadInputError, match=r"distances of the clusters cannot be in kpc \(Mine: "):
        cluster_means(*near_cluster(distance))


@pytest.mark.parametrize(("distance", "unit"), [(1800.0, "pc"), (1.8, "kpc"), (1.8, None)])
def test_the_unit_of_distances_is_honoured(distance, unit):
    assert np.isclose(cluster_means(*near_cluster(distance, unit))["distance"][0], 1.8)


def test_units_of_centres_and_motions_are_honoured():
    star = {"ra": [132.846], "dec": [11.814], "pmra": [-10.986e-3], "pmdec": [-2.964e-3]}
    table = Table(star)
    table["pmra"].unit = table["pmdec"].unit = "arcsec/yr"
    centres = Table({"cluster": ["M67"], "ra": [132.85], "dec": [11.81], "radius": [30.0], "pmra": [-11.0]})
    assert select_members(table, centres)["M67"].tolist() == [0]
    centres["radius"].unit = "arcsec"  # the star is 20 arcsec away
    centres["pmra"].unit = "mas/yr"
    assert select_members(table, centres)["M67"].tolist() == [0]
    centres["radius"] = [10.0]
    centres["radius"].unit = "arcsec"
    assert select_members(table, centres) == {}
