"""2MASS names and source_ids in every form that tables write."""

import numpy as np
import pytest
from astropy.table import MaskedColumn

from spfast.data.identifiers import match_names, one_of_each, source_ids, star_names, tmass_key
from spfast.errors import BadInputError

STAR = "19485057+5005279"
WHERE = "gaia.fits: column source_id"


@pytest.mark.parametrize(
    "name",
    [
        *(STAR, f"2M{STAR}", f"2m{STAR}", f"J{STAR}", f"2MASS J{STAR}", f"2MASSJ{STAR}", f"2mass j{STAR}"),
        *(f" 2M{STAR}  ", "2M19485057 + 5005279", f"2MASS {STAR}", f"2MASS J {STAR}"),
    ],
)
def test_every_form_of_a_2mass_name_is_the_same_star(name):
    assert tmass_key([name]).tolist() == [STAR]
    assert match_names([f"2M{STAR}"], ["2M00000000+0000000", name]).tolist() == [1]
    assert match_names([name], [f"2M{STAR}"]).tolist() == [0]


def test_names_that_are_no_2mass_names_are_kept_apart():
    names = ["AP17335483-2753043", "2M17335483-2753043", "VESTA", "HIP 77", "Jupiter", "J"]
    keys = tmass_key(names).tolist()
    assert len(set(keys)) == len(names)
    assert keys[3:] == ["HIP77", "Jupiter", "J"]
    assert star_names(["2M1 + 2"]) == ["2M1+2"]


@pytest.mark.parametrize(
    "null", ["", " ", "0", "-1", "-9999", "nan", "NaN", "None", "null", "NULL", "<NA>", "N/A", "--"]
)
def test_a_star_without_a_name_matches_nothing(null):
    assert tmass_key([null]).tolist() == [""]
    assert match_names([null, "2M1"], [null, "2M1"]).tolist() == [-1, 1]
    assert one_of_each([null, null], [1.0, 2.0]).tolist() == [0, 1]


def test_the_row_taken_of_a_repeated_star_does_not_depend_on_the_order_of_the_rows():
    names, error, value = (
        np.array(["2M7", "2M8", "7", "2MASS J7"]),
        np.array([0.2, 0.5, 0.1, 0.1]),
        np.array([1, 2, 4, 3.0]),
    )
    for order in (np.arange(4), np.arange(4)[::-1], np.array([2, 0, 3, 1])):
        rows = order[one_of_each(names[order], error[order], value[order])]
        assert sorted(rows.tolist()) == [1, 3]
    assert one_of_each(["a1", "a1"], [np.nan, 3.0]).tolist() == [1]


def test_source_ids_are_read_as_integers_and_as_text():
    ids = [4295806720, 1635721458409799680, -1]
    assert source_ids(np.array(ids), WHERE).tolist() == ids
    assert source_ids(np.array([0, -9999, -1]), WHERE).tolist() == [-1, -1, -1]
    assert source_ids(MaskedColumn(ids, mask=[0, 1, 0]), WHERE).tolist() == [ids[0], -1, -1]
    texts = ["4295806720", "Gaia DR3 1635721458409799680", "null"]
    assert source_ids(np.array(texts), WHERE).tolist() == ids
    assert source_ids(np.array([b"Gaia EDR3 4295806720", b"gaia dr2 7", b""]), WHERE).tolist() == [4295806720, 7, -1]


@pytest.mark.parametrize(
    "bad", [["4.38E+18"], ["4295806720.0"], ["99999999999999999999"], ["2M19485057+5005279"], ["abc"]]
)
def test_text_that_is_no_source_id_is_refused(bad):
    with pytest.raises(BadInputError, match=r"column source_id has .* in row 0, expected 64-bit integers"):
        source_ids(np.array(bad), WHERE)


@pytest.mark.parametrize("kind", ["f8", "f4"])
def test_floats_are_no_source_ids(kind):
    with pytest.raises(BadInputError, match="digits are lost"):
        source_ids(np.array([4295806720.0, np.nan], kind), WHERE)


def gaia_like(n, seed=0, low=2**55, high=2**62 + 2**61):
    """Identifiers as Gaia makes them: the last seven bits are 0."""
    return np.random.default_rng(seed).integers(low // 128, high // 128, n) * 128


@pytest.mark.parametrize("n", [20, 100, 3000])
def test_source_ids_that_went_through_a_double_are_refused_whole_or_in_part(n):
    ids = gaia_like(n)
    assert (source_ids(ids, WHERE) == ids).all()
    rounded = ids.astype(float).astype(np.int64)
    for values in (rounded, np.append(rounded, [0, -1, -9999]), rounded.astype(str)):
        with pytest.raises(
            BadInputError, match="went through a float64 and digits are lost; get the identifiers again"
        ):
            source_ids(values, WHERE)
    some = np.where(np.arange(n) % 2, rounded, ids)
    if n > 20:
        with pytest.raises(BadInputError, match="end in zero bits"):
            source_ids(some, WHERE)


@pytest.mark.parametrize("seed", range(20))
def test_whole_source_ids_are_never_taken_for_rounded_ones(seed):
    for n in (1, 5, 40, 1000):
        ids = gaia_like(n, seed)
        assert (source_ids(ids, WHERE) == ids).all()
    small = np.arange(1, 1000) * 1024  # below 2^53 a double loses nothing
    assert (source_ids(small, WHERE) == small).all()
