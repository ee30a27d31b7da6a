"""Columns of other people's tables: numbers as text, masks, units, and numbers that are refused or dropped."""

import numpy as np
import pytest
from astropy.table import Table

from spfast.data.tables.values import check_plausible, column_values
from spfast.errors import BadInputError, SpfastWarning


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["1.5", " 2 ", "", "nan"], "f8", [1.5, 2.0, np.nan, np.nan]),
        ([b"3", b"-1e3"], "f4", [3.0, -1000.0]),
        ([1e300, -np.inf], "f4", [np.nan, np.nan]),
        (["12", "", "9007199254740993"], "i8", [12, -1, 9007199254740993]),
        ([3.0, np.nan, np.inf], "i4", [3, -1, -1]),
        (np.array([2**31 - 1, -(2**31)]), "i4", [2**31 - 1, -(2**31)]),
        (np.ma.MaskedArray([1, 2], [True, False]), "i8", [-1, 2]),
        (np.ma.MaskedArray(["a ", "b"], [False, True]), "U", ["a", ""]),
        (np.array([None, b"x", "y\0"], object), "U", ["", "x", "y"]),
        (np.array([1, 2], ">i2"), "f8", [1.0, 2.0]),
    ],
)
def test_numbers_as_text_bytes_floats_or_masked_are_read(values, kind, expected):
    result = column_values(values if isinstance(values, np.ma.MaskedArray) else np.array(values), kind, "x")
    np.testing.assert_array_equal(result, expected)
    assert result.dtype.kind == kind[0]
    assert result.dtype.isnative


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (["1", "much"], "f8", r"x has 'much' in row 1, expected numbers"),
        ([12.5], "i4", r"x is 12\.5 in row 0, expected whole numbers of 32 bits"),
        ([2.0**31], "i4", r"whole numbers of 32 bits"),
        ([2.0**63], "i8", r"whole numbers of 64 bits"),
        (
            np.array([57252832.0], "f4"),
            "i8",
            r"x is 57252832 in row 0.* to 16777216 and digits are lost",
        ),
        ([2.0**53 + 2], "i8", r"digits are lost"),
        (np.array([2**63], "u8"), "i8", r"whole numbers of 64 bits"),
        ([1 + 2j], "f8", r"complex128, expected numbers"),
        ([True], "f8", r"bool, expected numbers"),
        (np.ones((2, 2)), "f8", r"shape \(2, 2\), expected one value a row"),
    ],
)
def test_words_fractions_and_numbers_beyond_their_type_are_refused(values, kind, message):
    with pytest.raises(BadInputError, match=message):
        column_values(np.array(values), kind, "x")


def test_identifiers_beyond_ascii_are_refused(tmp_path):
    with pytest.raises(BadInputError, match=r"column tmass_id has '\\u03b1' in row 1, expected ASCII"):
        column_values(np.array(["a", "\N{GREEK SMALL LETTER ALPHA}"]), "U", "g.csv: column tmass_id")
    with pytest.raises(BadInputError, match=r"in row 0, expected ASCII"):
        column_values(np.array([b"\xe9"]), "U", "a.fits: column APOGEE_ID")


def test_implausible_medians_are_refused_and_impossible_values_become_nan():
    magnitudes = Table({"K": np.array([29.9, 29.9], "f4"), "parallax_error": [0.0021, 0.0021], "note": ["a", "b"]})
    check_plausible(magnitudes, "t")
    check_plausible(Table({"K": np.array([np.nan], "f4"), "ra": [-180.0], "dec": [90.0]}), "t")
    for column in ({"K": [30.0]}, {"J": [-5.0]}, {"parallax_error": [0.002]}, {"parallax_error": [50.0]}):
        with pytest.raises(BadInputError, match="has the median"):
            check_plausible(Table(column), "t")
    table = Table({"J_ERR": [0.02, 101.0], "LOGG": [10.0, 10.1], "TEFF": [-1.0, 0.0]})
    with pytest.warns(SpfastWarning) as caught:
        check_plausible(table, "t")
    assert len(caught) == 3
    assert [np.isnan(table[name]).tolist() for name in table.colnames] == [[False, True], [False, True], [True, False]]


@pytest.mark.parametrize("unit", ["furlongs", "milli-arc-seconds"])
def test_units_that_are_unknown_are_told(unit):
    with pytest.warns(SpfastWarning, match="x is in .* taken as mas"):
        assert column_values(np.array([1.0]), "f8", "x", unit, "mas").tolist() == [1.0]
    assert column_values(np.array([1.0]), "f8", "x", "log(cgs)", "dex").tolist() == [1.0]


@pytest.mark.parametrize("unit", ["pc", "mag", "mag(AB)", "dex(cm/s2)"])
def test_units_of_another_kind_are_refused(unit):
    with pytest.raises(BadInputError, match=r"x is in .*, expected mas or a unit like it"):
        column_values(np.array([1.0]), "f8", "x", unit, "mas")


def test_errors_that_gaia_cannot_have_are_missing_with_a_count():
    table = Table({"parallax_error": [0.03, 1e-12, 9e-4, 1e-3, 0.05, 0.05]})
    with pytest.warns(SpfastWarning, match=r"2 values of parallax_error are not between 0.001 .*\(row 1: 1e-12\)"):
        check_plausible(table, "t")
    assert np.isnan(table["parallax_error"]).tolist() == [False, True, True, False, False, False]
    unmeasured = Table({"parallax_error": [0.03, 0.0, -9999.0, np.nan, 0.03, 0.03]})
    check_plausible(unmeasured, "t")
    assert unmeasured["parallax_error"][1:3].tolist() == [0.0, -9999.0]
