"""Mocks of DR19 and DR20 have the names, HDUs, columns and values for "missing" of the programs that write them."""

import gzip

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from spfast.simulate import simulate_download

N = 60
SUMMARY = {
    "dr19": "spectro/astra/0.6.0/summary/astraAllStarASPCAP-0.6.0.fits.gz",
    "dr20": "spectro/astra/0.8.1/summary/astraAllStarASPCAP-0.8.1.fits",
}


@pytest.fixture(scope="module", params=sorted(SUMMARY))
def release(request):
    return request.param


@pytest.fixture(scope="module")
def download(release, tmp_path_factory):
    return simulate_download(tmp_path_factory.mktemp(release) / "d", N, seed=11, release=release, quiet=True)


@pytest.fixture(scope="module")
def tables(download, release):
    path = download / SUMMARY[release]
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file, fits.open(file) as hdus:
        return [(hdu.header, Table(hdu.data) if hdu.data is not None else None) for hdu in hdus]


def test_the_summary_has_boss_without_rows_and_apogee_told_by_cards_and_not_by_names(tables, release):
    (first, none), (boss, no_rows), (apogee, rows) = tables
    assert none is None
    assert [header.get("INSTRMNT") for header in (first, boss, apogee)] == [None, "BOSS", "APOGEE"]
    assert not any("EXTNAME" in header for header in (first, boss, apogee))
    assert len(no_rows) == 0
    assert no_rows.colnames == rows.colnames == [name.lower() for name in rows.colnames]
    formats = {rows.colnames[i]: apogee[f"TFORM{i + 1}"] for i in range(len(rows.colnames))}
    single = ("ra", "dec", "plx", "e_plx", "g_mag", "e_j_mag", "w1_mag", "snr", "logg", "fe_h")
    assert {formats[name] for name in single} == {"E"}
    assert formats["sdss_id"] == formats["gaia_dr3_source_id"] == formats["spectrum_flags"] == "K"
    assert formats["n_visits"] == formats["healpix"] == "J"
    assert formats["flag_bad"] == "L"
    assert ("c_1_h" in formats, "created" in formats, "starver" in formats) == (
        (True, False, False) if release == "dr19" else (False, True, True)
    )
    assert set(rows["v_astra"]) == ({"0.6.0"} if release == "dr19" else {8001})
    assert not {"APOGEE_ID", "LOCATION_ID", "FILE"} & {name.upper() for name in formats}


def test_missing_is_nan_minus_one_or_blank_and_never_minus_9999(tables):
    rows = tables[2][1]
    for name in rows.colnames:
        values = np.asarray(rows[name])
        assert values.dtype.kind not in "fi" or not np.any(values == -9999)
    assert any(np.isnan(rows[name]).any() for name in ("logg", "plx", "e_j_mag", "w1_mag"))
    assert np.any(rows["sdss4_apogee_id"] == "")
    assert (rows["catalogid"] == -1).all()


def test_a_star_has_a_row_for_each_telescope_and_release(tables):
    rows = tables[2][1]
    keys = set(zip(rows["sdss_id"], rows["telescope"], rows["release"], strict=True))
    assert len(keys) == len(rows) > len(set(rows["sdss_id"])) == N
    assert set(rows["release"]) == {"dr17", "sdss5"}
    named = set(rows["sdss_id"][rows["release"] == "dr17"])
    assert {row["sdss_id"] for row in rows if row["sdss4_apogee_id"]} == named
    flux = 22.5 - 0.004 - 2.5 * np.log10(rows["w1_flux"])
    np.testing.assert_allclose(flux, rows["w1_mag"], atol=1e-4)


def test_a_spectrum_file_has_five_hdus_of_which_some_are_empty_as_the_writer_makes_them(download, tables):
    rows = tables[2][1]
    newest = {}
    for row in rows:
        key = row["sdss_id"], row["telescope"]
        newest[key] = max(newest.get(key, ""), row["release"])
    paths, n_broken = sorted((download / "spectro/astra").rglob("mwmStar-*.fits")), 0
    assert N - 5 < len(paths) <= N
    for path in paths:
        number = int(path.stem.split("-")[2])
        assert path.parts[-3:-1] == (f"{number // 100 % 100:02d}", f"{number % 100:02d}")
        if path.stat().st_size % 2880:
            n_broken += 1
            continue
        with fits.open(path, memmap=False) as hdus:
            assert [hdu.name for hdu in hdus] == ["PRIMARY", "BOSS/APO", "BOSS/LCO", "APOGEE/APO", "APOGEE/LCO"]
            assert "HDU 2: APOGEE spectra" in str(hdus[0].header["COMMENT"])
            assert hdus[0].header["SDSS_ID"] == number
            held = {}
            for hdu in hdus[1:]:
                header = hdu.header
                flux = next(header[f"TFORM{i}"] for i in range(1, 50) if header[f"TTYPE{i}"] == "flux")
                if header["NAXIS2"] == 0:
                    assert header["DATASUM"].strip() == "0"
                    assert (flux, header["TFORM2"]) == ("0E", "1A")
                    continue
                assert flux == "8575E"
                assert (header["CRVAL"], header["CDELT"], header["NPIXELS"]) == (4.179, 6e-6, 8575)
                (row,) = hdu.data
                held[number, row["telescope"]] = row["release"]
                flux, ivar, flags = (np.array(hdu.data[name][0]) for name in ("flux", "ivar", "pixel_flags"))
                assert flags.dtype == ivar.dtype == ">f4"
                assert np.array_equal(flags, np.rint(flags))
                assert np.isfinite(ivar).all()
                assert np.all(ivar[np.isnan(flux)] == 0.0)
                assert np.any((ivar > 0) & (ivar < 1e-12))
            assert held == {key: release for key, release in newest.items() if key[0] == number}
    assert n_broken == 1


def test_the_pipelines_tables_are_one_a_telescope_in_small_letters_with_errors_of_gaias_magnitudes(download, release):
    tables = sorted((download / "spectro/apogee/redux").rglob("allStar-*.fits"))
    apred = {"dr19": "1.3", "dr20": "1.5"}[release]
    assert [path.name for path in tables] == [f"allStar-{apred}-{t}.fits" for t in ("apo25m", "lco25m")]
    for path in tables:
        table = Table.read(path)
        assert table.colnames == [name.lower() for name in table.colnames]
        assert set(table["telescope"]) == {path.stem.split("-")[2]}
        assert (table["gaia_gerr"] > 0).all()
        assert all(str(file).endswith(f"{star}-59830.fits") for file, star in table["file", "apogee_id"].iterrows())


def test_the_side_tables_go_by_source_id_and_lack_some_stars(download):
    gaia, wise = (Table.read(download / f"{name}.fits") for name in ("gaia", "allwise"))
    assert len(gaia) < N
    assert len(wise) < N
    assert "phot_bp_mean_flux_error" in gaia.colnames
    assert not {"original_ext_source_id", "w1mpro"} & set(gaia.colnames)
    assert set(wise.colnames) == {"source_id", "w1mpro", "w1mpro_error", "w2mpro", "w2mpro_error"}
