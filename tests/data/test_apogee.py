"""The readers of apStar and aspcapStar files, by astropy and by fitsio: the same values, the same refusals."""

import gzip
import sys

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from small_survey import spectra, write_ap_star, write_aspcap_star

from spfast.data.apogee import fits_library, spectrum_reader
from spfast.data.spectra.features import PIXMASK_BAD
from spfast.data.spectra.find import SpectrumFiles
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


def image(values, **cards):
    header = fits.Header({"CRVAL1": 4.179, "CDELT1": 6e-6, "CRPIX1": 1})
    header.update(cards)
    return fits.ImageHDU(values, header)


def write(path, *hdus):
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path, overwrite=True)
    return path


@pytest.fixture
def star():
    """Flux, error and mask of an apStar; one pixel is bad."""
    _, (flux,), (error,) = spectra(1)
    mask = np.zeros(8575, "i2")
    mask[7] = 1
    return (flux * 1e3).astype("f4"), (error * 1e3).astype("f4"), mask


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", ["apStar-dr17-x.fits", "APSTAR-DR17-X.FITS", "asStar-dr17-x.fits", "apStar-x.fits.gz"])
@pytest.mark.parametrize("kind", ["i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "u1"])
@pytest.mark.parametrize("rows", [0, 1, 3])
def test_apstar_of_any_shape_and_type_of_mask_is_read(tmp_path, library, name, star, kind, rows):
    flux, error, mask = star
    images = [np.array([values] * rows) if rows else values for values in (flux, error, mask.astype(kind))]
    if rows:
        images[0][1:] += 1  # only row 0 is right
    spectrum = spectrum_reader(library)(write(tmp_path / name, *map(image, images)))
    assert not spectrum.normalized
    np.testing.assert_array_equal(spectrum.flux, flux)
    np.testing.assert_array_equal(spectrum.flux_error, error)
    np.testing.assert_array_equal(spectrum.pixel_mask, mask)
    assert spectrum.pixel_mask.dtype == np.int32


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("rows", [0, 1, 3])
def test_apstar_without_a_mask_is_read_without_one(tmp_path, library, packed, rows, star):
    flux, error, _ = star
    path = write(tmp_path / "apStar-x.fits", *(image(np.array([v] * rows) if rows else v) for v in (flux, error)))
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    spectrum = spectrum_reader(library)(path)
    assert (spectrum.pixel_mask, spectrum.normalized) == (None, False)
    np.testing.assert_array_equal(spectrum.flux, flux)
    np.testing.assert_array_equal(spectrum.flux_error, error)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("rows", [0, 3])
@pytest.mark.parametrize("left", [80, 2800, 2880, 4000])
def test_apstar_that_breaks_off_at_its_mask_is_not_taken_for_one_without(tmp_path, library, packed, rows, left, star):
    path = tmp_path / "apStar-x.fits"
    images = [image(np.array([v] * rows) if rows else v) for v in star]
    n_bytes = write(path, *images[:2]).stat().st_size + left
    whole = write(path, *images).read_bytes()
    path.write_bytes(gzip.compress(whole[:n_bytes]) if packed else whole[:n_bytes])
    with pytest.raises(BadInputError, match=r"apStar-x\.fits: damaged or not FITS"):
        spectrum_reader(library)(path)


@pytest.mark.parametrize("library", LIBRARIES)
def test_flux_and_best_fit_near_1_are_an_aspcapstar_under_any_name(tmp_path, library, star):
    flux, error = star[0] / 1e3, star[1] / 1e3
    spectrum = spectrum_reader(library)(write(tmp_path / "apStar-x.fits", *map(image, (flux, error, flux))))
    assert (spectrum.pixel_mask, spectrum.normalized) == (None, True)


@pytest.mark.parametrize("library", LIBRARIES)
def test_third_image_that_is_no_mask_is_refused(tmp_path, library, star):
    flux, error, _ = star
    for third in (flux + 0.5, np.full(8575, np.nan, "f4"), np.full(8575, 1e30, "f4")):
        path = write(tmp_path / "apStar-x.fits", image(flux), image(error), image(third))
        with pytest.raises(BadInputError, match="HDU 3 has fractions, expected the pixel mask"):
            spectrum_reader(library)(path)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("n_hdus", [2, 3])
def test_aspcapstar_is_normalised_in_any_shape(tmp_path, library, rows, n_hdus, star):
    flux, error = star[0] / 1e3, star[1] / 1e3
    images = [np.array([v] * rows) if rows else v for v in (flux, error, flux)][:n_hdus]
    spectrum = spectrum_reader(library)(write(tmp_path / "ASPCAPSTAR-x.fits", *map(image, images)))
    assert (spectrum.pixel_mask, spectrum.normalized) == (None, True)
    np.testing.assert_array_equal(spectrum.flux, flux)


@pytest.mark.parametrize("library", LIBRARIES)
def test_two_images_of_one_dimension_need_a_name_that_says_what_they_are(tmp_path, library, star):
    with pytest.raises(
        BadInputError, match=r"does not say whether the flux is normalised; begin the name with apStar-"
    ):
        spectrum_reader(library)(write(tmp_path / "mine.fits", *map(image, star[:2])))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("rows", [0, 3])
def test_scaled_integers_are_read_and_their_blanks_are_bad(tmp_path, library, rows, star):
    flux, error, mask = star
    stored = np.rint(flux * 10).astype("i2")
    hdus = [image(np.array([v] * rows) if rows else v) for v in (stored, error, mask)]
    path = write(tmp_path / "apStar-x.fits", *hdus)
    with fits.open(path, mode="update", do_not_scale_image_data=True) as opened:
        opened[1].data[..., 9] = -32768
        opened[1].header.update({"BSCALE": 0.1, "BLANK": -32768})
    read = spectrum_reader(library)(path)
    np.testing.assert_allclose(np.delete(read.flux, 9), np.delete(flux, 9), atol=0.051)
    assert np.isnan(read.flux[9])


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", ["apStar-x.fits", "aspcapStar-x.fits", "x.fits"])
def test_tile_compressed_spectrum_is_refused_with_what_to_do(tmp_path, library, name, star):
    path = write(tmp_path / name, *(fits.CompImageHDU(values[None]) for values in star))
    with pytest.raises(BadInputError, match=r"tile-compressed one, which is not read: unpack the file with funpack"):
        spectrum_reader(library)(path)


@pytest.mark.parametrize("library", LIBRARIES)
def test_mwmstar_without_its_summary_is_refused(tmp_path, library, star):
    table = fits.BinTableHDU(Table({"flux": star[0][None], "ivar": star[1][None]}))
    with pytest.raises(BadInputError, match=r"mwmStar, which is read with a summary that has sdss_id"):
        spectrum_reader(library)(write(tmp_path / "mwmStar-0.6.0-1.fits", table))


@pytest.mark.parametrize("library", LIBRARIES)
def test_file_with_one_image_says_what_is_missing(tmp_path, library, star):
    with pytest.raises(BadInputError, match=r"no whole HDU 2, expected flux in HDU 1 and its error in HDU 2"):
        spectrum_reader(library)(write(tmp_path / "apStar-x.fits", image(star[0])))
    fits.PrimaryHDU(star[0]).writeto(tmp_path / "apStar-y.fits")
    with pytest.raises(BadInputError, match=r"no whole HDU 1"):
        spectrum_reader(library)(tmp_path / "apStar-y.fits")
