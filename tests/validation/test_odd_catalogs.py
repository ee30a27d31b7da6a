"""Catalogs, truths and members as people hand them in: stars twice, units mixed, words for no cluster."""

import numpy as np
import pytest
from astropy.table import Column, Table, vstack
from mock_catalog import mock

from spfast.data.tables.read import read_table
from spfast.errors import BadInputError, MismatchWarning, SpfastWarning
from spfast.validation.checks import run_checks
from spfast.validation.cluster_members import listed_members, members_from_table
from spfast.validation.comparison import compare_catalogs
from spfast.validation.coverage import calibration
from spfast.validation.measures import validate
from spfast.validation.read_catalog import read_catalog


@pytest.fixture
def catalog():
    return mock(n=400)[0]


@pytest.fixture
def truth():
    return mock(n=400)[2]


def same_numbers(table, other):
    return all(
        np.array_equal(table[name], other[name], equal_nan=table[name].dtype.kind == "f") for name in table.colnames
    )


def test_a_star_with_several_rows_counts_once_whatever_the_order_of_the_rows(catalog, truth):
    worse = catalog[:50].copy()
    worse["spec_parallax"], worse["spec_parallax_err"] = worse["spec_parallax"] * 2, worse["spec_parallax_err"] * 3
    worse["2MASS_ID"] = [name.removeprefix("2M") for name in worse["2MASS_ID"]]
    for twice in (vstack([catalog, worse]), vstack([worse, catalog])):
        with pytest.warns(MismatchWarning, match="has 50 more rows than stars .* smallest spec_parallax_err counts"):
            assert same_numbers(validate(twice, truth), validate(catalog, truth))
        with pytest.warns(MismatchWarning, match="more rows than stars"):
            assert same_numbers(calibration(twice), calibration(catalog))


def test_rows_without_a_name_are_stars_of_their_own(catalog):
    catalog["2MASS_ID"] = ""
    assert read_catalog(catalog).has_spec.all()


@pytest.mark.parametrize(("name", "factor"), [("Gaia_parallax", 1e-3), ("Gaia_parallax_err", 500.0)])
def test_a_gaia_parallax_in_another_unit_than_its_error_is_refused(catalog, name, factor):
    catalog[name] = np.asarray(catalog[name]) * factor
    with pytest.raises(BadInputError, match="in mas"):
        validate(catalog)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_errors_of_spectrophotometric_parallaxes_in_another_unit_are_refused(catalog, factor):
    catalog["spec_parallax_err"] = np.asarray(catalog["spec_parallax_err"]) * factor
    with pytest.raises(BadInputError, match=r"spec_parallax_err is .* times spec_parallax in the median"):
        validate(catalog)


def test_a_truth_in_microarcseconds_is_refused(catalog, truth):
    truth["true_parallax"] = np.asarray(truth["true_parallax"]) * 1000
    with pytest.raises(BadInputError, match=r"times true_parallax in the median, expected near 1|has the median"):
        validate(catalog, truth)


@pytest.mark.parametrize("bad", [-1.0, -9999.0, np.nan])
def test_stars_without_an_error_are_not_compared(catalog, bad):
    other = catalog.copy()
    other["spec_parallax_err"][:30] = bad
    assert compare_catalogs(catalog, other)["n"][0] == compare_catalogs(catalog, catalog)["n"][0] - 30
    assert compare_catalogs(other, catalog)["n"][0] == compare_catalogs(catalog, catalog)["n"][0] - 30


@pytest.mark.parametrize("word", ["", "-", "--", "None", "-9999", "0", "n/a", " "])
def test_stars_in_no_cluster_are_members_of_none(word):
    members = members_from_table(["2M1", "2M2"], Table({"2MASS_ID": ["2M1", "2M2"], "cluster": ["M67", word]}))
    assert {name: rows.tolist() for name, rows in members.items()} == {"M67": [0]}


def test_a_list_in_which_no_star_is_in_a_cluster_is_refused_with_an_example():
    with pytest.raises(
        BadInputError, match=r"no star .* is listed as a member of a cluster \(e\.g\. 2M1, whose .* ''\)"
    ):
        members_from_table(["2M1"], Table({"2MASS_ID": ["2M1"], "cluster": ["-9999"]}))


@pytest.mark.parametrize("name", ["distance_pc", "Dist", "dist_kpc"])
def test_a_column_of_distances_under_another_name_is_not_passed_over_in_silence(name):
    members = Table({"2MASS_ID": ["2M1"], "cluster": ["M67"], name: [889.0]})
    with pytest.warns(SpfastWarning, match=f"has a column {name}, which is not used"):
        assert listed_members(["2M1"], members).literature is None


@pytest.mark.parametrize(("unit", "value"), [("pc", 889.0), ("Mpc", 889e-6), ("lyr", 2899.5)])
def test_distances_of_clusters_count_in_their_unit(unit, value):
    members = Table({"2MASS_ID": ["2M1"], "cluster": ["M67"], "distance": Column([value], unit=unit)})
    assert listed_members(["2M1"], members).literature["distance"][0] == pytest.approx(0.889, rel=1e-4)


@pytest.mark.parametrize("unit", ["mag", "mas"])
def test_distance_moduli_and_parallaxes_are_no_distances(unit):
    members = Table({"2MASS_ID": ["2M1"], "cluster": ["M67"], "distance": Column([9.7], unit=unit)})
    with pytest.raises(BadInputError, match="expected kpc"):
        listed_members(["2M1"], members)


def test_a_column_of_a_type_that_is_not_read_is_not_called_absent(tmp_path, catalog):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"2MASS_ID": ["2M1"], "cluster": [["M67"]]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "members.parquet")
    with pytest.raises(BadInputError, match="has a column cluster of the Parquet type list"):
        listed_members(["2M1"], read_table(tmp_path / "members.parquet"))
    columns = {name: catalog[name].tolist() for name in catalog.colnames}
    columns["spec_parallax_err_total"] = [[0.1]] * len(catalog)
    parquet.write_table(pyarrow.table(columns), tmp_path / "catalog.parquet")
    with pytest.raises(BadInputError, match="has a column spec_parallax_err_total of the Parquet type list"):
        validate(read_table(tmp_path / "catalog.parquet"))


def test_an_unknown_extinction_law_is_refused_even_where_no_check_needs_it(catalog):
    with pytest.raises(BadInputError, match="extinction law 'fitzpatrick': expected one of"):
        run_checks(catalog, law="fitzpatrick")
