"""allStar tables, the scan for spectra in every release's tree, and the readers of both kinds with both libraries."""

import gzip
import os

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from small_survey import TREES, spectra, star_ids, tables, tree_path, write_ap_star, write_aspcap_star

from spfast.config import Config
from spfast.data.allstar import read_allstar
from spfast.data.cuts import CutFlow, cut_apogee
from spfast.data.spectra.features import PIXMASK_BAD
from spfast.data.spectra.find import SpectrumFiles
from spfast.data.spectra.read import fits_library, spectrum_reader
from spfast.errors import BadInputError

LIBRARIES = [
    "astropy",
    pytest.param("fitsio", marks=pytest.mark.skipif(fits_library() != "fitsio", reason="no fitsio")),
]


@pytest.fixture
def allstar():
    return tables(spectra(6)[0])[0]


def test_names_in_any_case_missing_values_and_padding(tmp_path, allstar):
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


def test_second_table_of_newer_releases(tmp_path, allstar):
    allstar.rename_columns(["APOGEE_ID", "J"], ["obj", "j_mag"])
    empty = fits.BinTableHDU(allstar[:0])
    fits.HDUList([fits.PrimaryHDU(), empty, fits.BinTableHDU(allstar)]).writeto(tmp_path / "astraAllStar.fits")
    assert len(read_allstar(tmp_path / "astraAllStar.fits")) == 6
    # DR17 has small tables of descriptions after the stars
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(allstar), fits.BinTableHDU(Table({"P": ["a"]}))]).writeto(
        tmp_path / "allStar.fits"
    )
    assert len(read_allstar(tmp_path / "allStar.fits")) == 6


def test_allstar_that_cannot_be_used(tmp_path, allstar):
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


def test_real_allstar_subset(shared_data):
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


@pytest.mark.parametrize(("release", "kind"), list(TREES))
def test_spectra_in_every_releases_tree(tmp_path, release, kind):
    ids = star_ids(4)
    for i, star in enumerate(ids):
        path = tmp_path / tree_path(release, kind, star, ["apo25m", "lco25m", "apo1m", "apo25m"][i])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    files = SpectrumFiles(tmp_path)
    assert files.n_files == 4
    for i, star in enumerate(ids):
        expected = tree_path(release, kind, star, ["apo25m", "lco25m", "apo1m", "apo25m"][i])
        assert files.find(star) == expected  # by ID
        assert files.find("unknown", expected.split("/")[-1]) == expected  # by FILE
    assert files.find("2M00000000+0000000", "apStar-r5-2M00000000+0000000.fits") == ""


def test_one_name_in_several_fields_and_both_kinds(tmp_path):
    names = [
        "stars/4001/aspcapStar-r8-l31c.2-2M10000000+2000000.fits",
        "stars/4002/aspcapStar-r8-l31c.2-2M10000000+2000000.fits",
        "redux/4002/apStar-r8-2M10000000+2000000.fits",
        "redux/4002/apVisit-r8-2M10000000+2000000.fits",
        "redux/4002/apStar-r8-2M10000000+2000000.txt",
        "hip/apStar-r8-HIP-77.fits.gz",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    files = SpectrumFiles(tmp_path)
    star = "2M10000000+2000000"
    assert files.find(star) == names[0]
    assert files.find(star, "", ("apo25m", "4002")) == names[1]
    assert files.find(star, "apStar-r8-2M10000000+2000000.fits") == names[2]
    assert files.find("HIP-77") == names[5]
    assert files.find("x", "apStar-r8-HIP-77.fits") == names[5]


def test_nothing_leads_out_of_the_folder(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "sub").mkdir(parents=True)
    outside.mkdir()
    (outside / "apStar-x-A.fits").touch()
    (root / "sub" / "apStar-x-B.fits").touch()
    os.symlink(outside / "apStar-x-A.fits", root / "apStar-x-A.fits")
    os.symlink(outside, root / "away")
    os.symlink(root, root / "sub" / "loop")
    os.symlink(root / "sub" / "apStar-x-B.fits", root / "apStar-x-C.fits")
    files = SpectrumFiles(root)
    assert files.n_files == 2
    assert files.find("A") == ""
    assert files.find("A", "../outside/apStar-x-A.fits") == ""
    assert files.find("A", str(outside / "apStar-x-A.fits")) == ""
    assert files.find("B", "/etc/apStar-x-B.fits") == "sub/apStar-x-B.fits"
    assert files.find("C") == "apStar-x-C.fits"


def test_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(BadInputError, match="no such folder"):
        SpectrumFiles(tmp_path / "none")
    with pytest.raises(BadInputError, match="no FITS file"):
        SpectrumFiles(tmp_path)


@pytest.mark.parametrize("library", LIBRARIES)
def test_readers(tmp_path, library):
    read = spectrum_reader(library)
    _, (flux,), (error,) = spectra(1)
    mask = np.zeros(8575, "i4")
    mask[100] = 1 << 14
    write_aspcap_star(tmp_path / "aspcapStar-1.fits", flux, error)
    write_aspcap_star(tmp_path / "mine.fits", flux, error)
    error[7] = 1e300  # beyond float32: infinite there
    write_ap_star(tmp_path / "apStar-2.fits", flux, error, mask, n_visits=3)
    write_ap_star(tmp_path / "apStar-3.fits", flux, error, mask.astype("i8"), n_visits=0)
    (tmp_path / "apStar-2.fits.gz").write_bytes(gzip.compress((tmp_path / "apStar-2.fits").read_bytes()))
    for name in ("aspcapStar-1.fits", "mine.fits"):
        spectrum = read(tmp_path / name)
        assert spectrum.normalized
        assert spectrum.pixel_mask is None
        np.testing.assert_array_equal(spectrum.flux, flux.astype("f4"))
    for name in ("apStar-2.fits", "apStar-3.fits", "apStar-2.fits.gz"):
        spectrum = read(tmp_path / name)
        assert not spectrum.normalized
        np.testing.assert_array_equal(spectrum.flux, flux.astype("f4"))
        assert np.isinf(spectrum.flux_error[7])
        np.testing.assert_array_equal(np.flatnonzero(spectrum.pixel_mask & PIXMASK_BAD), [100])
        assert spectrum.flux.dtype == np.float32
        assert spectrum.flux.dtype.isnative
        assert spectrum.flux.flags.c_contiguous


@pytest.mark.parametrize("library", LIBRARIES)
def test_damaged_files(tmp_path, library):
    read = spectrum_reader(library)
    _, (flux,), (error,) = spectra(1)
    with pytest.raises(BadInputError, match=r"none.fits"):
        read(tmp_path / "none.fits")
    path = tmp_path / "apStar-1.fits"
    write_ap_star(path, flux, error)
    whole = path.read_bytes()
    for size in (0, 1000, 2880, 50000, len(whole) // 2, len(whole) - 100000):
        path.write_bytes(whole[:size])
        with pytest.raises(BadInputError, match=r"apStar-1.fits: damaged or not FITS") as caught:
            read(path)
        assert "\n" not in str(caught.value)
    fits.HDUList([fits.PrimaryHDU()] + [fits.ImageHDU(np.ones(7514)) for _ in range(3)]).writeto(path, overwrite=True)
    with pytest.raises(BadInputError, match=r"7514.*8575"):
        read(path)
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(Table({"flux": flux}))]).writeto(path, overwrite=True)
    with pytest.raises(BadInputError, match=r"apStar-1.fits"):
        read(path)


@pytest.mark.skipif(fits_library() != "fitsio", reason="no fitsio")
def test_libraries_agree_on_real_files(shared_data):
    files = SpectrumFiles(shared_data)
    for star in ("2M17335483-2753043", "2M19485057+5005279"):
        path = shared_data / files.find(star)
        ours, other = (spectrum_reader(library)(path) for library in ("astropy", "fitsio"))
        assert not ours.normalized
        assert np.isfinite(ours.flux).sum() > 7400
        for a, b in zip(ours[:3], other[:3], strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
