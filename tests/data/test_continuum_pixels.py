"""The choice of continuum pixels: found from spectra, or read from a file."""

import json

import numpy as np
import pytest
from small_survey import spectra

from spfast.data.spectra.continuum import (
    chip_pixels,
    chip_ranges,
    find_continuum_pixels,
    read_continuum_file,
    rough_normalize,
)
from spfast.data.spectra.features import PIXMASK_BAD
from spfast.errors import BadInputError

CONTINUUM = np.arange(0, 8575, 3)


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


def test_too_few_stars_for_continuum_pixels_are_refused():
    labels, flux, _ = spectra(10)
    with pytest.raises(BadInputError, match=r"10 good spectra.*at least 30.*continuum_file"):
        find_continuum_pixels(flux[:, chip_pixels()].astype(np.float32), labels)


def test_the_authors_continuum_pixels_lie_on_the_chips(shared_data):
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
def test_a_file_of_continuum_pixels_that_are_no_indices_or_too_few_is_refused(tmp_path, text, message):
    path = tmp_path / "pixels.txt"
    path.write_text(text)
    with pytest.raises(BadInputError, match=message):
        read_continuum_file(path)


def test_continuum_pixels_are_read_from_text_and_from_another_survey(tmp_path):
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


def test_rough_normalisation_gives_nan_where_there_is_no_continuum():
    n = 8575
    flux, error = np.full(n, np.nan, np.float32), np.ones(n, np.float32)
    assert np.isnan(rough_normalize(flux, error, None, False, 1)).all()
    flux[:] = -1.0  # a continuum below zero is none
    assert np.isnan(rough_normalize(flux, error, None, False, 1)).all()
    flux[:] = 5.0
    mask = np.zeros(n, np.int32)
    mask[chip_pixels()[10]] = 1
    whole = rough_normalize(flux, error, mask, False, 1)
    assert np.flatnonzero(np.isnan(whole)).tolist() == [10]
    np.testing.assert_allclose(np.delete(whole, 10), 1.0, rtol=1e-5)
    flux[chip_pixels()[:600]] = np.nan  # stretches without a good pixel are left out of the parabola
    np.testing.assert_allclose(rough_normalize(flux, error, mask, False, 1)[600:], 1.0, rtol=1e-5)
