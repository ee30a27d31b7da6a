"""Images read directly from plain FITS files: the values of astropy, and nothing at all where a file is unusual."""

import io

import numpy as np
import pytest
from astropy.io import fits
from small_survey import spectra, write_ap_star, write_aspcap_star

from spfast.data import apogee
from spfast.data.apogee import spectrum_reader
from spfast.data.plain_fits import read_images


def found(content, n_images=3):
    return read_images(io.BytesIO(content), len(content), n_images)


def packed(*hdus):
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(file)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["u1", "i2", "i4", "i8", "f4", "f8"])
@pytest.mark.parametrize("shape", [(7,), (3, 7)])
def test_an_image_has_the_values_that_were_written(kind, shape):
    values = np.arange(np.prod(shape)).reshape(shape).astype(kind)
    content = packed(fits.ImageHDU(values), fits.ImageHDU(values + 1))
    first, second = found(content)
    assert first.shape == shape
    for image, expected in ((first, values), (second, values + 1)):
        row = image.first_row(io.BytesIO(content))
        assert row.dtype == np.dtype(kind)
        np.testing.assert_array_equal(row, expected[0] if len(shape) == 2 else expected)


def test_a_file_that_is_unusual_in_any_way_is_left_to_a_library():
    values = np.arange(7, dtype="f4")
    plain = packed(fits.ImageHDU(values))
    assert len(found(plain)) == 1
    scaled = fits.ImageHDU(values)
    scaled.header["BSCALE"] = 2.0
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=values)])
    primary = io.BytesIO()
    fits.PrimaryHDU(values).writeto(primary)
    for content in (
        b"",
        plain[:-2880],
        plain[: 2 * 2880 - 100],
        plain + b"x" * 2880,
        plain.replace(b"NAXIS1  =                    7", b"NAXIS1  =           7000000000"),
        plain.replace(b"NAXIS1  =                    7", b"NAXIS1  =                   -7"),
        plain.replace(b"PCOUNT  =                    0", b"PCOUNT  =                   10"),
        plain.replace(b"BITPIX  =                  -32", b"BITPIX  =                  -33"),
        primary.getvalue(),
        packed(scaled),
        packed(table),
        packed(fits.ImageHDU(np.zeros((2, 3, 4), "i2"))),
        packed(fits.ImageHDU(values.astype("u2"))),
    ):
        assert found(content) is None


def test_spectra_read_directly_are_those_of_a_library(tmp_path, monkeypatch):
    _, (flux,), (error,) = spectra(1)
    mask = np.zeros(8575, "i4")
    mask[100] = 1 << 14
    write_aspcap_star(tmp_path / "aspcapStar-1.fits", flux, error)
    write_ap_star(tmp_path / "apStar-2.fits", flux, error, mask, n_visits=3)
    write_ap_star(tmp_path / "apStar-3.fits", flux, error, mask, n_visits=0)
    for name in ("aspcapStar-1.fits", "apStar-2.fits", "apStar-3.fits"):
        direct = apogee._read_plain(str(tmp_path / name))
        with monkeypatch.context() as patch:
            patch.setattr(apogee, "_read_plain", lambda path: None)
            for library in ("astropy", apogee.fits_library()):
                other = spectrum_reader(library)(tmp_path / name)
                assert direct.normalized == other.normalized
                for ours, theirs in zip(direct[:3], other[:3], strict=True):
                    np.testing.assert_array_equal(ours, theirs)
                    assert ours is None or ours.dtype == theirs.dtype
