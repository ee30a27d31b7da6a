"""allStar tables: names, units and missing values of every release, and what is refused."""

import shutil

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from small_survey import spectra, star_ids, tables

from spfast.config import Config
from spfast.data.allstar import read_allstar
from spfast.data.cuts import CutFlow, cut_apogee
from spfast.errors import BadInputError, SpfastWarning


@pytest.fixture
def allstar():
    return tables(spectra(6)[0])[0]


def test_allstar_columns_in_any_case_with_missing_values_and_padding_are_read(tmp_path, allstar):
    allstar["TEFF"][0] = allstar["J_ERR"][1] = -9999.0
    allstar["J"][2], allstar["K"][3] = -9999.99, 99.0
    allstar["ASPCAPFLAG"][4] = 1 << 41
    allstar["FIELD"] = ["M67   ", " 090+20", "x", "", "y", "z"]
    for name in list(allstar.colnames):
        allstar.rename_column(name, name.lower())
    allstar.rename_column("j", "J_mag")
    allstar.write(tmp_path / "allStar.fits")
    table = read_allstar(tmp_path / "allStar.fits")
    assert table["FIELD"].tolist() == ["M67", "090+20", "x", "", "y", "z"]
    assert np.isnan([table["TEFF"][0], table["J_ERR"][1], table["J"][2], table["K"][3]]).all()
    assert np.isfinite(table["H"]).all()
    assert table["ASPCAPFLAG"][4] == 1 << 41
    assert table["APOGEE_ID"].tolist() == star_ids(6).tolist()
    assert table["J"].dtype.isnative


def test_the_allstar_table_is_found_in_hdu_1_and_in_hdu_2(tmp_path, allstar):
    allstar.rename_columns(["APOGEE_ID", "J"], ["obj", "j_mag"])
    empty = fits.BinTableHDU(allstar[:0])
    fits.HDUList([fits.PrimaryHDU(), empty, fits.BinTableHDU(allstar)]).writeto(tmp_path / "astraAllStar.fits")
    assert len(read_allstar(tmp_path / "astraAllStar.fits")) == 6
    # DR17 has small tables of descriptions after the stars
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(allstar), fits.BinTableHDU(Table({"P": ["a"]}))]).writeto(
        tmp_path / "allStar.fits"
    )
    assert len(read_allstar(tmp_path / "allStar.fits")) == 6


def test_an_allstar_file_that_is_absent_damaged_empty_or_lacks_a_column_is_refused(tmp_path, allstar):
    path = tmp_path / "allStar.fits"
    with pytest.raises(BadInputError, match=r"allStar.fits: cannot be read"):
        read_allstar(path)
    path.write_text("no FITS at all")
    with pytest.raises(BadInputError, match="cannot be read"):
        read_allstar(path)
    fits.PrimaryHDU(np.zeros(3)).writeto(path, overwrite=True)
    with pytest.raises(BadInputError, match="no table in HDU 1 or 2"):
        read_allstar(path)
    allstar[:0].write(path, overwrite=True)
    with pytest.raises(BadInputError, match="no rows"):
        read_allstar(path)
    allstar.write(path, overwrite=True)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 2880])
    with pytest.raises(BadInputError, match="truncated"):
        read_allstar(path)
    allstar.rename_column("LOGG", "LOG_G")
    allstar.write(path, overwrite=True)
    with pytest.raises(BadInputError, match=r"allStar.fits: no column LOGG.*LOG_G"):
        read_allstar(path)


def test_units_of_allstar_are_converted_or_refused(tmp_path, allstar):
    expected = np.array(allstar["RA"])
    allstar["RA"] = expected / 15
    allstar["VHELIO_AVG"] = np.full(len(allstar), 12e3, "f4")
    number = {name: 1 + allstar.colnames.index(name) for name in allstar.colnames}
    allstar.write(tmp_path / "a.fits")
    for name, unit in (("RA", "hourangle"), ("VHELIO_AVG", "m/s")):
        fits.setval(tmp_path / "a.fits", f"TUNIT{number[name]}", value=unit, ext=1)
    table = read_allstar(tmp_path / "a.fits")
    np.testing.assert_allclose(table["ra"], expected)
    np.testing.assert_allclose(table["VHELIO_AVG"], 12.0)
    for name, unit, expected in (("TEFF", "mag", "K"), ("J", "Jy", "mag"), ("DEC", "h", "deg")):
        shutil.copy(tmp_path / "a.fits", tmp_path / "b.fits")
        fits.setval(tmp_path / "b.fits", f"TUNIT{number[name]}", value=unit, ext=1)
        with pytest.raises(BadInputError, match=rf"b\.fits: column {name} is in {unit}, expected {expected}"):
            read_allstar(tmp_path / "b.fits")


def test_fluxes_in_place_of_magnitudes_in_allstar_are_refused(tmp_path, allstar):
    allstar["H"] = 10 ** (-0.4 * np.array(allstar["H"])) * 1e6
    allstar.write(tmp_path / "allStar.fits")
    with pytest.raises(BadInputError, match="column H has the median"):
        read_allstar(tmp_path / "allStar.fits")


def test_impossible_numbers_in_allstar_become_nan_with_a_warning(tmp_path, allstar):
    allstar["RA"][2], allstar["DEC"][3], allstar["TEFF"][1] = 400.0, -91.0, 1e30
    allstar.write(tmp_path / "allStar.fits")
    with pytest.warns(SpfastWarning) as caught:
        table = read_allstar(tmp_path / "allStar.fits")
    assert [np.flatnonzero(np.isnan(table[name])).tolist() for name in ("ra", "dec", "TEFF")] == [[2], [3], [1]]
    assert len(caught) == 3
    assert "1 values of dec are not between -90 and 90 deg (row 3: -91)" in str(caught[1].message)


def test_a_gaia_table_given_as_allstar_is_refused(tmp_path):
    tables(spectra(8)[0])[1].write(tmp_path / "allStar.fits")
    with pytest.raises(BadInputError, match=r"allStar\.fits: no column APOGEE_ID"):
        read_allstar(tmp_path / "allStar.fits")


def test_a_real_allstar_table_is_read_and_cut(shared_data):
    table = read_allstar(shared_data / "allStar-v603-hipparcos-subset.fits.gz")
    assert len(table) == 3244
    assert table["APOGEE_ID"][0] == "2M00003088+5933348"
    assert table["FILE"][0] == "apStar-r5-2M00003088+5933348.fits"
    assert np.isnan(table["LOGG"][0])
    assert not np.any(np.asarray(table["LOGG"]) < -100)
    flow = CutFlow(table["APOGEE_ID"])
    giants = cut_apogee(table, flow, Config())
    assert 0 < len(giants) < 1500
    assert giants["LOGG"].min() > 0
    assert giants["LOGG"].max() <= np.float32(2.2)
    rejected = flow.rejected()
    assert len(rejected) + len(giants) == 3244
    assert rejected["detail"][0].startswith("LOGG = nan")


@pytest.mark.parametrize(
    ("bit", "bad"), [(0, True), (6, True), (8, True), (21, True), (24, True), (27, True), (7, False), (17, False)]
)
def test_result_flags_of_sdss_v_are_cut_by_their_own_bits(tmp_path, allstar, bit, bad):
    allstar.rename_column("ASPCAPFLAG", "result_flags")
    allstar["alpha_m_atm"] = 0.0
    allstar["result_flags"][0] = 1 << bit
    allstar.write(tmp_path / "allStar.fits")
    stars = read_allstar(tmp_path / "allStar.fits")
    assert stars.meta["aspcapflag_bits"] == "result_flags"
    config = Config().replace(sample={"exclude_flagged": True})
    assert len(cut_apogee(stars, CutFlow(stars["APOGEE_ID"]), config)) == 6 - bad


def test_result_flags_of_another_pipeline_flag_no_star(tmp_path, allstar):
    allstar.rename_column("ASPCAPFLAG", "result_flags")
    allstar["result_flags"][0] = 4
    allstar.write(tmp_path / "allStar.fits")
    with pytest.warns(SpfastWarning, match="its result_flags are not those of ASPCAP"):
        stars = read_allstar(tmp_path / "allStar.fits")
    assert "ASPCAPFLAG" not in stars.colnames
    config = Config().replace(sample={"exclude_flagged": True})
    with pytest.raises(BadInputError, match=r"exclude_flagged = true needs .*, it has STARFLAG"):
        cut_apogee(stars, CutFlow(stars["APOGEE_ID"]), config)


@pytest.mark.parametrize("first", [True, False])
def test_allstar_without_logg_is_told_that_it_needs_aspcaps_labels(tmp_path, allstar, first):
    allstar.remove_column("LOGG")
    other = fits.BinTableHDU(Table({"P": ["a"]}))
    tables = [fits.BinTableHDU(allstar), other] if first else [other, fits.BinTableHDU(allstar)]
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(tmp_path / "allStar.fits")
    with pytest.raises(
        BadInputError, match=r"no column LOGG, the surface gravity.*give an allStar with ASPCAP's labels"
    ):
        read_allstar(tmp_path / "allStar.fits")


@pytest.mark.parametrize("suffix", [".csv", ".vot", ".ecsv", ".parquet", ".FITS"])
def test_allstar_in_other_formats_gives_the_same_values(tmp_path, allstar, suffix):
    allstar.write(tmp_path / "whole.fits")
    path = tmp_path / f"allStar{suffix}"
    if suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.table({name: allstar[name].tolist() for name in allstar.colnames}), path)
    else:
        allstar.write(path, **({"format": "votable"} if suffix == ".vot" else {}))
    table, whole = read_allstar(path), read_allstar(tmp_path / "whole.fits")
    assert table.colnames == whole.colnames
    for name in whole.colnames:
        np.testing.assert_array_equal(table[name], whole[name], err_msg=name)


def test_masked_integers_of_allstar_are_missing(tmp_path, allstar):
    for name in ("STARFLAG", "NVISITS", "ASPCAPFLAG"):
        allstar[name] = MaskedColumn(np.asarray(allstar[name]), mask=np.arange(6) % 2 == 0)
    allstar.write(tmp_path / "allStar.fits")
    table = read_allstar(tmp_path / "allStar.fits")
    assert table["STARFLAG"].tolist() == [-1, 0, -1, 0, -1, 0]
    assert table["NVISITS"].tolist() == [-1, 3, -1, 3, -1, 3]


def test_b_is_a_latitude_only_beside_l_and_where_the_star_is(tmp_path, allstar):
    from astropy.coordinates import SkyCoord

    galactic = SkyCoord(allstar["RA"], allstar["DEC"], unit="deg").galactic
    table = allstar.copy()
    table["l"], table["b"] = galactic.l.deg, galactic.b.deg
    table.write(tmp_path / "a.fits")
    np.testing.assert_allclose(read_allstar(tmp_path / "a.fits")["glat"], galactic.b.deg)
    magnitude = np.full(6, 14.5, "f4")
    for names, values, unit in (
        (("B",), (magnitude,), "mag"),
        (("b",), (magnitude,), None),
        (("l", "b"), (magnitude, magnitude), None),
        (("l", "b"), (galactic.l.deg, magnitude), "mag"),
        (("L", "B"), (galactic.l.deg, galactic.b.deg), None),
    ):
        table = allstar.copy()
        for name, column in zip(names, values, strict=True):
            table[name] = column
        table[names[-1]].unit = unit
        table.write(tmp_path / "b.fits", overwrite=True)
        assert "glat" not in read_allstar(tmp_path / "b.fits").colnames


def test_the_exact_name_of_an_allstar_column_wins_over_another_case(tmp_path, allstar):
    table = allstar.copy()
    table.add_column(np.asarray(table["LOGG"]) + 0.3, name="logg", index=0)
    table.write(tmp_path / "a.fits")
    np.testing.assert_array_equal(read_allstar(tmp_path / "a.fits")["LOGG"], allstar["LOGG"])
