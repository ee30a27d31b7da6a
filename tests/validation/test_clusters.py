"""Members of star clusters and their mean parallaxes."""

from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from mock_catalog import one

from spfast.data.literature_clusters import cluster_key, literature_clusters
from spfast.errors import BadInputError, SpfastWarning
from spfast.validation.checks import run_checks
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


SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.parametrize(
    "names", [("M67", "m67", "M 67", "NGC 2682", "ngc2682", "Messier 67", "N2682", "NGC_2682", "M067")]
)
def test_a_cluster_under_several_of_its_names_is_one(names):
    assert {cluster_key(name) for name in names} == {"M67"}
    stars = [f"2M{i}" for i in range(len(names))]
    members = listed_members(stars, Table({"apogee_id": stars, "CLUSTER": names}))
    assert members.rows["M67"].tolist() == list(range(len(names)))
    assert len(members.rows) == 1


def test_known_clusters_get_their_literature_distance_by_either_name():
    known = literature_clusters()
    assert len({cluster_key(name) for name in known["cluster"]}) == len(known)
    catalog = Table(
        {"Gaia_parallax": [1.0], "Gaia_parallax_err": [0.1], "spec_parallax": [1.0], "spec_parallax_err": [0.1]}
    )
    names = ["ngc 2682", "NGC6791", "Mine"]
    means = cluster_means(catalog, {name: np.array([0]) for name in names})
    assert means["cluster"].tolist() == ["ngc 2682", "Mine", "NGC6791"]  # nearest first, by its members without one
    np.testing.assert_array_equal(means["distance"], [0.889, np.nan, 4.231])


def test_columns_of_a_membership_table_are_found_in_any_case_with_any_form_of_the_names():
    table = Table(
        {"Tmass_ID": ["10000000+2000000", "2mass j10000001+2000000"], "Cluster": ["X", "X"], "Distance": [1.0, 1.0]}
    )
    members = listed_members(["2M10000001+2000000", "2M10000000+2000000"], table)
    assert members.rows["X"].tolist() == [0, 1]
    assert members.literature["distance"].tolist() == [1.0]


def test_distances_that_differ_within_a_cluster_are_refused():
    table = Table({"2MASS_ID": ["a1", "a2", "a3"], "cluster": ["M67", "NGC 2682", "X"], "distance": [0.9, 0.8, np.nan]})
    for rows in ([0, 1, 2], [1, 0, 2]):
        with pytest.raises(BadInputError, match=r"distances of 0\.8 to 0\.9 kpc for '.*', expected one"):
            listed_members(["a1", "a2", "a3"], table[rows])
    table["distance"][1] = np.nan
    assert listed_members(["a1", "a2", "a3"], table).literature["distance"][0] == 0.9


def test_stars_that_occam_excludes_are_left_out_and_counted():
    stars = [f"2M{i}" for i in range(6)]
    table = Table(
        {"APOGEE_ID": stars, "CLUSTER": ["NGC 188"] * 6, "RV_PROB": [1, 1, 1, 1, 0.0, 0.5], "FEH_PROB": [1.0] * 6}
    )
    table["PM_PROB"], table["CG_PROB"] = [1, -1, 1, 1, 1, 0.02], [-9999.99, 1, 0.0, 0.9, 1, 1]
    with pytest.warns(
        SpfastWarning, match="3 of 6 listed cluster members are left out: RV_PROB, FEH_PROB, PM_PROB, CG_PROB"
    ):
        assert members_from_table(stars, table)["NGC 188"].tolist() == [0, 3, 5]
    table["RV_PROB"] = 0.0
    with pytest.warns(SpfastWarning, match="6 of 6"), pytest.raises(BadInputError, match="no star with RV_PROB"):
        members_from_table(stars, table)


def test_a_probability_that_is_not_understood_is_named():
    table = Table({"2MASS_ID": ["2M1"], "cluster": ["X"], "Prob": [0.2]})
    with pytest.warns(SpfastWarning, match="a column Prob, which is not used"):
        assert members_from_table(["2M1"], table)["X"].tolist() == [0]


def cluster_catalog(n=400, slope=0.0, scatter=1.0):
    rng = np.random.default_rng(2)
    magnitude = rng.uniform(9.0, 13.0, n)
    spec = 0.5 * np.exp(0.1 * scatter * rng.normal(size=n) + slope * (magnitude - 11.0))
    gaia = 0.5 + 0.05 * scatter * rng.normal(size=n)
    columns = {
        "Gaia_parallax": gaia,
        "Gaia_parallax_err": np.full(n, 0.05),
        "spec_parallax": spec,
        "spec_parallax_err": 0.1 * spec,
    }
    return Table({**columns, "K": magnitude})


def test_errors_of_means_grow_with_the_scatter_of_the_members():
    n, members = 400, {"X": np.arange(400)}
    honest, wide = (cluster_means(cluster_catalog(scatter=scatter), members)[0] for scatter in (1.0, 3.0))
    assert honest["spec_error"] / honest["spec"] == pytest.approx(0.1 / np.sqrt(n), rel=0.1)
    assert wide["spec_error"] / wide["spec"] == pytest.approx(0.3 / np.sqrt(n), rel=0.1)
    assert wide["gaia_error"] == pytest.approx(0.15 / np.sqrt(n), rel=0.1)
    assert wide["spec_error"] / wide["spec"] == pytest.approx(np.sqrt(wide["chi2"]) * 0.1 / np.sqrt(n))
    quiet = cluster_means(cluster_catalog(scatter=0.2), members)[0]
    assert quiet["spec_error"] / quiet["spec"] == pytest.approx(0.1 / np.sqrt(n))  # never smaller
    catalog = cluster_catalog()
    catalog["spec_parallax"][:3] = 50.0, np.nan, -1.0
    assert cluster_means(catalog, members)["spec_median"][0] == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("slope", [0.0, -0.3, 0.1])
def test_the_slope_with_magnitude_inside_a_cluster_is_measured(slope):
    catalog, members = cluster_catalog(slope=slope), {"X": np.arange(400), "two": np.arange(2), "one": np.arange(1)}
    means = cluster_means(catalog, members)
    found = one(means, cluster="X")
    assert found["slope"] == pytest.approx(slope, abs=4 * found["slope_error"])
    assert found["slope_error"] == pytest.approx(0.1 / np.sqrt(400) / np.std(catalog["K"]), rel=0.15)
    few = means[means["cluster"] != "X"]
    assert np.isnan([few["slope"], few["slope_error"]]).all()
    straight = np.polyfit(catalog["K"], np.log(catalog["spec_parallax"]), 1)[0]  # all fractional errors are equal
    assert found["slope"] == pytest.approx(straight)
    fainter = catalog.copy()
    fainter["K"] += 7.0  # apparent or absolute magnitudes of one cluster
    assert one(cluster_means(fainter, members), cluster="X")["slope"] == pytest.approx(straight)
    catalog.remove_column("K")
    assert np.isnan(cluster_means(catalog, members)["slope"]).all()
    given = cluster_means(catalog, members, magnitudes=fainter["K"])
    assert one(given, cluster="X")["slope"] == pytest.approx(straight)


def test_the_published_catalogs_slopes_in_globular_clusters_are_found():
    path = SHARED / "her2019_globular_cluster_giants.csv"
    if not path.is_file():
        pytest.skip("needs the shared data")
    giants = Table.read(path)
    clusters = run_checks(giants, members=giants)["clusters"]
    slopes = {row["cluster"]: (row["slope"], row["slope_error"]) for row in clusters}
    assert slopes["M92"][0] == pytest.approx(-0.29, abs=0.02)
    assert slopes["M92"][0] < -10 * slopes["M92"][1]
    assert slopes["M107"][0] == pytest.approx(0.0, abs=slopes["M107"][1])
    giants.remove_columns(["J", "H", "K"])
    assert np.isnan(run_checks(giants, members=giants)["clusters"]["slope"]).all()


def test_occams_members_are_read():
    path = SHARED / "occam_member-DR16.fits"
    if not path.is_file():
        pytest.skip("needs the shared data")
    table = Table.read(path, character_as_bytes=False)
    names = np.asarray(table["APOGEE_ID"])
    with pytest.warns(SpfastWarning, match="of 10,063 listed cluster members are left out"):
        members = members_from_table(names, table)
    assert sum(map(len, members.values())) < 0.2 * len(table)
    assert len(members["NGC 2682"]) > 20


def test_columns_of_distances_are_found_in_any_case():
    catalog = Table({"Gaia_parallax": [1.0, 1.0], "Gaia_parallax_err": [0.1, 0.1], "spec_parallax": [1.0, 1.1]})
    catalog["spec_parallax_err"] = [0.1, 0.1]
    members, distances = {"M67": np.arange(2)}, Table({"CLUSTER": ["NGC 2682"], "Distance": [0.9]})
    assert cluster_means(catalog, members, distances)["distance"][0] == 0.9
    with pytest.raises(BadInputError, match="the table of clusters' distances has columns Distance; expected cluster"):
        cluster_means(catalog, members, distances[["Distance"]])
