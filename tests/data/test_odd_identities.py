"""Who is who: names in odd forms, identifiers that lost digits, and WISE rows of other stars."""

import numpy as np
import pytest
from small_survey import spectra, tables

from spfast.data.allstar import read_allstar
from spfast.data.gaia import read_gaia, read_wise
from spfast.data.identifiers import match_names, source_ids, tmass_key
from spfast.data.match import join_wise
from spfast.errors import BadInputError, SpfastWarning

STAR = "10000000+2000000"
WISE = ("w1mpro", "w1mpro_error", "w2mpro", "w2mpro_error")


@pytest.mark.parametrize(
    "name", ["2MASX J{}", "2MASS-J{}", "2mass_j{}", "2M_{}", "'{}", "'2M{}'", "2MASS J {}", " j{} ", '"2M{}"']
)
def test_every_way_to_write_a_2mass_name_is_the_same_star(name):
    assert tmass_key([name.format(STAR)]).tolist() == [STAR]


@pytest.mark.parametrize("name", ["0.0", "-9999.0", "-999", "-1.0", "-", np.nan, None, "nan", "<na>", "''"])
def test_what_stands_for_no_name_joins_nothing(name):
    assert match_names([name, STAR], [name, f"2M{STAR}"]).tolist() == [-1, 1]


IDS = np.array([4295806720123456789 + i * 12345678901 for i in range(30)])


@pytest.mark.parametrize("n", [5, 30])
def test_identifiers_that_went_through_single_precision_are_refused(n):
    with pytest.raises(BadInputError, match=r"went through a float\d\d and digits are lost"):
        source_ids(IDS[:n].astype("f4").astype("i8"), "gaia.fits: column source_id")
    assert source_ids(IDS[:n], "gaia.fits: column source_id").tolist() == IDS[:n].tolist()


@pytest.mark.parametrize("text", ["4.295806720123457e+18", "1.23E+18", "4295806720.0", "0x1000", "4,295,806,720"])
def test_numbers_that_are_not_written_out_are_no_source_id(text):
    with pytest.raises(BadInputError, match="expected 64-bit integers"):
        source_ids(np.array([text]), "gaia.csv: column source_id")


@pytest.fixture
def gaia(tmp_path):
    table = tables(spectra(12)[0])[1]
    table.write(tmp_path / "gaia.fits")
    return table


def joined(tmp_path, wise):
    wise.write(tmp_path / "wise.fits", overwrite=True)
    table = read_gaia(tmp_path / "gaia.fits")
    join_wise(table, read_wise(tmp_path / "wise.fits"))
    return table


@pytest.mark.parametrize("key", ["tmass_id", "source_id"])
def test_a_wise_row_that_is_elsewhere_than_its_star_is_left_out(tmp_path, gaia, key):
    wise = gaia[[key, "ra", "dec", *WISE]].copy()
    assert np.isfinite(joined(tmp_path, wise)["w1mpro"]).all()
    wise[key][:2] = wise[key][[1, 0]]
    with pytest.warns(SpfastWarning, match="2 of 12 matched stars have no WISE photometry, their WISE source is elsew"):
        table = joined(tmp_path, wise)
    assert np.isnan(table["w1mpro"]).tolist() == [True] * 2 + [False] * 10
    assert np.isnan(table["w2mpro_error"]).sum() == 2


def test_wise_keys_that_slipped_by_a_row_are_refused(tmp_path, gaia):
    wise = gaia[["tmass_id", "ra", "dec", *WISE]].copy()
    wise["tmass_id"] = np.roll(wise["tmass_id"], 1)
    with pytest.raises(BadInputError, match=r"Gaia and WISE table: the 12 matched stars are .* deg apart"):
        joined(tmp_path, wise)


def test_a_wise_table_without_places_is_joined_by_key_alone(tmp_path, gaia):
    wise = gaia[["tmass_id", *WISE]].copy()
    wise["tmass_id"][:2] = wise["tmass_id"][[1, 0]]
    assert joined(tmp_path, wise)["w1mpro"][0] == pytest.approx(gaia["w1mpro"][1])


@pytest.mark.parametrize(
    ("given", "expected"),
    [(STAR, f"2M{STAR}"), (f"2MASS J{STAR}", f"2M{STAR}"), (f"2M{STAR}", f"2M{STAR}"), ("AP123", "AP123"), ("", "")],
)
def test_allstars_names_get_the_prefix_that_spectrum_files_have(tmp_path, given, expected):
    allstar = tables(spectra(12)[0])[0]
    allstar["APOGEE_ID"] = np.array([given, *allstar["APOGEE_ID"][1:]])
    allstar.write(tmp_path / "allStar.fits")
    assert read_allstar(tmp_path / "allStar.fits")["APOGEE_ID"][0] == expected
