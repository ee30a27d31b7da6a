"""Spectra, damaged and nonsensical, by both libraries: one line, or flux and error that make a row or say why not."""

import numpy as np
import pytest
from astropy.io import fits
from fuzzing import NUMBERS, check_line, damaged, fuzz, limits, miswritten_cards, outcome
from hypothesis import strategies as st
from small_survey import spectra, write_ap_star, write_aspcap_star

from spfast.data.apogee import fits_library, spectrum_reader
from spfast.data.spectra.bad_pixels import SpectrumFactors
from spfast.data.spectra.continuum import chip_pixels
from spfast.data.spectra.features import SpectrumFeatures
from spfast.model.apogee import N_GRID

LIBRARIES = ["astropy"] + (["fitsio"] if fits_library() == "fitsio" else [])
_, (FLUX,), (ERROR,) = spectra(1)
FEATURES = SpectrumFeatures(chip_pixels()[::4])
UNKNOWN = SpectrumFactors.of(*np.ones((2, 1, chip_pixels().size), np.float32), 0.05)
WRITERS = {"apStar": write_ap_star, "aspcapStar": write_aspcap_star}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@st.composite
def odd_values(draw, flux, error):
    """Flux and error with nonsense in single pixels, in a stretch or everywhere."""
    flux, error = flux.copy(), error.copy()
    for array in draw(st.sampled_from(((flux,), (error,), (flux, error)))):
        start = draw(st.integers(0, N_GRID - 1))
        stop = draw(st.sampled_from((start + 1, start + 300, N_GRID)))
        with np.errstate(all="ignore"):
            array[start if stop < N_GRID else 0 : stop] = draw(st.sampled_from(NUMBERS))
    return flux, error


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", WRITERS)
@fuzz
def test_spectra(folder, kind, library, data):
    path, read = folder / f"{kind}-dr17-2M10000000+2000000.fits", spectrum_reader(library)
    how = data.draw(st.sampled_from(("values", "cards", "cards", "bytes")))
    with np.errstate(all="ignore"):
        WRITERS[kind](path, *(data.draw(odd_values(FLUX, ERROR)) if how == "values" else (FLUX, ERROR)))
    if how != "values":
        path.write_bytes(data.draw((miswritten_cards if how == "cards" else damaged)(path.read_bytes())))
    spectrum = outcome(read, path)
    if spectrum is None:
        return
    assert spectrum.flux.shape == spectrum.flux_error.shape == (N_GRID,)
    assert spectrum.flux.dtype == spectrum.flux_error.dtype == np.float32
    rows = np.empty((2, chip_pixels().size), np.float32)
    with limits(), np.errstate(all="raise"):
        n_bad, failure = FEATURES.row(*spectrum[:2], *rows, *spectrum[2:])
    if failure:
        check_line(failure + ";", "chip", "no good pixel")
    else:
        assert np.isfinite(rows[0]).all()
        assert (rows[1] > 0).all()
        assert np.count_nonzero(np.isinf(rows[1])) == n_bad
        UNKNOWN.estimate(*rows[:, None])
        assert np.isfinite(rows).all()
        assert (rows[1] > 0).all()
        # A pixel whose error is no positive number says nothing, and is counted.
        useless = ~(np.isfinite(spectrum.flux) & np.isfinite(spectrum.flux_error) & (spectrum.flux_error > 0))
        assert n_bad >= np.count_nonzero(useless[chip_pixels()])


@pytest.mark.parametrize("library", LIBRARIES)
def test_files_that_are_something_else(folder, library):
    read, path = spectrum_reader(library), folder / "apStar-dr17-x.fits"
    for hdus in (
        [],
        [fits.ImageHDU(np.ones(N_GRID))],
        [fits.ImageHDU(np.ones((2, 3, N_GRID), "i2"))] * 3,
        [fits.ImageHDU(np.ones(N_GRID)), fits.ImageHDU(np.ones(N_GRID - 1)), fits.ImageHDU(np.ones(N_GRID, "i4"))],
        [fits.CompImageHDU(np.ones((2, N_GRID), "f4"))] * 3,
    ):
        fits.HDUList([fits.PrimaryHDU(), *(hdu.copy() for hdu in hdus)]).writeto(path, overwrite=True)
        assert outcome(read, path) is None
