"""The continuum kernel: whole spectra against plain numpy, its pieces at their limits, bad pixels and failures."""

import numpy as np
import pytest
from reference_continuum import feature_row
from small_survey import spectra

from spfast.config import Config, load_config
from spfast.data.spectra.continuum import (
    chip_pixels,
    chip_ranges,
)
from spfast.data.spectra.features import SpectrumFeatures
from spfast.errors import BadInputError
from spfast.kernels import cholesky
from spfast.kernels import continuum as kernel
from spfast.model.apogee import CHIPS, grid_wavelength

CONTINUUM = np.arange(0, 8575, 3)
ERROR = np.float32(0.25)


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


def test_the_chips_have_the_paper_s_pixels():
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
def test_kernel_agrees_with_numpy_for_other_degrees_and_grown_masks(degree, grow):
    flux, error, mask = messy_spectrum(5)
    features = SpectrumFeatures(
        CONTINUUM, Config().replace(normalization={"chebyshev_degree": degree, "grow_mask": grow})
    )
    ln_flux, _, n_bad, _ = run(features, flux, error, mask)
    expected, _, bad = feature_row(flux, error, mask, CONTINUUM, degree=degree, grow=grow)
    np.testing.assert_allclose(ln_flux, expected, atol=1e-6)
    assert n_bad == bad.sum()


def test_scale_and_slope_of_a_spectrum_divide_out():
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


def test_flux_is_clipped_and_its_error_limited():
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


def test_a_block_of_spectra_gives_what_each_of_them_gives():
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


def chebyshev(n_pixels, degree):
    x = np.linspace(-1, 1, n_pixels)
    return np.polynomial.chebyshev.chebvander(x, 2 * degree).T.astype(np.float32)


def row(flux, error=ERROR, continuum=None, normalized=True, min_continuum=3, error_max=0.5, bad_error=0.5):
    """`spectrum_row` of two chips of the same pixels, the first one all ones: status, chip, n_bad, ln flux, error."""
    flux = np.asarray(flux, np.float32)
    n = flux.size
    flux, error = np.concatenate([np.ones(n, np.float32), flux]), np.full(2 * n, error, np.float32)
    error[n:][flux[n:] == -9.0] = 0.0  # a bad pixel
    variance = np.full(2 * n, 100.0, np.float32)
    variance[:n] = 0.0
    variance[n:][np.arange(n) if continuum is None else continuum] = 0.0
    usable, out = np.zeros(2 * n, np.uint8), np.empty((2, 2 * n), np.float32)
    found = kernel.spectrum_row(
        *(flux, error, np.zeros(0, np.int32), 0, normalized, np.array([0, n]), np.array([n, 2 * n])),
        *(np.tile(chebyshev(n, 0), 2), variance, 1, min_continuum, bad_error, error_max, 0, 0.01, 1.2, bad_error),
        *(usable, *out),
    )
    return *found, out[0, n:], out[1, n:]


def test_the_kernel_s_logarithm_is_that_of_numpy():
    middle = np.linspace(0.70711, 1.41421, 2001).astype(np.float32)
    values = middle.copy()
    kernel._ln(values)
    # The series is longest at the ends, where its term of the seventh power is 1e-6.
    np.testing.assert_allclose(values, np.log(middle.astype(float)), atol=6e-8)
    wide = np.geomspace(1e-3, 1e3, 500).astype(np.float32)
    values = wide.copy()
    kernel._ln(values)
    np.testing.assert_allclose(values, np.log(wide.astype(float)), atol=5e-7)


@pytest.mark.parametrize(
    "matrix",
    [
        [[0.0, 0.0], [0.0, 0.0]],
        [[1.0, 1.0], [1.0, 1.0]],
        [[1e6, 1e6], [1e6, 1e6 * (1 + 1e-12)]],
        [[np.nan, 0.0], [0.0, 1.0]],
    ],
)
def test_singular_systems_are_refused(matrix):
    assert not cholesky.factor_block(np.array(matrix), 0, 2, kernel._MIN_PIVOT)


def test_normal_equations_are_solved():
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(4, 4))
    matrix, right = factor @ factor.T + np.eye(4), rng.normal(size=4)
    expected = np.linalg.solve(matrix, right)
    assert cholesky.factor_block(matrix, 0, 4, kernel._MIN_PIVOT)
    cholesky.solve_factored(matrix, 4, right)
    np.testing.assert_allclose(right, expected, rtol=1e-12)
    almost = np.array([[1.0, 1.0], [1.0, 1.0 + 1e-8]])
    assert cholesky.factor_block(almost, 0, 2, kernel._MIN_PIVOT)


def test_bad_pixels_grow_to_either_side_within_the_chip():
    for n_grow, bad in ((0, [1, 0, 0, 0, 1]), (1, [1, 1, 0, 1, 1])):
        found = np.array([1, 0, 0, 0, 1], np.uint8)
        kernel._grow(found, n_grow)
        assert found.tolist() == bad
    found = np.array([0, 0, 1, 0, 0, 0], np.uint8)
    kernel._grow(found, 2)
    assert found.tolist() == [1, 1, 1, 1, 1, 0]


@pytest.mark.parametrize("weight_power", [1, 2])
def test_the_continuum_fit_is_weighted_least_squares(weight_power):
    rng = np.random.default_rng(1)
    n, degree = 12, 2
    flux, error = rng.normal(1.0, 0.1, n).astype(np.float32), rng.uniform(2.0, 4.0, n).astype(np.float32)
    variance = np.where(np.arange(n) % 3, 0.0, 10.0).astype(np.float32)
    basis, coefficients = chebyshev(n, degree), np.empty(degree + 1)
    # The chip begins two pixels into the basis.
    padded = np.concatenate([np.full((5, 2), 7.0, np.float32), basis], axis=1)
    assert kernel._fit_continuum(flux, error, variance, padded, 2, weight_power, coefficients)
    weight = (error.astype(float) ** 2 + variance) ** -weight_power
    design = basis[: degree + 1].T.astype(float)
    expected = np.linalg.solve(design.T @ (weight[:, None] * design), design.T @ (weight * flux))
    np.testing.assert_allclose(coefficients, expected, rtol=1e-5)


@pytest.mark.parametrize("level", [0.0, -0.5, np.nan])
def test_a_continuum_that_is_not_positive_divides_nothing(level):
    flux, error = np.ones(4, np.float32), np.ones(4, np.float32)
    arguments = flux, error, chebyshev(4, 0), 0, np.array([level]), np.empty(4, np.float32)
    assert not kernel._divide(*arguments)
    assert flux.tolist() == error.tolist() == [1, 1, 1, 1]
    arguments[4][0] = 4.0
    assert kernel._divide(*arguments)
    assert flux.tolist() == error.tolist() == [0.25] * 4


def test_bad_pixels_of_a_good_spectrum_are_counted():
    status, chip, n_bad, ln_flux, ln_error = row([1, 1, -9, 1, 1])
    assert (status, chip, n_bad) == (kernel.OK, 0, 1)
    np.testing.assert_allclose(ln_flux, 0.0, atol=1e-7)
    assert ln_error.tolist() == [ERROR, ERROR, 0.5, ERROR, ERROR]


def test_a_chip_with_one_continuum_pixel_too_few_is_refused():
    flux, continuum = [1, -9, 1, 1, 1, 1, 1], [0, 1, 2, 3]  # one is bad, others are no continuum
    assert row(flux, continuum=continuum, min_continuum=3)[:3] == (kernel.OK, 0, 1)
    assert row(flux, continuum=continuum, min_continuum=4)[:3] == (kernel.FEW_CONTINUUM_PIXELS, 1, 0)


@pytest.mark.parametrize("level", [0.0, -0.5])
def test_a_level_that_is_not_positive_is_refused(level):
    assert row([level] * 5, normalized=False)[:3] == (kernel.NOT_POSITIVE, 1, 0)
    assert row([level] * 5)[:3] == (kernel.NOT_POSITIVE, 1, 0)


def test_errors_too_large_for_any_weight_are_singular():
    found = row([1] * 5, error=1e30, error_max=np.inf)
    assert found[:2] == (kernel.SINGULAR, 0)
    assert found[2] == 0


def test_the_level_is_that_of_good_continuum_pixels():
    # Off the continuum the flux is half; a bad pixel counts as 1 in units of the level.
    flux = np.array([8, 8, -9, 8, 4, 4, 4, 4, 4], dtype=float)
    ln_flux = row(flux, error=0.8, continuum=[0, 1, 2, 3], normalized=False, error_max=2.0)[3]
    weight = np.where(np.arange(9) < 4, 1 / 0.1**2, 1 / (0.1**2 + 100.0))
    weight[2] = 1 / 0.5**2
    scaled = np.where(flux < 0, 1.0, flux / 8)
    fitted = np.sum(weight * scaled) / weight.sum()
    expected = np.log(np.where(flux < 0, 1.0, scaled / fitted))
    np.testing.assert_allclose(ln_flux, expected, atol=1e-6)


def test_an_error_at_the_limit_is_not_too_large():
    below = np.nextafter(ERROR, np.float32(0))
    assert row([1] * 5, error_max=float(ERROR))[:3] == (kernel.OK, 0, 0)
    assert row([1] * 5, error_max=float(below))[:3] == (kernel.OK, 0, 10)
