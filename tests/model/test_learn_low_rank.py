"""Learning the low-rank model: what spectra were made of comes back, and odd spectra converge or are refused."""

from types import SimpleNamespace

import numpy as np
import pytest
import reference_low_rank as reference

from spfast.blas import one_blas_thread
from spfast.errors import BadInputError
from spfast.model.learn_low_rank import _Learning, _Spectra, learn_low_rank
from spfast.model.low_rank import LowRankModel, high_pass

SIZES = (0.3, 0.2, 0.12, 0.08)
#: Spectra whose learning is timed in milliseconds.
N_SMALL, N_SMALL_PIXELS = 120, 100


@pytest.fixture(autouse=True)
def _one_thread():
    with one_blas_thread():
        yield


def made(n_stars=1500, n_pixels=160, sizes=SIZES, seed=0, noise=0.06, correlated=False, missing=0.15):
    """Spectra of low rank: lines a few pixels wide, noise of each star and pixel, and pixels that were not measured."""
    rng = np.random.default_rng(seed)
    lines = np.zeros((len(sizes), n_pixels))
    for factor in lines:
        for centre in rng.uniform(0, n_pixels, 14):
            factor += rng.normal() * np.exp(-0.5 * ((np.arange(n_pixels) - centre) / 1.5) ** 2)
    factors = lines * np.array(sizes)[:, None] / lines.std(axis=1, keepdims=True)
    mean = -rng.uniform(0.0, 0.4, n_pixels)
    z = rng.normal(size=(n_stars, len(sizes)))
    clean = mean + z @ factors
    errors = noise * rng.uniform(0.5, 2.0, (n_stars, 1)) * rng.uniform(0.5, 2.0, n_pixels)
    draws = rng.normal(size=(n_stars, n_pixels + 2))
    draws = (draws[:, :-2] + draws[:, 1:-1] + draws[:, 2:]) / np.sqrt(3) if correlated else draws[:, 2:]
    bits = rng.random(errors.shape) < missing
    flux = np.where(bits, clean + 0.3 * rng.normal(size=clean.shape), clean + errors * draws)
    spectra = flux.astype(np.float32), errors.astype(np.float32), np.packbits(bits, axis=1)
    return SimpleNamespace(spectra=spectra, factors=factors, mean=mean, clean=clean, z=z, measured=~bits)


def small(**options):
    data = made(N_SMALL, N_SMALL_PIXELS, seed=1, missing=0.0, **options)
    return data.spectra[0], data.spectra[1]


def finite(model, *spectra):
    """The coordinates of the spectra; everything is finite."""
    found = model.coordinates(*spectra)
    for array in (*model.arrays().values(), found.mean, found.misfit, *found.roots):
        assert np.isfinite(array).all()
    assert model.n_reads <= 40
    assert model.broad.inflation >= 1.0
    assert model.fine.inflation >= 1.0
    return found


def principal_angle(first, second):
    """The largest angle between the spans of the rows [radian]."""
    one, two = (np.linalg.qr(rows.astype(np.float64).T)[0] for rows in (first, second))
    return np.arccos(np.clip(np.linalg.svd(one.T @ two, compute_uv=False).min(), 0.0, 1.0))


@pytest.fixture(scope="module")
def data():
    return made()


@pytest.fixture(scope="module")
def model(data):
    with one_blas_thread():
        return learn_low_rank(*data.spectra, rank=len(SIZES))


def test_the_span_of_the_factors_comes_back(data, model):
    assert model.broad.rank == model.fine.rank == model.n_broad == len(SIZES)
    assert principal_angle(model.broad.factors, data.factors) < 0.05
    assert principal_angle(model.fine.factors, high_pass(data.factors, model.pixels)) < 0.08
    np.testing.assert_allclose(model.broad.mean, data.mean + data.z.mean(axis=0) @ data.factors, atol=0.02)
    assert np.median(model.broad.scatter) < 0.02  # there is none
    size = np.linalg.norm(model.broad.factors, axis=1)
    assert (np.diff(size) < 0).all()
    angles = model.broad.factors @ model.broad.factors.T / np.outer(size, size)
    np.testing.assert_allclose(angles, np.eye(4), atol=1e-4)


def test_coordinates_have_unit_variance_and_their_errors_are_those_of_the_posterior(data, model):
    found = model.coordinates(*data.spectra)
    clean = {"broad": data.clean, "fine": high_pass(data.clean, model.pixels)}
    column = 0
    for name, roots in zip(model.BASES, found.roots, strict=True):
        basis = getattr(model, name)
        factors = basis.factors.astype(np.float64)
        true = (clean[name] - basis.mean) @ np.linalg.pinv(factors)
        covariance = reference.dense(roots)
        error = np.sqrt(covariance[:, range(basis.rank), range(basis.rank)])
        off = found.mean[:, column : column + basis.rank] - true
        column += basis.rank
        # Of the fine basis the noise is that of the pixels, of which the mean around was taken off.
        np.testing.assert_allclose((off / error).std(axis=0), 1.0, atol=0.05 if name == "broad" else 0.08)
        whitened = np.einsum("ni,nij,nj->n", off, np.linalg.inv(covariance), off)
        assert whitened.mean() / basis.rank == pytest.approx(1.0, abs=0.1)
        np.testing.assert_allclose(true.std(axis=0), 1.0, atol=0.05)
    assert np.median(found.misfit) == pytest.approx(0.95, abs=0.1)  # what was taken off is less noise


@pytest.mark.parametrize("is_fine", [False, True])
def test_ln_likelihood_grows_from_pass_to_pass(data, is_fine):
    flux, errors, bits = (array[:400] for array in data.spectra)
    learning = _Learning(_Spectra(flux, errors, bits, np.arange(flux.shape[1]), len(flux)), np.arange(400), is_fine, 1)
    basis, likelihoods = learning.first(4), []
    for _ in range(12):
        basis, likelihood = learning.improve(basis)
        likelihoods.append(likelihood)
    assert np.diff(likelihoods).min() > -1e-5
    assert likelihoods[-1] > likelihoods[0] + 0.01


def test_correlated_noise_inflates_the_variance_and_learning_goes_on():
    data = made(600, 160, correlated=True, missing=0.0)
    model = learn_low_rank(*data.spectra, rank=4)
    # 1 + 2 (2/3 + 1/3) for a mean over three.
    assert model.broad.inflation == pytest.approx(3.0, abs=0.3)
    assert model.fine.inflation > 2.0
    # Likelihood falls when the correlation is first seen; that is no reason to stop.
    assert model.broad.n_reads > 2.5
    assert principal_angle(model.broad.factors, data.factors) < 0.1
    found = finite(model, *data.spectra)
    factors = model.broad.factors.astype(np.float64)
    off = found.mean[:, :4] - (data.clean - model.broad.mean) @ np.linalg.pinv(factors)
    error = np.sqrt(reference.dense(found.roots[0])[:, range(4), range(4)])
    np.testing.assert_allclose((off / error).std(axis=0), 1.0, atol=0.15)


def test_noise_of_its_own_in_each_pixel_is_not_inflated(model):
    assert model.broad.inflation < 1.05
    # Estimates of pixels that were not measured are in the mean that is taken off.
    assert model.fine.inflation < 1.1


def test_the_rank_is_near_that_of_the_spectra():
    data = made(700, 256, missing=0.05)
    model = learn_low_rank(*data.spectra, rank=24)
    assert 4 <= model.broad.rank <= 6
    assert 4 <= model.fine.rank <= 6
    assert model.n_reads <= 40


def test_learning_counts_its_passes():
    n_spectra = []
    model = learn_low_rank(*small(), rank=3, say=n_spectra.append)
    assert sum(n_spectra) == pytest.approx(model.n_reads * N_SMALL)
    assert set(n_spectra) == {model.broad.n_spectra}


def test_learning_gives_the_same_bits_on_one_thread_and_on_two_and_from_a_map(tmp_path):
    flux, errors = small()
    one = learn_low_rank(flux, errors, rank=5, threads=1)
    assert learn_low_rank(flux, errors, rank=5, threads=2).is_same(one)
    np.save(tmp_path / "wide.npy", np.hstack([np.zeros((N_SMALL, 9), np.float32), flux]))
    mapped = np.load(tmp_path / "wide.npy", mmap_mode="r")[:, 9:]
    assert not mapped.flags.c_contiguous
    assert learn_low_rank(mapped, np.asfortranarray(errors), rank=5).is_same(one)
    assert learn_low_rank(flux.astype(np.float64), errors.astype(np.float64), rank=5).broad.rank == one.broad.rank


def test_too_few_spectra_or_no_rank_make_no_model():
    flux, errors = small()
    assert learn_low_rank(flux[:59], errors[:59]) is None
    assert learn_low_rank(flux, errors, rank=0) is None


@pytest.mark.parametrize("n_stars", [60, 61, 119])
def test_few_stars_have_no_more_coordinates_than_they_tell(n_stars):
    flux, errors = small()
    model = learn_low_rank(flux[:n_stars], errors[:n_stars], rank=48)
    assert model.broad.rank <= n_stars // 12
    finite(model, flux, errors)


def nothing(flux, errors, bits):
    """As they are."""


def constant_pixels(flux, errors, bits):
    flux[:, 7:10] = -0.2


def constant_spectra(flux, errors, bits):
    flux[:] = -0.3


def pixel_masked_in_all_by_error(flux, errors, bits):
    errors[:, 20:22] = np.inf


def pixel_masked_in_all_by_bit(flux, errors, bits):
    bits[:, 20:22] = True


def stars_without_a_pixel(flux, errors, bits):
    errors[[0, 5, 40]] = np.inf
    bits[[6, 60]] = True


def no_star_with_a_pixel(flux, errors, bits):
    bits[:] = True


def half_of_the_pixels(flux, errors, bits):
    errors[:, :64] = np.inf


def other_half_of_the_pixels(flux, errors, bits):
    errors[:, 64:] = np.inf


def duplicates(flux, errors, bits):
    flux[60:], errors[60:] = flux[:60], errors[:60]


def one_spectrum_for_all(flux, errors, bits):
    flux[:], errors[:] = flux[0], errors[0]


def deviant(flux, errors, bits):
    flux[17] *= 1e3


def deviant_among_those_held_out(flux, errors, bits):
    flux[20] *= 1e3


def errors_of_zero(flux, errors, bits):
    errors[4], errors[:, 3] = 0.0, 0.0


def no_errors(flux, errors, bits):
    errors[:] = 0.0


def large_values(flux, errors, bits):
    flux *= 1e10
    errors *= 1e10


def large_errors(flux, errors, bits):
    errors[::3] = 1e30


def large_errors_of_all(flux, errors, bits):
    errors[:] = 1e15


def tiny_values(flux, errors, bits):
    flux *= 1e-12
    errors *= 1e-12


ODD = [
    nothing, constant_pixels, constant_spectra, pixel_masked_in_all_by_error, pixel_masked_in_all_by_bit,
    stars_without_a_pixel, no_star_with_a_pixel, half_of_the_pixels, other_half_of_the_pixels, duplicates,
    one_spectrum_for_all, deviant, deviant_among_those_held_out, errors_of_zero, no_errors, large_values, large_errors,
    large_errors_of_all, tiny_values,
]  # fmt: skip


@pytest.mark.parametrize("edit", ODD, ids=lambda edit: edit.__name__)
def test_odd_spectra_give_finite_coordinates_without_a_warning(edit):
    flux, errors = small()
    bits = np.zeros(flux.shape, bool)
    edit(flux, errors, bits)
    spectra = flux, errors, np.packbits(bits, axis=1)
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        found = finite(learn_low_rank(*spectra, rank=8), *spectra)
    unseen = bits.all(axis=1) | np.isinf(errors).all(axis=1)
    assert not found.mean[unseen].any()
    assert not found.misfit[unseen].any()


def test_coordinates_do_not_depend_on_what_stands_in_pixels_that_were_not_measured_in_the_broad_basis(data, model):
    flux, errors, bits = (array[:50].copy() for array in data.spectra)
    before = model.coordinates(flux, errors, bits)
    flux[~data.measured[:50]] = 5.0
    after = model.coordinates(flux, errors, bits)
    np.testing.assert_array_equal(after.mean[:, :4], before.mean[:, :4])


def test_a_pixel_masked_in_all_stays_at_the_mean():
    flux, errors = small()
    errors[:, 20:22] = np.inf
    model = learn_low_rank(flux, errors, rank=3)
    assert not model.broad.factors[:, 20:22].any()


def test_a_deviant_spectrum_leaves_the_others_coordinates_as_good_as_without_it():
    flux, errors = small()
    others = np.arange(N_SMALL) != 17
    without = learn_low_rank(flux[others], errors[others], rank=8)
    expected = without.coordinates(flux, errors).misfit[others]
    flux[17] *= 1e3
    found = learn_low_rank(flux, errors, rank=8).coordinates(flux, errors).misfit[others]
    assert np.median(found) < 1.1 * np.median(expected)


def test_half_of_the_pixels_without_a_measurement_leave_the_rank_as_it_was():
    flux, errors = small()
    errors[:, :64] = np.inf
    assert learn_low_rank(flux, errors, rank=5).broad.rank == 5


def test_pixels_on_different_detectors_do_not_take_part_in_each_others_mean():
    rng = np.random.default_rng(2)
    flux = rng.normal(size=(3, 90)).astype(np.float32)
    pixels = np.concatenate([np.arange(40), 200 + np.arange(50)])
    whole = high_pass(flux, pixels)
    np.testing.assert_array_equal(whole[:, :40], high_pass(flux[:, :40], pixels[:40]))
    np.testing.assert_array_equal(whole[:, 40:], high_pass(flux[:, 40:], pixels[40:]))
    wave = np.sin(np.arange(400) / 80.0)[None] + np.zeros((2, 1))
    assert np.abs(high_pass(wave, np.arange(400)))[:, 50:-50].max() < 0.05


def test_pixel_coefficients_are_what_pixels_add_to_a_function_of_the_coordinates(model):
    slope = np.random.default_rng(4).normal(size=model.rank)
    total = model.pixel_coefficients(slope)
    # A change of the spectrum along the factors changes what the noise-free coordinates say by as much.
    moved = np.random.default_rng(5).normal(size=4) @ model.broad.factors.astype(np.float64)
    sharp = high_pass(moved[None], model.pixels)[0]
    expected = moved @ np.linalg.pinv(model.broad.factors.astype(np.float64)) @ slope[:4]
    expected += sharp @ np.linalg.pinv(model.fine.factors.astype(np.float64)) @ slope[4:]
    assert total @ moved == pytest.approx(expected, rel=0.05)


def test_spectra_with_other_pixels_are_refused(data, model):
    flux, errors, _ = data.spectra
    with pytest.raises(BadInputError, match="spectra: 100 pixels, the low-rank model has 160"):
        model.coordinates(flux[:, :100], errors[:, :100])


def test_a_model_comes_back_from_its_entries_and_arrays(model):
    assert LowRankModel.from_file(model.entries(), model.arrays()).is_same(model)
