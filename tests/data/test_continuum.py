"""The continuum kernel against plain numpy, its bad-pixel rules and failures, and the choice of continuum pixels."""

import json

import numpy as np
import pytest
from reference_continuum import feature_row
from small_survey import spectra

from spfast.config import Config, load_config
from spfast.data.spectra.continuum import (
    chip_pixels,
    chip_ranges,
    find_continuum_pixels,
    read_continuum_file,
    rough_normalize,
)
from spfast.data.spectra.features import PIXMASK_BAD, SpectrumFeatures
from spfast.errors import BadInputError
from spfast.model.layout import CHIPS, grid_wavelength

CONTINUUM = np.arange(0, 8575, 3)


def messy_spectrum(seed, scale=1.0):
    """A spectrum with every kind of bad pixel, and its mask."""
    rng = np.random.default_rng(seed)
    _, flux, error = spectra(1, seed, snr=60.0)
    flux = flux[0] * (1 + 0.1 * np.sin(np.arange(8575) / 2000.0)) * scale
    error = error[0] * scale * rng.uniform(0.5, 2.0, 8575)
    for value, array in ((np.nan, flux), (np.inf, flux), (np.nan, error), (0.0, error), (-1.0, error), (1e10, error)):
        array[rng.integers(0, 8575, 20)] = value
    flux[rng.integers(0, 8575, 20)] = -0.5 * scale
    flux[rng.integers(0, 8575, 20)] = 4.0 * scale
    mask = np.zeros(8575, np.int32)
    mask[rng.integers(0, 8575, 40)] = 1 << rng.integers(0, 20, 40)
    return flux.astype(np.float32), error.astype(np.float32), mask


def run(features, flux, error, mask=None, normalized=True):
    ln_flux, ln_error = np.empty((2, features.pixels.size), np.float32)
    n_bad, failure = features.row(flux, error, ln_flux, ln_error, mask, normalized)
    return ln_flux, ln_error, n_bad, failure


def test_chips_have_the_papers_pixels():
    assert [stop - start for start, stop in chip_ranges()] == [3041, 2419, 1991]
    assert chip_pixels().size == 7451
    wavelength = grid_wavelength(chip_pixels())
    assert all(np.sum((low < wavelength) & (wavelength < high)) for low, high in CHIPS)
    assert not np.any([(wavelength > 15800) & (wavelength < 15890), wavelength <= 15150, wavelength >= 16950])


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("weight_power", [1, 2])
@pytest.mark.parametrize("seed", [0, 1])
def test_kernel_agrees_with_numpy(seed, weight_power, normalized):
    flux, error, mask = messy_spectrum(seed, 1.0 if normalized else 731.0)
    config = Config().replace(normalization={"weight_power": weight_power}, features={"bad_pixels": "one"})
    features = SpectrumFeatures(CONTINUUM, config)
    ln_flux, ln_error, n_bad, failure = run(features, flux, error, mask, normalized)
    expected, expected_error, bad = feature_row(flux, error, mask, CONTINUUM, normalized, weight_power)
    assert failure == ""
    assert n_bad == bad.sum() > 100
    np.testing.assert_allclose(ln_flux, expected, atol=1e-6)
    np.testing.assert_allclose(ln_error, expected_error, rtol=2e-6)
    np.testing.assert_array_equal(features.usable, ~bad)
    assert np.all(ln_flux[bad] == 0.0)
    assert np.all(ln_error[bad] == np.float32(0.05))
    # To be estimated, the same with errors as they are.
    as_is = run(
        SpectrumFeatures(CONTINUUM, config.replace(features={"bad_pixels": "estimated"})), flux, error, mask, normalized
    )
    np.testing.assert_array_equal(as_is[0], ln_flux)
    assert np.isinf(as_is[1]).tolist() == bad.tolist()
    np.testing.assert_allclose(np.minimum(as_is[1], 0.05 / np.exp(ln_flux)), ln_error, rtol=1e-6)


@pytest.mark.parametrize(("degree", "grow"), [(0, 0), (3, 2)])
def test_other_degrees_and_growths(degree, grow):
    flux, error, mask = messy_spectrum(5)
    features = SpectrumFeatures(
        CONTINUUM, Config().replace(normalization={"chebyshev_degree": degree, "grow_mask": grow})
    )
    ln_flux, _, n_bad, _ = run(features, flux, error, mask)
    expected, _, bad = feature_row(flux, error, mask, CONTINUUM, degree=degree, grow=grow)
    np.testing.assert_allclose(ln_flux, expected, atol=1e-6)
    assert n_bad == bad.sum()


def test_scale_and_smooth_continuum_divide_out():
    _, flux, error = spectra(1, 3)
    flux, error = flux[0], error[0]
    x = np.linspace(-1, 1, 8575)
    features = SpectrumFeatures(CONTINUUM)
    plain = run(features, np.float32(flux), np.float32(error), normalized=False)
    curved = 812.0 * (1 + 0.1 * x)  # constant over a chip to the fit's eye: degree 1 is within degree 2
    other = run(features, np.float32(flux * curved), np.float32(error * curved), normalized=False)
    # the weights see the slope of the error, so the fits differ by a small share of the noise
    np.testing.assert_allclose(other[0], plain[0], atol=2e-3)


def test_pixel_mask_can_be_ignored():
    flux, error, mask = messy_spectrum(2)
    mask[5000] = 1 << 14
    index = np.searchsorted(chip_pixels(), 5000)
    honoured = run(SpectrumFeatures(CONTINUUM), flux, error, mask)
    ignored = run(SpectrumFeatures(CONTINUUM, load_config(preset="hogg2019")), flux, error, mask)
    assert honoured[0][index - 1 : index + 2].tolist() == [0, 0, 0]
    assert ignored[2] < honoured[2]
    assert ignored[2] == run(SpectrumFeatures(CONTINUUM), flux, error, None)[2]


def test_flux_is_clipped_and_error_too():
    flux, error = np.ones(8575, np.float32), np.full(8575, 0.1, np.float32)
    flux[4000], flux[4100] = -2.0, 9.0
    config = Config().replace(features={"bad_pixels": "one"})
    ln_flux, ln_error, _, _ = run(SpectrumFeatures(CONTINUUM[CONTINUUM != 4000], config), flux, error)
    low, high = np.searchsorted(chip_pixels(), [4000, 4100])
    np.testing.assert_allclose([ln_flux[low], ln_flux[high]], np.log([0.01, 1.2]), rtol=1e-6)
    np.testing.assert_allclose([ln_error[low], ln_error[high]], [0.05 / 0.01, 0.05 / 1.2], rtol=1e-6)


def test_spectra_that_cannot_be_normalised_say_why():
    features = SpectrumFeatures(CONTINUUM)
    flux, error = np.ones(8575, np.float32), np.full(8575, 0.01, np.float32)
    start, stop = chip_ranges()[1]
    dark = flux.copy()
    dark[start:stop] = np.nan
    assert "too few good continuum pixels on the chip 15890-16430" in run(features, dark, error)[3]
    assert "too few" in run(features, flux, np.zeros_like(error))[3]
    dark[start:stop] = -1.0
    assert "not positive on the chip 15890-16430" in run(features, dark, error)[3]
    assert "not positive" in run(features, dark, error, normalized=False)[3]
    assert not features.usable.any()
    assert "singular" in run(features, flux, np.full_like(error, 1e-30))[3]


def test_rows_of_a_block_are_rows_of_the_spectra():
    flux, error, mask = (np.stack(parts) for parts in zip(*(messy_spectrum(s) for s in range(3)), strict=True))
    flux[1] = np.nan
    features = SpectrumFeatures(CONTINUUM)
    ln_flux, ln_error, n_bad, failures = features.rows(flux, error, mask)
    single = run(features, flux[2], error[2], mask[2])
    np.testing.assert_array_equal(ln_flux[2], single[0])
    np.testing.assert_array_equal(ln_error[2], single[1])
    assert n_bad[2] == single[2]
    assert [bool(failure) for failure in failures] == [False, True, False]
    assert np.isnan(ln_flux[1]).all()
    with pytest.raises(BadInputError, match="8575"):
        features.rows(flux[:, :100], error[:, :100])


@pytest.mark.parametrize("normalized", [True, False])
def test_continuum_pixels_avoid_the_lines(normalized):
    labels, flux, error = spectra(150, 1, snr=200.0)
    truth = 1.0 - spectra(150, 1, snr=1e9)[1]  # depth of the lines, without noise
    if not normalized:
        flux = flux * (400 * (1 + 0.2 * np.linspace(-1, 1, 8575)))
    rough = np.stack(
        [
            rough_normalize(np.float32(f), np.float32(e), None, normalized, PIXMASK_BAD)
            for f, e in zip(flux, error, strict=True)
        ]
    )
    pixels = find_continuum_pixels(rough, labels)
    assert 0.24 < pixels.size / 7451 < 0.26
    depth, spread = np.abs(truth.mean(0)), truth.std(0)
    assert depth[pixels].mean() < 0.1 * depth[chip_pixels()].mean()
    assert spread[pixels].max() < 0.2 * spread[chip_pixels()].max()
    for start, stop in chip_ranges():  # the edges are held
        assert pixels[pixels >= start].min() < start + 100
        assert pixels[pixels < stop].max() >= stop - 100


def test_too_few_stars_for_continuum_pixels():
    labels, flux, _ = spectra(10)
    with pytest.raises(BadInputError, match=r"10 good spectra.*at least 30.*continuum_file"):
        find_continuum_pixels(flux[:, chip_pixels()].astype(np.float32), labels)


def test_authors_continuum_pixels(shared_data):
    pixels = read_continuum_file(shared_data / "continuum_pixels_dr13.txt")
    assert np.isin(pixels, chip_pixels()).all()
    assert 1000 < pixels.size < 2499


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 x", "'x' is not a pixel index"),
        ("1 2.5", "'2.5' is not a pixel index"),
        ("300 9000", "0..8574"),
        ("1 nan", "'nan' is not a pixel index"),
        ("400 400", "listed twice"),
        ("400 500", "at least 30"),
        ("", "at least 30"),
    ],
)
def test_bad_continuum_files(tmp_path, text, message):
    path = tmp_path / "pixels.txt"
    path.write_text(text)
    with pytest.raises(BadInputError, match=message):
        read_continuum_file(path)


def test_continuum_files_that_can_be_read(tmp_path):
    expected = CONTINUUM[np.isin(CONTINUUM, chip_pixels())]
    path = tmp_path / "pixels.txt"
    path.write_text("# every third\n" + ", ".join(map(str, CONTINUUM)) + "\n")
    np.testing.assert_array_equal(read_continuum_file(path), expected)
    stored = tmp_path / "survey.json"
    stored.write_text(json.dumps({"continuum": {"pixels": expected.tolist()}}))
    np.testing.assert_array_equal(read_continuum_file(stored), expected)
    stored.write_text("{}")
    with pytest.raises(BadInputError, match="continuum"):
        read_continuum_file(stored)
    with pytest.raises(BadInputError, match="cannot read"):
        read_continuum_file(tmp_path / "none.txt")
