"""Gaia and WISE tables: five formats, names, units, missing values, and one clear line for what cannot be used."""

import gzip

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from small_survey import spectra, tables

from spfast.data.gaia import read_gaia, read_wise
from spfast.errors import BadInputError, SpfastWarning


@pytest.fixture
def gaia():
    return tables(spectra(8)[0])[1]


@pytest.mark.parametrize("suffix", [".fits", ".fits.gz", ".vot", ".ecsv", ".csv", ".csv.gz", ".parquet"])
def test_every_format_of_a_gaia_table_gives_the_same_values(tmp_path, gaia, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    gaia["parallax"] = MaskedColumn(gaia["parallax"], mask=np.arange(8) == 2, unit="mas")
    gaia["random_index"] = MaskedColumn(gaia["random_index"], mask=np.arange(8) == 3)
    path = tmp_path / f"gaia{suffix}"
    if suffix == ".parquet":  # astropy's writer forgets masks
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.table({name: gaia[name].tolist() for name in gaia.colnames}), path)
    elif suffix == ".csv.gz":
        gaia.write(tmp_path / "plain.csv")
        path.write_bytes(gzip.compress((tmp_path / "plain.csv").read_bytes()))
    else:
        gaia.write(path, **({"format": "votable"} if suffix == ".vot" else {}))
    table = read_gaia(path)
    assert table["key"].tolist() == gaia["tmass_id"].tolist()
    assert table["source_id"].tolist() == gaia["source_id"].tolist()
    assert np.isnan(table["parallax"][2])
    np.testing.assert_allclose(np.delete(table["parallax"], 2), np.delete(gaia["parallax"].filled(0), 2), rtol=1e-12)
    np.testing.assert_allclose(table["w1mpro"], gaia["w1mpro"], rtol=1e-6)
    assert table["phot_variable_flag"].tolist() == ["NOT_AVAILABLE"] * 8
    if suffix not in (".fits", ".fits.gz"):  # FITS has its own missing integer only if told
        assert table["random_index"][3] == -1


def test_null_and_empty_fields_in_csv_are_missing(tmp_path, gaia):
    gaia["parallax"] = ["null", "", *(str(value) for value in gaia["parallax"][2:])]
    gaia.write(tmp_path / "gaia.csv")
    assert np.isnan(read_gaia(tmp_path / "gaia.csv")["parallax"]).tolist() == [True, True] + [False] * 6


def test_names_in_capitals_and_keys_with_a_prefix_are_read(tmp_path, gaia):
    gaia["original_ext_source_id"] = ["2M" + key for key in gaia["tmass_id"]]
    keys = gaia["tmass_id"].tolist()
    gaia.remove_column("tmass_id")
    for name in list(gaia.colnames):
        gaia.rename_column(name, name.upper())
    gaia.write(tmp_path / "gaia.fits")
    assert read_gaia(tmp_path / "gaia.fits")["key"].tolist() == keys


def test_units_of_a_gaia_table_are_converted_or_refused(tmp_path, gaia):
    expected = np.array(gaia["parallax"])
    gaia["parallax"] = np.array(gaia["parallax"]) / 1000.0
    gaia["parallax"].unit = "arcsec"
    gaia.write(tmp_path / "gaia.ecsv")
    np.testing.assert_allclose(read_gaia(tmp_path / "gaia.ecsv")["parallax"], expected, rtol=1e-12)
    gaia["parallax"].unit = "km"
    gaia.write(tmp_path / "gaia.ecsv", overwrite=True)
    with pytest.raises(BadInputError, match="column parallax is in km, expected mas"):
        read_gaia(tmp_path / "gaia.ecsv")


def test_unstated_units_that_do_not_fit_are_refused(tmp_path, gaia):
    for name, factor, message in (
        ("phot_g_mean_mag", 1e4, r"phot_g_mean_mag has the median .*, expected -5 to 30 magnitudes; are they fluxes"),
        ("w2mpro", 10.0, r"w2mpro has the median"),
        ("parallax_error", 1e-3, r"parallax_error has the median .* mas; are they in arcsec"),
    ):
        wrong = gaia.copy()
        wrong[name] = np.array(gaia[name]) * factor
        wrong.write(tmp_path / "gaia.csv", overwrite=True)
        with pytest.raises(BadInputError, match=message):
            read_gaia(tmp_path / "gaia.csv")


def test_an_impossible_parallax_becomes_nan_with_a_warning(tmp_path, gaia):
    gaia["parallax"][4] = -1e300
    gaia.write(tmp_path / "gaia.fits")
    with pytest.warns(SpfastWarning, match="values of parallax are not between"):
        assert np.isnan(read_gaia(tmp_path / "gaia.fits")["parallax"][4])


def test_a_gaia_table_of_dr1_without_bp_and_rp_is_refused(tmp_path, gaia):
    gaia.remove_columns([name for name in gaia.colnames if "_bp_" in name])  # as DR1, which had G alone
    gaia.write(tmp_path / "gaia.fits")
    with pytest.raises(BadInputError, match=r"gaia\.fits: no column phot_bp_mean_mag; its closest columns are"):
        read_gaia(tmp_path / "gaia.fits")


def test_a_gaia_table_that_is_absent_damaged_empty_or_lacks_a_column_is_refused(tmp_path, gaia, monkeypatch):
    path = tmp_path / "gaia.fits"
    with pytest.raises(BadInputError, match="no such file"):
        read_gaia(path)
    (tmp_path / "gaia.xlsx").touch()
    with pytest.raises(BadInputError, match=r"unknown suffix '.xlsx'; expected one of .fits"):
        read_gaia(tmp_path / "gaia.xlsx")
    for suffix in (".fits", ".vot", ".ecsv", ".parquet"):
        (tmp_path / f"bad{suffix}").write_text("nonsense\x00")
        with pytest.raises(BadInputError, match=f"bad{suffix}: ") as caught:
            read_gaia(tmp_path / f"bad{suffix}")
        assert "\n" not in str(caught.value)
    gaia[:0].write(path)
    with pytest.raises(BadInputError, match="no rows"):
        read_gaia(path)
    gaia.write(path, overwrite=True)
    path.write_bytes(path.read_bytes()[:-2880])
    with pytest.raises(BadInputError, match="truncated"):
        read_gaia(path)
    gaia["source_id"] = gaia["source_id"].astype(float)
    gaia.write(path, overwrite=True)
    with pytest.raises(BadInputError, match=r"source_id is .*float64, expected 64-bit integers"):
        read_gaia(path)
    gaia["source_id"] = np.arange(8)
    gaia["parallax"] = ["much"] * 8
    gaia.write(path, overwrite=True)
    with pytest.raises(BadInputError, match=r"parallax has 'much' in row 0, expected numbers"):
        read_gaia(path)
    gaia.rename_column("parallax_error", "e_parallax")
    gaia["parallax"] = 1.0
    gaia.write(path, overwrite=True)
    with pytest.raises(
        BadInputError, match=r"gaia.fits: no column parallax_error; its closest columns are .*e_parallax"
    ):
        read_gaia(path)
    gaia.remove_column("tmass_id")
    gaia.write(path, overwrite=True)
    with pytest.raises(BadInputError, match=r"no 2MASS key column \(one of tmass_id"):
        read_gaia(path)


def test_a_wise_table_is_read_by_2mass_key_or_by_source_id(tmp_path):
    wise = Table({"tmass_id": ["a", "b"], "w1mpro": [1.0, 2.0], "w2mpro": [1.0, 2.0]})
    wise["w1sigmpro"], wise["w2sigmpro"] = 0.1, 0.2  # AllWISE's own names
    wise.write(tmp_path / "wise.csv")
    table = read_wise(tmp_path / "wise.csv")
    assert table["key"].tolist() == ["a", "b"]
    np.testing.assert_allclose(table["w2mpro_error"], 0.2)
    wise.rename_column("tmass_id", "source_id")
    wise["source_id"] = [5, 6]
    wise.write(tmp_path / "wise.ecsv")
    assert read_wise(tmp_path / "wise.ecsv")["source_id"].tolist() == [5, 6]
    wise.remove_column("w1mpro")
    wise.write(tmp_path / "wise.ecsv", overwrite=True)
    with pytest.raises(BadInputError, match="no column w1mpro"):
        read_wise(tmp_path / "wise.ecsv")


@pytest.mark.parametrize("suffix", [".csv", ".fits"])
def test_text_that_python_wrote_as_bytes_is_undone(tmp_path, gaia, suffix):
    keys = gaia["tmass_id"].tolist()
    flags = ["VARIABLE", "CONSTANT"] * 4
    gaia["tmass_id"], gaia["phot_variable_flag"] = [f"b'{key}'" for key in keys], [f"b'{flag}'" for flag in flags]
    gaia.write(tmp_path / f"gaia{suffix}")
    table = read_gaia(tmp_path / f"gaia{suffix}")
    assert table["key"].tolist() == keys
    assert table["phot_variable_flag"].tolist() == flags


def test_flags_of_variability_as_numbers_are_read_and_words_are_left(tmp_path, gaia):
    gaia["phot_variable_flag"] = [0, 1, 2, 2, 0, 0, 0, 0]
    gaia.write(tmp_path / "gaia.fits")
    flags = read_gaia(tmp_path / "gaia.fits")["phot_variable_flag"].tolist()
    assert flags[:4] == ["NOT_AVAILABLE", "CONSTANT", "VARIABLE", "VARIABLE"]
    gaia["phot_variable_flag"] = ["variable", "", "null", "CONSTANT", "yes", "", "", ""]
    gaia.write(tmp_path / "gaia.csv")
    flags = read_gaia(tmp_path / "gaia.csv")["phot_variable_flag"].tolist()
    assert flags == ["variable", "", "", "CONSTANT", "yes", "", "", ""]


@pytest.mark.parametrize("code", [99.999, 99.0, -99.99, -99.9, -999.0, -9999.0, -9999.99, 98.5])
def test_numbers_for_no_magnitude_are_missing_in_every_band(tmp_path, gaia, code):
    bands = ("phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag", "w1mpro", "w2mpro")
    for row, name in enumerate(bands):
        gaia[name][row] = code
    gaia["w1mpro_error"][6] = 9.999
    gaia.write(tmp_path / "gaia.fits")
    table = read_gaia(tmp_path / "gaia.fits")
    assert [np.flatnonzero(np.isnan(table[name])).tolist() for name in bands] == [[0], [1], [2], [3], [4]]
    assert np.flatnonzero(np.isnan(table["w1mpro_error"])).tolist() == [6]


@pytest.mark.parametrize("code", [-9999.0, -999.0, -999.99])
def test_numbers_for_no_value_are_missing_before_units_are_converted(tmp_path, gaia, code):
    gaia["parallax"] = np.asarray(gaia["parallax"]) / 1000
    gaia["parallax"].unit = "arcsec"
    gaia["parallax"][2] = code
    gaia["visibility_periods_used"][3] = -999
    gaia.write(tmp_path / "gaia.fits")
    table = read_gaia(tmp_path / "gaia.fits")
    assert np.flatnonzero(np.isnan(table["parallax"])).tolist() == [2]
    assert table["visibility_periods_used"][3] == -1


def test_an_exact_gaia_name_wins_over_another_case(tmp_path, gaia):
    table = gaia.copy()
    table.add_column(np.full(8, 0.5), name="PARALLAX", index=0)
    table.write(tmp_path / "gaia.csv")
    np.testing.assert_allclose(read_gaia(tmp_path / "gaia.csv")["parallax"], gaia["parallax"])
    table.rename_column("parallax", "Parallax")
    table.write(tmp_path / "gaia.csv", overwrite=True)
    with pytest.raises(BadInputError, match="has the columns PARALLAX and Parallax"):
        read_gaia(tmp_path / "gaia.csv")
