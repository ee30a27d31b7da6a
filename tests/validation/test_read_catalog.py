"""Catalogs of other people's making."""

import numpy as np
import pytest
from astropy import units
from astropy.table import Table

from spfast.data.tables.read import read_table
from spfast.errors import BadInputError, MismatchWarning
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


def table_1(**columns):
    n = len(next(iter(columns.values())))
    plain = [[f"2M{i}" for i in range(n)], [1.0] * n, [0.02] * n, [0.9] * n, [0.1] * n, [1] * n, ["A"] * n]
    return Table({**dict(zip(TABLE_1, plain, strict=True)), **columns})


YES_AND_NO = [[1, 0], [1.0, 0.0], [True, False], ["1", "0"], ["True", "False"], ["T", "F"], ["yes", "no"], ["Y", "N"]]


@pytest.mark.parametrize("values", [*YES_AND_NO, ["TRUE ", " false"], ["1.0", "0.0"], [b"y", b"n"]])
def test_training_set_is_read_however_it_says_yes_and_no(values):
    assert read_catalog(table_1(training_set=values)).training.tolist() == [True, False]


@pytest.mark.parametrize("value", ["maybe", "", "2", "-1", "training", "ja"])
def test_training_set_that_says_neither_yes_nor_no_is_refused(value):
    with pytest.raises(BadInputError, match=rf"training_set has '{value}' in row 1 and 1 others, expected yes or no"):
        read_catalog(table_1(training_set=["yes", value, value]))


@pytest.mark.parametrize("value", ["nan", "None", "null"])
def test_training_set_with_a_word_for_no_value_is_refused(value):
    with pytest.raises(BadInputError, match=r"training_set has '' in row 1, expected yes or no"):
        read_catalog(table_1(training_set=["yes", value]))


def test_folds_are_a_and_b_in_either_case_and_others_are_refused():
    catalog = table_1(sample=["a", " B", "A"])
    catalog.meta.update(ZEROPT_A=0.5, ZEROPT_B=0.02)
    assert read_catalog(catalog).fold.tolist() == ["A", "B", "A"]
    for value in ("C", "", "1", "A/B", "train"):
        with pytest.raises(BadInputError, match=rf"sample has '{value}' in row 2, expected A or B"):
            read_catalog(table_1(sample=["A", "B", value]))


def test_the_truth_is_found_by_any_form_of_a_name_and_does_not_depend_on_the_order_of_its_rows():
    names = ["2M10000000+2000000", "2M10000001+2000000", "2M10000002+2000000"]
    truth = Table(
        {"tmass_id": ["2MASS J10000000+2000000", "10000001+2000000", "10000001+2000000"], "true_parallax": [1, 2, 2.0]}
    )
    for rows in ([0, 1, 2], [2, 1, 0]):
        np.testing.assert_array_equal(true_parallaxes(names, truth[rows]), [1.0, 2.0, np.nan])
    truth["true_parallax"][2] = 3.0
    for rows in ([0, 1, 2], [2, 1, 0]):
        with pytest.raises(BadInputError, match=r"different true_parallax for 2M10000001\+2000000"):
            true_parallaxes(names, truth[rows])
    with pytest.raises(BadInputError, match=r"one has e\.g\. '2M7', the other '2MASSJ1000"):
        true_parallaxes(["2M7"], truth)


def test_stars_without_a_name_have_no_truth():
    truth = Table({"APOGEE_ID": ["", "2M1"], "true_parallax": [5.0, 1.0]})
    np.testing.assert_array_equal(true_parallaxes(["", "2M1", "nan"], truth), [np.nan, 1.0, np.nan])


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
