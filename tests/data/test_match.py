"""Which Gaia source and which allStar row stand for a star."""

import numpy as np
import pytest
from astropy.table import Table

from spfast.data.match import best_gaia_rows, best_rows, check_places, join_wise, match_gaia
from spfast.errors import BadInputError, SpfastWarning


def gaia(**columns):
    return Table({"key": ["a", "b", "a", "", "c"], "phot_g_mean_mag": [12.0, 13.0, 11.0, 9.0, np.nan], **columns})


def test_best_rows_agree_with_a_plain_loop():
    rng = np.random.default_rng(0)
    keys, order = rng.integers(0, 40, 300).astype(str), rng.integers(0, 5, 300).astype(float)
    order[rng.integers(0, 300, 30)] = np.nan
    expected = {}
    for row, (key, value) in enumerate(zip(keys, order, strict=True)):
        value = np.inf if np.isnan(value) else value
        if key not in expected or value < expected[key][0]:
            expected[key] = (value, row)
    assert best_rows(keys, order).tolist() == sorted(row for _, row in expected.values())


def test_ties_are_settled_by_the_other_columns_in_turn():
    keys, order = np.array(["a"] * 3 + ["b"] * 3), np.zeros(6)
    first, second, third = [2, 1, 1, 5, 5, 5], [0, 4, 3, 1, 1, 1], [0.0, 0.0, 9.0, 7.0, np.nan, 6.0]
    assert best_rows(keys, order, [first, second, third]).tolist() == [2, 5]
    assert best_rows(keys, order, [third, second, first]).tolist() == [0, 5]
    assert best_rows(keys, order, [second, third, first]).tolist() == [0, 5]
    assert best_rows(keys, order, [second, first]).tolist() == [0, 3]  # rows that are the same: the first of them


def test_the_nearest_gaia_source_is_chosen_or_the_brightest_without_distances():
    assert best_gaia_rows(gaia()).tolist() == [1, 2, 4]
    assert best_gaia_rows(gaia(angular_distance=[0.1, 0.2, 0.3, 0.0, 0.1])).tolist() == [0, 1, 4]


def test_stars_match_by_any_form_of_the_2mass_key():
    table = gaia()
    table["key"] = ["10000000+2000000", "b", "10000000+2000000", "", "c"]
    names = ["2M10000000+2000000", "10000000+2000000", "2Mb", "zzz", ""]
    assert match_gaia(names, table).tolist() == [2, 2, 1, -1, -1]
    assert match_gaia(names[:1], table[:0]).tolist() == [-1]


def test_matched_stars_more_than_a_minute_of_arc_apart_are_refused():
    stars = Table({"ra": [359.9999, 10.0, 20.0], "dec": [0.0, 89.0, np.nan]})
    gaia = Table({"ra": [0.0001, 10.5, 300.0], "dec": [0.0, 89.0, 0.0]})
    check_places(stars, gaia)  # across 0 h; near the pole half a degree of ra is seconds; one place is missing
    check_places(stars["ra",], gaia)
    for apart, message in ((0.0165, None), (0.0168, "0.0168 deg apart"), (180.0, "180 deg apart")):
        here, there = Table({"ra": [0.0], "dec": [0.0]}), Table({"ra": [apart], "dec": [0.0]})
        if message is None:
            check_places(here, there)  # a minute of arc is the limit
        else:
            with pytest.raises(BadInputError, match=message.replace(".", r"\.")):
                check_places(here, there)
    gaia["dec"] += 0.02
    with pytest.raises(BadInputError, match=r"2 matched stars are 0\.0209 deg apart"):
        check_places(stars, gaia)


def test_wise_is_added_by_2mass_key_or_by_source_id():
    table = gaia(source_id=[1, 2, 3, 4, 5])
    values = {"w1mpro": [5.0, 6.0], "w1mpro_error": [0.1, 0.2], "w2mpro": [5.0, 6.0], "w2mpro_error": [0.1, 0.2]}
    join_wise(table, Table({"key": ["a", "x"], **values}))
    np.testing.assert_array_equal(table["w1mpro"], [5, np.nan, 5, np.nan, np.nan])
    join_wise(table, Table({"source_id": [5, 2], **values}))
    np.testing.assert_array_equal(table["w2mpro"], [np.nan, 6, np.nan, np.nan, 5])
    with pytest.raises(BadInputError, match="none of its 2 rows matches"):
        join_wise(table, Table({"source_id": [50, 20], **values}))


def test_single_stars_at_another_place_are_told_apart_and_counted():
    stars = Table({"APOGEE_ID": list("abcdef"), "ra": [10.0] * 6, "dec": [20.0] * 6})
    gaia = Table({"ra": [10.0] * 6, "dec": [20.0, 20.002, 20.01, 50.0, 20.006, np.nan]})
    with pytest.warns(SpfastWarning, match=r"1 of 6 matched stars are rejected, .* \(the first: d, 30 deg away\)"):
        assert check_places(stars, gaia).tolist() == [True, True, True, False, True, True]
    gaia["pmra"], gaia["pmdec"] = [0.0, 0.0, 0.0, 0.0, 1000.0, 0.0], [0.0] * 6  # mas/yr: a second of arc a year
    with pytest.warns(SpfastWarning, match="2 of 6"):  # half a minute of arc is near only for a star that moves so far
        assert check_places(stars, gaia).tolist() == [True, True, False, False, True, True]
    gaia["pmra"] = np.nan
    with pytest.warns(SpfastWarning, match="1 of 6"):
        assert check_places(stars, gaia).tolist() == [True, True, True, False, True, True]
    assert check_places(stars, gaia["pmra", "pmdec"]).all()


@pytest.mark.parametrize("null", [0, -1, -9999])
def test_rows_without_a_source_id_get_no_wise_photometry(null):
    table = gaia(source_id=[1, null, null, -1, 5])
    values = {"w1mpro": [5.0, 6.0], "w1mpro_error": [0.1, 0.2], "w2mpro": [5.0, 6.0], "w2mpro_error": [0.1, 0.2]}
    join_wise(table, Table({"source_id": [null, 5], **values}))
    np.testing.assert_array_equal(table["w1mpro"], [np.nan, np.nan, np.nan, np.nan, 6])


def test_rows_without_a_key_get_no_wise_photometry_and_a_match_of_none_shows_a_key_of_either_side():
    table = gaia()
    values = {"w1mpro": [5.0, 6.0], "w1mpro_error": [0.1, 0.2], "w2mpro": [5.0, 6.0], "w2mpro_error": [0.1, 0.2]}
    join_wise(table, Table({"key": ["", "b"], **values}))
    np.testing.assert_array_equal(table["w1mpro"], [np.nan, 6, np.nan, np.nan, np.nan])
    with pytest.raises(BadInputError, match=r"one has e\.g\. 'x', the other 'a'"):
        join_wise(table, Table({"key": ["x", ""], **values}))
