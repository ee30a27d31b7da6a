"""Which Gaia source and which allStar row stand for a star."""

import numpy as np
import pytest
from astropy.table import Table

from spfast.data.match import best_gaia_rows, best_rows, join_wise, match_gaia
from spfast.errors import BadInputError


def gaia(**columns):
    return Table({"key": ["a", "b", "a", "", "c"], "phot_g_mean_mag": [12.0, 13.0, 11.0, 9.0, np.nan], **columns})


def test_best_rows_against_a_plain_loop():
    rng = np.random.default_rng(0)
    keys, order = rng.integers(0, 40, 300).astype(str), rng.integers(0, 5, 300).astype(float)
    order[rng.integers(0, 300, 30)] = np.nan
    expected = {}
    for row, (key, value) in enumerate(zip(keys, order, strict=True)):
        value = np.inf if np.isnan(value) else value
        if key not in expected or value < expected[key][0]:
            expected[key] = (value, row)
    assert best_rows(keys, order).tolist() == sorted(row for _, row in expected.values())


def test_ties_go_to_the_least_of_the_other_values_the_first_of_them_first():
    keys, order = np.array(["a"] * 3 + ["b"] * 3), np.zeros(6)
    first, second, third = [2, 1, 1, 5, 5, 5], [0, 4, 3, 1, 1, 1], [0.0, 0.0, 9.0, 7.0, np.nan, 6.0]
    assert best_rows(keys, order, [first, second, third]).tolist() == [2, 5]
    assert best_rows(keys, order, [third, second, first]).tolist() == [0, 5]
    assert best_rows(keys, order, [second, third, first]).tolist() == [0, 5]
    assert best_rows(keys, order, [second, first]).tolist() == [0, 3]  # rows that are the same: the first of them


def test_brightest_without_distances_nearest_with():
    assert best_gaia_rows(gaia()).tolist() == [1, 2, 4]
    assert best_gaia_rows(gaia(angular_distance=[0.1, 0.2, 0.3, 0.0, 0.1])).tolist() == [0, 1, 4]


def test_match_by_any_form_of_the_key():
    table = gaia()
    table["key"] = ["10000000+2000000", "b", "10000000+2000000", "", "c"]
    names = ["2M10000000+2000000", "10000000+2000000", "2Mb", "zzz", ""]
    assert match_gaia(names, table).tolist() == [2, 2, 1, -1, -1]
    assert match_gaia(names[:1], table[:0]).tolist() == [-1]


def test_wise_joins_by_key_or_source_id():
    table = gaia(source_id=[1, 2, 3, 4, 5])
    values = {"w1mpro": [5.0, 6.0], "w1mpro_error": [0.1, 0.2], "w2mpro": [5.0, 6.0], "w2mpro_error": [0.1, 0.2]}
    join_wise(table, Table({"key": ["a", "x"], **values}))
    np.testing.assert_array_equal(table["w1mpro"], [5, np.nan, 5, np.nan, np.nan])
    join_wise(table, Table({"source_id": [5, 2], **values}))
    np.testing.assert_array_equal(table["w2mpro"], [np.nan, 6, np.nan, np.nan, 5])
    with pytest.raises(BadInputError, match="none of its 2 rows matches"):
        join_wise(table, Table({"source_id": [50, 20], **values}))
