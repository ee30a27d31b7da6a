"""The readers of apStar and aspcapStar files, by astropy and by fitsio: the same values, the same refusals."""

import gzip
import sys

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from small_survey import spectra, write_ap_star, write_aspcap_star

from spfast.data.spectra.features import PIXMASK_BAD
from spfast.data.spectra.find import SpectrumFiles
from spfast.data.spectra.read import fits_library, spectrum_reader
from spfast.errors import BadInputError

LIBRARIES = [
    "astropy",
    pytest.param("fitsio", marks=pytest.mark.skipif(fits_library() != "fitsio", reason="no fitsio")),
]


@pytest.mark.parametrize("library", LIBRARIES)
def test_apstar_and_aspcapstar_files_are_read_to_flux_error_and_mask(tmp_path, library):
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
def test_a_spectrum_file_that_is_absent_cut_short_or_of_another_shape_is_refused(tmp_path, library):
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


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("card", "value"), [("CRVAL1", 4.18), ("CDELT1", 5e-6), ("CRPIX1", 2), ("CRVAL1", 15100.8), ("CDELT1", -6e-6)]
)
def test_a_spectrum_on_another_wavelength_grid_is_refused(tmp_path, library, packed, card, value):
    path = tmp_path / "apStar-dr17-x.fits"
    write_ap_star(path, *(array[0] for array in spectra(1)[1:]))
    read = spectrum_reader(library)
    with fits.open(path, mode="update") as hdus:
        hdus[1].header[card] = value
    if packed:
        path = path.with_suffix(".fits.gz")
        path.write_bytes(gzip.compress((tmp_path / "apStar-dr17-x.fits").read_bytes()))
    with pytest.raises(BadInputError, match=rf"HDU 1 has {card} = .*, expected .*: another wavelength grid"):
        read(path)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_grid_that_is_rounded_to_float32_or_not_stated_is_accepted(tmp_path, library):
    path = tmp_path / "aspcapStar-x.fits"
    write_aspcap_star(path, *(array[0] for array in spectra(1)[1:]))
    with fits.open(path, mode="update") as hdus:
        hdus[1].header["CRVAL1"], hdus[1].header["CDELT1"] = float(np.float32(4.179)), float(np.float32(6e-6))
    assert spectrum_reader(library)(path).normalized
    with fits.open(path, mode="update") as hdus:
        for card in ("CRVAL1", "CDELT1", "CRPIX1"):
            del hdus[1].header[card]
    assert spectrum_reader(library)(path).normalized  # none is stated: 8,575 pixels are APOGEE's grid


def test_astropy_reads_spectra_where_fitsio_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "fitsio", None)
    assert fits_library() == "astropy"


@pytest.mark.skipif(fits_library() != "fitsio", reason="no fitsio")
def test_astropy_and_fitsio_agree_on_real_files(shared_data):
    files = SpectrumFiles(shared_data)
    for star in ("2M17335483-2753043", "2M19485057+5005279"):
        path = shared_data / files.find(star)
        ours, other = (spectrum_reader(library)(path) for library in ("astropy", "fitsio"))
        assert not ours.normalized
        assert np.isfinite(ours.flux).sum() > 7400
        for a, b in zip(ours[:3], other[:3], strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
